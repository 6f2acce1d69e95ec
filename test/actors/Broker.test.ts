import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { EARLIEST, KafkaClient, LATEST } from "../../actors/testing/KafkaClient.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { type RealBroker, startRealBroker, temporaryDirectory } from "../support/RealBroker.ts";

const HOUR_MS = 3_600_000;
const text = new TextDecoder();
const value = (content: string) => ({ key: null, value: new TextEncoder().encode(content) });

const produce = async ({ client }: RealBroker, topic: string, ...contents: string[]): Promise<number> => {
  const outcome = await client.producer().send(topic, 0, contents.map(value));
  if (outcome.type !== "ok") throw new Error(`produce: ${outcome.error}`);
  return outcome.baseOffset;
};

const valuesOf = async ({ client }: RealBroker, topic: string): Promise<string[]> => {
  const { records } = await client.fetch(topic, 0, 0, { maxWaitMs: 0 });
  return records.map((record) => text.decode(record.value ?? new Uint8Array()));
};

const producerId = async ({ client }: RealBroker): Promise<number> => {
  const request = { transactionalId: null, transactionTimeoutMs: 0, producerId: -1, producerEpoch: -1 };
  const answer = await client.request("any", ApiKey.InitProducerId, {
    ...request,
    enable2Pc: false,
    keepPreparedTxn: false,
  });
  return answer.producerId;
};

