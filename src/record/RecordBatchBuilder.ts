/**
 * Builds record batches v2: records in, bytes out, as Kafka's `MemoryRecordsBuilder` writes them. For journals of
 * coordinators and metadata, control batches, the client and tests; what clients produce is stored as it came.
 */

import type { LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp } from "../prelude/Types.ts";
import type { CodecId, Codecs } from "./Compression.ts";
import { ControlRecordType, controlRecordKey, endTransactionMarker } from "./ControlRecord.ts";
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  CONTROL_BIT,
  HEADER_SIZE,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
  setMaxTimestamp,
  TIMESTAMP_TYPE_BIT,
  TimestampType,
  TRANSACTIONAL_BIT,
  updateCrc,
} from "./RecordBatch.ts";
import { sizeOfVarint, sizeOfVarlong, writeInt16, writeInt32, writeInt64, writeVarint, writeVarlong } from "./Wire.ts";

export interface NewRecord {
  readonly key?: Uint8Array | null;
  readonly value?: Uint8Array | null;
  readonly headers?: readonly { readonly key: string; readonly value: Uint8Array | null }[];
  /** Default: the batch's `timestamp`. */
  readonly timestamp?: Timestamp;
  /** Default: one more than the record before. Given by a cleaner, whose batches have holes. */
  readonly offsetDelta?: number;
}

export interface BatchOptions {
  /** Default 0 (none). Anything else needs `codecs`. */
  readonly codec?: CodecId;
  readonly codecs?: Codecs;
  readonly compressionLevel?: number;
  /** Of records that say none; default -1 (none). */
  readonly timestamp?: Timestamp;
  /** Default 0, as producers send it. */
  readonly baseOffset?: Offset;
  /** Default: that of the last record. */
  readonly lastOffsetDelta?: number;
  /** Default -1. */
  readonly leaderEpoch?: LeaderEpoch;
  /** Makes the batch LogAppendTime with this as its max timestamp. */
  readonly logAppendTime?: Timestamp;
  /** Default -1, not idempotent; then epoch and sequence stay -1 too. */
  readonly producerId?: ProducerId;
  readonly producerEpoch?: ProducerEpoch;
  readonly baseSequence?: Sequence;
  readonly transactional?: boolean;
  readonly control?: boolean;
}

const utf8 = new TextEncoder();
const NO_HEADERS: readonly Uint8Array[] = [];

/** Header keys as bytes, in order. */
const headerKeys = (record: NewRecord): readonly Uint8Array[] =>
  record.headers === undefined || record.headers.length === 0
    ? NO_HEADERS
    : record.headers.map((header) => utf8.encode(header.key));

const fieldSize = (field: Uint8Array | null | undefined): number =>
  field == null ? 1 : sizeOfVarint(field.length) + field.length;

const writeField = (bytes: Uint8Array, at: number, field: Uint8Array | null | undefined): number => {
  if (field == null) return writeVarint(bytes, at, -1);
  const start = writeVarint(bytes, at, field.length);
  bytes.set(field, start);
  return start + field.length;
};

