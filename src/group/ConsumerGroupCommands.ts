/**
 * The commands of the KIP-848 protocol: which group they mean, what a group of the other protocol makes of them, and
 * the deadlines. What must stay true: a deadline that comes too late for what it was set for does nothing.
 */
import { type ApiError, apiError } from "../metadata/ApiError.ts";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ConsumerGroupDescribeResponse } from "../protocol/generated/ConsumerGroupDescribeResponse.ts";
import { type TargetAssignment, targetOf } from "./Assignment.ts";
import { ConsumerGroup } from "./ConsumerGroup.ts";
import { cancelMemberTimers, Draft, isError, notConsumerGroup, sessionTimeoutMs } from "./ConsumerGroupDraft.ts";
import { findLeaving, heartbeat, heartbeatError, leaveForNow, leftResponse } from "./ConsumerGroupHeartbeat.ts";
import {
  type ConsumerGroupMember,
  JOIN_EPOCH,
  LEAVE_EPOCH,
  LEAVE_STATIC_EPOCH,
  MemberState,
} from "./ConsumerGroupMember.ts";
import { classicTombstone, fence, upgrade } from "./ConsumerGroupMigration.ts";
import type { Deciding } from "./ConsumerGroupProtocol.ts";
import { ownedBy } from "./ConsumerGroupReconciliation.ts";
import {
  groupEpochRecord,
  groupTombstones,
  type ResolvedRegex,
  regularExpressionRecord,
} from "./ConsumerGroupRecords.ts";
import { checkedFor } from "./ConsumerGroupVolatile.ts";
import { groupOf } from "./CoordinatorState.ts";
import type { GroupCommand } from "./GroupCoordinator.ts";
import type { GroupRecord } from "./GroupRecords.ts";
import type { Outcome } from "./Outcome.ts";
import { isResolved, resolveSlice } from "./SubscribedRegex.ts";
import { metadataHash } from "./TopicHash.ts";

// --- heartbeats ---

export const consumerHeartbeat = (
  command: GroupCommand<"ConsumerGroupHeartbeat">,
  { state, context, ask, outcome }: Deciding,
): void => {
  const { mayDescribe } = command;
  const draft = new Draft(state, mayDescribe === undefined ? context : { ...context, mayDescribe });
  const { memberEpoch } = command.request;
  const leaves = memberEpoch === LEAVE_EPOCH || memberEpoch === LEAVE_STATIC_EPOCH;
  const reply = leaves ? leave(draft, command) : stay(draft, command);
  if (isError(reply)) return outcome.answer<"ConsumerGroupHeartbeat">(ask, heartbeatError(reply));
  draft.commit(outcome);
  outcome.answer<"ConsumerGroupHeartbeat">(ask, reply);
};

const stay = (draft: Draft, command: GroupCommand<"ConsumerGroupHeartbeat">) => {
  const group = groupFor(draft, command);
  return isError(group) ? group : heartbeat(draft, group, command);
};

/** The group a heartbeat is for: with epoch 0 also one that begins with it, or that a classic group becomes. */
const groupFor = (
  draft: Draft,
  { request: { groupId, memberEpoch } }: GroupCommand<"ConsumerGroupHeartbeat">,
): ConsumerGroup | ApiError => {
  const group = groupOf(draft.state, groupId);
  if (group?.kind === "consumer") return group;
  if (memberEpoch !== JOIN_EPOCH) {
    if (group !== undefined) return notConsumerGroup(groupId);
    return apiError(Errors.GROUP_ID_NOT_FOUND, `Consumer group ${groupId} not found.`);
  }
  if (group === undefined) return new ConsumerGroup(groupId);
  if (group.members.size > 0) return upgrade(draft, group);
  // An empty classic group makes room; whoever was given an id there and comes back is unknown.
  if (draft.state.journal.groups.has(groupId)) draft.records.push(classicTombstone(groupId));
  draft.keep(groupId, undefined);
  return new ConsumerGroup(groupId);
};

const leave = (draft: Draft, { request }: GroupCommand<"ConsumerGroupHeartbeat">) => {
  const group = groupOf(draft.state, request.groupId);
  if (group === undefined) return notFound(request.groupId);
  if (group.kind !== "consumer") return notConsumerGroup(request.groupId);
  const member = findLeaving(group, request);
  if (isError(member)) return member;
  if (request.memberEpoch === LEAVE_STATIC_EPOCH) leaveForNow(draft, group, member);
  else fence(draft, group, [member]);
  return leftResponse(request.memberId, request.memberEpoch);
};

const notFound = (groupId: string): ApiError => apiError(Errors.GROUP_ID_NOT_FOUND, `Group ${groupId} not found.`);

// --- deadlines ---

const fenceOverdue = (
  groupId: string,
  memberId: string,
  { state, context, outcome }: Deciding,
  isOverdue: (member: ConsumerGroupMember) => boolean,
): void => {
  const group = groupOf(state, groupId);
  if (group?.kind !== "consumer") return;
  const member = group.members.get(memberId);
  if (member === undefined || !isOverdue(member)) return;
  const draft = new Draft(state, context);
  fence(draft, group, [member]);
  draft.commit(outcome);
};

export const sessionDeadline = (
  { groupId, memberId }: GroupCommand<"ConsumerSessionDeadline">,
  deciding: Deciding,
): void => fenceOverdue(groupId, memberId, deciding, () => true);

export const rebalanceDeadline = (
  { groupId, memberId, memberEpoch }: GroupCommand<"ConsumerRebalanceDeadline">,
  deciding: Deciding,
): void => fenceOverdue(groupId, memberId, deciding, (member) => member.memberEpoch === memberEpoch);

