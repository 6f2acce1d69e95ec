/**
 * The range assignor: each topic's partitions are cut into consecutive ranges, one per subscribed member; the first
 * members get one partition more when the division leaves a rest. What must stay true: members with equal
 * subscriptions get the same partition numbers of every topic with the same count (co-partitioning, for joins); static
 * members come first, by instance id, so that a restart under a new member id moves nothing.
 */
import type { Uuid } from "../../prelude/Types.ts";
import type { TargetAssignment } from "../Assignment.ts";
import type { Assignor, AssignorMember, GroupSpecification } from "./Assignor.ts";

/** How far a topic has been handed out. */
interface TopicRange {
  readonly quota: number;
  /** Members that still get one partition more. */
  extra: number;
  /** The first partition not handed out yet. */
  next: number;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const byInstanceThenMember = (a: [string, AssignorMember], b: [string, AssignorMember]): number => {
  const [memberA, { instanceId: instanceA }] = a;
  const [memberB, { instanceId: instanceB }] = b;
  if (instanceA !== null && instanceB !== null) return compare(instanceA, instanceB);
  if (instanceA !== null) return -1;
  if (instanceB !== null) return 1;
  return compare(memberA, memberB);
};

const assign = ({ members, partitionCount }: GroupSpecification): Map<string, TargetAssignment> => {
  const subscribers = new Map<Uuid, number>();
  for (const { topics } of members.values()) {
    for (const topicId of topics) subscribers.set(topicId, (subscribers.get(topicId) ?? 0) + 1);
  }
  const ranges = new Map<Uuid, TopicRange>();
  for (const [topicId, count] of subscribers) {
    const partitions = partitionCount(topicId);
    ranges.set(topicId, { quota: Math.floor(partitions / count), extra: partitions % count, next: 0 });
  }
  const assignment = new Map<string, TargetAssignment>();
  for (const [memberId, { topics }] of [...members].sort(byInstanceThenMember)) {
    const target = new Map<Uuid, number[]>();
    for (const topicId of topics) {
      const range = ranges.get(topicId)!;
      let take = range.quota;
      if (range.extra > 0) {
        take += 1;
        range.extra -= 1;
      }
      if (take > 0)
        target.set(
          topicId,
          Array.from({ length: take }, (_, index) => range.next + index),
        );
      range.next += take;
    }
    assignment.set(memberId, target);
  }
  return assignment;
};

export const RangeAssignor: Assignor = { name: "range", assign };
