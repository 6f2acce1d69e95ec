/**
 * Compactions that a crash interrupted while a cleaned segment took the place of those it was made from. Kafka's rule: the
 * swap is finished when all files of the cleaned segment have the swap name, and undone while one of them is still called
 * cleaned: nothing it replaces was touched before that.
 *
 * What must stay true: the segments that are replaced are durably gone before the cleaned one has its name.
 */
import type { Disk } from "../platform/Disk.ts";
import type { Offset } from "../prelude/Types.ts";
import { lastOffsetOf } from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { segmentName } from "./LogSegment.ts";

/** A file of a cleaned segment on its way into the log, or not yet on it. */
export const CLEANING_NAME = /^(\d{20})(\.log|\.index|\.timeindex|\.txnindex)\.(cleaned|swap)$/;
const SWAPPED_LOG_NAME = /^\d{20}\.log\.swap$/;
const SUFFIXES = [".log", ".index", ".timeindex", ".txnindex"];

/** Base offsets of the cleaned segments that are to take their places, told by the names in the directory. */
export const unfinishedSwaps = (names: ReadonlyArray<string>): Offset[] => {
  const undone = new Set<string>();
  for (const name of names) if (CLEANING_NAME.exec(name)?.[3] === "cleaned") undone.add(name.slice(0, 20));
  const whole = names.filter((name) => SWAPPED_LOG_NAME.test(name) && !undone.has(name.slice(0, 20)));
  return whole.map((name) => Number(name.slice(0, 20)));
};

/**
 * Puts the cleaned segments into their places; `bases` are the segments there are. Answers one line each for the operator.
 * Rejects `CorruptLog` or `DiskError`; then the rest is still to be finished.
 */
export const finishSwaps = async (
  disk: Disk,
  directory: string,
  swaps: ReadonlyArray<Offset>,
  bases: ReadonlyArray<Offset>,
): Promise<string[]> => {
  const repairs: string[] = [];
  for (const base of swaps) {
    const stem = `${directory}/${segmentName(base)}`;
    const end = await endOffsetOf(disk, `${stem}.log.swap`, base);
    for (const old of bases.filter((each) => each >= base && each < end)) {
      const suffixes = old === base ? SUFFIXES : [...SUFFIXES, ".snapshot"];
      for (const suffix of suffixes) disk.remove(`${directory}/${segmentName(old)}${suffix}`);
    }
    await disk.flushDirectory(directory);
    for (const suffix of SUFFIXES.toReversed()) {
      const path = `${stem}${suffix}.swap`;
      if (disk.exists(path)) disk.rename(path, `${stem}${suffix}`);
    }
    repairs.push(`${stem}.log: an interrupted compaction was finished`);
  }
  await disk.flushDirectory(directory);
  return repairs;
};

/** Where the batches of a cleaned log file end: `base` when compaction left none. */
const endOffsetOf = async (disk: Disk, path: string, base: Offset): Promise<Offset> => {
  const file = disk.open(path, "read");
  let end = base;
  try {
    const scan = await scanBatches(file, 0, file.size(), (bytes, at) => {
      end = lastOffsetOf(bytes, at) + 1;
      return true;
    });
    if (scan.stop !== "end") throw new CorruptLog(path, scan.position, "no batch where one must begin");
    return end;
  } finally {
    file.close();
  }
};
