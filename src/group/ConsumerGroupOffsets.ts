/**
 * Which commits and offset fetches a consumer group accepts (KIP-848, KIP-1251; Kafka's ConsumerGroup.validateOffset*).
 *
 * | commit's epoch       | verdict                                                                                  |
 * |----------------------|------------------------------------------------------------------------------------------|
 * | negative, no members | accepted: an administrator, or a consumer that assigns itself                            |
 * | the member's         | accepted                                                                                 |
 * | newer                | STALE_MEMBER_EPOCH (classic member: ILLEGAL_GENERATION)                                  |
 * | older                | accepted if it got every partition in that epoch or before, also while it revokes it     |
 *
 * What must stay true: a member that lost a partition, and got it again since, cannot commit what it read before.
 */
import { Errors } from "../protocol/Errors.ts";
import type { OffsetCommitRequest } from "../protocol/generated/OffsetCommitRequest.ts";
import type { ConsumerGroup } from "./ConsumerGroup.ts";
import type { ConsumerGroupMember } from "./ConsumerGroupMember.ts";

/** The first OffsetCommit whose errors a KIP-848 member understands. */
const CONSUMER_PROTOCOL_FROM = 9;

const staleEpoch = ({ classic }: ConsumerGroupMember): number =>
  classic === null ? Errors.STALE_MEMBER_EPOCH : Errors.ILLEGAL_GENERATION;

/** NONE, or why the whole request is refused: one stale partition refuses all, as in Kafka. */
export const commitVerdict = (
  group: ConsumerGroup,
  { memberId, generationIdOrMemberEpoch: epoch, topics }: OffsetCommitRequest,
  version: number,
): number => {
  if (epoch < 0 && group.members.size === 0) return Errors.NONE;
  const member = group.members.get(memberId);
  if (member === undefined) return Errors.UNKNOWN_MEMBER_ID;
  if (member.classic === null && version < CONSUMER_PROTOCOL_FROM) return Errors.UNSUPPORTED_VERSION;
  if (epoch === member.memberEpoch) return Errors.NONE;
  if (epoch > member.memberEpoch) return staleEpoch(member);
  for (const { topicId, partitions } of topics) {
    const assigned = member.assigned.get(topicId);
    const revoking = member.pendingRevocation.get(topicId);
    for (const { partitionIndex } of partitions) {
      const since = assigned?.get(partitionIndex) ?? revoking?.get(partitionIndex);
      if (since === undefined || epoch < since) return staleEpoch(member);
    }
  }
  return Errors.NONE;
};

/** A fetch that names no member is anybody's. */
export const fetchVerdict = (group: ConsumerGroup, memberId: string | null, memberEpoch: number): number => {
  if (memberId === null && memberEpoch < 0) return Errors.NONE;
  const member = memberId === null ? undefined : group.members.get(memberId);
  if (member === undefined) return Errors.UNKNOWN_MEMBER_ID;
  return memberEpoch === member.memberEpoch ? Errors.NONE : staleEpoch(member);
};
