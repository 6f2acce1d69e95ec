/**
 * Writes a batch's records anew: the one place where a broker does more to a client's batch than change its header. It
 * puts wrong offset deltas right and stores the records with another codec (a topic's own `compression.type`); keys,
 * values, headers and timestamps come out byte by byte as they went in.
 */

import { type Codecs, isCompressionCodec } from "./Compression.ts";
import { ATTRIBUTES_AT, attributesOf, CODEC_MASK, HEADER_SIZE, LENGTH_AT, LOG_OVERHEAD } from "./RecordBatch.ts";
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
  const numbered = renumber(plain, count);
  const payload = isCompressionCodec(codec) ? codecs.compress(codec, numbered, level) : numbered;
  const rewritten = new Uint8Array(HEADER_SIZE + payload.length);
  rewritten.set(batch.subarray(0, HEADER_SIZE));
  rewritten.set(payload, HEADER_SIZE);
  writeInt32(rewritten, LENGTH_AT, rewritten.length - LOG_OVERHEAD);
  writeInt16(rewritten, ATTRIBUTES_AT, (attributesOf(batch, 0) & ~CODEC_MASK) | codec);
  return rewritten;
};

/** Well-formed records with their offset deltas replaced by 0, 1, 2, … */
const renumber = (plain: Uint8Array, count: number): Uint8Array => {
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
    to = writeVarint(renumbered, to, deltaAt - body + sizeOfVarint(index) + end - rest);
    renumbered.set(plain.subarray(body, deltaAt), to);
    to = writeVarint(renumbered, to + deltaAt - body, index);
    renumbered.set(plain.subarray(rest, end), to);
    to += end - rest;
    from = end;
  }
  return renumbered.subarray(0, to);
};
