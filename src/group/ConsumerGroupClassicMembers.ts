/**
 * Members of the classic protocol in a consumer group (KIP-848's online migration; Kafka's classicGroup*ToConsumerGroup):
 * the broker assigns, and JoinGroup and SyncGroup only carry the member's next step to it.
 *
 * | request   | member                                                         | answer                            |
 * |-----------|----------------------------------------------------------------|-----------------------------------|
 * | JoinGroup | new, known, or a static one's next incarnation                 | generation = its new member epoch |
 * | SyncGroup | generation = its epoch, and no newer assignment                | what it is assigned               |
 * | Heartbeat | behind the assignment epoch, must revoke, or its wait is over  | REBALANCE_IN_PROGRESS             |
 * | Heartbeat | otherwise                                                      | NONE                              |
 * | LeaveGroup| any                                                            | fenced                            |
 *
 * What must stay true: a member that was told to join again, or has joined and does not sync, has its rebalance timeout
 * to do so and is fenced then, although its heartbeats go on.
 */
import { type ApiError, apiError } from "../metadata/ApiError.ts";
import { Errors } from "../protocol/Errors.ts";
import type { HeartbeatRequest } from "../protocol/generated/HeartbeatRequest.ts";
import type { JoinGroupRequest } from "../protocol/generated/JoinGroupRequest.ts";
import type { LeaveGroupRequest } from "../protocol/generated/LeaveGroupRequest.ts";
import type { LeaveGroupResponse } from "../protocol/generated/LeaveGroupResponse.ts";
import type { SyncGroupRequest } from "../protocol/generated/SyncGroupRequest.ts";
import type { SyncGroupResponse } from "../protocol/generated/SyncGroupResponse.ts";
import { type ReportedPartitions, targetOf } from "./Assignment.ts";
import { type AskId, CONSUMER_PROTOCOL_TYPE } from "./ClassicGroup.ts";
import { joinError, syncError } from "./ClassicRebalance.ts";
import type { ConsumerGroup } from "./ConsumerGroup.ts";
import {
  Draft,
  groupFull,
  instanceFenced,
  isError,
  migrationPolicy,
  unknownInstance,
  unknownMember,
} from "./ConsumerGroupDraft.ts";
import {
  bumpForSubscription,
  type FoundMember,
  reconcileMember,
  replaceStatic,
  updateMember,
} from "./ConsumerGroupHeartbeat.ts";
import {
  type ConsumerGroupMember,
  isReconciledTo,
  MemberState,
  newMember,
  sortedNames,
} from "./ConsumerGroupMember.ts";
import { byTopicId, byTopicName, downgrade, fence, mustDowngrade } from "./ConsumerGroupMigration.ts";
import type { Deciding } from "./ConsumerGroupProtocol.ts";
import { targetFor } from "./ConsumerGroupTarget.ts";
import { readSubscription, writeAssignment } from "./EmbeddedProtocol.ts";
import type { GroupCommand } from "./GroupCoordinator.ts";

/** From this version on a new dynamic member must come back with the id it is given (KIP-394). */
const MEMBER_ID_REQUIRED_FROM = 4;

export const joinAsClassic = (
  group: ConsumerGroup,
  command: GroupCommand<"JoinGroup">,
  { state, context, ask, outcome }: Deciding,
): void => {
  const draft = new Draft(state, context);
  const refusal = join(draft, group, command, ask);
  if (refusal === undefined) draft.commit(outcome);
  else outcome.answer<"JoinGroup">(ask, joinError("", refusal.code));
};

export const syncAsClassic = (
  group: ConsumerGroup,
  { request }: GroupCommand<"SyncGroup">,
  { state, context, ask, outcome }: Deciding,
): void => {
  const draft = new Draft(state, context);
  const reply = sync(draft, group, request);
  outcome.answer<"SyncGroup">(ask, isError(reply) ? syncError(reply.code) : reply);
  // Also a refusal: being told to join again sets a deadline.
  draft.commit(outcome);
};

