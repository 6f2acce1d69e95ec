/**
 * Where the KIP-848 protocol meets the rest of the coordinator: everything a command may need of a group whose members
 * (or some of them) follow it. Requests of classic members of such a group come in here too.
 */

import type { Uuid } from "../prelude/Types.ts";
import type { DescribeGroupsResponse } from "../protocol/generated/DescribeGroupsResponse.ts";
import type { ListGroupsResponse } from "../protocol/generated/ListGroupsResponse.ts";
import type { OffsetCommitRequest } from "../protocol/generated/OffsetCommitRequest.ts";
import type { AskId } from "./ClassicGroup.ts";
import type { ConsumerGroup } from "./ConsumerGroup.ts";
import { heartbeatAsClassic, joinAsClassic, leaveAsClassic, syncAsClassic } from "./ConsumerGroupClassicMembers.ts";
import {
  cancelGroupTimers,
  consumerGroupTombstones,
  consumerHeartbeat,
  continueResolution,
  describeConsumerGroups,
  rebalanceDeadline,
  resumeGroup,
  sessionDeadline,
} from "./ConsumerGroupCommands.ts";
import { commitVerdict, fetchVerdict } from "./ConsumerGroupOffsets.ts";
import type { CoordinatorState, DecideContext, GroupCommand } from "./GroupCoordinator.ts";
import type { GroupRecord } from "./GroupRecords.ts";
import type { Outcome } from "./Outcome.ts";

/** What a decision about a consumer group is made from and into. */
export interface Deciding {
  readonly state: CoordinatorState;
  readonly context: DecideContext;
  readonly ask: AskId;
  readonly outcome: Outcome;
}

export type ListedGroup = ListGroupsResponse["groups"][number];
export type DescribedGroup = DescribeGroupsResponse["groups"][number];

/** A commit's verdict: an error for the whole request, or a look at each partition. */
export type CommitVerdict = number | ((topicId: Uuid, topic: string, partition: number) => number);

export interface ConsumerGroupProtocol {
  heartbeat(command: GroupCommand<"ConsumerGroupHeartbeat">, deciding: Deciding): void;
  describe(command: GroupCommand<"ConsumerGroupDescribe">, deciding: Deciding): void;
  sessionDeadline(command: GroupCommand<"ConsumerSessionDeadline">, deciding: Deciding): void;
  rebalanceDeadline(command: GroupCommand<"ConsumerRebalanceDeadline">, deciding: Deciding): void;
  regexResolution(command: GroupCommand<"ConsumerRegexResolution">, deciding: Deciding): void;
  /** The classic protocol's requests; the group has members. */
  join(group: ConsumerGroup, command: GroupCommand<"JoinGroup">, deciding: Deciding): void;
  sync(group: ConsumerGroup, command: GroupCommand<"SyncGroup">, deciding: Deciding): void;
  classicHeartbeat(group: ConsumerGroup, command: GroupCommand<"Heartbeat">, deciding: Deciding): void;
  leave(group: ConsumerGroup, command: GroupCommand<"LeaveGroup">, deciding: Deciding): void;
  /** A member's commit may arm its session anew. */
  commit(group: ConsumerGroup, request: OffsetCommitRequest, version: number, deciding: Deciding): CommitVerdict;
  fetchError(group: ConsumerGroup, memberId: string | null, memberEpoch: number): number;
  /** Records that take the whole group back; it has no members. */
  tombstones(group: ConsumerGroup): ReadonlyArray<GroupRecord>;
  /** Cancels every timer of the group. */
  cancelTimers(group: ConsumerGroup, outcome: Outcome): void;
  /** Arms what a loaded group needs. */
  resume(group: ConsumerGroup, deciding: Deciding): void;
  /** Kafka's name of the group's state. */
  stateName(group: ConsumerGroup): string;
}

export const consumerGroupProtocol: ConsumerGroupProtocol = {
  heartbeat: consumerHeartbeat,
  describe: describeConsumerGroups,
  sessionDeadline,
  rebalanceDeadline,
  regexResolution: continueResolution,
  join: joinAsClassic,
  sync: syncAsClassic,
  classicHeartbeat: heartbeatAsClassic,
  leave: leaveAsClassic,
  commit: commitVerdict,
  fetchError: fetchVerdict,
  tombstones: consumerGroupTombstones,
  cancelTimers: cancelGroupTimers,
  resume: resumeGroup,
  stateName: (group) => group.state(),
};
