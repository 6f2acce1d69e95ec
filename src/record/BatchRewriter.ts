/**
 * Writes a batch's records anew: the one place where a broker does more to a client's batch than change its header. It
 * puts wrong offset deltas right and stores the records with another codec (a topic's own `compression.type`); keys,
 * values, headers and timestamps come out byte by byte as they went in; but where the client says that its batch has one
 * time (bit 3, which its topic then takes away), each record has that one from now on, as in Kafka.
 */

import { type Codecs, isCompressionCodec } from "./Compression.ts";
import {
  ATTRIBUTES_AT,
  attributesOf,
  BASE_TIMESTAMP_AT,
  HEADER_SIZE,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAX_TIMESTAMP_AT,
  TIMESTAMP_TYPE_BIT,
  TimestampType,
  TRANSACTIONAL_BIT,
  timestampTypeOf,
} from "./RecordBatch.ts";
import { readVarint, readVarlong, sizeOfVarint, varintEnd, writeInt16, writeInt32, writeVarint } from "./Wire.ts";

/**
 * A copy of `batch` with offset deltas 0, 1, 2, … and stored with `codec`. `plain` is its records, decompressed and known
 * to be `count` well-formed ones. The CRC is left to the caller.
 */
export const rewriteBatch = (
  batch: Uint8Array,
  plain: Uint8Array,
  count: number,
  codec: number,
  codecs: Codecs,
  level: number | undefined,
): Uint8Array => {
  const attributes = attributesOf(batch, 0);
  const oneTime = timestampTypeOf(attributes) === TimestampType.LOG_APPEND_TIME;
  const numbered = renumber(plain, count, oneTime);
  const payload = isCompressionCodec(codec) ? codecs.compress(codec, numbered, level) : numbered;
  const rewritten = new Uint8Array(HEADER_SIZE + payload.length);
  rewritten.set(batch.subarray(0, HEADER_SIZE));
  if (oneTime) rewritten.set(batch.subarray(MAX_TIMESTAMP_AT, MAX_TIMESTAMP_AT + 8), BASE_TIMESTAMP_AT);
  rewritten.set(payload, HEADER_SIZE);
  writeInt32(rewritten, LENGTH_AT, rewritten.length - LOG_OVERHEAD);
  // A client's delete horizon is none, and bits without a meaning go.
  writeInt16(rewritten, ATTRIBUTES_AT, (attributes & (TIMESTAMP_TYPE_BIT | TRANSACTIONAL_BIT)) | codec);
  return rewritten;
};

/** Well-formed records with their offset deltas replaced by 0, 1, 2, …, and with `oneTime` their timestamps' by 0. */
const renumber = (plain: Uint8Array, count: number, oneTime: boolean): Uint8Array => {
  // A delta that grows from one byte to at most five may lengthen the record's own length by one.
  const renumbered = new Uint8Array(plain.length + 5 * count);
  let from = 0;
  let to = 0;
  for (let index = 0; index < count; index++) {
    const length = readVarint(plain, from, plain.length);
    const body = varintEnd();
    const end = body + length;
    readVarlong(plain, body + 1, end);
    const deltaAt = varintEnd();
    readVarint(plain, deltaAt, end);
    const rest = varintEnd();
    // The attributes and the timestamp, which is a 0 where nothing is put.
    const before = oneTime ? 2 : deltaAt - body;
    to = writeVarint(renumbered, to, before + sizeOfVarint(index) + end - rest);
    renumbered.set(plain.subarray(body, oneTime ? body + 1 : deltaAt), to);
    to = writeVarint(renumbered, to + before, index);
    renumbered.set(plain.subarray(rest, end), to);
    to += end - rest;
    from = end;
  }
  return renumbered.subarray(0, to);
};
