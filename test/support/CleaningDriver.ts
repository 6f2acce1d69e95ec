/**
 * Compaction of a test's log without actors: the same steps in the same order as the cleaner's, and what a reader sees
 * before and after.
 */
import type { LastBatch } from "../../src/log/BatchCleaner.ts";
import { CleaningPass, type CleaningWork } from "../../src/log/CleaningPass.ts";
import { buildOffsetMap, cleanGroup, describeCleaned, groupSegments, type Pace } from "../../src/log/LogCleaner.ts";
import type { LogState } from "../../src/log/LogState.ts";
import { BYTES_PER_KEY } from "../../src/log/OffsetMap.ts";
import type { UnifiedLog } from "../../src/log/UnifiedLog.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import type { Disk } from "../../src/platform/Disk.ts";
import { forEachBatch, isControl, isTransactional, readBatchInfo, records } from "../../src/record/RecordBatch.ts";
import { readAll } from "./LogDriver.ts";

export const codecs = makeBunCodecs();

/** Rests after every batch, so that every boundary between slices is tried. */
const oneByOne: Pace = { spent: () => true, rest: async () => undefined };

export interface CleaningOptions {
  readonly now: number;
  readonly deleteRetentionMs?: number;
  /** Keys the map has room for. */
  readonly mapKeys?: number;
  readonly firstDirty?: number;
  /** Who does the work on bytes; default: here, batch by batch. */
  readonly work?: CleaningWork;
  /** Called when a group has taken its place. */
  readonly swapped?: () => void | Promise<void>;
}

/** Cleans all sealed segments; answers the offset up to which the log is clean. */
export const cleanLog = async (
  disk: Disk,
  log: UnifiedLog,
  state: LogState,
  options: CleaningOptions,
): Promise<number> => {
  const { now, deleteRetentionMs = 1000, mapKeys = 1000, firstDirty = 0 } = options;
  // A chunk is a batch, so that every boundary between chunks is tried.
  const work = options.work ?? new CleaningPass(codecs, 1);
  await work.begin({
    mapBytes: (mapKeys + 2) * BYTES_PER_KEY,
    loadFactor: mapKeys / (mapKeys + 2),
    hashKey: [1, 2, 3, 4],
    maxDecompressedBytes: 1 << 24,
  });
  const lastStable = state.lastStableOffset(state.logEndOffset);
  const ends = log.segments.map((_, index) => log.segments[index + 1]?.baseOffset ?? -1);
  const end = Math.max(0, ...ends.filter((each) => each <= lastStable));
  if (end <= firstDirty) return firstDirty;
  const cleanEnd = await buildOffsetMap(log, firstDirty, end, work, oneByOne);
  const producers = new Map<number, LastBatch>();
  for (const { producerId, epoch, batches } of state.producers.entries()) {
    producers.set(producerId, { lastOffset: batches.at(-1)?.lastOffset ?? -1, epoch });
  }
  await work.beginCleaning({ now, deleteRetentionMs });
  const live = { producers, highWatermark: state.logEndOffset };
  for (const group of groupSegments(log, cleanEnd)) {
    const cleaned = await cleanGroup(disk, log, group, live, work, oneByOne);
    if (cleaned === undefined) continue;
    const old = group.map(({ segment }) => segment);
    await describeCleaned(disk, log, old, cleaned);
    cleaned.renameToSwap();
    await disk.flushDirectory(log.directory);
    if (!log.replaceSegments(old, cleaned)) throw new Error("the segments are no longer the log's");
    await disk.flushDirectory(log.directory);
    cleaned.renameIntoPlace();
    await disk.flushDirectory(log.directory);
    for (const segment of old) segment.removeFiles();
    await options.swapped?.();
  }
  return cleanEnd;
};

export interface SeenRecord {
  readonly offset: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly timestamp: number;
  readonly leaderEpoch: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly transactional: boolean;
}

const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString("latin1");

/** Every data record of a chunk of batches, committed or not. */
export const recordsOf = (bytes: Uint8Array): SeenRecord[] => {
  const seen: SeenRecord[] = [];
  forEachBatch(bytes, 0, bytes.length, (at) => {
    const info = readBatchInfo(bytes, at);
    if (isControl(info.attributes)) return true;
    for (const { offset, key, value, timestamp } of records(bytes, at, codecs)) {
      seen.push({
        offset,
        key: text(key),
        value: text(value),
        timestamp,
        leaderEpoch: info.leaderEpoch,
        producerId: info.producerId,
        producerEpoch: info.producerEpoch,
        transactional: isTransactional(info.attributes),
      });
    }
    return true;
  });
  return seen;
};

/** What a `read_committed` consumer that begins at `from` ends up with: the newest value of each key. */
export const committedMap = async (log: UnifiedLog, upTo: number, from = 0): Promise<Map<string, string>> => {
  const bytes = await readAll(log, from);
  const aborted = await log.abortedTransactions(from, upTo);
  const waiting = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  const aborting = new Set<number>();
  const found = new Map<string, string>();
  forEachBatch(bytes, 0, bytes.length, (at) => {
    const info = readBatchInfo(bytes, at);
    if (info.lastOffset >= upTo) return false;
    while (waiting.length > 0 && waiting[0]!.firstOffset <= info.lastOffset) aborting.add(waiting.shift()!.producerId);
    if (isControl(info.attributes)) {
      if (info.control?.type === "abort") aborting.delete(info.producerId);
      return true;
    }
    if (isTransactional(info.attributes) && aborting.has(info.producerId)) return true;
    for (const { offset, key, value } of records(bytes, at, codecs)) {
      if (offset < from || key === null) continue;
      if (value === null) found.delete(text(key)!);
      else found.set(text(key)!, text(value)!);
    }
    return true;
  });
  return found;
};
