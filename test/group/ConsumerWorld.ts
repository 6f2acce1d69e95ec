/**
 * A coordinator without an actor and its consumers without sockets: virtual time, a log of records, KIP-848 clients
 * that revoke before they confirm and whose answers may get lost. After every command the world checks what must hold
 * of consumer groups (correctness.md §4.5); a breach throws.
 */
import { expect } from "bun:test";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import type { ConsumerGroup } from "../../src/group/ConsumerGroup.ts";
import { isReconciledTo, LEAVE_STATIC_EPOCH } from "../../src/group/ConsumerGroupMember.ts";
import { decide, resume } from "../../src/group/Decide.ts";
import type { Answer, Decision, GroupCommand, GroupReply, VolatileGroup } from "../../src/group/GroupCoordinator.ts";
import { emptyJournal, evolve, type GroupJournal } from "../../src/group/GroupJournal.ts";
import {
  decodeGroupRecord,
  type EncodedRecord,
  encodeGroupRecord,
  type GroupRecord,
} from "../../src/group/GroupRecords.ts";
import type { Uuid } from "../../src/prelude/Types.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import type { ConsumerGroupHeartbeatRequest } from "../../src/protocol/generated/ConsumerGroupHeartbeatRequest.ts";
import type { ConsumerGroupHeartbeatResponse } from "../../src/protocol/generated/ConsumerGroupHeartbeatResponse.ts";
import { oneBroker } from "../metadata/Cluster.ts";

export const GROUP = "g";

export interface Stored extends EncodedRecord {
  readonly offset: number;
}

export const configWith = (properties: Readonly<Record<string, string>> = {}): BrokerConfig =>
  BrokerConfig.of({ "group.consumer.assignment.interval.ms": "0", ...properties });

/** Records as a cleaner leaves them: below `cleaned` only those without a later record of their key below `known`. */
export const compact = (
  log: ReadonlyArray<Stored>,
  cleaned: number,
  known: number,
  keepTombstones = true,
): Stored[] => {
  const last = new Map<string, number>();
  const keyOf = ({ key }: Stored): string => Buffer.from(key).toString("latin1");
  for (const record of log) if (record.offset < known) last.set(keyOf(record), record.offset);
  return log.filter((record) => {
    if (record.offset >= cleaned) return true;
    const lastOfKey = last.get(keyOf(record));
    if (lastOfKey !== undefined && lastOfKey > record.offset) return false;
    return keepTombstones || record.value !== null;
  });
};

export const replay = (log: ReadonlyArray<Stored>): GroupJournal => {
  const journal = emptyJournal();
  for (const { key, value, offset } of log) {
    const record = decodeGroupRecord(key, value);
    if (typeof record === "string") throw new Error(record);
    evolve(journal, record, offset);
  }
  return journal;
};

/** A group as plain data, without the order of its maps. */
export const plain = (journal: GroupJournal): unknown => JSON.parse(JSON.stringify([...journal.groups], sorted));

const sorted = (_key: string, value: unknown): unknown => {
  if (value instanceof Map) return [...value].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  if (value instanceof Set) return [...value].sort();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return value;
};

interface Timer {
  readonly at: number;
  readonly command: GroupCommand;
}

export class Coordinator {
  readonly cluster = oneBroker();
  now = 1_000_000;
  journal = emptyJournal();
  volatile = new Map<string, VolatileGroup>();
  readonly told = new Map<string, number>();
  readonly timers = new Map<string, Timer>();
  readonly log: Stored[] = [];
  /** Decisions so far, each with what it wrote. */
  readonly records: GroupRecord[] = [];
  /** Counts restarts: what was asked in an earlier life is never answered. */
  lives = 0;
  /** Timers that have fired. */
  fired = 0;
  private nextAsk = 0;
  private nextUuid = 0;
  private lastEpochs = { group: 0, assignment: 0 };
  readonly answered = new Map<number, Answer["reply"]>();

  constructor(public config = configWith()) {}

