/** Group members kept by the gateway, against a whole simulated broker: what comes and goes, and who speaks for whom. */
import { describe, expect, test } from "bun:test";
import { bytes, type FrameClient } from "../gateway/FrameClient.ts";
import { type Connected, type GatewayWorld, withGateway } from "../gateway/GatewayWorld.ts";
import { type Assigned, GroupClient, type GroupClientOptions } from "../gateway/GroupClient.ts";

interface Member extends Connected {
  readonly group: GroupClient;
}

const join = async (world: GatewayWorld, options: GroupClientOptions, fields: object = {}): Promise<Member> => {
  const connected = await world.connect();
  const group = new GroupClient(connected.client, options);
  const answer = await group.open(fields);
  if (answer.t !== "ok") throw new Error(JSON.stringify(answer));
  expect(answer).toEqual({ t: "ok", id: expect.any(Number), memberId: options.memberId, partitions: [] });
  return { ...connected, group };
};

const fill = async (client: FrameClient, partition: number, count: number, topic = "t"): Promise<void> => {
  for (let index = 0; index < count; index++) {
    const value = bytes(`${topic}-${partition}-${index}`);
    const answer = await client.request("produce", { topic, partition, records: [[null, value]] });
    if (answer.t !== "ok") throw new Error(JSON.stringify(answer));
  }
};

const all = ["t-0", "t-1", "t-2", "t-3"];
const four = { partitions: 4 };
const errorName = (answer: object): unknown => (answer as { error?: { name: string } }).error?.name;

