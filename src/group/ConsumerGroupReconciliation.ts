/**
 * How one member moves from what it owns to what the target assignment wants (KIP-848; Kafka's
 * CurrentAssignmentBuilder). A partition goes to its new owner only after the old one has confirmed its revocation (by
 * reporting what it owns without it) or is gone.
 *
 * | state                 | when                                              | becomes                                   |
 * |-----------------------|---------------------------------------------------|-------------------------------------------|
 * | STABLE                | target epoch ≠ member epoch                       | next (below)                              |
 * | STABLE                | same epoch, subscription changed                  | trimmed to the subscription               |
 * | UNREVOKED_PARTITIONS  | still reports a revoked partition, or nothing     | same (trimmed if subscription changed)    |
 * | UNREVOKED_PARTITIONS  | reports none of them                              | next                                      |
 * | UNRELEASED_PARTITIONS | any heartbeat                                     | next                                      |
 * | UNKNOWN               | reports that it owns nothing                      | next, at the target epoch                 |
 * | UNKNOWN               | otherwise                                         | fenced                                    |
 *
 * | next                                            | state                 | epoch  | assigned                       |
 * |-------------------------------------------------|-----------------------|--------|--------------------------------|
 * | something must be revoked that it still reports | UNREVOKED_PARTITIONS  | same   | what it keeps                  |
 * | some wanted partitions belong to others         | UNRELEASED_PARTITIONS | target | what it keeps + what is free   |
 * | otherwise                                       | STABLE                | target | what it keeps + what is free   |
 *
 * What must stay true: the member epoch reaches the target epoch only when nothing is left to revoke; `assigned` and
 * `pendingRevocation` never hold a partition that another member owns.
 */
import type { Uuid } from "../prelude/Types.ts";
import {
  NO_PARTITIONS,
  type OwnedPartitions,
  type ReportedPartitions,
  stillOwns,
  type TargetAssignment,
  union,
} from "./Assignment.ts";
import { type ConsumerGroupMember, MemberState } from "./ConsumerGroupMember.ts";

export interface Reconciliation {
  readonly targetEpoch: number;
  readonly target: TargetAssignment;
  /** Ids of the topics that exist and that the member is subscribed to now. */
  readonly subscribed: ReadonlySet<Uuid>;
  readonly subscriptionChanged: boolean;
  /** Whether any member, also this one, owns the partition. */
  readonly isOwned: (topicId: Uuid, partition: number) => boolean;
  /** What the member's heartbeat says it owns; null when it says nothing. */
  readonly reported: ReadonlyArray<ReportedPartitions> | null;
}

const FENCED = "fenced";

/** The member one step on (itself when nothing changes), or `fenced`: it must give up everything and join again. */
export const reconcile = (member: ConsumerGroupMember, how: Reconciliation): ConsumerGroupMember | typeof FENCED => {
  switch (member.state) {
    case MemberState.STABLE:
      if (member.memberEpoch !== how.targetEpoch) return next(member, how, member.memberEpoch);
      return how.subscriptionChanged ? trim(member, how) : member;
    case MemberState.UNREVOKED_PARTITIONS:
      if (!stillOwns(how.reported, member.pendingRevocation)) return next(member, how, member.memberEpoch);
      return how.subscriptionChanged ? trim(member, how) : member;
    case MemberState.UNRELEASED_PARTITIONS:
      return next(member, how, member.memberEpoch);
    default:
      if (how.reported === null || how.reported.length > 0) return FENCED;
      return next(member, how, how.targetEpoch);
  }
};

/** Takes the topics it is no longer subscribed to from a member, between two targets. */
const trim = (member: ConsumerGroupMember, { subscribed, reported }: Reconciliation): ConsumerGroupMember => {
  const kept = new Map<Uuid, ReadonlyMap<number, number>>();
  const dropped = new Map<Uuid, ReadonlyMap<number, number>>();
  for (const [topicId, partitions] of member.assigned)
    (subscribed.has(topicId) ? kept : dropped).set(topicId, partitions);
  if (dropped.size === 0) return member;
  const moved = { ...member, previousMemberEpoch: member.memberEpoch, assigned: kept };
  const pendingRevocation = union(member.pendingRevocation, dropped);
  return stillOwns(reported, pendingRevocation)
    ? { ...moved, state: MemberState.UNREVOKED_PARTITIONS, pendingRevocation }
    : moved;
};

const next = (member: ConsumerGroupMember, how: Reconciliation, memberEpoch: number): ConsumerGroupMember => {
  const kept = new Map<Uuid, Map<number, number>>();
  const revoked = new Map<Uuid, Map<number, number>>();
  for (const [topicId, partitions] of member.assigned) {
    const wanted = new Set(how.subscribed.has(topicId) ? how.target.get(topicId) : []);
    for (const [partition, epoch] of partitions) put(wanted.has(partition) ? kept : revoked, topicId, partition, epoch);
  }
  if (revoked.size > 0 && stillOwns(how.reported, revoked)) {
    return {
      ...member,
      state: MemberState.UNREVOKED_PARTITIONS,
      memberEpoch,
      previousMemberEpoch: member.memberEpoch,
      assigned: kept,
      pendingRevocation: revoked,
    };
  }
  let unreleased = false;
  for (const [topicId, partitions] of how.target) {
    if (!how.subscribed.has(topicId)) continue;
    const present = member.assigned.get(topicId);
    // What the member has just given back is still counted as owned, by itself alone.
    const givenBack: ReadonlyMap<number, number> | undefined = member.pendingRevocation.get(topicId);
    for (const partition of partitions) {
      if (present?.has(partition)) continue;
      if (how.isOwned(topicId, partition) && !givenBack?.has(partition)) unreleased = true;
      else put(kept, topicId, partition, how.targetEpoch);
    }
  }
  return {
    ...member,
    state: unreleased ? MemberState.UNRELEASED_PARTITIONS : MemberState.STABLE,
    memberEpoch: how.targetEpoch,
    previousMemberEpoch: member.memberEpoch,
    assigned: kept,
    pendingRevocation: NO_PARTITIONS,
  };
};

const put = (into: Map<Uuid, Map<number, number>>, topicId: Uuid, partition: number, epoch: number): void => {
  const partitions = into.get(topicId);
  if (partitions === undefined) into.set(topicId, new Map([[partition, epoch]]));
  else partitions.set(partition, epoch);
};

/** Everything a member is responsible for. */
export const ownedBy = (member: ConsumerGroupMember): OwnedPartitions =>
  union(member.assigned, member.pendingRevocation);
