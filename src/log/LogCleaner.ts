/**
 * Compaction of a log (Kafka's `Cleaner` and the choices of `LogCleanerManager`): what of a log can be cleaned, the map
 * of its dirty part's keys, and each group of segments written again without what is superseded. Functions over the Disk
 * port; when to rest and what time it is arrive from the caller, who also gives each cleaned segment its place.
 *
 * What must stay true: the active segment, and what is not committed, decided and durable, is never touched (C3); the
 * last batch of a group stays, if need be without records, so that a segment still ends where the next one begins and a
 * lost write is never taken for compaction.
 */
import type { Disk } from "../platform/Disk.ts";
import { isPending, type Offset, type Position, type Timestamp } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { checkCrc, readBatchInfo } from "../record/RecordBatch.ts";
import { type CleaningRules, cleanBatch, indexKeys } from "./BatchCleaner.ts";
import { scanBatches } from "./BatchScan.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { LogSegment } from "./LogSegment.ts";
import { decodeSnapshot, placeSnapshot } from "./LogSnapshot.ts";
import { type UnifiedLog, writeFully } from "./UnifiedLog.ts";

/** What of the rules of one log decides when it is cleaned. */
export interface CompactionPolicy {
  readonly minCleanableRatio: number;
  readonly minLagMs: number;
  readonly maxLagMs: number;
}

export interface CleanableBounds {
  readonly logStartOffset: Offset;
  readonly lastStableOffset: Offset;
  readonly flushedOffset: Offset;
  /** Up to where it was cleaned before; undefined: never. */
  readonly cleanedOffset: Offset | undefined;
}

export interface Cleanable {
  readonly firstDirtyOffset: Offset;
  /** Exclusive; a segment begins there. */
  readonly endOffset: Offset;
  /** Share of the bytes below `endOffset` that were not cleaned yet. */
  readonly ratio: number;
  /** Dirty enough, or a record in it is older than `max.compaction.lag.ms`. */
  readonly due: boolean;
}

/** Lets others run between slices of work; `rest` throws when the work is to be given up. */
export interface Pace {
  readonly spent: (bytes: number) => boolean;
  readonly rest: () => Promise<void>;
}

/** What can be cleaned of a log; undefined when there is nothing. */
export const cleanableOf = async (
  log: UnifiedLog,
  bounds: CleanableBounds,
  policy: CompactionPolicy,
  now: Timestamp,
): Promise<Cleanable | undefined> => {
  const { logStartOffset, lastStableOffset, flushedOffset, cleanedOffset } = bounds;
  const { segments } = log;
  const known = cleanedOffset !== undefined && cleanedOffset >= logStartOffset && cleanedOffset <= log.logEndOffset;
  const firstDirtyOffset = known ? cleanedOffset : logStartOffset;
  const highest = Math.min(lastStableOffset, flushedOffset, log.active.baseOffset);
  let cleanBytes = 0;
  let dirtyBytes = 0;
  let endOffset = segments[0]!.baseOffset;
  let overdue = false;
  for (let index = 0; index < segments.length - 1; index++) {
    const segment = segments[index]!;
    const next = segments[index + 1]!.baseOffset;
    if (next > highest) break;
    if (next <= firstDirtyOffset) {
      cleanBytes += segment.size;
      endOffset = next;
      continue;
    }
    if (policy.minLagMs > 0 && (await segment.largestTimestamp()).timestamp > now - policy.minLagMs) break;
    const first = policy.maxLagMs < now ? await segment.firstBatchTimestamp() : -1;
    if (first > 0 && first < now - policy.maxLagMs) overdue = true;
    dirtyBytes += segment.size;
    endOffset = next;
  }
  if (dirtyBytes === 0 || endOffset <= firstDirtyOffset) return undefined;
  const ratio = dirtyBytes / (cleanBytes + dirtyBytes);
  return { firstDirtyOffset, endOffset, ratio, due: overdue || ratio > policy.minCleanableRatio };
};

