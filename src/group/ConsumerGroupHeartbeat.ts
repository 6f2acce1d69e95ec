/**
 * ConsumerGroupHeartbeat decided (KIP-848; Kafka's GroupMetadataManager.consumerGroupHeartbeat and -Leave).
 *
 * | member epoch | dynamic member                    | static member (instance id)                                |
 * |--------------|-----------------------------------|------------------------------------------------------------|
 * | 0            | joins, or joins again as it is    | joins; takes over from a member that left with −2, from a  |
 * |              |                                   | classic one at once; else UNRELEASED_INSTANCE_ID           |
 * | > 0          | heartbeat; UNKNOWN_MEMBER_ID when | the same; FENCED_INSTANCE_ID when the instance id belongs  |
 * |              | it is none                        | to another member                                          |
 * | −1           | leaves                            | leaves for good                                            |
 * | −2           |                                   | leaves to come back: its assignment waits for the session  |
 *
 * | heartbeat's epoch       | answer                                                                              |
 * |-------------------------|-------------------------------------------------------------------------------------|
 * | the member's            | accepted                                                                            |
 * | greater                 | FENCED_MEMBER_EPOCH                                                                 |
 * | its previous one        | accepted if what it owns is all assigned (a lost answer), else FENCED_MEMBER_EPOCH  |
 * | any other smaller       | FENCED_MEMBER_EPOCH                                                                 |
 *
 * An accepted heartbeat may change the subscription (group epoch +1), compute the target assignment (assignment epoch =
 * group epoch) and move this one member towards it (`ConsumerGroupReconciliation`), in this order and in one batch.
 * What must stay true: a heartbeat changes its own member and the targets, never what another member owns.
 */
import { type ApiError, apiError } from "../metadata/ApiError.ts";
import { topicNames } from "../metadata/MetadataImage.ts";
import { buggify } from "../prelude/Buggify.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ConsumerGroupHeartbeatRequest } from "../protocol/generated/ConsumerGroupHeartbeatRequest.ts";
import type { ConsumerGroupHeartbeatResponse } from "../protocol/generated/ConsumerGroupHeartbeatResponse.ts";
import {
  isSubset,
  type OwnedPartitions,
  type ReportedPartitions,
  sameOwned,
  targetOf,
  withoutEpochs,
} from "./Assignment.ts";
import type { ConsumerGroup, Subscriptions } from "./ConsumerGroup.ts";
import {
  type Draft,
  groupFull,
  heartbeatIntervalMs,
  instanceFenced,
  isError,
  sessionTimeoutMs,
  subscribedTopicIds,
  unknownInstance,
  unknownMember,
} from "./ConsumerGroupDraft.ts";
import {
  type ConsumerGroupMember,
  isReconciledTo,
  JOIN_EPOCH,
  LEAVE_EPOCH,
  LEAVE_STATIC_EPOCH,
  MemberState,
  newMember,
  sameCurrentAssignment,
  sameMetadata,
  sameSubscribedNames,
  sortedNames,
} from "./ConsumerGroupMember.ts";
import { reconcile } from "./ConsumerGroupReconciliation.ts";
import {
  currentAssignmentRecord,
  groupEpochRecord,
  memberMetadataRecord,
  memberTombstones,
  partitionMetadataTombstone,
  regularExpressionTombstone,
  targetAssignmentRecord,
} from "./ConsumerGroupRecords.ts";
import { type MemberChange, type MemberTarget, targetFor } from "./ConsumerGroupTarget.ts";
import { checkedFor } from "./ConsumerGroupVolatile.ts";
import type { Client } from "./GroupCoordinator.ts";
import { beginResolution, regexProblem } from "./SubscribedRegex.ts";
import { metadataHash } from "./TopicHash.ts";

/** Regular expressions of a group are resolved no more often than this (Kafka's constant). */
const REGEX_REFRESH_MIN_INTERVAL_MS = 10_000;

const invalid = (message: string): ApiError => apiError(Errors.INVALID_REQUEST, message);

const isBlank = (text: string | null): boolean => text !== null && text.trim() === "";

