/**
 * What a fetch has read, as it is delivered: record batches turned into pieces (records in their wire form, or whole
 * batches for `raw`), each with its cost in credit and the offset behind it. Made once and shared by all readers of the
 * same bytes, whatever place and credit each of them has. What must stay true: control batches and, under
 * read_committed, aborted ones are never in it; `end` lies behind everything that was read, delivered or not.
 */
import { concatenated } from "../prelude/Concatenated.ts";
import type { LeaderEpoch, Offset } from "../prelude/Types.ts";
import type { Codecs } from "../record/Compression.ts";
import {
  attributesOf,
  BASE_TIMESTAMP_AT,
  baseOffsetOf,
  batchSize,
  forEachBatch,
  isControl,
  isTransactional,
  lastOffsetOf,
  leaderEpochOf,
  maxTimestampOf,
  PRODUCER_ID_AT,
  readBatchInfo,
  recordBytes,
  recordCountOf,
  TimestampType,
  timestampTypeOf,
} from "../record/RecordBatch.ts";
import { RecordFormatError } from "../record/RecordFormatError.ts";
import { readInt64, readVarint, readVarlong, varintEnd } from "../record/Wire.ts";
import { MessagePackWriter } from "./MessagePack.ts";
import { RECORD_OVERHEAD_BYTES } from "./Messages.ts";

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: Offset;
}

export interface FetchedBytes {
  readonly records: Uint8Array;
  /** null under read_uncommitted. */
  readonly abortedTransactions: ReadonlyArray<AbortedTransaction> | null;
}

/** Four numbers and their arrays' slack. */
const BYTES_PER_PIECE = 48;

export class Delivery {
  /** By piece: where it ends in `bytes`, its last offset, its batch's leader epoch, its costs added up. */
  readonly ends: number[] = [];
  readonly lastOffsets: Offset[] = [];
  readonly epochs: LeaderEpoch[] = [];
  readonly costs: number[] = [];
  /** Undefined when every piece is one record. */
  readonly recordsUpTo: number[] | undefined;
  bytes: Uint8Array = new Uint8Array(0);

  constructor(
    readonly raw: boolean,
    /** Base offset of the first batch read. */
    readonly firstOffset: Offset,
  ) {
    this.recordsUpTo = raw ? [] : undefined;
  }

  /** The frame made of it last, for the next reader of the same pieces; `key` is what it was made for. */
  lastFrame: { readonly key: string; readonly bytes: Uint8Array } | undefined;

  endOffset: Offset = -1;
  endEpoch: LeaderEpoch = -1;

  get count(): number {
    return this.ends.length;
  }

  /** About what it holds, its last frame included. */
  get sizeInMemory(): number {
    return 2 * this.bytes.buffer.byteLength + this.count * BYTES_PER_PIECE;
  }

  startOf(piece: number): number {
    return piece === 0 ? 0 : this.ends[piece - 1]!;
  }

  /** Records in the pieces `[from, to)`. */
  records(from: number, to: number): number {
    const upTo = this.recordsUpTo;
    if (upTo === undefined) return to - from;
    return (to === 0 ? 0 : upTo[to - 1]!) - (from === 0 ? 0 : upTo[from - 1]!);
  }

  /** What the pieces `[from, to)` cost in bytes of credit. */
  cost(from: number, to: number): number {
    return (to === 0 ? 0 : this.costs[to - 1]!) - (from === 0 ? 0 : this.costs[from - 1]!);
  }

