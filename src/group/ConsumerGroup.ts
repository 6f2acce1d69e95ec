/**
 * A group of the KIP-848 protocol as its records say it (Kafka's ConsumerGroup): a fold, changed by
 * `evolveConsumerGroup` only.
 *
 * | state       | when                                                                                       |
 * |-------------|--------------------------------------------------------------------------------------------|
 * | EMPTY       | no members                                                                                 |
 * | ASSIGNING   | group epoch > assignment epoch: a new target assignment is due                             |
 * | RECONCILING | some member is not STABLE at the assignment epoch (`ConsumerGroupReconciliation`)          |
 * | STABLE      | every member is                                                                            |
 *
 * | event                                  | group epoch | assignment epoch      | then                        |
 * |----------------------------------------|-------------|-----------------------|-----------------------------|
 * | subscription or its topics changed     | +1          |                       | ASSIGNING                   |
 * | target assignment computed             |             | = group epoch         | RECONCILING                 |
 * | member reached the assignment epoch    |             |                       | STABLE when it was the last |
 * | member left or was fenced              | +1          | = group epoch if last | ASSIGNING or EMPTY          |
 *
 * What must stay true: epochs only grow; everything beside the records (counts, who owns what, static members) follows
 * from the members alone, so that replay gives the same group in whatever order compaction left the records. That is
 * why owners are counted and not fenced by epoch here: a record never fails the fold (KAFKA-19862).
 */
import type { Uuid } from "../prelude/Types.ts";
import type { ConsumerGroupTargetAssignmentMemberValue } from "../protocol/generated/ConsumerGroupTargetAssignmentMemberValue.ts";
import { ascending, NO_TARGET, type OwnedPartitions, type TargetAssignment } from "./Assignment.ts";
import { ASSIGNORS } from "./assignor/Assignors.ts";
import {
  type ConsumerGroupMember,
  isReconciledTo,
  newMember,
  withCurrentAssignment,
  withMetadata,
  withoutAssignment,
} from "./ConsumerGroupMember.ts";
import type { ResolvedRegex } from "./ConsumerGroupRecords.ts";
import type { GroupJournal } from "./GroupJournal.ts";
import type { GroupRecord } from "./GroupRecords.ts";

export type ConsumerGroupState = "Empty" | "Assigning" | "Reconciling" | "Stable";

export type ConsumerGroupRecord = Exclude<GroupRecord, { kind: "OffsetCommit" | "GroupMetadata" }>;

/** Epochs of a group before its first record (Kafka's initial values). */
const INITIAL_EPOCH = 1;
/** The assignment epoch when its record was taken back. */
const NO_EPOCH = -1;

/** How many subscribe to a topic by name, and how many regular expressions in use resolve to it. */
export interface TopicSubscription {
  readonly names: number;
  readonly regexes: number;
}

/** Whose subscriptions to what: of a group as it is, or as it is about to be. */
export interface Subscriptions {
  readonly members: number;
  readonly topics: ReadonlyMap<string, TopicSubscription>;
  /** Members by regular expression. */
  readonly regexes: ReadonlyMap<string, number>;
}

export class ConsumerGroup {
  readonly kind = "consumer";
  groupEpoch = INITIAL_EPOCH;
  /** Of the subscribed topics, as of the group epoch (`TopicHash`); 0 before the first. */
  metadataHash = 0;
  assignmentEpoch = INITIAL_EPOCH;
  /** When the target assignment was computed; 0 when that does not hold up the next one. */
  assignmentTimestamp = 0;
  readonly members = new Map<string, ConsumerGroupMember>();
  /** Target assignment by member id. */
  readonly targets = new Map<string, TargetAssignment>();
  readonly regexes = new Map<string, ResolvedRegex>();
  /** A record of before Kafka 4.1 is in the log: to be taken back with the next change. */
  hasPartitionMetadata = false;

  /** Member id by `group.instance.id`. */
  private readonly statics = new Map<string, string>();
  private readonly owners = new Map<Uuid, Map<number, number>>();
  private readonly topics = new Map<string, TopicSubscription>();
  private readonly regexMembers = new Map<string, number>();
  private readonly assignors = new Map<string, number>();
  private classic = 0;

  constructor(readonly groupId: string) {}

  state(): ConsumerGroupState {
    if (this.members.size === 0) return "Empty";
    if (this.groupEpoch > this.assignmentEpoch) return "Assigning";
    for (const member of this.members.values()) {
      if (!isReconciledTo(member, this.assignmentEpoch)) return "Reconciling";
    }
    return "Stable";
  }

