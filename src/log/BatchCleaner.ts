/**
 * Compaction of one batch (Kafka's `Cleaner.cleanInto` and `MemoryRecords.filterTo`): which of its records stay, and the
 * batch without the others. What must stay true (C1–C6): offsets, order, epochs, timestamps and sequence range of what
 * stays never change; of each key the newest record stays, a tombstone until its horizon has passed; the last batch of a
 * live producer stays, if need be without records. Pure: the time arrives in the rules.
 */
import { invariant } from "../prelude/Invariant.ts";
import type { Offset, ProducerEpoch, ProducerId, Timestamp } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { type Codecs, isCompressionCodec } from "../record/Compression.ts";
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_TIMESTAMP_AT,
  CODEC_MASK,
  codecOf,
  DELETE_HORIZON_BIT,
  HEADER_SIZE,
  hasDeleteHorizon,
  isControl,
  LENGTH_AT,
  LOG_OVERHEAD,
  MAX_TIMESTAMP_AT,
  RECORD_COUNT_AT,
  recordBytes,
  TIMESTAMP_TYPE_BIT,
  updateCrc,
} from "../record/RecordBatch.ts";
import { RecordFormatError } from "../record/RecordFormatError.ts";
import {
  readVarint,
  readVarlong,
  sizeOfVarint,
  sizeOfVarlong,
  varintEnd,
  writeInt16,
  writeInt32,
  writeInt64,
  writeVarint,
  writeVarlong,
} from "../record/Wire.ts";
import type { CleanedTransactions } from "./CleanedTransactions.ts";
import type { OffsetMap } from "./OffsetMap.ts";
import type { AbortedTransaction } from "./TransactionIndex.ts";

/** A live producer's last batch: what a retry is compared with. */
export interface LastBatch {
  /** -1 when it has only markers. */
  readonly lastOffset: Offset;
  readonly epoch: ProducerEpoch;
}

export interface CleaningRules {
  readonly map: OffsetMap;
  readonly transactions: CleanedTransactions;
  readonly producers: ReadonlyMap<ProducerId, LastBatch>;
  readonly highWatermark: Offset;
  readonly now: Timestamp;
  /** `delete.retention.ms`. */
  readonly deleteRetentionMs: number;
  readonly codecs: Codecs;
  /** What one batch may decompress to. */
  readonly maxDecompressedBytes: number;
}

export interface CleanedBatch {
  /** The batch as it stays (a view of the source when nothing changed); undefined: it goes. */
  readonly bytes: Uint8Array | undefined;
  /** A marker that stays for data that went this time. */
  readonly aborted: AbortedTransaction | undefined;
  /** Whether this is not the batch that was. */
  readonly changed: boolean;
}

/** One record's places in its batch's (decompressed) bytes; reused, so that a walk allocates nothing. */
class RecordWalk {
  start = 0;
  end = 0;
  timestampAt = 0;
  timestampDelta = 0;
  deltaAt = 0;
  offsetDelta = 0;
  /** -1: no key. */
  keyStart = -1;
  keyEnd = -1;
  hasValue = false;

  /** Reads the record at `at`; its end is `end`. */
  read(bytes: Uint8Array, at: number): void {
    this.start = at;
    const length = readVarint(bytes, at, bytes.length);
    const body = varintEnd();
    this.end = body + length;
    if (length < 1 || this.end > bytes.length) throw new RecordFormatError("a record is longer than its batch");
    this.timestampAt = body + 1;
    this.timestampDelta = readVarlong(bytes, body + 1, this.end);
    this.deltaAt = varintEnd();
    this.offsetDelta = readVarint(bytes, this.deltaAt, this.end);
    const keyLength = readVarint(bytes, varintEnd(), this.end);
    this.keyStart = keyLength < 0 ? -1 : varintEnd();
    this.keyEnd = keyLength < 0 ? varintEnd() : varintEnd() + keyLength;
    if (this.keyEnd > this.end) throw new RecordFormatError("a key is longer than its record");
    this.hasValue = readVarint(bytes, this.keyEnd, this.end) >= 0;
  }
}

const walk = new RecordWalk();

/**
 * Takes the keys of a batch into the map; false when the map is full: then records from `startOffset` on may be in it
 * though `latestOffset` is below the batch, which makes older ones go and keeps these.
 */