  /** The first piece with something at or above `offset`; `count` when there is none. */
  pieceAt(offset: Offset): number {
    let low = 0;
    let high = this.lastOffsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.lastOffsets[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * How many pieces from `from` on fit into so much credit and so many bytes of a frame; at least one of them if the
   * credit allows, whatever its size.
   */
  fitting(from: number, credit: { readonly records: number; readonly bytes: number }, frameBytes: number): number {
    let to = from;
    while (
      to < this.count &&
      this.records(from, to + 1) <= credit.records &&
      this.cost(from, to + 1) <= credit.bytes &&
      (to === from || this.ends[to]! - this.startOf(from) <= frameBytes)
    ) {
      to += 1;
    }
    return to - from;
  }
}

/** Kafka's rule (`CompletedFetch`): which batches of an answer a read_committed reader does not see. */
class AbortedFilter {
  private readonly waiting: AbortedTransaction[];
  private readonly producers = new Set<number>();

  constructor(aborted: ReadonlyArray<AbortedTransaction>) {
    this.waiting = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  }

  hides(bytes: Uint8Array, start: number, attributes: number): boolean {
    const last = lastOffsetOf(bytes, start);
    while (this.waiting.length > 0 && this.waiting[0]!.firstOffset <= last) {
      this.producers.add(this.waiting.shift()!.producerId);
    }
    if (!isTransactional(attributes)) return false;
    const producerId = readInt64(bytes, start + PRODUCER_ID_AT);
    if (!isControl(attributes)) return this.producers.has(producerId);
    if (readBatchInfo(bytes, start).control?.type === "abort") this.producers.delete(producerId);
    return true;
  }
}

/**
 * The delivery of an answer's whole batches; undefined when it holds none. Throws `CompressionError` or
 * `RecordFormatError` when what is stored cannot be read.
 */
export const deliveryOf = (fetched: FetchedBytes, raw: boolean, codecs: Codecs): Delivery | undefined => {
  const bytes = fetched.records;
  const filter = fetched.abortedTransactions === null ? undefined : new AbortedFilter(fetched.abortedTransactions);
  let delivery: Delivery | undefined;
  const writer = new MessagePackWriter(raw ? 0 : bytes.length + 1024);
  const kept: Uint8Array[] = [];
  forEachBatch(bytes, 0, bytes.length, (start, size) => {
    delivery ??= new Delivery(raw, baseOffsetOf(bytes, start));
    delivery.endOffset = lastOffsetOf(bytes, start) + 1;
    delivery.endEpoch = leaderEpochOf(bytes, start);
    const attributes = attributesOf(bytes, start);
    const hidden = filter?.hides(bytes, start, attributes) === true;
    if (hidden || isControl(attributes)) return true;
    if (raw) addRaw(delivery, bytes, start, size, kept);
    else addRecords(delivery, bytes, start, codecs, writer);
    return true;
  });
  if (delivery !== undefined) delivery.bytes = raw ? concatenated(kept) : writer.finish();
  return delivery;
};

const addRaw = (delivery: Delivery, bytes: Uint8Array, start: number, size: number, kept: Uint8Array[]): void => {
  kept.push(bytes.subarray(start, start + size));
  const count = Math.max(0, recordCountOf(bytes, start));
  delivery.ends.push((delivery.ends.at(-1) ?? 0) + size);
  delivery.lastOffsets.push(lastOffsetOf(bytes, start));
  delivery.epochs.push(leaderEpochOf(bytes, start));
  delivery.costs.push((delivery.costs.at(-1) ?? 0) + size);
  delivery.recordsUpTo!.push((delivery.recordsUpTo!.at(-1) ?? 0) + count);
};

const addRecords = (
  delivery: Delivery,
  bytes: Uint8Array,
  start: number,
  codecs: Codecs,
  writer: MessagePackWriter,
): void => {
  const end = start + batchSize(bytes, start);
  const payload = recordBytes(bytes.subarray(start, end), 0, codecs);
  const baseOffset = baseOffsetOf(bytes, start);
  const baseTimestamp = readInt64(bytes, start + BASE_TIMESTAMP_AT);
  const appended = timestampTypeOf(attributesOf(bytes, start)) === TimestampType.LOG_APPEND_TIME;
  const appendTime = appended ? maxTimestampOf(bytes, start) : undefined;
  const epoch = leaderEpochOf(bytes, start);
  let cost = delivery.costs.at(-1) ?? 0;
  let at = 0;
  for (let left = recordCountOf(bytes, start); left > 0; left--) {
    const length = readVarint(payload, at, payload.length);
    const body = varintEnd();
    const limit = body + length;
    if (length < 0 || limit > payload.length) throw new RecordFormatError("a record is longer than its batch");
    // Behind one byte of attributes, unused.
    const timestampDelta = readVarlong(payload, body + 1, limit);
    const offset = baseOffset + readVarint(payload, varintEnd(), limit);
    const timestamp = appendTime ?? baseTimestamp + timestampDelta;
    cost += RECORD_OVERHEAD_BYTES + writeRecord(writer, payload, varintEnd(), limit, offset, timestamp);
    at = limit;
    delivery.ends.push(writer.length);
    delivery.lastOffsets.push(offset);
    delivery.epochs.push(epoch);
    delivery.costs.push(cost);
  }
};

/** `[offset, timestamp, key, value]` and headers when there are any; answers the bytes of key, value and headers. */
const writeRecord = (
  writer: MessagePackWriter,
  payload: Uint8Array,
  fieldsAt: number,
  limit: number,
  offset: Offset,
  timestamp: number,
): number => {
  const keyLength = readVarint(payload, fieldsAt, limit);
  const keyAt = varintEnd();
  const valueLength = readVarint(payload, behind(keyAt, keyLength, limit), limit);
  const valueAt = varintEnd();
  const headerCount = readVarint(payload, behind(valueAt, valueLength, limit), limit);
  if (headerCount < 0 || headerCount > limit) {
    throw new RecordFormatError("a record has an impossible number of headers");
  }
  let at = varintEnd();
  writer.arrayHeader(headerCount > 0 ? 5 : 4);
  writer.number(offset);
  writer.number(timestamp);
  writeBytes(writer, payload, keyAt, keyLength);
  writeBytes(writer, payload, valueAt, valueLength);
  let cost = Math.max(0, keyLength) + Math.max(0, valueLength);
  if (headerCount === 0) return cost;
  writer.arrayHeader(headerCount);
  for (let left = headerCount; left > 0; left--) {
    const nameLength = readVarint(payload, at, limit);
    const nameAt = varintEnd();
    if (nameLength < 0) throw new RecordFormatError("a header has no key");
    const length = readVarint(payload, behind(nameAt, nameLength, limit), limit);
    const bytesAt = varintEnd();
    at = behind(bytesAt, length, limit);
    writer.arrayHeader(2);
    writer.stringHeader(nameLength);
    writer.raw(payload, nameAt, nameAt + nameLength);
    writeBytes(writer, payload, bytesAt, length);
    cost += nameLength + Math.max(0, length);
  }
  return cost;
};

/** Where a field of this length ends; null (a negative length) has no bytes. */
const behind = (at: number, length: number, limit: number): number => {
  const end = at + Math.max(0, length);
  if (end > limit) throw new RecordFormatError("a field is longer than its record");
  return end;
};

const writeBytes = (writer: MessagePackWriter, payload: Uint8Array, at: number, length: number): void => {
  if (length < 0) return writer.nil();
  writer.binaryHeader(length);
  writer.raw(payload, at, at + length);
};
