/** Groups that change their protocol while members are live, and classic members in consumer groups. */
import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { ClassicGroup } from "../../src/group/ClassicGroup.ts";
import { groupOf } from "../../src/group/CoordinatorState.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { ClassicConsumer, noDoubleOwner, SESSION_MS, subscription } from "./ClassicConsumer.ts";
import { Consumer, Coordinator, compact, configWith, GROUP, plain, replay } from "./ConsumerWorld.ts";

const world = (properties: Readonly<Record<string, string>> = {}): Coordinator => {
  const coordinator = new Coordinator(configWith({ "group.initial.rebalance.delay.ms": "0", ...properties }));
  coordinator.cluster.create({ name: "t", numPartitions: 6 });
  return coordinator;
};

type Any = Consumer | ClassicConsumer;

const beat = (rounds: number, ...members: Any[]): void => {
  for (let round = 0; round < rounds; round++) {
    for (const member of members) {
      member.beat();
      noDoubleOwner(members);
    }
    // The join phase of an empty group ends with its delay of 0.
    members[0]?.coordinator.advance(0);
  }
};

const kindOf = (coordinator: Coordinator) => groupOf(coordinator, GROUP)?.kind;
const classicOf = (coordinator: Coordinator) => groupOf(coordinator, GROUP) as ClassicGroup;
const sizes = (...members: Any[]) => members.map(({ owned }) => owned.size).sort();

/** Two classic members in a stable classic group. */
const classicPair = (properties: Readonly<Record<string, string>> = {}) => {
  const coordinator = world(properties);
  const [a, b] = [new ClassicConsumer(coordinator, ["t"]), new ClassicConsumer(coordinator, ["t"])];
  beat(4, a, b);
  expect(classicOf(coordinator).state).toBe("Stable");
  expect(sizes(a, b)).toEqual([3, 3]);
  return { coordinator, a, b };
};

