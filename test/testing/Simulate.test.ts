/** What `simulate` gives a user's test: one seed, virtual time, a broker that comes back, programs that are started again. */
import { describe, expect, test } from "bun:test";
import { type KafkaClient, type SimulatedWorld, SimulationFailure, simulate } from "../../actors/testing/index.ts";
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

describe("what a world promises:", () => {
  const type = async (client: KafkaClient, deliveryTimeoutMs = 500): Promise<string> =>
    (await client.producer({ deliveryTimeoutMs }).send("t", 0, [{ value: utf8("x") }])).type;
  const impatient = { requestTimeoutMs: 100, retryBackoffMs: 10 };

  test("heal makes everything whole as often as it is called, what a scenario itself has stopped too", async () => {
    const { value } = await simulate(
      async (world) => {
        const machine = world.machine();
        const client = machine.kafka(impatient);
        const told: string[] = [];
        // The planned faults' own end comes first.
        await world.sleep(100);
        for (let time = 0; time < 2; time++) {
          world.cut(machine);
          told.push(await Promise.race([type(client), world.sleep(5000).then(() => "silence")]));
          world.heal();
          told.push(await type(client));
          machine.pause();
          world.broker.pause();
          world.heal();
          told.push(
            await Promise.race([machine.sleep(10).then(() => "awake"), world.sleep(5000).then(() => "asleep")]),
          );
          told.push(await type(client));
        }
        return told;
      },
      { seed: 1, topics: ["t"], faults: [{ kind: "clock jump", atMs: 1, forMs: 1 }] },
    );
    expect(value).toEqual(["silence", "ok", "awake", "ok", "silence", "ok", "awake", "ok"]);
  });

  test("a machine that is stopped does nothing, has an address of its own, and is cut off one way or both", async () => {
    const { value } = await simulate(
      async (world) => {
        const [one, other] = [world.machine(), world.machine()];
        const told: unknown[] = [one.wall() === other.wall(), one.wall() - 1_767_225_600_000 < 60_000];
        one.pause();
        told.push(await Promise.race([one.sleep(1).then(() => "awake"), world.sleep(100).then(() => "asleep")]));
        one.resume();
        for (const way of ["to", "from", "both"] as const) {
          world.cut(one, way);
          told.push([await type(one.kafka(impatient)), await type(other.kafka(impatient))]);
          world.heal();
        }
        const stored = (await other.kafka().readAll("t", 0)).length;
        return [...told, stored];
      },
      { seed: 1, topics: ["t"], check: false },
    );
    // A request that arrived was done, though nobody was told: three times by the other machine, and once by the one.
    expect(value.slice(0, 3)).toEqual([true, true, "asleep"]);
    for (const [cutOff, other] of value.slice(3, 6) as string[][])
      expect([cutOff, other]).toEqual([expect.not.stringMatching("ok"), "ok"]);
  });

  test("what it was asked for: latency, time, trace, partitions, restarts", async () => {
    const slow = await simulate(
      async (world) => {
        const client = world.machine().kafka();
        const began = world.now();
        for (let i = 0; i < 10; i++) {
          const sent = await client.producer().send("t", 2, [{ value: utf8("x") }]);
          expect(sent.type).toBe("ok");
        }
        const took = world.now() - began;
        for (let i = 0; i < 300; i++) world.note(`line ${i}`);
        world.broker.kill();
        const died = world.now();
        while (!world.broker.isAlive) await world.sleep(10);
        return { took, down: world.now() - died };
      },
      { seed: 1, topics: [{ name: "t", partitions: 3 }], latencyMs: 100, trace: true, restartMs: 3000 },
    );
    expect(slow.value.took).toBeGreaterThan(500);
    expect(slow.value.down).toBeWithin(3000, 3020);
    expect(slow.trace).toContain("line 0");
    const short = await simulate(async (world) => world.sleep(5000), { seed: 1, maxTimeMs: 1000 }).catch(String);
    expect(short).toContain("seed 1: not ended after 1000 virtual milliseconds");
  });

  test("a service has one machine, and what a life that threw leaves behind ends with it", async () => {
    const { value, trace } = await simulate(
      async (world) => {
        const began: number[] = [];
        const ticks: string[] = [];
        let addresses = 0;
        await world.service("worker", async (machine) => {
          began.push(world.now());
          if (began.length === 1) {
            void machine.sleep(500).then(() => ticks.push("left behind"));
            throw new Error("not today");
          }
          if (began.length === 2) {
            addresses += 1;
            machine.kill();
          }
          await machine.sleep(1000);
        });
        return { lives: began.length, ticks, pauses: began.slice(1).map((at, index) => at - began[index]!), addresses };
      },
      { seed: 1, restartMs: 50 },
    );
    expect(value).toEqual({ lives: 3, ticks: [], pauses: [50, 50], addresses: 1 });
    expect(trace).toContain("worker threw: not today");
  });

  test("faults that the seed draws are of the kinds, as many and in the time that was asked for", async () => {
    const run = async (seed: number | string) =>
      simulate(
        async (world) => {
          const picks = [world.random.below(2 ** 32)];
          await world.sleep(300);
          return picks;
        },
        { seed, trace: true, faults: { kinds: ["kill", "pause", "clock jump"], count: 7, withinMs: 100 } },
      );
    const plans = new Set<string>();
    const picks = new Set<number>();
    for (let seed = 0; seed < 6; seed++) {
      const { trace, value } = await run(seed);
      const begun = trace.filter((line) => line.startsWith("fault "));
      expect(begun).toHaveLength(7);
      for (const line of begun) expect(line).toMatch(/^fault \d: (kill|pause|clock jump) for \d+ ms$/);
      plans.add(begun.join());
      picks.add(value[0]!);
    }
    expect([plans.size, picks.size]).toEqual([6, 6]);
  });

  test("a last reader looks at every partition, behind an open transaction too", async () => {
    const failure = await failureOf(async (world) => {
      world.broker.powerCut("lost");
      const client = world.machine().kafka({ retryBackoffMs: 10 });
      const lying = {
        begin() {},
        send: async () => ({ type: "ok", baseOffset: 0, attempts: 1, logAppendTime: -1 }),
      } as unknown as ReturnType<typeof client.producer>;
      const open = client.producer({ transactionalId: "tx", transactionTimeoutMs: 3000 });
      await open.init();
      open.begin();
      await open.send("t", 0, [{ value: utf8("open") }]);
      const real = world.history.producer(client.producer());
      await real.send("t", 0, [{ value: utf8("1") }]);
      await world.history.producer(lying).send("t", 0, [{ value: utf8("never sent") }]);
      await real.send("t", 0, [{ value: utf8("2") }]);
    });
    expect(failure.message).toContain("the history has anomalies");
    expect(failure.message.split("\n").length).toBeLessThanOrEqual(6);
  });

  test("a cut one way only: a request arrives whose answer does not, or it does not", async () => {
    for (const [way, stored] of [
      ["to", 1],
      ["from", 2],
    ] as const) {
      const { value } = await simulate(
        async (world) => {
          const machine = world.machine();
          const producer = machine.kafka(impatient).producer({ deliveryTimeoutMs: 500 });
          const send = async () => (await producer.send("t", 0, [{ value: utf8("x") }])).type;
          const told = [await send()];
          world.cut(machine, way);
          told.push(await send());
          world.heal();
          await world.sleep(1000);
          return [...told, (await world.machine().kafka().readAll("t", 0)).length];
        },
        { seed: 1, topics: ["t"] },
      );
      expect(value).toEqual(["ok", "info", stored]);
    }
  });

  test("a power cut loses what was not flushed, and a broker that the scenario left paused is asked all the same", async () => {
    const { value } = await simulate(
      async (world) => {
        const client = world.machine().kafka({ retryBackoffMs: 10 });
        const sent = [await type(client)];
        world.broker.powerCut();
        const left = (await client.readAll("t", 0)).length;
        sent.push((await world.history.producer(client.producer()).send("t", 0, [{ value: utf8("y") }])).type);
        world.broker.pause();
        return [...sent, left];
      },
      { seed: 1, topics: ["t"], config: { "log.flush.policy": "os" } },
    );
    expect(value).toEqual(["ok", "ok", 0]);
  });

  test("what was lost from any partition is found out", async () => {
    const lost = simulate(
      async (world) => {
        const client = world.machine().kafka();
        const producer = world.history.producer(client.producer());
        const lying = world.history.producer({
          send: async () => ({ type: "ok", baseOffset: 1, attempts: 1, logAppendTime: -1 }),
        } as unknown as ReturnType<typeof client.producer>);
        for (const one of [producer, lying, client.producer(), producer])
          for (const partition of [0, 1])
            if (one !== lying || partition === 1) await one.send("t", partition, [{ value: utf8("x") }]);
      },
      { seed: 1, topics: [{ name: "t", partitions: 2 }] },
    );
    await expect(lost).rejects.toThrow("the history has anomalies");
  });
});