describe("Broker", () => {
  test("records, topic ids, leader epochs and the cluster id survive an orderly stop (#16, #17, #18)", async () => {
    using data = temporaryDirectory();
    const first = await startRealBroker(data.path);
    const created = await first.client.createTopic("t");
    await produce(first, "t", "a", "b");
    await first.stop();
    expect(readdirSync(data.path)).toContain(".kafka_cleanshutdown");
    await using second = await startRealBroker(data.path);
    expect(readdirSync(data.path)).not.toContain(".kafka_cleanshutdown");
    expect(second.broker.clusterId).toBe(first.broker.clusterId);
    const found = await second.client.topic("t");
    expect(found.id).toBe(created.id);
    expect(found.leaderEpochs[0]).toBeGreaterThanOrEqual(created.leaderEpochs[0]!);
    expect(await valuesOf(second, "t")).toEqual(["a", "b"]);
    expect(await produce(second, "t", "c")).toBe(2);
    expect((await second.client.listOffset("t", 0, EARLIEST)).offset).toBe(0);
    expect((await second.client.listOffset("t", 0, LATEST)).offset).toBe(3);
  });

  test("a stopped broker touches its disk no more, however long its process goes on", () => {
    new Simulation({ seed: 1, maxTimeMs: 20 * HOUR_MS }).run(async (world) => {
      const process = world.process("broker");
      // Each append is followed by a snapshot: one is being written when the broker is told to stop.
      const settings = { "metadata.log.max.record.bytes.between.snapshots": "1" };
      const { broker, endpoint } = await startSimulatedBroker(process, { codecs: makeBunCodecs(), settings });
      const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
      const client = new KafkaClient({ network, clock, random, codecs: makeBunCodecs() }, { bootstrap: [endpoint] });
      await client.createTopic("t");
      await client.producer().send("t", 0, [value("a")]);
      for (const name of ["u", "v", "w"]) await client.createTopic(name);
      client.close();
      await process.runPromise(broker.stop);
      const { operations } = process.platter;
      await new Promise<void>((resolve) => clock.after(10 * HOUR_MS, resolve));
      expect(process.platter.operations).toBe(operations);
    });
  });

  test("after an unclean stop partitions begin a new leader epoch and nothing acked is missing", async () => {
    using data = temporaryDirectory();
    const first = await startRealBroker(data.path);
    const created = await first.client.createTopic("t");
    await produce(first, "t", "a");
    await first.stop();
    // What kill -9 leaves: everything written, no marker, no checkpoint.
    await Bun.file(join(data.path, ".kafka_cleanshutdown")).delete();
    await Bun.file(join(data.path, "recovery-point-offset-checkpoint")).delete();
    await using second = await startRealBroker(data.path);
    expect((await second.client.topic("t")).leaderEpochs[0]).toBe(created.leaderEpochs[0]! + 1);
    expect(await valuesOf(second, "t")).toEqual(["a"]);
  });

  test("a producer id is never handed out twice, restarts included", async () => {
    using data = temporaryDirectory();
    const seen = new Set<number>();
    for (let run = 0; run < 3; run += 1) {
      await using broker = await startRealBroker(data.path);
      for (let each = 0; each < 5; each += 1) seen.add(await producerId(broker));
    }
    expect(seen.size).toBe(15);
  });

  test("metadata snapshots are taken as the log grows, and a start goes on from the newest one", async () => {
    using data = temporaryDirectory();
    const settings = { "metadata.log.max.record.bytes.between.snapshots": "1" };
    const first = await startRealBroker(data.path, settings);
    const folder = join(data.path, "__cluster_metadata-0");
    const names = (pattern: RegExp) =>
      readdirSync(folder)
        .filter((name) => pattern.test(name))
        .sort();
    const snapshotsThere = () => names(/^\d{20}-\d{10}\.checkpoint$/);
    const before = await first.client.createTopic("before");
    // While one is being written the log grows on without another.
    const logBegins = () => Number.parseInt(names(/^\d{20}\.log$/)[0]!, 10);
    for (let round = 0; round < 5 || snapshotsThere().length < 2 || logBegins() === 0; round++) {
      await first.client.createTopic("gone");
      await first.client.deleteTopic("gone");
    }
    await first.stop();
    const snapshots = snapshotsThere();
    // The stop may come between the newest one and the end of the oldest.
    expect([2, 3]).toContain(snapshots.length);
    // What the older one stands for is gone from the log.
    expect(logBegins()).toBeLessThanOrEqual(Number.parseInt(snapshots[0]!, 10));
    const whole = await startRealBroker(data.path);
    expect(whole.log).toEqual([]);
    expect((await whole.client.topic("before")).id).toBe(before.id);
    await whole.stop();
    writeFileSync(join(folder, snapshots.at(-1)!), "rot");
    const second = await startRealBroker(data.path);
    expect(second.log.join("\n")).toContain("is damaged and passed over");
    expect((await second.client.topic("before")).id).toBe(before.id);
    await second.client.createTopic("gone");
    expect((await second.client.topic("gone")).leaders).toEqual([1]);
    await second.stop();
    // Both: nobody may guess what the deleted part of the log said.
    for (const snapshot of snapshots) writeFileSync(join(folder, snapshot), "rot");
    const untouched = readdirSync(data.path).sort();
    const refused = await startRealBroker(data.path).then(
      () => "started",
      (error: unknown) => String(error),
    );
    expect(refused).toContain("no snapshot can be read: metadata is missing, nothing was touched");
    expect(readdirSync(data.path).sort()).toEqual(untouched.filter((name) => name !== ".kafka_cleanshutdown"));
  });

  test("a deleted topic ends its waiting fetches at once, and its name is usable again with a new id", async () => {
    using data = temporaryDirectory();
    await using broker = await startRealBroker(data.path, { "log.segment.delete.delay.ms": "0" });
    const { client } = broker;
    const before = await client.createTopic("t");
    await produce(broker, "t", "old");
    const waiting = client.fetch("t", 0, 1, { maxWaitMs: 20_000, minBytes: 1 });
    await client.deleteTopic("t");
    expect((await waiting).errorCode).not.toBe(Errors.NONE);
    const after = await client.createTopic("t");
    expect(after.id).not.toBe(before.id);
    await produce(broker, "t", "new");
    expect(await valuesOf(broker, "t")).toEqual(["new"]);
    await Promise.all([Bun.sleep(0), broker.stop()]);
    expect(readdirSync(data.path).filter((name) => name.startsWith("t-"))).toEqual(["t-0"]);
  });

  test("a folder that no metadata knows is renamed and kept (S1)", async () => {
    using data = temporaryDirectory();
    const first = await startRealBroker(data.path);
    await first.client.createTopic("t");
    await produce(first, "t", "a");
    await first.stop();
    const stray = join(data.path, "lost-0");
    await Bun.$`cp -r ${join(data.path, "t-0")} ${stray}`.quiet();
    await using second = await startRealBroker(data.path);
    expect(existsSync(stray)).toBe(false);
    expect(readdirSync(join(data.path, "lost-0-stray"))).toEqual(readdirSync(join(data.path, "t-0")));
    expect(second.log.join("\n")).toContain("lost-0-stray");
  });

  test("a waiting fetch is answered by the produce that fills it, and by its deadline when nothing comes (#31)", async () => {
    using data = temporaryDirectory();
    await using broker = await startRealBroker(data.path);
    await broker.client.createTopic("t");
    const waiting = broker.client.fetch("t", 0, 0, { maxWaitMs: 20_000 });
    await produce(broker, "t", "a");
    expect((await waiting).records).toHaveLength(1);
    const idle = await broker.client.fetch("t", 0, 1, { maxWaitMs: 20 });
    expect(idle).toMatchObject({ errorCode: Errors.NONE, records: [] });
  });

  test("create, delete and create again in one run of requests answer each item (#46)", async () => {
    using data = temporaryDirectory();
    await using broker = await startRealBroker(data.path);
    const deletion = await broker.client.request("any", ApiKey.DeleteTopics, {
      topics: [{ name: "never", topicId: ZERO_UUID }],
      topicNames: [],
      timeoutMs: 1000,
    });
    expect(deletion.responses.map(({ errorCode }) => errorCode)).toEqual([Errors.UNKNOWN_TOPIC_OR_PARTITION]);
  });
});

