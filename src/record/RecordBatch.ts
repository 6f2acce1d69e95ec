/**
 * Record batch v2 (magic 2, KIP-98) as functions over the bytes it lies in: where each header field is, what the header
 * says, the few fields a broker may change, and the batches of a chunk. Views, no copies; pure, so that a browser runs
 * it too. The CRC covers everything from the attributes on: base offset and leader epoch may change without it, nothing
 * else may.
 *
 * `bytes` and `start` name a batch throughout: `start` is the position of its base offset.
 */

import type { LeaderEpoch, Offset, Sequence, Timestamp } from "../prelude/Types.ts";
import type { BatchInfo, ControlInfo } from "./BatchInfo.ts";
import { type Codecs, CompressionError, isCompressionCodec } from "./Compression.ts";
import { controlInfoOf, OTHER_CONTROL } from "./ControlRecord.ts";
import { crc32c } from "./Crc32c.ts";
import { RecordFormatError } from "./RecordFormatError.ts";
import { RecordView } from "./RecordView.ts";
import { readInt16, readInt32, readInt64, readUint32, writeInt16, writeInt32, writeInt64 } from "./Wire.ts";

// Where each field begins, relative to the batch (Kafka's `DefaultRecordBatch`).
export const BASE_OFFSET_AT = 0;
export const LENGTH_AT = 8;
export const LEADER_EPOCH_AT = 12;
export const MAGIC_AT = 16;
export const CRC_AT = 17;
export const ATTRIBUTES_AT = 21;
export const LAST_OFFSET_DELTA_AT = 23;
export const BASE_TIMESTAMP_AT = 27;
export const MAX_TIMESTAMP_AT = 35;
export const PRODUCER_ID_AT = 43;
export const PRODUCER_EPOCH_AT = 51;
export const BASE_SEQUENCE_AT = 53;
export const RECORD_COUNT_AT = 57;
export const RECORDS_AT = 61;

/** Bytes that the batch's own length field does not count: base offset and length. */
export const LOG_OVERHEAD = 12;
/** Bytes of a batch before its first record. */
export const HEADER_SIZE = RECORDS_AT;
/** The only record format since Kafka 4.0. */
export const MAGIC = 2;
/** The smallest length field Kafka's reader lets through (a record of magic 0); a batch of magic 2 has at least 49. */
const SMALLEST_LENGTH = 14;

// Bits of the attributes.
export const CODEC_MASK = 0x07;
export const TIMESTAMP_TYPE_BIT = 0x08;
export const TRANSACTIONAL_BIT = 0x10;
export const CONTROL_BIT = 0x20;
export const DELETE_HORIZON_BIT = 0x40;
/** What Kafka keeps of the attributes when it writes them anew. */
const KNOWN_ATTRIBUTES = 0x7f;

/** Kafka's `TimestampType`: bit 3 of the attributes. */
export const TimestampType = { CREATE_TIME: 0, LOG_APPEND_TIME: 1 } as const;
export type TimestampType = 0 | 1;

/** Bytes of the whole batch, as its header says. Needs 12 readable bytes; says nothing about what is there. */
export const batchSize = (bytes: Uint8Array, start: number): number =>
  LOG_OVERHEAD + readInt32(bytes, start + LENGTH_AT);

export const baseOffsetOf = (bytes: Uint8Array, start: number): Offset => readInt64(bytes, start + BASE_OFFSET_AT);

/** Inclusive. */
export const lastOffsetOf = (bytes: Uint8Array, start: number): Offset =>
  readInt64(bytes, start + BASE_OFFSET_AT) + readInt32(bytes, start + LAST_OFFSET_DELTA_AT);

export const leaderEpochOf = (bytes: Uint8Array, start: number): LeaderEpoch =>
  readInt32(bytes, start + LEADER_EPOCH_AT);

/** An int8: 2, or whatever is there. */
export const magicOf = (bytes: Uint8Array, start: number): number => (bytes[start + MAGIC_AT]! << 24) >> 24;

export const attributesOf = (bytes: Uint8Array, start: number): number => readInt16(bytes, start + ATTRIBUTES_AT);

export const maxTimestampOf = (bytes: Uint8Array, start: number): Timestamp =>
  readInt64(bytes, start + MAX_TIMESTAMP_AT);

export const recordCountOf = (bytes: Uint8Array, start: number): number => readInt32(bytes, start + RECORD_COUNT_AT);

