/**
 * The classic protocol's requests and deadlines: which checks come in which order, and what each state makes of them
 * (Kafka's `GroupMetadataManager.classicGroup*`). What must stay true: a group that is not there, or is not classic,
 * answers as Kafka's; a member that has been given an id is known between its JoinGroup and its SyncGroup.
 */
import { buggify } from "../prelude/Buggify.ts";
import { Errors } from "../protocol/Errors.ts";
import type { JoinGroupRequest } from "../protocol/generated/JoinGroupRequest.ts";
import type { LeaveGroupRequest } from "../protocol/generated/LeaveGroupRequest.ts";
import type { LeaveGroupResponse } from "../protocol/generated/LeaveGroupResponse.ts";
import type { SyncGroupRequest } from "../protocol/generated/SyncGroupRequest.ts";
import {
  type AskId,
  type ClassicGroup,
  memberError,
  NO_ASK,
  newClassicGroup,
  sameProtocols,
  supportsProtocols,
} from "./ClassicGroup.ts";
import { ClassicRebalance, joinError, type RebalanceRules, syncError, syncReply } from "./ClassicRebalance.ts";
import { classicGroup } from "./CoordinatorState.ts";
import type { CoordinatorState, DecideContext, GroupCommand } from "./GroupCoordinator.ts";
import { type Outcome, sessionTimer } from "./Outcome.ts";

/** From this version on a new dynamic member must come back with the id it is given (KIP-394). */
const MEMBER_ID_REQUIRED_FROM = 4;
/** From this version on a leader can be told to leave the assignment as it is (KIP-814). */
const SKIP_ASSIGNMENT_FROM = 9;

const rulesOf = ({ config }: DecideContext): RebalanceRules => ({
  initialDelayMs: config.number("group.initial.rebalance.delay.ms"),
  maxSize: config.number("group.max.size"),
});

const rebalance = (group: ClassicGroup, context: DecideContext, outcome: Outcome): ClassicRebalance =>
  new ClassicRebalance(group, rulesOf(context), context.now, outcome);

/** JoinGroup of a group that is classic, empty, or new; `existing` is undefined for a new one. */
export const joinClassicGroup = (
  existing: ClassicGroup | undefined,
  command: GroupCommand<"JoinGroup">,
  ask: AskId,
  context: DecideContext,
  outcome: Outcome,
): void => {
  const { request } = command;
  const recordsBefore = outcome.records.length;
  if (existing === undefined && request.memberId !== "") {
    return outcome.answer<"JoinGroup">(ask, joinError(request.memberId, Errors.UNKNOWN_MEMBER_ID));
  }
  const change = rebalance(existing ?? newClassicGroup(request.groupId, context.now), context, outcome);
  if (!accepts(change.group, request.memberId, rulesOf(context).maxSize)) {
    if (change.group.members.has(request.memberId)) change.removeMember(request.memberId);
    else if (change.group.pendingJoin.has(request.memberId)) change.removePending(request.memberId);
    outcome.answer<"JoinGroup">(ask, joinError("", Errors.GROUP_MAX_SIZE_REACHED));
  } else if (request.memberId === "") joinNew(change, command, ask, outcome);
  else joinExisting(change, request, command, ask, outcome);
  // A group begins with a record of its own, so that it is there after a restart.
  if (existing === undefined && outcome.records.length === recordsBefore) change.writeNew();
  change.finish();
};

/** Whether there is room (`group.max.size`); members that have joined count while a rebalance is prepared. */
const accepts = (group: ClassicGroup, memberId: string, maxSize: number): boolean => {
  const member = group.members.get(memberId);
  switch (group.state) {
    case "Empty":
      return true;
    case "PreparingRebalance": {
      if (member !== undefined && member.awaitingJoin !== NO_ASK) return true;
      let joined = 0;
      for (const { awaitingJoin } of group.members.values()) if (awaitingJoin !== NO_ASK) joined += 1;
      return joined < maxSize;
    }
    default:
      return member !== undefined || group.members.size < maxSize;
  }
};

const joinNew = (
  change: ClassicRebalance,
  { request, version, client, uuid }: GroupCommand<"JoinGroup">,
  ask: AskId,
  outcome: Outcome,
): void => {
  const { groupInstanceId } = request;
  if (!supportsProtocols(change.group, request.protocolType, request.protocols)) {
    return outcome.answer<"JoinGroup">(ask, joinError("", Errors.INCONSISTENT_GROUP_PROTOCOL));
  }
  const memberId = `${groupInstanceId ?? client.clientId}-${uuid}`;
  if (groupInstanceId !== null) {
    const old = change.group.staticMembers.get(groupInstanceId);
    if (old === undefined) change.addMember(request, memberId, client, ask);
    else change.replaceStaticMember(request, old, memberId, ask, version >= SKIP_ASSIGNMENT_FROM);
    return;
  }
  if (version < MEMBER_ID_REQUIRED_FROM) return change.addMember(request, memberId, client, ask);
  change.addPending(memberId, request.sessionTimeoutMs);
  outcome.answer<"JoinGroup">(ask, joinError(memberId, Errors.MEMBER_ID_REQUIRED));
};