/** What is wrong with a request whatever the group; undefined when nothing is. */
export const heartbeatProblem = (
  request: ConsumerGroupHeartbeatRequest,
  version: number,
  assignors: ReadonlyArray<string>,
): ApiError | undefined => {
  const { memberEpoch } = request;
  if ((version >= 1 || memberEpoch > 0 || memberEpoch === LEAVE_EPOCH) && isBlank(request.memberId)) {
    return invalid("MemberId can't be empty.");
  }
  if (isBlank(request.groupId)) return invalid("GroupId can't be empty.");
  if (isBlank(request.instanceId)) return invalid("InstanceId can't be empty.");
  if (isBlank(request.rackId)) return invalid("RackId can't be empty.");
  if (memberEpoch === JOIN_EPOCH) {
    if (request.rebalanceTimeoutMs === -1) return invalid("RebalanceTimeoutMs must be provided in first request.");
    if (request.topicPartitions === null || request.topicPartitions.length > 0) {
      return invalid("TopicPartitions must be empty when (re-)joining.");
    }
    if (request.subscribedTopicNames === null && request.subscribedTopicRegex === null) {
      return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
    }
  } else if (memberEpoch === LEAVE_STATIC_EPOCH) {
    if (request.instanceId === null) return invalid("InstanceId can't be null.");
  } else if (memberEpoch < LEAVE_STATIC_EPOCH) return invalid("MemberEpoch is invalid.");
  const { serverAssignor } = request;
  if (serverAssignor !== null && !assignors.includes(serverAssignor)) {
    const message = `ServerAssignor ${serverAssignor} is not supported. Supported assignors: ${assignors.join(", ")}.`;
    return apiError(Errors.UNSUPPORTED_ASSIGNOR, message);
  }
  return undefined;
};

export const heartbeatError = ({ code, message }: ApiError): ConsumerGroupHeartbeatResponse => ({
  throttleTimeMs: 0,
  errorCode: code,
  errorMessage: message,
  memberId: null,
  memberEpoch: 0,
  heartbeatIntervalMs: 0,
  assignment: null,
});

export interface HeartbeatInput {
  readonly request: ConsumerGroupHeartbeatRequest;
  readonly client: Client;
  /** The id of a member that brings none. */
  readonly uuid: string;
}

/** A heartbeat of a member that stays or joins. The group may be one that is about to be made: in no journal yet. */
export const heartbeat = (
  draft: Draft,
  group: ConsumerGroup,
  { request, client, uuid }: HeartbeatInput,
): ConsumerGroupHeartbeatResponse | ApiError => {
  const { context } = draft;
  const { groupId } = group;
  const { instanceId, topicPartitions: reported } = request;
  const full = groupFull(context, group, request.memberId, instanceId);
  if (full !== undefined) return full;
  const memberId = request.memberId === "" ? uuid : request.memberId;
  const found =
    instanceId === null
      ? findDynamic(group, memberId, request.memberEpoch, reported)
      : findStatic(draft, group, memberId, instanceId, request.memberEpoch, reported);
  if (isError(found)) return found;
  const { member, replaces } = found;
  const updated: ConsumerGroupMember = {
    ...member,
    instanceId: instanceId ?? member.instanceId,
    rackId: request.rackId ?? member.rackId,
    rebalanceTimeoutMs: request.rebalanceTimeoutMs === -1 ? member.rebalanceTimeoutMs : request.rebalanceTimeoutMs,
    serverAssignor: request.serverAssignor ?? member.serverAssignor,
    subscribedTopicNames:
      request.subscribedTopicNames === null ? member.subscribedTopicNames : sortedNames(request.subscribedTopicNames),
    subscribedTopicRegex: request.subscribedTopicRegex ?? member.subscribedTopicRegex,
    clientId: client.clientId,
    clientHost: client.host,
    classic: null,
  };
  const change: MemberChange = { before: member, after: updated, replaces };
  const moved = updateMember(draft, group, change, reported);
  if (isError(moved)) return moved;
  draft.armSession(groupId, memberId, sessionTimeoutMs(context, groupId));
  if (member.classic !== null) {
    draft.cancelJoin(groupId, memberId);
    draft.cancelSync(groupId, memberId);
  }
  const isFullRequest =
    request.rebalanceTimeoutMs !== -1 &&
    (request.subscribedTopicNames !== null || request.subscribedTopicRegex !== null) &&
    reported !== null;
  const isNews = request.memberEpoch === JOIN_EPOCH || isFullRequest || !sameOwned(member.assigned, moved.assigned);
  const tells = isNews || buggify("a member is told its assignment again");
  return {
    throttleTimeMs: 0,
    errorCode: Errors.NONE,
    errorMessage: null,
    memberId,
    memberEpoch: moved.memberEpoch,
    heartbeatIntervalMs: heartbeatIntervalMs(context, groupId),
    assignment: tells ? assignmentOf(moved.assigned) : null,
  };
};

