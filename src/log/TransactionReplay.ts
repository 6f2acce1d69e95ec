/**
 * The aborted transactions of a segment, told again by its markers when the transaction index is lost: without them a
 * `read_committed` reader would see aborted data. The state at the segment's beginning comes from the newest snapshot
 * that is left, so usually one segment is read.
 */
import type { Disk } from "../platform/Disk.ts";
import type { Position } from "../prelude/Types.ts";
import { baseOffsetOf, readBatchInfo } from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { type LogSegment, segmentName } from "./LogSegment.ts";
import { decodeSnapshot } from "./LogSnapshot.ts";
import { ProducerStateManager } from "./ProducerStateManager.ts";
import type { AbortedTransaction } from "./TransactionIndex.ts";

/** Gives `segments[index]` the aborted transactions whose markers lie in it. `segments` is the whole log. */
export const replayTransactions = async (
  disk: Disk,
  segments: ReadonlyArray<LogSegment>,
  index: number,
): Promise<void> => {
  let from = index;
  let producers = new ProducerStateManager();
  for (; ; from--) {
    const { directory, baseOffset } = segments[from]!;
    const bytes = disk.readFile(`${directory}/${segmentName(baseOffset)}.snapshot`);
    const snapshot = bytes === undefined ? undefined : decodeSnapshot(bytes);
    if (snapshot !== undefined) producers = ProducerStateManager.of(snapshot.producers);
    if (snapshot !== undefined || from === 0) break;
  }
  const aborted: AbortedTransaction[] = [];
  for (; from <= index; from++) {
    const segment = segments[from]!;
    segment.acquire();
    try {
      // An active segment grows meanwhile.
      for (let position: Position = 0; position < segment.size; ) {
        const end = segment.size;
        const scan = await scanBatches(segment.file, position, end, (bytes, at) => {
          const ended = producers.evolve(readBatchInfo(bytes, at));
          if (ended?.aborted && baseOffsetOf(bytes, at) >= segments[index]!.baseOffset) {
            const { producerId, firstOffset, lastOffset, lastStableOffset } = ended;
            aborted.push({ producerId, firstOffset, lastOffset, lastStableOffset });
          }
          return true;
        });
        if (scan.stop !== "end") {
          throw new CorruptLog(segment.path(".log"), scan.position, "no batch where one must begin");
        }
        position = end;
      }
      // In the same step as the last look at its size: nothing is appended in between.
      if (from === index) segment.indexes.restoreTransactions(aborted);
    } finally {
      segment.release();
    }
  }
};
