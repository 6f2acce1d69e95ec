/**
 * A partition's event: the header of one record batch (magic 2), without its records. `decide` and `evolve` read
 * nothing else, so that replaying a log needs only its batch headers (and, of a control batch, its one key).
 */
import type { LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp } from "../prelude/Types.ts";

/** What a control batch says (Kafka's `ControlRecordType` and `EndTransactionMarker`). */
export interface ControlInfo {
  readonly type: "abort" | "commit" | "other";
  /** Epoch of the transaction coordinator that wrote the marker; -1 for `other`. */
  readonly coordinatorEpoch: number;
}

export interface BatchInfo {
  /** First and last are inclusive. */
  readonly baseOffset: Offset;
  readonly lastOffset: Offset;
  readonly leaderEpoch: LeaderEpoch;
  /** The whole batch in bytes, its 12 leading bytes included. */
  readonly sizeInBytes: number;
  /** The int16 attributes as stored: codec (bits 0–2), timestamp type (3), transactional (4), control (5), delete horizon (6). */
  readonly attributes: number;
  readonly baseTimestamp: Timestamp;
  readonly maxTimestamp: Timestamp;
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly baseSequence: Sequence;
  /** Sequence of the last record, with Kafka's wrap-around; -1 without a producer. */
  readonly lastSequence: Sequence;
  readonly recordCount: number;
  /** Only for a control batch (attribute bit 5). */
  readonly control?: ControlInfo;
}
