/**
 * Live groups that change their protocol (KIP-848; `group.consumer.migration.policy`), and members that go, which may
 * be the reason.
 *
 * | from     | to       | when                                                                   | members               |
 * |----------|----------|------------------------------------------------------------------------|-----------------------|
 * | classic  | consumer | a KIP-848 member joins; protocol type `consumer`, well-formed metadata,| keep what they own,   |
 * |          |          | no custom assignor's data, size, policy                                | STABLE at generation  |
 * | consumer | classic  | the last KIP-848 member goes, or a classic member takes its instance   | Stable, then asked to |
 * |          |          | id, while classic members remain; size, policy                         | join anew             |
 *
 * What must stay true: the old group's tombstones and the new group's records are one batch; epoch and generation go
 * on from each other and never back; whoever waits in the old protocol is told to join again.
 */
import { type ApiError, apiError } from "../metadata/ApiError.ts";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import type { Uuid } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import { ascending, NO_TARGET, ownedAt, type TargetAssignment } from "./Assignment.ts";
import {
  type ClassicGroup,
  type ClassicMember,
  CONSUMER_PROTOCOL_TYPE,
  computeSubscribedTopics,
  metadataOf,
  NO_ASK,
  NO_ASSIGNMENT,
  newClassicGroup,
  selectProtocol,
} from "./ClassicGroup.ts";
import { ClassicRebalance, joinError, syncError } from "./ClassicRebalance.ts";
import { ConsumerGroup, type ConsumerGroupRecord, evolveConsumerGroup } from "./ConsumerGroup.ts";
import { type Draft, isError, migrationPolicy } from "./ConsumerGroupDraft.ts";
import { type ConsumerGroupMember, MemberState, newMember, sortedNames } from "./ConsumerGroupMember.ts";
import {
  currentAssignmentRecord,
  groupEpochRecord,
  groupTombstones,
  memberMetadataRecord,
  memberTombstones,
  regularExpressionTombstone,
  targetAssignmentEpochRecord,
  targetAssignmentRecord,
} from "./ConsumerGroupRecords.ts";
import { newVolatile } from "./ConsumerGroupVolatile.ts";
import { readAssignment, readSubscription, writeAssignment } from "./EmbeddedProtocol.ts";
import { joinTimer, sessionTimer, syncTimer } from "./Outcome.ts";
import { metadataHash } from "./TopicHash.ts";

// --- classic → consumer ---

const cannotUpgrade = (groupId: string, why: string): ApiError =>
  apiError(Errors.GROUP_ID_NOT_FOUND, `Cannot upgrade classic group ${groupId} to consumer group because ${why}.`);

/** The consumer group a live classic group becomes, with the records that make it so; or why it stays classic. */
export const upgrade = (draft: Draft, classic: ClassicGroup): ConsumerGroup | ApiError => {
  const { groupId } = classic;
  const { context } = draft;
  if (!migrationPolicy(context).upgrade) return cannotUpgrade(groupId, "online upgrade is disabled");
  if (classic.protocolType !== CONSUMER_PROTOCOL_TYPE) {
    return cannotUpgrade(groupId, "the group does not use the consumer embedded protocol");
  }
  if (classic.members.size > context.config.number("group.consumer.max.size")) {
    return cannotUpgrade(groupId, "the group size exceeds the consumer group maximum size");
  }
  const members: ConsumerGroupMember[] = [];
  const targets: TargetAssignment[] = [];
  for (const member of classic.members.values()) {
    const upgraded = upgradeMember(classic, member, context.image);
    if (isError(upgraded)) return upgraded;
    members.push(upgraded.member);
    targets.push(upgraded.target);
  }
  const records = [
    ...members.map((member) => memberMetadataRecord(groupId, member)),
    // No hash of any topics: the joining member's heartbeat finds another and asks for a new assignment, also when it only
    // takes a static member's place (Kafka then leaves a group that was rebalancing without any assignment).
    groupEpochRecord(groupId, classic.generation, 0),
    ...members.map((member, index) => targetAssignmentRecord(groupId, member.memberId, targets[index] ?? NO_TARGET)),
    targetAssignmentEpochRecord(groupId, classic.generation, 0),
    ...members.map((member) => currentAssignmentRecord(groupId, member)),
  ];
  draft.records.push(classicTombstone(groupId), ...records);
  dismiss(draft, classic);
  draft.keep(groupId, newVolatile(groupId));
  for (const { memberId, sessionTimeoutMs } of classic.members.values()) {
    draft.armSession(groupId, memberId, sessionTimeoutMs);
  }
  const group = new ConsumerGroup(groupId);
  const groups = new Map([[groupId, group]]);
  for (const record of records) evolveConsumerGroup({ groups }, record as ConsumerGroupRecord);
  return group;
};

