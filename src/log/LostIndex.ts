/**
 * When an index file cannot answer any more. What must stay true: one that is gone, unreadable or damaged since it was last
 * seen is no failure of its log, since what was in it can be made again from the batches; every other error is.
 */
import { DiskError } from "../platform/Disk.ts";
import { isPending, type MaybePending } from "../prelude/Types.ts";
import { CorruptLog } from "./CorruptLog.ts";

/** An index file's answer that could not be had. */
export const LOST = Symbol("lost");

/** What was asked for, or `otherwise` when the index file is lost. */
export const unlessLost = <A>(ask: () => MaybePending<A>, otherwise: A): MaybePending<A> => {
  const lost = (error: unknown): A => {
    const gone = error instanceof DiskError && (error.code === "ENOENT" || error.code === "EIO");
    if (gone || error instanceof CorruptLog) return otherwise;
    throw error;
  };
  try {
    const answer = ask();
    return isPending(answer) ? answer.catch(lost) : answer;
  } catch (error) {
    return lost(error);
  }
};
