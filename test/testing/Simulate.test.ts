/** What `simulate` gives a user's test: one seed, virtual time, a broker that comes back, programs that are started again. */
import { describe, expect, test } from "bun:test";
import { type SimulatedWorld, SimulationFailure, simulate } from "../../actors/testing/index.ts";
import { connect } from "../../src/client/Client.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | null): string => new TextDecoder().decode(bytes ?? undefined);

/** Writes and reads under faults. */
const busy = async (world: SimulatedWorld): Promise<number> => {
  const client = world.machine("client").kafka();
  const producer = client.producer({ retryBackoffMs: 10 });
  for (let i = 0; i < 20; i++) await producer.send("t", 0, [{ value: utf8(String(i)) }]);
  return (await client.readAll("t", 0)).length;
};

const failureOf = async (scenario: (world: SimulatedWorld) => Promise<unknown>): Promise<SimulationFailure> => {
  const failure = await simulate(scenario, { seed: 3, topics: ["t"] }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(SimulationFailure);
  return failure as SimulationFailure;
};

describe("a world", () => {
  test("is the same for the same seed, and another for another", async () => {
    const run = (seed: number) => simulate(busy, { seed, topics: ["t"], faults: { withinMs: 300 }, trace: true });
    const [one, again, other] = await Promise.all([run(1), run(1), run(2)]);
    expect(one.value).toBe(20);
    expect(again.hash).toBe(one.hash);
    expect(again.trace).toEqual(one.trace);
    expect(other.hash).not.toBe(one.hash);
    expect(Object.keys(one.faults).length).toBeGreaterThan(0);
  });

  test("lets an hour of waiting pass at once", async () => {
    const began = performance.now();
    const { value, simulatedMs } = await simulate(
      async (world) => {
        const before = world.now();
        await world.sleep(3_000_000);
        return world.now() - before;
      },
      { seed: 1 },
    );
    expect(value).toBe(3_000_000);
    expect(simulatedMs).toBeGreaterThanOrEqual(3_000_000);
    expect(performance.now() - began).toBeLessThan(60_000);
  });

  test("has a broker that keeps what it acknowledged through a power cut, and takes its settings", async () => {
    const { value } = await simulate(
      async (world) => {
        const client = world.machine().kafka({ retryBackoffMs: 10 });
        const producer = client.producer();
        const sent = await producer.send("t", 0, [{ value: utf8("kept") }]);
        world.broker.powerCut("lost");
        expect(world.broker.isAlive).toBe(false);
        const [record] = await client.readAll("t", 0);
        expect(world.broker.isAlive).toBe(true);
        const large = await client.producer().send("t", 0, [{ value: new Uint8Array(2000) }]);
        return [sent.type, text(record!.value), large];
      },
      {
        seed: 4,
        topics: [{ name: "t", config: { "max.message.bytes": 1000 } }],
        config: { "log.flush.policy": "ack" },
      },
    );
    expect(value).toMatchObject(["ok", "kept", { error: "MESSAGE_TOO_LARGE" }]);
  });

  test("has wires that can be cut and processes that can be paused", async () => {
    const { value } = await simulate(
      async (world) => {
        const machine = world.machine("far away");
        const client = machine.kafka({ requestTimeoutMs: 200, retryBackoffMs: 10 });
        const producer = client.producer({ deliveryTimeoutMs: 500 });
        const outcomes: string[] = [(await producer.send("t", 0, [{ value: utf8("1") }])).type];
        world.cut(machine);
        outcomes.push((await producer.send("t", 0, [{ value: utf8("2") }])).type);
        world.heal();
        world.broker.pause();
        const waiting = client.producer().send("t", 0, [{ value: utf8("3") }]);
        outcomes.push(await Promise.race([waiting.then(({ type }) => type), world.sleep(5000).then(() => "silence")]));
        world.broker.resume();
        outcomes.push((await waiting).type);
        return outcomes;
      },
      { seed: 5, topics: ["t"] },
    );
    expect(value).toEqual(["ok", "info", "silence", "ok"]);
  });

  test("starts a service again when it is killed or throws, and faults find it", async () => {
    const lives: string[] = [];
    const { faults } = await simulate(
      (world) =>
        world.service("worker", async (machine) => {
          lives.push(machine.name);
          if (lives.length === 1) throw new Error("not today");
          if (lives.length === 2) machine.kill();
          await machine.sleep(1000);
        }),
      { seed: 6, restartMs: 50, faults: [{ kind: "client kill", atMs: 400, forMs: 1 }] },
    );
    expect(lives).toEqual(["worker", "worker", "worker", "worker"]);
    expect(faults).toEqual({ "client kill": 1 });
  });

  test("has a door for the stream client", async () => {
    const { value } = await simulate(
      async (world) => {
        const client = await connect("ws://broker", { platform: world.machine().stream });
        const sent = client.producer();
        await sent.send({ topic: "t", value: utf8("over frames") });
        const consumer = client.consume({ topics: "t", from: "earliest" });
        const { value: record } = await consumer.next();
        await client.close();
        return text(record!.value as Uint8Array);
      },
      { seed: 7, topics: ["t"] },
    );
    expect(value).toBe("over frames");
  });
});

describe("what goes wrong is a SimulationFailure with the seed:", () => {
  test("a scenario that throws", async () => {
    const cause = new Error("two orders are lost");
    const failure = await failureOf(() => Promise.reject(cause));
    expect(failure).toMatchObject({ seed: 3, cause, message: "seed 3: two orders are lost" });
    expect(failure.trace.length).toBeGreaterThan(0);
  });

  test("a scenario that waits for what never comes", async () => {
    const failure = await failureOf(async (world) => {
      const machine = world.machine();
      const sleeping = machine.sleep(10);
      machine.kill();
      await sleeping;
    });
    expect(failure.message).toContain("not ended after 3600000 virtual milliseconds");
  });

  test("a scenario that touches what is outside", async () => {
    const failure = await failureOf(() => new Promise((resolve) => setTimeout(resolve, 1)));
    expect(failure.message).toContain("setTimeout");
  });

  test("a history with an anomaly", async () => {
    const failure = await failureOf(async (world) => {
      const client = world.machine().kafka();
      const producer = world.history.producer(client.producer());
      await producer.send("t", 0, [{ value: utf8("1") }]);
      const unrecorded = client.consumer({ autoOffsetReset: "earliest" });
      const consumer = world.history.consumer(unrecorded);
      consumer.assign([{ topic: "t", partition: 0 }]);
      await consumer.poll(100);
      for (const value of ["2", "3"]) await producer.send("t", 0, [{ value: utf8(value) }]);
      unrecorded.seek({ topic: "t", partition: 0 }, 2);
      await consumer.poll(100);
    });
    expect(failure.message).toStartWith("seed 3: the history has anomalies\n");
    expect(failure.message).toContain("poll-skip");
  });

  test.each([
    [{ faults: { kinds: ["earthquake"] } }, "simulate: faults: earthquake (allowed: power cut, kill,"],
    [{ faults: [{ kind: "earthquake", atMs: 0, forMs: 1 }] }, "simulate: faults: earthquake (allowed:"],
    [{ faults: [{ kind: "kill", atMs: -1, forMs: 1 }] }, "simulate: faults: atMs of kill is -1 (allowed: 0 and more)"],
    [{ faults: [{ kind: "kill", atMs: 1 }] }, "simulate: faults: forMs of kill is undefined (allowed: 0 and more)"],
    [{ faults: { counts: 3 } }, "simulate: faults: counts (allowed: kinds, count, withinMs)"],
    [{ faults: { count: -1 } }, "simulate: faults: count is -1 (allowed: 0 and more)"],
    [{ faults: 5 }, "simulate: faults: 5 (allowed: an object with kinds, count, withinMs)"],
    [{ fault: {} }, "simulate: fault (allowed: seed, topics"],
    [{ seed: undefined }, "simulate: seed is undefined (allowed: a number or a text)"],
    [{ latencyMs: -1 }, "simulate: latencyMs is -1 (allowed: 0 and more)"],
    [{ restartMs: Number.NaN }, "simulate: restartMs is NaN (allowed: 0 and more)"],
    [{ topics: "orders" }, 'simulate: topics: "orders" (allowed: a list)'],
    [{ config: { "log.dirs": "/tmp" } }, "simulate: log.dirs is decided by the world"],
    [{ config: { "no.such.key": 1 } }, "no.such.key"],
  ])("%j is refused", async (options, message) => {
    await expect(simulate(async () => {}, { seed: 1, ...(options as object) })).rejects.toThrow(message);
  });
});