export const heartbeatAsClassic = (
  group: ConsumerGroup,
  { request }: GroupCommand<"Heartbeat">,
  { state, context, ask, outcome }: Deciding,
): void => {
  const draft = new Draft(state, context);
  outcome.answer<"Heartbeat">(ask, { throttleTimeMs: 0, errorCode: heartbeat(draft, group, request) });
  draft.commit(outcome);
};

export const leaveAsClassic = (
  group: ConsumerGroup,
  { request }: GroupCommand<"LeaveGroup">,
  { state, context, ask, outcome }: Deciding,
): void => {
  const draft = new Draft(state, context);
  outcome.answer<"LeaveGroup">(ask, leave(draft, group, request));
  draft.commit(outcome);
};

// --- JoinGroup ---

/** Answers the ask, or says why it is refused. */
const join = (
  draft: Draft,
  group: ConsumerGroup,
  { request, version, client, uuid }: GroupCommand<"JoinGroup">,
  ask: AskId,
): ApiError | undefined => {
  const { context } = draft;
  const { groupId } = group;
  const { groupInstanceId: instanceId } = request;
  const policy = migrationPolicy(context);
  if (!policy.upgrade && !policy.downgrade) return apiError(Errors.INCONSISTENT_GROUP_PROTOCOL);
  const isUnknown = request.memberId === "";
  const memberId = isUnknown ? uuid : request.memberId;
  const full = groupFull(context, group, memberId, instanceId);
  if (full !== undefined) return full;
  if (!supportsClassicProtocols(group, request)) return apiError(Errors.INCONSISTENT_GROUP_PROTOCOL);
  if (version >= MEMBER_ID_REQUIRED_FROM && isUnknown && instanceId === null) {
    draft.answer<"JoinGroup">(ask, joinError(memberId, Errors.MEMBER_ID_REQUIRED));
    return undefined;
  }
  const subscription = readSubscription(request.protocols[0]!.metadata);
  const present = group.staticMember(instanceId);
  const found = find(draft, group, memberId, instanceId, isUnknown);
  if (isError(found)) return found;
  if (subscription === undefined) return apiError(Errors.INCONSISTENT_GROUP_PROTOCOL);
  const { member, replaces } = found;
  const updated: ConsumerGroupMember = {
    ...member,
    instanceId: instanceId ?? member.instanceId,
    rackId: subscription.rackId || member.rackId,
    rebalanceTimeoutMs: request.rebalanceTimeoutMs === -1 ? member.rebalanceTimeoutMs : request.rebalanceTimeoutMs,
    subscribedTopicNames: sortedNames(subscription.topics),
    subscribedTopicRegex: "",
    clientId: client.clientId,
    clientHost: client.host,
    classic: {
      sessionTimeoutMs: request.sessionTimeoutMs,
      // Copies, so that a member does not keep its request's whole frame.
      supportedProtocols: request.protocols.map(({ name, metadata }) => ({ name, metadata: metadata.slice() })),
    },
  };
  const reported: ReportedPartitions[] = [...byTopicId(subscription.ownedPartitions, context.image)].map(
    ([topicId, partitions]) => ({ topicId, partitions }),
  );
  const change = { before: member, after: updated, replaces };
  const goesBack = present !== undefined && present.classic === null && mustDowngrade(draft, group, [present], 1);
  let moved: ConsumerGroupMember | ApiError;
  if (goesBack) {
    const bump = bumpForSubscription(draft, group, change);
    if (isError(bump)) return bump;
    const rebalances = group.assignmentEpoch < bump.groupEpoch || someoneIsUnderWay(group, present);
    const target = { epoch: group.assignmentEpoch, target: group.target(present.memberId) };
    moved = rebalances ? updated : reconcileMember(draft, group, updated, target, bump.changed, reported);
    if (isError(moved)) return moved;
    downgrade(draft, group, [present], { member: moved, replaces: present.memberId }, rebalances);
  } else {
    moved = updateMember(draft, group, change, reported);
    if (isError(moved)) return moved;
    draft.armSession(groupId, memberId, request.sessionTimeoutMs);
    draft.armSync(groupId, memberId, moved.rebalanceTimeoutMs);
    draft.cancelJoin(groupId, memberId);
  }
  draft.answer<"JoinGroup">(ask, {
    ...joinError(memberId, Errors.NONE),
    generationId: moved.memberEpoch,
    protocolType: CONSUMER_PROTOCOL_TYPE,
    protocolName: request.protocols[0]!.name,
  });
  return undefined;
};

