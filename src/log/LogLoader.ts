/**
 * Opens a partition directory: finds its segments, recovers what an unclean stop may have left, and folds the state
 * (Kafka's `LogLoader`, with its holes closed).
 *
 * After a clean stop the snapshot at the log's end says everything and no segment is opened. Otherwise batches from the
 * recovery point on are checked, indexes and aborted transactions are built again, and the state is the newest valid
 * snapshot at or before the first segment checked, plus the headers behind it.
 *
 * What must stay true: nothing below the recovery point is ever cut; a torn tail is cut; a hole of zeros (a lost or
 * reordered write) is cut there with what follows kept in a side file; anything else is `CorruptLog` and nothing is
 * touched. What was recovered counts as durable only after the ticket of `log.beginFlush()`.
 */
import { type Disk, DiskError, type DiskFile } from "../platform/Disk.ts";
import { allocateUninitialised } from "../platform/Memory.ts";
import { isPending, type MaybePending, type Offset, type Position } from "../prelude/Types.ts";
import {
  baseOffsetOf,
  batchSize,
  checkCrc,
  HEADER_SIZE,
  LOG_OVERHEAD,
  lastOffsetOf,
  MAGIC,
  magicOf,
  readBatchInfo,
} from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { decodeLeaderEpochs, LEADER_EPOCH_FILE } from "./Checkpoints.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { LeaderEpochCache } from "./LeaderEpochCache.ts";
import { LogSegment, segmentName } from "./LogSegment.ts";
import { decodeSnapshot, type LogSnapshot, placeSnapshot, type SegmentEnd } from "./LogSnapshot.ts";
import { evolve, LogState, snapshotOf } from "./LogState.ts";
import { TailBudget } from "./LogTail.ts";
import { ProducerStateManager } from "./ProducerStateManager.ts";
import { completeWindows } from "./ProducerWindows.ts";
import { type LogConfig, UnifiedLog } from "./UnifiedLog.ts";

export interface LoadOptions {
  /** The directory's clean-shutdown marker was there. */
  readonly clean: boolean;
  /** Everything below is durable and whole; 0 when the checkpoint is lost. */
  readonly recoveryPoint: Offset;
  /** From its checkpoint; 0 when that is lost. */
  readonly logStartOffset: Offset;
  /** Cut every batch at or above it (a batch boundary): truncation, and opening after a failed write. */
  readonly endOffset?: Offset;
  /** The memory tails share. */
  readonly budget?: TailBudget;
}

export interface LoadedLog {
  readonly log: UnifiedLog;
  readonly state: LogState;
  /** What was cut and why, one line each, for the operator. */
  readonly repairs: ReadonlyArray<string>;
}

const SEGMENT_SUFFIXES = [".log", ".index", ".timeindex", ".txnindex"];
const baseOf = (name: string): Offset => Number(name.slice(0, 20));

const LOG_NAME = /^\d{20}\.log$/;
const SNAPSHOT_NAME = /^\d{20}\.snapshot$/;
/** Left by a deletion, a clean-up or a replacement that a crash interrupted. */
const LEFTOVER_NAME = /\.(deleted|cleaned|tmp)$/;
/** A file of a cleaned segment on its way into the log, or not yet on it. */
const CLEANING_NAME = /^(\d{20})(\.log|\.index|\.timeindex|\.txnindex)\.(cleaned|swap)$/;
const SIDE_FILE_NAME = /^(\d{20})\.(index|timeindex|txnindex)$/;
/** A page the disk lost reads as zeros in multiples of this. */
const SECTOR = 512;
const CHUNK = 1024 * 1024;

/** Opens the log; creates nothing before the first write. Throws or rejects with `CorruptLog` or `DiskError`. */
export const loadLog = (
  disk: Disk,
  directory: string,
  config: LogConfig,
  options: LoadOptions,
): MaybePending<LoadedLog> => new Loader(disk, directory, config, options).load();

/**
 * Opens a log again after a failed write or a defect: cut to what was written whole (or to `endOffset`, where that is
 * lower), its state folded anew. Readers of the old one finish on their descriptors.
 */
