/**
 * What a consumer and its membership in a group have to do with each other, whichever protocol the group speaks, and
 * what a membership tells an observer: the material of the group invariants. What must stay true: a partition is owned
 * from its `owned` event to its `released` or `lost` one, and nothing of it is shown to the application outside of that.
 */
import type { MonotonicMs, TopicPartition } from "../../src/prelude/Types.ts";
import type { GroupIdentity } from "./Offsets.ts";

export type GroupProtocol = "classic" | "consumer";

/** The consumer as its membership sees it. */
export interface MembershipOwner {
  readonly owned: ReadonlyArray<TopicPartition>;
  /** These are to be given up: the application may still commit what it has processed of them. */
  revoke(partitions: ReadonlyArray<TopicPartition>): Promise<void>;
  /** These were taken away: somebody else may own them already. */
  lose(partitions: ReadonlyArray<TopicPartition>): void;
  acquire(partitions: ReadonlyArray<TopicPartition>): Promise<void>;
}

export interface GroupMembership {
  readonly identity: GroupIdentity;
  /**
   * Does what the group asks for; returns when nothing is left to do, or at the deadline (what is under way goes on).
   * Throws `KafkaError` when the group does not take the member.
   */
  progress(deadline: MonotonicMs): Promise<void>;
  /** Leaves the group if the broker can be told before the deadline. */
  leave(deadline: MonotonicMs): Promise<void>;
  /** Nothing more is sent: what a process that died does. */
  abandon(): void;
}

interface OfMember {
  readonly group: string;
  /** Of this instance of a consumer; a member id may change during its life. */
  readonly instance: number;
  readonly memberId: string;
  /** Generation or member epoch. */
  readonly generation: number;
}

export type GroupEvent =
  | (OfMember & { readonly type: "joined"; readonly leader: string; readonly protocol: string })
  /** What the leader has decided for a generation, by member id. */
  | (OfMember & { readonly type: "assigned"; readonly assignment: ReadonlyMap<string, ReadonlyArray<TopicPartition>> })
  /** What a member was told to own. */
  | (OfMember & { readonly type: "synced"; readonly partitions: ReadonlyArray<TopicPartition> })
  | (OfMember & { readonly type: "owned"; readonly partitions: ReadonlyArray<TopicPartition> })
  | (OfMember & { readonly type: "released"; readonly partitions: ReadonlyArray<TopicPartition> })
  | (OfMember & { readonly type: "lost"; readonly partitions: ReadonlyArray<TopicPartition> })
  /**
   * The coordinator has answered a heartbeat that was sent at `sentAt` (the member's monotonic clock). `isBlind`: it may
   * not have known the member: one that is still reading its log answers every Heartbeat of the classic protocol alike.
   */
  | (OfMember & {
      readonly type: "heartbeat";
      readonly sentAt: MonotonicMs;
      readonly sessionTimeoutMs: number;
      readonly isBlind: boolean;
    })
  | (OfMember & { readonly type: "left" });

/** An event without what every event says of its member. */
export type GroupNews<T extends GroupEvent["type"] = GroupEvent["type"]> = T extends unknown
  ? Omit<Extract<GroupEvent, { readonly type: T }>, keyof OfMember>
  : never;

export const partitionName = ({ topic, partition }: TopicPartition): string => `${topic}-${partition}`;

/** What is in `left` and not in `right`. */
export const without = (
  left: ReadonlyArray<TopicPartition>,
  right: ReadonlyArray<TopicPartition>,
): TopicPartition[] => {
  const names = new Set(right.map(partitionName));
  return left.filter((partition) => !names.has(partitionName(partition)));
};
