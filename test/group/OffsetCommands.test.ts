import { describe, expect, test } from "bun:test";
import { classicGroup } from "../../src/group/CoordinatorState.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { ClassicClient, commitOffset, fetchOffset } from "./ClassicClient.ts";
import { CoordinatorWorld, topicIdOf, withTopics } from "./CoordinatorWorld.ts";

const GROUP = "g";
const DAY = 86_400_000;
const world = (more: Readonly<Record<string, string>> = {}): CoordinatorWorld =>
  new CoordinatorWorld({ "group.initial.rebalance.delay.ms": "0", ...more });

const stable = (w: CoordinatorWorld): ClassicClient => {
  const client = new ClassicClient(w, GROUP);
  client.join();
  w.advance(1);
  client.settle();
  expect(client.isStable).toBe(true);
  return client;
};

const fetched = (w: CoordinatorWorld, topicId = topicIdOf("t")) =>
  w.answer({
    type: "OffsetFetch",
    group: {
      groupId: GROUP,
      memberId: null,
      memberEpoch: -1,
      topics: [{ name: "t", topicId, partitionIndexes: [0] }],
    },
    requireStable: false,
    version: 9,
  }).topics[0]!.partitions[0]!;

describe("OffsetCommit (#41, #43)", () => {
  test("no such group: a generation is 69 from v9 on and 22 below; without one it makes a simple group", () => {
    const w = world();
    expect(commitOffset(w, GROUP, "t", 0, 1, { generation: 0, memberId: "m" })).toBe(Errors.GROUP_ID_NOT_FOUND);
    expect(commitOffset(w, GROUP, "t", 0, 1, { generation: 0, version: 8 })).toBe(Errors.ILLEGAL_GENERATION);
    expect(w.log).toHaveLength(0);
    expect(commitOffset(w, GROUP, "t", 0, 1)).toBe(Errors.NONE);
    expect(classicGroup(w, GROUP)).toMatchObject({ state: "Empty", protocolType: undefined });
  });

  test("with members: only theirs, of the current generation; between join and sync 27; while preparing fine", () => {
    const w = world();
    const client = stable(w);
    const { memberId, generation } = client;
    const as = (who: Parameters<typeof commitOffset>[5]) => commitOffset(w, GROUP, "t", 0, 5, who);
    expect(as({})).toBe(Errors.UNKNOWN_MEMBER_ID);
    expect(as({ memberId: "other", generation })).toBe(Errors.UNKNOWN_MEMBER_ID);
    expect(as({ memberId, generation: generation + 1 })).toBe(Errors.ILLEGAL_GENERATION);
    expect(as({ memberId, generation: -1 })).toBe(Errors.ILLEGAL_GENERATION);
    expect(as({ memberId, generation })).toBe(Errors.NONE);
    const other = new ClassicClient(w, GROUP, { version: 3 });
    other.join();
    expect(as({ memberId, generation })).toBe(Errors.NONE);
    client.joining = undefined;
    const rejoined = new ClassicClient(w, GROUP);
    rejoined.memberId = memberId;
    rejoined.sync = () => {};
    rejoined.join();
    w.advance(1);
    rejoined.settle();
    expect(classicGroup(w, GROUP)!.state).toBe("CompletingRebalance");
    expect(as({ memberId, generation: rejoined.generation })).toBe(Errors.REBALANCE_IN_PROGRESS);
  });

  test("metadata round trips, null is empty, too long is 12; leader epoch kept; any offset", () => {
    const w = world();
    expect(commitOffset(w, GROUP, "t", 0, -7, { metadata: "x".repeat(4096) })).toBe(Errors.NONE);
    expect(fetched(w)).toMatchObject({ committedOffset: -7, committedLeaderEpoch: 5, metadata: "x".repeat(4096) });
    expect(commitOffset(w, GROUP, "t", 0, 8, { metadata: "x".repeat(4097) })).toBe(Errors.OFFSET_METADATA_TOO_LARGE);
    expect(commitOffset(w, GROUP, "t", 0, 9, { metadata: null })).toBe(Errors.NONE);
    expect(fetched(w)).toMatchObject({ committedOffset: 9, metadata: "" });
  });

  test("a commit is a sign of life", () => {
    const w = world();
    const client = stable(w);
    for (let beat = 0; beat < 5; beat += 1) {
      w.advance(6000);
      expect(client.commit(beat)).toBe(Errors.NONE);
    }
    expect(classicGroup(w, GROUP)!.members.size).toBe(1);
  });
});

describe("OffsetFetch (#44)", () => {
  test("a commit to an earlier topic of the same name is not there; without an id it is", () => {
    const w = world();
    commitOffset(w, GROUP, "t", 0, 5);
    expect(fetched(w, topicIdOf("other")).committedOffset).toBe(-1);
    expect(fetched(w, "AAAAAAAAAAAAAAAAAAAAAA").committedOffset).toBe(5);
  });

  test("all of a group's topics; of an unknown group none", () => {
    const w = world();
    commitOffset(w, GROUP, "t", 0, 5);
    commitOffset(w, GROUP, "u", 3, 6);
    const all = (groupId: string) =>
      w.answer({
        type: "OffsetFetch",
        group: { groupId, memberId: null, memberEpoch: -1, topics: null },
        requireStable: true,
        version: 9,
      });
    expect(all(GROUP).topics.map(({ name, partitions }) => [name, partitions[0]!.committedOffset])).toEqual([
      ["t", 5],
      ["u", 6],
    ]);
    expect(all("other")).toEqual({ groupId: "other", topics: [], errorCode: Errors.NONE });
  });
});

