/** The embedded broker as a test of a user's program meets it: real sockets, KafkaClient, its three disks. */

import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type KafkaClient, type TestBroker, type TestBrokerOptions, testBroker } from "../../actors/testing/index.ts";
import { ConnectionLost } from "../../actors/testing/KafkaConnection.ts";
import { connect } from "../../src/client/Client.ts";
import { makeBunNetwork } from "../../src/platform/BunNetwork.ts";
import { temporaryDirectory } from "../support/RealBroker.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const send = async (client: KafkaClient, topic: string, ...values: string[]): Promise<void> => {
  const outcome = await client.producer().send(
    topic,
    0,
    values.map((value) => ({ value: utf8(value) })),
  );
  expect(outcome.type).toBe("ok");
};

const valuesOf = async (client: KafkaClient, topic: string): Promise<string[]> =>
  (await client.readAll(topic, 0)).map(({ value }) => new TextDecoder().decode(value ?? undefined));

/** Whether anybody listens. */
const answers = async ({ host, port }: TestBroker): Promise<boolean> => {
  const handlers = { onData: () => {}, onDrain: () => {}, onClose: () => {} };
  try {
    (await makeBunNetwork().connect({ host, port }, handlers)).destroy();
    return true;
  } catch {
    return false;
  }
};

const failure = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "it did not fail",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

const onEachDisk = (name: string, body: (options: TestBrokerOptions) => Promise<void>): void => {
  test(`${name}, in memory`, () => body({ disk: "memory" }));
  test(`${name}, in a temporary directory`, () => body({ disk: "temporary" }));
  test(`${name}, in a directory that stays`, async () => {
    using data = temporaryDirectory();
    await body({ disk: { directory: data.path } });
  });
};