describe("what is assigned", () => {
  test("a member alone gets all, from where the group committed or as it said, and its records", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      for (const partition of [0, 1, 2, 3]) await fill(client, partition, 10);
      const first = await join(world, { memberId: "a" });
      await first.group.until(() => first.group.seen.length === 40);
      expect(first.group.owned).toEqual(all);
      const [assigned] = first.group.events as unknown as [{ memberEpoch: number; partitions: Assigned[] }];
      expect(assigned.memberEpoch).toBeGreaterThan(0);
      expect(assigned.partitions.map(({ position, committed }) => [position.offset, committed])).toEqual(
        all.map(() => [0, false]),
      );
      const answer = await client.request("commit", { stream: 1, offsets: [] });
      expect(errorName(answer)).toBe("INVALID_REQUEST");
      const committed = await first.client.request("commit", {
        stream: 1,
        offsets: [
          { topic: "t", partition: 0, offset: 4, metadata: "half" },
          { topic: "t", partition: 1, offset: 10, leaderEpoch: 0 },
        ],
      });
      expect(committed.partitions).toEqual([
        { topic: "t", partition: 0 },
        { topic: "t", partition: 1 },
      ]);
      first.client.duplex.close(1000, "");
      const second = await join(world, { memberId: "b", from: "latest" });
      await second.group.until(() => second.group.owned.length === 4);
      const events = second.group.events as unknown as Array<{ partitions: Assigned[] }>;
      const starts = events
        .flatMap(({ partitions }) => partitions)
        .map((each) => [each.partition, each.position.offset, each.committed]);
      expect(starts.sort()).toEqual([
        [0, 4, true],
        [1, 10, true],
        [2, 10, false],
        [3, 10, false],
      ]);
      await second.group.until(() => second.group.seen.length === 6);
    }, four);
  });

  test("without credit a member is paused and stays; with from=none a place must be sought", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 0, 5);
      const paused = await join(world, { memberId: "a", from: "none", credit: { records: 0, bytes: 0 } });
      await paused.group.until(() => paused.group.owned.length === 1);
      await world.sleep(300_000);
      expect(paused.group.seen).toEqual([]);
      expect(paused.group.owned).toEqual(["t-0"]);
      paused.client.send({ t: "credit", stream: 1, records: 100, bytes: 100_000 });
      expect(await paused.client.takeType("outOfRange")).toMatchObject({ topic: "t", partition: 0, offset: -1 });
      const partitions = [{ topic: "t", partition: 0, from: { offset: 3 } }];
      expect((await paused.client.request("seek", { stream: 1, partitions })).t).toBe("ok");
      await paused.group.until(() => paused.group.seen.length === 2);
      const assign = await paused.client.request("assign", { stream: 1, add: partitions, remove: [] });
      expect(errorName(assign)).toBe("INVALID_REQUEST");
    });
  });

  test("a subscription by regular expression grows with the topics", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      const member = await join(world, { memberId: "a", group: { regex: "t.*" } });
      await member.group.until(() => member.group.owned.length === 1);
      await world.client.createTopic("tea");
      await fill(client, 0, 3, "tea");
      await member.group.until(() => member.group.seen.length === 3);
      expect(member.group.owned).toEqual(["t-0", "tea-0"]);
      await world.client.deleteTopic("tea");
      await member.group.until(() => member.group.owned.length === 1);
    });
  });

  test("what is deleted is lost and no error of the stream; the others go on, and it may come again", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await world.client.createTopic("tea");
      await fill(client, 0, 2, "tea");
      const member = await join(world, { memberId: "a", group: { topics: ["t", "tea"] } });
      await member.group.until(() => member.group.seen.length === 2);
      const offsets = [
        { topic: "tea", partition: 0, offset: 2 },
        { topic: "t", partition: 0, offset: 0 },
      ];
      await world.client.deleteTopic("tea");
      await member.group.until(() => member.group.owned.length === 1);
      expect(member.group.events.at(-1)).toMatchObject({
        t: "lost",
        partitions: [{ topic: "tea", partition: 0 }],
        error: { name: "UNKNOWN_TOPIC_ID", retriable: false },
      });
      const answer = await member.client.request("commit", { stream: 1, offsets });
      const outcomes = answer.partitions as Array<{ topic: string; error?: { retriable: boolean } }>;
      expect(outcomes.map(({ topic, error }) => [topic, error?.retriable]).sort()).toEqual([
        ["t", undefined],
        ["tea", false],
      ]);
      await fill(client, 0, 1);
      await member.group.until(() => member.group.seen.length === 3);
      await world.client.createTopic("tea");
      await fill(client, 0, 1, "tea");
      await member.group.until(() => member.group.seen.length === 4);
      expect(member.client.frames.filter(({ t }) => t === "partitionError" || t === "closed")).toEqual([]);
    });
  });

  test("a commit for what was deleted says that it never will be, so that nobody tries again instead of releasing", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 0, 2);
      // Without credit nothing is read, and only the group notices.
      const poor = { memberId: "a", credit: { records: 0, bytes: 0 }, releases: false };
      const member = await join(world, poor);
      await member.group.until(() => member.group.owned.length === 1);
      await world.client.deleteTopic("t");
      const offsets = [{ topic: "t", partition: 0, offset: 2 }];
      const answer = await member.client.request("commit", { stream: 1, offsets });
      expect(answer.partitions).toMatchObject([{ error: { retriable: false } }]);
      expect(member.group.owned).toEqual([]);
    });
  });

  test("what the group will not have is refused with Kafka's error", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      const open = (stream: number, group: object): Promise<object> =>
        new GroupClient(client, { memberId: "a", group }, stream).open();
      expect(errorName(await open(1, { topics: ["t"], assignor: "none such" }))).toBe("UNSUPPORTED_ASSIGNOR");
      expect(errorName(await open(1, { regex: "(" }))).toBe("INVALID_REGULAR_EXPRESSION");
      expect(errorName(await open(1, { topics: [] }))).toBeUndefined();
    });
  });
});