/** Takes the record of a classic group back. */
export const classicTombstone = (groupId: string) =>
  ({ kind: "GroupMetadata", key: { group: groupId }, value: null }) as const;

interface UpgradedMember {
  readonly member: ConsumerGroupMember;
  readonly target: TargetAssignment;
}

const upgradeMember = (
  classic: ClassicGroup,
  member: ClassicMember,
  image: MetadataImage,
): UpgradedMember | ApiError => {
  const malformed = cannotUpgrade(classic.groupId, "the embedded consumer protocol is malformed");
  const protocolName = classic.protocolName ?? selectProtocol(classic);
  const subscription = readSubscription(metadataOf(member, protocolName));
  if (subscription === undefined) return malformed;
  let target: TargetAssignment = NO_TARGET;
  if (member.assignment.length > 0) {
    const assignment = readAssignment(member.assignment);
    if (assignment === undefined) return malformed;
    if (assignment.userData !== null && assignment.userData.length > 0) {
      return apiError(
        Errors.GROUP_ID_NOT_FOUND,
        `Cannot upgrade classic group ${classic.groupId} to consumer group because an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.`,
      );
    }
    target = byTopicId(assignment.assignedPartitions, image);
  }
  return {
    target,
    member: {
      ...newMember(member.memberId),
      memberEpoch: classic.generation,
      previousMemberEpoch: classic.generation,
      state: MemberState.STABLE,
      instanceId: member.groupInstanceId,
      rackId: subscription.rackId || null,
      rebalanceTimeoutMs: member.rebalanceTimeoutMs,
      clientId: member.clientId,
      clientHost: member.clientHost,
      subscribedTopicNames: sortedNames(subscription.topics),
      assigned: ownedAt(target, classic.generation),
      classic: {
        sessionTimeoutMs: member.sessionTimeoutMs,
        supportedProtocols: member.protocols.map(({ name, metadata }) => ({ name, metadata })),
      },
    },
  };
};

/** Partitions by topic name as partitions by id; of topics that exist. */
export const byTopicId = (
  named: ReadonlyArray<{ readonly topic: string; readonly partitions: ReadonlyArray<number> }>,
  image: MetadataImage,
): TargetAssignment => {
  const target = new Map<Uuid, ReadonlyArray<number>>();
  for (const { topic, partitions } of named) {
    const id = image.topicsByName.get(topic)?.id;
    if (id !== undefined && partitions.length > 0) target.set(id, ascending(new Set(partitions)));
  }
  return target;
};

/** Whoever waits in a classic group is told to join again, and its deadlines are void. */
const dismiss = (draft: Draft, classic: ClassicGroup): void => {
  const { groupId } = classic;
  draft.cancel(joinTimer(groupId));
  draft.cancel(syncTimer(groupId));
  for (const { memberId, awaitingJoin, awaitingSync } of classic.members.values()) {
    if (awaitingJoin !== NO_ASK) {
      draft.answer<"JoinGroup">(awaitingJoin, joinError(memberId, Errors.REBALANCE_IN_PROGRESS));
    }
    if (awaitingSync !== NO_ASK) draft.answer<"SyncGroup">(awaitingSync, syncError(Errors.REBALANCE_IN_PROGRESS));
    draft.cancel(sessionTimer(groupId, memberId));
  }
  for (const memberId of classic.pendingJoin) draft.cancel(sessionTimer(groupId, memberId));
};

// --- consumer → classic ---

/** Whether the group goes back to the classic protocol when `leaving` are gone and `joining` (a classic one) has come. */
export const mustDowngrade = (
  draft: Draft,
  group: ConsumerGroup,
  leaving: ReadonlyArray<ConsumerGroupMember>,
  joining: number,
): boolean => {
  const remaining = group.members.size - leaving.length;
  const classic = group.classicMembers - leaving.filter((member) => member.classic !== null).length;
  if (classic !== remaining || remaining + joining === 0) return false;
  const { config } = draft.context;
  return migrationPolicy(draft.context).downgrade && remaining + joining <= config.number("group.max.size");
};

/** A member that takes the place of the last KIP-848 member, which had its instance id. */
export interface Successor {
  readonly member: ConsumerGroupMember;
  readonly replaces: string;
}

