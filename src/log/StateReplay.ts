/**
 * The state a log had where one of its segments begins, folded again while the log goes on: from the newest snapshot at
 * or before that place and the headers behind it. What must stay true: it is asked before compaction takes any of them.
 */
import type { Disk } from "../platform/Disk.ts";
import { baseOffsetOf, readBatchInfo } from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { LeaderEpochCache } from "./LeaderEpochCache.ts";
import type { LogSegment } from "./LogSegment.ts";
import { decodeSnapshot } from "./LogSnapshot.ts";
import { evolve, LogState } from "./LogState.ts";
import { ProducerStateManager } from "./ProducerStateManager.ts";

/** At the beginning of `segments[index]`. Throws or rejects `CorruptLog` or `DiskError`. */
export const stateBefore = async (
  disk: Disk,
  segments: ReadonlyArray<LogSegment>,
  index: number,
): Promise<LogState> => {
  let from = index;
  let state: LogState | undefined;
  while (state === undefined && from > 0) state = snapshotBefore(disk, segments[--from]!);
  state ??= new LogState(segments[0]!.baseOffset);
  for (const segment of segments.slice(from, index)) await replay(segment, state);
  return state;
};

/** What our own snapshot says of the beginning of the segment; Kafka's is not enough. */
const snapshotBefore = (disk: Disk, segment: LogSegment): LogState | undefined => {
  const bytes = disk.readFile(segment.path(".snapshot"));
  const snapshot = bytes === undefined ? undefined : decodeSnapshot(bytes);
  if (snapshot?.addition?.offset !== segment.baseOffset) return undefined;
  const { producers, addition } = snapshot;
  return new LogState(0, addition.offset, ProducerStateManager.of(producers), LeaderEpochCache.of(addition.epochs));
};

const replay = async (segment: LogSegment, state: LogState): Promise<void> => {
  segment.acquire();
  try {
    const scan = await scanBatches(segment.file, 0, segment.size, (bytes, at) => {
      if (baseOffsetOf(bytes, at) >= state.logEndOffset) evolve(state, readBatchInfo(bytes, at));
      return true;
    });
    if (scan.stop !== "end")
      throw new CorruptLog(segment.path(".log"), scan.position, "no valid batch where one must begin");
  } finally {
    segment.release();
  }
};