/** Visits the batches of a segment in slices, each one's CRC checked; the visitor stops the walk with false. */
const eachBatch = async (
  segment: LogSegment,
  pace: Pace,
  visit: (bytes: Uint8Array, at: number, info: BatchInfo, isLast: boolean) => boolean,
): Promise<boolean> => {
  const { size } = segment;
  segment.acquire();
  try {
    for (let position: Position = 0; position < size; ) {
      let ended = false;
      let damaged: Position = -1;
      const scan = await scanBatches(segment.file, position, size, (bytes, at, length, where) => {
        if (where > position && pace.spent(length)) return false;
        if (!checkCrc(bytes, at)) {
          damaged = where;
          return false;
        }
        if (visit(bytes, at, readBatchInfo(bytes, at), where + length === size)) return true;
        ended = true;
        return false;
      });
      if (ended) return false;
      if (damaged >= 0 || scan.stop === "invalid") {
        throw new CorruptLog(segment.path(".log"), scan.position, "no valid batch where one must begin");
      }
      position = scan.position;
      if (position < size) await pace.rest();
    }
    return true;
  } finally {
    segment.release();
  }
};

const abortedIn = async (log: UnifiedLog, from: Offset, to: Offset) => {
  const found = log.abortedTransactions(from, to);
  return isPending(found) ? await found : found;
};

/**
 * Fills the map of `rules` with the keys of `[from, end)` until that is done or the map is full. Answers the offset
 * (exclusive) up to which superseded records are now known; `from` when not even one batch found room.
 */
export const buildOffsetMap = async (
  log: UnifiedLog,
  from: Offset,
  end: Offset,
  rules: Pick<CleaningRules, "map" | "transactions" | "codecs" | "maxDecompressedBytes">,
  pace: Pace,
): Promise<Offset> => {
  const { map, transactions } = rules;
  transactions.add(await abortedIn(log, from, end));
  const { segments } = log;
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1]?.baseOffset ?? end;
    if (next <= from) continue;
    if (segment.baseOffset >= end) break;
    const whole = await eachBatch(segment, pace, (bytes, at, info) => indexKeys(bytes, at, info, from, rules));
    if (!whole) return Math.max(from, map.latestOffset + 1);
    map.latestOffset = next - 1;
  }
  return map.latestOffset + 1;
};

/** A segment to be cleaned and where the next one begins. */
export interface Source {
  readonly segment: LogSegment;
  readonly endOffset: Offset;
}

/** Kafka's `groupSegmentsBySize`: neighbours that fit into one segment become one. */
export const groupSegments = (log: UnifiedLog, endOffset: Offset): Source[][] => {
  const { segmentBytes, segmentIndexBytes, indexIntervalBytes } = log.config;
  const { segments } = log;
  const groups: Source[][] = [];
  let size = 0;
  for (let index = 0; index < segments.length - 1; index++) {
    const segment = segments[index]!;
    if (segment.baseOffset >= endOffset) break;
    const group = groups.at(-1);
    const total = size + segment.size;
    const source = { segment, endOffset: segments[index + 1]!.baseOffset };
    const range = source.endOffset - 1 - (group?.[0]?.segment.baseOffset ?? 0);
    const indexed = (total / Math.max(1, indexIntervalBytes)) * 12;
    if (group !== undefined && total <= segmentBytes && indexed <= segmentIndexBytes && range <= 0x7fff_ffff) {
      group.push(source);
      size = total;
    } else {
      groups.push([source]);
      size = segment.size;
    }
  }
  return groups;
};

const SWAPPED_LOG = /\.log\.swap$/;
const LEFTOVER = /\.(swap|cleaned)$/;

/**
 * Removes what a pass that failed could not take back. It must go before the next pass: a log that is opened again takes
 * the place of what it was made from, however old it is by then. No segment of the log may have its swap name.
 */
export const removeLeftovers = (disk: Disk, { directory }: UnifiedLog): void => {
  const names = disk.list(directory).filter((name) => LEFTOVER.test(name));
  const isLog = (name: string): number => (SWAPPED_LOG.test(name) ? 0 : 1);
  for (const name of names.sort((left, right) => isLog(left) - isLog(right))) disk.remove(`${directory}/${name}`);
};

