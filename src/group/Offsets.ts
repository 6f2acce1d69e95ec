/**
 * Committed offsets by group, topic and partition: a fold of OffsetCommit records. What must stay true: the last record
 * of a key by its place in the log is its value (O1); a group or topic without offsets is not in here, so that what is
 * left after tombstones equals what compaction leaves.
 */
import type { LeaderEpoch, Offset, Timestamp, Uuid } from "../prelude/Types.ts";
import type { OffsetCommitKey } from "../protocol/generated/OffsetCommitKey.ts";
import type { OffsetCommitValue } from "../protocol/generated/OffsetCommitValue.ts";

export interface CommittedOffset {
  readonly offset: Offset;
  /** -1: the client did not say. */
  readonly leaderEpoch: LeaderEpoch;
  readonly metadata: string;
  readonly commitTimestamp: Timestamp;
  /** -1: the broker's retention decides. */
  readonly expireTimestamp: Timestamp;
  /** `ZERO_UUID`: committed before topics had ids. */
  readonly topicId: Uuid;
  /** The commit's own place in the log: a transaction's commit wins only over what is before it. */
  readonly recordOffset: Offset;
}

export type PartitionOffsets = ReadonlyMap<number, CommittedOffset>;
export type TopicOffsets = ReadonlyMap<string, PartitionOffsets>;

export class CommittedOffsets {
  private readonly groups = new Map<string, Map<string, Map<number, CommittedOffset>>>();

  /** The groups that have offsets. */
  groupIds(): Iterable<string> {
    return this.groups.keys();
  }

  has(group: string): boolean {
    return this.groups.has(group);
  }

  /** By topic and partition; undefined when the group has none. */
  of(group: string): TopicOffsets | undefined {
    return this.groups.get(group);
  }

  get(group: string, topic: string, partition: number): CommittedOffset | undefined {
    return this.groups.get(group)?.get(topic)?.get(partition);
  }

  evolve({ group, topic, partition }: OffsetCommitKey, value: OffsetCommitValue | null, recordOffset: Offset): void {
    if (value === null) return this.remove(group, topic, partition);
    const { offset, leaderEpoch, metadata, commitTimestamp, expireTimestamp, topicId } = value;
    let topics = this.groups.get(group);
    if (topics === undefined) this.groups.set(group, (topics = new Map()));
    let partitions = topics.get(topic);
    if (partitions === undefined) topics.set(topic, (partitions = new Map()));
    partitions.set(partition, {
      offset,
      leaderEpoch,
      metadata,
      commitTimestamp,
      expireTimestamp,
      topicId,
      recordOffset,
    });
  }

  private remove(group: string, topic: string, partition: number): void {
    const topics = this.groups.get(group);
    const partitions = topics?.get(topic);
    if (topics === undefined || partitions === undefined) return;
    partitions.delete(partition);
    if (partitions.size > 0) return;
    topics.delete(topic);
    if (topics.size === 0) this.groups.delete(group);
  }
}