describe("OffsetDelete, DeleteGroups", () => {
  const forget = (w: CoordinatorWorld, topic: string) =>
    w.answer({
      type: "OffsetDelete",
      request: { groupId: GROUP, topics: [{ name: topic, partitions: [{ partitionIndex: 0 }] }] },
    });
  const remove = (w: CoordinatorWorld) => w.answer({ type: "DeleteGroups", groupIds: [GROUP] })[0]!.errorCode;

  test("what the group subscribes to is 86; anything else goes", () => {
    const w = world();
    expect(forget(w, "t").errorCode).toBe(Errors.GROUP_ID_NOT_FOUND);
    const client = stable(w);
    client.commit(5);
    client.commit(6, "u");
    expect(forget(w, "t").topics[0]!.partitions[0]!.errorCode).toBe(Errors.GROUP_SUBSCRIBED_TO_TOPIC);
    expect(forget(w, "u").topics[0]!.partitions[0]!.errorCode).toBe(Errors.NONE);
    expect([fetchOffset(w, GROUP, "t", 0), fetchOffset(w, GROUP, "u", 0)]).toEqual([5, -1]);
  });

  test("a group with members is 68; an empty one goes with all it has, also after a restart", () => {
    const w = world();
    expect(remove(w)).toBe(Errors.GROUP_ID_NOT_FOUND);
    const client = stable(w);
    client.commit(5);
    expect(remove(w)).toBe(Errors.NON_EMPTY_GROUP);
    client.leave();
    expect(remove(w)).toBe(Errors.NONE);
    w.restart();
    expect(classicGroup(w, GROUP)).toBeUndefined();
    expect(fetchOffset(w, GROUP, "t", 0)).toBe(-1);
  });
});

describe("expiry and deleted topics", () => {
  test("a live group's offsets stay; an empty one's go when it has been empty for the retention, then the group", () => {
    const w = world();
    const client = stable(w);
    client.commit(5);
    client.commit(6, "u");
    for (let day = 0; day < 9; day += 1) {
      for (let beat = 0; beat < DAY; beat += 9000) {
        w.advance(9000);
        client.heartbeat();
      }
    }
    // What it does not subscribe to goes by its own age.
    expect([fetchOffset(w, GROUP, "t", 0), fetchOffset(w, GROUP, "u", 0)]).toEqual([5, -1]);
    client.leave();
    w.advance(6 * DAY);
    expect(fetchOffset(w, GROUP, "t", 0)).toBe(5);
    w.advance(2 * DAY);
    expect(fetchOffset(w, GROUP, "t", 0)).toBe(-1);
    expect(classicGroup(w, GROUP)).toBeUndefined();
  });

  test("a simple group's offset goes by its own age, and a retention time of its own decides", () => {
    const w = world();
    w.restart();
    commitOffset(w, GROUP, "t", 0, 5);
    w.advance(4 * DAY);
    commitOffset(w, GROUP, "t", 1, 6);
    w.advance(4 * DAY);
    expect([fetchOffset(w, GROUP, "t", 0), fetchOffset(w, GROUP, "t", 1)]).toEqual([-1, 6]);
    const request = {
      groupId: GROUP,
      generationIdOrMemberEpoch: -1,
      memberId: "",
      groupInstanceId: null,
      retentionTimeMs: 1000,
      topics: [
        {
          name: "u",
          topicId: topicIdOf("u"),
          partitions: [{ partitionIndex: 0, committedOffset: 1, committedLeaderEpoch: -1, committedMetadata: "" }],
        },
      ],
    };
    w.answer({ type: "OffsetCommit", request, version: 4 });
    w.advance(700_000);
    expect(fetchOffset(w, GROUP, "u", 0)).toBe(-1);
  });

  test("a topic that went while nobody looked has no offsets after the next load", () => {
    const w = world();
    commitOffset(w, GROUP, "t", 0, 5);
    commitOffset(w, GROUP, "u", 0, 6);
    w.restart();
    expect(fetchOffset(w, GROUP, "t", 0)).toBe(5);
    w.image = withTopics("u");
    w.restart();
    expect([fetchOffset(w, GROUP, "t", 0), fetchOffset(w, GROUP, "u", 0)]).toEqual([-1, 6]);
  });

  test("a deleted topic's offsets go, but not those of a new topic of its name", () => {
    const w = world();
    commitOffset(w, GROUP, "t", 0, 5);
    w.answer({ type: "TopicsDeleted", topics: [{ name: "t", id: topicIdOf("older") }] });
    expect(fetchOffset(w, GROUP, "t", 0)).toBe(5);
    w.answer({ type: "TopicsDeleted", topics: [{ name: "t", id: topicIdOf("t") }] });
    expect(fetchOffset(w, GROUP, "t", 0)).toBe(-1);
  });
});
