/**
 * What the cleaner has to know of transactions while it walks a log (Kafka's `CleanedTransactionMetadata`): whether a
 * batch belongs to an aborted one, and whether a marker has outlived all data of its transaction. What must stay true:
 * it sees every batch of the cleaned part in the order of the log, and each segment's aborted transactions before that
 * segment's batches.
 */
import type { Offset, ProducerId } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { isTransactional } from "../record/RecordBatch.ts";
import type { AbortedTransaction } from "./TransactionIndex.ts";

interface OngoingAbort {
  readonly transaction: AbortedTransaction;
  /** A batch of it was seen: its marker is still needed, this time. */
  hadData: boolean;
}

export class CleanedTransactions {
  /** By first offset, the lowest last. */
  private waiting: AbortedTransaction[] = [];
  private readonly aborting = new Map<ProducerId, OngoingAbort>();
  private readonly committing = new Set<ProducerId>();

  /** Of the next segment; one that reaches over several segments may be told again. */
  add(aborted: ReadonlyArray<AbortedTransaction>): void {
    if (aborted.length === 0) return;
    this.waiting = [...this.waiting, ...aborted].sort((a, b) => b.firstOffset - a.firstOffset);
  }

  private begin(upTo: Offset): void {
    for (;;) {
      const next = this.waiting.at(-1);
      if (next === undefined || next.firstOffset > upTo) return;
      this.waiting.pop();
      if (!this.aborting.has(next.producerId))
        this.aborting.set(next.producerId, { transaction: next, hadData: false });
    }
  }

  /** Whether the data batch was aborted: all of it goes. */
  isAborted(batch: BatchInfo): boolean {
    this.begin(batch.lastOffset);
    if (!isTransactional(batch.attributes)) return false;
    const ongoing = this.aborting.get(batch.producerId);
    if (ongoing !== undefined) ongoing.hadData = true;
    else this.committing.add(batch.producerId);
    return ongoing !== undefined;
  }

  /**
   * A control batch: whether nothing of its transaction is left, so that it may go once its delete horizon has passed,
   * and the entry its segment's transaction index needs as long as it stays for aborted data.
   */
  marker(batch: BatchInfo): { readonly outlived: boolean; readonly indexed: AbortedTransaction | undefined } {
    this.begin(batch.lastOffset);
    // One without its record was emptied before.
    if (batch.recordCount === 0) return { outlived: true, indexed: undefined };
    switch (batch.control?.type) {
      case "abort": {
        const ongoing = this.aborting.get(batch.producerId);
        this.aborting.delete(batch.producerId);
        if (ongoing?.hadData !== true) return { outlived: true, indexed: undefined };
        return { outlived: false, indexed: ongoing.transaction };
      }
      case "commit":
        return { outlived: !this.committing.delete(batch.producerId), indexed: undefined };
      default:
        return { outlived: false, indexed: undefined };
    }
  }
}
