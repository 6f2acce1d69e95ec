import { describe, expect, test } from "bun:test";
import { classicGroup } from "../../src/group/CoordinatorState.ts";
import type { GroupReply } from "../../src/group/GroupCoordinator.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { CLIENT, ClassicClient, REBALANCE_MS, SESSION_MS, subscription } from "./ClassicClient.ts";
import { CoordinatorWorld } from "./CoordinatorWorld.ts";

const GROUP = "g";
const settings = { "group.initial.rebalance.delay.ms": "0" };

const world = (more: Readonly<Record<string, string>> = {}): CoordinatorWorld =>
  new CoordinatorWorld({ ...settings, ...more });

/** Lets `clients` join together: all of one generation. */
const together = (world: CoordinatorWorld, ...clients: ClassicClient[]): void => {
  for (const client of clients) if (client.joining === undefined) client.join();
  for (let round = 0; round < 4; round += 1) {
    world.advance(1);
    for (const client of clients) client.settle();
    for (const client of clients)
      if (!client.isStable && client.joining === undefined && client.syncing === undefined) client.join();
  }
  for (const client of clients) client.settle();
};

const stateOf = (world: CoordinatorWorld): string | undefined => classicGroup(world, GROUP)?.state;

const joinAs = (
  world: CoordinatorWorld,
  memberId: string,
  options: { type?: string; protocols?: string[]; instance?: string; version?: number; session?: number } = {},
): number =>
  world.ask({
    type: "JoinGroup",
    request: {
      groupId: GROUP,
      sessionTimeoutMs: options.session ?? SESSION_MS,
      rebalanceTimeoutMs: REBALANCE_MS,
      memberId,
      groupInstanceId: options.instance ?? null,
      protocolType: options.type ?? "consumer",
      protocols: (options.protocols ?? ["range"]).map((name) => ({ name, metadata: subscription("t") })),
      reason: null,
    },
    version: options.version ?? 9,
    client: CLIENT,
    uuid: world.uuid(),
  });

const joinError = (world: CoordinatorWorld, ask: number): number | undefined =>
  world.reply<"JoinGroup">(ask)?.errorCode;