export const reload = (
  disk: Disk,
  log: UnifiedLog,
  options: { readonly logStartOffset: Offset; readonly endOffset?: Offset; readonly budget?: TailBudget },
): MaybePending<LoadedLog> => {
  const endOffset = Math.min(log.logEndOffset, options.endOffset ?? log.logEndOffset);
  const recoveryPoint = Math.min(log.flushedOffset, endOffset);
  log.close();
  return loadLog(disk, log.directory, log.config, { ...options, clean: false, recoveryPoint, endOffset });
};

class Loader {
  private readonly repairs: string[] = [];
  private readonly snapshots: Offset[] = [];
  private readonly bases: Offset[] = [];
  /** Segments were removed, or had been when a flush failed: the first ticket also makes that durable. */
  private namesChanged: boolean;
  /** Whether the segment that was recovered last lacks offsets. */
  private holes = false;
  /** Cleaned segments that were about to take their place. */
  private swaps: Offset[] = [];

  constructor(
    private readonly disk: Disk,
    private readonly directory: string,
    private readonly config: LogConfig,
    private readonly options: LoadOptions,
  ) {
    this.namesChanged = options.endOffset !== undefined;
    const names = disk.list(directory);
    this.swaps = this.unfinishedSwaps(names);
    const kept = new Set(this.swaps.map(segmentName));
    const logs = new Set(names.filter((name) => LOG_NAME.test(name)).map((name) => name.slice(0, 20)));
    for (const name of names) {
      const base = name.slice(0, 20);
      // A side file means nothing without its log; it would be taken for another's that begins at the same offset.
      if (CLEANING_NAME.test(name) && !kept.has(base)) disk.remove(`${directory}/${name}`);
      else if (SIDE_FILE_NAME.test(name) && !logs.has(base) && !kept.has(base)) disk.remove(`${directory}/${name}`);
      else if (LOG_NAME.test(name)) this.bases.push(Number(name.slice(0, 20)));
      else if (SNAPSHOT_NAME.test(name)) this.snapshots.push(Number(name.slice(0, 20)));
      else if (LEFTOVER_NAME.test(name)) disk.remove(`${directory}/${name}`);
    }
  }

  /**
   * Kafka's rule: a swap is finished when all files of the cleaned segment have the swap name, and undone while one of
   * them is still called cleaned: nothing it replaces was touched before that.
   */
  private unfinishedSwaps(names: ReadonlyArray<string>): Offset[] {
    const undone = new Set<string>();
    for (const name of names) if (CLEANING_NAME.exec(name)?.[3] === "cleaned") undone.add(name.slice(0, 20));
    return names.filter((name) => /^\d{20}\.log\.swap$/.test(name) && !undone.has(name.slice(0, 20))).map(baseOf);
  }

  /** Puts cleaned segments into their places; the ones they were made from go first, and durably. */
  private async finishSwaps(): Promise<LoadedLog> {
    const { disk, directory } = this;
    for (const base of this.swaps.splice(0)) {
      const file = disk.open(this.path(base, ".log.swap"), "read");
      let end = base;
      try {
        const scan = await scanBatches(file, 0, file.size(), (bytes, at) => {
          end = lastOffsetOf(bytes, at) + 1;
          return true;
        });
        if (scan.stop !== "end") throw new CorruptLog(file.path, scan.position, "no batch where one must begin");
      } finally {
        file.close();
      }
      for (const old of this.bases.filter((each) => each >= base && each < end)) {
        const suffixes = old === base ? SEGMENT_SUFFIXES : [...SEGMENT_SUFFIXES, ".snapshot"];
        for (const suffix of suffixes) disk.remove(this.path(old, suffix));
      }
      await disk.flushDirectory(directory);
      for (const suffix of SEGMENT_SUFFIXES.toReversed()) {
        const path = this.path(base, `${suffix}.swap`);
        if (disk.exists(path)) disk.rename(path, this.path(base, suffix));
      }
      this.repairs.push(`${this.path(base, ".log")}: an interrupted compaction was finished`);
    }
    await disk.flushDirectory(directory);
    // What is there now is what there is to load.
    const loaded = await new Loader(disk, directory, this.config, this.options).load();
    return { ...loaded, repairs: [...this.repairs, ...loaded.repairs] };
  }

