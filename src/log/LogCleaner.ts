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
import { buggify } from "../prelude/Buggify.ts";
import { isPending, type MaybePending, type Offset, type Position, type Timestamp } from "../prelude/Types.ts";
import { readBatchInfo } from "../record/RecordBatch.ts";
import { readBatches } from "./BatchScan.ts";
import type { CleaningWork, GroupState } from "./CleaningPass.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { LogSegment } from "./LogSegment.ts";
import { decodeSnapshot, placeSnapshot } from "./LogSnapshot.ts";
import { snapshotOf } from "./LogState.ts";
import { writeTemporary } from "./ReplaceFile.ts";
import { stateBefore } from "./StateReplay.ts";
import type { UnifiedLog } from "./UnifiedLog.ts";
import { writeFully } from "./WriteFully.ts";

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
    if (policy.minLagMs > 0 && (await segment.age()) > now - policy.minLagMs) break;
    const first = policy.maxLagMs < now ? await segment.firstBatchTimestamp() : -1;
    if (first > 0 && first < now - policy.maxLagMs) overdue = true;
    dirtyBytes += segment.size;
    endOffset = next;
  }
  if (dirtyBytes === 0 || endOffset <= firstDirtyOffset) return undefined;
  const ratio = dirtyBytes / (cleanBytes + dirtyBytes);
  return { firstDirtyOffset, endOffset, ratio, due: overdue || ratio > policy.minCleanableRatio };
};

/** Gives `visit` the segment's batches in chunks, the next one read meanwhile; false from it ends the walk, and is the answer. */
const eachChunk = async (
  segment: LogSegment,
  chunkBytes: number,
  pace: Pace,
  visit: (chunk: Uint8Array, position: Position, isLast: boolean) => Promise<boolean>,
): Promise<boolean> => {
  const { size } = segment;
  const read = (position: Position): Promise<Uint8Array | undefined> => {
    const reading = readBatches(segment.file, position, size, chunkBytes);
    // Heard by whoever awaits it; it may fail before anyone does.
    reading.catch(() => undefined);
    return reading;
  };
  segment.acquire();
  let next: Promise<Uint8Array | undefined> | undefined;
  try {
    next = size > 0 ? read(0) : undefined;
    for (let position: Position = 0; position < size; ) {
      const chunk = await next;
      if (chunk === undefined) throw damaged(segment, position);
      const { length } = chunk;
      const behind = position + length;
      next = behind < size ? read(behind) : undefined;
      const visiting = visit(chunk, position, behind === size);
      // Where another thread works, others have their turn while it does.
      const resting = pace.spent(length) || buggify("a cleaner rests early") ? pace.rest() : undefined;
      const [visited] = await settled(visiting, resting);
      if (!visited) return false;
      position = behind;
    }
    return true;
  } finally {
    // The file stays until nobody reads it.
    await next?.catch(() => undefined);
    segment.release();
  }
};

/** Both of what goes on at the same time; throws only when neither does any more. */
const settled = async <A, B>(one: MaybePending<A>, other: MaybePending<B>): Promise<[A, B]> => {
  const [first, second] = await Promise.allSettled([one, other]);
  if (first.status === "rejected") throw first.reason;
  if (second.status === "rejected") throw second.reason;
  return [first.value, second.value];
};

const damaged = (segment: LogSegment, position: Position): CorruptLog =>
  new CorruptLog(segment.path(".log"), position, "no valid batch where one must begin");

const abortedIn = async (log: UnifiedLog, from: Offset, to: Offset) => {
  const found = log.abortedTransactions(from, to);
  return isPending(found) ? await found : found;
};

/**
 * Gives `work` the keys of `[from, end)` until that is done or its map is full. Answers the offset (exclusive) up to which
 * superseded records are now known; `from` when not even one batch found room.
 */