describe("upgrade", () => {
  test("a KIP-848 member joins a live classic group: everyone goes on from the generation, and gets a share", () => {
    const { coordinator, a, b } = classicPair();
    const { generation } = classicOf(coordinator);
    const c = new Consumer(coordinator, "c", { names: ["t"] });
    c.beat();
    expect(kindOf(coordinator)).toBe("consumer");
    expect(coordinator.group()!.groupEpoch).toBe(generation + 1);
    expect(coordinator.group()!.classicMembers).toBe(2);
    a.beat();
    expect(a.lastError).toBe(Errors.REBALANCE_IN_PROGRESS);
    beat(6, a, b, c);
    expect(sizes(a, b, c)).toEqual([2, 2, 2]);
    expect(coordinator.group()!.state()).toBe("Stable");
    expect(plain(replay(coordinator.log))).toEqual(plain(coordinator.journal));
  });

  test("whoever waits in the classic group's rebalance is told to join again", () => {
    const { coordinator, a, b } = classicPair();
    const late = new ClassicConsumer(coordinator, ["t"]);
    beat(1, late);
    expect(classicOf(coordinator).state).toBe("PreparingRebalance");
    const c = new Consumer(coordinator, "c", { names: ["t"] });
    c.beat();
    expect(kindOf(coordinator)).toBe("consumer");
    beat(8, a, b, late, c);
    expect(sizes(a, b, late, c)).toEqual([1, 1, 2, 2]);
    expect(late.lastError).toBe(Errors.NONE);
  });

  test("an empty classic group becomes a consumer group under any policy", () => {
    const { coordinator, a, b } = classicPair({ "group.consumer.migration.policy": "disabled" });
    a.leave();
    b.leave();
    const c = new Consumer(coordinator, "c", { names: ["t"] });
    c.beat();
    expect(kindOf(coordinator)).toBe("consumer");
    expect(c.owned.size).toBe(6);
    expect(plain(replay(coordinator.log))).toEqual(plain(coordinator.journal));
  });

  const join = { memberId: "c", rebalanceTimeoutMs: 1000, subscribedTopicNames: ["t"], topicPartitions: [] };
  const refusal = (coordinator: Coordinator) => {
    const before = coordinator.log.length;
    const { errorCode, errorMessage } = coordinator.heartbeat(join);
    expect(coordinator.log.length).toBe(before);
    expect(kindOf(coordinator)).toBe("classic");
    expect(errorCode).toBe(Errors.GROUP_ID_NOT_FOUND);
    return errorMessage;
  };

  test("refused by policy and by size, with Kafka's words", () => {
    const why = (text: string) => `Cannot upgrade classic group ${GROUP} to consumer group because ${text}.`;
    const policy = (value: string) => classicPair({ "group.consumer.migration.policy": value }).coordinator;
    expect(refusal(policy("DISABLED"))).toBe(why("online upgrade is disabled"));
    expect(refusal(policy("downgrade"))).toBe(why("online upgrade is disabled"));
    expect(refusal(classicPair({ "group.consumer.max.size": "1" }).coordinator)).toBe(
      why("the group size exceeds the consumer group maximum size"),
    );
  });

  const classicMember = (metadata: Uint8Array, assignment: Uint8Array, protocolType = "consumer") => {
    const coordinator = world();
    const client = { clientId: "c", host: "/h" };
    const request = {
      groupId: GROUP,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      memberId: "",
      groupInstanceId: null,
      protocolType,
      protocols: [{ name: "p", metadata }],
      reason: null,
    };
    const ask = coordinator.tell({ type: "JoinGroup", version: 3, client, uuid: "u", request });
    coordinator.advance(0);
    const { memberId, generationId } = coordinator.answered.get(ask) as { memberId: string; generationId: number };
    coordinator.ask({
      type: "SyncGroup",
      version: 5,
      request: {
        groupId: GROUP,
        generationId,
        memberId,
        groupInstanceId: null,
        protocolType,
        protocolName: "p",
        assignments: [{ memberId, assignment }],
      },
    });
    return coordinator;
  };

  test("refused when the members do not speak the consumers' protocol well", () => {
    const why = (text: string) => `Cannot upgrade classic group ${GROUP} to consumer group because ${text}`;
    const none = new Uint8Array(0);
    expect(refusal(classicMember(none, none, "connect"))).toBe(
      why("the group does not use the consumer embedded protocol."),
    );
    expect(refusal(classicMember(Uint8Array.of(0, 0, 255), none))).toBe(
      why("the embedded consumer protocol is malformed."),
    );
    expect(refusal(classicMember(subscription(["t"]), Uint8Array.of(0)))).toBe(
      why("the embedded consumer protocol is malformed."),
    );
    const customAssignor = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 42);
    expect(refusal(classicMember(subscription(["t"]), customAssignor))).toBe(
      why(
        "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.",
      ),
    );
  });
});

