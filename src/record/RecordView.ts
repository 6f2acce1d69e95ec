/**
 * One record of a batch as views into the batch's (decompressed) bytes. Whoever keeps a view keeps all of those bytes;
 * headers are parsed only when asked for. For consumers, coordinators and tests: the validator walks records without
 * making one of these.
 */

import type { Offset, Timestamp } from "../prelude/Types.ts";
import { RecordFormatError } from "./RecordFormatError.ts";
import { readVarint, readVarlong, varintEnd } from "./Wire.ts";

export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** What a record takes from its batch. */
export interface RecordContext {
  readonly baseOffset: Offset;
  readonly baseTimestamp: Timestamp;
  /** Under LogAppendTime every record has the batch's max timestamp; undefined under CreateTime. */
  readonly logAppendTime: Timestamp | undefined;
}

const NO_HEADERS: readonly RecordHeader[] = [];
// A byte order mark is part of a key, as in Java.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

export class RecordView {
  readonly offset: Offset;
  readonly timestamp: Timestamp;
  readonly offsetDelta: number;
  readonly timestampDelta: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headerCount: number;
  /** Bytes of the record, its length field included. */
  readonly sizeInBytes: number;
  readonly #bytes: Uint8Array;
  readonly #headersAt: number;
  readonly #end: number;

  /** Reads the record at `at`; all of it must lie before `limit`, else `RecordFormatError`. */
  constructor(bytes: Uint8Array, at: number, limit: number, context: RecordContext) {
    const length = readVarint(bytes, at, limit);
    const bodyStart = varintEnd();
    const end = bodyStart + length;
    if (length < 0 || end > limit) throw new RecordFormatError("a record is longer than its batch");
    this.timestampDelta = readVarlong(bytes, bodyStart + 1, end); // behind one byte of attributes, unused
    this.offsetDelta = readVarint(bytes, varintEnd(), end);
    this.key = field(bytes, varintEnd(), end);
    this.value = field(bytes, fieldEnd, end);
    this.headerCount = readVarint(bytes, fieldEnd, end);
    this.#headersAt = varintEnd();
    if (this.headerCount < 0 || this.headerCount > end - this.#headersAt)
      throw new RecordFormatError("a record has an impossible number of headers");
    if (this.headerCount === 0 && this.#headersAt !== end) throw new RecordFormatError("a record has stray bytes");
    this.offset = context.baseOffset + this.offsetDelta;
    this.timestamp = context.logAppendTime ?? context.baseTimestamp + this.timestampDelta;
    this.sizeInBytes = end - at;
    this.#bytes = bytes;
    this.#end = end;
  }

  /** In the order they were sent; a key may come twice. Throws `RecordFormatError` when they are malformed. */
  get headers(): readonly RecordHeader[] {
    if (this.headerCount === 0) return NO_HEADERS;
    const headers: RecordHeader[] = [];
    fieldEnd = this.#headersAt;
    for (let index = 0; index < this.headerCount; index++) {
      const key = field(this.#bytes, fieldEnd, this.#end);
      if (key === null) throw new RecordFormatError("a header has no key");
      headers.push({ key: utf8.decode(key), value: field(this.#bytes, fieldEnd, this.#end) });
    }
    if (fieldEnd !== this.#end) throw new RecordFormatError("a record has stray bytes");
    return headers;
  }
}

let fieldEnd = 0;

/** A length-prefixed view, null for a negative length; leaves its end in `fieldEnd`. */
const field = (bytes: Uint8Array, at: number, limit: number): Uint8Array | null => {
  const length = readVarint(bytes, at, limit);
  const start = varintEnd();
  fieldEnd = length < 0 ? start : start + length;
  if (fieldEnd > limit) throw new RecordFormatError("a field is longer than its record");
  return length < 0 ? null : bytes.subarray(start, fieldEnd);
};
