/** JoinGroup to OffsetDelete in every version they serve, over one coordinator: what each version can say, and how. */
import { describe, expect, test } from "bun:test";
import { OffsetCommit } from "../../src/api/08-OffsetCommit.ts";
import { OffsetFetch } from "../../src/api/09-OffsetFetch.ts";
import { FindCoordinator } from "../../src/api/10-FindCoordinator.ts";
import { JoinGroup } from "../../src/api/11-JoinGroup.ts";
import { Heartbeat } from "../../src/api/12-Heartbeat.ts";
import { LeaveGroup } from "../../src/api/13-LeaveGroup.ts";
import { SyncGroup } from "../../src/api/14-SyncGroup.ts";
import { DescribeGroups } from "../../src/api/15-DescribeGroups.ts";
import { ListGroups } from "../../src/api/16-ListGroups.ts";
import { DeleteGroups } from "../../src/api/42-DeleteGroups.ts";
import { OffsetDelete } from "../../src/api/47-OffsetDelete.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import type { JoinGroupRequest } from "../../src/protocol/generated/JoinGroupRequest.ts";
import { subscription } from "../group/ClassicClient.ts";
import { CoordinatorWorld } from "../group/CoordinatorWorld.ts";
import { oneBroker, topicId } from "../metadata/Cluster.ts";
import { groupsOf } from "./CoordinatedGroups.ts";
import { Handling } from "./Handling.ts";

const GROUP = "g";

/** A broker with topic `t` of two partitions and one coordinator; `refusal` is all that coordinator says. */
const brokerWith = (refusal?: number) => {
  const cluster = oneBroker();
  cluster.create({ name: "t", numPartitions: 2 });
  const world = new CoordinatorWorld({ "group.initial.rebalance.delay.ms": "0" });
  world.image = cluster.image;
  const handling = new Handling({ cluster, groups: groupsOf(world, refusal) });
  return { handling, world, id: cluster.image.topicsByName.get("t")!.id };
};

const joinRequest = (more: Partial<JoinGroupRequest> = {}): Partial<JoinGroupRequest> => ({
  groupId: GROUP,
  sessionTimeoutMs: 10_000,
  rebalanceTimeoutMs: 20_000,
  protocolType: "consumer",
  protocols: [{ name: "range", metadata: subscription("t") }],
  ...more,
});

/** A member alone in the group, by way of the newest versions. */
const memberOf = async (handling: Handling): Promise<{ memberId: string; generationId: number }> => {
  const { memberId } = await handling.call(11, JoinGroup, 9, joinRequest());
  const { generationId } = await handling.call(11, JoinGroup, 9, joinRequest({ memberId }));
  const assignments = [{ memberId, assignment: Uint8Array.of(7) }];
  await handling.call(14, SyncGroup, 4, { groupId: GROUP, generationId, memberId, assignments });
  return { memberId, generationId };
};

const versions = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, at) => from + at);

describe("FindCoordinator of a group", () => {
  test("makes the internal topic, and answers its leader", async () => {
    const cluster = oneBroker();
    const handling = new Handling({ cluster, groups: groupsOf(new CoordinatorWorld()) });
    const found = await handling.call(10, FindCoordinator, 6, { keyType: 0, coordinatorKeys: ["a", ""] });
    expect(cluster.image.topicsByName.get("__consumer_offsets")?.partitions).toHaveLength(50);
    for (const each of found.coordinators) expect(each).toMatchObject({ errorCode: 0, nodeId: 1, errorMessage: "" });
    for (const version of versions(0, 3)) {
      const one = await handling.call(10, FindCoordinator, version, { key: "a" });
      expect([one.errorCode, one.nodeId, one.host, one.port]).toEqual([0, 1, "10.0.0.7", 19092]);
      expect(one.errorMessage).toBe(version === 0 ? "" : "NONE");
    }
  });
});