export const indexKeys = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  startOffset: Offset,
  rules: Pick<CleaningRules, "map" | "transactions" | "codecs" | "maxDecompressedBytes">,
): boolean => {
  const { map, transactions, codecs, maxDecompressedBytes } = rules;
  if (isControl(info.attributes)) transactions.marker(info);
  else if (!transactions.isAborted(info) && info.lastOffset >= startOffset) {
    const plain = info.recordCount === 0 ? bytes : recordBytes(bytes, at, codecs, maxDecompressedBytes);
    let position = 0;
    for (let left = info.recordCount; left > 0; left--) {
      walk.read(plain, position);
      position = walk.end;
      const offset = info.baseOffset + walk.offsetDelta;
      if (walk.keyStart < 0 || offset < startOffset) continue;
      if (map.isFull) return false;
      map.put(plain, walk.keyStart, walk.keyEnd, offset);
    }
  }
  if (info.lastOffset >= startOffset) map.latestOffset = info.lastOffset;
  return true;
};

/** What stays of the whole batch at `at`. `keepsPlace`: it must stay, if need be without records. */
export const cleanBatch = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  keepsPlace: boolean,
  rules: CleaningRules,
): CleanedBatch => {
  const { transactions, now } = rules;
  const control = isControl(info.attributes);
  const horizon = hasDeleteHorizon(info.attributes) ? info.baseTimestamp : undefined;
  const nextHorizon = horizonOf(rules);
  const marker = control ? transactions.marker(info) : undefined;
  const gone = marker === undefined ? transactions.isAborted(info) : marker.outlived;
  // Markers stay until readers that saw the data have had time to see how it ended.
  const allGo = gone && (!control || (horizon !== undefined && horizon <= now));
  const place = keepsPlace || isLastOfProducer(info, control, rules) || info.lastOffset + 1 === rules.highWatermark;
  const aborted = marker?.indexed;
  if (allGo && !place) return { bytes: undefined, aborted, changed: true };
  const original = (): CleanedBatch => ({ bytes: bytes.subarray(at, at + info.sizeInBytes), aborted, changed: false });
  if (info.recordCount === 0) return place ? original() : { bytes: undefined, aborted, changed: true };
  if (allGo) return { bytes: emptied(bytes, at, info), aborted, changed: true };
  if (control) {
    if (!gone || horizon !== undefined || nextHorizon === undefined) return original();
    return { bytes: withHorizon(bytes, at, info, nextHorizon, rules), aborted, changed: true };
  }
  const kept = keptRecords(bytes, at, info, horizon, rules);
  if (kept.count === 0) {
    return { bytes: place ? emptied(bytes, at, info) : undefined, aborted, changed: true };
  }
  const needsHorizon = kept.tombstones && horizon === undefined && nextHorizon !== undefined;
  if (kept.count === info.recordCount && !needsHorizon) return original();
  const base = needsHorizon ? nextHorizon : info.baseTimestamp;
  return { bytes: rebuilt(bytes, at, info, kept, base, needsHorizon, rules.codecs), aborted, changed: true };
};

/** From when on what is first cleaned now may go; undefined: never, the time is one that no batch can have. */
const horizonOf = ({ now, deleteRetentionMs }: CleaningRules): Timestamp | undefined => {
  const horizon = now + deleteRetentionMs;
  return Number.isSafeInteger(horizon) ? horizon : undefined;
};

const isLastOfProducer = (info: BatchInfo, control: boolean, { producers }: CleaningRules): boolean => {
  if (info.producerId < 0) return false;
  const last = producers.get(info.producerId);
  if (last === undefined) return false;
  if (last.lastOffset >= 0) return info.lastOffset === last.lastOffset;
  return control && info.producerEpoch === last.epoch;
};

interface KeptRecords {
  /** The records that stay, one behind the other, as they were. */
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly tombstones: boolean;
  readonly maxTimestamp: Timestamp;
}

const keptRecords = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  horizon: Timestamp | undefined,
  { map, now, codecs, maxDecompressedBytes }: CleaningRules,
): KeptRecords => {
  const plain = recordBytes(bytes, at, codecs, maxDecompressedBytes);
  const tombstonesStay = horizon === undefined || now < horizon;
  let target: Uint8Array | undefined;
  let length = 0;
  let count = 0;
  let tombstones = false;
  let maxTimestamp = -1;
  let position = 0;
  // Neighbours that stay are copied together.
  let run = 0;
  for (let index = 0; index < info.recordCount; index++) {
    walk.read(plain, position);
    const { end } = walk;
    if (stays(plain, info.baseOffset + walk.offsetDelta, tombstonesStay, map)) {
      if (!walk.hasValue) tombstones = true;
      maxTimestamp = Math.max(maxTimestamp, info.baseTimestamp + walk.timestampDelta);
      count++;
    } else {
      target ??= new Uint8Array(plain.length);
      if (position > run) target.set(plain.subarray(run, position), length);
      length += position - run;
      run = end;
    }
    position = end;
  }
  if (target === undefined) return { bytes: plain.subarray(0, position), count, tombstones, maxTimestamp };
  if (position > run) target.set(plain.subarray(run, position), length);
  return { bytes: target.subarray(0, length + position - run), count, tombstones, maxTimestamp };
};