/** Makes the group classic again, with a rebalance at once or with the assignments as they are. */
export const downgrade = (
  draft: Draft,
  group: ConsumerGroup,
  leaving: ReadonlyArray<ConsumerGroupMember>,
  successor: Successor | undefined,
  rebalances: boolean,
): void => {
  const { groupId } = group;
  const { config, now, image } = draft.context;
  // A successor's records have just been written in the place of the member it replaces.
  const memberIds = [...group.members.keys()].map((id) =>
    id === successor?.replaces ? successor.member.memberId : id,
  );
  draft.records.push(...groupTombstones(groupId, memberIds, group.regexes.keys()));
  const members = new Map<string, ClassicMember>();
  const gone = new Set(leaving.map(({ memberId }) => memberId));
  const add = (member: ConsumerGroupMember, target: TargetAssignment): void => {
    if (member.classic !== null) members.set(member.memberId, classicMember(member, target, image));
  };
  for (const member of group.members.values()) {
    draft.cancelTimers(groupId, member);
    if (member.memberId === successor?.replaces || gone.has(member.memberId)) continue;
    add(member, group.target(member.memberId));
  }
  if (successor !== undefined) add(successor.member, group.target(successor.replaces));
  const [leader] = members.keys();
  const unnamed: ClassicGroup = {
    ...newClassicGroup(groupId, now),
    state: "Stable",
    generation: group.groupEpoch,
    protocolType: CONSUMER_PROTOCOL_TYPE,
    leader,
    members,
    staticMembers: new Map(
      [...members.values()].flatMap(({ groupInstanceId, memberId }) =>
        groupInstanceId === null ? [] : [[groupInstanceId, memberId] as const],
      ),
    ),
  };
  const named = { ...unnamed, protocolName: selectProtocol(unnamed) };
  const classic: ClassicGroup = { ...named, subscribedTopics: computeSubscribedTopics(named) };
  const rules = {
    initialDelayMs: config.number("group.initial.rebalance.delay.ms"),
    maxSize: config.number("group.max.size"),
  };
  const change = new ClassicRebalance(classic, rules, now, draft);
  change.write();
  for (const { memberId, sessionTimeoutMs } of members.values()) change.armSession(memberId, sessionTimeoutMs);
  if (rebalances) change.prepareRebalance();
  change.finish();
};

const classicMember = (member: ConsumerGroupMember, target: TargetAssignment, image: MetadataImage): ClassicMember => {
  const { sessionTimeoutMs, supportedProtocols } = member.classic!;
  const subscription = supportedProtocols[0]?.metadata ?? NO_ASSIGNMENT;
  return {
    memberId: member.memberId,
    groupInstanceId: member.instanceId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    rebalanceTimeoutMs: member.rebalanceTimeoutMs,
    sessionTimeoutMs,
    protocols: supportedProtocols,
    assignment: writeAssignment({ assignedPartitions: byTopicName(target, image), userData: null }, subscription),
    awaitingJoin: NO_ASK,
    awaitingSync: NO_ASK,
    isNew: false,
  };
};

/** Partitions by topic id as partitions by name; of topics that exist. */
export const byTopicName = (
  target: TargetAssignment,
  image: MetadataImage,
): Array<{ topic: string; partitions: number[] }> => {
  const named: Array<{ topic: string; partitions: number[] }> = [];
  for (const [topicId, partitions] of target) {
    const topic = image.topicsById.get(topicId)?.name;
    if (topic !== undefined) named.push({ topic, partitions: [...partitions] });
  }
  return named;
};

// --- members that go ---

/** Takes members out, by their own wish or because their time is over; what they owned is free. */
export const fence = (draft: Draft, group: ConsumerGroup, members: ReadonlyArray<ConsumerGroupMember>): void => {
  if (members.length === 0) return;
  if (mustDowngrade(draft, group, members, 0)) return downgrade(draft, group, members, undefined, true);
  const { groupId } = group;
  for (const member of members) {
    draft.records.push(...memberTombstones(groupId, member.memberId));
    draft.cancelTimers(groupId, member);
  }
  const left = group.subscriptionsAfter(members.map((member) => [member, undefined] as const));
  for (const regex of new Set(members.map((member) => member.subscribedTopicRegex))) {
    if (regex !== "" && !left.regexes.has(regex)) draft.records.push(regularExpressionTombstone(groupId, regex));
  }
  const epoch = group.groupEpoch + 1;
  draft.records.push(groupEpochRecord(groupId, epoch, metadataHash(left.topics.keys(), draft.context.image)));
  // An empty group is up to date, and its next member shall not wait for the assignment interval.
  if (left.members === 0) draft.records.push(targetAssignmentEpochRecord(groupId, epoch, 0));
};