describe("JoinGroup", () => {
  test("every version joins; from v4 on with the id that it is given", async () => {
    for (const version of versions(0, 9)) {
      const { handling } = brokerWith();
      const request = joinRequest(version === 0 ? { rebalanceTimeoutMs: -1 } : {});
      let answer = await handling.call(11, JoinGroup, version, request);
      if (version >= 4) {
        expect(answer.errorCode).toBe(Errors.MEMBER_ID_REQUIRED);
        answer = await handling.call(11, JoinGroup, version, joinRequest({ memberId: answer.memberId }));
      }
      expect(answer).toMatchObject({ errorCode: 0, generationId: 1, protocolName: "range", leader: answer.memberId });
      expect(answer.members).toHaveLength(1);
    }
  });

  test("v0 has no rebalance timeout: the session's is taken", async () => {
    const { handling, world } = brokerWith();
    await handling.call(11, JoinGroup, 0, joinRequest({ rebalanceTimeoutMs: -1 }));
    const group = world.volatile.get(GROUP)!;
    expect(group.kind === "classic" && [...group.members.values()][0]!.rebalanceTimeoutMs).toBe(10_000);
  });

  test("session timeouts out of bounds 26, no group id 24; the name is null from v7 on, the member id is echoed", async () => {
    const { handling } = brokerWith();
    for (const sessionTimeoutMs of [5999, 1_800_001, 0]) {
      const answer = await handling.call(11, JoinGroup, 9, joinRequest({ sessionTimeoutMs, memberId: "m" }));
      expect(answer).toMatchObject({ errorCode: 26, protocolName: null, memberId: "m" });
    }
    for (const version of versions(0, 9)) {
      const answer = await handling.call(11, JoinGroup, version, joinRequest({ groupId: "", memberId: "m" }));
      expect([answer.errorCode, answer.protocolName]).toEqual([24, version < 7 ? "" : null]);
    }
  });
});

describe("SyncGroup, Heartbeat, LeaveGroup", () => {
  test("every version syncs; v5 must name type and protocol", async () => {
    const { handling } = brokerWith();
    const member = await memberOf(handling);
    for (const version of versions(0, 5)) {
      const named = version < 5 ? {} : { protocolType: "consumer", protocolName: "range" };
      const answer = await handling.call(14, SyncGroup, version, { groupId: GROUP, ...member, ...named });
      expect([answer.errorCode, [...answer.assignment]]).toEqual([0, [7]]);
    }
    const unnamed = await handling.call(14, SyncGroup, 5, { groupId: GROUP, ...member });
    expect(unnamed.errorCode).toBe(Errors.INCONSISTENT_GROUP_PROTOCOL);
    expect((await handling.call(14, SyncGroup, 4, { groupId: "" })).errorCode).toBe(Errors.INVALID_GROUP_ID);
  });

  test("every version beats; while the log is read every beat is fine", async () => {
    const { handling } = brokerWith();
    const member = await memberOf(handling);
    for (const version of versions(0, 4)) {
      expect((await handling.call(12, Heartbeat, version, { groupId: GROUP, ...member })).errorCode).toBe(0);
    }
    expect((await handling.call(12, Heartbeat, 4, { groupId: "" })).errorCode).toBe(Errors.INVALID_GROUP_ID);
    const loading = brokerWith(Errors.COORDINATOR_LOAD_IN_PROGRESS).handling;
    expect((await loading.call(12, Heartbeat, 4, { groupId: GROUP, ...member })).errorCode).toBe(0);
    const elsewhere = brokerWith(Errors.NOT_COORDINATOR).handling;
    expect((await elsewhere.call(12, Heartbeat, 4, { groupId: GROUP, ...member })).errorCode).toBe(16);
  });

  test("up to v2 a member's error is the answer's; from v3 on it stands beside the member", async () => {
    for (const version of versions(0, 5)) {
      const { handling } = brokerWith();
      const { memberId } = await memberOf(handling);
      const leave = (id: string) =>
        handling.call(13, LeaveGroup, version, {
          groupId: GROUP,
          ...(version < 3 ? { memberId: id } : { members: [{ memberId: id, groupInstanceId: null, reason: null }] }),
        });
      const unknown = await leave("nobody");
      expect([unknown.errorCode, unknown.members[0]?.errorCode]).toEqual(version < 3 ? [25, undefined] : [0, 25]);
      const gone = await leave(memberId);
      expect([gone.errorCode, gone.members[0]?.errorCode]).toEqual(version < 3 ? [0, undefined] : [0, 0]);
    }
  });
});

