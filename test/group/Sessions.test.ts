/**
 * Sessions against a model of them, in virtual time: a member is in its group until a session after its last sign of
 * life, and not a moment longer, whatever joins, leaves, falls silent, wakes up, comes back under its instance id or
 * restarts meanwhile. A classic member that waits for an answer has no session; it begins with the answer.
 */
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import type { AskId, ClassicGroup } from "../../src/group/ClassicGroup.ts";
import { classicGroup } from "../../src/group/CoordinatorState.ts";
import type { GroupCommand, GroupReply } from "../../src/group/GroupCoordinator.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import type { JoinGroupRequest } from "../../src/protocol/generated/JoinGroupRequest.ts";
import { ClassicClient } from "./ClassicClient.ts";
import { Consumer, Coordinator, configWith, GROUP } from "./ConsumerWorld.ts";
import { CoordinatorWorld } from "./CoordinatorWorld.ts";

/** Every time in the model is a multiple of it. */
const STEP_MS = 500;
/** How often a living member says so: well inside the shortest session. */
const BEAT_STEPS = 3;

type Step =
  | { readonly do: "start"; readonly session: number; readonly static: boolean; readonly silent: boolean }
  | { readonly do: "silence" | "wake" | "leave" | "commit"; readonly who: number }
  /** A static member's next incarnation, which may say nothing beyond its first word. */
  | { readonly do: "replace"; readonly who: number; readonly silent: boolean }
  | { readonly do: "wait"; readonly steps: number }
  | { readonly do: "restart" };

const who = fc.nat(4);
const silent = fc.nat(3).map((one) => one === 0);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("start" as const),
      session: fc.constantFrom(4000, 6500, 10_000),
      static: fc.boolean(),
      silent,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constantFrom("silence" as const, "wake", "leave", "commit"), who }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("replace" as const), who, silent }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("wait" as const), steps: fc.integer({ min: 1, max: 25 }) }) },
  { weight: 1, arbitrary: fc.constant({ do: "restart" } as const) },
);
const steps = fc.array(step, { minLength: 5, maxLength: 60, size: "max" });

// --- classic ---

interface Asked {
  readonly command: GroupCommand;
  readonly memberId: string;
  /** The group when it was asked. */
  readonly before: ClassicGroup | undefined;
}

/** A coordinator that is listened to: when each member's session ends, from what it was asked and what it answered. */
class ListenedTo extends CoordinatorWorld {
  readonly ends = new Map<string, number>();
  private readonly sessions = new Map<string, number>();
  private readonly instances = new Map<string, string | null>();
  private readonly open = new Map<AskId, Asked>();

  override ask(command: GroupCommand): AskId {
    const before = classicGroup(this, GROUP);
    const ask = super.ask(command);
    if (!("request" in command) || !("memberId" in command.request)) return ask;
    const asked = { command, memberId: command.request.memberId, before };
    if (this.replies.has(ask)) this.answered(asked, this.replies.get(ask), true);
    else this.open.set(ask, asked);
    this.hear();
    return ask;
  }

  override advance(ms: number): void {
    super.advance(ms);
    this.hear();
  }

  override restart(): void {
    super.restart();
    this.open.clear();
    this.ends.clear();
    // Whom the log knows has a whole session; of others the coordinator knows nothing.
    for (const { memberId, sessionTimeoutMs } of classicGroup(this, GROUP)?.members.values() ?? [])
      this.ends.set(memberId, this.now + sessionTimeoutMs);
  }

  instanceOf(memberId: string): string | null {
    return this.instances.get(memberId) ?? null;
  }

  isWaiting(memberId: string): boolean {
    for (const { memberId: asker } of this.open.values()) if (asker === memberId) return true;
    return false;
  }

  /** Takes what those who wait have been answered. */
  private hear(): void {
    for (const [ask, asked] of this.open) {
      if (!this.replies.has(ask)) continue;
      this.open.delete(ask);
      const reply = this.replies.get(ask) as { readonly errorCode: number };
      // Who waits is kept; its id is only taken from it by its successor.
      expect([asked.memberId, reply.errorCode]).not.toEqual([asked.memberId, Errors.UNKNOWN_MEMBER_ID]);
      this.answered(asked, reply, false);
    }
  }