describe("JoinGroup (#39, #40)", () => {
  test("v4+: the first join gets an id, which is known until the session ends", () => {
    const w = world();
    const reply = w.reply<"JoinGroup">(joinAs(w, ""))!;
    expect([reply.errorCode, reply.memberId, reply.protocolName]).toEqual([79, "client-uuid1", null]);
    expect(joinError(w, joinAs(w, "client-uuid1"))).toBeUndefined();
    w.advance(0);
    const other = w.reply<"JoinGroup">(joinAs(w, ""))!.memberId;
    w.advance(SESSION_MS + 1);
    expect(joinError(w, joinAs(w, other))).toBe(Errors.UNKNOWN_MEMBER_ID);
  });

  test("v0–3 and static members are members at once", () => {
    const w = world();
    const old = joinAs(w, "", { version: 3 });
    const fixed = joinAs(w, "", { instance: "one" });
    w.advance(1);
    expect(w.reply<"JoinGroup">(old)).toMatchObject({ errorCode: 0, memberId: "client-uuid1", generationId: 1 });
    expect(w.reply<"JoinGroup">(fixed)).toMatchObject({ errorCode: 0, memberId: "one-uuid2", members: [] });
    expect(w.reply<"JoinGroup">(old)!.members.map(({ memberId }) => memberId)).toEqual(["client-uuid1", "one-uuid2"]);
  });

  test("an unknown id is 25, without a group too; another type or protocol 23, and the group is there", () => {
    const w = world();
    expect(joinError(w, joinAs(w, "nobody"))).toBe(Errors.UNKNOWN_MEMBER_ID);
    expect(classicGroup(w, GROUP)).toBeUndefined();
    expect(joinError(w, joinAs(w, "", { protocols: [] }))).toBe(Errors.INCONSISTENT_GROUP_PROTOCOL);
    expect(stateOf(w)).toBe("Empty");
    const client = new ClassicClient(w, GROUP);
    together(w, client);
    expect(joinError(w, joinAs(w, "", { type: "connect" }))).toBe(Errors.INCONSISTENT_GROUP_PROTOCOL);
    expect(joinError(w, joinAs(w, "", { protocols: ["x"] }))).toBe(Errors.INCONSISTENT_GROUP_PROTOCOL);
    expect(joinError(w, joinAs(w, "nobody"))).toBe(Errors.UNKNOWN_MEMBER_ID);
  });

  test("the initial delay waits for more members, is extended by new ones, and ends with the rebalance timeout", () => {
    const w = world({ "group.initial.rebalance.delay.ms": "3000" });
    const first = joinAs(w, "", { version: 3 });
    w.advance(2900);
    const second = joinAs(w, "", { version: 3 });
    w.advance(200);
    expect(joinError(w, first)).toBeUndefined();
    w.advance(3000);
    expect([joinError(w, first), joinError(w, second)]).toEqual([0, 0]);
    expect(w.reply<"JoinGroup">(first)!.generationId).toBe(1);
  });

  test("group.max.size: one more is refused", () => {
    const w = world({ "group.max.size": "1" });
    together(w, new ClassicClient(w, GROUP));
    expect(joinError(w, joinAs(w, "", { version: 3 }))).toBe(Errors.GROUP_MAX_SIZE_REACHED);
  });

  test("the protocol most members like best, of those that all have", () => {
    const w = world();
    const clients = [
      ["a", "b", "c"],
      ["b", "a"],
      ["b", "a", "d"],
    ].map((protocols) => new ClassicClient(w, GROUP, { protocols }));
    together(w, ...clients);
    expect(clients.map(({ joined }) => joined?.protocolName)).toEqual(["b", "b", "b"]);
  });

  test("of protocols with as many votes the one Kafka's hash map has first", () => {
    const w = world();
    const clients = [
      ["range", "roundrobin"],
      ["roundrobin", "range"],
    ].map((protocols) => new ClassicClient(w, GROUP, { protocols }));
    together(w, ...clients.toReversed());
    expect(clients.map(({ joined }) => joined?.protocolName)).toEqual(["range", "range"]);
  });

  test("the same member joining twice: one question waits, the earlier one is answered", () => {
    const w = world({ "group.initial.rebalance.delay.ms": "3000" });
    const id = w.reply<"JoinGroup">(joinAs(w, ""))!.memberId;
    const first = joinAs(w, id);
    const second = joinAs(w, id);
    expect(joinError(w, first)).toBe(Errors.REBALANCE_IN_PROGRESS);
    w.advance(3000);
    expect(joinError(w, second)).toBe(Errors.NONE);
  });
});

