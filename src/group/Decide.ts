/**
 * The coordinator's `decide`: which file answers which command, and what a command means for a group of the other
 * protocol or for none. It changes nothing that it is given.
 */
import { Errors } from "../protocol/Errors.ts";
import {
  heartbeatClassicGroup,
  joinClassicGroup,
  joinDeadline,
  leaveClassicGroup,
  leaveUnknownGroup,
  resumeClassicGroup,
  sessionDeadline,
  syncClassicGroup,
  syncDeadline,
} from "./ClassicCommands.ts";
import type { AskId } from "./ClassicGroup.ts";
import { syncError } from "./ClassicRebalance.ts";
import { consumerGroupProtocol, type Deciding } from "./ConsumerGroupProtocol.ts";
import { groupOf } from "./CoordinatorState.ts";
import { deleteGroups, describeGroups, listGroups } from "./GroupAdmin.ts";
import type { CoordinatorState, DecideContext, Decision, GroupCommand } from "./GroupCoordinator.ts";
import {
  commitOffsets,
  commitTransactionalOffsets,
  deleteOffsets,
  expireOffsets,
  fetchOffsets,
  forgetLostTopics,
  groupTombstones,
  topicsDeleted,
} from "./OffsetCommands.ts";
import { EXPIRY_TIMER, Outcome } from "./Outcome.ts";

/** Decides one command; `ask` names who asked, or nobody. */
export const decide = (
  state: CoordinatorState,
  command: GroupCommand,
  ask: AskId,
  context: DecideContext,
): Decision => {
  const outcome = new Outcome();
  const deciding: Deciding = { state, context, ask, outcome };
  switch (command.type) {
    case "JoinGroup":
      join(command, deciding);
      break;
    case "SyncGroup":
      sync(command, deciding);
      break;
    case "Heartbeat":
      heartbeat(command, deciding);
      break;
    case "LeaveGroup":
      leave(command, deciding);
      break;
    case "OffsetCommit":
      commitOffsets(command, deciding);
      break;
    case "TxnOffsetCommit":
      commitTransactionalOffsets(command, deciding);
      break;
    case "OffsetFetch":
      fetchOffsets(state, command, ask, outcome);
      break;
    case "OffsetDelete":
      deleteOffsets(state, command, ask, outcome);
      break;
    case "ListGroups":
      listGroups(state, ask, outcome);
      break;
    case "DescribeGroups":
      describeGroups(state, command, ask, outcome);
      break;
    case "DeleteGroups":
      deleteGroups(state, command, ask, outcome);
      break;
    case "TopicsDeleted":
      topicsDeleted(state, command, outcome);
      outcome.answer<"TopicsDeleted">(ask, undefined);
      break;
    case "ExpireOffsets":
      expireOffsets(state, context, outcome);
      break;
    case "JoinDeadline":
      joinDeadline(state, command, context, outcome);
      break;
    case "SyncDeadline":
      syncDeadline(state, command, context, outcome);
      break;
    case "SessionDeadline":
      sessionDeadline(state, command, context, outcome);
      break;
    case "ConsumerGroupHeartbeat":
      consumerGroupProtocol.heartbeat(command, deciding);
      break;
    case "ConsumerGroupDescribe":
      consumerGroupProtocol.describe(command, deciding);
      break;
    case "ConsumerSessionDeadline":
      consumerGroupProtocol.sessionDeadline(command, deciding);
      break;
    case "ConsumerRebalanceDeadline":
      consumerGroupProtocol.rebalanceDeadline(command, deciding);
      break;
    case "ConsumerRegexResolution":
      consumerGroupProtocol.regexResolution(command, deciding);
      break;
  }
  return outcome;
};

/** What a coordinator that has just read its log begins with: sessions of the members it found, and what expires. */
export const resume = (state: CoordinatorState, context: DecideContext, ask: AskId): Decision => {
  const outcome = new Outcome();
  for (const groupId of state.journal.groups.keys()) {
    const group = groupOf(state, groupId);
    if (group?.kind === "classic") resumeClassicGroup(group, context, outcome);
    else if (group !== undefined) consumerGroupProtocol.resume(group, { state, context, ask, outcome });
  }
  forgetLostTopics(state, context, outcome);
  outcome.arm(EXPIRY_TIMER, context.config.number("offsets.retention.check.interval.ms"), { type: "ExpireOffsets" });
  return outcome;
};

const join = (command: GroupCommand<"JoinGroup">, deciding: Deciding): void => {
  const { state, context, ask, outcome } = deciding;
  const group = groupOf(state, command.request.groupId);
  if (group?.kind !== "consumer") return joinClassicGroup(group, command, ask, context, outcome);
  if (group.members.size > 0) return consumerGroupProtocol.join(group, command, deciding);
  // An empty group changes its protocol with its first new member; its offsets stay.
  if (command.request.memberId === "") outcome.records.push(...groupTombstones(group, outcome));
  joinClassicGroup(undefined, command, ask, context, outcome);
};

const sync = (command: GroupCommand<"SyncGroup">, deciding: Deciding): void => {
  const { state, context, ask, outcome } = deciding;
  const group = groupOf(state, command.request.groupId);
  if (group?.kind === "classic") return syncClassicGroup(group, command, ask, context, outcome);
  if (group !== undefined && group.members.size > 0) return consumerGroupProtocol.sync(group, command, deciding);
  outcome.answer<"SyncGroup">(ask, syncError(Errors.UNKNOWN_MEMBER_ID));
};

const heartbeat = (command: GroupCommand<"Heartbeat">, deciding: Deciding): void => {
  const { state, context, ask, outcome } = deciding;
  const group = groupOf(state, command.request.groupId);
  if (group?.kind === "classic") return heartbeatClassicGroup(group, command, ask, context, outcome);
  if (group !== undefined) return consumerGroupProtocol.classicHeartbeat(group, command, deciding);
  outcome.answer<"Heartbeat">(ask, { throttleTimeMs: 0, errorCode: Errors.UNKNOWN_MEMBER_ID });
};

const leave = (command: GroupCommand<"LeaveGroup">, deciding: Deciding): void => {
  const { state, context, ask, outcome } = deciding;
  const group = groupOf(state, command.request.groupId);
  if (group?.kind === "classic") return leaveClassicGroup(group, command, ask, context, outcome);
  if (group !== undefined) return consumerGroupProtocol.leave(group, command, deciding);
  outcome.answer<"LeaveGroup">(ask, leaveUnknownGroup(command.request));
};