export const buildOffsetMap = async (
  log: UnifiedLog,
  from: Offset,
  end: Offset,
  work: CleaningWork,
  pace: Pace,
): Promise<Offset> => {
  await work.aborted(await abortedIn(log, from, end));
  const { segments } = log;
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1]?.baseOffset ?? end;
    if (next <= from) continue;
    if (segment.baseOffset >= end) break;
    let latest = -1;
    const whole = await eachChunk(segment, work.chunkBytes, pace, async (chunk, position) => {
      const indexed = await work.index(chunk, from);
      if (indexed.damagedAt !== undefined) throw damaged(segment, position + indexed.damagedAt);
      latest = indexed.latestOffset;
      return !indexed.full && !(latest >= from && buggify("a cleaner's map is full early"));
    });
    if (!whole) return Math.max(from, latest + 1);
  }
  return end;
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
    const fits = total <= segmentBytes && indexed <= segmentIndexBytes && range <= 0x7fff_ffff;
    if (group !== undefined && fits && !buggify("cleaned segments stay apart")) {
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

/** Written at a time, at least: with one chunk more, what the event loop may spend on a write. */
const WRITE_BYTES = 512 * 1024;

/**
 * Writes what stays of the group's segments into a new one and makes it durable under its `.cleaned` name; undefined
 * when nothing had to change. The caller discards it when the group is no longer what the log has.
 */
export const cleanGroup = async (
  disk: Disk,
  log: UnifiedLog,
  group: ReadonlyArray<Source>,
  state: GroupState,
  work: CleaningWork,
  pace: Pace,
): Promise<LogSegment | undefined> => {
  const [first, ...others] = group;
  if (first === undefined) return undefined;
  const { indexIntervalBytes } = log.config;
  const cleaned = LogSegment.cleaned(disk, log.directory, first.segment.baseOffset, indexIntervalBytes);
  let changed = others.length > 0;
  let chunks: Uint8Array[] = [];
  let pending = 0;
  const write = async (): Promise<void> => {
    if (pending === 0) return;
    await writeFully(cleaned.file, chunks, cleaned.size, pending);
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.length; ) {
        const info = readBatchInfo(chunk, at);
        cleaned.appended(info, indexIntervalBytes);
        at += info.sizeInBytes;
      }
    }
    cleaned.indexes.write(false);
    chunks = [];
    pending = 0;
  };
  for (const { segment } of group) segment.acquire();
  try {
    await work.beginGroup(state);
    for (const [index, { segment, endOffset }] of group.entries()) {
      const aborted = await abortedIn(log, segment.baseOffset, endOffset);
      let indexed = aborted.filter(({ lastOffset }) => lastOffset < endOffset).length;
      await work.aborted(aborted);
      await eachChunk(segment, work.chunkBytes, pace, async (chunk, position, isLast) => {
        const cleaning = work.clean(chunk, isLast && index === group.length - 1);
        // What came before is written while this one is worked on.
        const [kept] = await settled(cleaning, pending >= WRITE_BYTES ? write() : undefined);
        if (kept.damagedAt !== undefined) throw damaged(segment, position + kept.damagedAt);
        for (const one of kept.aborted) cleaned.indexes.appendAborted(one);
        indexed -= kept.aborted.length;
        changed ||= kept.changed;
        chunks.push(kept.bytes);
        pending += kept.bytes.length;
        return true;
      });
      await write();
      // Nothing is left of a transaction that readers are still told to leave out.
      changed ||= indexed > 0;
    }
    if (!changed) {
      cleaned.discard();
      return undefined;
    }
    cleaned.seal();
    await cleaned.indexes.saved();
    for (const file of [cleaned.file, ...cleaned.sideFiles.openToFlush()]) await file.flush();
    cleaned.sideFiles.closeFlushed();
    await disk.flushDirectory(log.directory);
    return cleaned;
  } catch (error) {
    cleaned.discard();
    throw error;
  } finally {
    for (const { segment } of group) segment.release();
  }
};

/**
 * Before a cleaned segment takes the place of `old`: makes the snapshot behind them say how it ends, and durable, because
 * nothing else knows any more what was in the holes. One that is not there, or is damaged, is made anew as long as the
 * batches can tell.
 */
export const describeCleaned = async (
  disk: Disk,
  log: UnifiedLog,
  old: ReadonlyArray<LogSegment>,
  cleaned: LogSegment,
): Promise<void> => {
  const last = old.at(-1)!;
  const next = log.segments[log.segments.indexOf(last) + 1];
  if (next === undefined || !log.segments.includes(last)) return;
  const path = next.path(".snapshot");
  let snapshot = disk.readFile(path);
  const known = snapshot === undefined ? undefined : decodeSnapshot(snapshot);
  // Kafka's own snapshots say nothing of segments.
  if (known !== undefined && known.addition === undefined) return;
  if (snapshot === undefined || known?.addition?.offset !== next.baseOffset)
    snapshot = snapshotOf(await stateBefore(disk, log.segments, log.segments.indexOf(next)));
  placeSnapshot(snapshot, cleaned.indexes.end());
  const temporary = await writeTemporary(disk, path, snapshot);
  if (log.segments.includes(last) && log.segments.includes(next)) disk.rename(temporary, path);
  else disk.remove(temporary);
};
