/** One heartbeat at a time: who may join, which epochs are accepted, what is answered. Texts are Kafka 4.3.1's. */
import { describe, expect, test } from "bun:test";
import { heartbeatProblem } from "../../src/group/ConsumerGroupHeartbeat.ts";
import { MemberState } from "../../src/group/ConsumerGroupMember.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  emptyConsumerGroupHeartbeatRequest,
} from "../../src/protocol/generated/ConsumerGroupHeartbeatRequest.ts";
import type { ConsumerGroupHeartbeatResponse } from "../../src/protocol/generated/ConsumerGroupHeartbeatResponse.ts";
import { Consumer, Coordinator, configWith, GROUP } from "./ConsumerWorld.ts";

type Request = Partial<ConsumerGroupHeartbeatRequest>;

const world = (properties: Readonly<Record<string, string>> = {}): Coordinator => {
  const coordinator = new Coordinator(configWith(properties));
  coordinator.cluster.create({ name: "t", numPartitions: 4 });
  return coordinator;
};

const JOIN: Request = { memberEpoch: 0, rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["t"], topicPartitions: [] };
const join = (memberId: string, more: Request = {}): Request => ({ ...JOIN, memberId, ...more });

const topicId = (coordinator: Coordinator, name = "t") => coordinator.cluster.image.topicsByName.get(name)!.id;

/** Partitions of `t` that an answer assigns; undefined when it says nothing. */
const given = ({ assignment }: ConsumerGroupHeartbeatResponse): number[] | undefined =>
  assignment === null ? undefined : assignment.topicPartitions.flatMap(({ partitions }) => partitions);

const owning = (coordinator: Coordinator, ...partitions: number[]) =>
  partitions.length === 0 ? [] : [{ topicId: topicId(coordinator), partitions }];

describe("a request that is wrong whatever its group", () => {
  const problem = (more: Request, version = 1) =>
    heartbeatProblem({ ...emptyConsumerGroupHeartbeatRequest(), groupId: "g", ...join("m"), ...more }, version, [
      "uniform",
      "range",
    ]);

  test("is refused with Kafka's words", () => {
    const invalid: Array<[Request, string]> = [
      [{ memberId: "" }, "MemberId can't be empty."],
      [{ memberId: " ", memberEpoch: 3 }, "MemberId can't be empty."],
      [{ groupId: "" }, "GroupId can't be empty."],
      [{ instanceId: "" }, "InstanceId can't be empty."],
      [{ rackId: "  " }, "RackId can't be empty."],
      [{ rebalanceTimeoutMs: -1 }, "RebalanceTimeoutMs must be provided in first request."],
      [{ topicPartitions: null }, "TopicPartitions must be empty when (re-)joining."],
      [{ topicPartitions: [{ topicId: "x", partitions: [] }] }, "TopicPartitions must be empty when (re-)joining."],
      [
        { subscribedTopicNames: null },
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
      ],
      [{ memberEpoch: -2 }, "InstanceId can't be null."],
      [{ memberEpoch: -3 }, "MemberEpoch is invalid."],
    ];
    for (const [more, message] of invalid) expect(problem(more)).toEqual({ code: Errors.INVALID_REQUEST, message });
    expect(problem({ serverAssignor: "nope" })).toEqual({
      code: Errors.UNSUPPORTED_ASSIGNOR,
      message: "ServerAssignor nope is not supported. Supported assignors: uniform, range.",
    });
  });

  test("v0 lets the broker make the id of a member that joins, but not of one that stays or leaves", () => {
    expect(problem({ memberId: "" }, 0)).toBeUndefined();
    expect(problem({ memberId: "", memberEpoch: 1 }, 0)?.message).toBe("MemberId can't be empty.");
    expect(problem({ memberId: "", memberEpoch: -1 }, 0)?.message).toBe("MemberId can't be empty.");
  });

  test("an empty subscription is one", () => {
    expect(problem({ subscribedTopicNames: [] })).toBeUndefined();
    expect(problem({ subscribedTopicNames: null, subscribedTopicRegex: "" })).toBeUndefined();
  });
});

