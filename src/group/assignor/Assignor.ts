/**
 * What a server-side assignor is given and gives (KIP-848; Kafka's ConsumerGroupPartitionAssignor). What must stay true
 * of every assignor: it is a pure function of the specification, in its members' order; each partition of each
 * subscribed topic goes to exactly one member that is subscribed to it.
 */
import type { Uuid } from "../../prelude/Types.ts";
import type { TargetAssignment } from "../Assignment.ts";

export interface AssignorMember {
  /** `group.instance.id`, or null for a dynamic member. */
  readonly instanceId: string | null;
  /** Ids of the topics that exist and that it is subscribed to. */
  readonly topics: ReadonlySet<Uuid>;
  /** What it was to have until now. */
  readonly assignment: TargetAssignment;
}

export interface GroupSpecification {
  readonly members: ReadonlyMap<string, AssignorMember>;
  /** Whether all members are subscribed to the same topics. */
  readonly homogeneous: boolean;
  /** Number of partitions of a subscribed topic, at least 1. */
  readonly partitionCount: (topicId: Uuid) => number;
}

export interface Assignor {
  readonly name: string;
  /** By member id; a member that gets nothing may be left out. */
  readonly assign: (specification: GroupSpecification) => Map<string, TargetAssignment>;
}
