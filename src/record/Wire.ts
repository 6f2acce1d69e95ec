/**
 * The integers of a record batch, read and written at a position of a byte array: big-endian fixed ones and zigzag
 * varints (the encoding of Protocol Buffers, which Kafka's `ByteUtils` follows). Nothing is allocated, so that a
 * validator can walk a million records; `varintEnd` hands back where the last varint ended.
 */

import { RecordFormatError } from "./RecordFormatError.ts";

const TWO_32 = 0x1_0000_0000;
/** A high half at or above this lies beyond 2^53 − 1. */
const HIGH_LIMIT = 0x20_0000;

export const readInt16 = (bytes: Uint8Array, at: number): number => ((bytes[at]! << 24) >> 16) | bytes[at + 1]!;

export const readInt32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;

export const readUint32 = (bytes: Uint8Array, at: number): number => readInt32(bytes, at) >>> 0;

/** Joins the halves of an int64, saturated at ±(2^53 − 1). */
const joinInt64 = (high: number, low: number): number => {
  if (high >= HIGH_LIMIT) return Number.MAX_SAFE_INTEGER;
  if (high < -HIGH_LIMIT || (high === -HIGH_LIMIT && low === 0)) return -Number.MAX_SAFE_INTEGER;
  return high * TWO_32 + low;
};

/** An int64, saturated at ±(2^53 − 1). */
export const readInt64 = (bytes: Uint8Array, at: number): number =>
  joinInt64(readInt32(bytes, at), readUint32(bytes, at + 4));

export const writeInt16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
};

export const writeInt32 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
};

/** `value` is a safe integer. */
export const writeInt64 = (bytes: Uint8Array, at: number, value: number): void => {
  writeInt32(bytes, at, Math.floor(value / TWO_32));
  writeInt32(bytes, at + 4, value);
};

let end = 0;

/** Where the varint that was read or written last ended (exclusive). */
export const varintEnd = (): number => end;

/**
 * A zigzag int32 of at most five bytes, none at or behind `limit`. As in Kafka's `ByteUtils.readVarint` the bits of a
 * fifth byte that do not fit are dropped, and a fifth byte that says "more follows" is an error.
 */
export const readVarint = (bytes: Uint8Array, at: number, limit: number): number => {
  if (at + 1 < limit) {
    // Nearly all are one or two bytes long.
    const first = bytes[at]!;
    if (first < 0x80) {
      end = at + 1;
      return (first >>> 1) ^ -(first & 1);
    }
    const second = bytes[at + 1]!;
    if (second < 0x80) {
      end = at + 2;
      return (((first & 0x7f) | (second << 7)) >>> 1) ^ -(first & 1);
    }
  }
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    if (at >= limit) throw new RecordFormatError("a varint is cut short");
    const byte = bytes[at++]!;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      end = at;
      return (value >>> 1) ^ -(value & 1);
    }
  }
  throw new RecordFormatError("a varint is longer than five bytes");
};

/** A zigzag int64 of at most ten bytes, none at or behind `limit`, saturated at ±(2^53 − 1). */
export const readVarlong = (bytes: Uint8Array, at: number, limit: number): number => {
  if (at + 1 < limit) {
    const first = bytes[at]!;
    if (first < 0x80) {
      end = at + 1;
      return (first >>> 1) ^ -(first & 1);
    }
    const second = bytes[at + 1]!;
    if (second < 0x80) {
      end = at + 2;
      return (((first & 0x7f) | (second << 7)) >>> 1) ^ -(first & 1);
    }
  }
  let low = 0;
  let high = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (at >= limit) throw new RecordFormatError("a varlong is cut short");
    const byte = bytes[at++]!;
    const bits = byte & 0x7f;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      high = bits >>> 4;
    } else high |= bits << (shift - 32);
    if (byte < 0x80) {
      end = at;
      const sign = -(low & 1);
      return joinInt64((high >>> 1) ^ sign, ((((low >>> 1) | (high << 31)) >>> 0) ^ sign) >>> 0);
    }
  }
  throw new RecordFormatError("a varlong is longer than ten bytes");
};

/** Writes a zigzag int32 and answers where it ends. */
export const writeVarint = (bytes: Uint8Array, at: number, value: number): number => {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  while (rest >= 0x80) {
    bytes[at++] = rest | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
};

/** Writes a zigzag int64 (a safe integer) and answers where it ends. */
export const writeVarlong = (bytes: Uint8Array, at: number, value: number): number => {
  const sign = value < 0 ? -1 : 0;
  const valueHigh = Math.floor(value / TWO_32) | 0;
  const valueLow = value | 0;
  let high = (((valueHigh << 1) | (valueLow >>> 31)) ^ sign) >>> 0;
  let low = ((valueLow << 1) ^ sign) >>> 0;
  while (high !== 0 || low >= 0x80) {
    bytes[at++] = low | 0x80;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  bytes[at++] = low;
  return at;
};

/** Bytes that `writeVarint` takes for `value`, 1 … 5. */
export const sizeOfVarint = (value: number): number => {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  return zigzag === 0 ? 1 : Math.ceil((32 - Math.clz32(zigzag)) / 7);
};

/** Bytes that `writeVarlong` takes for `value`, 1 … 10. */
export const sizeOfVarlong = (value: number): number => {
  let zigzag = value < 0 ? -2 * value - 1 : 2 * value;
  let size = 1;
  for (; zigzag >= 0x80; zigzag = Math.floor(zigzag / 0x80)) size++;
  return size;
};
