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
import type { KeptBatches } from "./KeptBatches.ts";
import type { OffsetMap } from "./OffsetMap.ts";
import { Fate, type RecordFates } from "./RecordFates.ts";
import type { AbortedTransaction } from "./TransactionIndex.ts";

/** A live producer's last batch: what a retry is compared with. */
export interface LastBatch {
  /** -1 when it has only markers. */
  readonly lastOffset: Offset;
  readonly epoch: ProducerEpoch;
}

export interface CleaningRules {
  readonly map: OffsetMap;
  /** Of the records in the map. */
  readonly fates: RecordFates;
  /** Room for those of one batch that is not. */
  readonly judged: RecordFates;
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
 * Takes the keys of a batch into the map, and what is found out about its records and older ones into the fates; false
 * when the map is full: then records from `startOffset` on may be in it though `latestOffset` is below the batch, which
 * makes older ones go and keeps these.
 */
export const indexKeys = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  startOffset: Offset,
  rules: Pick<CleaningRules, "map" | "fates" | "transactions" | "codecs" | "maxDecompressedBytes">,
): boolean => {
  const { map, fates, transactions, codecs, maxDecompressedBytes } = rules;
  if (isControl(info.attributes)) transactions.marker(info);
  else if (!transactions.isAborted(info) && info.lastOffset >= startOffset) {
    const plain = info.recordCount === 0 ? bytes : recordBytes(bytes, at, codecs, maxDecompressedBytes);
    let position = 0;
    for (let left = info.recordCount; left > 0; left--) {
      walk.read(plain, position);
      position = walk.end;
      const offset = info.baseOffset + walk.offsetDelta;
      if (offset < startOffset) continue;
      if (!walk.hasValue) fates.mark(offset, Fate.tombstone);
      if (walk.keyStart < 0) fates.mark(offset, Fate.superseded);
      else if (map.stage(plain, walk.keyStart, walk.keyEnd, offset) && !map.takeStaged(fates)) return false;
    }
    if (!map.takeStaged(fates)) return false;
  }
  if (info.lastOffset >= startOffset) map.latestOffset = info.lastOffset;
  return true;
};

/**
 * Gives `kept` what stays of the whole batch at `at`; answers a marker that stays for data that went this time.
 * `keepsPlace`: the batch must stay, if need be without records.
 */
export const cleanBatch = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  keepsPlace: boolean,
  rules: CleaningRules,
  kept: KeptBatches,
): AbortedTransaction | undefined => {
  const { transactions, now } = rules;
  const control = isControl(info.attributes);
  const horizon = hasDeleteHorizon(info.attributes) ? info.baseTimestamp : undefined;
  const nextHorizon = horizonOf(rules);
  const marker = control ? transactions.marker(info) : undefined;
  const gone = marker === undefined ? transactions.isAborted(info) : marker.outlived;
  // Markers stay until readers that saw the data have had time to see how it ended.
  const allGo = gone && (!control || (horizon !== undefined && horizon <= now));
  const place = keepsPlace || isLastOfProducer(info, control, rules) || info.lastOffset + 1 === rules.highWatermark;
  if (allGo || info.recordCount === 0) empty(bytes, at, info, place, kept);
  else if (!control) cleanRecords(bytes, at, info, place, rules, kept);
  else if (!gone || horizon !== undefined || nextHorizon === undefined) kept.keep(at, at + info.sizeInBytes);
  else {
    // A marker whose transaction has no data left gets the time from which on it may go (KIP-534).
    const plain = recordBytes(bytes, at, rules.codecs, rules.maxDecompressedBytes);
    const all = { length: plain.length, count: info.recordCount, tombstones: false, maxTimestamp: info.maxTimestamp };
    rebuild(bytes, at, info, plain, all, nextHorizon, rules.codecs, kept);
  }
  return marker?.indexed;
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
  /** Bytes of the records that stay, one behind the other, as they were. */
  readonly length: number;
  readonly count: number;
  readonly tombstones: boolean;
  readonly maxTimestamp: Timestamp;
}

/** A batch of data that is not aborted, without the records that are superseded. */
const cleanRecords = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  place: boolean,
  rules: CleaningRules,
  kept: KeptBatches,
): void => {
  const { baseOffset, lastOffset, recordCount } = info;
  const { map, fates, judged, codecs, maxDecompressedBytes } = rules;
  const isKnown = fates.covers(baseOffset, lastOffset);
  // Where no offset is missing, and all are known, what is inside need not be looked at to keep or to drop all of it.
  if (isKnown && lastOffset <= map.latestOffset && lastOffset - baseOffset + 1 === recordCount) {
    const superseded = fates.count(baseOffset, lastOffset, Fate.superseded);
    if (superseded === recordCount) return empty(bytes, at, info, place, kept);
    if (superseded === 0 && fates.count(baseOffset, lastOffset, Fate.tombstone) === 0)
      return kept.keep(at, at + info.sizeInBytes);
  }
  const plain = recordBytes(bytes, at, codecs, maxDecompressedBytes);
  if (!isKnown) judge(plain, info, rules);
  const stay = moveTogether(plain, info, isKnown ? fates : judged, rules);
  if (stay.count === 0) return empty(bytes, at, info, place, kept);
  const horizon = hasDeleteHorizon(info.attributes) || !stay.tombstones ? undefined : horizonOf(rules);
  if (stay.count === recordCount && horizon === undefined) return kept.keep(at, at + info.sizeInBytes);
  rebuild(bytes, at, info, plain, stay, horizon, codecs, kept);
};