describe("rebalances (#42)", () => {
  test("a new member: the others learn it by heartbeat, all are of the next generation, one leads", () => {
    const w = world();
    const [a, b] = [new ClassicClient(w, GROUP), new ClassicClient(w, GROUP)];
    together(w, a);
    expect([a.generation, a.heartbeat()]).toEqual([1, Errors.NONE]);
    b.join();
    expect(stateOf(w)).toBe("PreparingRebalance");
    expect(a.heartbeat()).toBe(Errors.REBALANCE_IN_PROGRESS);
    together(w, a, b);
    expect([a.generation, b.generation]).toEqual([2, 2]);
    expect([a.assignment, b.assignment]).toEqual([`2 ${a.memberId}`, `2 ${b.memberId}`]);
    expect([a.joins.at(-1)!.leader, b.joins.at(-1)!.leader]).toEqual([a.memberId, a.memberId]);
  });

  test("who does not join in time is out; a static member stays, and its session decides", () => {
    const w = world();
    const [a, b, fixed] = [
      new ClassicClient(w, GROUP),
      new ClassicClient(w, GROUP),
      new ClassicClient(w, GROUP, { instance: "one" }),
    ];
    together(w, a, b, fixed);
    const { memberId } = b;
    a.join();
    for (let passed = 0; passed < REBALANCE_MS; passed += SESSION_MS / 2) {
      // They live, and do not join.
      for (const client of [b, fixed]) {
        const { memberId: id, generation } = client;
        expect(client.heartbeat()).toBe(Errors.REBALANCE_IN_PROGRESS);
        [client.memberId, client.generation] = [id, generation];
      }
      expect(a.joining).toBeDefined();
      w.advance(SESSION_MS / 2);
      a.settle();
    }
    w.advance(1);
    a.settle();
    expect(classicGroup(w, GROUP)!.members.has(memberId)).toBe(false);
    expect(classicGroup(w, GROUP)!.members.has(fixed.memberId)).toBe(true);
    expect(a.isStable).toBe(true);
  });

  test("a crash ends with the session and rebalances the rest", () => {
    const w = world();
    const [a, b] = [new ClassicClient(w, GROUP), new ClassicClient(w, GROUP)];
    together(w, a, b);
    const gone = b.memberId;
    b.crash();
    w.advance(SESSION_MS / 2);
    expect(a.heartbeat()).toBe(Errors.NONE);
    w.advance(SESSION_MS / 2 - 10);
    expect(classicGroup(w, GROUP)!.members.has(gone)).toBe(true);
    w.advance(10);
    expect(classicGroup(w, GROUP)!.members.has(gone)).toBe(false);
    expect(a.heartbeat()).toBe(Errors.REBALANCE_IN_PROGRESS);
    together(w, a);
    expect([a.generation, a.isStable]).toEqual([2, true]);
  });

  test("a leader that never assigns is out when the time to sync is over; the follower goes on", () => {
    const w = world();
    const [a, b] = [new ClassicClient(w, GROUP, { version: 3 }), new ClassicClient(w, GROUP, { version: 3 })];
    together(w, a, b);
    const leader = classicGroup(w, GROUP)!.leader;
    const [silent, other] = leader === a.memberId ? [a, b] : [b, a];
    silent.join();
    other.join();
    silent.crash();
    other.settle();
    expect([stateOf(w), other.syncing !== undefined]).toEqual(["CompletingRebalance", true]);
    w.advance(REBALANCE_MS + 1);
    other.settle();
    expect(other.isStable).toBe(false);
    together(w, other);
    expect([other.isStable, classicGroup(w, GROUP)!.members.size]).toEqual([true, 1]);
  });

  test("a changed subscription rebalances, an unchanged follower does not, a leader does", () => {
    const w = world();
    const [a, b] = [new ClassicClient(w, GROUP), new ClassicClient(w, GROUP)];
    together(w, a, b);
    const { generation } = b;
    b.join();
    expect([stateOf(w), b.isStable, b.generation]).toEqual(["Stable", true, generation]);
    b.topics = ["u"];
    b.join();
    expect(stateOf(w)).toBe("PreparingRebalance");
    together(w, a, b);
    expect([...classicGroup(w, GROUP)!.subscribedTopics!].sort()).toEqual(["t", "u"]);
    a.join();
    expect(stateOf(w)).toBe("PreparingRebalance");
  });

  test("SyncGroup: unknown 25, generation 22, another protocol 23, while preparing 27", () => {
    const w = world();
    const a = new ClassicClient(w, GROUP);
    together(w, a);
    const sync = (memberId: string, generationId: number, protocolName = "range"): number =>
      (
        w.answer({
          type: "SyncGroup",
          request: {
            groupId: GROUP,
            generationId,
            memberId,
            groupInstanceId: null,
            protocolType: "consumer",
            protocolName,
            assignments: [],
          },
          version: 5,
        }) as GroupReply<"SyncGroup">
      ).errorCode;
    expect(sync("nobody", 1)).toBe(Errors.UNKNOWN_MEMBER_ID);
    expect(sync(a.memberId, 2)).toBe(Errors.ILLEGAL_GENERATION);
    expect(sync(a.memberId, 1, "x")).toBe(Errors.INCONSISTENT_GROUP_PROTOCOL);
    expect(sync(a.memberId, 1)).toBe(Errors.NONE);
    joinAs(w, "", { version: 3 });
    expect(sync(a.memberId, 1)).toBe(Errors.REBALANCE_IN_PROGRESS);
  });
});

