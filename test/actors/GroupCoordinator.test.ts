/**
 * Group coordinators in a whole broker on simulated ports: what an acked commit is worth across kills and failing disks,
 * and that sessions end by silence only, in virtual time.
 */
import { describe, expect, test } from "bun:test";
import { GroupCoordinator } from "../../actors/GroupCoordinator.ts";
import type { DiskFault, DiskOperation } from "../../actors/simulation/DiskFault.ts";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import { TimingWheel } from "../../actors/TimingWheel.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import type { GroupCommand } from "../../src/group/GroupCoordinator.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { subscription } from "../group/ClassicClient.ts";
import { oneBroker } from "../metadata/Cluster.ts";
import { testActorContext } from "../support/ActorContexts.ts";
import { JournalPartition } from "../support/JournalPartition.ts";

const codecs = makeBunCodecs();
const GROUP = "g";
const SESSION_MS = 10_000;

interface World {
  readonly world: Simulation;
  readonly disk: SimulatedDisk;
  readonly process: SimulatedProcess;
  readonly client: KafkaClient;
  /** Ends the broker and starts the next one: by kill -9, or by the loss of power. */
  restart(powerCut?: boolean, offsetsPartitions?: number): Promise<World>;
}

const broker = async (world: Simulation, disk: SimulatedDisk, generation = 0, partitions = 3): Promise<World> => {
  const process = world.process(`broker ${generation}`, { disk });
  await startSimulatedBroker(process, { codecs, settings: { "offsets.topic.num.partitions": String(partitions) } });
  const { network, clock, random } = world.process(`client ${generation}`, { host: "10.0.0.1" });
  const client = new KafkaClient(
    { network, clock, random, codecs },
    { bootstrap: [{ host: "127.0.0.1", port: 9092 }], callTimeoutMs: 30_000 },
  );
  const restart = (powerCut = false, offsetsPartitions = partitions): Promise<World> => {
    client.close();
    if (powerCut) process.powerCut("mixed");
    else process.kill();
    return broker(world, disk, generation + 1, offsetsPartitions);
  };
  return { world, disk, process, client, restart };
};

const simulated = (seed: number, program: (world: World) => Promise<void>): void => {
  const world = new Simulation({ seed, maxTimeMs: 3_600_000 });
  world.run(async () => {
    const disk = world.makeDisk("disk");
    world.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    const first = await broker(world, disk);
    await first.client.createTopic("t", { partitions: 1 });
    await program(first);
  });
};

/** Asks with the defaults for whatever is not given. */
const ask = <K extends KnownApiKey>(
  client: KafkaClient,
  key: K,
  fields: Partial<RequestOf<K>>,
): Promise<ResponseOf<K>> => {
  const empty: RequestOf<K> = Apis[key].request.empty() as RequestOf<K>;
  return client.request("any", key, { ...empty, ...fields });
};

const sleep = ({ process }: World, ms: number): Promise<void> =>
  new Promise((resolve) => {
    process.clock.after(ms, resolve);
  });

/** Asks until the coordinator is there and has read its log. */
const coordinated = async (world: World): Promise<void> => {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const found = await ask(world.client, ApiKey.FindCoordinator, { keyType: 0, coordinatorKeys: [GROUP] });
    if (found.coordinators[0]?.errorCode === Errors.NONE && (await fetchOffset(world)) !== undefined) return;
    await sleep(world, 50);
  }
  throw new Error("no coordinator");
};

/** The committed offset, or undefined while the coordinator does not answer. */
const fetchOffset = async ({ client }: World): Promise<number | undefined> => {
  const topicId = (await client.topic("t")).id;
  const answer = await ask(client, ApiKey.OffsetFetch, {
    groups: [
      { groupId: GROUP, memberId: null, memberEpoch: -1, topics: [{ name: "t", topicId, partitionIndexes: [0] }] },
    ],
  });
  const group = answer.groups[0]!;
  return group.errorCode === Errors.NONE ? group.topics[0]!.partitions[0]!.committedOffset : undefined;
};

