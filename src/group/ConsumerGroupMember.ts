/**
 * One member of a consumer group (KIP-848; Kafka's ConsumerGroupMember), folded from its two records: what it
 * subscribes to (MemberMetadata) and where its assignment stands (CurrentMemberAssignment).
 *
 * What must stay true: a member is a value, replaced and never changed; subscribed names are distinct and ascending;
 * "" is no regular expression, as in Kafka. A member with `classic` speaks the classic protocol in a group under
 * migration. What it owns is `assigned` together with `pendingRevocation`: the latter is its own until it confirms.
 */
import type { ConsumerGroupCurrentMemberAssignmentValue } from "../protocol/generated/ConsumerGroupCurrentMemberAssignmentValue.ts";
import type {
  ClassicMemberMetadata,
  ConsumerGroupMemberMetadataValue,
} from "../protocol/generated/ConsumerGroupMemberMetadataValue.ts";
import { NO_PARTITIONS, type OwnedPartitions, sameOwned } from "./Assignment.ts";

/** Kafka's `MemberState`, by its value in the record. */
export const MemberState = {
  STABLE: 0,
  UNREVOKED_PARTITIONS: 1,
  UNRELEASED_PARTITIONS: 2,
  /** Written by a later version. */
  UNKNOWN: 127,
} as const;

/** Member epochs that are not a place in the group's history. */
export const JOIN_EPOCH = 0;
export const LEAVE_EPOCH = -1;
/** A static member that left to come back: its assignment waits for its instance id. */
export const LEAVE_STATIC_EPOCH = -2;

export interface ConsumerGroupMember {
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly previousMemberEpoch: number;
  /** One of `MemberState`. */
  readonly state: number;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly rebalanceTimeoutMs: number;
  readonly subscribedTopicNames: ReadonlyArray<string>;
  readonly subscribedTopicRegex: string;
  readonly serverAssignor: string | null;
  readonly assigned: OwnedPartitions;
  readonly pendingRevocation: OwnedPartitions;
  readonly classic: ClassicMemberMetadata | null;
}

export const newMember = (memberId: string): ConsumerGroupMember => ({
  memberId,
  memberEpoch: 0,
  previousMemberEpoch: -1,
  state: MemberState.STABLE,
  instanceId: null,
  rackId: null,
  clientId: "",
  clientHost: "",
  rebalanceTimeoutMs: -1,
  subscribedTopicNames: [],
  subscribedTopicRegex: "",
  serverAssignor: null,
  assigned: NO_PARTITIONS,
  pendingRevocation: NO_PARTITIONS,
  classic: null,
});

export const sortedNames = (names: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(names)].sort();

/** Whether the member is where the target assignment of that epoch wants it. */
export const isReconciledTo = (member: ConsumerGroupMember, targetEpoch: number): boolean =>
  member.state === MemberState.STABLE && member.memberEpoch === targetEpoch;

export const withMetadata = (
  member: ConsumerGroupMember,
  value: Readonly<ConsumerGroupMemberMetadataValue>,
): ConsumerGroupMember => ({
  ...member,
  instanceId: value.instanceId,
  rackId: value.rackId,
  clientId: value.clientId,
  clientHost: value.clientHost,
  rebalanceTimeoutMs: value.rebalanceTimeoutMs,
  subscribedTopicNames: sortedNames(value.subscribedTopicNames),
  subscribedTopicRegex: value.subscribedTopicRegex ?? "",
  serverAssignor: value.serverAssignor,
  classic: value.classicMemberMetadata,
});

type RecordedPartitions = ConsumerGroupCurrentMemberAssignmentValue["assignedPartitions"];

/** Records from before assignment epochs, and malformed ones, count from the member's epoch, never below 0. */
const ownedFrom = (recorded: RecordedPartitions, memberEpoch: number): OwnedPartitions => {
  const fallback = Math.max(memberEpoch, 0);
  const owned = new Map<string, ReadonlyMap<number, number>>();
  for (const { topicId, partitions, assignmentEpochs } of recorded) {
    const epochs = assignmentEpochs !== null && assignmentEpochs.length === partitions.length ? assignmentEpochs : [];
    if (partitions.length > 0) owned.set(topicId, new Map(partitions.map((p, i) => [p, epochs[i] ?? fallback])));
  }
  return owned;
};

export const withCurrentAssignment = (
  member: ConsumerGroupMember,
  value: Readonly<ConsumerGroupCurrentMemberAssignmentValue>,
): ConsumerGroupMember => ({
  ...member,
  memberEpoch: value.memberEpoch,
  previousMemberEpoch: value.previousMemberEpoch,
  state:
    value.state >= MemberState.STABLE && value.state <= MemberState.UNRELEASED_PARTITIONS
      ? value.state
      : MemberState.UNKNOWN,
  assigned: ownedFrom(value.assignedPartitions, value.memberEpoch),
  pendingRevocation: ownedFrom(value.partitionsPendingRevocation, value.memberEpoch),
});

/** The member after its CurrentMemberAssignment was taken back: on its way out, owning nothing. */
export const withoutAssignment = (member: ConsumerGroupMember): ConsumerGroupMember => ({
  ...member,
  memberEpoch: LEAVE_EPOCH,
  previousMemberEpoch: LEAVE_EPOCH,
  assigned: NO_PARTITIONS,
  pendingRevocation: NO_PARTITIONS,
});

const sameNames = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a === b || (a.length === b.length && a.every((name, index) => name === b[index]));

export const sameSubscribedNames = (a: ConsumerGroupMember, b: ConsumerGroupMember): boolean =>
  sameNames(a.subscribedTopicNames, b.subscribedTopicNames);

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index]);

const sameClassic = (a: ClassicMemberMetadata | null, b: ClassicMemberMetadata | null): boolean => {
  if (a === b) return true;
  if (a === null || b === null || a.sessionTimeoutMs !== b.sessionTimeoutMs) return false;
  if (a.supportedProtocols.length !== b.supportedProtocols.length) return false;
  return a.supportedProtocols.every((protocol, index) => {
    const other = b.supportedProtocols[index]!;
    return protocol.name === other.name && sameBytes(protocol.metadata, other.metadata);
  });
};

/** Whether their MemberMetadata records would be the same. */
export const sameMetadata = (a: ConsumerGroupMember, b: ConsumerGroupMember): boolean =>
  a.instanceId === b.instanceId &&
  a.rackId === b.rackId &&
  a.clientId === b.clientId &&
  a.clientHost === b.clientHost &&
  a.rebalanceTimeoutMs === b.rebalanceTimeoutMs &&
  sameSubscribedNames(a, b) &&
  a.subscribedTopicRegex === b.subscribedTopicRegex &&
  a.serverAssignor === b.serverAssignor &&
  sameClassic(a.classic, b.classic);

/** Whether their CurrentMemberAssignment records would be the same. */
export const sameCurrentAssignment = (a: ConsumerGroupMember, b: ConsumerGroupMember): boolean =>
  a.memberEpoch === b.memberEpoch &&
  a.previousMemberEpoch === b.previousMemberEpoch &&
  a.state === b.state &&
  sameOwned(a.assigned, b.assigned) &&
  sameOwned(a.pendingRevocation, b.pendingRevocation);