describe("static members (KIP-345)", () => {
  test("one that comes back while Stable keeps generation and assignment; the old id is fenced everywhere", () => {
    const w = world();
    const a = new ClassicClient(w, GROUP, { instance: "one" });
    together(w, a);
    const { memberId: old, assignment } = a;
    const twin = new ClassicClient(w, GROUP, { instance: "one" });
    twin.join();
    expect([twin.generation, twin.assignment, twin.joins[0]!.skipAssignment]).toEqual([1, assignment, true]);
    expect(twin.memberId).not.toBe(old);
    expect(a.heartbeat()).toBe(Errors.FENCED_INSTANCE_ID);
    expect(joinError(w, joinAs(w, old, { instance: "one" }))).toBe(Errors.FENCED_INSTANCE_ID);
    w.restart();
    expect(classicGroup(w, GROUP)!.staticMembers.get("one")).toBe(twin.memberId);
  });

  test("below v9 a leader is not told that it leads", () => {
    const w = world();
    const a = new ClassicClient(w, GROUP, { instance: "one", version: 8 });
    together(w, a);
    const reply = w.reply<"JoinGroup">(joinAs(w, "", { instance: "one", version: 8 }))!;
    expect([reply.leader, reply.members, reply.skipAssignment]).toEqual([a.memberId, [], false]);
  });

  test("one that comes back while others join: its parked join is fenced and it takes part", () => {
    const w = world();
    const fixed = new ClassicClient(w, GROUP, { instance: "one" });
    const other = new ClassicClient(w, GROUP);
    together(w, fixed, other);
    const parked = joinAs(w, fixed.memberId, { instance: "one", protocols: ["range", "x"] });
    expect(stateOf(w)).toBe("PreparingRebalance");
    const back = joinAs(w, "", { instance: "one" });
    expect(joinError(w, parked)).toBe(Errors.FENCED_INSTANCE_ID);
    other.join();
    w.advance(1);
    expect(joinError(w, back)).toBe(Errors.NONE);
  });
});

describe("LeaveGroup", () => {
  const leave = (w: CoordinatorWorld, memberId: string, groupInstanceId: string | null = null) =>
    w.answer({
      type: "LeaveGroup",
      request: { groupId: GROUP, memberId: "", members: [{ memberId, groupInstanceId, reason: null }] },
      version: 5,
    });

  test("each member by itself; the last one empties the group, which goes on by one generation", () => {
    const w = world();
    const a = new ClassicClient(w, GROUP);
    together(w, a);
    expect(leave(w, "nobody").members[0]!.errorCode).toBe(Errors.UNKNOWN_MEMBER_ID);
    expect(leave(w, a.memberId).members[0]!.errorCode).toBe(Errors.NONE);
    expect([stateOf(w), classicGroup(w, GROUP)!.generation]).toEqual(["Empty", 2]);
    expect(w.volatile.size).toBe(0);
  });

  test("a static member by its instance id alone; with a wrong id it is fenced", () => {
    const w = world();
    const a = new ClassicClient(w, GROUP, { instance: "one" });
    together(w, a);
    expect(leave(w, "other", "one").members[0]!.errorCode).toBe(Errors.FENCED_INSTANCE_ID);
    expect(leave(w, "", "one").members[0]).toEqual({ memberId: "", groupInstanceId: "one", errorCode: Errors.NONE });
    expect(stateOf(w)).toBe("Empty");
  });

  test("a pending id can leave, and a group that is not there has no members", () => {
    const w = world();
    const id = w.reply<"JoinGroup">(joinAs(w, ""))!.memberId;
    expect(leave(w, id).members[0]!.errorCode).toBe(Errors.NONE);
    expect(joinError(w, joinAs(w, id))).toBe(Errors.UNKNOWN_MEMBER_ID);
    const none = w.answer({
      type: "LeaveGroup",
      request: { groupId: "no", memberId: "", members: [{ memberId: "m", groupInstanceId: null, reason: null }] },
      version: 5,
    });
    expect([none.errorCode, none.members[0]!.errorCode]).toEqual([Errors.NONE, Errors.UNKNOWN_MEMBER_ID]);
  });
});

describe("after a restart", () => {
  test("members of the last written generation go on; a rebalance that was not written is void", () => {
    const w = world();
    const [a, b] = [new ClassicClient(w, GROUP), new ClassicClient(w, GROUP)];
    together(w, a, b);
    w.restart();
    expect([a.heartbeat(), b.heartbeat(), stateOf(w)]).toEqual([Errors.NONE, Errors.NONE, "Stable"]);
    a.join();
    w.restart();
    expect(stateOf(w)).toBe("Stable");
    w.advance(SESSION_MS + 1);
    expect(stateOf(w)).toBe("Empty");
  });
});