describe("joining", () => {
  test("the first member with names comes to epoch 2 and has everything; without names to epoch 1", () => {
    const coordinator = world();
    const answer = coordinator.heartbeat(join("m"));
    expect(answer).toEqual({
      throttleTimeMs: 0,
      errorCode: 0,
      errorMessage: null,
      memberId: "m",
      memberEpoch: 2,
      heartbeatIntervalMs: 5000,
      assignment: { topicPartitions: [{ topicId: topicId(coordinator), partitions: [0, 1, 2, 3] }] },
    });
    expect(world().heartbeat(join("m", { subscribedTopicNames: [] })).memberEpoch).toBe(1);
  });

  test("v0: the broker makes the id", () => {
    expect(world().heartbeat(join(""), 0).memberId).toBe("uuid-1");
  });

  test("an epoch for a group or a member that is not there", () => {
    const coordinator = world();
    const stays = { memberId: "m", memberEpoch: 1 };
    expect(coordinator.heartbeat(stays)).toMatchObject({
      errorCode: Errors.GROUP_ID_NOT_FOUND,
      errorMessage: `Consumer group ${GROUP} not found.`,
      memberId: null,
    });
    expect(coordinator.heartbeat({ memberId: "m", memberEpoch: -1 })).toMatchObject({
      errorCode: Errors.GROUP_ID_NOT_FOUND,
      errorMessage: `Group ${GROUP} not found.`,
    });
    coordinator.heartbeat(join("other"));
    for (const memberEpoch of [1, -1]) {
      expect(coordinator.heartbeat({ memberId: "m", memberEpoch })).toMatchObject({
        errorCode: Errors.UNKNOWN_MEMBER_ID,
        errorMessage: `Member m is not a member of group ${GROUP}.`,
      });
    }
    expect(coordinator.log.length).toBeGreaterThan(0);
  });

  test("a full group takes nobody new, but who is in it may join again", () => {
    const coordinator = world({ "group.consumer.max.size": "1" });
    coordinator.heartbeat(join("a", { instanceId: "i" }));
    expect(coordinator.heartbeat(join("b"))).toMatchObject({
      errorCode: Errors.GROUP_MAX_SIZE_REACHED,
      errorMessage: "The consumer group has reached its maximum capacity of 1 members.",
    });
    expect(coordinator.heartbeat(join("a", { instanceId: "j" })).errorCode).toBe(Errors.NONE);
    coordinator.heartbeat({ memberId: "a", memberEpoch: -2, instanceId: "j" });
    expect(coordinator.heartbeat(join("c", { instanceId: "j" })).errorCode).toBe(Errors.NONE);
  });

  test("the assignor most members ask for is used; without wishes the configured first", () => {
    const coordinator = world({ "group.consumer.assignors": "range,uniform" });
    coordinator.cluster.create({ name: "u", numPartitions: 4 });
    const both = { subscribedTopicNames: ["t", "u"] };
    for (const id of ["a", "b", "c"]) coordinator.heartbeat(join(id, both));
    const sizes = () =>
      [...coordinator.group()!.targets.values()].map((target) => [...target.values()].flat().length).sort();
    expect(sizes()).toEqual([2, 2, 4]);
    coordinator.heartbeat(join("a", { ...both, serverAssignor: "uniform", subscribedTopicNames: ["t", "u", "none"] }));
    expect(coordinator.group()!.preferredAssignor()).toBe("uniform");
    for (const id of ["b", "c"]) coordinator.heartbeat(join(id, { subscribedTopicNames: ["t", "u", "none"] }));
    expect(sizes()).toEqual([2, 3, 3]);
  });

  test("as many for range as for uniform is uniform", () => {
    const coordinator = world();
    coordinator.heartbeat(join("a", { serverAssignor: "range" }));
    expect(coordinator.group()!.preferredAssignor()).toBe("range");
    coordinator.heartbeat(join("b", { serverAssignor: "uniform" }));
    expect(coordinator.group()!.preferredAssignor()).toBe("uniform");
  });

  test("targets are computed once per assignment interval; the first at once", () => {
    const coordinator = world({ "group.consumer.assignment.interval.ms": "1000" });
    expect(given(coordinator.heartbeat(join("a")))).toEqual([0, 1, 2, 3]);
    expect(coordinator.heartbeat(join("b"))).toMatchObject({ memberEpoch: 2, assignment: { topicPartitions: [] } });
    expect(coordinator.group()!.state()).toBe("Assigning");
    coordinator.advance(999);
    expect(coordinator.heartbeat({ memberId: "b", memberEpoch: 2 }).memberEpoch).toBe(2);
    coordinator.advance(1);
    expect(coordinator.heartbeat({ memberId: "b", memberEpoch: 2 }).memberEpoch).toBe(3);
    expect(coordinator.group()!.state()).toBe("Reconciling");
  });

  test("a group's own settings go before the broker's", () => {
    const coordinator = world();
    const settings = { "consumer.heartbeat.interval.ms": "7000", "consumer.session.timeout.ms": "50000" };
    coordinator.cluster.append(
      Object.entries(settings).map(([name, value]) => ({
        type: "ConfigRecord",
        message: { resourceType: 32, resourceName: GROUP, name, value },
      })),
    );
    expect(coordinator.heartbeat(join("a")).heartbeatIntervalMs).toBe(7000);
    coordinator.advance(49_999);
    expect(coordinator.group()!.members.size).toBe(1);
    coordinator.advance(1);
    expect(coordinator.group()!.members.size).toBe(0);
  });
});

