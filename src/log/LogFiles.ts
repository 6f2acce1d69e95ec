/**
 * The files of a partition directory as a log is opened from them: which segments and snapshots there are, and which
 * cleaned segments are to take their places. It removes what interrupted work left behind, and, from the end on, what
 * recovery says is no longer the log's.
 *
 * What must stay true: `bases` and `snapshots` are in order and are what is on disk; a log file that was not asked to be
 * cut is renamed, never removed.
 */
import type { Disk } from "../platform/Disk.ts";
import type { Offset } from "../prelude/Types.ts";
import { CLEANING_NAME, unfinishedSwaps } from "./CompactionSwaps.ts";
import { segmentName } from "./LogSegment.ts";
import { type LogSnapshot, readSnapshot } from "./LogSnapshot.ts";

const LOG_NAME = /^\d{20}\.log$/;
const SNAPSHOT_NAME = /^\d{20}\.snapshot$/;
const SIDE_FILE_NAME = /^(\d{20})\.(index|timeindex|txnindex)$/;
/** Left by a deletion, a clean-up or a replacement that a crash interrupted. */
const LEFTOVER_NAME = /\.(deleted|cleaned|tmp)$/;

export class LogFiles {
  /** Base offsets of the segments. */
  readonly bases: Offset[] = [];
  readonly snapshots: Offset[] = [];
  /** Cleaned segments that were about to take their place. */
  readonly swaps: ReadonlyArray<Offset>;
  /** Segments were removed or renamed, and that is not durable yet. */
  namesChanged = false;

  /** Reads the directory; of one that is not there nothing. */
  constructor(
    readonly disk: Disk,
    readonly directory: string,
  ) {
    const names = disk.list(directory);
    this.swaps = unfinishedSwaps(names);
    const kept = new Set(this.swaps.map(segmentName));
    const logs = new Set(names.filter((name) => LOG_NAME.test(name)).map((name) => name.slice(0, 20)));
    for (const name of names) {
      const base = name.slice(0, 20);
      // A side file means nothing without its log; it would be taken for another's that begins at the same offset.
      if (CLEANING_NAME.test(name) && !kept.has(base)) disk.remove(`${directory}/${name}`);
      else if (SIDE_FILE_NAME.test(name) && !logs.has(base) && !kept.has(base)) disk.remove(`${directory}/${name}`);
      else if (LOG_NAME.test(name)) this.bases.push(Number(base));
      else if (SNAPSHOT_NAME.test(name)) this.snapshots.push(Number(base));
      else if (LEFTOVER_NAME.test(name)) disk.remove(`${directory}/${name}`);
    }
  }

  /** `suffix` with its dot. */
  path(offset: Offset, suffix: string): string {
    return `${this.directory}/${segmentName(offset)}${suffix}`;
  }

  snapshotAt(offset: Offset): LogSnapshot | undefined {
    return readSnapshot(this.disk, this.path(offset, ".snapshot"), offset);
  }

  /** Whether segments behind `index` hold anything. */
  anythingBehind(index: number): boolean {
    return this.bases.slice(index + 1).some((base) => (this.disk.fileSize(this.path(base, ".log")) ?? 0) > 0);
  }

  /**
   * Removes segments that were asked to be cut; keeps them aside when a hole before them is the reason. The last one
   * goes first: whatever part of this a power cut undoes, what is left is a log from its beginning on.
   */
  dropSegmentsFrom(index: number, keep: boolean): void {
    if (index < 0 || index >= this.bases.length) return;
    this.namesChanged = true;
    for (const base of this.bases.splice(index).reverse()) {
      for (const suffix of [".index", ".timeindex", ".txnindex"]) this.disk.remove(this.path(base, suffix));
      if (keep) this.disk.rename(this.path(base, ".log"), this.path(base, ".log.cut"));
      else this.disk.remove(this.path(base, ".log"));
    }
  }

  /** They speak of batches that are cut: left behind, they would describe what grows in their place. */
  dropSnapshotsAbove(endOffset: Offset): void {
    while (this.snapshots.length > 0 && this.snapshots.at(-1)! > endOffset) {
      this.disk.remove(this.path(this.snapshots.pop()!, ".snapshot"));
    }
  }
}
