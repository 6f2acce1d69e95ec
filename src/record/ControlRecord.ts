/**
 * Control records: the single record of a control batch, which marks the end of a transaction (and, in KRaft's log,
 * other things). It owns the two small schemas, Kafka's `ControlRecordTypeSchema` (key) and `EndTxnMarker` (value):
 * both int16 version first; readers take a newer version for the one they know.
 */

import type { ControlInfo } from "./BatchInfo.ts";
import { attributesOf, batchSize, CODEC_MASK, HEADER_SIZE, RECORDS_AT, recordCountOf } from "./RecordBatch.ts";
import { RecordFormatError } from "./RecordFormatError.ts";
import { readInt16, readInt32, readVarint, readVarlong, varintEnd, writeInt16, writeInt32 } from "./Wire.ts";

/** Kafka's `ControlRecordType`. */
export const ControlRecordType = { ABORT: 0, COMMIT: 1 } as const;

const KEY_SIZE = 4;
const MARKER_SIZE = 6;
const OTHER: ControlInfo = { type: "other", coordinatorEpoch: -1 };

/** Key of a control record: version 0 and the type. */
export const controlRecordKey = (type: number): Uint8Array => {
  const key = new Uint8Array(KEY_SIZE);
  writeInt16(key, 2, type);
  return key;
};

/** Value of a transaction marker: version 0 and the epoch of the transaction coordinator that wrote it. */
export const endTransactionMarker = (coordinatorEpoch: number): Uint8Array => {
  const value = new Uint8Array(MARKER_SIZE);
  writeInt32(value, 2, coordinatorEpoch);
  return value;
};

/** What a control record's key and value say; a type that is no transaction marker is `other`. */
export const controlInfoOf = (key: Uint8Array | null, value: Uint8Array | null): ControlInfo => {
  if (key === null || key.length < KEY_SIZE) throw new RecordFormatError("a control record's key is too short");
  const type = readInt16(key, 2);
  if (type !== ControlRecordType.ABORT && type !== ControlRecordType.COMMIT) return OTHER;
  if (value === null || value.length < MARKER_SIZE) throw new RecordFormatError("a transaction marker is too short");
  return { type: type === ControlRecordType.COMMIT ? "commit" : "abort", coordinatorEpoch: readInt32(value, 2) };
};

/**
 * What the control batch at `start` says. One that compaction emptied, or that is compressed (Kafka writes none), is
 * `other`. Throws `RecordFormatError` when its record is cut or malformed.
 */
export const readControlInfo = (bytes: Uint8Array, start: number): ControlInfo => {
  if (recordCountOf(bytes, start) <= 0 || (attributesOf(bytes, start) & CODEC_MASK) !== 0) return OTHER;
  const size = batchSize(bytes, start);
  const end = start + size;
  if (size < HEADER_SIZE || end > bytes.length) throw new RecordFormatError("a control batch is cut short");
  readVarint(bytes, start + RECORDS_AT, end); // the record's length
  readVarlong(bytes, varintEnd() + 1, end); // its timestamp, behind one byte of attributes
  readVarint(bytes, varintEnd(), end); // its offset
  const keyLength = readVarint(bytes, varintEnd(), end);
  const keyStart = varintEnd();
  const keyEnd = keyStart + Math.max(keyLength, 0);
  const valueLength = readVarint(bytes, keyEnd, end);
  const valueStart = varintEnd();
  if (valueStart + valueLength > end) throw new RecordFormatError("a control record is cut short");
  return controlInfoOf(
    keyLength < 0 ? null : bytes.subarray(keyStart, keyEnd),
    valueLength < 0 ? null : bytes.subarray(valueStart, valueStart + valueLength),
  );
};
