/**
 * Classic groups and offsets under random members, administrators, time and crashes (correctness §4.5): G1–G6, O1, O2, O5,
 * and `replay(log) == journal` after every step, also of a compacted log.
 */
import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { ClassicGroup } from "../../src/group/ClassicGroup.ts";
import { classicGroup } from "../../src/group/CoordinatorState.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { ClassicClient, commitOffset, fetchOffset, SESSION_MS } from "./ClassicClient.ts";
import { CoordinatorWorld, plainJournal, topicIdOf } from "./CoordinatorWorld.ts";

const GROUP = "g";
const TOPICS = ["t", "u"];
const PROTOCOLS: ReadonlyArray<ReadonlyArray<string>> = [["range"], ["range", "sticky"], ["sticky", "range"]];

type Action =
  | { readonly kind: "join" | "heartbeat" | "sync" | "leave" | "crash" | "twin"; readonly client: number }
  | { readonly kind: "resubscribe"; readonly client: number; readonly topics: ReadonlyArray<string> }
  | { readonly kind: "commit"; readonly client: number; readonly topic: string; readonly offset: number }
  | { readonly kind: "simpleCommit"; readonly topic: string; readonly offset: number }
  | { readonly kind: "advance"; readonly ms: number }
  | {
      readonly kind: "round" | "restart" | "compact" | "fullCompact" | "deleteGroup" | "deleteTopic" | "deleteOffsets";
    };

const client = fc.nat({ max: 4 });
const topic = fc.constantFrom(...TOPICS);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("round" as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("join" as const), client }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("heartbeat" as const), client }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("sync" as const, "leave", "crash", "twin"), client }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("commit" as const), client, topic, offset: fc.nat(1000) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("resubscribe" as const),
      client,
      topics: fc.subarray(TOPICS, { minLength: 1 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("simpleCommit" as const), topic, offset: fc.nat(1000) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.constantFrom(0, 1, 3000, SESSION_MS / 2, SESSION_MS + 1, 31_000, 301_000, 700_000, 8 * 86_400_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "restart" as const,
        "compact",
        "fullCompact",
        "deleteGroup",
        "deleteTopic",
        "deleteOffsets",
      ),
    }),
  },
);

/** The world, five clients (two static, one that speaks an old version), and what must hold of them. */
class Run {
  readonly world: CoordinatorWorld;
  readonly clients: ClassicClient[];
  /** The last acked commit by topic; deleted with what deletes it. */
  readonly committed = new Map<string, number>();
  private readonly leaders = new Map<string, string>();

  constructor(delayMs: number) {
    const world = new CoordinatorWorld({ "group.initial.rebalance.delay.ms": String(delayMs) });
    this.world = world;
    world.onChange = (before, after) => this.generationGrows(before, after);
    this.clients = [
      new ClassicClient(world, GROUP, { protocols: PROTOCOLS[0]! }),
      new ClassicClient(world, GROUP, { protocols: PROTOCOLS[1]!, version: 3 }),
      new ClassicClient(world, GROUP, { protocols: PROTOCOLS[2]! }),
      new ClassicClient(world, GROUP, { instance: "one" }),
      new ClassicClient(world, GROUP, { instance: "two", version: 8 }),
    ];
  }

  step(action: Action): void {
    const { world } = this;
    switch (action.kind) {
      case "join":
        if (this.at(action).joining === undefined) this.at(action).join();
        break;
      case "heartbeat":
        if (this.at(action).memberId !== "") this.heartbeat(this.at(action));
        break;
      case "sync":
        this.at(action).sync();
        break;
      case "leave":
        if (this.at(action).memberId !== "") this.at(action).leave();
        break;
      case "crash":
        this.at(action).crash();
        break;
      case "twin":
        this.restartInstance(this.at(action));
        break;
      case "resubscribe":
        this.at(action).topics = action.topics;
        if (this.at(action).joining === undefined) this.at(action).join();
        break;
      case "commit":
        this.commit(this.at(action), action.topic, action.offset);
        break;
      case "simpleCommit":
        this.simpleCommit(action.topic, action.offset);
        break;
      case "advance":
        this.advance(action.ms);
        break;
      case "round":
        this.round();
        break;
      case "restart":
        // What was not written is taken back, so that a generation may come twice.
        this.leaders.clear();
        world.restart();
        for (const each of this.clients) if (each.joining !== undefined || each.syncing !== undefined) each.crash();
        break;
      case "compact":
        world.compact(true);
        break;
      case "fullCompact":
        world.compact(false);
        break;
      case "deleteGroup":
        this.deleteGroup();
        break;
      case "deleteTopic":
        world.answer({ type: "TopicsDeleted", topics: [{ name: "u", id: topicIdOf("u") }] });
        this.committed.delete("u");
        break;
      case "deleteOffsets":
        this.deleteOffsets();
        break;
    }
    for (const each of this.clients) each.settle();
    this.check();
  }