const joinExisting = (
  change: ClassicRebalance,
  request: JoinGroupRequest,
  { client }: GroupCommand<"JoinGroup">,
  ask: AskId,
  outcome: Outcome,
): void => {
  const { group } = change;
  const { memberId, groupInstanceId } = request;
  const refuse = (error: number): void => outcome.answer<"JoinGroup">(ask, joinError(memberId, error));
  if (!supportsProtocols(group, request.protocolType, request.protocols)) {
    return refuse(Errors.INCONSISTENT_GROUP_PROTOCOL);
  }
  // A pending id was given to a dynamic member; with an instance id it cannot be that member's.
  if (group.pendingJoin.has(memberId) && groupInstanceId === null) {
    return change.addMember(request, memberId, client, ask);
  }
  const error = memberError(group, memberId, groupInstanceId);
  if (error !== Errors.NONE) return refuse(error);
  const changed = !sameProtocols(group.members.get(memberId)!.protocols, request.protocols);
  switch (group.state) {
    case "PreparingRebalance":
      return change.updateMember(request, memberId, ask);
    case "CompletingRebalance":
      // The same metadata: its JoinGroup answer was lost, and is given again.
      if (changed) return change.updateMember(request, memberId, ask);
      return outcome.answer<"JoinGroup">(ask, change.joinReply(memberId));
    case "Stable":
      // A leader that joins again wants a new assignment, for reasons that its metadata does not show.
      if (changed || group.leader === memberId) return change.updateMember(request, memberId, ask);
      return outcome.answer<"JoinGroup">(ask, change.joinReply(memberId));
    case "Empty":
      return refuse(Errors.UNKNOWN_MEMBER_ID);
  }
};

export const syncClassicGroup = (
  group: ClassicGroup,
  { request }: GroupCommand<"SyncGroup">,
  ask: AskId,
  context: DecideContext,
  outcome: Outcome,
): void => {
  const { memberId } = request;
  const refuse = (error: number): void => outcome.answer<"SyncGroup">(ask, syncError(error));
  const error = syncGroupError(group, request);
  if (error !== Errors.NONE) return refuse(error);
  if (group.state === "PreparingRebalance") return refuse(Errors.REBALANCE_IN_PROGRESS);
  const change = rebalance(group, context, outcome);
  if (group.state === "Stable") {
    change.synced(memberId);
    outcome.answer<"SyncGroup">(ask, syncReply(group, group.members.get(memberId)!));
    return change.finish();
  }
  change.sync(memberId, ask);
  if (group.leader === memberId) {
    change.assign(new Map(request.assignments.map(({ memberId: to, assignment }) => [to, assignment])));
  }
  change.finish();
};

const syncGroupError = (group: ClassicGroup, request: SyncGroupRequest): number => {
  if (group.state === "Empty") return Errors.UNKNOWN_MEMBER_ID;
  const error = memberError(group, request.memberId, request.groupInstanceId);
  if (error !== Errors.NONE) return error;
  if (request.generationId !== group.generation) return Errors.ILLEGAL_GENERATION;
  const differs = (asked: string | null, actual: string | undefined): boolean =>
    asked !== null && actual !== undefined && asked !== actual;
  return differs(request.protocolType, group.protocolType) || differs(request.protocolName, group.protocolName)
    ? Errors.INCONSISTENT_GROUP_PROTOCOL
    : Errors.NONE;
};

export const heartbeatClassicGroup = (
  group: ClassicGroup,
  { request }: GroupCommand<"Heartbeat">,
  ask: AskId,
  context: DecideContext,
  outcome: Outcome,
): void => {
  const reply = (errorCode: number): void => outcome.answer<"Heartbeat">(ask, { throttleTimeMs: 0, errorCode });
  const error = memberError(group, request.memberId, request.groupInstanceId);
  if (error !== Errors.NONE) return reply(error);
  if (request.generationId !== group.generation) return reply(Errors.ILLEGAL_GENERATION);
  touchMember(group, request.memberId, outcome);
  if (group.state === "Stable" && buggify("a classic group rebalances for nothing", 0.1)) {
    const change = rebalance(group, context, outcome);
    change.prepareRebalance();
    change.finish();
    return reply(Errors.REBALANCE_IN_PROGRESS);
  }
  reply(group.state === "PreparingRebalance" ? Errors.REBALANCE_IN_PROGRESS : Errors.NONE);
};

