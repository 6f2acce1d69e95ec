/**
 * A consumer group's next target assignment, and when it is due (KIP-848; Kafka's TargetAssignmentBuilder and
 * KIP-1263's assignment interval). What must stay true: the assignment is computed for the members as they will be
 * after the command; only targets that change become records, and then the epoch that makes them valid.
 */
import type { TargetAssignment } from "./Assignment.ts";
import { NO_TARGET, sameTarget } from "./Assignment.ts";
import type { AssignorMember } from "./assignor/Assignor.ts";
import { ASSIGNORS } from "./assignor/Assignors.ts";
import { type ConsumerGroup, isHomogeneous, type Subscriptions } from "./ConsumerGroup.ts";
import { assignmentIntervalMs, type Draft, subscribedTopicIds } from "./ConsumerGroupDraft.ts";
import type { ConsumerGroupMember } from "./ConsumerGroupMember.ts";
import { targetAssignmentEpochRecord, targetAssignmentRecord } from "./ConsumerGroupRecords.ts";

/** A member about to be changed. */
export interface MemberChange {
  /** As it was; a new one's default, or a replaced static member's copy under its new id. */
  readonly before: ConsumerGroupMember;
  readonly after: ConsumerGroupMember;
  /** The id of the static member it replaces, if any. */
  readonly replaces: string | undefined;
}

export interface MemberTarget {
  readonly epoch: number;
  readonly target: TargetAssignment;
}

/** What the changed member is to have: from the present target assignment, or from a new one when it is due. */
export const targetFor = (
  draft: Draft,
  group: ConsumerGroup,
  groupEpoch: number,
  change: MemberChange,
  subscriptions: () => Subscriptions,
): MemberTarget => {
  const { now, config } = draft.context;
  const interval = assignmentIntervalMs(draft.context, group.groupId);
  const { assignmentEpoch, assignmentTimestamp } = group;
  const due = assignmentTimestamp === 0 || interval === 0 || now >= assignmentTimestamp + interval;
  const memberId = change.after.memberId;
  if (assignmentEpoch >= groupEpoch || !due) {
    return { epoch: assignmentEpoch, target: group.target(change.replaces ?? memberId) };
  }
  const members = new Map<string, AssignorMember>();
  const present = new Map<string, TargetAssignment | undefined>();
  const add = (member: ConsumerGroupMember, held: TargetAssignment | undefined): void => {
    members.set(member.memberId, {
      instanceId: member.instanceId,
      topics: subscribedTopicIds(draft.context, group, member),
      assignment: held ?? NO_TARGET,
    });
    present.set(member.memberId, held);
  };
  for (const member of group.members.values()) {
    if (member.memberId === change.replaces) continue;
    add(member.memberId === memberId ? change.after : member, group.targets.get(member.memberId));
  }
  if (!members.has(memberId)) {
    add(change.after, group.targets.get(change.replaces ?? memberId));
  }
  const wanted = group.preferredAssignor(change.before, change.after);
  const [first = "uniform"] = config.list("group.consumer.assignors");
  const assignor = (wanted === undefined ? undefined : ASSIGNORS.get(wanted)) ?? ASSIGNORS.get(first)!;
  const assignment = assignor.assign({
    members,
    homogeneous: isHomogeneous(subscriptions()),
    partitionCount: (topicId) => draft.context.image.topicsById.get(topicId)?.partitions.length ?? 0,
  });
  for (const [id, held] of present) {
    const target = assignment.get(id) ?? NO_TARGET;
    if (held === undefined || !sameTarget(held, target)) {
      draft.records.push(targetAssignmentRecord(group.groupId, id, target));
    }
  }
  draft.records.push(targetAssignmentEpochRecord(group.groupId, groupEpoch, now));
  return { epoch: groupEpoch, target: assignment.get(memberId) ?? NO_TARGET };
};