  private answered({ command, memberId, before }: Asked, reply: unknown, atOnce: boolean): void {
    switch (command.type) {
      case "JoinGroup": {
        const { errorCode, memberId: given, generationId } = reply as GroupReply<"JoinGroup">;
        if (errorCode === Errors.NONE || errorCode === Errors.MEMBER_ID_REQUIRED) this.knows(given, command.request);
        // Told again what it knows it has said nothing new.
        const isNew = !atOnce || memberId === "" || generationId !== before?.generation;
        if (errorCode === Errors.NONE && isNew) this.live(given);
        return;
      }
      case "SyncGroup": {
        const { errorCode } = reply as GroupReply<"SyncGroup">;
        const counts = !atOnce || before?.state === "CompletingRebalance";
        if (counts && (errorCode === Errors.NONE || errorCode === Errors.REBALANCE_IN_PROGRESS)) this.live(memberId);
        return;
      }
      case "Heartbeat": {
        const { errorCode } = reply as GroupReply<"Heartbeat">;
        if (errorCode === Errors.NONE || errorCode === Errors.REBALANCE_IN_PROGRESS) this.live(memberId);
        return;
      }
      case "OffsetCommit": {
        const [topic] = (reply as GroupReply<"OffsetCommit">).topics;
        if (topic?.partitions[0]?.errorCode === Errors.NONE) this.live(memberId);
        return;
      }
    }
  }

  private knows(memberId: string, { sessionTimeoutMs, groupInstanceId }: JoinGroupRequest): void {
    this.sessions.set(memberId, sessionTimeoutMs);
    this.instances.set(memberId, groupInstanceId);
  }

  private live(memberId: string): void {
    this.ends.set(memberId, this.now + this.sessions.get(memberId)!);
  }
}

interface ClassicMember {
  readonly client: ClassicClient;
  lives: boolean;
}

class ClassicRun {
  readonly world = new ListenedTo({ "group.initial.rebalance.delay.ms": "1000" });
  private readonly members: ClassicMember[] = [];
  private started = 0;
  private passed = 0;

  take(step: Step): void {
    const { members, world } = this;
    switch (step.do) {
      case "start":
        if (members.length < 5) this.start(step.session, step.static ? `i${this.started}` : undefined, step.silent);
        break;
      case "wait":
        for (let passed = 0; passed < step.steps; passed += 1) this.pass();
        break;
      case "restart":
        world.restart();
        // Nobody answers what was asked before.
        for (const { client } of members)
          if (client.joining !== undefined || client.syncing !== undefined) client.crash();
        break;
      default: {
        const member = members.at(-1 - step.who);
        if (member !== undefined) this.act(step, member);
      }
    }
    this.check();
  }

  private act(step: Extract<Step, { readonly who: number }>, member: ClassicMember): void {
    const { client } = member;
    const { sessionMs, instance } = client.membership;
    switch (step.do) {
      case "silence":
        member.lives = false;
        return;
      case "wake":
        member.lives = true;
        return this.beat(client);
      case "leave":
        if (!member.lives || client.memberId === "" || this.world.isWaiting(client.memberId)) return;
        this.world.ends.delete(client.memberId);
        client.leave();
        return this.forget(member);
      case "replace":
        if (instance === undefined) return;
        this.forget(member);
        return this.start(sessionMs!, instance, step.silent);
      case "commit":
        if (member.lives && client.isStable) client.commit(1);
        return;
    }
  }

  private start(sessionMs: number, instance: string | undefined, silent: boolean): void {
    const of = instance === undefined ? {} : { instance };
    const client = new ClassicClient(this.world, GROUP, { sessionMs, ...of });
    this.started += 1;
    this.members.push({ client, lives: !silent });
    client.join();
  }

  private forget(member: ClassicMember): void {
    this.members.splice(this.members.indexOf(member), 1);
  }

  private beat(client: ClassicClient): void {
    client.settle();
    if (client.joining !== undefined || client.syncing !== undefined) return;
    if (!client.isStable || client.heartbeat() !== Errors.NONE) client.join();
  }

  private pass(): void {
    this.world.advance(STEP_MS);
    this.passed += 1;
    for (const { client, lives } of this.members) {
      if (!lives) continue;
      client.settle();
      if (this.passed % BEAT_STEPS === 0) this.beat(client);
    }
    this.check();
  }

