/**
 * The `.snapshot` file: Kafka's producer snapshot (version 1, with its CRC) and behind it what Kafka keeps nowhere or
 * elsewhere: the whole five-batch windows, the leader epochs, and how the segment before the snapshot's offset ends.
 * Kafka's reader takes the CRC over all of it and stops before the addition, so each broker reads the other's files;
 * with the addition a clean start opens no segment.
 */
import type { Disk } from "../platform/Disk.ts";
import type { Offset, Timestamp } from "../prelude/Types.ts";
import { crc32c } from "../record/Crc32c.ts";
import { readInt16, readInt32, readInt64, readUint32, writeInt16, writeInt32, writeInt64 } from "../record/Wire.ts";
import type { EpochEntry } from "./LeaderEpochCache.ts";
import type { CachedBatch, ProducerEntry } from "./ProducerStateManager.ts";

const VERSION = 1;
const CRC_AT = 2;
const ENTRIES_AT = 6;
const ENTRY_SIZE = 46;
const BATCH_SIZE = 28;
const EPOCH_SIZE = 12;
/** "ODR1" */
const ADDITION = 0x4f445231;
const PLACE_SIZE = 60;

/** How the log lay on disk at the snapshot's offset: the last segment up to there. */
export interface SegmentEnd {
  readonly baseOffset: Offset;
  readonly size: number;
  /** Max timestamp of the segment's first batch; -1 when it has none. */
  readonly firstTimestamp: Timestamp;
  readonly maxTimestamp: Timestamp;
  /** Last offset of the batch with the max timestamp. */
  readonly maxTimestampOffset: Offset;
  readonly bytesSinceIndexEntry: number;
  /** Entries of the segment's transaction index. */
  readonly abortedTransactions: number;
  /** CRC-32C of the index files, so that a flipped bit in one is found before it misleads anyone. */
  readonly offsetIndexCrc: number;
  readonly timeIndexCrc: number;
  readonly transactionIndexCrc: number;
}

export interface LogSnapshot {
  readonly producers: ReadonlyArray<ProducerEntry>;
  /** Absent in a snapshot Kafka wrote: then windows hold the last batch only. */
  readonly addition:
    | { readonly offset: Offset; readonly epochs: ReadonlyArray<EpochEntry>; readonly end: SegmentEnd | undefined }
    | undefined;
}

/** In order of producer id, so that equal states give equal bytes. */
export const encodeSnapshot = (
  offset: Offset,
  producers: Iterable<ProducerEntry>,
  epochs: ReadonlyArray<EpochEntry>,
): Uint8Array => {
  const sorted = [...producers].sort((a, b) => a.producerId - b.producerId);
  let windows = 0;
  for (const entry of sorted) windows += 1 + entry.batches.length * BATCH_SIZE;
  const kafka = ENTRIES_AT + 4 + sorted.length * ENTRY_SIZE;
  const bytes = new Uint8Array(kafka + 4 + 8 + 4 + epochs.length * EPOCH_SIZE + windows + PLACE_SIZE);
  writeInt16(bytes, 0, VERSION);
  writeInt32(bytes, ENTRIES_AT, sorted.length);
  let at = ENTRIES_AT + 4;
  for (const entry of sorted) {
    const last = entry.batches.at(-1);
    writeInt64(bytes, at, entry.producerId);
    writeInt16(bytes, at + 8, entry.epoch);
    writeInt32(bytes, at + 10, last?.lastSequence ?? -1);
    writeInt64(bytes, at + 14, last?.lastOffset ?? -1);
    writeInt32(bytes, at + 22, last === undefined ? 0 : last.lastOffset - last.firstOffset);
    writeInt64(bytes, at + 26, entry.lastTimestamp);
    writeInt32(bytes, at + 34, entry.coordinatorEpoch);
    writeInt64(bytes, at + 38, entry.transactionFirstOffset);
    at += ENTRY_SIZE;
  }
  writeInt32(bytes, at, ADDITION);
  writeInt64(bytes, at + 4, offset);
  writeInt32(bytes, at + 12, epochs.length);
  at += 16;
  for (const { epoch, startOffset } of epochs) {
    writeInt32(bytes, at, epoch);
    writeInt64(bytes, at + 4, startOffset);
    at += EPOCH_SIZE;
  }
  for (const entry of sorted) {
    bytes[at++] = entry.batches.length;
    for (const batch of entry.batches) {
      writeInt32(bytes, at, batch.firstSequence);
      writeInt32(bytes, at + 4, batch.lastSequence);
      writeInt64(bytes, at + 8, batch.lastOffset);
      writeInt32(bytes, at + 16, batch.lastOffset - batch.firstOffset);
      writeInt64(bytes, at + 20, batch.timestamp);
      at += BATCH_SIZE;
    }
  }
  writeInt64(bytes, at, -1);
  writeCrc(bytes);
  return bytes;
};

const writeCrc = (bytes: Uint8Array): void => writeInt32(bytes, CRC_AT, crc32c(bytes, ENTRIES_AT));

