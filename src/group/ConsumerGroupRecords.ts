/**
 * The events of a consumer group (KIP-848), made: Kafka's ConsumerGroup* records with their keys, and the tombstones
 * that take them back. What must stay true: every fact a group is made of has its key here, so that
 * `groupTombstones` leaves nothing of it behind.
 */
import type { Uuid } from "../prelude/Types.ts";
import { ascending, type OwnedPartitions, type TargetAssignment } from "./Assignment.ts";
import type { ConsumerGroupMember } from "./ConsumerGroupMember.ts";
import type { GroupRecord } from "./GroupRecords.ts";

export interface ResolvedRegex {
  /** Topics that match, ascending. */
  readonly topics: ReadonlyArray<string>;
  /** Offset of the metadata image it was resolved against. */
  readonly version: number;
  /** When the resolution began, in milliseconds. */
  readonly timestamp: number;
}

export const memberMetadataRecord = (groupId: string, member: ConsumerGroupMember): GroupRecord => ({
  kind: "ConsumerGroupMemberMetadata",
  key: { groupId, memberId: member.memberId },
  value: {
    instanceId: member.instanceId,
    rackId: member.rackId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    subscribedTopicNames: [...member.subscribedTopicNames],
    subscribedTopicRegex: member.subscribedTopicRegex,
    rebalanceTimeoutMs: member.rebalanceTimeoutMs,
    serverAssignor: member.serverAssignor,
    classicMemberMetadata: member.classic,
  },
});

export const groupEpochRecord = (groupId: string, epoch: number, metadataHash: number): GroupRecord => ({
  kind: "ConsumerGroupMetadata",
  key: { groupId },
  value: { epoch, metadataHash },
});

export const targetAssignmentRecord = (groupId: string, memberId: string, target: TargetAssignment): GroupRecord => ({
  kind: "ConsumerGroupTargetAssignmentMember",
  key: { groupId, memberId },
  value: {
    topicPartitions: [...target].map(([topicId, partitions]) => ({ topicId, partitions: [...partitions] })),
  },
});

export const targetAssignmentEpochRecord = (
  groupId: string,
  assignmentEpoch: number,
  assignmentTimestamp: number,
): GroupRecord => ({
  kind: "ConsumerGroupTargetAssignmentMetadata",
  key: { groupId },
  value: { assignmentEpoch, assignmentTimestamp },
});

const recorded = (owned: OwnedPartitions): Array<{ topicId: Uuid; partitions: number[]; assignmentEpochs: number[] }> =>
  [...owned].map(([topicId, epochs]) => {
    const partitions = ascending(epochs.keys());
    return { topicId, partitions, assignmentEpochs: partitions.map((partition) => epochs.get(partition) ?? 0) };
  });

export const currentAssignmentRecord = (groupId: string, member: ConsumerGroupMember): GroupRecord => ({
  kind: "ConsumerGroupCurrentMemberAssignment",
  key: { groupId, memberId: member.memberId },
  value: {
    memberEpoch: member.memberEpoch,
    previousMemberEpoch: member.previousMemberEpoch,
    state: member.state,
    assignedPartitions: recorded(member.assigned),
    partitionsPendingRevocation: recorded(member.pendingRevocation),
  },
});

export const regularExpressionRecord = (groupId: string, regex: string, resolved: ResolvedRegex): GroupRecord => ({
  kind: "ConsumerGroupRegularExpression",
  key: { groupId, regularExpression: regex },
  value: { topics: [...resolved.topics], version: resolved.version, timestamp: resolved.timestamp },
});

export const regularExpressionTombstone = (groupId: string, regex: string): GroupRecord => ({
  kind: "ConsumerGroupRegularExpression",
  key: { groupId, regularExpression: regex },
  value: null,
});

/** Deprecated by Kafka 4.1's metadata hash: only ever taken back. */
export const partitionMetadataTombstone = (groupId: string): GroupRecord => ({
  kind: "ConsumerGroupPartitionMetadata",
  key: { groupId },
  value: null,
});

/** Everything a member is made of, taken back, in Kafka's order: what it owns first. */
export const memberTombstones = (groupId: string, memberId: string): GroupRecord[] => [
  { kind: "ConsumerGroupCurrentMemberAssignment", key: { groupId, memberId }, value: null },
  { kind: "ConsumerGroupTargetAssignmentMember", key: { groupId, memberId }, value: null },
  { kind: "ConsumerGroupMemberMetadata", key: { groupId, memberId }, value: null },
];

/** Everything a group is made of, taken back, in Kafka's order. */
export const groupTombstones = (
  groupId: string,
  memberIds: ReadonlyArray<string>,
  regexes: Iterable<string>,
): GroupRecord[] => [
  ...memberIds.map(
    (memberId): GroupRecord => ({
      kind: "ConsumerGroupCurrentMemberAssignment",
      key: { groupId, memberId },
      value: null,
    }),
  ),
  ...memberIds.map(
    (memberId): GroupRecord => ({
      kind: "ConsumerGroupTargetAssignmentMember",
      key: { groupId, memberId },
      value: null,
    }),
  ),
  { kind: "ConsumerGroupTargetAssignmentMetadata", key: { groupId }, value: null },
  ...memberIds.map(
    (memberId): GroupRecord => ({
      kind: "ConsumerGroupMemberMetadata",
      key: { groupId, memberId },
      value: null,
    }),
  ),
  ...[...regexes].map((regex) => regularExpressionTombstone(groupId, regex)),
  partitionMetadataTombstone(groupId),
  { kind: "ConsumerGroupMetadata", key: { groupId }, value: null },
];
