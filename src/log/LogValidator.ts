/**
 * What Kafka 4.3 checks before it appends a client's batch, in its order and with its error codes: `ProduceRequest
 * .validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`. Every record is walked, compressed or
 * not; the walk makes no object per record. The input is never changed: what has to be rewritten (timestamps, offset
 * deltas, codec) is rewritten in a copy, everything else passes through as a view.
 *
 * Written deviations: a codec that does not exist is INVALID_RECORD and bytes that do not decompress CORRUPT_MESSAGE
 * (Kafka: UNKNOWN_SERVER_ERROR, which makes idempotent producers duplicate, KAFKA-14034); a batch that decompresses
 * beyond the limit is MESSAGE_TOO_LARGE (Kafka has no limit; Java answers by splitting the batch); a compressed record
 * must be as long as it says (Kafka checks it in uncompressed ones only); wrong offset deltas are put right (Kafka stores
 * them in uncompressed batches and trips over them in compressed ones); at most 10,000 record errors are listed;
 * timestamps beyond 2^53 − 1 count as that.
 */

import { Errors } from "../protocol/Errors.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { rewriteBatch } from "../record/BatchRewriter.ts";
import { type CodecId, type Codecs, CompressionError, codecName, isCompressionCodec } from "../record/Compression.ts";
import {
  ATTRIBUTES_AT,
  attributesOf,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  baseOffsetOf,
  batchAt,
  batchSize,
  checkCrc,
  codecOf,
  DEFAULT_MAX_DECOMPRESSED,
  isControl,
  isTransactional,
  LAST_OFFSET_DELTA_AT,
  LENGTH_AT,
  MAGIC,
  MAX_TIMESTAMP_AT,
  magicOf,
  maxTimestampOf,
  PRODUCER_ID_AT,
  readBatchInfo,
  recordBytes,
  recordCountOf,
  setMaxTimestamp,
  TimestampType,
  timestampTypeOf,
  updateCrc,
} from "../record/RecordBatch.ts";
import { RecordFormatError } from "../record/RecordFormatError.ts";
import { readInt16, readInt32, readInt64, readVarint, readVarlong, varintEnd } from "../record/Wire.ts";

/** Record errors beyond these are counted, not listed: one batch must not make an answer 25 times its size. */
export const MAX_RECORD_ERRORS = 10_000;
/** Produce versions below this one know no zstd (KIP-110). */
const FIRST_ZSTD_VERSION = 7;
/** Length, attributes, timestamp, offset, no key, no value, no headers: one byte each. */
const SMALLEST_RECORD = 7;

export interface ValidationRules {
  /** `topic-partition`, for the messages of record errors. */
  readonly topicPartition: string;
  /** `max.message.bytes`: of the whole batch, its 12 leading bytes included. */
  readonly maxMessageBytes: number;
  /** `segment.bytes`; unlimited when left out. */
  readonly segmentBytes?: number;
  /** `message.timestamp.type`: 0 CreateTime, 1 LogAppendTime. */
  readonly timestampType: TimestampType;
  /** `message.timestamp.before.max.ms` and `.after.max.ms`; 2^53 − 1 and above mean no limit. */
  readonly beforeMaxMs: number;
  readonly afterMaxMs: number;
  /** The broker's time; becomes the timestamp under LogAppendTime. */
  readonly now: number;
  /** Whether `cleanup.policy` has `compact`: then every record needs a key. */
  readonly compacted: boolean;
  readonly produceVersion: number;
  readonly codecs: Codecs;
  /** `compression.type` of the topic, left out for `producer`: the codec to store, with its level. */
  readonly compression?: { readonly codec: CodecId; readonly level?: number };
  /** Bound on one batch's decompressed bytes; default 100 MiB. */
  readonly maxDecompressedBytes?: number;
}

export interface ValidatedBatch {
  /** Exactly the one batch: a view of the input, or a rewritten copy. */
  readonly bytes: Uint8Array;
  /** Of `bytes`; its base offset is 0, to be shifted when the batch is stamped. */
  readonly info: BatchInfo;
  /** For the answer: `now` under LogAppendTime, else -1. */
  readonly logAppendTime: number;
}

export interface RecordError {
  readonly batchIndex: number;
  readonly message: string;
}

export interface Rejection {
  /** Kafka's code, never 0. */
  readonly error: number;
  readonly message: string | null;
  readonly recordErrors: readonly RecordError[];
  /** Kafka gives this answer to every partition of the request. */
  readonly wholeRequest?: boolean;
}

export const isRejection = (result: ValidatedBatch | Rejection): result is Rejection => "error" in result;