const commit = async ({ client }: World, offset: number): Promise<number> => {
  const topicId = (await client.topic("t")).id;
  const answer = await ask(client, ApiKey.OffsetCommit, {
    groupId: GROUP,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [
      {
        name: "t",
        topicId,
        partitions: [{ partitionIndex: 0, committedOffset: offset, committedLeaderEpoch: -1, committedMetadata: null }],
      },
    ],
  });
  return answer.topics[0]!.partitions[0]!.errorCode;
};

const join = async ({ client }: World, memberId: string) =>
  ask(client, ApiKey.JoinGroup, {
    groupId: GROUP,
    sessionTimeoutMs: SESSION_MS,
    rebalanceTimeoutMs: SESSION_MS,
    memberId,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: subscription("t") }],
  });

const sync = async ({ client }: World, member: { memberId: string; generationId: number }): Promise<number> => {
  const { memberId } = member;
  const answer = await ask(client, ApiKey.SyncGroup, {
    groupId: GROUP,
    ...member,
    protocolType: "consumer",
    protocolName: "range",
    assignments: [{ memberId, assignment: Uint8Array.of(1) }],
  });
  return answer.errorCode;
};

/** A member alone in its group, with its assignment. */
const stableMember = async (world: World): Promise<{ memberId: string; generationId: number }> => {
  await coordinated(world);
  const { memberId } = await join(world, "");
  const { generationId } = await join(world, memberId);
  await sync(world, { memberId, generationId });
  return { memberId, generationId };
};

const heartbeat = async ({ client }: World, member: { memberId: string; generationId: number }): Promise<number> =>
  (await ask(client, ApiKey.Heartbeat, { groupId: GROUP, ...member })).errorCode;

const stateOf = async ({ client }: World): Promise<string> =>
  (await ask(client, ApiKey.DescribeGroups, { groups: [GROUP] })).groups[0]!.groupState;

/** Appends to the groups' partitions fail as `fault` says, `times` times. */
const failing = (disk: SimulatedDisk, kind: DiskOperation["kind"], fault: DiskFault, times: number): void => {
  let left = times;
  disk.beforeOperation = (operation) => {
    if (left === 0 || operation.kind !== kind) return undefined;
    if (kind === "write" && !operation.path.includes("__consumer_offsets")) return undefined;
    left -= 1;
    return fault;
  };
};