  /** A clean or a new log is there at once; only recovery has to wait for the disk. */
  load(): MaybePending<LoadedLog> {
    if (this.swaps.length > 0) return this.finishSwaps();
    return this.fromCleanStop() ?? (this.bases.length === 0 ? this.empty() : this.recover());
  }

  private path(offset: Offset, suffix: string): string {
    return `${this.directory}/${segmentName(offset)}${suffix}`;
  }

  private readSnapshot(offset: Offset): LogSnapshot | undefined {
    const bytes = this.disk.readFile(this.path(offset, ".snapshot"));
    const snapshot = bytes === undefined ? undefined : decodeSnapshot(bytes);
    return snapshot?.addition !== undefined && snapshot.addition.offset !== offset ? undefined : snapshot;
  }

  private segment(index: number): LogSegment {
    const base = this.bases[index]!;
    const next = this.bases[index + 1];
    const describe = (): SegmentEnd | undefined =>
      next === undefined ? undefined : this.readSnapshot(next)?.addition?.end;
    const segment = new LogSegment(this.disk, this.directory, base, describe);
    segment.indexIntervalBytes = this.config.indexIntervalBytes;
    return segment;
  }

  private finish(
    segments: LogSegment[],
    state: LogState,
    flushedOffset: Offset,
    recovered: ReadonlyArray<LogSegment>,
  ): LoadedLog {
    const { config, disk, directory, repairs } = this;
    state.logStartOffset = Math.max(this.options.logStartOffset, segments[0]!.baseOffset);
    state.leaderEpochs.truncateFromStart(state.logStartOffset);
    const budget = this.options.budget ?? new TailBudget();
    const log = new UnifiedLog(
      disk,
      directory,
      config,
      segments,
      state.logEndOffset,
      flushedOffset,
      budget,
      recovered,
      this.namesChanged,
    );
    return { log, state, repairs };
  }

  /** The snapshot at the log's end names the active segment and its size: when they agree nothing else is read. */
  private fromCleanStop(): LoadedLog | undefined {
    const { clean, endOffset } = this.options;
    const offset = this.snapshots.at(-1);
    if (!clean || endOffset !== undefined || offset === undefined || this.bases.length === 0) return undefined;
    const snapshot = this.readSnapshot(offset);
    const end = snapshot?.addition?.end;
    if (snapshot === undefined || end === undefined || end.baseOffset !== this.bases.at(-1)) return undefined;
    if (offset < this.options.logStartOffset) return undefined;
    if (this.disk.fileSize(this.path(end.baseOffset, ".log")) !== end.size) return undefined;
    const segments = this.bases.map((_, index) => this.segment(index));
    segments.at(-1)!.adopt(end, true);
    return this.finish(segments, stateOf(snapshot, offset), offset, []);
  }

  // — recovery