  staticMember(instanceId: string | null): ConsumerGroupMember | undefined {
    const memberId = instanceId === null ? undefined : this.statics.get(instanceId);
    return memberId === undefined ? undefined : this.members.get(memberId);
  }

  target(memberId: string): TargetAssignment {
    return this.targets.get(memberId) ?? NO_TARGET;
  }

  /** Whether a member has the partition, revoking it or not. */
  isOwned(topicId: Uuid, partition: number): boolean {
    return this.owners.get(topicId)?.has(partition) ?? false;
  }

  /** Members that speak the classic protocol. */
  get classicMembers(): number {
    return this.classic;
  }

  regexSubscribers(regex: string): number {
    return this.regexMembers.get(regex) ?? 0;
  }

  isSubscribedToTopic(name: string): boolean {
    return this.topics.has(name);
  }

  subscriptions(): Subscriptions {
    return { members: this.members.size, topics: this.topics, regexes: this.regexMembers };
  }

  /**
   * The subscriptions once `changes` (a member as it was, as it will be; undefined: not there) have come about. A
   * regular expression that nobody subscribes to any more takes its topics along.
   */
  subscriptionsAfter(
    changes: ReadonlyArray<readonly [ConsumerGroupMember | undefined, ConsumerGroupMember | undefined]>,
  ): Subscriptions {
    const topics = new Map(this.topics);
    const regexes = new Map(this.regexMembers);
    let members = this.members.size;
    for (const [before, after] of changes) {
      if (before !== undefined) subscribe(topics, regexes, before, -1);
      if (after !== undefined) subscribe(topics, regexes, after, 1);
      members += (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    }
    for (const [regex, resolved] of this.regexes) {
      if (!regexes.has(regex) && this.regexMembers.has(regex)) {
        for (const topic of resolved.topics) countTopic(topics, topic, 0, -1);
      }
    }
    return { members, topics, regexes };
  }

  /** The topics subscribed to once regular expressions have been resolved anew. */
  topicsWithRegexes(results: ReadonlyMap<string, ResolvedRegex>): Iterable<string> {
    const topics = new Map(this.topics);
    for (const [regex, resolved] of results) {
      for (const topic of resolved.topics) countTopic(topics, topic, 0, 1);
      for (const topic of this.regexes.get(regex)?.topics ?? []) countTopic(topics, topic, 0, -1);
    }
    return topics.keys();
  }

  /** The assignor most members ask for, with one member changed; uniform when as many ask for range; undefined when none asks. */
  preferredAssignor(before?: ConsumerGroupMember, after?: ConsumerGroupMember): string | undefined {
    const counts = new Map(this.assignors);
    if (before?.serverAssignor) count(counts, before.serverAssignor, -1);
    if (after?.serverAssignor) count(counts, after.serverAssignor, 1);
    let preferred: string | undefined;
    let most = 0;
    for (const name of ASSIGNORS.keys()) {
      const asked = counts.get(name) ?? 0;
      if (asked > most) [preferred, most] = [name, asked];
    }
    return preferred;
  }

  setMember(member: ConsumerGroupMember): void {
    this.forget(this.members.get(member.memberId));
    this.members.set(member.memberId, member);
    this.index(member, 1);
    if (member.instanceId !== null) this.statics.set(member.instanceId, member.memberId);
  }

  removeMember(memberId: string): void {
    this.forget(this.members.get(memberId));
    this.members.delete(memberId);
  }

  setRegex(regex: string, resolved: ResolvedRegex | undefined): void {
    const present = this.regexes.get(regex);
    if (present !== undefined) for (const topic of present.topics) countTopic(this.topics, topic, 0, -1);
    if (resolved === undefined) this.regexes.delete(regex);
    else {
      this.regexes.set(regex, resolved);
      for (const topic of resolved.topics) countTopic(this.topics, topic, 0, 1);
    }
  }

  private forget(member: ConsumerGroupMember | undefined): void {
    if (member === undefined) return;
    this.index(member, -1);
    const { instanceId, memberId } = member;
    if (instanceId !== null && this.statics.get(instanceId) === memberId) this.statics.delete(instanceId);
  }

  private index(member: ConsumerGroupMember, by: 1 | -1): void {
    subscribe(this.topics, this.regexMembers, member, by);
    if (member.serverAssignor !== null) count(this.assignors, member.serverAssignor, by);
    if (member.classic !== null) this.classic += by;
    this.own(member.assigned, by);
    this.own(member.pendingRevocation, by);
  }

  private own(owned: OwnedPartitions, by: 1 | -1): void {
    for (const [topicId, partitions] of owned) {
      let topic = this.owners.get(topicId);
      if (topic === undefined) this.owners.set(topicId, (topic = new Map()));
      for (const partition of partitions.keys()) count(topic, partition, by);
      if (topic.size === 0) this.owners.delete(topicId);
    }
  }
}

/** Whether every member subscribes to the same topics (Kafka's HOMOGENEOUS, decided by counts as there). */
export const isHomogeneous = ({ members, topics, regexes }: Subscriptions): boolean => {
  const counts = [...topics.values()];
  if (regexes.size === 0) return counts.every(({ names }) => names === members);
  const [subscribers] = regexes.values();
  return subscribers === members && counts.every((topic) => topic.names === 0 && topic.regexes === 1);
};

const count = <Key>(counts: Map<Key, number>, key: Key, by: 1 | -1): void => {
  const now = (counts.get(key) ?? 0) + by;
  if (now === 0) counts.delete(key);
  else counts.set(key, now);
};

const countTopic = (topics: Map<string, TopicSubscription>, topic: string, names: number, regexes: number): void => {
  const present = topics.get(topic);
  const now = { names: (present?.names ?? 0) + names, regexes: (present?.regexes ?? 0) + regexes };
  if (now.names === 0 && now.regexes === 0) topics.delete(topic);
  else topics.set(topic, now);
};

const subscribe = (
  topics: Map<string, TopicSubscription>,
  regexes: Map<string, number>,
  member: ConsumerGroupMember,
  by: 1 | -1,
): void => {
  for (const topic of member.subscribedTopicNames) countTopic(topics, topic, by, 0);
  if (member.subscribedTopicRegex !== "") count(regexes, member.subscribedTopicRegex, by);
};

const targetFrom = ({ topicPartitions }: Readonly<ConsumerGroupTargetAssignmentMemberValue>): TargetAssignment => {
  const target = new Map<Uuid, ReadonlyArray<number>>();
  for (const { topicId, partitions } of topicPartitions) {
    if (partitions.length > 0) target.set(topicId, ascending(partitions));
  }
  return target;
};

/** The group a record is about: a value makes it, in the place of a classic one; a tombstone does not. */
const groupOf = (
  { groups }: Pick<GroupJournal, "groups">,
  groupId: string,
  hasValue: boolean,
): ConsumerGroup | undefined => {
  const present = groups.get(groupId);
  if (present?.kind === "consumer") return present;
  if (!hasValue) return undefined;
  const group = new ConsumerGroup(groupId);
  groups.set(groupId, group);
  return group;
};

/** Folds one record of a consumer group in. */
export const evolveConsumerGroup = (journal: Pick<GroupJournal, "groups">, record: ConsumerGroupRecord): void => {
  const group = groupOf(journal, record.key.groupId, record.value !== null);
  if (group === undefined) return;
  switch (record.kind) {
    case "ConsumerGroupMetadata":
      if (record.value === null) {
        journal.groups.delete(group.groupId);
        return;
      }
      group.groupEpoch = record.value.epoch;
      group.metadataHash = record.value.metadataHash;
      return;
    case "ConsumerGroupPartitionMetadata":
      group.hasPartitionMetadata = record.value !== null;
      return;
    case "ConsumerGroupTargetAssignmentMetadata":
      group.assignmentEpoch = record.value?.assignmentEpoch ?? NO_EPOCH;
      group.assignmentTimestamp = record.value?.assignmentTimestamp ?? 0;
      return;
    case "ConsumerGroupTargetAssignmentMember":
      if (record.value === null) group.targets.delete(record.key.memberId);
      else group.targets.set(record.key.memberId, targetFrom(record.value));
      return;
    case "ConsumerGroupRegularExpression": {
      const { value } = record;
      const resolved = value && { ...value, topics: [...value.topics].sort() };
      group.setRegex(record.key.regularExpression, resolved ?? undefined);
      return;
    }
    case "ConsumerGroupMemberMetadata": {
      const { memberId } = record.key;
      if (record.value === null) group.removeMember(memberId);
      else group.setMember(withMetadata(group.members.get(memberId) ?? newMember(memberId), record.value));
      return;
    }
    case "ConsumerGroupCurrentMemberAssignment": {
      const { memberId } = record.key;
      const member = group.members.get(memberId);
      if (record.value !== null) group.setMember(withCurrentAssignment(member ?? newMember(memberId), record.value));
      else if (member !== undefined) group.setMember(withoutAssignment(member));
      return;
    }
  }
};