  group(groupId = GROUP): ConsumerGroup | undefined {
    const group = this.journal.groups.get(groupId);
    return group?.kind === "consumer" ? group : undefined;
  }

  uuid(): string {
    this.nextUuid += 1;
    return `uuid-${this.nextUuid}`;
  }

  /** Tells a command without waiting; the ask under which its answer will be found. */
  tell(command: GroupCommand): number {
    this.nextAsk += 1;
    const ask = this.nextAsk;
    const { now, config } = this;
    this.apply(decide(this, command, ask, { now, config, image: this.cluster.image }));
    this.check();
    return ask;
  }

  /** Asks and gets an answer at once. */
  ask<C extends GroupCommand>(command: C): GroupReply<C["type"]> {
    const ask = this.tell(command);
    if (!this.answered.has(ask)) throw new Error(`no answer to ${command.type}`);
    return this.answered.get(ask) as GroupReply<C["type"]>;
  }

  heartbeat(
    request: Partial<ConsumerGroupHeartbeatRequest>,
    version = 1,
    rights: { readonly mayDescribe?: (topic: string) => boolean } = {},
  ): ConsumerGroupHeartbeatResponse {
    return this.ask({
      type: "ConsumerGroupHeartbeat",
      version,
      ...rights,
      client: { clientId: "client", host: "/127.0.0.1" },
      uuid: this.uuid(),
      request: {
        groupId: GROUP,
        memberId: "",
        memberEpoch: 0,
        instanceId: null,
        rackId: null,
        rebalanceTimeoutMs: -1,
        subscribedTopicNames: null,
        subscribedTopicRegex: null,
        serverAssignor: null,
        topicPartitions: null,
        ...request,
      },
    });
  }

  private apply(decision: Decision): void {
    for (const record of decision.records) {
      const stored = { ...encodeGroupRecord(record), offset: this.log.length };
      this.log.push(stored);
      this.records.push(record);
      evolve(this.journal, record, stored.offset);
    }
    for (const { groupId, group } of decision.volatile) {
      if (group === undefined) this.volatile.delete(groupId);
      else this.volatile.set(groupId, group);
    }
    for (const { key, afterMs, command } of decision.timers) {
      if (afterMs === undefined || command === undefined) this.timers.delete(key);
      else this.timers.set(key, { at: this.now + afterMs, command });
    }
    for (const { ask, reply } of decision.answers) {
      if (this.answered.has(ask)) throw new Error(`ask ${ask} is answered twice`);
      this.answered.set(ask, reply);
    }
    this.checkTargets(decision.records);
  }