  private check(): void {
    const { world } = this;
    const group = classicGroup(world, GROUP);
    for (const [memberId, end] of world.ends) {
      const instance = world.instanceOf(memberId);
      const successor = instance === null ? undefined : group?.staticMembers.get(instance);
      const isReplaced = successor !== undefined && successor !== memberId;
      const isDue = isReplaced || (world.now >= end && !world.isWaiting(memberId));
      expect([memberId, group?.members.has(memberId) ?? false]).toEqual([memberId, !isDue]);
      if (isDue) world.ends.delete(memberId);
    }
  }
}

test("classic: a member is in its group until a session after its last sign of life", () => {
  fc.assert(
    fc.property(steps, (steps) => {
      const run = new ClassicRun();
      for (const each of steps) run.take(each);
    }),
    { seed: Number(Bun.env.SEED ?? 345), numRuns: Number(Bun.env.RUNS ?? 60) },
  );
}, 30_000);

// --- KIP-848 ---

const CONSUMER_SESSION_MS = 6000;

class ConsumerRun {
  readonly coordinator = new Coordinator(
    configWith({ "group.consumer.session.timeout.ms": String(CONSUMER_SESSION_MS) }),
  );
  private readonly ends = new Map<string, number>();
  private readonly members: Array<{ readonly consumer: Consumer; lives: boolean }> = [];
  private started = 0;
  private passed = 0;

  constructor() {
    this.coordinator.cluster.create({ name: "t", numPartitions: 7 });
  }

  take(step: Step): void {
    const { members, coordinator } = this;
    switch (step.do) {
      case "start":
        if (members.length < 5) this.start(step.static ? `i${this.started}` : null, step.silent);
        break;
      case "wait":
        for (let passed = 0; passed < step.steps; passed += 1) this.pass();
        break;
      case "restart":
        coordinator.restart();
        for (const memberId of coordinator.group()?.members.keys() ?? []) this.live(memberId);
        break;
      case "commit":
        break;
      default: {
        const member = members.at(-1 - step.who);
        if (member === undefined) break;
        const { consumer } = member;
        if (step.do === "leave" && member.lives) {
          if (consumer.epoch > 0) this.ends.delete(consumer.memberId);
          consumer.leave();
          members.splice(members.indexOf(member), 1);
        } else if (step.do === "replace" && consumer.instanceId !== null) {
          // Its session goes on; a successor takes its place, and the session with it.
          consumer.leaveForNow();
          members.splice(members.indexOf(member), 1);
          if (step.who % 2 === 0) this.start(consumer.instanceId, step.silent);
        } else if (step.do === "silence") member.lives = false;
        else if (step.do === "wake") {
          member.lives = true;
          this.beat(consumer);
        }
      }
    }
    this.check();
  }

  private start(instanceId: string | null, silent: boolean): void {
    this.started += 1;
    const consumer = new Consumer(this.coordinator, `m${this.started}`, { names: ["t"] }, instanceId);
    consumer.slowness = this.started % 3;
    this.members.push({ consumer, lives: !silent });
    this.beat(consumer);
  }

  private beat(consumer: Consumer): void {
    const present = this.coordinator.group()?.staticMember(consumer.instanceId);
    if (consumer.beat()?.errorCode !== Errors.NONE) return;
    if (present !== undefined && present.memberId !== consumer.memberId) this.ends.delete(present.memberId);
    this.live(consumer.memberId);
  }

  private live(memberId: string): void {
    this.ends.set(memberId, this.coordinator.now + CONSUMER_SESSION_MS);
  }

  private pass(): void {
    this.coordinator.advance(STEP_MS);
    this.passed += 1;
    for (const { consumer, lives } of this.members) if (lives && this.passed % BEAT_STEPS === 0) this.beat(consumer);
    this.check();
  }

  private check(): void {
    const { now } = this.coordinator;
    for (const [memberId, end] of this.ends) if (now >= end) this.ends.delete(memberId);
    const members = [...(this.coordinator.group()?.members.keys() ?? [])];
    expect(members.sort()).toEqual([...this.ends.keys()].sort());
  }
}

test("KIP-848: a member is in its group until a session after its last sign of life, one that left for now too", () => {
  fc.assert(
    fc.property(steps, (steps) => {
      const run = new ConsumerRun();
      for (const each of steps) run.take(each);
    }),
    { seed: Number(Bun.env.SEED ?? 848), numRuns: Number(Bun.env.RUNS ?? 30) },
  );
}, 30_000);
