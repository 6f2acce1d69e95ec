/** A record as the command line has it, whichever door it came through: what formats and envelopes are made of. */
import type { LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition } from "../prelude/Types.ts";
import type { RecordHeader } from "../record/RecordView.ts";

export interface ConsumedRecord extends TopicPartition {
  readonly offset: Offset;
  readonly timestamp: Timestamp;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: ReadonlyArray<RecordHeader>;
  readonly leaderEpoch: LeaderEpoch;
  /** -1: none, or not told. */
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  /** Of its batch: codec, timestamp type, transactional, control; -1: not told. */
  readonly attributes: number;
  /** Node id of the broker that gave it; -1 unknown. */
  readonly broker: number;
}

/** What the partition was when the record came. */
export interface PartitionBounds {
  readonly logStartOffset: Offset;
  readonly lastStableOffset: Offset;
  readonly highWatermark: Offset;
}

/** A record for `produce`; what the input does not say is undefined. */
export interface InputRecord {
  readonly topic: string | undefined;
  readonly partition: number | undefined;
  readonly timestamp: Timestamp | undefined;
  readonly key: Uint8Array | null | undefined;
  readonly value: Uint8Array | null;
  readonly headers: ReadonlyArray<RecordHeader>;
}