const NO_RECORD_ERRORS: readonly RecordError[] = [];
const reject = (error: number, message: string | null = null): Rejection => ({
  error,
  message,
  recordErrors: NO_RECORD_ERRORS,
});

/** What a partition's records in a produce request begin with, before anything is authorised. */
export interface FirstBatch {
  readonly transactional: boolean;
  /** Kafka answers a request whose first batch in any partition is like this with this for every partition. */
  readonly wholeRequest: Rejection | undefined;
}

const PLAIN: FirstBatch = { transactional: false, wholeRequest: undefined };
const TRANSACTIONAL: FirstBatch = { transactional: true, wholeRequest: undefined };

/** Looks at the first batch only (Kafka's `RequestUtils.hasTransactionalRecords`); `null` records are plain. */
export const peekFirstBatch = (bytes: Uint8Array | null): FirstBatch => {
  if (bytes === null) return PLAIN;
  const size = batchAt(bytes, 0, bytes.length);
  if (typeof size === "number") {
    const flagged = magicOf(bytes, 0) === MAGIC && isTransactional(readInt16(bytes, ATTRIBUTES_AT));
    return flagged ? TRANSACTIONAL : PLAIN;
  }
  if (size === "end" || size === "cut") return PLAIN;
  const message =
    size === "magic"
      ? `Invalid magic found in record: ${magicOf(bytes, 0)}`
      : `Record size ${readInt32(bytes, LENGTH_AT)} is less than the minimum record overhead (14)`;
  return { transactional: false, wholeRequest: { ...reject(Errors.CORRUPT_MESSAGE, message), wholeRequest: true } };
};

/**
 * What is checked before `acks` and the topic's kind are (Kafka's `ProduceRequest.validateRecords`): exactly one batch,
 * of magic 2, and no zstd for a client too old to know it. Looks at headers only. `validateBatch` includes it.
 */
export const checkOneBatch = (bytes: Uint8Array | null, produceVersion: number): Rejection | undefined => {
  if (bytes === null) return reject(Errors.INVALID_RECORD);
  const size = batchAt(bytes, 0, bytes.length);
  if (typeof size === "string")
    return reject(size === "magic" || size === "size" ? Errors.CORRUPT_MESSAGE : Errors.INVALID_RECORD);
  if (magicOf(bytes, 0) !== MAGIC) return reject(Errors.INVALID_RECORD);
  if (produceVersion < FIRST_ZSTD_VERSION && codecName(codecOf(readInt16(bytes, ATTRIBUTES_AT))) === "zstd")
    return reject(Errors.UNSUPPORTED_COMPRESSION_TYPE);
  const next = batchAt(bytes, size, bytes.length);
  if (typeof next === "number") return reject(Errors.INVALID_RECORD);
  return next === "magic" || next === "size" ? reject(Errors.CORRUPT_MESSAGE) : undefined;
};

/** Decides whether a client's batch may be appended, and as what. Pure; `bytes` is not changed. */
export const validateBatch = (bytes: Uint8Array | null, rules: ValidationRules): ValidatedBatch | Rejection => {
  const malformed = checkOneBatch(bytes, rules.produceVersion);
  if (malformed !== undefined || bytes === null) return malformed ?? reject(Errors.INVALID_RECORD);
  const size = batchSize(bytes, 0);
  if (baseOffsetOf(bytes, 0) !== 0) return reject(Errors.INVALID_RECORD);
  if (size > rules.maxMessageBytes) return reject(Errors.MESSAGE_TOO_LARGE);
  if (!checkCrc(bytes, 0)) return reject(Errors.CORRUPT_MESSAGE);
  const refused = checkHeader(bytes);
  if (refused !== undefined) return refused;
  try {
    const result = validateRecords(bytes.subarray(0, size), rules);
    return !isRejection(result) && result.info.sizeInBytes > (rules.segmentBytes ?? Number.POSITIVE_INFINITY)
      ? reject(Errors.RECORD_LIST_TOO_LARGE)
      : result;
  } catch (error) {
    if (error instanceof RecordFormatError) return reject(Errors.INVALID_RECORD);
    if (error instanceof CompressionError)
      return reject(error.reason === "too-large" ? Errors.MESSAGE_TOO_LARGE : Errors.CORRUPT_MESSAGE);
    throw error;
  }
};

/** Counts, flags and sequence of a whole batch whose CRC is right. */
const checkHeader = (bytes: Uint8Array): Rejection | undefined => {
  const attributes = attributesOf(bytes, 0);
  const codec = codecOf(attributes);
  if (codec !== 0 && !isCompressionCodec(codec)) return reject(Errors.INVALID_RECORD);
  const count = recordCountOf(bytes, 0);
  if (count <= 0 || count !== readInt32(bytes, LAST_OFFSET_DELTA_AT) + 1) return reject(Errors.INVALID_RECORD);
  if (isControl(attributes)) return reject(Errors.INVALID_RECORD);
  if (readInt64(bytes, PRODUCER_ID_AT) > -1 && readInt32(bytes, BASE_SEQUENCE_AT) < 0)
    return reject(Errors.INVALID_RECORD);
  return undefined;
};