describe("a test broker", () => {
  onEachDisk("is ready when it is there: its topics take records and give them back", async (options) => {
    await using broker = await testBroker({
      ...options,
      clusterId: "AAAAAAAAQACAAAAAAAAAAA",
      topics: ["a", { name: "b", partitions: 3, config: { "cleanup.policy": "compact" } }],
    });
    expect(broker.bootstrap).toBe(`${broker.host}:${broker.port}`);
    expect(broker.clusterId).toBe("AAAAAAAAQACAAAAAAAAAAA");
    const client = broker.client();
    await send(client, "a", "one", "two");
    expect(await valuesOf(client, "a")).toEqual(["one", "two"]);
    expect((await client.topic("b")).leaders).toEqual([1, 1, 1]);
    await broker.createTopic("c");
    await send(client, "c", "three");
    expect(client.clusterId).toBe("AAAAAAAAQACAAAAAAAAAAA");
  });

  onEachDisk("a crash ends connections and keeps what was written, on the same port", async (options) => {
    await using broker = await testBroker({ ...options, topics: ["t"], config: { "log.flush.policy": "os" } });
    const client = broker.client();
    await send(client, "t", "before");
    const { port } = broker;
    const connection = await client.connection("any");
    await broker.crash();
    expect(await connection.closed).toBeInstanceOf(Error);
    expect(await answers(broker)).toBe(false);
    await broker.restart();
    expect(broker.port).toBe(port);
    await send(client, "t", "after");
    expect(await valuesOf(client, "t")).toEqual(["before", "after"]);
  });

  test("a request in flight when the broker crashes is answered by the end of its connection", async () => {
    await using broker = await testBroker({ topics: ["t"] });
    const client = broker.client();
    await send(client, "t", "x");
    await client.fetch("t", 0, 0);
    const stuck = client.fetch("t", 0, 1, { maxWaitMs: 60_000 });
    stuck.catch(() => {});
    await broker.crash();
    expect(await stuck.catch((error: unknown) => error)).toBeInstanceOf(ConnectionLost);
  });

  test.each([
    ["ack", ["flushed", "also flushed"]],
    ["os", []],
  ])("a power cut under log.flush.policy=%s leaves what was flushed", async (policy, left) => {
    await using broker = await testBroker({ topics: ["t"], config: { "log.flush.policy": policy } });
    await send(broker.client(), "t", "flushed", "also flushed");
    await broker.powerCut();
    await broker.restart();
    expect(await valuesOf(broker.client(), "t")).toEqual(left);
  });

  test("the power of a real disk cannot be cut, and is not", async () => {
    await using broker = await testBroker({ disk: "temporary", topics: ["t"] });
    expect(await failure(broker.powerCut())).toMatch(/disk in memory/);
    await send(broker.client(), "t", "still here");
  });

  test("a stop is in order, twice is once, and a restart of a running broker is a stop first", async () => {
    using data = temporaryDirectory();
    await using broker = await testBroker({ disk: { directory: data.path }, topics: ["t"] });
    const marker = join(data.path, ".kafka_cleanshutdown");
    await send(broker.client(), "t", "kept");
    await broker.stop();
    await broker.stop();
    expect(existsSync(marker)).toBe(true);
    expect(await answers(broker)).toBe(false);
    await broker.restart();
    expect(existsSync(marker)).toBe(false);
    await broker.restart();
    expect(await valuesOf(broker.client(), "t")).toEqual(["kept"]);
  });

  test("disposing gives everything back: port, directory, lock; calls afterwards are refused, a second time is none", async () => {
    using data = temporaryDirectory();
    const temporary = await testBroker({ disk: "temporary" });
    expect(existsSync(temporary.directory!)).toBe(true);
    await temporary[Symbol.asyncDispose]();
    await temporary[Symbol.asyncDispose]();
    expect(existsSync(temporary.directory!)).toBe(false);
    expect(await answers(temporary)).toBe(false);
    expect(await failure(temporary.restart())).toBe("the test broker was disposed of");

    const kept = await testBroker({ disk: { directory: data.path }, topics: ["t"] });
    await send(kept.client(), "t", "kept");
    await kept[Symbol.asyncDispose]();
    expect(existsSync(join(data.path, ".kafka_cleanshutdown"))).toBe(true);
    await using again = await testBroker({ disk: { directory: data.path } });
    expect(await valuesOf(again.client(), "t")).toEqual(["kept"]);
  });

  test("a program that ends without disposing leaves no directory", async () => {
    const program = `
      import { testBroker } from ${JSON.stringify(join(import.meta.dir, "../../actors/testing/index.ts"))};
      const broker = await testBroker({ disk: "temporary" });
      console.log(broker.directory);
      process.exit(0);
    `;
    const { stdout, exitCode } = Bun.spawnSync([process.execPath, "-e", program], { stderr: "inherit" });
    expect(exitCode).toBe(0);
    const directory = stdout.toString().trim();
    expect(directory).toContain("odradek-test-");
    expect(existsSync(directory)).toBe(false);
  });

  test("what is wrong is one clear line, and leaves nothing behind", async () => {
    const before = readdirSync("/proc/self/fd").length;
    expect(await failure(testBroker({ config: { "num.partitions": "many" } }))).toMatch(
      /many.*num\.partitions.*allowed.*\(testBroker\)/,
    );
    expect(await failure(testBroker({ config: { "num.partition": 3 } }))).toMatch(/num\.partition\b/);
    expect(await failure(testBroker({ config: { "log.dirs": "elsewhere" } }))).toMatch(/`disk`/);
    expect(await failure(testBroker({ topics: ["no spaces"] }))).toMatch(/INVALID_TOPIC_EXCEPTION/);
    using data = temporaryDirectory();
    await using first = await testBroker({ disk: { directory: data.path } });
    expect(await failure(testBroker({ disk: { directory: data.path } }))).toMatch(/is used by another/);
    expect(await failure(testBroker({ config: { listeners: `PLAINTEXT://127.0.0.1:${first.port}` } }))).toMatch(
      /the port is in use/,
    );
    await first[Symbol.asyncDispose]();
    expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before);
  });

  test.each([
    [{ disk: "ram" }, 'testBroker: disk is "ram" (allowed: "memory", "temporary" or { directory })'],
    [{ disk: {} }, 'testBroker: disk is {} (allowed: "memory", "temporary" or { directory })'],
    [{ topic: ["t"] }, "testBroker: topic (allowed: config, topics, disk, clusterId, faults, log)"],
    [{ topics: "orders" }, 'testBroker: topics: "orders" (allowed: a list)'],
    [{ topics: [{ name: "t", partition: 3 }] }, "testBroker: topics: partition (allowed: name, partitions, config)"],
    [{ topics: [{ partitions: 3 }] }, "testBroker: topics: name is undefined (allowed: a text)"],
    [{ config: "a=b" }, 'testBroker: config: "a=b" (allowed: an object of settings)'],
    [{ clusterId: 5 }, "testBroker: clusterId is 5 (allowed: a text)"],
    [{ log: "lines" }, 'testBroker: log is "lines" (allowed: a function)'],
    [{ faults: null }, "faults: null (allowed: an object with seed, kinds, rate, maxDelayMs, atMost)"],
    [null, "testBroker: null (allowed: an object with config, topics, disk, clusterId, faults, log)"],
  ])("what nobody has typed is refused before anything starts: %j", async (options, message) => {
    expect(await failure(testBroker(options as unknown as TestBrokerOptions))).toBe(message);
  });

  test("HTTP and WebSockets are served when they are asked for, and die and come back with the broker", async () => {
    await using broker = await testBroker({ topics: ["t"], config: { "http.listeners": "http://127.0.0.1:0" } });
    const url = broker.http!;
    const client = await connect(url, { backoff: { initialMs: 5, maxMs: 20 } });
    const producer = client.producer();
    await producer.send({ topic: "t", value: utf8("before") });
    await broker.crash();
    expect(await fetch(url).catch(() => "nobody")).toBe("nobody");
    await broker.restart();
    expect(broker.http).toBe(url);
    await producer.send({ topic: "t", value: utf8("after") });
    await client.close();
    expect(await valuesOf(broker.client(), "t")).toEqual(["before", "after"]);
    await using plain = await testBroker();
    expect(plain.http).toBeUndefined();
  });

  test("what the broker logs is kept, and told to whoever wants it", async () => {
    const told: string[] = [];
    await using broker = await testBroker({ topics: ["t"], log: (level, message) => told.push(`${level} ${message}`) });
    await send(broker.client(), "t", "x");
    await broker.crash();
    await broker.restart();
    expect(told).toEqual([...broker.log]);
  });

  test("ten at once do not meet", async () => {
    const brokers = await Promise.all(Array.from({ length: 10 }, () => testBroker({ topics: ["t"] })));
    await Promise.all(
      brokers.map(async (broker, index) => {
        for (let i = 0; i < 20; i++) await send(broker.client(), "t", `${index}`);
        if (index % 2 === 0) {
          await broker.crash();
          await broker.restart();
        }
        expect(await valuesOf(broker.client(), "t")).toEqual(Array.from({ length: 20 }, () => `${index}`));
      }),
    );
    expect(new Set(brokers.map(({ port }) => port)).size).toBe(10);
    expect(new Set(brokers.map(({ clusterId }) => clusterId)).size).toBe(10);
    await Promise.all(brokers.map((broker) => broker[Symbol.asyncDispose]()));
  });

  test("a hundred one after the other leave nothing: no file, no socket, no object", async () => {
    const one = async (disk: "memory" | "temporary"): Promise<void> => {
      await using broker = await testBroker({ disk, topics: ["t"] });
      await send(broker.client(), "t", "x");
      // A consumer that waits, a topic that is removed later: both leave timers.
      broker
        .client()
        .fetch("t", 0, 1, { maxWaitMs: 60_000 })
        .catch(() => {});
      await broker.client().deleteTopic("t");
    };
    /** What programs make; compiled code and the shapes of objects go on growing for a while. */
    const kinds = ["Array", "Function", "JSLexicalEnvironment", "Map", "Object", "Promise", "Set", "Timeout"];
    const objects = (): number => {
      Bun.gc(true);
      const { objectTypeCounts } = heapStats();
      return kinds.reduce((sum, kind) => sum + (objectTypeCounts[kind] ?? 0), 0);
    };
    const descriptors = (): number => readdirSync("/proc/self/fd").length;
    for (let i = 0; i < 10; i++) await one(i % 2 === 0 ? "memory" : "temporary");
    const [objectsBefore, descriptorsBefore] = [objects(), descriptors()];
    for (let i = 0; i < 100; i++) await one(i % 4 === 0 ? "temporary" : "memory");
    expect(descriptors()).toBeLessThanOrEqual(descriptorsBefore);
    // Each is more than 600: a tenth of them left behind would be 6,000.
    expect(objects() - objectsBefore).toBeLessThan(5000);
    expect(heapStats().objectTypeCounts.BrokerLife ?? 0).toBeLessThan(5);
  });
});