describe("downgrade", () => {
  test("when the last KIP-848 member leaves, the classic ones go on in a classic group", () => {
    const { coordinator, a, b } = classicPair();
    const c = new Consumer(coordinator, "c", { names: ["t"] });
    beat(6, a, b, c);
    const { groupEpoch } = coordinator.group()!;
    c.leave();
    expect(kindOf(coordinator)).toBe("classic");
    expect(classicOf(coordinator)).toMatchObject({ state: "PreparingRebalance", generation: groupEpoch });
    beat(6, a, b);
    expect(classicOf(coordinator)).toMatchObject({ state: "Stable", generation: groupEpoch + 1 });
    expect(sizes(a, b)).toEqual([3, 3]);
    expect(plain(replay(coordinator.log))).toEqual(plain(coordinator.journal));
  });

  test("also when its session ends", () => {
    const { coordinator, a, b } = classicPair();
    const c = new Consumer(coordinator, "c", { names: ["t"] });
    beat(6, a, b, c);
    c.crash();
    for (let second = 0; second < 46; second++) {
      coordinator.advance(1000);
      beat(1, a, b);
    }
    expect(kindOf(coordinator)).toBe("classic");
    beat(6, a, b);
    expect(sizes(a, b)).toEqual([3, 3]);
  });

  test("not by policy, and not while a KIP-848 member is left", () => {
    const { coordinator, a, b } = classicPair({ "group.consumer.migration.policy": "upgrade" });
    const [c, d] = [new Consumer(coordinator, "c", { names: ["t"] }), new Consumer(coordinator, "d", { names: ["t"] })];
    beat(8, a, b, c, d);
    c.leave();
    expect(kindOf(coordinator)).toBe("consumer");
    d.leave();
    expect(kindOf(coordinator)).toBe("consumer");
    beat(8, a, b);
    expect(sizes(a, b)).toEqual([3, 3]);
  });

  test("a classic member that takes the last KIP-848 member's instance id has its assignment at once", () => {
    const { coordinator, a, b } = classicPair();
    const c = new Consumer(coordinator, "c", { names: ["t"] }, "i");
    beat(6, a, b, c);
    const owned = new Set(c.owned);
    c.leaveForNow();
    const successor = new ClassicConsumer(coordinator, ["t"], "i");
    beat(1, successor);
    expect(kindOf(coordinator)).toBe("classic");
    beat(1, successor, a, b);
    expect(successor.owned).toEqual(owned);
    expect(classicOf(coordinator).state).toBe("Stable");
    expect(plain(replay(coordinator.log))).toEqual(plain(coordinator.journal));
  });

  test("an empty consumer group becomes classic with its first classic member", () => {
    const coordinator = world();
    const c = new Consumer(coordinator, "c", { names: ["t"] });
    c.beat();
    c.leave();
    const a = new ClassicConsumer(coordinator, ["t"]);
    beat(3, a);
    coordinator.advance(0);
    beat(3, a);
    expect(kindOf(coordinator)).toBe("classic");
    expect(a.owned.size).toBe(6);
    expect(plain(replay(coordinator.log))).toEqual(plain(coordinator.journal));
  });
});

describe("classic members of a consumer group", () => {
  const mixed = () => {
    const coordinator = world();
    const c = new Consumer(coordinator, "c", { names: ["t"] });
    c.beat();
    const a = new ClassicConsumer(coordinator, ["t"]);
    return { coordinator, a, c };
  };

  test("join it and are assigned by the broker", () => {
    const { coordinator, a, c } = mixed();
    beat(6, a, c);
    expect(sizes(a, c)).toEqual([3, 3]);
    expect(a.generation).toBe(coordinator.group()!.groupEpoch);
  });

  test("who was told to join again and does not is fenced, although it goes on beating", () => {
    const { coordinator, a, c } = mixed();
    beat(6, a, c);
    const d = new Consumer(coordinator, "d", { names: ["t"] });
    d.beat();
    const request = { groupId: GROUP, generationId: a.generation, memberId: a.memberId, groupInstanceId: null };
    const heartbeat = () => coordinator.ask({ type: "Heartbeat", version: 4, request }).errorCode;
    for (let second = 0; second < 60; second++) {
      expect(heartbeat()).toBe(Errors.REBALANCE_IN_PROGRESS);
      coordinator.advance(1000);
      beat(1, c, d);
    }
    expect(heartbeat()).toBe(Errors.UNKNOWN_MEMBER_ID);
    beat(3, c, d);
    expect(sizes(c, d)).toEqual([3, 3]);
  });

  test("sessions are the members' own; other generations, names and ids are refused", () => {
    const { coordinator, a, c } = mixed();
    beat(6, a, c);
    const { memberId, generation: generationId } = a;
    const ask = (more: object) =>
      coordinator.ask({
        type: "Heartbeat",
        version: 4,
        request: { groupId: GROUP, generationId, memberId, groupInstanceId: null, ...more },
      }).errorCode;
    expect(ask({ generationId: generationId + 1 })).toBe(Errors.ILLEGAL_GENERATION);
    expect(ask({ memberId: "x" })).toBe(Errors.UNKNOWN_MEMBER_ID);
    expect(ask({ memberId: "c", generationId: c.epoch })).toBe(Errors.UNKNOWN_MEMBER_ID);
    const sync = (more: object) =>
      coordinator.ask({
        type: "SyncGroup",
        version: 5,
        request: {
          groupId: GROUP,
          generationId,
          memberId,
          groupInstanceId: null,
          protocolType: "consumer",
          protocolName: "range",
          assignments: [],
          ...more,
        },
      }).errorCode;
    expect(sync({})).toBe(Errors.NONE);
    expect(sync({ protocolType: "connect" })).toBe(Errors.INCONSISTENT_GROUP_PROTOCOL);
    expect(sync({ protocolName: "sticky" })).toBe(Errors.INCONSISTENT_GROUP_PROTOCOL);
    coordinator.advance(SESSION_MS - 1);
    beat(1, c);
    expect(coordinator.group()!.members.has(memberId)).toBe(true);
    coordinator.advance(1);
    expect(coordinator.group()!.members.has(memberId)).toBe(false);
  });

  test("leave with LeaveGroup, one error each", () => {
    const { coordinator, a, c } = mixed();
    beat(6, a, c);
    const reply = coordinator.ask({
      type: "LeaveGroup",
      version: 5,
      request: {
        groupId: GROUP,
        memberId: "",
        members: [
          { memberId: a.memberId, groupInstanceId: null, reason: null },
          { memberId: "x", groupInstanceId: null, reason: null },
          { memberId: "", groupInstanceId: "none", reason: null },
        ],
      },
    });
    expect(reply.errorCode).toBe(Errors.NONE);
    expect(reply.members.map(({ errorCode }) => errorCode)).toEqual([
      Errors.NONE,
      Errors.UNKNOWN_MEMBER_ID,
      Errors.UNKNOWN_MEMBER_ID,
    ]);
    beat(3, c);
    expect(c.owned.size).toBe(6);
  });
});