/** The record under the walk. One without a key is no record of a compacted log. */
const stays = (plain: Uint8Array, offset: Offset, tombstonesStay: boolean, map: OffsetMap): boolean => {
  if (offset > map.latestOffset) return true;
  if (walk.keyStart < 0) return false;
  return (walk.hasValue || tombstonesStay) && offset >= map.get(plain, walk.keyStart, walk.keyEnd);
};

/** The batch with the records that stay; its base offset, last offset and sequences are those it had. */
const rebuilt = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  kept: KeptRecords,
  baseTimestamp: Timestamp,
  setsHorizon: boolean,
  codecs: Codecs,
): Uint8Array => {
  const plain = setsHorizon ? rebased(kept, baseTimestamp - info.baseTimestamp) : kept.bytes;
  const codec = codecOf(info.attributes);
  const payload = isCompressionCodec(codec) ? codecs.compress(codec, plain) : plain;
  const batch = new Uint8Array(HEADER_SIZE + payload.length);
  batch.set(bytes.subarray(at, at + HEADER_SIZE));
  batch.set(payload, HEADER_SIZE);
  writeInt32(batch, LENGTH_AT, batch.length - LOG_OVERHEAD);
  if (setsHorizon) writeInt16(batch, ATTRIBUTES_AT, info.attributes | DELETE_HORIZON_BIT);
  writeInt64(batch, BASE_TIMESTAMP_AT, baseTimestamp);
  if ((info.attributes & TIMESTAMP_TYPE_BIT) === 0) writeInt64(batch, MAX_TIMESTAMP_AT, kept.maxTimestamp);
  writeInt32(batch, RECORD_COUNT_AT, kept.count);
  updateCrc(batch, 0);
  return batch;
};

/** The records with timestamps relative to a base that is `shift` later. */
const rebased = ({ bytes, count }: KeptRecords, shift: number): Uint8Array => {
  // A delta grows by nine bytes at most, the length before it by one.
  const target = new Uint8Array(bytes.length + count * 10);
  let from = 0;
  let to = 0;
  for (let left = count; left > 0; left--) {
    walk.read(bytes, from);
    const { deltaAt, end } = walk;
    const delta = walk.timestampDelta - shift;
    to = writeVarint(target, to, 1 + sizeOfVarlong(delta) + (end - deltaAt));
    target[to++] = bytes[walk.timestampAt - 1]!;
    to = writeVarlong(target, to, delta);
    target.set(bytes.subarray(deltaAt, end), to);
    to += end - deltaAt;
    from = end;
  }
  invariant(sizeOfVarint(0) === 1 && from === bytes.length, "every kept record is rebased");
  return target.subarray(0, to);
};

/** A marker whose transaction has no data left gets the time from which on it may go (KIP-534). */
const withHorizon = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  horizon: Timestamp,
  rules: CleaningRules,
): Uint8Array => {
  const plain = recordBytes(bytes, at, rules.codecs, rules.maxDecompressedBytes);
  const kept = { bytes: plain, count: info.recordCount, tombstones: false, maxTimestamp: info.maxTimestamp };
  return rebuilt(bytes, at, info, kept, horizon, true, rules.codecs);
};

/** The header alone, of a batch whose place is still needed (Kafka's `writeEmptyHeader`). */
const emptied = (bytes: Uint8Array, at: number, info: BatchInfo): Uint8Array => {
  const batch = bytes.slice(at, at + HEADER_SIZE);
  writeInt64(batch, BASE_OFFSET_AT, info.baseOffset);
  writeInt32(batch, LENGTH_AT, HEADER_SIZE - LOG_OVERHEAD);
  writeInt16(batch, ATTRIBUTES_AT, info.attributes & ~CODEC_MASK & ~DELETE_HORIZON_BIT);
  writeInt64(batch, BASE_TIMESTAMP_AT, -1);
  writeInt32(batch, RECORD_COUNT_AT, 0);
  updateCrc(batch, 0);
  return batch;
};