describe("group coordinators in a broker", () => {
  test("the internal topic is made by the first question, and answered when it is there", () => {
    simulated(1, async (world) => {
      const found = await ask(world.client, ApiKey.FindCoordinator, { keyType: 0, coordinatorKeys: [GROUP] });
      expect(found.coordinators[0]).toMatchObject({ key: GROUP, errorCode: Errors.NONE, nodeId: 1, port: 9092 });
      expect((await world.client.topic("__consumer_offsets")).leaders).toEqual([1, 1, 1]);
    });
  });

  test("a group is where the topic's own number of partitions puts it, whatever the configuration says by now", () => {
    simulated(2, async (world) => {
      await coordinated(world);
      expect(await commit(world, 5)).toBe(Errors.NONE);
      const next = await world.restart(false, 7);
      await coordinated(next);
      expect(await fetchOffset(next)).toBe(5);
      next.client.close();
    });
  });

  for (const seed of [1, 2, 3, 4, 5]) {
    test(`kill -9 or a power cut at any moment: no fetch is older than an acked commit (O2), seed ${seed}`, () => {
      simulated(seed, async (first) => {
        let world = first;
        let acked = -1;
        let next = 0;
        for (let life = 0; life < 6; life += 1) {
          await coordinated(world);
          expect(await fetchOffset(world)).toBeGreaterThanOrEqual(acked);
          const deadline = world.process.clock.monotonic() + 5 + world.world.random.below(60);
          const committing = (async () => {
            for (;;) {
              const offset = next;
              next += 1;
              if ((await commit(world, offset)) !== Errors.NONE) return;
              acked = offset;
            }
          })().catch(() => undefined);
          await sleep(world, deadline - world.process.clock.monotonic());
          const then = world;
          world = await then.restart(life % 2 === 1);
          await committing;
        }
        expect(acked).toBeGreaterThan(0);
        await coordinated(world);
        expect(await fetchOffset(world)).toBeGreaterThanOrEqual(acked);
        expect(await fetchOffset(world)).toBeLessThan(next);
      });
    });
  }

  test("while a coordinator reads its log it says so, and takes nothing; then what was committed is there", () => {
    simulated(1, async (world) => {
      await coordinated(world);
      expect(await commit(world, 5)).toBe(Errors.NONE);
      // Reading takes longer than asking.
      world.disk.beforeOperation = ({ kind, path }) =>
        kind === "read" && path.includes("__consumer_offsets") ? { delayMs: 100 } : undefined;
      const next = await world.restart();
      await next.client.topic("t");
      expect(await commit(next, 6)).toBe(Errors.COORDINATOR_LOAD_IN_PROGRESS);
      await coordinated(next);
      expect(await fetchOffset(next)).toBe(5);
      next.client.close();
    });
  });

  test("a failed append is not an answer: the client looks for the coordinator, which has read its log again", () => {
    simulated(6, async (world) => {
      await coordinated(world);
      expect(await commit(world, 1)).toBe(Errors.NONE);
      failing(world.disk, "write", { error: "EIO" }, 1);
      expect([Errors.NOT_COORDINATOR, Errors.COORDINATOR_NOT_AVAILABLE] as number[]).toContain(await commit(world, 2));
      await coordinated(world);
      expect(await fetchOffset(world)).toBe(1);
      expect(await commit(world, 3)).toBe(Errors.NONE);
      expect(await fetchOffset(world)).toBe(3);
    });
  });

  test("a generation that members were told of, and that could not be recorded, is not another's number (copy 5000331)", () => {
    simulated(10, async (world) => {
      const { memberId, generationId: first } = await stableMember(world);
      for (const lost of [first + 1, first + 2]) {
        expect((await join(world, memberId)).generationId).toBe(lost);
        failing(world.disk, "write", { error: "EIO" }, 1);
        expect(await sync(world, { memberId, generationId: lost })).not.toBe(Errors.NONE);
        await coordinated(world);
        expect(await heartbeat(world, { memberId, generationId: lost })).toBe(Errors.ILLEGAL_GENERATION);
        expect(await heartbeat(world, { memberId, generationId: first })).toBe(Errors.NONE);
      }
      expect((await join(world, memberId)).generationId).toBe(first + 3);
    });
  });

  test("a commit that the disk holds up is answered after offsets.commit.timeout.ms, with what may be asked again", () => {
    simulated(9, async (world) => {
      await coordinated(world);
      expect(await commit(world, 1)).toBe(Errors.NONE);
      let left = 1;
      world.disk.beforeOperation = ({ kind }) => {
        if (left === 0 || (kind !== "flush" && kind !== "flushFileSystem")) return undefined;
        left -= 1;
        return { delayMs: 8000 };
      };
      const { clock } = world.process;
      const began = clock.monotonic();
      expect(await commit(world, 2)).toBe(Errors.COORDINATOR_NOT_AVAILABLE);
      expect(clock.monotonic() - began).toBeWithin(5000, 5200);
      // Nothing is taken back: it counts once the disk has it, and so does what is asked again.
      expect(await commit(world, 3)).toBe(Errors.NONE);
      expect(clock.monotonic() - began).toBeWithin(8000, 8200);
      expect(await fetchOffset(world)).toBe(3);
    });
  });

  test("a member that is silent is out after its session; one that beats is not, and neither after a restart", () => {
    simulated(7, async (first) => {
      const member = await stableMember(first);
      for (let beat = 0; beat < 4; beat += 1) {
        await sleep(first, SESSION_MS - 1000);
        expect(await heartbeat(first, member)).toBe(Errors.NONE);
      }
      const world = await first.restart();
      await coordinated(world);
      await sleep(world, SESSION_MS - 1000);
      expect(await heartbeat(world, member)).toBe(Errors.NONE);
      expect(await stateOf(world)).toBe("Stable");
      await sleep(world, SESSION_MS + 100);
      expect(await stateOf(world)).toBe("Empty");
      expect(await heartbeat(world, member)).toBe(Errors.UNKNOWN_MEMBER_ID);
    });
  });

  test("every group of every coordinator is listed, and deleted groups are not", () => {
    simulated(8, async (world) => {
      await coordinated(world);
      const groups = ["a", "b", "c", "d", "e"];
      for (const groupId of groups) {
        const topicId = (await world.client.topic("t")).id;
        await ask(world.client, ApiKey.OffsetCommit, {
          groupId,
          generationIdOrMemberEpoch: -1,
          memberId: "",
          topics: [
            {
              name: "t",
              topicId,
              partitions: [
                { partitionIndex: 0, committedOffset: 1, committedLeaderEpoch: -1, committedMetadata: null },
              ],
            },
          ],
        });
      }
      const listed = async (): Promise<string[]> =>
        (await ask(world.client, ApiKey.ListGroups, {})).groups.map(({ groupId }) => groupId).sort();
      expect(await listed()).toEqual(groups);
      const deleted = await ask(world.client, ApiKey.DeleteGroups, { groupsNames: ["b", "d", "x", "b"] });
      expect(deleted.results.map(({ groupId, errorCode }) => [groupId, errorCode]).sort()).toEqual([
        ["b", Errors.NONE],
        ["d", Errors.NONE],
        ["x", Errors.GROUP_ID_NOT_FOUND],
      ]);
      expect(await listed()).toEqual(["a", "c", "e"]);
    });
  });
});