  /** Whoever has begun follows what it is told, so that the group gets somewhere. */
  private round(): void {
    this.world.advance(3001);
    for (const each of this.clients) {
      each.settle();
      if (each.memberId === "" || each.joining !== undefined || each.syncing !== undefined) continue;
      if (!each.isStable || each.heartbeat() !== Errors.NONE) each.join();
    }
    this.world.advance(1);
  }

  private at({ client }: { readonly client: number }): ClassicClient {
    return this.clients[client]!;
  }

  /** G6: nobody who is not a member has a heartbeat. */
  private heartbeat(each: ClassicClient): void {
    const { memberId, generation } = each;
    const group = classicGroup(this.world, GROUP);
    const error = each.heartbeat();
    if (group?.members.has(memberId) !== true) {
      expect<number[]>([Errors.UNKNOWN_MEMBER_ID, Errors.FENCED_INSTANCE_ID]).toContain(error);
    } else if (generation !== group.generation) expect(error).toBe(Errors.ILLEGAL_GENERATION);
    else expect(error).toBe(group.state === "PreparingRebalance" ? Errors.REBALANCE_IN_PROGRESS : Errors.NONE);
  }

  /** G5: a static member that comes back without its id keeps its assignment while Stable; the old id is fenced. */
  private restartInstance(each: ClassicClient): void {
    const group = classicGroup(this.world, GROUP);
    const { memberId, assignment, instance } = each;
    if (instance === null || group?.staticMembers.get(instance) !== memberId) return;
    const keeps = group.state === "Stable" && assignment !== undefined;
    const sameTopics = group.members.get(memberId)?.protocols.length === 1;
    each.crash();
    each.join();
    if (keeps && sameTopics) {
      expect(each.assignment).toBe(assignment);
      expect(each.generation).toBe(group.generation);
    }
    const reply = this.world.answer({
      type: "Heartbeat",
      request: { groupId: GROUP, generationId: group.generation, memberId, groupInstanceId: instance },
      version: 4,
    });
    expect(reply.errorCode).toBe(Errors.FENCED_INSTANCE_ID);
  }

  /** G2, and O1: what is acked is the value from then on. */
  private commit(each: ClassicClient, topic: string, offset: number): void {
    const group = classicGroup(this.world, GROUP);
    const { memberId, generation } = each;
    const error = each.commit(offset, topic);
    const isMember = group?.members.has(memberId) === true && group.generation === generation;
    const isAlone = generation < 0 && (group === undefined || group.state === "Empty");
    if (error === Errors.NONE) {
      expect(isAlone || isMember).toBe(true);
      this.committed.set(topic, offset);
    } else if (isMember) {
      expect(error).toBe(Errors.REBALANCE_IN_PROGRESS);
      expect(group.state).toBe("CompletingRebalance");
    }
  }

  private simpleCommit(topic: string, offset: number): void {
    const group = classicGroup(this.world, GROUP);
    const error = commitOffset(this.world, GROUP, topic, 0, offset);
    const allowed = group === undefined || group.state === "Empty";
    expect(error).toBe(allowed ? Errors.NONE : Errors.UNKNOWN_MEMBER_ID);
    if (allowed) this.committed.set(topic, offset);
  }

  /** O5: only an empty group, or a stable one for what it does not subscribe to, loses offsets with time. */
  private advance(ms: number): void {
    const end = this.world.now + ms;
    const retention = 7 * 86_400_000;
    while (this.world.now < end) {
      const before = classicGroup(this.world, GROUP);
      this.world.advance(Math.min(end - this.world.now, 600_000));
      const after = classicGroup(this.world, GROUP);
      for (const topic of [...this.committed.keys()]) {
        if (fetchOffset(this.world, GROUP, topic, 0) !== -1) continue;
        expect(this.world.now).toBeGreaterThanOrEqual(retention);
        for (const group of [before, after]) {
          if (group === undefined || group.state === "Empty") continue;
          if (before?.state === "Empty" || after === undefined || after.state === "Empty") continue;
          expect([group.state, group.subscribedTopics?.has(topic)]).toEqual(["Stable", false]);
        }
        this.committed.delete(topic);
      }
      // Idle members keep their sessions while their client lives.
      for (const each of this.clients) {
        each.settle();
        if (ms >= 600_000 && each.isStable && each.heartbeat() === Errors.REBALANCE_IN_PROGRESS) each.join();
      }
    }
  }

  private deleteGroup(): void {
    const group = classicGroup(this.world, GROUP);
    const [result] = this.world.answer({ type: "DeleteGroups", groupIds: [GROUP] });
    if (group === undefined) expect(result!.errorCode).toBe(Errors.GROUP_ID_NOT_FOUND);
    else expect(result!.errorCode).toBe(group.state === "Empty" ? Errors.NONE : Errors.NON_EMPTY_GROUP);
    if (result!.errorCode !== Errors.NONE) return;
    this.committed.clear();
    this.leaders.clear();
    expect(classicGroup(this.world, GROUP)).toBeUndefined();
  }