describe("OffsetCommit and OffsetFetch", () => {
  test("every version commits and fetches; leader epochs from v6 and v5 on, ids in v10", async () => {
    for (const version of versions(2, 10)) {
      const { handling, id } = brokerWith();
      const topic = version < 10 ? { name: "t" } : { topicId: id };
      const partition = {
        partitionIndex: 1,
        committedOffset: 42,
        committedLeaderEpoch: version < 6 ? -1 : 3,
        committedMetadata: "m",
      };
      const committed = await handling.call(8, OffsetCommit, version, {
        groupId: GROUP,
        memberId: "",
        topics: [{ name: "", topicId: topicId(0), ...topic, partitions: [partition] }],
      });
      expect(committed.topics).toMatchObject([{ ...topic, partitions: [{ partitionIndex: 1, errorCode: 0 }] }]);
      const fetched = await handling.call(9, OffsetFetch, 9, {
        groups: [
          {
            groupId: GROUP,
            memberId: null,
            memberEpoch: -1,
            topics: [{ name: "t", topicId: topicId(0), partitionIndexes: [1] }],
          },
        ],
      });
      expect(fetched.groups[0]!.topics[0]!.partitions[0]).toMatchObject({
        committedOffset: 42,
        committedLeaderEpoch: version < 6 ? -1 : 3,
        metadata: "m",
      });
      if (version === 10) continue;
      const [, ...olds] = versions(0, 7);
      for (const old of olds) {
        const one = await handling.call(9, OffsetFetch, old, {
          groupId: GROUP,
          topics: [{ name: "t", partitionIndexes: [1] }],
        });
        expect(one.topics[0]!.partitions[0]).toMatchObject({ committedOffset: 42, errorCode: 0 });
      }
    }
  });

  test("unknown topics and partitions are 3, an unknown id 100; one entry per topic", async () => {
    const { handling, id } = brokerWith();
    const partitions = [0, 7].map((partitionIndex) => ({
      partitionIndex,
      committedOffset: 1,
      committedLeaderEpoch: -1,
      committedMetadata: null,
    }));
    const byName = await handling.call(8, OffsetCommit, 9, {
      groupId: GROUP,
      topics: ["t", "nope"].map((name) => ({ name, topicId: topicId(0), partitions })),
    });
    const errors = (topics: typeof byName.topics, of: "name" | "topicId") =>
      new Map(
        topics.map((topic) => [
          topic[of],
          topic.partitions.map(({ partitionIndex, errorCode }) => `${partitionIndex}:${errorCode}`).sort(),
        ]),
      );
    expect(errors(byName.topics, "name")).toEqual(
      new Map([
        ["t", ["0:0", "7:3"]],
        ["nope", ["0:3", "7:3"]],
      ]),
    );
    const byId = await handling.call(8, OffsetCommit, 10, {
      groupId: GROUP,
      topics: [id, topicId(999)].map((each) => ({ name: "", topicId: each, partitions })),
    });
    expect(errors(byId.topics, "topicId")).toEqual(
      new Map([
        [id, ["0:0", "7:3"]],
        [topicId(999), ["0:100", "7:100"]],
      ]),
    );
    const fetched = await handling.call(9, OffsetFetch, 10, {
      groups: [
        {
          groupId: GROUP,
          memberId: null,
          memberEpoch: -1,
          topics: [id, topicId(999)].map((each) => ({ name: "", topicId: each, partitionIndexes: [0] })),
        },
      ],
    });
    expect(fetched.groups[0]!.topics.map(({ partitions: [first] }) => first!.errorCode)).toEqual([0, 100]);
  });

  test("without a coordinator: v1 says it beside each partition, later ones of the group; 15 is 16 there", async () => {
    const refuse = (error: number) => brokerWith(error).handling;
    const topics = [{ name: "t", partitionIndexes: [0] }];
    const first = await refuse(16).call(9, OffsetFetch, 1, { groupId: GROUP, topics });
    expect(first.topics[0]!.partitions[0]!.errorCode).toBe(16);
    expect((await refuse(15).call(9, OffsetFetch, 5, { groupId: GROUP, topics })).errorCode).toBe(16);
    const groups = [{ groupId: GROUP, memberId: null, memberEpoch: -1, topics: null }];
    expect((await refuse(14).call(9, OffsetFetch, 8, { groups })).groups[0]).toMatchObject({
      errorCode: 14,
      topics: [],
    });
  });

  test("v1 must name its topics", async () => {
    const { handling } = brokerWith();
    // The schema of v1 has no null; the handler closes the connection when a codec lets one through.
    await expect(handling.call(9, OffsetFetch, 1, { groupId: GROUP, topics: null })).rejects.toThrow();
  });
});