/** What walking the records found out. */
interface Walk {
  /** The largest record timestamp, -1 when none is above it. */
  maxTimestamp: number;
  /** Whether the offset deltas are 0, 1, 2, … */
  inOrder: boolean;
  errorCount: number;
  invalidTimestamp: boolean;
  errors: RecordError[];
}

const validateRecords = (batch: Uint8Array, rules: ValidationRules): ValidatedBatch | Rejection => {
  const plain = recordBytes(batch, 0, rules.codecs, rules.maxDecompressedBytes ?? DEFAULT_MAX_DECOMPRESSED);
  const count = recordCountOf(batch, 0);
  if (count > plain.length / SMALLEST_RECORD) return reject(Errors.INVALID_RECORD);
  const walk = walkRecords(plain, count, batch, rules);
  if (walk.errorCount > 0) return rejectRecords(walk);

  const attributes = attributesOf(batch, 0);
  const source = codecOf(attributes);
  const target = rules.compression?.codec ?? source;
  const rewritten =
    walk.inOrder && target === source
      ? batch
      : rewriteBatch(batch, plain, count, target, rules.codecs, rules.compression?.level);
  if (rewritten.length > rules.maxMessageBytes) return reject(Errors.MESSAGE_TOO_LARGE);

  const logAppendTime = rules.timestampType === TimestampType.LOG_APPEND_TIME ? rules.now : -1;
  const maxTimestamp = rules.timestampType === TimestampType.LOG_APPEND_TIME ? rules.now : walk.maxTimestamp;
  let stored = rewritten;
  if (timestampTypeOf(attributes) !== rules.timestampType || maxTimestampOf(batch, 0) !== maxTimestamp) {
    if (stored === batch) stored = batch.slice();
    setMaxTimestamp(stored, 0, rules.timestampType, maxTimestamp);
  } else if (stored !== batch) updateCrc(stored, 0);
  return { bytes: stored, info: readBatchInfo(stored, 0), logAppendTime };
};

const walkRecords = (bytes: Uint8Array, count: number, batch: Uint8Array, rules: ValidationRules): Walk => {
  const walk: Walk = { maxTimestamp: -1, inOrder: true, errorCount: 0, invalidTimestamp: false, errors: [] };
  const baseTimestamp = readInt64(batch, BASE_TIMESTAMP_AT);
  const appendTimed = timestampTypeOf(attributesOf(batch, 0)) === TimestampType.LOG_APPEND_TIME;
  const appendTime = readInt64(batch, MAX_TIMESTAMP_AT);
  const createTime = rules.timestampType === TimestampType.CREATE_TIME;
  const earliest =
    rules.beforeMaxMs >= Number.MAX_SAFE_INTEGER ? Number.NEGATIVE_INFINITY : rules.now - rules.beforeMaxMs;
  const latest = rules.afterMaxMs >= Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : rules.now + rules.afterMaxMs;
  const compacted = rules.compacted;
  const end = bytes.length;
  let maxTimestamp = -1;
  let inOrder = true;
  let at = 0;
  let byte = 0;
  // Each varint is first tried as the single byte it nearly always is.
  for (let index = 0; index < count; index++) {
    let length: number;
    if (at < end && (byte = bytes[at]!) < 0x80) {
      length = (byte >>> 1) ^ -(byte & 1);
      at++;
    } else {
      length = readVarint(bytes, at, end);
      at = varintEnd();
    }
    const recordEnd = at + length;
    if (length < 0 || recordEnd > end) throw new RecordFormatError("a record is longer than its batch");
    at++; // attributes: a byte without a meaning

    let timestamp: number;
    if (at < recordEnd && (byte = bytes[at]!) < 0x80) {
      timestamp = baseTimestamp + ((byte >>> 1) ^ -(byte & 1));
      at++;
    } else {
      timestamp = baseTimestamp + readVarlong(bytes, at, recordEnd);
      at = varintEnd();
    }
    if (appendTimed) timestamp = appendTime;

    let offsetDelta: number;
    if (at < recordEnd && (byte = bytes[at]!) < 0x80) {
      offsetDelta = (byte >>> 1) ^ -(byte & 1);
      at++;
    } else {
      offsetDelta = readVarint(bytes, at, recordEnd);
      at = varintEnd();
    }
    if (offsetDelta !== index) inOrder = false;

    let keyLength: number;
    if (at < recordEnd && (byte = bytes[at]!) < 0x80) {
      keyLength = (byte >>> 1) ^ -(byte & 1);
      at++;
    } else {
      keyLength = readVarint(bytes, at, recordEnd);
      at = varintEnd();
    }
    if (keyLength > 0) at += keyLength;

    let valueLength: number;
    if (at < recordEnd && (byte = bytes[at]!) < 0x80) {
      valueLength = (byte >>> 1) ^ -(byte & 1);
      at++;
    } else {
      valueLength = readVarint(bytes, at, recordEnd);
      at = varintEnd();
    }
    if (valueLength > 0) at += valueLength;

    if (at < recordEnd && bytes[at] === 0) at++;
    else at = skipHeaders(bytes, at, recordEnd);
    if (at !== recordEnd) throw new RecordFormatError("a record is not as long as it says");

    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    if (compacted && keyLength < 0) {
      addError(
        walk,
        index,
        `Compacted topic cannot accept message without key in topic partition ${rules.topicPartition}`,
      );
    } else if (createTime && timestamp !== -1) {
      if (timestamp < earliest || timestamp > latest) {
        walk.invalidTimestamp = true;
        addError(walk, index, outOfRange(timestamp, offsetDelta, rules));
      }
    } else if (appendTimed) {
      walk.invalidTimestamp = true;
      addError(walk, index, appendTimeByProducer(batch, timestamp, offsetDelta, keyLength, valueLength));
    }
  }
  if (at !== end) throw new RecordFormatError("a batch has bytes behind its last record");
  walk.maxTimestamp = Math.min(maxTimestamp, Number.MAX_SAFE_INTEGER);
  walk.inOrder = inOrder;
  return walk;
};

