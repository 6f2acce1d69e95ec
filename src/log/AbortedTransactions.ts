/**
 * The aborted transactions that a `read_committed` answer lists, collected over a log's transaction indexes. What must stay
 * true: none that touches the range is missing, also where an index is lost and has to be told again by the markers.
 */
import type { Disk } from "../platform/Disk.ts";
import { isPending, type MaybePending, type Offset } from "../prelude/Types.ts";
import type { LogSegment } from "./LogSegment.ts";
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
  if (transactions !== undefined) return transactions.collect(startOffset, upperBound, found);
  return replayTransactions(disk, segments, index).then(async () => {
    const restored = await segments[index]!.indexes.transactions;
    return restored === undefined ? false : restored.collect(startOffset, upperBound, found);
  });
};