describe("a second member", () => {
  test("gets what the first is asked back and has released, and nothing before that", () => {
    for (let seed = 0; seed < 8; seed++) {
      withGateway(
        async (world) => {
          const { client } = await world.connect();
          for (const partition of [0, 1, 2, 3]) await fill(client, partition, 5);
          const first = await join(world, { memberId: "a", releases: false });
          await first.group.until(() => first.group.seen.length === 20);
          const second = await join(world, { memberId: "b" });
          await first.group.until(() => first.group.events.some(({ t }) => t === "revoke"));
          const revoke = first.group.events.find(({ t }) => t === "revoke") as unknown as {
            partitions: Array<{ topic: string; partition: number }>;
            withinMs: number;
          };
          expect(revoke.withinMs).toBe(300_000);
          expect(revoke.partitions.length).toBe(2);
          // Nothing more of them is pushed, though it is produced.
          const revoked = revoke.partitions.map(({ partition }) => partition);
          for (const partition of [0, 1, 2, 3]) await fill(client, partition, 1);
          await first.group.until(() => first.group.seen.length === 22);
          await world.sleep(30_000);
          expect(first.group.seen.length).toBe(22);
          expect(second.group.owned).toEqual([]);
          await first.group.commit();
          first.group.release(revoke.partitions);
          await second.group.until(() => second.group.owned.length === 2);
          expect(second.group.owned).toEqual(revoked.sort().map((partition) => `t-${partition}`));
          await second.group.until(() => second.group.seen.length === 2);
          expect(first.group.owned.length).toBe(2);
          const stale = await first.client.request("commit", {
            stream: 1,
            offsets: [
              { topic: "t", partition: revoked[0], offset: 1 },
              { topic: "t", partition: Number(first.group.owned[0]!.slice(2)), offset: 6 },
            ],
          });
          const outcomes = stale.partitions as Array<{ partition: number; error?: { name: string } }>;
          expect(outcomes.map(({ error }) => error?.name ?? "fine").sort()).toEqual(["STALE_MEMBER_EPOCH", "fine"]);
        },
        { ...four, seed },
      );
    }
  });

  test("that leaves, by closing its connection or its stream, is followed at once", () => {
    withGateway(async (world) => {
      const first = await join(world, { memberId: "a" });
      await first.group.until(() => first.group.owned.length === 4);
      for (const leave of [
        (member: Member) => member.client.duplex.close(1001, ""),
        (member: Member) => void member.client.request("close", { stream: 1 }),
      ]) {
        const second = await join(world, { memberId: `m${world.world.clock.now}` });
        await second.group.until(() => second.group.owned.length === 2);
        const start = world.world.clock.now;
        leave(second);
        await first.group.until(() => first.group.owned.length === 4);
        // The next heartbeat of the first one.
        expect(world.world.clock.now - start).toBeLessThan(6000);
      }
    }, four);
  });

  test("whose connection breaks keeps its partitions for the session timeout", () => {
    withGateway(async (world) => {
      const first = await join(world, { memberId: "a" });
      await first.group.until(() => first.group.owned.length === 4);
      const second = await join(world, { memberId: "b" });
      await second.group.until(() => second.group.owned.length === 2);
      const start = world.world.clock.now;
      second.link.cut("reset");
      await first.group.until(() => first.group.owned.length === 4);
      expect(world.world.clock.now - start).toBeWithin(40_000, 55_000);
    }, four);
  });

  test("that does not release in time is fenced: what it had is lost, and it joins again", () => {
    withGateway(async (world) => {
      const timeout = { topics: ["t"], rebalanceTimeoutMs: 20_000 };
      const first = await join(world, { memberId: "a", releases: false, group: timeout });
      await first.group.until(() => first.group.owned.length === 4);
      const second = await join(world, { memberId: "b" });
      await first.group.until(() => first.group.events.some(({ t }) => t === "lost"));
      const lost = first.group.events.find(({ t }) => t === "lost") as unknown as {
        partitions: unknown[];
        error: { name: string; retriable: boolean };
      };
      expect(lost.partitions.length).toBe(4);
      expect(lost.error).toMatchObject({ name: "UNKNOWN_MEMBER_ID", retriable: true });
      await first.group.until(() => first.group.owned.length === 2);
      await second.group.until(() => second.group.owned.length === 2);
      expect([...first.group.owned, ...second.group.owned].sort()).toEqual(all);
    }, four);
  });
});