  private async recover(): Promise<LoadedLog> {
    const { recoveryPoint, endOffset = Number.POSITIVE_INFINITY } = this.options;
    // Before the segments: of a directory without any, its newest snapshot says where the log begins.
    this.dropSnapshotsAbove(endOffset);
    this.dropFrom(
      this.bases.findIndex((base) => base >= endOffset),
      false,
    );
    if (this.bases.length === 0) return this.empty();
    let first = this.bases.length - 1;
    while (first > 0 && this.bases[first]! > recoveryPoint) first--;
    let state = await this.stateAt(first);
    const segments = this.bases.slice(0, first).map((_, index) => this.segment(index));
    const recovered: LogSegment[] = [];
    for (let index = first; index < this.bases.length; index++) {
      const segment = this.segment(index);
      const outcome = await this.recoverSegment(segment, index, state);
      segments.push(segment);
      recovered.push(segment);
      if (outcome !== "whole") {
        this.dropFrom(index + 1, outcome === "damaged");
        break;
      }
      if (index === this.bases.length - 1) {
        state = this.beforeCompaction(state.logEndOffset, state);
        break;
      }
      if (!this.continues(segment, index, state)) {
        this.dropFrom(index + 1, true);
        break;
      }
      state = this.beforeCompaction(this.bases[index + 1]!, state);
      this.sealRecovered(segment, state);
    }
    if (state.logEndOffset < Math.min(recoveryPoint, endOffset)) {
      throw new CorruptLog(
        this.directory,
        -1,
        `the log ends at ${state.logEndOffset}, but is durable up to ${recoveryPoint}`,
      );
    }
    if (state.logEndOffset < this.options.logStartOffset) return this.beginAnew(state.logEndOffset, recovered);
    segments.at(-1)!.writeIndexes(true);
    this.dropSnapshotsAbove(state.logEndOffset);
    const flushedOffset = Math.min(recoveryPoint, state.logEndOffset);
    return this.finish(segments, this.exactState(state, recoveryPoint), flushedOffset, recovered);
  }

  /**
   * Compaction takes batches, and with them leader epochs and what a producer's window knew: whoever read in such an epoch
   * would be told that the log was cut. The snapshot behind a segment that it has made holes in says what was there: it
   * was durable before the first of them. How it says the segment ends may be how it ended before or after a swap.
   */
  private beforeCompaction(next: Offset, folded: LogState): LogState {
    if (!this.holes && folded.logEndOffset === next) return folded;
    const snapshot = this.readSnapshot(next);
    const known = snapshot?.addition?.epochs ?? [];
    const isOfThisLog = folded.leaderEpochs.entries.every(({ epoch, startOffset }) =>
      known.some((entry) => entry.epoch === epoch && entry.startOffset <= startOffset),
    );
    return snapshot?.addition !== undefined && isOfThisLog ? stateOf(snapshot, next) : folded;
  }

  /**
   * Compaction takes batches that a producer's window still knew. Where the log ends at a snapshot that is durable (the
   * active segment is empty), that one knows more than the batches do.
   */
  private exactState(folded: LogState, recoveryPoint: Offset): LogState {
    const offset = folded.logEndOffset;
    const snapshot = offset <= recoveryPoint ? this.readSnapshot(offset) : undefined;
    return snapshot?.addition === undefined ? folded : stateOf(snapshot, offset);
  }

  /**
   * The last writes were lost, and of what is left a client had everything deleted: an offset is never given out again, so
   * the log begins where it was told to (as Kafka's does), and what is left is kept aside.
   */
  private beginAnew(end: Offset, opened: ReadonlyArray<LogSegment>): LoadedLog {
    for (const segment of opened) segment.retire();
    this.repairs.push(
      `${this.directory}: ends at ${end}, before its start: begun anew there, its segments are kept aside`,
    );
    this.dropFrom(0, true);
    return this.empty();
  }

  /** No segment is there: a new log, or one whose last record went by retention and whose producers live on. */
  private empty(): LoadedLog {
    const { logStartOffset, endOffset, recoveryPoint } = this.options;
    let state = new LogState(endOffset === undefined ? logStartOffset : Math.min(endOffset, logStartOffset));
    for (const offset of [...this.snapshots].reverse()) {
      if (offset < logStartOffset || (endOffset !== undefined && offset > endOffset)) continue;
      const snapshot = this.readSnapshot(offset);
      if (snapshot?.addition === undefined) continue;
      state = stateOf(snapshot, offset);
      break;
    }
    if (endOffset === undefined && state.logEndOffset < recoveryPoint) {
      throw new CorruptLog(this.directory, -1, `no segment is there, but the log is durable up to ${recoveryPoint}`);
    }
    this.dropSnapshotsAbove(state.logEndOffset);
    const segment = new LogSegment(this.disk, this.directory, state.logEndOffset);
    segment.begin();
    return this.finish([segment], state, state.logEndOffset, []);
  }