/**
 * A classic group tells its members nothing while it is Stable, so whoever has not come to its target yet would never
 * get there (Kafka looks at the epochs only and leaves such partitions without an owner).
 */
const someoneIsUnderWay = (group: ConsumerGroup, leaving: ConsumerGroupMember): boolean => {
  for (const member of group.members.values()) {
    if (member !== leaving && !isReconciledTo(member, group.assignmentEpoch)) return true;
  }
  return false;
};

/** Whether some protocol is one that every classic member has. */
const supportsClassicProtocols = (group: ConsumerGroup, { protocolType, protocols }: JoinGroupRequest): boolean => {
  if (protocolType !== CONSUMER_PROTOCOL_TYPE || protocols.length === 0) return false;
  const members = [...group.members.values()].flatMap(({ classic }) => (classic === null ? [] : [classic]));
  return protocols.some(({ name }) =>
    members.every(({ supportedProtocols }) => supportedProtocols.some((protocol) => protocol.name === name)),
  );
};

const find = (
  draft: Draft,
  group: ConsumerGroup,
  memberId: string,
  instanceId: string | null,
  isUnknown: boolean,
): FoundMember | ApiError => {
  const known = group.members.get(memberId) ?? newMember(memberId);
  if (instanceId === null) return { member: known, replaces: undefined };
  const present = group.staticMember(instanceId);
  if (!isUnknown) {
    if (present === undefined) return unknownInstance(instanceId);
    return instanceFenced(present, memberId, instanceId) ?? { member: present, replaces: undefined };
  }
  if (present === undefined) return { member: known, replaces: undefined };
  return replaceStatic(draft, group, present, memberId);
};

// --- SyncGroup, Heartbeat, LeaveGroup ---

interface Identity {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly generationId: number;
}

/** A classic member of the present generation. */
type ClassicMember = ConsumerGroupMember & { readonly classic: NonNullable<ConsumerGroupMember["classic"]> };

const identify = (
  group: ConsumerGroup,
  { memberId, groupInstanceId, generationId }: Identity,
): ClassicMember | ApiError => {
  const member = groupInstanceId === null ? group.members.get(memberId) : group.staticMember(groupInstanceId);
  if (member === undefined) return unknownMember(group.groupId, memberId);
  const fenced = groupInstanceId === null ? undefined : instanceFenced(member, memberId, groupInstanceId);
  if (fenced !== undefined) return fenced;
  const { classic } = member;
  if (classic === null) {
    return apiError(Errors.UNKNOWN_MEMBER_ID, `Member ${memberId} does not use the classic protocol.`);
  }
  if (member.memberEpoch !== generationId) return apiError(Errors.ILLEGAL_GENERATION);
  return { ...member, classic };
};

