/** Commits and offset fetches of KIP-848 members (protocol.md #49), through the coordinator's `decide`. */
import { describe, expect, test } from "bun:test";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { ClassicConsumer } from "./ClassicConsumer.ts";
import { Consumer, Coordinator, configWith, GROUP } from "./ConsumerWorld.ts";

const world = (settings: Readonly<Record<string, string>> = {}) => {
  const coordinator = new Coordinator(configWith(settings));
  coordinator.cluster.create({ name: "t", numPartitions: 4 });
  const id = coordinator.cluster.image.topicsByName.get("t")!.id;
  const commit = (memberId: string, epoch: number, partitions: ReadonlyArray<number>, version = 10) => {
    const { topics } = coordinator.ask({
      type: "OffsetCommit",
      version,
      request: {
        groupId: GROUP,
        generationIdOrMemberEpoch: epoch,
        memberId,
        groupInstanceId: null,
        retentionTimeMs: -1,
        topics: [
          {
            name: "t",
            topicId: id,
            partitions: partitions.map((partitionIndex) => ({
              partitionIndex,
              committedOffset: 7,
              committedLeaderEpoch: 0,
              committedMetadata: null,
            })),
          },
        ],
      },
    });
    return topics[0]!.partitions.map(({ errorCode }) => errorCode);
  };
  const fetch = (memberId: string | null, memberEpoch: number) =>
    coordinator.ask({
      type: "OffsetFetch",
      version: 9,
      requireStable: false,
      group: {
        groupId: GROUP,
        memberId,
        memberEpoch,
        topics: [{ name: "t", topicId: ZERO_UUID, partitionIndexes: [0] }],
      },
    });
  return { coordinator, commit, fetch };
};

describe("OffsetCommit", () => {
  test("with the member's epoch any partition passes, with a newer one none", () => {
    const { coordinator, commit } = world();
    new Consumer(coordinator, "a", { names: ["t"] }).beat();
    expect(commit("a", 2, [0, 3])).toEqual([0, 0]);
    expect(commit("a", 3, [0])).toEqual([Errors.STALE_MEMBER_EPOCH]);
    expect(commit("x", 2, [0])).toEqual([Errors.UNKNOWN_MEMBER_ID]);
    expect(commit("a", 2, [0], 8)).toEqual([Errors.UNSUPPORTED_VERSION]);
  });

  test("an older epoch passes from the one each partition was given in, also while it is revoked", () => {
    const { coordinator, commit } = world();
    const a = new Consumer(coordinator, "a", { names: ["t"] });
    const b = new Consumer(coordinator, "b", { names: ["t"] });
    a.slowness = 2;
    a.beat();
    b.beat();
    a.beat();
    const member = () => coordinator.group()!.members.get("a")!;
    const revoking = [...member().pendingRevocation.values()].flatMap((partitions) => [...partitions.keys()]);
    const kept = [...member().assigned.values()].flatMap((partitions) => [...partitions.keys()]);
    expect(revoking).toHaveLength(2);
    expect(commit("a", 2, revoking)).toEqual([0, 0]);
    for (let round = 0; round < 3; round++) {
      a.beat();
      b.beat();
    }
    expect(member().memberEpoch).toBe(3);
    expect(commit("a", 2, kept)).toEqual([0, 0]);
    expect(commit("a", 1, kept)).toEqual([Errors.STALE_MEMBER_EPOCH, Errors.STALE_MEMBER_EPOCH]);
    // What it had and has no more; and one such partition refuses the whole commit.
    expect(commit("a", 2, revoking)).toEqual([Errors.STALE_MEMBER_EPOCH, Errors.STALE_MEMBER_EPOCH]);
    expect(commit("a", 2, [kept[0]!, revoking[0]!])).toEqual([Errors.STALE_MEMBER_EPOCH, Errors.STALE_MEMBER_EPOCH]);
  });

  test("a partition that was lost and given again is not committed with the epoch before", () => {
    const { coordinator, commit } = world();
    const a = new Consumer(coordinator, "a", { names: ["t"] });
    a.beat();
    const b = new Consumer(coordinator, "b", { names: ["t"] });
    for (let round = 0; round < 4; round++) {
      b.beat();
      a.beat();
    }
    const lost = [...b.owned].map((key) => Number(key.slice(key.lastIndexOf("-") + 1)));
    b.leave();
    a.beat();
    a.beat();
    expect(a.owned.size).toBe(4);
    expect(commit("a", 2, lost)).toEqual([Errors.STALE_MEMBER_EPOCH, Errors.STALE_MEMBER_EPOCH]);
    expect(commit("a", 4, lost)).toEqual([0, 0]);
  });

  test("an administrator may commit while the group is empty", () => {
    const { coordinator, commit } = world();
    const a = new Consumer(coordinator, "a", { names: ["t"] });
    a.beat();
    expect(commit("", -1, [0])).toEqual([Errors.UNKNOWN_MEMBER_ID]);
    a.leave();
    expect(commit("", -1, [0])).toEqual([0]);
  });

  test("a classic member of the group gets the classic protocol's error", () => {
    const { coordinator, commit } = world();
    new Consumer(coordinator, "a", { names: ["t"] }).beat();
    const b = new ClassicConsumer(coordinator, ["t"]);
    for (let round = 0; round < 3; round++) b.beat();
    expect(commit(b.memberId, b.generation, [0], 8)).toEqual([0]);
    expect(commit(b.memberId, b.generation + 1, [0])).toEqual([Errors.ILLEGAL_GENERATION]);
    expect(commit(b.memberId, 1, [0])).toEqual([Errors.ILLEGAL_GENERATION]);
  });
});

describe("OffsetFetch", () => {
  test("the member's epoch exactly, or nobody's", () => {
    const { coordinator, commit, fetch } = world();
    new Consumer(coordinator, "a", { names: ["t"] }).beat();
    commit("a", 2, [0]);
    expect(fetch("a", 2).topics[0]?.partitions[0]?.committedOffset).toBe(7);
    expect(fetch(null, -1).errorCode).toBe(Errors.NONE);
    for (const epoch of [1, 3, -1]) {
      expect(fetch("a", epoch)).toMatchObject({ errorCode: Errors.STALE_MEMBER_EPOCH, topics: [] });
    }
    expect(fetch("x", 2)).toMatchObject({ errorCode: Errors.UNKNOWN_MEMBER_ID, topics: [] });
  });
});

describe("expiry", () => {
  test("a live group's offset of what nobody subscribes to goes by its age; the last one takes an empty group along", () => {
    const { coordinator, commit, fetch } = world({ "offsets.retention.minutes": "1" });
    coordinator.cluster.create({ name: "u", numPartitions: 1 });
    const member = new Consumer(coordinator, "a", { names: ["t"] });
    member.beat();
    expect(commit("a", member.epoch, [0])).toEqual([0]);
    const later = () => {
      for (let second = 0; second < 61; second++) {
        coordinator.advance(1000);
        member.beat();
      }
      coordinator.tell({ type: "ExpireOffsets" });
    };
    const committed = () => fetch(null, -1).topics[0]?.partitions[0]?.committedOffset;
    later();
    expect(committed()).toBe(7);
    member.subscribe({ names: ["u"] });
    member.beat();
    later();
    expect(committed()).toBe(-1);
    expect(coordinator.group()!.members.size).toBe(1);
    member.leave();
    coordinator.tell({ type: "ExpireOffsets" });
    expect(coordinator.group()).toBeUndefined();
  });
});