  /**
   * Removes segments that were asked to be cut; keeps them aside when a hole before them is the reason. The last one
   * goes first: whatever part of this a power cut undoes, what is left is a log from its beginning on.
   */
  private dropFrom(index: number, keep: boolean): void {
    if (index < 0 || index >= this.bases.length) return;
    this.namesChanged = true;
    for (const base of this.bases.splice(index).reverse()) {
      for (const suffix of [".index", ".timeindex", ".txnindex"]) this.disk.remove(this.path(base, suffix));
      if (keep) this.disk.rename(this.path(base, ".log"), this.path(base, ".log.cut"));
      else this.disk.remove(this.path(base, ".log"));
    }
  }

  /** They speak of batches that are cut: left behind, they would describe what grows in their place. */
  private dropSnapshotsAbove(endOffset: Offset): void {
    while (this.snapshots.length > 0 && this.snapshots.at(-1)! > endOffset) {
      this.disk.remove(this.path(this.snapshots.pop()!, ".snapshot"));
    }
  }

  /** The state at the beginning of segment `index`. */
  private async stateAt(index: number): Promise<LogState> {
    const target = this.bases[index]!;
    for (const offset of [...this.snapshots].reverse()) {
      if (offset > target) continue;
      const snapshot = this.readSnapshot(offset);
      const state = snapshot === undefined ? undefined : await this.stateFrom(snapshot, offset);
      if (state === undefined) continue;
      let from = index;
      while (from > 0 && this.bases[from]! > offset) from--;
      await this.replay(state, from, index);
      return state;
    }
    const state = new LogState(this.bases[0]!);
    await this.replay(state, 0, index);
    return state;
  }

  /** The state a snapshot holds; Kafka's needs its leader epoch file and the headers before it as well. */
  private async stateFrom(snapshot: LogSnapshot, offset: Offset): Promise<LogState | undefined> {
    if (snapshot.addition !== undefined) return stateOf(snapshot, offset);
    const bytes = this.disk.readFile(`${this.directory}/${LEADER_EPOCH_FILE}`);
    const entries = bytes === undefined ? undefined : decodeLeaderEpochs(bytes);
    if (entries === undefined) return undefined;
    const epochs = LeaderEpochCache.of(entries);
    epochs.truncateFromEnd(offset);
    const paths = this.bases.filter((base) => base < offset).map((base) => this.path(base, ".log"));
    const producers = await completeWindows(this.disk, paths, offset, snapshot.producers);
    return new LogState(0, offset, ProducerStateManager.of(producers), epochs);
  }

  /** Folds the headers of segments `[from, to)` from the state's end on. They are below the recovery point. */
  private async replay(state: LogState, from: number, to: number): Promise<void> {
    for (let index = from; index < to; index++) {
      const path = this.path(this.bases[index]!, ".log");
      const file = this.disk.open(path, "read");
      try {
        const scan = await scanBatches(file, 0, file.size(), (bytes, at) => {
          if (baseOffsetOf(bytes, at) >= state.logEndOffset) evolve(state, readBatchInfo(bytes, at));
          return true;
        });
        if (scan.stop !== "end") throw new CorruptLog(path, scan.position, "no batch where one must begin");
      } finally {
        file.close();
      }
    }
  }

  /** Checks and folds one segment. Unless it was whole nothing behind it belongs to the log any more. */
  private async recoverSegment(
    segment: LogSegment,
    index: number,
    state: LogState,
  ): Promise<"whole" | "cut" | "damaged"> {
    const { recoveryPoint, endOffset = Number.POSITIVE_INFINITY } = this.options;
    segment.beginRecovery();
    const { file } = segment;
    const size = file.size();
    let wanted = true;
    let undurable: Position = -1;
    this.holes = false;
    const scan = await scanBatches(file, 0, size, (bytes, at, _, position) => {
      const base = baseOffsetOf(bytes, at);
      const last = lastOffsetOf(bytes, at);
      if (base >= endOffset) {
        wanted = false;
        return false;
      }
      if (base < Math.max(state.logEndOffset, segment.baseOffset) || last < base) return false;
      if (last >= recoveryPoint && !checkCrc(bytes, at)) return false;
      if (last >= recoveryPoint && undurable < 0) undurable = position;
      if (base > state.logEndOffset) this.holes = true;
      const info = readBatchInfo(bytes, at);
      const ended = evolve(state, info);
      segment.recovered(info, position);
      if (ended?.aborted) segment.appendAborted(ended);
      return true;
    });
    if (scan.stop !== "end") {
      if (wanted) await this.judge(segment, index, file, scan.position, size, state);
      file.truncate(scan.position);
    }
    if (undurable >= 0) await this.rewrite(file, undurable, scan.position);
    if (scan.stop === "end") return "whole";
    return wanted ? "damaged" : "cut";
  }