/** After a load every member has a whole session, and whoever must revoke a whole rebalance timeout. */
export const resumeGroup = (group: ConsumerGroup, { state, context, outcome }: Deciding): void => {
  const draft = new Draft(state, context);
  for (const member of group.members.values()) {
    draft.armSession(group.groupId, member.memberId, sessionTimeoutMs(context, group.groupId));
    if (member.state === MemberState.UNREVOKED_PARTITIONS) draft.armRebalance(group.groupId, member);
  }
  draft.commit(outcome);
};

export const cancelGroupTimers = (group: ConsumerGroup, outcome: Outcome): void => {
  for (const member of group.members.values()) cancelMemberTimers(outcome, group.groupId, member);
};

// --- regular expressions ---

/** One more slice; after the last the group learns what its regular expressions match. */
export const continueResolution = (
  command: GroupCommand<"ConsumerRegexResolution">,
  { state, context, outcome }: Deciding,
): void => {
  const { groupId, version, startedAt: timestamp } = command;
  const group = groupOf(state, groupId);
  if (group?.kind !== "consumer") return;
  const draft = new Draft(state, context);
  const resolution = resolveSlice(command.resolution);
  if (!isResolved(resolution)) {
    draft.armRegex(groupId, { ...command, resolution });
    return draft.commit(outcome);
  }
  const results = new Map<string, ResolvedRegex>();
  for (const [index, regex] of resolution.patterns.entries()) {
    // Nobody subscribes to it any more.
    if (group.regexSubscribers(regex) === 0) continue;
    const topics = [...(resolution.resolved[index] ?? [])].sort();
    results.set(regex, { topics, version, timestamp });
  }
  learnRegexes(draft, group, results);
  draft.keep(groupId, { ...draft.volatileOf(groupId), resolving: false, resolvedNames: resolution.topicNames });
  draft.commit(outcome);
};

const learnRegexes = (draft: Draft, group: ConsumerGroup, results: ReadonlyMap<string, ResolvedRegex>): void => {
  const { groupId } = group;
  const topics = group.topicsWithRegexes(results);
  let changed = false;
  for (const [regex, resolved] of results) {
    const present = group.regexes.get(regex)?.topics ?? [];
    changed ||= present.length !== resolved.topics.length || present.some((topic, at) => topic !== resolved.topics[at]);
    draft.records.push(regularExpressionRecord(groupId, regex, resolved));
  }
  const hash = metadataHash(topics, draft.context.image);
  if (!changed && hash === group.metadataHash) return;
  const epoch = group.groupEpoch + 1;
  draft.records.push(groupEpochRecord(groupId, epoch, hash));
  draft.keep(groupId, { ...draft.volatileOf(groupId), checked: checkedFor(draft.context.image, epoch) });
};

// --- what administrators see ---

type DescribedGroup = ConsumerGroupDescribeResponse["groups"][number];
type DescribedMember = DescribedGroup["members"][number];

/** Not asked for; the handler fills in what was (KIP-430). */
const OPERATIONS_OMITTED = -2147483648;

export const describeConsumerGroups = (
  { groupIds }: GroupCommand<"ConsumerGroupDescribe">,
  { state, context, ask, outcome }: Deciding,
): void => {
  const [defaultAssignor = ""] = context.config.list("group.consumer.assignors");
  const groups = groupIds.map((groupId): DescribedGroup => {
    const group = groupOf(state, groupId);
    if (group === undefined) return describedError(groupId, notFound(groupId));
    if (group.kind !== "consumer") return describedError(groupId, notConsumerGroup(groupId));
    return {
      errorCode: Errors.NONE,
      errorMessage: null,
      groupId,
      groupState: group.state(),
      groupEpoch: group.groupEpoch,
      assignmentEpoch: group.assignmentEpoch,
      assignorName: group.preferredAssignor() ?? defaultAssignor,
      members: [...group.members.values()].map((member) => describedMember(group, member, context.image)),
      authorizedOperations: OPERATIONS_OMITTED,
    };
  });
  outcome.answer<"ConsumerGroupDescribe">(ask, groups);
};

const describedMember = (group: ConsumerGroup, member: ConsumerGroupMember, image: MetadataImage): DescribedMember => ({
  memberId: member.memberId,
  instanceId: member.instanceId,
  rackId: member.rackId,
  memberEpoch: member.memberEpoch,
  clientId: member.clientId,
  clientHost: member.clientHost,
  subscribedTopicNames: [...member.subscribedTopicNames],
  subscribedTopicRegex: member.subscribedTopicRegex,
  assignment: describedAssignment(targetOf(ownedBy(member)), image),
  targetAssignment: describedAssignment(group.target(member.memberId), image),
  memberType: member.classic === null ? 1 : 0,
});

const describedAssignment = (target: TargetAssignment, image: MetadataImage): DescribedMember["assignment"] => ({
  topicPartitions: [...target].flatMap(([topicId, partitions]) => {
    const topicName = image.topicsById.get(topicId)?.name;
    return topicName === undefined ? [] : [{ topicId, topicName, partitions: [...partitions] }];
  }),
});

export const describedError = (groupId: string, { code, message }: ApiError): DescribedGroup => ({
  errorCode: code,
  errorMessage: message,
  groupId,
  groupState: "",
  groupEpoch: 0,
  assignmentEpoch: 0,
  assignorName: "",
  members: [],
  authorizedOperations: OPERATIONS_OMITTED,
});

/** Takes a whole group back. */
export const consumerGroupTombstones = (group: ConsumerGroup): ReadonlyArray<GroupRecord> =>
  groupTombstones(group.groupId, [...group.members.keys()], group.regexes.keys());