/** Where the headers that begin at `at` end; `RecordFormatError` when they are malformed. */
const skipHeaders = (bytes: Uint8Array, at: number, end: number): number => {
  const count = readVarint(bytes, at, end);
  let position = varintEnd();
  if (count < 0 || count > end - position) throw new RecordFormatError("a record has an impossible number of headers");
  for (let left = count; left > 0; left--) {
    const keyLength = readVarint(bytes, position, end);
    if (keyLength < 0) throw new RecordFormatError("a header has no key");
    const valueLength = readVarint(bytes, varintEnd() + keyLength, end);
    position = varintEnd() + Math.max(valueLength, 0);
  }
  return position;
};

const addError = (walk: Walk, batchIndex: number, message: string): void => {
  walk.errorCount++;
  if (walk.errors.length < MAX_RECORD_ERRORS) walk.errors.push({ batchIndex, message });
};

/** Java's `long` for a limit that a number saturated. */
const toLong = (value: number): bigint =>
  value >= Number.MAX_SAFE_INTEGER ? 0x7fff_ffff_ffff_ffffn : BigInt(Math.trunc(value));

const outOfRange = (timestamp: number, offset: number, rules: ValidationRules): string => {
  const now = BigInt(rules.now);
  const from = BigInt.asIntN(64, now - toLong(rules.beforeMaxMs));
  const to = BigInt.asIntN(64, now + toLong(rules.afterMaxMs));
  return `Timestamp ${timestamp} of message with offset ${offset} is out of range. The timestamp should be within [${from}, ${to}]`;
};

/** Names the record as Kafka's two record classes print themselves: the one of compressed batches shows -1 for null. */
const appendTimeByProducer = (
  batch: Uint8Array,
  timestamp: number,
  offset: number,
  keyLength: number,
  valueLength: number,
): string => {
  const compressed = codecOf(attributesOf(batch, 0)) !== 0;
  const shown = (length: number) => (compressed ? length : Math.max(length, 0));
  const lengths = `key=${shown(keyLength)} bytes, value=${shown(valueLength)} bytes`;
  const record = `${compressed ? "Partial" : ""}DefaultRecord(offset=${offset}, timestamp=${timestamp}, ${lengths})`;
  return `Invalid timestamp type in message ${record}. Producer should not set timestamp type to LogAppendTime.`;
};

const rejectRecords = (walk: Walk): Rejection => {
  if (walk.invalidTimestamp)
    return {
      error: Errors.INVALID_TIMESTAMP,
      message: "One or more records have been rejected due to invalid timestamp",
      recordErrors: walk.errors,
    };
  const shown = walk.errors
    .slice(0, 3)
    .map((error) => `RecordError(batchIndex=${error.batchIndex}, message='${error.message}')`)
    .join(", ");
  return {
    error: Errors.INVALID_RECORD,
    message: `One or more records have been rejected due to ${walk.errorCount} record errors in total, and only showing the first three errors at most: [${shown}]`,
    recordErrors: walk.errors,
  };
};