describe("ListGroups, DescribeGroups, DeleteGroups, OffsetDelete", () => {
  test("every version lists; filters mind no case", async () => {
    const { handling } = brokerWith();
    await memberOf(handling);
    for (const version of versions(0, 5)) {
      const { groups } = await handling.call(16, ListGroups, version);
      expect(groups).toMatchObject([{ groupId: GROUP, protocolType: "consumer" }]);
      if (version >= 4) expect(groups[0]!.groupState).toBe("Stable");
      if (version >= 5) expect(groups[0]!.groupType).toBe("classic");
    }
    const count = async (statesFilter: string[], typesFilter: string[]): Promise<number> =>
      (await handling.call(16, ListGroups, 5, { statesFilter, typesFilter })).groups.length;
    expect(await count(["STABLE"], ["Classic"])).toBe(1);
    expect([await count(["Empty"], []), await count([], ["consumer"]), await count(["Foo"], [])]).toEqual([0, 0, 0]);
  });

  test("an unknown group is Dead, from v6 on also 69; operations when asked for", async () => {
    const { handling } = brokerWith();
    await memberOf(handling);
    for (const version of versions(0, 6)) {
      const { groups } = await handling.call(15, DescribeGroups, version, {
        groups: [GROUP, "no"],
        includeAuthorizedOperations: version >= 3,
      });
      expect(groups[0]).toMatchObject({ errorCode: 0, groupState: "Stable", protocolData: "range" });
      expect(groups[0]!.members).toHaveLength(1);
      expect(groups[0]!.members[0]!.clientHost).toBe("/10.0.0.8");
      if (version >= 3) expect(groups[0]!.authorizedOperations).toBe(3400);
      expect([groups[1]!.groupState, groups[1]!.errorCode]).toEqual(["Dead", version < 6 ? 0 : 69]);
    }
  });

  test("every version deletes; a name given twice is answered once", async () => {
    for (const version of versions(0, 2)) {
      const { handling } = brokerWith();
      await memberOf(handling);
      const { results } = await handling.call(42, DeleteGroups, version, { groupsNames: [GROUP, "no", "no"] });
      expect(results.map(({ groupId, errorCode }) => [groupId, errorCode])).toEqual([
        [GROUP, Errors.NON_EMPTY_GROUP],
        ["no", Errors.GROUP_ID_NOT_FOUND],
      ]);
    }
  });

  test("offsets of what is subscribed 86, of unknown topics and partitions 3; no group id 24, no group 69", async () => {
    const { handling } = brokerWith();
    await memberOf(handling);
    const topics = ["t", "nope"].map((name) => ({ name, partitions: [{ partitionIndex: 0 }, { partitionIndex: 7 }] }));
    const answer = await handling.call(47, OffsetDelete, 0, { groupId: GROUP, topics });
    const errors = new Map(
      answer.topics.map(({ name, partitions }) => [name, partitions.map((each) => each.errorCode)]),
    );
    expect(errors).toEqual(
      new Map([
        ["t", [86, 3]],
        ["nope", [3, 3]],
      ]),
    );
    expect((await handling.call(47, OffsetDelete, 0, { groupId: "", topics })).errorCode).toBe(24);
    expect(await handling.call(47, OffsetDelete, 0, { groupId: "no", topics })).toMatchObject({
      errorCode: 69,
      topics: [],
    });
  });
});