describe("epochs", () => {
  const joined = () => {
    const coordinator = world();
    coordinator.heartbeat(join("a"));
    coordinator.heartbeat({ memberId: "a", memberEpoch: 2, topicPartitions: owning(coordinator, 0, 1, 2, 3) });
    coordinator.heartbeat(join("b"));
    // a is told to revoke two partitions and has done so: it comes to epoch 3.
    coordinator.heartbeat({ memberId: "a", memberEpoch: 2 });
    const kept = [...coordinator.group()!.members.get("a")!.assigned.get(topicId(coordinator))!.keys()];
    const answer = coordinator.heartbeat({
      memberId: "a",
      memberEpoch: 2,
      topicPartitions: owning(coordinator, ...kept),
    });
    return { coordinator, kept, answer };
  };

  test("the member's is accepted and tells nothing new", () => {
    const { coordinator, answer } = joined();
    expect(answer).toMatchObject({ memberEpoch: 3, assignment: null });
    expect(coordinator.heartbeat({ memberId: "a", memberEpoch: 3 })).toMatchObject({ errorCode: 0, assignment: null });
  });

  test("a greater one is fenced", () => {
    const { coordinator } = joined();
    expect(coordinator.heartbeat({ memberId: "a", memberEpoch: 4 })).toMatchObject({
      errorCode: Errors.FENCED_MEMBER_EPOCH,
      errorMessage:
        "The consumer group member has a greater member epoch (4) than the one known by the group coordinator (3). The member must abandon all its partitions and rejoin.",
    });
  });

  test("the previous one is accepted when the member owns only what is assigned: its answer was lost", () => {
    const { coordinator, kept } = joined();
    const retry = (...partitions: number[]) =>
      coordinator.heartbeat({ memberId: "a", memberEpoch: 2, topicPartitions: owning(coordinator, ...partitions) });
    expect(retry(...kept)).toMatchObject({ errorCode: 0, memberEpoch: 3 });
    expect(retry()).toMatchObject({ errorCode: 0, memberEpoch: 3 });
    const fenced = {
      errorCode: Errors.FENCED_MEMBER_EPOCH,
      errorMessage:
        "The consumer group member has a smaller member epoch (2) than the one known by the group coordinator (3). The member must abandon all its partitions and rejoin.",
    };
    expect(retry(0, 1, 2, 3)).toMatchObject(fenced);
    expect(coordinator.heartbeat({ memberId: "a", memberEpoch: 2 })).toMatchObject(fenced);
    expect(coordinator.heartbeat({ memberId: "a", memberEpoch: 1 }).errorCode).toBe(Errors.FENCED_MEMBER_EPOCH);
  });

  test("0 joins again, from any epoch, and is told everything", () => {
    const { coordinator, kept } = joined();
    expect(given(coordinator.heartbeat(join("a")))).toEqual(kept);
  });

  test("a full request is told everything, also when nothing changed", () => {
    const { coordinator, kept } = joined();
    const full = join("a", { memberEpoch: 3, topicPartitions: owning(coordinator, ...kept) });
    expect(given(coordinator.heartbeat(full))).toEqual(kept);
    const { rebalanceTimeoutMs: _without, ...partial } = full;
    expect(given(coordinator.heartbeat(partial))).toBeUndefined();
  });
});