const assignmentOf = (owned: OwnedPartitions): ConsumerGroupHeartbeatResponse["assignment"] => ({
  topicPartitions: [...targetOf(owned)].map(([topicId, partitions]) => ({ topicId, partitions: [...partitions] })),
});

// --- who it is ---

export interface FoundMember {
  readonly member: ConsumerGroupMember;
  readonly replaces: string | undefined;
}

const findDynamic = (
  group: ConsumerGroup,
  memberId: string,
  epoch: number,
  reported: ReadonlyArray<ReportedPartitions> | null,
): FoundMember | ApiError => {
  const member = group.members.get(memberId);
  if (member === undefined) {
    if (epoch !== JOIN_EPOCH) return unknownMember(group.groupId, memberId);
    return { member: newMember(memberId), replaces: undefined };
  }
  return epochProblem(member, epoch, reported) ?? { member, replaces: undefined };
};

const findStatic = (
  draft: Draft,
  group: ConsumerGroup,
  memberId: string,
  instanceId: string,
  epoch: number,
  reported: ReadonlyArray<ReportedPartitions> | null,
): FoundMember | ApiError => {
  const present = group.staticMember(instanceId);
  if (epoch !== JOIN_EPOCH) {
    if (present === undefined) return unknownInstance(instanceId);
    const problem = instanceFenced(present, memberId, instanceId) ?? epochProblem(present, epoch, reported);
    return problem ?? { member: present, replaces: undefined };
  }
  if (present === undefined) {
    return { member: group.members.get(memberId) ?? newMember(memberId), replaces: undefined };
  }
  if (present.classic === null && present.memberEpoch !== LEAVE_STATIC_EPOCH) {
    return apiError(
      Errors.UNRELEASED_INSTANCE_ID,
      `Static member ${memberId} with instance id ${instanceId} cannot join the group because the instance id is owned by ${present.memberId} member.`,
    );
  }
  return replaceStatic(draft, group, present, memberId);
};

/** A static member's next incarnation takes over what the last one had. */
export const replaceStatic = (
  draft: Draft,
  group: ConsumerGroup,
  present: ConsumerGroupMember,
  memberId: string,
): FoundMember => {
  const { groupId } = group;
  const member = { ...present, memberId, memberEpoch: 0, previousMemberEpoch: 0 };
  draft.records.push(
    ...memberTombstones(groupId, present.memberId),
    memberMetadataRecord(groupId, member),
    targetAssignmentRecord(groupId, memberId, group.target(present.memberId)),
    currentAssignmentRecord(groupId, member),
  );
  if (present.memberId !== memberId) draft.cancelTimers(groupId, present);
  return { member, replaces: present.memberId };
};

const epochProblem = (
  member: ConsumerGroupMember,
  epoch: number,
  reported: ReadonlyArray<ReportedPartitions> | null,
): ApiError | undefined => {
  // 0 joins again, whatever the member's epoch: how a fenced member recovers.
  if (epoch === JOIN_EPOCH || epoch === member.memberEpoch) return undefined;
  if (epoch === member.previousMemberEpoch && epoch < member.memberEpoch && isSubset(reported, member.assigned)) {
    return undefined;
  }
  const how = epoch > member.memberEpoch ? "greater" : "smaller";
  return apiError(
    Errors.FENCED_MEMBER_EPOCH,
    `The consumer group member has a ${how} member epoch (${epoch}) than the one known by the group coordinator (${member.memberEpoch}). The member must abandon all its partitions and rejoin.`,
  );
};

// --- what changes ---