/** Notes in an encoded snapshot, in place, how the log lies on disk: known to the log, not to the state. */
export const placeSnapshot = (bytes: Uint8Array, end: SegmentEnd): void => {
  const at = bytes.length - PLACE_SIZE;
  writeInt64(bytes, at, end.baseOffset);
  writeInt64(bytes, at + 8, end.size);
  writeInt64(bytes, at + 16, end.firstTimestamp);
  writeInt64(bytes, at + 24, end.maxTimestamp);
  writeInt64(bytes, at + 32, end.maxTimestampOffset);
  writeInt32(bytes, at + 40, end.bytesSinceIndexEntry);
  writeInt32(bytes, at + 44, end.abortedTransactions);
  writeInt32(bytes, at + 48, end.offsetIndexCrc);
  writeInt32(bytes, at + 52, end.timeIndexCrc);
  writeInt32(bytes, at + 56, end.transactionIndexCrc);
  writeCrc(bytes);
};

/**
 * Whether bytes read from a file tell what this snapshot does: the state, and the segment with its size. How its indexes
 * look may differ, as there is more than one right way to make them of what compaction has left.
 */
export const tellsTheSame = (bytes: Uint8Array, snapshot: Uint8Array): boolean => {
  const told = bytes.length - PLACE_SIZE + 16;
  return (
    bytes.length === snapshot.length &&
    decodeSnapshot(bytes) !== undefined &&
    Buffer.compare(bytes.subarray(ENTRIES_AT, told), snapshot.subarray(ENTRIES_AT, told)) === 0
  );
};

const firstSequenceOf = (lastSequence: number, delta: number): number => {
  if (lastSequence < 0) return -1;
  return lastSequence >= delta ? lastSequence - delta : lastSequence - delta + 0x8000_0000;
};

/** Undefined when it is cut, of another version, or its CRC is wrong: a snapshot is only believed whole. */
export const decodeSnapshot = (bytes: Uint8Array): LogSnapshot | undefined => {
  if (bytes.length < ENTRIES_AT + 4 || readInt16(bytes, 0) !== VERSION) return undefined;
  if (readUint32(bytes, CRC_AT) !== crc32c(bytes, ENTRIES_AT)) return undefined;
  const count = readInt32(bytes, ENTRIES_AT);
  const kafka = ENTRIES_AT + 4 + count * ENTRY_SIZE;
  if (count < 0 || kafka > bytes.length) return undefined;
  const added = kafka + 16 <= bytes.length && readInt32(bytes, kafka) === ADDITION;
  const epochs: EpochEntry[] = [];
  let at = kafka + 16;
  if (added) {
    for (let left = readInt32(bytes, kafka + 12); left > 0; left--) {
      epochs.push({ epoch: readInt32(bytes, at), startOffset: readInt64(bytes, at + 4) });
      at += EPOCH_SIZE;
    }
  }
  const producers: ProducerEntry[] = [];
  for (let index = 0; index < count; index++) {
    const entry = ENTRIES_AT + 4 + index * ENTRY_SIZE;
    const batches: CachedBatch[] = [];
    if (added) {
      for (let left = bytes[at++]!; left > 0; left--) {
        batches.push({
          firstSequence: readInt32(bytes, at),
          lastSequence: readInt32(bytes, at + 4),
          lastOffset: readInt64(bytes, at + 8),
          firstOffset: readInt64(bytes, at + 8) - readInt32(bytes, at + 16),
          timestamp: readInt64(bytes, at + 20),
        });
        at += BATCH_SIZE;
      }
    } else if (readInt64(bytes, entry + 14) >= 0) {
      const lastSequence = readInt32(bytes, entry + 10);
      const lastOffset = readInt64(bytes, entry + 14);
      const delta = readInt32(bytes, entry + 22);
      batches.push({
        firstSequence: firstSequenceOf(lastSequence, delta),
        lastSequence,
        firstOffset: lastOffset - delta,
        lastOffset,
        timestamp: readInt64(bytes, entry + 26),
      });
    }
    producers.push({
      producerId: readInt64(bytes, entry),
      epoch: readInt16(bytes, entry + 8),
      lastTimestamp: readInt64(bytes, entry + 26),
      coordinatorEpoch: readInt32(bytes, entry + 34),
      transactionFirstOffset: readInt64(bytes, entry + 38),
      batches,
    });
  }
  if (!added) return { producers, addition: undefined };
  const end: SegmentEnd = {
    baseOffset: readInt64(bytes, at),
    size: readInt64(bytes, at + 8),
    firstTimestamp: readInt64(bytes, at + 16),
    maxTimestamp: readInt64(bytes, at + 24),
    maxTimestampOffset: readInt64(bytes, at + 32),
    bytesSinceIndexEntry: readInt32(bytes, at + 40),
    abortedTransactions: readInt32(bytes, at + 44),
    offsetIndexCrc: readUint32(bytes, at + 48),
    timeIndexCrc: readUint32(bytes, at + 52),
    transactionIndexCrc: readUint32(bytes, at + 56),
  };
  const offset = readInt64(bytes, kafka + 4);
  return { producers, addition: { offset, epochs, end: end.baseOffset < 0 ? undefined : end } };
};

/** The one in the file `path`, named after `offset`; undefined when none is there, or one that is damaged or another's. */
export const readSnapshot = (disk: Disk, path: string, offset: Offset): LogSnapshot | undefined => {
  const bytes = disk.readFile(path);
  const snapshot = bytes === undefined ? undefined : decodeSnapshot(bytes);
  return snapshot?.addition !== undefined && snapshot.addition.offset !== offset ? undefined : snapshot;
};