type Step =
  | { readonly do: "classic"; readonly static: boolean }
  | { readonly do: "consumer"; readonly static: boolean }
  | { readonly do: "beat" | "leave" | "crash"; readonly who: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "restart" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.oneof(
      fc.record({ do: fc.constant("classic" as const), static: fc.boolean() }),
      fc.record({ do: fc.constant("consumer" as const), static: fc.boolean() }),
    ),
  },
  { weight: 20, arbitrary: fc.record({ do: fc.constant("beat" as const), who: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("leave" as const, "crash" as const), who: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 5000, 35_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
);

test("whatever members of both protocols do, no partition has two owners, replay is the state, and it converges", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 80 }), (steps) => {
      const coordinator = world();
      coordinator.cluster.create({ name: "u", numPartitions: 3 });
      const members: Any[] = [];
      for (const each of steps) {
        if (each.do === "wait") coordinator.advance(each.ms);
        else if (each.do === "restart") coordinator.restart();
        else if (each.do === "classic" || each.do === "consumer") {
          if (members.filter(({ alive }) => alive).length >= 5) continue;
          const instance = each.static ? "i" : null;
          members.push(
            each.do === "classic"
              ? new ClassicConsumer(coordinator, ["t", "u"], instance)
              : new Consumer(coordinator, `m${members.length}`, { names: ["t", "u"] }, instance),
          );
        } else members.at(-1 - each.who)?.[each.do]();
        noDoubleOwner(members);
      }
      const { log, journal } = coordinator;
      expect(plain(replay(log))).toEqual(plain(journal));
      expect(plain(replay(compact(log, log.length, log.length)))).toEqual(plain(journal));
      for (let round = 0; round < 40; round++) {
        beat(2, ...members);
        coordinator.advance(3000);
      }
      const alive = members.filter((member) => member.alive);
      const owned = alive.flatMap((member) => [...member.owned]);
      expect(new Set(owned).size).toBe(owned.length);
      expect(owned.length).toBe(alive.length === 0 ? 0 : 9);
    }),
    { seed: Number(Bun.env.SEED ?? 848), numRuns: Number(Bun.env.RUNS ?? 150) },
  );
}, 30_000);