/** A sign of life: the member's session begins anew. */
export const touchMember = (group: ClassicGroup, memberId: string, outcome: Outcome): void => {
  const member = group.members.get(memberId);
  if (member === undefined) return;
  const { groupId } = group;
  outcome.arm(sessionTimer(groupId, memberId), member.sessionTimeoutMs, { type: "SessionDeadline", groupId, memberId });
};

type LeaveAnswer = LeaveGroupResponse["members"][number];

export const leaveClassicGroup = (
  group: ClassicGroup,
  { request }: GroupCommand<"LeaveGroup">,
  ask: AskId,
  context: DecideContext,
  outcome: Outcome,
): void => {
  const change = rebalance(group, context, outcome);
  const members = request.members.map(({ memberId, groupInstanceId }): LeaveAnswer => {
    const errorCode = leave(change, memberId, groupInstanceId);
    return { memberId, groupInstanceId, errorCode };
  });
  if (members.some(({ errorCode }) => errorCode === Errors.NONE)) change.afterLeave();
  change.finish();
  outcome.answer<"LeaveGroup">(ask, { throttleTimeMs: 0, errorCode: Errors.NONE, members });
};

/** One member's leave; an administrator names a static member by its instance id alone. */
const leave = (change: ClassicRebalance, memberId: string, groupInstanceId: string | null): number => {
  const { group } = change;
  if (memberId === "") {
    const current = groupInstanceId === null ? undefined : group.staticMembers.get(groupInstanceId);
    if (current === undefined) return Errors.UNKNOWN_MEMBER_ID;
    change.removeMember(current);
    return Errors.NONE;
  }
  if (group.pendingJoin.has(memberId)) {
    change.removePending(memberId);
    return Errors.NONE;
  }
  const error = memberError(group, memberId, groupInstanceId);
  if (error === Errors.NONE) change.removeMember(memberId);
  return error;
};

/** What a request for a group that is not there is answered. */
export const leaveUnknownGroup = (request: LeaveGroupRequest): LeaveGroupResponse => ({
  throttleTimeMs: 0,
  errorCode: Errors.NONE,
  members: request.members.map(({ memberId, groupInstanceId }) => ({
    memberId,
    groupInstanceId,
    errorCode: Errors.UNKNOWN_MEMBER_ID,
  })),
});

/** The session is over: no sign of life came, or a new member's JoinGroup waited too long. */
export const sessionDeadline = (
  state: CoordinatorState,
  { groupId, memberId }: GroupCommand<"SessionDeadline">,
  context: DecideContext,
  outcome: Outcome,
): void => {
  const group = classicGroup(state, groupId);
  if (group === undefined) return;
  const change = rebalance(group, context, outcome);
  const member = group.members.get(memberId);
  if (group.pendingJoin.has(memberId)) change.removePending(memberId);
  else if (member === undefined) return;
  else {
    // Who waits for the others has nothing to send; it gets a new session with its answer.
    const waits = member.awaitingJoin !== NO_ASK || member.awaitingSync !== NO_ASK;
    if (waits && !member.isNew) return;
    change.removeMember(memberId);
  }
  change.afterRemoval();
  change.finish();
};

export const joinDeadline = (
  state: CoordinatorState,
  { groupId }: GroupCommand<"JoinDeadline">,
  context: DecideContext,
  outcome: Outcome,
): void => {
  const group = classicGroup(state, groupId);
  if (group === undefined) return;
  const change = rebalance(group, context, outcome);
  change.joinDeadline();
  change.finish();
};

export const syncDeadline = (
  state: CoordinatorState,
  { groupId, generation }: GroupCommand<"SyncDeadline">,
  context: DecideContext,
  outcome: Outcome,
): void => {
  const group = classicGroup(state, groupId);
  if (group === undefined) return;
  const change = rebalance(group, context, outcome);
  change.syncDeadline(generation);
  change.finish();
};

/** After a load: every journaled member has a whole session; a group above `group.max.size` rebalances. */
export const resumeClassicGroup = (group: ClassicGroup, context: DecideContext, outcome: Outcome): void => {
  if (group.members.size === 0) return;
  const change = rebalance(group, context, outcome);
  for (const { memberId, sessionTimeoutMs } of group.members.values()) change.armSession(memberId, sessionTimeoutMs);
  if (group.members.size > rulesOf(context).maxSize) change.prepareRebalance();
  change.finish();
};