  /**
   * Writes `[start, end)` of a file onto itself. A flush that failed before this process leaves bytes that read back but
   * that the kernel holds for clean: only a new write makes the next flush mean them (Rebello et al., ATC 2020).
   */
  private async rewrite(file: DiskFile, start: Position, end: Position): Promise<void> {
    const chunk = allocateUninitialised(Math.min(CHUNK, end - start));
    for (let position = start; position < end; ) {
      const there = await file.readAside(chunk.subarray(0, Math.min(chunk.length, end - position)), position);
      if (there === 0) throw new DiskError("EIO", "read", file.path, `nothing at ${position}`);
      for (let done = 0; done < there; ) {
        done += await file.write([chunk.subarray(done, there)], position + done);
      }
      position += there;
    }
  }

  /**
   * Whether the next segment begins where this one ends. Where it begins later, either compaction took what was between
   * (the snapshot there says that the segment ends like this, or is Kafka's own), or its last writes were lost.
   */
  private continues(segment: LogSegment, index: number, state: LogState): boolean {
    const next = this.bases[index + 1]!;
    if (next === state.logEndOffset) return true;
    const path = segment.path(".log");
    if (next < state.logEndOffset) throw new CorruptLog(path, -1, `overlaps the segment at ${next}`);
    const snapshot = this.readSnapshot(next);
    const end = snapshot?.addition?.end;
    if (snapshot !== undefined && (snapshot.addition === undefined || end?.size === segment.size)) return true;
    if (state.logEndOffset < this.options.recoveryPoint) {
      throw new CorruptLog(path, segment.size, `ends at ${state.logEndOffset}, below the recovery point`);
    }
    this.repairs.push(`${path}: ends at ${state.logEndOffset}; the segments from ${next} on are kept aside`);
    return false;
  }

  /** Damage at `position`: returns when it may be cut there, throws when it may not. */
  private async judge(
    segment: LogSegment,
    index: number,
    file: DiskFile,
    position: Position,
    size: number,
    state: LogState,
  ): Promise<void> {
    const path = segment.path(".log");
    const where = `${path} at ${position} (offset ${state.logEndOffset})`;
    if (state.logEndOffset < Math.min(this.options.recoveryPoint, this.options.endOffset ?? Number.POSITIVE_INFINITY)) {
      throw new CorruptLog(path, position, `damage below the recovery point ${this.options.recoveryPoint}`);
    }
    const laterSegments = this.bases
      .slice(index + 1)
      .some((base) => (this.disk.fileSize(this.path(base, ".log")) ?? 0) > 0);
    const follows = await batchFollows(file, position, size, state.logEndOffset);
    // The file itself ends inside the batch: what is missing was never written, also when later segments were.
    if (!follows && (!laterSegments || (await endsInside(file, position, size)))) {
      this.repairs.push(`${where}: torn tail of ${size - position} bytes cut`);
      return;
    }
    if (!(await readsAsZeros(file, position, size, state.logEndOffset))) {
      throw new CorruptLog(path, position, "damage with valid batches behind it");
    }
    const aside = `${path}.cut-${position}`;
    await this.copy(file, position, size, aside);
    this.repairs.push(`${where}: a lost write reads as zeros; ${size - position} bytes cut and kept in ${aside}`);
  }