  private deleteOffsets(): void {
    const group = classicGroup(this.world, GROUP);
    const reply = this.world.answer({
      type: "OffsetDelete",
      request: { groupId: GROUP, topics: [{ name: "t", partitions: [{ partitionIndex: 0 }] }] },
    });
    if (group === undefined) return expect(reply.errorCode).toBe(Errors.GROUP_ID_NOT_FOUND);
    const error = reply.topics[0]!.partitions[0]!.errorCode;
    if (group.subscribedTopics?.has("t") === true) expect(error).toBe(Errors.GROUP_SUBSCRIBED_TO_TOPIC);
    if (error === Errors.NONE) this.committed.delete("t");
  }

  private check(): void {
    const { world } = this;
    // Replay equals state, of the bytes as written and as the cleaner leaves them.
    expect(plainJournal(world.shadowJournal)).toEqual(plainJournal(world.journal));
    expect(plainJournal(world.replayed())).toEqual(plainJournal(world.journal));
    for (const [topic, offset] of this.committed) expect(fetchOffset(world, GROUP, topic, 0)).toBe(offset);
    this.checkGroup();
    this.checkMembers();
  }

  /** G1: one more with every join phase that ends, and with nothing else. */
  private generationGrows(before: ClassicGroup, after: ClassicGroup): void {
    const ended = before.state === "PreparingRebalance" && after.state !== "PreparingRebalance";
    const passed = after.state === "CompletingRebalance" && before.state !== "CompletingRebalance";
    expect(after.generation - before.generation).toBeLessThanOrEqual(1);
    if (ended || passed) expect(after.generation).toBe(before.generation + 1);
    if (after.generation === before.generation) return;
    expect(["CompletingRebalance", "Empty"]).toContain(after.state);
  }

  /** G4: one leader, a member; a protocol that all have. */
  private checkGroup(): void {
    const group = classicGroup(this.world, GROUP);
    if (group === undefined) return this.leaders.clear();
    if (group.state !== "Empty") {
      expect(group.members.size === 0 && group.state !== "PreparingRebalance").toBe(false);
      if (group.members.size > 0) expect(group.members.has(group.leader!)).toBe(true);
    }
    if (group.state === "Stable" || group.state === "CompletingRebalance") {
      for (const { protocols } of group.members.values()) {
        expect(protocols.some(({ name }) => name === group.protocolName)).toBe(true);
      }
    }
    for (const [instance, memberId] of group.staticMembers) {
      expect(group.members.get(memberId)?.groupInstanceId).toBe(instance);
    }
  }

  /** G3, G4 as the clients see it. */
  private checkMembers(): void {
    for (const each of this.clients) {
      if (each.assignment === undefined || each.joined === undefined) continue;
      if (each.assignment !== "") {
        expect(each.assignment.split(" ").slice(1).join(" ")).toBe(each.instance ?? each.memberId);
        const made = Number(each.assignment.split(" ")[0]);
        expect(made).toBe(each.generation);
      }
      const { leader, protocolName } = each.joined;
      // A static leader's id changes when it comes back, within a generation.
      const key = `${each.generation} protocol`;
      const known = this.leaders.get(key);
      expect(known ?? protocolName).toBe(protocolName);
      this.leaders.set(key, protocolName!);
      expect(leader).not.toBe("");
    }
  }

  /** Liveness: when all are silent for long enough everybody has been answered and nobody is a member. */
  end(): void {
    for (const each of this.clients) each.crash();
    this.world.advance(20 * 60_000);
    expect(this.world.unanswered).toBe(0);
    const group = classicGroup(this.world, GROUP);
    expect(group?.members.size ?? 0).toBe(0);
    expect(group?.state ?? "Empty").toBe("Empty");
    expect(this.world.volatile.size).toBe(0);
  }
}

describe("classic groups and offsets", () => {
  test("G1–G6, O1, O2, O5, and every prefix of the log replays to the state", () => {
    fc.assert(
      fc.property(fc.constantFrom(0, 3000), fc.array(action, { maxLength: 60 }), (delayMs, actions) => {
        const run = new Run(delayMs);
        for (const each of actions) run.step(each);
        run.end();
      }),
      { numRuns: 500 },
    );
  });

  test("members that live and follow the answers come to a stable generation that all share", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const run = new Run(0);
        for (const each of actions) run.step(each);
        for (let round = 0; round < 12; round += 1) {
          run.world.advance(SESSION_MS / 2);
          for (const each of run.clients) {
            each.settle();
            if (each.joining !== undefined || each.syncing !== undefined) continue;
            if (!each.isStable || each.heartbeat() !== Errors.NONE) each.join();
          }
        }
        const group = classicGroup(run.world, GROUP)!;
        expect([group.state, group.members.size]).toEqual(["Stable", run.clients.length]);
        for (const each of run.clients) expect([each.isStable, each.generation]).toEqual([true, group.generation]);
      }),
      { numRuns: 100 },
    );
  });
});
