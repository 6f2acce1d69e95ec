/**
 * Committed offsets by group, topic and partition: a fold of OffsetCommit records and of the markers that end
 * transactions. What must stay true: the last record of a key by its place in the log is its value (O1), where a
 * transaction's counts once the transaction is committed, and only over what lies before it; a group or topic without
 * offsets is not in here, so that what is left after tombstones equals what compaction leaves.
 */
import type { LeaderEpoch, Offset, ProducerId, Timestamp, Uuid } from "../prelude/Types.ts";
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

type Groups = Map<string, Map<string, Map<number, CommittedOffset>>>;

export class CommittedOffsets {
  private readonly groups: Groups = new Map();
  /** Of open transactions, by producer; few at any time. */
  private readonly open = new Map<ProducerId, Groups>();

  /** The groups that have offsets, or may have when a transaction commits. */
  groupIds(): Iterable<string> {
    if (this.open.size === 0) return this.groups.keys();
    return new Set([...this.groups.keys(), ...[...this.open.values()].flatMap((groups) => [...groups.keys()])]);
  }

  has(group: string): boolean {
    return this.groups.has(group) || this.isOpen(group);
  }

  /** Whether an open transaction has committed offsets of the group. */
  isOpen(group: string): boolean {
    for (const groups of this.open.values()) if (groups.has(group)) return true;
    return false;
  }

  /** Whether an open transaction has committed this partition's offset: which one counts is not decided. */
  isUnstable(group: string, topic: string, partition: number): boolean {
    for (const groups of this.open.values()) if (groups.get(group)?.get(topic)?.has(partition) === true) return true;
    return false;
  }

  /** What open transactions have committed of a group, each partition at least once. */
  *openOf(group: string): Iterable<{ readonly topic: string; readonly partition: number; readonly topicId: Uuid }> {
    for (const groups of this.open.values()) {
      for (const [topic, partitions] of groups.get(group) ?? []) {
        for (const [partition, { topicId }] of partitions) yield { topic, partition, topicId };
      }
    }
  }

  /** By topic and partition; undefined when the group has none. */
  of(group: string): TopicOffsets | undefined {
    return this.groups.get(group);
  }

  get(group: string, topic: string, partition: number): CommittedOffset | undefined {
    return this.groups.get(group)?.get(topic)?.get(partition);
  }

  /** `producerId`: whose open transaction the record belongs to, -1 for none. */
  evolve(
    { group, topic, partition }: OffsetCommitKey,
    value: OffsetCommitValue | null,
    recordOffset: Offset,
    producerId: ProducerId = -1,
  ): void {
    if (value === null) {
      remove(this.groups, group, topic, partition);
      // What a transaction has committed before goes, too.
      for (const [id, groups] of this.open) {
        remove(groups, group, topic, partition);
        if (groups.size === 0) this.open.delete(id);
      }
      return;
    }
    const { offset, leaderEpoch, metadata, commitTimestamp, expireTimestamp, topicId } = value;
    const committed = { offset, leaderEpoch, metadata, commitTimestamp, expireTimestamp, topicId, recordOffset };
    put(producerId < 0 ? this.groups : this.groupsOf(producerId), group, topic, partition, committed);
  }

  /** A producer's transaction has ended: what it has committed counts now, or never did. */
  endTransaction(producerId: ProducerId, committed: boolean): void {
    const ended = this.open.get(producerId);
    if (ended === undefined) return;
    this.open.delete(producerId);
    if (!committed) return;
    for (const [group, topics] of ended) {
      for (const [topic, partitions] of topics) {
        for (const [partition, offset] of partitions) {
          const present = this.get(group, topic, partition);
          if (present === undefined || present.recordOffset < offset.recordOffset) {
            put(this.groups, group, topic, partition, offset);
          }
        }
      }
    }
  }

  private groupsOf(producerId: ProducerId): Groups {
    let groups = this.open.get(producerId);
    if (groups === undefined) this.open.set(producerId, (groups = new Map()));
    return groups;
  }
}

const put = (groups: Groups, group: string, topic: string, partition: number, offset: CommittedOffset): void => {
  let topics = groups.get(group);
  if (topics === undefined) groups.set(group, (topics = new Map()));
  let partitions = topics.get(topic);
  if (partitions === undefined) topics.set(topic, (partitions = new Map()));
  partitions.set(partition, offset);
};

const remove = (groups: Groups, group: string, topic: string, partition: number): void => {
  const topics = groups.get(group);
  const partitions = topics?.get(topic);
  if (topics === undefined || partitions === undefined) return;
  partitions.delete(partition);
  if (partitions.size > 0) return;
  topics.delete(topic);
  if (topics.size === 0) groups.delete(group);
};