  private async copy(file: DiskFile, start: Position, end: Position, path: string): Promise<void> {
    const target = this.disk.open(path, "write");
    try {
      const chunk = new Uint8Array(CHUNK);
      for (let position = start; position < end; ) {
        const there = await file.readAside(chunk.subarray(0, Math.min(CHUNK, end - position)), position);
        if (there === 0) break;
        for (let done = 0; done < there; ) {
          done += await target.write([chunk.subarray(done, there)], position - start + done);
        }
        position += there;
      }
      await target.flush();
    } finally {
      target.close();
    }
  }

  /** A recovered segment that is not the last: sealed, with the snapshot behind it written anew. */
  private sealRecovered(segment: LogSegment, state: LogState): void {
    const snapshot = snapshotOf(state);
    placeSnapshot(snapshot, segment.seal());
    this.disk.replaceFile(this.path(state.logEndOffset, ".snapshot"), snapshot);
  }
}

const stateOf = (snapshot: LogSnapshot, offset: Offset): LogState =>
  new LogState(
    0,
    offset,
    ProducerStateManager.of(snapshot.producers),
    LeaderEpochCache.of(snapshot.addition?.epochs ?? []),
  );

/**
 * Whether a whole batch with a right CRC begins anywhere behind `position`, at any byte, whatever lies before it. Base
 * offsets below the log's end are ghosts of an earlier truncation and do not count.
 */
const batchFollows = async (file: DiskFile, position: Position, size: number, endOffset: Offset): Promise<boolean> => {
  const chunk = allocateUninitialised(Math.min(CHUNK, Math.max(0, size - position)));
  for (let start = position + 1; start + HEADER_SIZE <= size; ) {
    const there = await file.readAside(chunk.subarray(0, Math.min(chunk.length, size - start)), start);
    if (there < HEADER_SIZE) return false;
    const last = there - HEADER_SIZE;
    for (let at = 0; at <= last; at++) {
      if (chunk[at + 16] !== MAGIC || chunk[at] !== 0) continue;
      const batch = batchSize(chunk, at);
      if (batch < HEADER_SIZE || start + at + batch > size || baseOffsetOf(chunk, at) < endOffset) continue;
      if (at + batch <= there) {
        if (checkCrc(chunk.subarray(0, at + batch), at)) return true;
        continue;
      }
      const whole = allocateUninitialised(batch);
      const more = file.read(whole, start + at);
      if ((isPending(more) ? await more : more) === batch && checkCrc(whole, 0)) return true;
    }
    start += last + 1;
  }
  return false;
};

/** Whether the batch at `position` goes on behind the end of the file. */
const endsInside = async (file: DiskFile, position: Position, size: number): Promise<boolean> => {
  if (size - position < HEADER_SIZE) return true;
  const header = new Uint8Array(HEADER_SIZE);
  await file.read(header, position);
  return magicOf(header, 0) === MAGIC && position + batchSize(header, 0) > size;
};

/**
 * Whether the batch at `position` lacks bytes that the disk never got: within one sector all that belongs to it reads
 * as zeros. `expectedOffset` is its base offset if it is the next one, whose high bytes are zeros by right.
 */
const readsAsZeros = async (
  file: DiskFile,
  position: Position,
  size: number,
  expectedOffset: Offset,
): Promise<boolean> => {
  const header = new Uint8Array(HEADER_SIZE);
  const got = await file.read(header, position);
  const batch = got >= LOG_OVERHEAD ? batchSize(header, 0) : 0;
  const length = batch >= HEADER_SIZE && position + batch <= size ? batch : got;
  const chunk = new Uint8Array(SECTOR);
  for (let start = position; start < position + length; ) {
    const sectorEnd = (Math.floor(start / SECTOR) + 1) * SECTOR;
    const view = chunk.subarray(0, Math.min(sectorEnd, position + length) - start);
    const zeros = (await file.read(view, start)) === view.length && view.every((byte) => byte === 0);
    const byRight = start === position && view.length < 8 && expectedOffset < 2 ** (64 - 8 * view.length);
    if (zeros && !byRight) return true;
    start += view.length;
  }
  return false;
};