describe("reconciliation", () => {
  test("a partition is given on only after its owner confirms; a keep-alive confirms nothing", () => {
    const coordinator = world();
    coordinator.heartbeat(join("a"));
    const b = coordinator.heartbeat(join("b"));
    expect(given(b)).toEqual([]);
    expect(coordinator.group()!.members.get("b")!.state).toBe(MemberState.UNRELEASED_PARTITIONS);
    const told = coordinator.heartbeat({ memberId: "a", memberEpoch: 2 });
    const kept = given(told)!;
    expect(kept).toHaveLength(2);
    expect(told.memberEpoch).toBe(2);
    const alive = { memberId: "a", memberEpoch: 2 };
    expect(coordinator.heartbeat(alive).assignment).toBeNull();
    expect(given(coordinator.heartbeat({ memberId: "b", memberEpoch: 3 }))).toBeUndefined();
    coordinator.heartbeat({ ...alive, topicPartitions: owning(coordinator, 0, 1, 2, 3) });
    expect(given(coordinator.heartbeat({ memberId: "b", memberEpoch: 3 }))).toBeUndefined();
    coordinator.heartbeat({ ...alive, topicPartitions: owning(coordinator, ...kept) });
    const rest = [0, 1, 2, 3].filter((partition) => !kept.includes(partition));
    expect(given(coordinator.heartbeat({ memberId: "b", memberEpoch: 3 }))).toEqual(rest);
    expect(coordinator.group()!.state()).toBe("Stable");
  });

  test("who does not revoke in its rebalance timeout is fenced, and what it had is free", () => {
    const coordinator = world();
    coordinator.heartbeat(join("a", { rebalanceTimeoutMs: 20_000 }));
    coordinator.heartbeat(join("b"));
    coordinator.heartbeat({ memberId: "a", memberEpoch: 2 });
    for (let at = 0; at < 19; at++) {
      coordinator.advance(1000);
      coordinator.heartbeat({ memberId: "a", memberEpoch: 2 });
      coordinator.heartbeat({ memberId: "b", memberEpoch: 3 });
    }
    expect(coordinator.group()!.members.has("a")).toBe(true);
    coordinator.advance(1000);
    expect(coordinator.group()!.members.has("a")).toBe(false);
    expect(given(coordinator.heartbeat({ memberId: "b", memberEpoch: 3 }))).toEqual([0, 1, 2, 3]);
  });

  test("a partition that goes away and comes back while it is revoked has one owner all along (KAFKA-16147)", () => {
    const coordinator = world();
    const [a, b] = ["a", "b"].map((id) => new Consumer(coordinator, id, { names: ["t"] }));
    a!.slowness = 3;
    a!.beat();
    b!.beat();
    a!.beat();
    expect(coordinator.group()!.members.get("a")!.state).toBe(MemberState.UNREVOKED_PARTITIONS);
    // The reason for the revocation goes before it is confirmed: everything is a's again.
    b!.leave();
    const c = new Consumer(coordinator, "c", { names: ["t"] });
    for (let round = 0; round < 8; round++) {
      a!.beat();
      if (round === 1) c.beat();
      if (round > 1) c.beat();
    }
    expect([...a!.owned, ...c.owned].sort()).toHaveLength(4);
    expect(new Set([...a!.owned, ...c.owned]).size).toBe(4);
  });

  test("partitions and topics that appear or go are followed with the next heartbeat", () => {
    const coordinator = world();
    const member = new Consumer(coordinator, "a", { names: ["t", "later"] });
    member.beat();
    coordinator.cluster.ask({
      type: "CreatePartitions",
      topics: [{ name: "t", count: 6, assignments: null }],
      validateOnly: false,
      seed: 1,
    });
    member.beat();
    expect(member.owned.size).toBe(6);
    coordinator.cluster.create({ name: "later", numPartitions: 2 });
    member.beat();
    expect(member.owned.size).toBe(8);
    const epoch = coordinator.group()!.groupEpoch;
    coordinator.cluster.create({ name: "unrelated", numPartitions: 2 });
    member.beat();
    expect(coordinator.group()!.groupEpoch).toBe(epoch);
    coordinator.cluster.ask({ type: "DeleteTopics", topics: [{ name: "later", topicId: "AAAAAAAAAAAAAAAAAAAAAA" }] });
    for (let round = 0; round < 3; round++) member.beat();
    expect(member.owned.size).toBe(6);
    expect(coordinator.group()!.state()).toBe("Stable");
  });

  test("what is no longer subscribed to is taken at once, before the next assignment is due", () => {
    const coordinator = world({ "group.consumer.assignment.interval.ms": "10000" });
    coordinator.cluster.create({ name: "u", numPartitions: 1 });
    const member = new Consumer(coordinator, "a", { names: ["t", "u"] });
    member.beat();
    expect(member.owned.size).toBe(5);
    member.subscribe({ names: ["u"] });
    expect(given(member.beat()!)).toEqual([0]);
    expect(coordinator.group()!.state()).toBe("Assigning");
  });
});