/** 0–7; 5, 6 and 7 name no codec. */
export const codecOf = (attributes: number): number => attributes & CODEC_MASK;
export const timestampTypeOf = (attributes: number): TimestampType => (attributes & TIMESTAMP_TYPE_BIT ? 1 : 0);
export const isTransactional = (attributes: number): boolean => (attributes & TRANSACTIONAL_BIT) !== 0;
export const isControl = (attributes: number): boolean => (attributes & CONTROL_BIT) !== 0;
export const hasDeleteHorizon = (attributes: number): boolean => (attributes & DELETE_HORIZON_BIT) !== 0;

/** The sequence `increment` records later; 2^31 − 1 is followed by 0 (Kafka's `incrementSequence`). */
export const addToSequence = (sequence: Sequence, increment: number): Sequence => {
  const sum = sequence + increment;
  return sum > 0x7fffffff ? sum - 0x80000000 : sum;
};

/** The CRC the header holds, unsigned. */
export const storedCrc = (bytes: Uint8Array, start: number): number => readUint32(bytes, start + CRC_AT);

/** The CRC the bytes have, unsigned. The whole batch must be there. */
export const crcOf = (bytes: Uint8Array, start: number): number =>
  crc32c(bytes, start + ATTRIBUTES_AT, start + batchSize(bytes, start));

/** Whether the whole batch is there, at least a header long, and its CRC right (Kafka's `isValid`). */
export const checkCrc = (bytes: Uint8Array, start: number): boolean => {
  const size = batchSize(bytes, start);
  return size >= HEADER_SIZE && start + size <= bytes.length && storedCrc(bytes, start) === crcOf(bytes, start);
};

/** The one record of a control batch. One that compaction emptied, or that is compressed (Kafka writes none), is `other`. */
const controlInfoAt = (bytes: Uint8Array, start: number, attributes: number): ControlInfo => {
  if (recordCountOf(bytes, start) <= 0 || codecOf(attributes) !== 0) return OTHER_CONTROL;
  const end = start + batchSize(bytes, start);
  if (end > bytes.length) throw new RecordFormatError("a control batch is cut short");
  const context = { baseOffset: 0, baseTimestamp: 0, logAppendTime: undefined };
  const record = new RecordView(bytes, start + RECORDS_AT, end, context);
  return controlInfoOf(record.key, record.value);
};

/**
 * The header as an event. Of a control batch (whose record must be there too) it also reads key and value. Throws
 * `RecordFormatError` when the header, or a control batch's record, is cut; checks nothing else.
 */
export const readBatchInfo = (bytes: Uint8Array, start: number): BatchInfo => {
  if (start + HEADER_SIZE > bytes.length) throw new RecordFormatError("a batch header is cut short");
  const attributes = attributesOf(bytes, start);
  const baseOffset = baseOffsetOf(bytes, start);
  const lastOffsetDelta = readInt32(bytes, start + LAST_OFFSET_DELTA_AT);
  const baseSequence = readInt32(bytes, start + BASE_SEQUENCE_AT);
  const info: BatchInfo = {
    baseOffset,
    lastOffset: baseOffset + lastOffsetDelta,
    leaderEpoch: leaderEpochOf(bytes, start),
    sizeInBytes: batchSize(bytes, start),
    attributes,
    baseTimestamp: readInt64(bytes, start + BASE_TIMESTAMP_AT),
    maxTimestamp: maxTimestampOf(bytes, start),
    producerId: readInt64(bytes, start + PRODUCER_ID_AT),
    producerEpoch: readInt16(bytes, start + PRODUCER_EPOCH_AT),
    baseSequence,
    lastSequence: baseSequence === -1 ? -1 : addToSequence(baseSequence, lastOffsetDelta),
    recordCount: recordCountOf(bytes, start),
  };
  return isControl(attributes) ? { ...info, control: controlInfoAt(bytes, start, attributes) } : info;
};

/** Gives an appended batch its place, in `bytes` itself. Neither field is under the CRC. */
export const stampBatch = (bytes: Uint8Array, start: number, baseOffset: Offset, leaderEpoch: LeaderEpoch): void => {
  writeInt64(bytes, start + BASE_OFFSET_AT, baseOffset);
  writeInt32(bytes, start + LEADER_EPOCH_AT, leaderEpoch);
};

/** Makes the stored CRC that of the bytes, in `bytes` itself. */
export const updateCrc = (bytes: Uint8Array, start: number): void =>
  writeInt32(bytes, start + CRC_AT, crcOf(bytes, start));

/**
 * Sets timestamp type and max timestamp with a new CRC, in `bytes` itself. The base timestamp stays: under
 * `LOG_APPEND_TIME` every record counts as `maxTimestamp`, whatever its delta says. Attribute bits without a meaning
 * are cleared, as Kafka's `setMaxTimestamp` does.
 */
