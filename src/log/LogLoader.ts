/**
 * Opens a partition directory: the order of the steps by which what an unclean stop may have left is recovered and the
 * state is folded (Kafka's `LogLoader`, with its holes closed). Which files there are `LogFiles` knows, what may be cut
 * `Damage`, and the state where recovery begins `StateReplay`.
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
import type { MaybePending, Offset, Position } from "../prelude/Types.ts";
import { baseOffsetOf, checkCrc, lastOffsetOf, readBatchInfo } from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { finishSwaps } from "./CompactionSwaps.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { type Damage, judgeDamage } from "./Damage.ts";
import { LogFiles } from "./LogFiles.ts";
import { LogSegment } from "./LogSegment.ts";
import { placeSnapshot, type SegmentEnd, tellsTheSame } from "./LogSnapshot.ts";
import { evolve, LogState, snapshotOf } from "./LogState.ts";
import { TailBudget } from "./LogTail.ts";
import { beforeCompaction, stateAt, stateOf } from "./StateReplay.ts";
import { type LogConfig, UnifiedLog } from "./UnifiedLog.ts";
import { copyFully } from "./WriteFully.ts";

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

/** Opens the log; creates nothing before the first write. Throws or rejects with `CorruptLog` or `DiskError`. */
export const loadLog = (
  disk: Disk,
  directory: string,
  config: LogConfig,
  options: LoadOptions,
): MaybePending<LoadedLog> => {
  const files = new LogFiles(disk, directory);
  if (files.swaps.length === 0) return new Loader(files, config, options).load();
  // What is there when they are finished is what there is to load.
  return finishSwaps(disk, directory, files.swaps, files.bases).then((repairs) =>
    new Loader(new LogFiles(disk, directory), config, options, repairs).load(),
  );
};

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
  /** Whether the segment that was recovered last lacks offsets. */
  private holes = false;

  constructor(
    private readonly files: LogFiles,
    private readonly config: LogConfig,
    private readonly options: LoadOptions,
    private readonly repairs: string[] = [],
  ) {}

  /** A clean or a new log is there at once; only recovery has to wait for the disk. */
  load(): MaybePending<LoadedLog> {
    return this.fromCleanStop() ?? (this.files.bases.length === 0 ? this.empty() : this.recover());
  }

  private segment(index: number): LogSegment {
    const { files } = this;
    const next = files.bases[index + 1];
    const describe = (): SegmentEnd | undefined =>
      next === undefined ? undefined : files.snapshotAt(next)?.addition?.end;
    const segment = new LogSegment(files.disk, files.directory, files.bases[index]!, describe);
    segment.indexes.intervalBytes = this.config.indexIntervalBytes;
    return segment;
  }

  private finish(
    segments: LogSegment[],
    state: LogState,
    flushedOffset: Offset,
    recovered: ReadonlyArray<LogSegment>,
  ): LoadedLog {
    const { config, files, options, repairs } = this;
    state.logStartOffset = Math.max(options.logStartOffset, segments[0]!.baseOffset);
    state.leaderEpochs.truncateFromStart(state.logStartOffset);
    const budget = options.budget ?? new TailBudget();
    // Before a flush that failed, too, segments may have been removed: the first ticket makes that durable.
    const namesChanged = files.namesChanged || options.endOffset !== undefined;
    const log = new UnifiedLog(
      files.disk,
      files.directory,
      config,
      segments,
      state.logEndOffset,
      flushedOffset,
      budget,
      recovered,
      namesChanged,
    );
    return { log, state, repairs };
  }

  /** The snapshot at the log's end names the active segment and its size: when they agree nothing else is read. */
  private fromCleanStop(): LoadedLog | undefined {
    const { files } = this;
    const { clean, endOffset, logStartOffset } = this.options;
    const offset = files.snapshots.at(-1);
    if (!clean || endOffset !== undefined || offset === undefined || files.bases.length === 0) return undefined;
    const snapshot = files.snapshotAt(offset);
    const state = stateOf(snapshot);
    const end = snapshot?.addition?.end;
    if (state === undefined || end === undefined || end.baseOffset !== files.bases.at(-1)) return undefined;
    if (offset < logStartOffset) return undefined;
    if (files.disk.fileSize(files.path(end.baseOffset, ".log")) !== end.size) return undefined;
    const segments = files.bases.map((_, index) => this.segment(index));
    segments.at(-1)!.adopt(end, true);
    return this.finish(segments, state, offset, []);
  }

  // — recovery

  private async recover(): Promise<LoadedLog> {
    const { files } = this;
    const { recoveryPoint, endOffset = Number.POSITIVE_INFINITY } = this.options;
    // Before the segments: of a directory without any, its newest snapshot says where the log begins.
    files.dropSnapshotsAbove(endOffset);
    files.dropSegmentsFrom(
      files.bases.findIndex((base) => base >= endOffset),
      false,
    );
    if (files.bases.length === 0) return this.empty();
    let first = files.bases.length - 1;
    while (first > 0 && files.bases[first]! > recoveryPoint) first--;
    let state = await stateAt(files, first);
    const segments = files.bases.slice(0, first).map((_, index) => this.segment(index));
    const recovered: LogSegment[] = [];
    for (let index = first; index < files.bases.length; index++) {
      const segment = this.segment(index);
      const outcome = await this.recoverSegment(segment, index, state);
      segments.push(segment);
      recovered.push(segment);
      if (outcome !== "whole") {
        files.dropSegmentsFrom(index + 1, outcome === "damaged");
        break;
      }
      if (index === files.bases.length - 1) {
        if (this.holes) state = beforeCompaction(files, state.logEndOffset, state);
        break;
      }
      if (!this.continues(segment, index, state)) {
        files.dropSegmentsFrom(index + 1, true);
        break;
      }
      const next = files.bases[index + 1]!;
      const compacted = this.holes || state.logEndOffset !== next;
      if (compacted) state = beforeCompaction(files, next, state);
      this.sealRecovered(segment, state, compacted);
    }
    if (state.logEndOffset < Math.min(recoveryPoint, endOffset)) {
      throw new CorruptLog(
        files.directory,
        -1,
        `the log ends at ${state.logEndOffset}, but is durable up to ${recoveryPoint}`,
      );
    }
    if (state.logEndOffset < this.options.logStartOffset) return this.beginAnew(state.logEndOffset, recovered);
    segments.at(-1)!.indexes.write(true);
    files.dropSnapshotsAbove(state.logEndOffset);
    const flushedOffset = Math.min(recoveryPoint, state.logEndOffset);
    return this.finish(segments, this.exactState(state, recoveryPoint), flushedOffset, recovered);
  }

  /**
   * Compaction takes batches that a producer's window still knew. Where the log ends at a snapshot that is durable (the
   * active segment is empty), that one knows more than the batches do.
   */
  private exactState(folded: LogState, recoveryPoint: Offset): LogState {
    const offset = folded.logEndOffset;
    return (offset <= recoveryPoint ? stateOf(this.files.snapshotAt(offset)) : undefined) ?? folded;
  }

  /**
   * The last writes were lost, and of what is left a client had everything deleted: an offset is never given out again, so
   * the log begins where it was told to (as Kafka's does), and what is left is kept aside.
   */
  private beginAnew(end: Offset, opened: ReadonlyArray<LogSegment>): LoadedLog {
    for (const segment of opened) segment.retire();
    this.repairs.push(
      `${this.files.directory}: ends at ${end}, before its start: begun anew there, its segments are kept aside`,
    );
    this.files.dropSegmentsFrom(0, true);
    return this.empty();
  }

  /** No segment is there: a new log, or one whose last record went by retention and whose producers live on. */
  private empty(): LoadedLog {
    const { files } = this;
    const { logStartOffset, endOffset, recoveryPoint } = this.options;
    let state = new LogState(endOffset === undefined ? logStartOffset : Math.min(endOffset, logStartOffset));
    for (const offset of files.snapshots.toReversed()) {
      if (offset < logStartOffset || (endOffset !== undefined && offset > endOffset)) continue;
      const known = stateOf(files.snapshotAt(offset));
      if (known === undefined) continue;
      state = known;
      break;
    }
    if (endOffset === undefined && state.logEndOffset < recoveryPoint) {
      throw new CorruptLog(files.directory, -1, `no segment is there, but the log is durable up to ${recoveryPoint}`);
    }
    files.dropSnapshotsAbove(state.logEndOffset);
    const segment = new LogSegment(files.disk, files.directory, state.logEndOffset);
    segment.begin();
    return this.finish([segment], state, state.logEndOffset, []);
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
      if (ended?.aborted) segment.indexes.appendAborted(ended);
      return true;
    });
    if (scan.stop !== "end") {
      if (wanted) {
        const laterSegments = this.files.anythingBehind(index);
        await this.judge(file, { position: scan.position, offset: state.logEndOffset, size, laterSegments });
      }
      file.truncate(scan.position);
    }
    // A flush that failed before this process leaves bytes that read back but that the kernel holds for clean: only a new
    // write makes the next flush mean them (Rebello et al., ATC 2020).
    if (undurable >= 0) await copyFully(file, undurable, scan.position, file, undurable);
    if (scan.stop === "end") return "whole";
    return wanted ? "damaged" : "cut";
  }

  /**
   * Whether the next segment begins where this one ends. Where it begins later, either compaction took what was between
   * (the snapshot there says that the segment ends like this, or is Kafka's own), or its last writes were lost.
   */
  private continues(segment: LogSegment, index: number, state: LogState): boolean {
    const next = this.files.bases[index + 1]!;
    if (next === state.logEndOffset) return true;
    const path = segment.path(".log");
    if (next < state.logEndOffset) throw new CorruptLog(path, -1, `overlaps the segment at ${next}`);
    const snapshot = this.files.snapshotAt(next);
    const end = snapshot?.addition?.end;
    if (snapshot !== undefined && (snapshot.addition === undefined || end?.size === segment.size)) return true;
    if (state.logEndOffset < this.options.recoveryPoint) {
      throw new CorruptLog(path, segment.size, `ends at ${state.logEndOffset}, below the recovery point`);
    }
    this.repairs.push(`${path}: ends at ${state.logEndOffset}; the segments from ${next} on are kept aside`);
    return false;
  }

  /** Returns when it may be cut at the damage, throws when it may not. */
  private async judge(file: DiskFile, damage: Damage): Promise<void> {
    const { recoveryPoint, endOffset = Number.POSITIVE_INFINITY } = this.options;
    if (damage.offset < Math.min(recoveryPoint, endOffset)) {
      throw new CorruptLog(file.path, damage.position, `damage below the recovery point ${recoveryPoint}`);
    }
    this.repairs.push(await judgeDamage(this.files.disk, file, damage));
  }

  /**
   * A recovered segment that is not the last: sealed, with the snapshot behind it written anew. On a full disk the one that
   * is there stays when it says the same, and goes otherwise: the batches tell what it would, unless compaction took them.
   */
  private sealRecovered(segment: LogSegment, state: LogState, compacted: boolean): void {
    const { disk } = this.files;
    const path = this.files.path(state.logEndOffset, ".snapshot");
    const snapshot = snapshotOf(state);
    placeSnapshot(snapshot, segment.seal());
    try {
      disk.replaceFile(path, snapshot);
    } catch (error) {
      if (!(error instanceof DiskError && error.code === "ENOSPC")) throw error;
      const there = disk.readFile(path);
      if (there !== undefined && tellsTheSame(there, snapshot)) return;
      if (compacted) throw error;
      disk.remove(path);
    }
  }
}