/** The whole batch, CRC included. At least one record; a compressed batch needs `codecs`. */
export const buildBatch = (records: readonly NewRecord[], options: BatchOptions = {}): Uint8Array => {
  const codec = options.codec ?? 0;
  const fallback = options.timestamp ?? -1;
  const baseTimestamp = records[0]?.timestamp ?? fallback;
  let maxTimestamp = -1;
  let lastOffsetDelta = -1;
  let payloadSize = 0;
  const bodySizes: number[] = [];
  const keysOf: (readonly Uint8Array[])[] = [];
  for (const record of records) {
    const timestamp = record.timestamp ?? fallback;
    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    lastOffsetDelta = record.offsetDelta ?? lastOffsetDelta + 1;
    const keys = headerKeys(record);
    let size =
      1 +
      sizeOfVarlong(timestamp - baseTimestamp) +
      sizeOfVarint(lastOffsetDelta) +
      fieldSize(record.key) +
      fieldSize(record.value) +
      sizeOfVarint(keys.length);
    for (let index = 0; index < keys.length; index++)
      size += fieldSize(keys[index]) + fieldSize(record.headers?.[index]?.value);
    bodySizes.push(size);
    keysOf.push(keys);
    payloadSize += sizeOfVarint(size) + size;
  }

  const plainStart = codec === 0 ? HEADER_SIZE : 0;
  const plain = new Uint8Array(plainStart + payloadSize);
  let at = plainStart;
  let offsetDelta = -1;
  for (let index = 0; index < records.length; index++) {
    const record = records[index]!;
    const keys = keysOf[index]!;
    offsetDelta = record.offsetDelta ?? offsetDelta + 1;
    at = writeVarint(plain, at, bodySizes[index]!);
    plain[at++] = 0;
    at = writeVarlong(plain, at, (record.timestamp ?? fallback) - baseTimestamp);
    at = writeVarint(plain, at, offsetDelta);
    at = writeField(plain, at, record.key);
    at = writeField(plain, at, record.value);
    at = writeVarint(plain, at, keys.length);
    for (let header = 0; header < keys.length; header++) {
      at = writeField(plain, at, keys[header]);
      at = writeField(plain, at, record.headers?.[header]?.value);
    }
  }

  let batch = plain;
  if (codec !== 0) {
    if (options.codecs === undefined) throw new TypeError("a compressed batch needs codecs");
    const compressed = options.codecs.compress(codec, plain, options.compressionLevel);
    batch = new Uint8Array(HEADER_SIZE + compressed.length);
    batch.set(compressed, HEADER_SIZE);
  }
  writeInt64(batch, BASE_OFFSET_AT, options.baseOffset ?? 0);
  writeInt32(batch, LENGTH_AT, batch.length - LOG_OVERHEAD);
  writeInt32(batch, LEADER_EPOCH_AT, options.leaderEpoch ?? -1);
  batch[MAGIC_AT] = MAGIC;
  writeInt16(
    batch,
    ATTRIBUTES_AT,
    codec |
      (options.logAppendTime === undefined ? 0 : TIMESTAMP_TYPE_BIT) |
      (options.transactional === true ? TRANSACTIONAL_BIT : 0) |
      (options.control === true ? CONTROL_BIT : 0),
  );
  writeInt32(batch, LAST_OFFSET_DELTA_AT, options.lastOffsetDelta ?? lastOffsetDelta);
  writeInt64(batch, BASE_TIMESTAMP_AT, baseTimestamp);
  writeInt64(batch, MAX_TIMESTAMP_AT, options.logAppendTime ?? maxTimestamp);
  writeInt64(batch, PRODUCER_ID_AT, options.producerId ?? -1);
  writeInt16(batch, PRODUCER_EPOCH_AT, options.producerEpoch ?? -1);
  writeInt32(batch, BASE_SEQUENCE_AT, options.baseSequence ?? -1);
  writeInt32(batch, RECORD_COUNT_AT, records.length);
  updateCrc(batch, 0);
  return batch;
};

export interface MarkerOptions {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly coordinatorEpoch: number;
  readonly timestamp: Timestamp;
  /** Of the topic it is for; default CreateTime. */
  readonly timestampType?: TimestampType | undefined;
  readonly baseOffset?: Offset;
  readonly leaderEpoch?: LeaderEpoch;
}

/** The control batch that ends a producer's transaction in a partition (Kafka's `withEndTransactionMarker`). */
export const buildEndTransactionMarker = (result: "abort" | "commit", options: MarkerOptions): Uint8Array => {
  const batch = buildBatch(
    [
      {
        key: controlRecordKey(result === "commit" ? ControlRecordType.COMMIT : ControlRecordType.ABORT),
        value: endTransactionMarker(options.coordinatorEpoch),
      },
    ],
    {
      timestamp: options.timestamp,
      producerId: options.producerId,
      producerEpoch: options.producerEpoch,
      baseOffset: options.baseOffset ?? 0,
      leaderEpoch: options.leaderEpoch ?? -1,
      transactional: true,
      control: true,
    },
  );
  if (options.timestampType === TimestampType.LOG_APPEND_TIME)
    setMaxTimestamp(batch, 0, options.timestampType, options.timestamp);
  return batch;
};
