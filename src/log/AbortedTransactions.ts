/**
 * The aborted transactions that a `read_committed` answer lists, collected over a log's transaction indexes. What must stay
 * true: none that touches the range is missing, also where an index is lost and has to be told again by the markers.
 */
import type { Disk } from "../platform/Disk.ts";
import { isPending, type MaybePending, type Offset } from "../prelude/Types.ts";
import type { LogSegment } from "./LogSegment.ts";
import { LOST, unlessLost } from "./LostIndex.ts";
import type { AbortedTransaction, TransactionIndex } from "./TransactionIndex.ts";
import { replayTransactions } from "./TransactionReplay.ts";

/** Adds those that touch `[startOffset, upperBound)` to `found`, from the segment at `from` on. */
export const collectAborted = (
  disk: Disk,
  segments: ReadonlyArray<LogSegment>,
  from: number,
  startOffset: Offset,
  upperBound: Offset,
  found: AbortedTransaction[],
): MaybePending<AbortedTransaction[]> => {
  for (let index = from; index < segments.length; index++) {
    const segment = segments[index]!;
    const transactions = segment.indexes.transactions;
    const complete = isPending(transactions)
      ? transactions.then((ready) => collectIn(disk, segments, index, ready, startOffset, upperBound, found))
      : collectIn(disk, segments, index, transactions, startOffset, upperBound, found);
    if (isPending(complete)) {
      segment.acquire();
      return complete
        .then((done) => (done ? found : collectAborted(disk, segments, index + 1, startOffset, upperBound, found)))
        .finally(() => segment.release());
    }
    if (complete) break;
  }
  return found;
};

/** Those of one segment; true when no later one can have more. */
const collectIn = (
  disk: Disk,
  segments: ReadonlyArray<LogSegment>,
  index: number,
  transactions: TransactionIndex | undefined,
  startOffset: Offset,
  upperBound: Offset,
  found: AbortedTransaction[],
): MaybePending<boolean> => {
  const replayed = async (): Promise<boolean> => {
    await replayTransactions(disk, segments, index);
    const restored = await segments[index]!.indexes.transactions;
    return restored === undefined ? false : restored.collect(startOffset, upperBound, found);
  };
  if (transactions === undefined) return replayed();
  const own: AbortedTransaction[] = [];
  const take = (complete: boolean | typeof LOST): MaybePending<boolean> => {
    if (complete === LOST) {
      segments[index]!.indexes.loseTransactions(transactions);
      return replayed();
    }
    found.push(...own);
    return complete;
  };
  const collected = unlessLost<boolean | typeof LOST>(() => transactions.collect(startOffset, upperBound, own), LOST);
  return isPending(collected) ? collected.then(take) : take(collected);
};