const sync = (draft: Draft, group: ConsumerGroup, request: SyncGroupRequest): SyncGroupResponse | ApiError => {
  const { groupId } = group;
  const member = identify(group, request);
  if (isError(member)) return member;
  const { supportedProtocols, sessionTimeoutMs } = member.classic;
  const { protocolType, protocolName } = request;
  if (
    (protocolType !== null && protocolType !== CONSUMER_PROTOCOL_TYPE) ||
    (protocolName !== null && protocolName !== supportedProtocols[0]?.name)
  ) {
    return apiError(Errors.INCONSISTENT_GROUP_PROTOCOL);
  }
  // A member that has to revoke has joined already: it learns here what to give up.
  if (group.assignmentEpoch > member.memberEpoch && member.state !== MemberState.UNREVOKED_PARTITIONS) {
    draft.armJoin(groupId, member);
    return apiError(Errors.REBALANCE_IN_PROGRESS);
  }
  draft.cancelSync(groupId, member.memberId);
  draft.armSession(groupId, member.memberId, sessionTimeoutMs);
  const assignment = {
    assignedPartitions: byTopicName(targetOf(member.assigned), draft.context.image),
    userData: null,
  };
  return {
    throttleTimeMs: 0,
    errorCode: Errors.NONE,
    protocolType,
    protocolName,
    assignment: writeAssignment(assignment, supportedProtocols[0]!.metadata),
  };
};

const heartbeat = (draft: Draft, group: ConsumerGroup, request: HeartbeatRequest): number => {
  const member = identify(group, request);
  if (isError(member)) return member.code;
  draft.armSession(group.groupId, member.memberId, member.classic.sessionTimeoutMs);
  const mustJoin =
    member.memberEpoch < assignmentEpoch(draft, group, member) ||
    member.state === MemberState.UNREVOKED_PARTITIONS ||
    (member.state === MemberState.UNRELEASED_PARTITIONS && !waitsForOthers(group, member));
  if (!mustJoin) return Errors.NONE;
  draft.armJoin(group.groupId, member);
  return Errors.REBALANCE_IN_PROGRESS;
};

/**
 * The assignment epoch after the heartbeat. While only classic members are left (the policy forbids the way back)
 * nobody else's heartbeat sees that topics changed or that a member is gone: a deviation, because Kafka leaves such
 * partitions without an owner until somebody joins.
 */
const assignmentEpoch = (draft: Draft, group: ConsumerGroup, member: ConsumerGroupMember): number => {
  if (group.classicMembers < group.members.size) return group.assignmentEpoch;
  const change = { before: member, after: member, replaces: undefined };
  const bump = bumpForSubscription(draft, group, change);
  return isError(bump)
    ? group.assignmentEpoch
    : targetFor(draft, group, bump.groupEpoch, change, bump.subscriptions).epoch;
};

/** Whether something the member is to have still belongs to another. */
const waitsForOthers = (group: ConsumerGroup, member: ConsumerGroupMember): boolean => {
  for (const [topicId, partitions] of group.target(member.memberId)) {
    const assigned = member.assigned.get(topicId);
    for (const partition of partitions) {
      if (!assigned?.has(partition) && group.isOwned(topicId, partition)) return true;
    }
  }
  return false;
};

const leave = (draft: Draft, group: ConsumerGroup, request: LeaveGroupRequest): LeaveGroupResponse => {
  const leaving = new Map<string, ConsumerGroupMember>();
  const members: LeaveGroupResponse["members"] = [];
  for (const { memberId, groupInstanceId } of request.members) {
    const member = findLeaving(group, memberId, groupInstanceId);
    if (!isError(member)) leaving.set(member.memberId, member);
    members.push({ memberId, groupInstanceId, errorCode: isError(member) ? member.code : Errors.NONE });
  }
  fence(draft, group, [...leaving.values()]);
  return { throttleTimeMs: 0, errorCode: Errors.NONE, members };
};

/** An administrator may remove a static member by its instance id alone. */
const findLeaving = (
  group: ConsumerGroup,
  memberId: string,
  instanceId: string | null,
): ConsumerGroupMember | ApiError => {
  if (instanceId === null) return group.members.get(memberId) ?? unknownMember(group.groupId, memberId);
  const member = group.staticMember(instanceId);
  if (member === undefined) return unknownInstance(instanceId);
  return (memberId === "" ? undefined : instanceFenced(member, memberId, instanceId)) ?? member;
};