describe("coming back", () => {
  test("in time goes on from where the client was, without gap or repeat, whatever was committed", () => {
    for (let seed = 0; seed < 8; seed++) {
      withGateway(
        async (world) => {
          const { client } = await world.connect();
          for (const partition of [0, 1, 2, 3]) await fill(client, partition, 30);
          const before = await join(world, { memberId: "a", credit: { records: 50, bytes: 1_000_000 } });
          await before.group.until(() => before.group.seen.length === 50);
          before.link.cut("reset");
          await world.sleep(2000);
          const after = await join(world, { memberId: "a" }, before.group.resume);
          await after.group.until(() => after.group.seen.length === 70);
          const [assigned] = after.group.events as unknown as [{ partitions: Assigned[] }];
          expect(assigned.partitions.map(({ committed }) => committed)).toEqual([false, false, false, false]);
          const values = [...before.group.seen, ...after.group.seen].map(([, , , value]) =>
            Buffer.from(value!).toString(),
          );
          expect(new Set(values).size).toBe(120);
          expect(values.length).toBe(120);
        },
        { ...four, seed },
      );
    }
  });

  test("in time is possible though the client has not heard of the last epochs", () => {
    withGateway(async (world) => {
      await world.client.createTopic("u");
      const before = await join(world, { memberId: "a" });
      await before.group.until(() => before.group.owned.length === 1);
      before.link.cut("silent");
      // Somebody else comes and goes: the member's epoch moves with the group's, and nobody is there to hear it.
      for (let times = 0; times < 2; times++) {
        const other = await join(world, { memberId: `o${times}`, group: { topics: ["u"] } });
        await world.sleep(7000);
        other.client.duplex.close(1000, "");
        await world.sleep(7000);
      }
      const after = await join(world, { memberId: "a" }, before.group.resume);
      await after.group.until(() => after.group.events.length > 0);
      expect(after.group.events[0]).toMatchObject({ t: "assigned", partitions: [{ committed: false }] });
      expect(after.group.memberEpoch).toBeGreaterThan(before.group.memberEpoch + 2);
      after.link.cut("reset");
      await world.sleep(1000);
      const again = await join(world, { memberId: "a" }, before.group.resume);
      await again.group.until(() => again.group.events.length > 0);
      expect(again.group.events[0]).toMatchObject({ t: "assigned", partitions: [{ committed: false }] });
    });
  });

  test("too late is told that all is lost, and begins at what was committed", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 0, 10);
      const before = await join(world, { memberId: "a" });
      await before.group.until(() => before.group.seen.length === 10);
      before.link.cut("reset");
      await world.sleep(60_000);
      const after = await join(world, { memberId: "a" }, before.group.resume);
      await after.group.until(() => after.group.seen.length === 10);
      expect(after.group.events.map(({ t }) => t).slice(0, 2)).toEqual(["lost", "assigned"]);
      expect(after.group.events[0]).toMatchObject({
        partitions: [{ topic: "t", partition: 0 }],
        error: { name: "UNKNOWN_MEMBER_ID" },
      });
    });
  });

  test("to a member that was fenced and has joined again unheard is told that all was lost meanwhile", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 0, 10);
      const before = await join(world, { memberId: "a", group: { topics: ["t"], rebalanceTimeoutMs: 5000 } });
      await before.group.until(() => before.group.seen.length === 10 && before.group.owned.length === 4);
      // Nobody hears what is said for it: others have its partitions for a while, and it has them again.
      before.link.cut("silent");
      const other = await join(world, { memberId: "b" });
      await other.group.until(() => other.group.owned.length > 0);
      other.client.duplex.close(1000, "");
      await world.sleep(15_000);
      const after = await join(world, { memberId: "a" }, before.group.resume);
      await after.group.until(() => after.group.events.some(({ t }) => t === "assigned"));
      expect(after.group.events.map(({ t }) => t).slice(0, 2)).toEqual(["lost", "assigned"]);
      const [lost] = after.group.events as unknown as [{ partitions: unknown[] }];
      expect(lost.partitions).toHaveLength(4);
      // What was not committed is read again.
      await after.group.until(() => after.group.seen.length === 10);
    }, four);
  });

  test("while the first connection is still there takes the member over", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 0, 10);
      const before = await join(world, { memberId: "a" });
      await before.group.until(() => before.group.seen.length === 10);
      const after = await join(world, { memberId: "a" }, before.group.resume);
      await before.group.until(() => before.group.events.some(({ t }) => t === "closed"));
      expect(before.group.events.at(-1)).toMatchObject({ stream: 1, error: { name: "FENCED_INSTANCE_ID" } });
      await after.group.until(() => after.group.owned.length === 1);
      await fill(client, 0, 1);
      await after.group.until(() => after.group.seen.length === 1);
      await world.sleep(60_000);
      expect(before.group.seen.length).toBe(10);
      // The first connection's end leaves the member alone.
      before.client.duplex.close(1000, "");
      await world.sleep(60_000);
      await fill(client, 0, 1);
      await after.group.until(() => after.group.seen.length === 2);
    });
  });

  test("of a static member finds its partitions waiting, and an instance id in use is refused", () => {
    withGateway(async (world) => {
      const group = { topics: ["t"], instanceId: "i" };
      const first = await join(world, { memberId: "a", group });
      await first.group.until(() => first.group.owned.length === 4);
      const other = await join(world, { memberId: "o" });
      await other.group.until(() => other.group.owned.length === 2);
      const { client } = await world.connect();
      expect(errorName(await new GroupClient(client, { memberId: "x", group }).open())).toBe("UNRELEASED_INSTANCE_ID");
      const had = first.group.owned;
      first.client.duplex.close(1000, "");
      await world.sleep(20_000);
      expect(other.group.owned.length).toBe(2);
      const again = await join(world, { memberId: "b", group });
      await again.group.until(() => again.group.owned.length === 2);
      expect(again.group.owned).toEqual(had);
    }, four);
  });
});

