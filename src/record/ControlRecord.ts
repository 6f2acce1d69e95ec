/**
 * Control records: the single record of a control batch, which marks the end of a transaction (and, in KRaft's log,
 * other things). It owns the two small schemas, Kafka's `ControlRecordTypeSchema` (key) and `EndTxnMarker` (value):
 * both int16 version first; readers take a newer version for the one they know.
 */

import type { ControlInfo } from "./BatchInfo.ts";
import { RecordFormatError } from "./RecordFormatError.ts";
import { readInt16, readInt32, writeInt16, writeInt32 } from "./Wire.ts";

/** Kafka's `ControlRecordType`. */
export const ControlRecordType = { ABORT: 0, COMMIT: 1 } as const;

const KEY_SIZE = 4;
const MARKER_SIZE = 6;
/** What a control batch says that marks no transaction's end, or no longer has its record. */
export const OTHER_CONTROL: ControlInfo = { type: "other", coordinatorEpoch: -1 };

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
  if (type !== ControlRecordType.ABORT && type !== ControlRecordType.COMMIT) return OTHER_CONTROL;
  if (value === null || value.length < MARKER_SIZE) throw new RecordFormatError("a transaction marker is too short");
  return { type: type === ControlRecordType.COMMIT ? "commit" : "abort", coordinatorEpoch: readInt32(value, 2) };
};