/** Asks the map about the records of a batch that it did not take in. */
const judge = (plain: Uint8Array, info: BatchInfo, { map, judged }: CleaningRules): void => {
  judged.begin(info.baseOffset);
  let position = 0;
  for (let left = info.recordCount; left > 0; left--) {
    walk.read(plain, position);
    position = walk.end;
    const offset = info.baseOffset + walk.offsetDelta;
    if (walk.keyStart < 0) judged.mark(offset, Fate.superseded);
    else if (map.stage(plain, walk.keyStart, walk.keyEnd, offset)) map.judgeStaged(judged);
  }
  map.judgeStaged(judged);
};

/** Moves the records that stay to the front of `plain`, which is left alone when all do. */
const moveTogether = (
  plain: Uint8Array,
  info: BatchInfo,
  fates: RecordFates,
  { map, now }: CleaningRules,
): KeptRecords => {
  const tombstonesStay = !hasDeleteHorizon(info.attributes) || now < info.baseTimestamp;
  let length = 0;
  let count = 0;
  let tombstones = false;
  let maxTimestamp = -1;
  let position = 0;
  // Neighbours that stay are moved together.
  let run = 0;
  for (let left = info.recordCount; left > 0; left--) {
    walk.read(plain, position);
    const { end, hasValue } = walk;
    const offset = info.baseOffset + walk.offsetDelta;
    const isCurrent = (fates.of(offset) & Fate.superseded) === 0 && (hasValue || tombstonesStay);
    if (isCurrent || offset > map.latestOffset) {
      if (!hasValue) tombstones = true;
      maxTimestamp = Math.max(maxTimestamp, info.baseTimestamp + walk.timestampDelta);
      count++;
    } else {
      if (run > length && position > run) plain.copyWithin(length, run, position);
      length += position - run;
      run = end;
    }
    position = end;
  }
  if (run > length && position > run) plain.copyWithin(length, run, position);
  return { length: length + position - run, count, tombstones, maxTimestamp };
};

/**
 * The batch with the records that stay, which are at the front of `plain`; its base offset, last offset and sequences are
 * those it had. `horizon`: one to be set.
 */
const rebuild = (
  bytes: Uint8Array,
  at: number,
  info: BatchInfo,
  plain: Uint8Array,
  stay: KeptRecords,
  horizon: Timestamp | undefined,
  codecs: Codecs,
  kept: KeptBatches,
): void => {
  const codec = codecOf(info.attributes);
  let payload = plain.subarray(0, stay.length);
  if (horizon !== undefined) payload = rebased(payload, stay.count, horizon - info.baseTimestamp);
  if (isCompressionCodec(codec)) payload = codecs.compress(codec, payload);
  writeInt32(bytes, at + LENGTH_AT, HEADER_SIZE - LOG_OVERHEAD + payload.length);
  if (horizon !== undefined) {
    writeInt16(bytes, at + ATTRIBUTES_AT, info.attributes | DELETE_HORIZON_BIT);
    writeInt64(bytes, at + BASE_TIMESTAMP_AT, horizon);
  }
  if ((info.attributes & TIMESTAMP_TYPE_BIT) === 0) writeInt64(bytes, at + MAX_TIMESTAMP_AT, stay.maxTimestamp);
  writeInt32(bytes, at + RECORD_COUNT_AT, stay.count);
  kept.changed = true;
  // Records that were not compressed are where they belong already.
  if (payload.buffer === bytes.buffer) {
    updateCrc(bytes, at);
    return kept.keep(at, at + HEADER_SIZE + payload.length);
  }
  const joined = kept.join(at, at + HEADER_SIZE, payload, at + info.sizeInBytes);
  updateCrc(joined.bytes, joined.at);
};

/** The records with timestamps relative to a base that is `shift` later. */
const rebased = (bytes: Uint8Array, count: number, shift: number): Uint8Array => {
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

/**
 * A batch without records: it goes, or where its `place` is still needed its header stays (Kafka's `writeEmptyHeader`);
 * one that was empty before stays as it is.
 */
const empty = (bytes: Uint8Array, at: number, info: BatchInfo, place: boolean, kept: KeptBatches): void => {
  if (place && info.recordCount === 0) return kept.keep(at, at + info.sizeInBytes);
  kept.changed = true;
  if (!place) return;
  writeInt32(bytes, at + LENGTH_AT, HEADER_SIZE - LOG_OVERHEAD);
  writeInt16(bytes, at + ATTRIBUTES_AT, info.attributes & ~CODEC_MASK & ~DELETE_HORIZON_BIT);
  writeInt64(bytes, at + BASE_TIMESTAMP_AT, -1);
  writeInt32(bytes, at + RECORD_COUNT_AT, 0);
  updateCrc(bytes, at);
  kept.keep(at, at + HEADER_SIZE);
};