describe("leaving", () => {
  test("answers its epoch, and the others get what is free", () => {
    const coordinator = world();
    coordinator.heartbeat(join("a"));
    expect(coordinator.heartbeat({ memberId: "a", memberEpoch: -1 })).toEqual({
      throttleTimeMs: 0,
      errorCode: 0,
      errorMessage: null,
      memberId: "a",
      memberEpoch: -1,
      heartbeatIntervalMs: 0,
      assignment: null,
    });
    const group = coordinator.group()!;
    expect(group.state()).toBe("Empty");
    expect(group.assignmentEpoch).toBe(group.groupEpoch);
    expect(coordinator.timers.size).toBe(0);
    // The next member does not wait for the assignment interval.
    expect(given(coordinator.heartbeat(join("b")))).toEqual([0, 1, 2, 3]);
  });

  test("a session that ends fences the member", () => {
    const coordinator = world();
    coordinator.heartbeat(join("a"));
    coordinator.advance(44_999);
    coordinator.heartbeat({ memberId: "a", memberEpoch: 2 });
    coordinator.advance(44_999);
    expect(coordinator.group()!.members.size).toBe(1);
    coordinator.advance(1);
    expect(coordinator.group()!.members.size).toBe(0);
    expect(coordinator.heartbeat({ memberId: "a", memberEpoch: 2 }).errorCode).toBe(Errors.UNKNOWN_MEMBER_ID);
  });

  test("after a restart everyone has a whole session, and whoever revokes its whole rebalance timeout", () => {
    const coordinator = world();
    coordinator.heartbeat(join("a", { rebalanceTimeoutMs: 30_000 }));
    coordinator.heartbeat(join("b"));
    coordinator.heartbeat({ memberId: "a", memberEpoch: 2 });
    coordinator.advance(20_000);
    coordinator.restart();
    coordinator.advance(29_999);
    expect([...coordinator.group()!.members.keys()]).toEqual(["a", "b"]);
    coordinator.advance(1);
    expect([...coordinator.group()!.members.keys()]).toEqual(["b"]);
    coordinator.advance(15_000);
    expect(coordinator.group()!.state()).toBe("Empty");
  });
});