describe("a transaction with consumed offsets", () => {
  test("moves the group when it commits, and not when it aborts", () => {
    withGateway(async (world) => {
      const { client: writer } = await world.connect();
      await fill(writer, 0, 10);
      const { client, group } = await join(world, { memberId: "a" });
      await group.until(() => group.seen.length === 10);
      const { memberEpoch } = group;
      const other = await join(world, { memberId: "o" });
      await group.until(() => group.memberEpoch > memberEpoch);
      other.client.duplex.close(1000, "");
      const transactionalId = "tx";
      let { producer } = (await client.request("initProducer", { transactionalId })) as unknown as {
        producer: { id: number; epoch: number };
      };
      const once = async (commit: boolean, offset: number): Promise<void> => {
        const records = [[null, bytes(`out ${offset}`)]];
        const written = await client.request("produce", {
          topic: "t",
          partition: 0,
          records,
          transactionalId,
          producer: { ...producer, sequence: 0 },
        });
        expect(written.t).toBe("ok");
        const offsets = [{ topic: "t", partition: 0, offset, metadata: "m" }];
        const added = await client.request("txnOffsets", {
          transactionalId,
          producer,
          // An epoch that is long gone: the gateway knows better while the partition has been owned since.
          group: { id: "g", memberId: "a", memberEpoch },
          offsets,
        });
        expect(added.partitions).toEqual([{ topic: "t", partition: 0 }]);
        const ended = await client.request("endTxn", { transactionalId, producer, commit });
        expect(ended.t).toBe("ok");
        producer = ended.producer as typeof producer;
      };
      await once(true, 7);
      await once(false, 9);
      client.duplex.close(1000, "");
      const next = await join(world, { memberId: "b" });
      await next.group.until(() => next.group.events.length > 0);
      const [assigned] = next.group.events as unknown as [{ partitions: Assigned[] }];
      expect(assigned.partitions[0]).toMatchObject({ committed: true, position: { offset: 7 } });
      const expected = ["t-0-7", "t-0-8", "t-0-9", "out 7"];
      await next.group.until(() => next.group.seen.length === expected.length);
      expect(next.group.seen.map(([, , , value]) => Buffer.from(value!).toString())).toEqual(expected);
    });
  });
});

