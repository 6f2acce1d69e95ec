/** The consumer against the broker itself: assigned, in groups of both protocols, through restarts and fences. */
import { describe, expect, test } from "bun:test";
import type { GroupEvent } from "../../actors/testing/GroupMembership.ts";
import type { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import type { ConsumerOptions, KafkaConsumer, PolledPartition } from "../../actors/testing/KafkaConsumer.ts";
import { KafkaError } from "../../actors/testing/KafkaError.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { type ClientScene, playClients, textOf, utf8 } from "./ClientScene.ts";

const TIME = 30_000;

const produce = async (client: KafkaClient, partition: number, ...values: string[]): Promise<void> => {
  const producer = client.producer({ retryBackoffMs: 20 });
  for (const value of values) await producer.send("t", partition, [{ value: utf8(value) }]);
};

const shown = (polled: ReadonlyArray<PolledPartition>): string[] =>
  polled.flatMap(({ records }) => records.map(({ value }) => textOf(value)));

/** Polls until so many records have come. */
const read = async (consumer: KafkaConsumer, count: number): Promise<string[]> => {
  const found: string[] = [];
  for (let polls = 0; found.length < count && polls < 200; polls++) found.push(...shown(await consumer.poll(100)));
  return found;
};

const SPEED = { sessionTimeoutMs: 1000, heartbeatIntervalMs: 100, autoOffsetReset: "earliest" } as const;

/** Keeps consumers polling until `done` says so, or for two virtual minutes. */
const pollAll = async (
  { sleep }: ClientScene,
  consumers: ReadonlyArray<KafkaConsumer>,
  done: () => boolean,
): Promise<void> => {
  let going = true;
  const loops = consumers.map(async (consumer) => {
    while (going) await consumer.poll(50);
  });
  for (let waited = 0; !done() && waited < 120_000; waited += 50) await sleep(50);
  going = false;
  await Promise.all(loops);
  expect(done()).toBe(true);
};

const partitionsOf = (consumer: KafkaConsumer): number[] =>
  consumer.assignment.map(({ partition }) => partition).sort();

describe("assigned", () => {
  test("reads from where it is told, seeks, and goes on where it was after a change of assignment", () => {
    playClients(async ({ client }) => {
      const own = client();
      await own.createTopic("t", { partitions: 2 });
      await produce(own, 0, "a", "b", "c");
      await produce(own, 1, "x");
      const consumer = own.consumer({ autoOffsetReset: "earliest" });
      consumer.assign([{ topic: "t", partition: 0, offset: 1 }]);
      expect(await read(consumer, 2)).toEqual(["b", "c"]);
      consumer.assign([
        { topic: "t", partition: 0 },
        { topic: "t", partition: 1 },
      ]);
      expect(await read(consumer, 1)).toEqual(["x"]);
      consumer.seek({ topic: "t", partition: 0 }, 0);
      expect(await read(consumer, 3)).toEqual(["a", "b", "c"]);
      expect(consumer.position({ topic: "t", partition: 0 })).toBe(3);
      expect(await consumer.poll(50)).toEqual([]);
    });
  });

  test.each([true, false])("waits for what is produced, also through a restart (sessions: %p)", (fetchSessions) => {
    playClients(async ({ client, sleep, restart }) => {
      const own = client({ requestTimeoutMs: 1000, connectTimeoutMs: 200 });
      await own.createTopic("t");
      const consumer = own.consumer({ autoOffsetReset: "earliest", fetchSessions });
      consumer.assign([{ topic: "t", partition: 0 }]);
      const reading = read(consumer, 4);
      await produce(own, 0, "a", "b");
      await sleep(300);
      await restart();
      await produce(own, 0, "c", "d");
      expect(await reading).toEqual(["a", "b", "c", "d"]);
    });
  });

  test("a position that is not there is reset by the policy, and told; without a policy it is thrown", () => {
    playClients(async ({ client }) => {
      const own = client();
      await own.createTopic("t");
      await produce(own, 0, "a", "b", "c");
      await own.admin.deleteRecords("t", 0, 2);
      const troubles: string[] = [];
      const consumer = own.consumer({ autoOffsetReset: "earliest", onTrouble: ({ kind }) => troubles.push(kind) });
      consumer.assign([{ topic: "t", partition: 0, offset: 0 }]);
      expect(await read(consumer, 1)).toEqual(["c"]);
      expect(troubles).toEqual(["out of range"]);
      const strict = own.consumer({ autoOffsetReset: "error" });
      strict.assign([{ topic: "t", partition: 0, offset: 0 }]);
      const codeOf = strict.poll(500).catch((error: unknown) => (error as KafkaError).code);
      expect(await codeOf).toBe(Errors.OFFSET_OUT_OF_RANGE);
    });
  });

  test("read_committed shows what is committed, read_uncommitted all", () => {
    playClients(async ({ client }) => {
      const own = client();
      await own.createTopic("t");
      const producer = own.producer({ transactionalId: "tx", retryBackoffMs: 20 });
      await producer.init();
      for (const [value, end] of [
        ["a", "commit"],
        ["b", "abort"],
        ["c", "commit"],
      ] as const) {
        producer.begin();
        await producer.send("t", 0, [{ value: utf8(value) }]);
        await producer[end]();
      }
      await own.sleep(500);
      const assigned = (isolation: ConsumerOptions["isolation"]): KafkaConsumer => {
        const consumer = own.consumer({ autoOffsetReset: "earliest", isolation: isolation! });
        consumer.assign([{ topic: "t", partition: 0 }]);
        return consumer;
      };
      expect(await read(assigned("read_committed"), 2)).toEqual(["a", "c"]);
      expect(await read(assigned("read_uncommitted"), 3)).toEqual(["a", "b", "c"]);
    });
  });
});

const PROTOCOLS: ReadonlyArray<readonly [string, ConsumerOptions]> = [
  ["classic range", { groupProtocol: "classic", assignors: ["range"] }],
  ["classic round-robin", { groupProtocol: "classic", assignors: ["roundrobin"] }],
  ["classic cooperative", { groupProtocol: "classic", assignors: ["cooperative-sticky"] }],
  ["KIP-848", { groupProtocol: "consumer" }],
  ["KIP-848 range", { groupProtocol: "consumer", serverAssignor: "range" }],
];

describe.each(PROTOCOLS)("a group, %s", (_, protocol) => {
  const member = (client: KafkaClient, options: ConsumerOptions = {}): KafkaConsumer => {
    const consumer = client.consumer({ groupId: "g", ...SPEED, ...protocol, ...options });
    consumer.subscribe(["t"]);
    return consumer;
  };

  test(
    "members share the partitions, whoever comes and goes, and go on from what was committed",
    () => {
      playClients(async (scene) => {
        const { client } = scene;
        const own = client();
        await own.createTopic("t", { partitions: 4 });
        for (let partition = 0; partition < 4; partition++)
          await produce(own, partition, `${partition}a`, `${partition}b`);
        const first = member(client());
        expect((await read(first, 8)).sort()).toEqual(["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b"]);
        expect(await first.commit()).toEqual({ type: "ok" });
        const second = member(client());
        const both = [first, second];
        await pollAll(scene, both, () => both.every((consumer) => partitionsOf(consumer).length === 2));
        expect([...partitionsOf(first), ...partitionsOf(second)].sort()).toEqual([0, 1, 2, 3]);
        await first.close();
        await pollAll(scene, [second], () => partitionsOf(second).length === 4);
        // Everything was committed: nothing is read again.
        expect(shown(await second.poll(300))).toEqual([]);
        await produce(own, 3, "3c");
        expect(await read(second, 1)).toEqual(["3c"]);
        await second.close();
      });
    },
    TIME,
  );

  test(
    "offsets committed while partitions are given up are where the next owner begins",
    () => {
      playClients(async (scene) => {
        const { client } = scene;
        const own = client();
        await own.createTopic("t", { partitions: 2 });
        await produce(own, 0, "a", "b");
        await produce(own, 1, "c", "d");
        const first: KafkaConsumer = member(client(), { onRevoked: async () => void (await first.commit()) });
        await read(first, 4);
        const second = member(client());
        const seen: string[] = [];
        await pollAll(scene, [first, second], () => [first, second].every((one) => partitionsOf(one).length === 1));
        await produce(own, 0, "e");
        await produce(own, 1, "f");
        for (let polls = 0; polls < 40; polls++) {
          for (const consumer of [first, second]) seen.push(...shown(await consumer.poll(20)));
        }
        expect(seen.sort()).toEqual(["e", "f"]);
      });
    },
    TIME,
  );

  test(
    "a member that dies is missed after its session, one that was thought dead joins again",
    () => {
      playClients(async (scene) => {
        const { client, world } = scene;
        const own = client();
        await own.createTopic("t", { partitions: 2 });
        const events: GroupEvent["type"][] = [];
        const machine = world.process("sleeper", { host: "10.0.9.9" });
        const { network, clock, random } = machine;
        const { codecs } = own.platform;
        const other = new (own.constructor as typeof KafkaClient)({ network, clock, random, codecs }, own.options);
        const sleeper = member(other, { observe: ({ type }) => events.push(type) });
        const awake = member(client());
        const both = [sleeper, awake];
        await pollAll(scene, both, () => both.every((consumer) => partitionsOf(consumer).length === 1));
        machine.pause();
        await pollAll(scene, [awake], () => partitionsOf(awake).length === 2);
        machine.resume();
        await pollAll(scene, both, () => both.every((consumer) => partitionsOf(consumer).length === 1));
        expect(events).toContain("lost");
        sleeper.abandon();
        await pollAll(scene, [awake], () => partitionsOf(awake).length === 2);
      });
    },
    TIME,
  );

  test(
    "the group lives through a restart of its coordinator",
    () => {
      playClients(async (scene) => {
        const { client, restart } = scene;
        const own = client({ connectTimeoutMs: 200 });
        await own.createTopic("t", { partitions: 2 });
        await produce(own, 0, "a");
        const consumer = member(client({ connectTimeoutMs: 200 }));
        expect(await read(consumer, 1)).toEqual(["a"]);
        expect(await consumer.commit()).toEqual({ type: "ok" });
        await restart();
        await produce(own, 1, "b");
        expect(await read(consumer, 1)).toEqual(["b"]);
        expect(await consumer.commit()).toEqual({ type: "ok" });
        const found = await own.admin.groupOffsets("g");
        const offsets = found.map(({ partition, offset }) => [partition, offset]).sort();
        expect(offsets).toEqual([
          [0, 1],
          [1, 1],
        ]);
      });
    },
    TIME,
  );

  test(
    "what is committed by a transaction is fenced with the member that has lost its partitions",
    () => {
      playClients(async (scene) => {
        const { client } = scene;
        const own = client();
        await own.createTopic("t", { partitions: 1 });
        await produce(own, 0, "a");
        const consumer = member(client());
        await read(consumer, 1);
        const producer = own.producer({ transactionalId: "tx", retryBackoffMs: 20 });
        await producer.init();
        producer.begin();
        expect(await producer.sendOffsets(consumer.offsets(), consumer.group)).toEqual({ type: "ok" });
        expect(await producer.commit()).toEqual({ type: "ok" });
        const { offset } = (await consumer.committed([{ topic: "t", partition: 0 }]))[0]!;
        expect(offset).toBe(1);
        const stale = { ...consumer.group, memberId: "somebody else" };
        producer.begin();
        expect((await producer.sendOffsets(consumer.offsets(), stale)).type).toBe("fail");
        expect(await producer.abort()).toEqual({ type: "ok" });
      });
    },
    TIME,
  );
});

test("what is committed is known by the topics' ids as they were asked, also when the client forgets them meanwhile", () => {
  playClients(
    async ({ client, sleep }) => {
      const own = client();
      await own.createTopic("t", { partitions: 1 });
      const consumer = own.consumer({ groupId: "g" });
      const partition = { topic: "t", partition: 0 };
      await consumer.commit([{ ...partition, offset: 7 }]);
      for (let ms = 0; ms < 12; ms += 0.5) {
        const asked = consumer.committed([partition]);
        await sleep(ms);
        own.forgetTopics();
        expect((await asked).map(({ offset }) => offset)).toEqual([7]);
      }
    },
    { seeds: 8 },
  );
});

test("a consumer that is given up while its coordinator is looked for sends it nothing more", () => {
  playClients(
    async ({ client, sleep }) => {
      const own = client();
      await own.createTopic("t", { partitions: 1 });
      const consumer = own.consumer({ groupId: "g", ...SPEED, groupProtocol: "consumer" });
      consumer.subscribe(["t"]);
      const { coordinators } = own;
      const find = coordinators.find.bind(coordinators);
      coordinators.find = async (...which) => {
        const node = await find(...which);
        consumer.abandon();
        return node;
      };
      expect(await consumer.poll(100)).toEqual([]);
      await sleep(500);
      expect(await client().admin.listGroups()).toEqual([]);
    },
    { seeds: 1 },
  );
});

test("a static member that closes while it joins waits for nobody: it stays", () => {
  playClients(
    async (scene) => {
      const own = scene.client();
      await own.createTopic("t", { partitions: 1 });
      const consumer = own.consumer({ groupId: "g", groupInstanceId: "one", ...SPEED, groupProtocol: "classic" });
      consumer.subscribe(["t"]);
      own.coordinators.find = () => new Promise(() => {});
      await consumer.poll(10);
      const began = own.platform.clock.monotonic();
      await consumer.close(5000);
      expect(own.platform.clock.monotonic() - began).toBeLessThan(100);
    },
    { seeds: 1 },
  );
});

test("a member commits by the generation whose assignment it has taken over, not by one that it has only joined", () => {
  playClients(async (scene) => {
    await scene.client().createTopic("t", { partitions: 2 });
    const seen: Array<{ readonly joined: number; readonly group: number }> = [];
    const first: KafkaConsumer = scene.client().consumer({
      groupId: "g",
      ...SPEED,
      assignors: ["cooperative-sticky"],
      observe: ({ type, generation }) => {
        if (type === "joined" || type === "synced") seen.push({ joined: generation, group: first.group.generationId });
      },
    });
    const second = scene.client().consumer({ groupId: "g", ...SPEED, assignors: ["cooperative-sticky"] });
    for (const consumer of [first, second]) consumer.subscribe(["t"]);
    await pollAll(scene, [first], () => first.assignment.length === 2);
    await pollAll(scene, [first, second], () => [first, second].every(({ assignment }) => assignment.length === 1));
    expect(seen.length).toBeGreaterThan(3);
    for (const { joined, group } of seen) expect(group).toBeLessThan(joined);
    expect(first.group.generationId).toBe(seen.at(-1)!.joined);
  });
});

test.each(["classic", "consumer"] as const)(
  "whoever is closed while it joins is not waited for (%s)",
  (groupProtocol) => {
    playClients(
      async (scene) => {
        await scene.client().createTopic("t", { partitions: 2 });
        const consumer = (): KafkaConsumer => {
          const one = scene.client().consumer({ groupId: "g", heartbeatIntervalMs: 100, groupProtocol });
          one.subscribe(["t"]);
          return one;
        };
        const anchor = consumer();
        const waited: number[] = [];
        for (let ms = 0; ms < 100; ms += 5) {
          await pollAll(scene, [anchor], () => anchor.assignment.length === 2);
          const [closed, next] = [consumer(), consumer()];
          await closed.poll(ms);
          const began = scene.world.clock.now;
          await closed.close(2000);
          await pollAll(scene, [anchor, next], () => next.assignment.length === 1);
          waited.push(scene.world.clock.now - began);
          await next.close(2000);
        }
        // Sessions are 45 seconds long.
        expect(Math.max(...waited)).toBeLessThan(10_000);
      },
      { seeds: 3, settings: { "group.consumer.session.timeout.ms": "45000" } },
    );
  },
);

describe("what a group refuses", () => {
  test(
    "a subscription by pattern grows with the topics",
    () => {
      for (const groupProtocol of ["classic", "consumer"] as const) {
        playClients(
          async (scene) => {
            const own = scene.client();
            await own.createTopic("t-1");
            const options = { groupId: "g", ...SPEED, groupProtocol, metadataMaxAgeMs: 200 };
            const consumer = scene.client().consumer(options);
            consumer.subscribe(/^t-\d$/);
            await pollAll(scene, [consumer], () => consumer.assignment.length === 1);
            await own.createTopic("t-2", { partitions: 2 });
            await own.createTopic("other");
            await pollAll(scene, [consumer], () => consumer.assignment.length === 3);
          },
          { seeds: 2 },
        );
      }
    },
    TIME,
  );

  test(
    "a static member that is replaced is told so",
    () => {
      playClients(async (scene) => {
        const own = scene.client();
        await own.createTopic("t");
        const options = { groupId: "g", ...SPEED, groupInstanceId: "one" };
        const [first, second] = [own.consumer(options), scene.client().consumer(options)];
        for (const consumer of [first, second]) consumer.subscribe(["t"]);
        await pollAll(scene, [first], () => first.assignment.length === 1);
        await pollAll(scene, [second], () => second.assignment.length === 1);
        const refused = async (): Promise<number | undefined> => {
          for (let polls = 0; polls < 50; polls++) {
            const code = await first.poll(50).then(
              () => undefined,
              (error: unknown) => (error instanceof KafkaError ? error.code : -1),
            );
            if (code !== undefined) return code;
          }
          return undefined;
        };
        expect(await refused()).toBe(Errors.FENCED_INSTANCE_ID);
      });
    },
    TIME,
  );
});

describe("KafkaAdmin", () => {
  test("groups are listed, described, and deleted once they are empty; offsets are altered and deleted", () => {
    playClients(async (scene) => {
      const { client } = scene;
      const own = client();
      await own.createTopic("t", { partitions: 2 });
      const consumer = client().consumer({ groupId: "g", ...SPEED, groupProtocol: "consumer" });
      consumer.subscribe(["t"]);
      await pollAll(scene, [consumer], () => consumer.assignment.length === 2);
      expect(await own.admin.listGroups()).toEqual([{ groupId: "g", state: "Stable", type: "consumer" }]);
      expect(await own.admin.describeGroup("g")).toMatchObject({
        type: "consumer",
        members: [{ groupInstanceId: null }],
      });
      expect(await own.admin.describeGroup("nobody")).toBeUndefined();
      expect(await own.admin.alterGroupOffsets("g", [{ topic: "t", partition: 0, offset: 0 }])).toMatchObject({
        type: "fail",
      });
      await consumer.close();
      expect(await own.admin.alterGroupOffsets("g", [{ topic: "t", partition: 0, offset: 7 }])).toEqual({ type: "ok" });
      expect(await own.admin.groupOffsets("g")).toMatchObject([{ topic: "t", partition: 0, offset: 7 }]);
      await own.admin.deleteGroupOffsets("g", [{ topic: "t", partition: 0 }]);
      expect(await own.admin.groupOffsets("g")).toEqual([]);
      await own.admin.deleteGroup("g");
      expect(await own.admin.listGroups()).toEqual([]);
    });
  });

  test("partitions are added, records deleted, configurations changed", () => {
    playClients(async ({ client }) => {
      const own = client();
      await own.createTopic("t");
      await own.admin.createPartitions("t", 3);
      expect((await own.topic("t")).leaders).toHaveLength(3);
      await produce(own, 0, "a", "b");
      expect(await own.admin.deleteRecords("t", 0, 1)).toBe(1);
      await own.admin.alterTopicConfigs("t", { "retention.ms": "1234" });
      expect((await own.admin.topicConfigs("t")).get("retention.ms")).toBe("1234");
      await own.admin.alterTopicConfigs("t", { "retention.ms": null });
      expect((await own.admin.topicConfigs("t")).get("retention.ms")).toBe("604800000");
    });
  });
});