describe("static members", () => {
  const world2 = () => {
    const coordinator = world();
    coordinator.heartbeat(join("a1", { instanceId: "a" }));
    coordinator.heartbeat(join("b1", { instanceId: "b" }));
    const [kept] = [given(coordinator.heartbeat({ memberId: "a1", memberEpoch: 2, instanceId: "a" }))!];
    coordinator.heartbeat({
      memberId: "a1",
      memberEpoch: 2,
      instanceId: "a",
      topicPartitions: owning(coordinator, ...kept),
    });
    coordinator.heartbeat({ memberId: "b1", memberEpoch: 3, instanceId: "b" });
    expect(coordinator.group()!.state()).toBe("Stable");
    return { coordinator, kept };
  };

  test("an instance id in use is not given away", () => {
    const { coordinator } = world2();
    expect(coordinator.heartbeat(join("a2", { instanceId: "a" }))).toMatchObject({
      errorCode: Errors.UNRELEASED_INSTANCE_ID,
      errorMessage:
        "Static member a2 with instance id a cannot join the group because the instance id is owned by a1 member.",
    });
    expect(coordinator.heartbeat({ memberId: "a2", memberEpoch: 3, instanceId: "a" })).toMatchObject({
      errorCode: Errors.FENCED_INSTANCE_ID,
      errorMessage: "Static member a2 with instance id a was fenced by member a1.",
    });
    expect(coordinator.heartbeat({ memberId: "a1", memberEpoch: 3, instanceId: "x" })).toMatchObject({
      errorCode: Errors.UNKNOWN_MEMBER_ID,
      errorMessage: "Instance id x is unknown.",
    });
  });

  test("a member that leaves for now (−2) is replaced without anything moving", () => {
    const { coordinator, kept } = world2();
    const { groupEpoch } = coordinator.group()!;
    const left = coordinator.heartbeat({ memberId: "a1", memberEpoch: -2, instanceId: "a" });
    expect(left).toMatchObject({ errorCode: 0, memberId: "a1", memberEpoch: -2 });
    expect(coordinator.group()!.members.get("a1")!.memberEpoch).toBe(-2);
    expect(given(coordinator.heartbeat({ memberId: "b1", memberEpoch: 3, instanceId: "b" }))).toBeUndefined();
    const back = coordinator.heartbeat(join("a2", { instanceId: "a" }));
    expect(given(back)).toEqual(kept);
    expect(back.memberEpoch).toBe(groupEpoch);
    expect(coordinator.group()!.groupEpoch).toBe(groupEpoch);
    expect([...coordinator.group()!.members.keys()].sort()).toEqual(["a2", "b1"]);
    expect(coordinator.group()!.state()).toBe("Stable");
  });

  test("who does not come back in its session is gone", () => {
    const { coordinator } = world2();
    coordinator.heartbeat({ memberId: "a1", memberEpoch: -2, instanceId: "a" });
    coordinator.advance(30_000);
    coordinator.heartbeat({ memberId: "b1", memberEpoch: 3, instanceId: "b" });
    coordinator.advance(15_000);
    expect([...coordinator.group()!.members.keys()]).toEqual(["b1"]);
    expect(given(coordinator.heartbeat({ memberId: "b1", memberEpoch: 3, instanceId: "b" }))).toEqual([0, 1, 2, 3]);
  });

  test("a successor with another subscription starts a new assignment", () => {
    const { coordinator } = world2();
    coordinator.heartbeat({ memberId: "a1", memberEpoch: -2, instanceId: "a" });
    const { groupEpoch } = coordinator.group()!;
    const back = coordinator.heartbeat(join("a2", { instanceId: "a", subscribedTopicNames: ["other"] }));
    expect(coordinator.group()!.groupEpoch).toBe(groupEpoch + 1);
    expect(given(back)).toEqual([]);
    expect(given(coordinator.heartbeat({ memberId: "b1", memberEpoch: 3, instanceId: "b" }))).toEqual([0, 1, 2, 3]);
  });

  test("leaving for good (−1) frees everything at once", () => {
    const { coordinator } = world2();
    coordinator.heartbeat({ memberId: "a1", memberEpoch: -1, instanceId: "a" });
    expect(given(coordinator.heartbeat({ memberId: "b1", memberEpoch: 3, instanceId: "b" }))).toEqual([0, 1, 2, 3]);
  });
});