/** Records a changed member and everything that follows from it; answers the member as it then is. */
export const updateMember = (
  draft: Draft,
  group: ConsumerGroup,
  change: MemberChange,
  reported: ReadonlyArray<ReportedPartitions> | null,
): ConsumerGroupMember | ApiError => {
  const bump = bumpForSubscription(draft, group, change);
  if (isError(bump)) return bump;
  const target = targetFor(draft, group, bump.groupEpoch, change, bump.subscriptions);
  return reconcileMember(draft, group, change.after, target, bump.changed, reported);
};

export interface SubscriptionChange {
  /** The group's epoch after the command. */
  readonly groupEpoch: number;
  /** Whether the member's subscription changed. */
  readonly changed: boolean;
  readonly subscriptions: () => Subscriptions;
}

/** Records a changed member and the group epoch when it, or the topics subscribed to, ask for a new assignment. */
export const bumpForSubscription = (
  draft: Draft,
  group: ConsumerGroup,
  change: MemberChange,
): SubscriptionChange | ApiError => {
  const { before, after, replaces } = change;
  const isNew = replaces === undefined && !group.members.has(after.memberId);
  if (isNew || !sameMetadata(before, after)) draft.records.push(memberMetadataRecord(group.groupId, after));
  let known: Subscriptions | undefined;
  const subscriptions = (): Subscriptions => {
    known ??= group.subscriptionsAfter([[isNew ? undefined : before, after]]);
    return known;
  };
  const namesChanged = !sameSubscribedNames(before, after);
  const regex = changeRegex(draft, group, change, subscriptions);
  if (isError(regex)) return regex;
  const groupEpoch = bumpEpoch(draft, group, namesChanged || regex.resolved, subscriptions);
  return { groupEpoch, changed: namesChanged || regex.changed, subscriptions };
};

/** The group epoch after the command: one more when the subscription or the subscribed topics changed. */
const bumpEpoch = (
  draft: Draft,
  group: ConsumerGroup,
  changed: boolean,
  subscriptions: () => Subscriptions,
): number => {
  const { groupId, groupEpoch } = group;
  const { image } = draft.context;
  const volatile = draft.volatileOf(groupId);
  const { checked } = volatile;
  const isChecked =
    checked !== undefined &&
    checked.topics === image.topicsByName &&
    checked.brokers === image.brokers &&
    checked.groupEpoch === groupEpoch;
  if (!changed && isChecked) return groupEpoch;
  const hash = metadataHash(subscriptions().topics.keys(), image);
  const epoch = changed || hash !== group.metadataHash ? groupEpoch + 1 : groupEpoch;
  if (epoch !== groupEpoch) draft.records.push(groupEpochRecord(groupId, epoch, hash));
  if (group.hasPartitionMetadata) draft.records.push(partitionMetadataTombstone(groupId));
  draft.keep(groupId, { ...volatile, checked: checkedFor(image, epoch) });
  return epoch;
};

/** One step of the member towards its target. */
export const reconcileMember = (
  draft: Draft,
  group: ConsumerGroup,
  member: ConsumerGroupMember,
  { epoch, target }: MemberTarget,
  subscriptionChanged: boolean,
  reported: ReadonlyArray<ReportedPartitions> | null,
): ConsumerGroupMember | ApiError => {
  const { groupId } = group;
  if (!subscriptionChanged && isReconciledTo(member, epoch)) return member;
  const moved = reconcile(member, {
    targetEpoch: epoch,
    target,
    subscribed: subscribedTopicIds(draft.context, group, member),
    subscriptionChanged,
    isOwned: (topicId, partition) => group.isOwned(topicId, partition),
    reported,
  });
  if (moved === "fenced") {
    const message =
      "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.";
    return apiError(Errors.FENCED_MEMBER_EPOCH, message);
  }
  if (sameCurrentAssignment(moved, member)) return member;
  draft.records.push(currentAssignmentRecord(groupId, moved));
  // Members of the classic protocol have the join and sync deadlines instead.
  if (moved.classic === null) {
    if (moved.state === MemberState.UNREVOKED_PARTITIONS) draft.armRebalance(groupId, moved);
    else draft.cancelRebalance(groupId, moved.memberId);
  }
  return moved;
};