/** Written at a time. */
const WRITE_BYTES = 1024 * 1024;

/**
 * Writes what stays of the group's segments into a new one and makes it durable under its `.cleaned` name; undefined
 * when nothing had to change. The caller discards it when the group is no longer what the log has.
 */
export const cleanGroup = async (
  disk: Disk,
  log: UnifiedLog,
  group: ReadonlyArray<Source>,
  rules: CleaningRules,
  pace: Pace,
): Promise<LogSegment | undefined> => {
  const [first, ...others] = group;
  if (first === undefined) return undefined;
  const { indexIntervalBytes } = log.config;
  const cleaned = LogSegment.cleaned(disk, log.directory, first.segment.baseOffset, indexIntervalBytes);
  let changed = others.length > 0;
  let chunks: Uint8Array[] = [];
  let infos: BatchInfo[] = [];
  let pending = 0;
  const write = async (): Promise<void> => {
    if (pending === 0) return;
    const taking = writeFully(cleaned.file, chunks, cleaned.size, pending);
    if (isPending(taking)) await taking;
    // An emptied batch has no record that a search by time could find.
    for (const info of infos) {
      cleaned.appended(info.recordCount === 0 ? { ...info, maxTimestamp: -1 } : info, indexIntervalBytes);
    }
    cleaned.writeIndexes(false);
    chunks = [];
    infos = [];
    pending = 0;
  };
  let due = false;
  const writing: Pace = {
    spent: (bytes) => {
      due = pace.spent(bytes);
      return due || pending >= WRITE_BYTES;
    },
    rest: async () => {
      await write();
      if (due) await pace.rest();
    },
  };
  for (const { segment } of group) segment.acquire();
  try {
    for (const [index, { segment, endOffset }] of group.entries()) {
      rules.transactions.add(await abortedIn(log, segment.baseOffset, endOffset));
      await eachBatch(segment, writing, (bytes, at, info, isLast) => {
        const kept = cleanBatch(bytes, at, info, isLast && index === group.length - 1, rules);
        if (kept.aborted !== undefined) cleaned.appendAborted(kept.aborted);
        if (kept.changed) changed = true;
        if (kept.bytes === undefined) return true;
        // The chunk it lies in is read into again after this walk.
        const own = kept.changed ? kept.bytes : kept.bytes.slice();
        chunks.push(own);
        infos.push(kept.changed ? readBatchInfo(own, 0) : info);
        pending += own.length;
        return true;
      });
      await write();
    }
    if (!changed) {
      cleaned.discard();
      return undefined;
    }
    cleaned.seal();
    await cleaned.indexesSaved();
    for (const file of [cleaned.file, ...cleaned.filesToFlush()]) {
      const flushing = file.flush();
      if (isPending(flushing)) await flushing;
    }
    cleaned.closeFlushed();
    const flushing = disk.flushDirectory(log.directory);
    if (isPending(flushing)) await flushing;
    return cleaned;
  } catch (error) {
    cleaned.discard();
    throw error;
  } finally {
    for (const { segment } of group) segment.release();
  }
};

/** Makes the snapshot behind a cleaned segment that is in its place say again how the segment ends. */
export const describeCleaned = async (disk: Disk, log: UnifiedLog, cleaned: LogSegment): Promise<void> => {
  const next = log.segments[log.segments.indexOf(cleaned) + 1];
  if (next === undefined) return;
  const path = next.path(".snapshot");
  const snapshot = disk.readFile(path);
  // Kafka's own snapshots say nothing of segments.
  if (snapshot === undefined || decodeSnapshot(snapshot)?.addition?.offset !== next.baseOffset) return;
  placeSnapshot(snapshot, cleaned.end());
  const file = disk.open(`${path}.tmp`, "write");
  try {
    file.truncate(0);
    await writeFully(file, [snapshot], 0, snapshot.length);
    await file.flush();
  } finally {
    file.close();
  }
  if (log.segments.includes(cleaned) && log.segments.includes(next)) disk.rename(`${path}.tmp`, path);
  else disk.remove(`${path}.tmp`);
};