describe("a transaction with offsets of a partition that was lost", () => {
  test("and has come back is refused: what was read before comes again", () => {
    withGateway(async (world) => {
      const { client: writer } = await world.connect();
      await fill(writer, 0, 10);
      const before = await join(world, { memberId: "a" });
      await before.group.until(() => before.group.seen.length === 10);
      before.link.cut("reset");
      await world.sleep(60_000);
      const { client, group } = await join(world, { memberId: "a" }, before.group.resume);
      await group.until(() => group.owned.length === 1);
      const transactionalId = "tx";
      const { producer } = (await client.request("initProducer", { transactionalId })) as { producer: object };
      const commit = async (memberEpoch: number): Promise<unknown> => {
        const offsets = [{ topic: "t", partition: 0, offset: 10 }];
        const identity = { id: "g", memberId: "a", memberEpoch };
        const answer = await client.request("txnOffsets", { transactionalId, producer, group: identity, offsets });
        return (answer.partitions as Array<{ error?: { name: string } }>)[0]?.error?.name;
      };
      expect(group.memberEpoch).toBeGreaterThan(before.group.memberEpoch);
      expect(await commit(before.group.memberEpoch)).toBe("ILLEGAL_GENERATION");
      expect(await commit(group.memberEpoch)).toBeUndefined();
    });
  });
});

describe("offsets of a transaction that is not over", () => {
  test("are waited for: a partition begins where it will have been committed", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 0, 10);
      const transactionalId = "tx";
      const { producer } = (await client.request("initProducer", { transactionalId })) as { producer: object };
      const offsets = [{ topic: "t", partition: 0, offset: 6 }];
      await client.request("txnOffsets", { transactionalId, producer, group: { id: "g" }, offsets });
      const member = await join(world, { memberId: "a" });
      await world.sleep(1500);
      expect(member.group.owned).toEqual([]);
      await client.request("endTxn", { transactionalId, producer, commit: true });
      await member.group.until(() => member.group.seen.length === 4);
    });
  });
});

describe("members that come, go, break and come back, as the seed says", () => {
  test("never own a partition twice, and together see every record in order", () => {
    for (let seed = 0; seed < 10; seed++) {
      withGateway(
        async (world) => {
          const random = world.world.random.fork("life");
          const { client: writer } = await world.connect();
          const owners = new Map<string, string>();
          const seen = new Map<number, number[]>([0, 1, 2, 3].map((partition) => [partition, []]));
          let lives = 0;
          const live = async (): Promise<Member> => {
            const memberId = `m${++lives}`;
            return join(world, {
              memberId,
              group: { topics: ["t"], rebalanceTimeoutMs: 30_000 },
              onRecord: ([offset], { partition }) => seen.get(partition)!.push(offset),
            });
          };
          const members: Member[] = [await live()];
          for (let step = 0; step < 25; step++) {
            await fill(writer, random.below(4), 3);
            const victim = random.below(members.length);
            switch (random.below(5)) {
              case 0:
                if (members.length < 4) members.push(await live());
                break;
              case 1:
                if (members.length > 1) {
                  const [gone] = members.splice(victim, 1);
                  await gone!.group.commit();
                  gone!.client.duplex.close(1000, "");
                }
                break;
              case 2: {
                const broken = members[victim]!;
                await broken.group.commit();
                broken.link.cut(random.below(2) === 0 ? "reset" : "silent");
                await world.sleep(random.below(90_000));
                members[victim] = await join(
                  world,
                  { ...broken.group.options, onRecord: broken.group.options.onRecord! },
                  broken.group.resume,
                );
                break;
              }
              default:
                await world.sleep(random.below(15_000));
            }
            owners.clear();
            for (const { group } of members) {
              for (const key of group.owned) {
                expect([seed, step, key, owners.get(key)]).toEqual([seed, step, key, undefined]);
                owners.set(key, group.options.memberId);
              }
            }
          }
          await world.sleep(120_000);
          expect(members.flatMap(({ group }) => group.owned).sort()).toEqual(all);
          for (const [partition, offsets] of seen) {
            const end = Math.max(-1, ...offsets) + 1;
            const answer = await world.client.listOffset("t", partition, -1);
            expect([seed, partition, end]).toEqual([seed, partition, answer.offset]);
            // At least once and never backwards beyond what was committed: no hole.
            expect(new Set(offsets).size).toBe(end);
          }
        },
        { ...four, seed },
      );
    }
  });
});