export const setMaxTimestamp = (
  bytes: Uint8Array,
  start: number,
  type: TimestampType,
  maxTimestamp: Timestamp,
): void => {
  const kept = attributesOf(bytes, start) & KNOWN_ATTRIBUTES & ~TIMESTAMP_TYPE_BIT;
  writeInt16(bytes, start + ATTRIBUTES_AT, type === TimestampType.LOG_APPEND_TIME ? kept | TIMESTAMP_TYPE_BIT : kept);
  writeInt64(bytes, start + MAX_TIMESTAMP_AT, maxTimestamp);
  updateCrc(bytes, start);
};

/**
 * Why there is no (further) batch: `end` nothing is left; `cut` a batch begins and is not whole; `size` its length is
 * below what any batch has; `magic` it is of no known format (0 and 1 are known, and for the caller to refuse).
 */
export type BatchStop = "end" | "cut" | "size" | "magic";

/**
 * The size of the batch at `start` if all of it lies before `end`, else why not. Looks at length and magic as Kafka's
 * `ByteBufferLogInputStream` does, so a "batch" of a few bytes with a wrong CRC is still one here.
 */
export const batchAt = (bytes: Uint8Array, start: number, end: number): number | BatchStop => {
  const left = end - start;
  if (left === 0) return "end";
  if (left < LOG_OVERHEAD) return "cut";
  const length = readInt32(bytes, start + LENGTH_AT);
  if (length < SMALLEST_LENGTH) return "size";
  if (left <= MAGIC_AT) return "cut";
  const magic = magicOf(bytes, start);
  if (magic < 0 || magic > MAGIC) return "magic";
  return left < LOG_OVERHEAD + length ? "cut" : LOG_OVERHEAD + length;
};

/** What `forEachBatch` saw: every batch before `position` was visited. */
export interface BatchScan {
  readonly position: number;
  /** `stopped`: the visitor said false. */
  readonly stop: BatchStop | "stopped";
}

/** Visits the whole batches of `bytes[start, end)` in order, until the visitor answers false or no whole one is left. */
export const forEachBatch = (
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (start: number, size: number) => boolean | undefined,
): BatchScan => {
  for (let position = start; ; ) {
    const size = batchAt(bytes, position, end);
    if (typeof size === "string") return { position, stop: size };
    if (visit(position, size) === false) return { position, stop: "stopped" };
    position += size;
  }
};

/** How much one batch may decompress to unless the caller says otherwise: 100 MiB, Kafka's largest request. */
export const DEFAULT_MAX_DECOMPRESSED = 100 * 1024 * 1024;

/**
 * The bytes of the records, decompressed when they have to be (else a view). Throws `CompressionError`, also for a codec
 * that does not exist, and `RecordFormatError` when the batch is not all there.
 */
export const recordBytes = (
  bytes: Uint8Array,
  start: number,
  codecs: Codecs,
  maxDecompressed = DEFAULT_MAX_DECOMPRESSED,
): Uint8Array => {
  const size = batchSize(bytes, start);
  if (size < HEADER_SIZE || start + size > bytes.length) throw new RecordFormatError("a batch is cut short");
  const payload = bytes.subarray(start + RECORDS_AT, start + size);
  const codec = codecOf(attributesOf(bytes, start));
  if (codec === 0) return payload;
  if (!isCompressionCodec(codec)) throw new CompressionError("corrupt", `there is no codec ${codec}`);
  return codecs.decompress(codec, payload, maxDecompressed);
};

/** The records of the batch, decompressed at the first step. Throws what `recordBytes` does, and on malformed records. */
export function* records(
  bytes: Uint8Array,
  start: number,
  codecs: Codecs,
  maxDecompressed = DEFAULT_MAX_DECOMPRESSED,
): Generator<RecordView, void> {
  const payload = recordBytes(bytes, start, codecs, maxDecompressed);
  const context = {
    baseOffset: baseOffsetOf(bytes, start),
    baseTimestamp: readInt64(bytes, start + BASE_TIMESTAMP_AT),
    logAppendTime:
      timestampTypeOf(attributesOf(bytes, start)) === TimestampType.LOG_APPEND_TIME
        ? maxTimestampOf(bytes, start)
        : undefined,
  };
  let at = 0;
  for (let left = recordCountOf(bytes, start); left > 0; left--) {
    const record = new RecordView(payload, at, payload.length, context);
    at += record.sizeInBytes;
    yield record;
  }
  if (at !== payload.length) throw new RecordFormatError("a batch has bytes behind its last record");
}
