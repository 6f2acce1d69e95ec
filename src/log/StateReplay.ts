/**
 * The state a log had where one of its segments begins, found from the newest snapshot at or before that place and the
 * headers behind it: while the log is opened, and again while it goes on.
 *
 * What must stay true: the headers are read before compaction takes any of them; of what it has already taken the
 * snapshot behind it is believed.
 */
import type { Disk, DiskFile } from "../platform/Disk.ts";
import type { Offset } from "../prelude/Types.ts";
import { baseOffsetOf, readBatchInfo } from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { decodeLeaderEpochs, LEADER_EPOCH_FILE } from "./Checkpoints.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { LeaderEpochCache } from "./LeaderEpochCache.ts";
import type { LogFiles } from "./LogFiles.ts";
import type { LogSegment } from "./LogSegment.ts";
import { type LogSnapshot, readSnapshot } from "./LogSnapshot.ts";
import { evolve, LogState } from "./LogState.ts";
import { ProducerStateManager } from "./ProducerStateManager.ts";
import { completeWindows } from "./ProducerWindows.ts";

/** What one of our own snapshots says; undefined of none, and of Kafka's, which is not enough. */
export const stateOf = (snapshot: LogSnapshot | undefined): LogState | undefined => {
  if (snapshot?.addition === undefined) return undefined;
  const { producers, addition } = snapshot;
  return new LogState(0, addition.offset, ProducerStateManager.of(producers), LeaderEpochCache.of(addition.epochs));
};

// — of a log that goes on

/** At the beginning of `segments[index]`. Throws or rejects `CorruptLog` or `DiskError`. */
export const stateBefore = async (
  disk: Disk,
  segments: ReadonlyArray<LogSegment>,
  index: number,
): Promise<LogState> => {
  let from = index;
  let state: LogState | undefined;
  while (state === undefined && from > 0) {
    const segment = segments[--from]!;
    state = stateOf(readSnapshot(disk, segment.path(".snapshot"), segment.baseOffset));
  }
  state ??= new LogState(segments[0]!.baseOffset);
  for (const segment of segments.slice(from, index)) {
    segment.acquire();
    try {
      await fold(state, segment.file, segment.size, segment.path(".log"));
    } finally {
      segment.release();
    }
  }
  return state;
};

// — of one that is opened

/** At the beginning of segment `index`, below the recovery point. Throws or rejects `CorruptLog` or `DiskError`. */
export const stateAt = async (files: LogFiles, index: number): Promise<LogState> => {
  const { bases } = files;
  const target = bases[index]!;
  for (const offset of files.snapshots.toReversed()) {
    if (offset > target) continue;
    const snapshot = files.snapshotAt(offset);
    const state = stateOf(snapshot) ?? (snapshot && (await stateOfKafka(files, snapshot, offset)));
    if (state === undefined) continue;
    let from = index;
    while (from > 0 && bases[from]! > offset) from--;
    await replay(files, state, bases.slice(from, index));
    return state;
  }
  const state = new LogState(bases[0]!);
  await replay(files, state, bases.slice(0, index));
  return state;
};

/** Kafka's snapshot needs its leader epoch file and the headers before it as well. */
const stateOfKafka = async (files: LogFiles, snapshot: LogSnapshot, offset: Offset): Promise<LogState | undefined> => {
  const bytes = files.disk.readFile(`${files.directory}/${LEADER_EPOCH_FILE}`);
  const entries = bytes === undefined ? undefined : decodeLeaderEpochs(bytes);
  if (entries === undefined) return undefined;
  const epochs = LeaderEpochCache.of(entries);
  epochs.truncateFromEnd(offset);
  const paths = files.bases.filter((base) => base < offset).map((base) => files.path(base, ".log"));
  const producers = await completeWindows(files.disk, paths, offset, snapshot.producers);
  return new LogState(0, offset, ProducerStateManager.of(producers), epochs);
};

const replay = async (files: LogFiles, state: LogState, bases: ReadonlyArray<Offset>): Promise<void> => {
  for (const base of bases) {
    const path = files.path(base, ".log");
    const file = files.disk.open(path, "read");
    try {
      await fold(state, file, file.size(), path);
    } finally {
      file.close();
    }
  }
};

/**
 * Compaction takes batches, and with them leader epochs and what a producer's window knew: whoever read in such an epoch
 * would be told that the log was cut. The snapshot behind a segment that it has made holes in says what was there: it
 * was durable before the first of them. How it says the segment ends may be how it ended before or after a swap.
 */
export const beforeCompaction = (files: LogFiles, next: Offset, folded: LogState): LogState => {
  const snapshot = files.snapshotAt(next);
  const known = snapshot?.addition?.epochs ?? [];
  const isOfThisLog = folded.leaderEpochs.entries.every(({ epoch, startOffset }) =>
    known.some((entry) => entry.epoch === epoch && entry.startOffset <= startOffset),
  );
  return (isOfThisLog ? stateOf(snapshot) : undefined) ?? folded;
};

/** Folds the headers of a whole segment from the state's end on. */
const fold = async (state: LogState, file: DiskFile, size: number, path: string): Promise<void> => {
  const scan = await scanBatches(file, 0, size, (bytes, at) => {
    if (baseOffsetOf(bytes, at) >= state.logEndOffset) evolve(state, readBatchInfo(bytes, at));
    return true;
  });
  if (scan.stop !== "end") throw new CorruptLog(path, scan.position, "no batch where one must begin");
};