test("thousands of groups with members of both protocols cost no fiber and no timer of the platform", async () => {
  const { context, clock } = testActorContext();
  const partition = await JournalPartition.open();
  const wheel = new TimingWheel(clock);
  const { image } = oneBroker();
  const config = BrokerConfig.of({ "group.initial.rebalance.delay.ms": "0" });
  let fibers = 0;
  const { view, append } = partition;
  const coordinator = new GroupCoordinator("group coordinator", {
    ...context,
    ...{ codecs, timers: wheel, view, append, maxBatchBytes: () => 1_000_000 },
    fork: (effect) => {
      fibers += 1;
      return context.fork(effect);
    },
    config: () => config,
    image: () => image,
  });
  const answers: number[] = [];
  const tell = (command: GroupCommand): void => {
    const settle = (reply: unknown): void => void answers.push((reply as { readonly errorCode: number }).errorCode);
    coordinator.turn([{ kind: "command", command, settle }]);
  };
  const client = { clientId: "client", host: "/10.0.0.1" };
  const { request: heartbeats } = Apis[ApiKey.ConsumerGroupHeartbeat];
  for (let index = 0; index < 2000; index += 1) {
    const groupId = `group ${index}`;
    const uuid = `uuid ${index}`;
    if (index % 2 === 0) {
      const request = {
        ...heartbeats.empty(),
        ...{ groupId, memberId: uuid, rebalanceTimeoutMs: 1000, subscribedTopicNames: ["t"], topicPartitions: [] },
      };
      tell({ type: "ConsumerGroupHeartbeat", request, version: 1, client, uuid });
    } else {
      const protocols = [{ name: "range", metadata: subscription("t") }];
      const request = {
        ...Apis[ApiKey.JoinGroup].request.empty(),
        ...{
          groupId,
          sessionTimeoutMs: SESSION_MS,
          rebalanceTimeoutMs: SESSION_MS,
          protocolType: "consumer",
          protocols,
        },
      };
      tell({ type: "JoinGroup", request, version: 3, client, uuid });
    }
    while (partition.mailbox.length > 0) await partition.take();
  }
  clock.advance(10);
  expect([answers.length, coordinator.journaled.groups.size]).toEqual([1000, 2000]);
  expect(wheel.size).toBeGreaterThanOrEqual(2000);
  expect([fibers, clock.pending]).toEqual([1, 1]);
  coordinator.stop();
  context.fork(coordinator.actor.stop());
});