describe("a data directory that cannot be used is one clear line, and nothing is touched", () => {
  const refusal = async (path: string, settings: Record<string, string> = {}): Promise<string> =>
    startRealBroker(path, settings).then(
      async (broker) => {
        await broker.stop();
        return "started";
      },
      (error: unknown) => String(error),
    );

  test("two brokers on one", async () => {
    using data = temporaryDirectory();
    await using _broker = await startRealBroker(data.path);
    expect(await refusal(data.path)).toContain("is used by another process");
  });

  test("another node's, another cluster's format, a foreign folder, several directories", async () => {
    using data = temporaryDirectory();
    const first = await startRealBroker(data.path);
    await first.stop();
    const properties = join(data.path, "meta.properties");
    const content = readFileSync(properties, "utf8");
    const listing = readdirSync(data.path);
    expect(await refusal(data.path, { "node.id": "7" })).toContain("node.id is 1, but this broker's node.id is 7");
    writeFileSync(properties, content.replace("version=1", "version=2"));
    expect(await refusal(data.path)).toContain("version is 2, 1 is supported");
    writeFileSync(properties, content);
    expect(readdirSync(data.path)).toEqual(listing);
    expect(await refusal(`${data.path},${data.path}-b`)).toContain("one directory is supported");
    using foreign = temporaryDirectory();
    writeFileSync(join(foreign.path, "thesis.txt"), "chapter 1");
    expect(await refusal(foreign.path)).toContain("is not empty");
    expect(readdirSync(foreign.path).filter((name) => name !== ".lock")).toEqual(["thesis.txt"]);
  });

  test("a port in use", async () => {
    using data = temporaryDirectory();
    await using broker = await startRealBroker(data.path);
    using other = temporaryDirectory();
    const { port } = broker.broker.listeners[0]!.endpoint;
    expect(await refusal(other.path, { listeners: `PLAINTEXT://127.0.0.1:${port}` })).toContain(
      `127.0.0.1:${port} cannot be bound: the port is in use`,
    );
    expect(readdirSync(other.path)).toEqual([]);
  });
});