  /** Lets time go by; timers fire in order. */
  advance(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      let due: [string, Timer] | undefined;
      for (const entry of this.timers) if (entry[1].at <= until && (!due || entry[1].at < due[1].at)) due = entry;
      if (due === undefined) break;
      this.now = Math.max(this.now, due[1].at);
      this.timers.delete(due[0]);
      this.fired += 1;
      const { now, config } = this;
      this.apply(decide(this, due[1].command, -1, { now, config, image: this.cluster.image }));
      this.check();
    }
    this.now = until;
  }

  /** A restart: the log is all there is. */
  restart(log: ReadonlyArray<Stored> = this.log): void {
    this.lives += 1;
    this.journal = replay(log);
    this.volatile = new Map();
    this.timers.clear();
    const { now, config } = this;
    this.apply(resume(this, { now, config, image: this.cluster.image }, -1));
    this.check();
  }

  private check(): void {
    const group = this.group();
    if (group === undefined) {
      this.lastEpochs = { group: 0, assignment: 0 };
      return;
    }
    if (group.groupEpoch < this.lastEpochs.group) throw new Error("the group epoch went back");
    if (group.assignmentEpoch < this.lastEpochs.assignment) throw new Error("the assignment epoch went back");
    if (group.assignmentEpoch > group.groupEpoch) throw new Error("assigned beyond the group epoch");
    this.lastEpochs = { group: group.groupEpoch, assignment: group.assignmentEpoch };
    const owner = new Map<string, string>();
    for (const member of group.members.values()) {
      const { memberId, memberEpoch, assigned, pendingRevocation } = member;
      if (memberEpoch > group.assignmentEpoch) throw new Error(`${memberId} is ahead of the assignment epoch`);
      for (const owned of [assigned, pendingRevocation]) {
        for (const [topicId, partitions] of owned) {
          for (const [partition, since] of partitions) {
            const key = `${topicId}-${partition}`;
            const other = owner.get(key);
            if (other !== undefined) throw new Error(`${key} belongs to ${other} and ${memberId}`);
            owner.set(key, memberId);
            if (since > group.assignmentEpoch) throw new Error("a partition from the future");
            if (!group.isOwned(topicId, partition)) throw new Error(`${key} is not counted as owned`);
          }
        }
      }
      if (isReconciledTo(member, group.assignmentEpoch) && memberEpoch !== LEAVE_STATIC_EPOCH) {
        // Reaching the target epoch without waiting: everything wanted of what is subscribed is there.
        for (const topicId of assigned.keys()) {
          const wanted = new Set(group.target(memberId).get(topicId) ?? []);
          for (const p of assigned.get(topicId)!.keys()) if (!wanted.has(p)) throw new Error("kept what is not wanted");
        }
      }
    }
  }

  /** LegalTargetAssignment, whenever one was computed. */
  private checkTargets(records: ReadonlyArray<GroupRecord>): void {
    if (!records.some(({ kind, value }) => kind === "ConsumerGroupTargetAssignmentMetadata" && value !== null)) return;
    const group = this.group();
    if (group === undefined || group.members.size === 0) return;
    // A classic group's assignment comes over as it was; the next is due already.
    if (group.groupEpoch !== group.assignmentEpoch || group.assignmentTimestamp === 0) return;
    const { image } = this.cluster;
    const wanted = new Map<string, string[]>();
    const subscribed = new Set<Uuid>();
    for (const member of group.members.values()) {
      const names = [...member.subscribedTopicNames, ...(group.regexes.get(member.subscribedTopicRegex)?.topics ?? [])];
      const ids = new Set(names.map((name) => image.topicsByName.get(name)?.id).filter((id) => id !== undefined));
      for (const id of ids) subscribed.add(id);
      for (const [topicId, partitions] of group.target(member.memberId)) {
        if (!ids.has(topicId)) throw new Error(`${member.memberId} is to get what it is not subscribed to`);
        for (const p of partitions) {
          const key = `${topicId}-${p}`;
          wanted.set(key, [...(wanted.get(key) ?? []), member.memberId]);
        }
      }
    }
    for (const id of subscribed) {
      const count = image.topicsById.get(id)!.partitions.length;
      for (let p = 0; p < count; p++) expect(wanted.get(`${id}-${p}`)?.length).toBe(1);
    }
  }
}

/** A consumer: joins, revokes what it must before it says so, takes what it is given, begins anew when fenced. */
export class Consumer {
  epoch = 0;
  owned = new Set<string>();
  alive = true;
  /** Heartbeats that go by before a revocation is done. */
  slowness = 0;
  /** What it is on its way to, after so many more heartbeats. */
  private revoking: { readonly wanted: Set<string>; beats: number } | undefined;
  private mustTellAll = true;
  private mustReport = false;

  constructor(
    readonly coordinator: Coordinator,
    readonly memberId: string,
    private subscription: { names?: string[]; regex?: string },
    readonly instanceId: string | null = null,
    private readonly assignor: string | null = null,
  ) {}

  /** One heartbeat; `lost`: the coordinator has it, the answer never comes. */
  beat(lost = false): ConsumerGroupHeartbeatResponse | undefined {
    if (!this.alive) return undefined;
    this.revoke();
    const full = this.mustTellAll || this.epoch === 0;
    const response = this.coordinator.heartbeat({
      memberId: this.memberId,
      memberEpoch: this.epoch,
      instanceId: this.instanceId,
      ...(full ? { rebalanceTimeoutMs: 300_000, serverAssignor: this.assignor, ...this.subscribed() } : {}),
      topicPartitions: full || this.mustReport ? this.reported() : null,
    });
    if (lost) this.mustTellAll = true;
    else this.take(response);
    return response;
  }