describe("regular expressions", () => {
  const subscribe = (coordinator: Coordinator, memberId: string, regex: string): Consumer => {
    const member = new Consumer(coordinator, memberId, { regex });
    member.beat();
    return member;
  };

  test("one that is none is refused in RE2's words, and leaves nothing behind", () => {
    const coordinator = world();
    expect(coordinator.heartbeat(join("m", { subscribedTopicNames: null, subscribedTopicRegex: "[" }))).toMatchObject({
      errorCode: Errors.INVALID_REGULAR_EXPRESSION,
      errorMessage: "SubscribedTopicRegex `[` is not a valid regular expression: missing closing ].",
    });
    expect(coordinator.log).toEqual([]);
    expect(coordinator.timers.size).toBe(0);
  });

  test("it is resolved after the first answer, and the next one has the assignment", () => {
    const coordinator = world();
    coordinator.cluster.create({ name: "t2", numPartitions: 1 }, { name: "x", numPartitions: 1 });
    const member = subscribe(coordinator, "m", "t.*");
    expect(member.epoch).toBe(1);
    expect(member.owned.size).toBe(0);
    coordinator.advance(0);
    expect(coordinator.group()!.regexes.get("t.*")?.topics).toEqual(["t", "t2"]);
    member.beat();
    expect(member.owned.size).toBe(5);
    expect(member.epoch).toBe(2);
  });

  test("it matches no topic that who asks may not know of", () => {
    const coordinator = world();
    coordinator.cluster.create({ name: "t-secret", numPartitions: 1 });
    const mayDescribe = (topic: string): boolean => topic !== "t-secret";
    coordinator.heartbeat(join("m", { subscribedTopicNames: null, subscribedTopicRegex: "t.*" }), 1, { mayDescribe });
    coordinator.advance(0);
    expect(coordinator.group()!.regexes.get("t.*")?.topics).toEqual(["t"]);
  });

  test("new topics are seen, ten seconds after the last look at the earliest; then only when something is new", () => {
    const coordinator = world();
    const member = subscribe(coordinator, "m", "t.*");
    coordinator.advance(0);
    member.beat();
    coordinator.cluster.create({ name: "t2", numPartitions: 1 });
    coordinator.advance(10_000);
    member.beat();
    coordinator.advance(0);
    expect(coordinator.group()!.regexes.get("t.*")?.topics).toEqual(["t"]);
    coordinator.advance(1);
    member.beat();
    coordinator.advance(0);
    expect(coordinator.group()!.regexes.get("t.*")?.topics).toEqual(["t", "t2"]);
    member.beat();
    expect(member.owned.size).toBe(5);
    const { timestamp } = coordinator.group()!.regexes.get("t.*")!;
    for (let round = 0; round < 59; round++) {
      coordinator.advance(10_000);
      member.beat();
      coordinator.advance(0);
    }
    expect(coordinator.group()!.regexes.get("t.*")!.timestamp).toBe(timestamp);
    coordinator.advance(11_000);
    member.beat();
    coordinator.advance(0);
    // group.consumer.regex.refresh.interval.ms has gone by.
    expect(coordinator.group()!.regexes.get("t.*")!.timestamp).toBeGreaterThan(timestamp);
  });

  test("a change to one that is not resolved yet waits for its topics at the epoch there is", () => {
    const coordinator = world();
    const member = subscribe(coordinator, "m", "t.*");
    coordinator.advance(0);
    member.subscribe({ regex: "[tu]" });
    member.beat();
    expect(member.epoch).toBe(2);
    expect(coordinator.group()!.groupEpoch).toBe(2);
    expect(member.owned.size).toBe(0);
    coordinator.advance(10_001);
    member.beat();
    coordinator.advance(0);
    member.beat();
    expect(member.epoch).toBe(3);
    expect(member.owned.size).toBe(4);
  });

  test("a second member with the same one needs no resolution; the last to go takes it along", () => {
    const coordinator = world();
    const a = subscribe(coordinator, "a", "t.*");
    coordinator.advance(0);
    a.beat();
    const b = subscribe(coordinator, "b", "t.*");
    expect(b.epoch).toBe(3);
    a.subscribe({ names: ["t"] });
    a.beat();
    expect(coordinator.group()!.regexes.size).toBe(1);
    b.leave();
    expect(coordinator.group()!.regexes.size).toBe(0);
    a.beat();
    expect(a.owned.size).toBe(4);
  });

  test("a resolution that a restart cut off begins again", () => {
    const coordinator = world();
    const member = subscribe(coordinator, "m", "t.*");
    coordinator.restart();
    member.beat();
    coordinator.advance(0);
    member.beat();
    expect(member.owned.size).toBe(4);
  });

  test("a result that comes when nobody subscribes to it any more changes nothing", () => {
    const coordinator = world();
    const member = subscribe(coordinator, "m", "t.*");
    member.leave();
    const records = coordinator.log.length;
    coordinator.advance(0);
    expect(coordinator.log.length).toBe(records);
  });

  test("thousands of topics are matched in several turns", () => {
    const coordinator = world();
    coordinator.cluster.create(...Array.from({ length: 1500 }, (_, at) => ({ name: `${"n".repeat(200)}${at}` })));
    const member = subscribe(coordinator, "m", "(n|N)+1?[0-9]*[02468]|t");
    coordinator.advance(0);
    expect(coordinator.fired).toBeGreaterThan(2);
    expect(coordinator.group()!.regexes.get("(n|N)+1?[0-9]*[02468]|t")?.topics).toHaveLength(751);
    member.beat();
    expect(member.owned.size).toBe(754);
  });
});