// --- regular expressions ---

interface RegexChange {
  readonly changed: boolean;
  /** Changed to one whose topics are known already, so that the group can be assigned at once. */
  readonly resolved: boolean;
}

const changeRegex = (
  draft: Draft,
  group: ConsumerGroup,
  { before, after }: MemberChange,
  subscriptions: () => Subscriptions,
): RegexChange | ApiError => {
  const old = before.subscribedTopicRegex;
  const regex = after.subscribedTopicRegex;
  const changed = old !== regex;
  let isNew = false;
  let resolved = false;
  if (changed) {
    if (old !== "" && group.regexSubscribers(old) === 1)
      draft.records.push(regularExpressionTombstone(group.groupId, old));
    if (regex === "") resolved = true;
    else if (group.regexSubscribers(regex) > 0) resolved = group.regexes.has(regex);
    else {
      const problem = regexProblem(regex);
      if (problem !== undefined) {
        const message = `SubscribedTopicRegex \`${regex}\` is not a valid regular expression: ${problem}.`;
        return apiError(Errors.INVALID_REGULAR_EXPRESSION, message);
      }
      isNew = true;
    }
  }
  maybeResolve(draft, group, isNew, changed ? () => subscriptions().regexes : () => group.subscriptions().regexes);
  return { changed, resolved };
};

const sameList = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a === b || (a.length === b.length && a.every((text, index) => text === b[index]));

/** Begins to resolve the group's regular expressions, all together, when one is new or the topics or time moved on. */
const maybeResolve = (
  draft: Draft,
  group: ConsumerGroup,
  isNew: boolean,
  subscribed: () => ReadonlyMap<string, number>,
): void => {
  if (!isNew && group.subscriptions().regexes.size === 0) return;
  const volatile = draft.volatileOf(group.groupId);
  if (volatile.resolving) return;
  const { now, image, config, mayDescribe } = draft.context;
  const [any] = group.regexes.values();
  if (any !== undefined && now <= any.timestamp + REGEX_REFRESH_MIN_INTERVAL_MS) return;
  const patterns = subscribed();
  if (patterns.size === 0) return;
  const all = topicNames(image);
  const names = mayDescribe === undefined ? all : all.filter(mayDescribe);
  const due =
    isNew ||
    patterns.size !== group.regexes.size ||
    volatile.resolvedNames === undefined ||
    !sameList(volatile.resolvedNames, names) ||
    (any !== undefined && now > any.timestamp + config.number("group.consumer.regex.refresh.interval.ms"));
  if (!due) return;
  draft.keep(group.groupId, { ...volatile, resolving: true });
  draft.armRegex(group.groupId, {
    type: "ConsumerRegexResolution",
    groupId: group.groupId,
    resolution: beginResolution([...patterns.keys()], names),
    version: image.provenance.lastContainedOffset,
    startedAt: now,
  });
};

// --- leaving ---

/** A static member that leaves to come back (−2): everything it owns waits for its instance id, until its session ends. */
export const leaveForNow = (draft: Draft, group: ConsumerGroup, member: ConsumerGroupMember): void => {
  const left: ConsumerGroupMember = {
    ...member,
    memberEpoch: LEAVE_STATIC_EPOCH,
    assigned: withoutEpochs(member.assigned),
    pendingRevocation: new Map(),
  };
  draft.records.push(currentAssignmentRecord(group.groupId, left));
};

/** Who a leaving heartbeat is about. */
export const findLeaving = (
  group: ConsumerGroup,
  { memberId, instanceId }: ConsumerGroupHeartbeatRequest,
): ConsumerGroupMember | ApiError => {
  if (instanceId === null) return group.members.get(memberId) ?? unknownMember(group.groupId, memberId);
  const member = group.staticMember(instanceId);
  if (member === undefined) return unknownInstance(instanceId);
  return instanceFenced(member, memberId, instanceId) ?? member;
};

export const leftResponse = (memberId: string, memberEpoch: number): ConsumerGroupHeartbeatResponse => ({
  throttleTimeMs: 0,
  errorCode: Errors.NONE,
  errorMessage: null,
  memberId,
  memberEpoch,
  heartbeatIntervalMs: 0,
  assignment: null,
});