  private subscribed() {
    const { names, regex } = this.subscription;
    // A changed subscription takes the other kind back.
    return { subscribedTopicNames: names ?? [], subscribedTopicRegex: regex ?? "" };
  }

  private revoke(): void {
    if (this.revoking === undefined) return;
    this.revoking.beats -= 1;
    if (this.revoking.beats > 0) return;
    this.owned = this.revoking.wanted;
    this.revoking = undefined;
    this.mustReport = true;
  }

  private reported(): Array<{ topicId: Uuid; partitions: number[] }> {
    const topics = new Map<Uuid, number[]>();
    for (const key of this.owned) {
      const at = key.lastIndexOf("-");
      const topicId = key.slice(0, at);
      topics.set(topicId, [...(topics.get(topicId) ?? []), Number(key.slice(at + 1))]);
    }
    return [...topics].map(([topicId, partitions]) => ({ topicId, partitions }));
  }

  private take({ errorCode, memberEpoch, assignment }: ConsumerGroupHeartbeatResponse): void {
    if (errorCode === Errors.FENCED_MEMBER_EPOCH || errorCode === Errors.UNKNOWN_MEMBER_ID) return this.begin();
    if (errorCode === Errors.GROUP_ID_NOT_FOUND) return this.begin();
    if (errorCode === Errors.UNRELEASED_INSTANCE_ID || errorCode === Errors.FENCED_INSTANCE_ID) return this.crash();
    expect(errorCode).toBe(Errors.NONE);
    this.epoch = memberEpoch;
    this.mustTellAll = false;
    this.mustReport = false;
    if (assignment === null) return;
    const wanted = new Set(
      assignment.topicPartitions.flatMap(({ topicId, partitions }) => partitions.map((p) => `${topicId}-${p}`)),
    );
    if (this.slowness > 0 && [...this.owned].some((partition) => !wanted.has(partition))) {
      this.revoking = { wanted, beats: this.slowness };
      return;
    }
    this.revoking = undefined;
    this.owned = wanted;
    this.mustReport = true;
  }

  /** Fenced: everything is given up before it joins again. */
  private begin(): void {
    this.owned = new Set();
    this.revoking = undefined;
    this.epoch = 0;
    this.mustTellAll = true;
  }

  subscribe(subscription: { names?: string[]; regex?: string }): void {
    this.subscription = subscription;
    this.mustTellAll = true;
  }

  leave(): void {
    if (!this.alive) return;
    this.crash();
    if (this.epoch > 0) this.sendLeave(-1);
  }

  /** A static member that will be back. */
  leaveForNow(): void {
    if (!this.alive || this.instanceId === null) return;
    this.crash();
    if (this.epoch > 0) this.sendLeave(-2);
  }

  private sendLeave(memberEpoch: number): void {
    const { memberId, instanceId } = this;
    this.coordinator.heartbeat({ memberId, instanceId, memberEpoch });
  }

  /** kill -9. */
  crash(): void {
    this.alive = false;
    this.owned = new Set();
  }
}

/** No partition is consumed by two clients that the coordinator still counts as members. */
export const noDoubleClientAssignment = (consumers: ReadonlyArray<Consumer>): void => {
  const owner = new Map<string, string>();
  for (const consumer of consumers) {
    const group = consumer.coordinator.group();
    if (!consumer.alive || group?.members.has(consumer.memberId) !== true) continue;
    for (const partition of consumer.owned) {
      const other = owner.get(partition);
      if (other !== undefined) throw new Error(`${other} and ${consumer.memberId} both consume ${partition}`);
      owner.set(partition, consumer.memberId);
    }
  }
};
