/**
 * The aborted transactions of a segment, Kafka's `.txnindex`: entries of 34 bytes (version int16 = 0, producer id,
 * first offset, last offset = the marker's, last stable offset; int64 each), in the order of their markers. Most
 * segments have none, and then no file.
 */
import type { Offset, ProducerId } from "../prelude/Types.ts";
import { readInt16, readInt64, writeInt64 } from "../record/Wire.ts";
import { IndexEntries } from "./IndexEntries.ts";

const ENTRY_SIZE = 34;

export interface AbortedTransaction {
  readonly producerId: ProducerId;
  readonly firstOffset: Offset;
  readonly lastOffset: Offset;
  readonly lastStableOffset: Offset;
}

export class TransactionIndex {
  readonly entries: IndexEntries;

  constructor(bytes?: Uint8Array) {
    this.entries = new IndexEntries(ENTRY_SIZE, bytes);
  }

  append(transaction: AbortedTransaction): void {
    const at = this.entries.grow();
    const { bytes } = this.entries;
    bytes[at] = 0;
    bytes[at + 1] = 0;
    writeInt64(bytes, at + 2, transaction.producerId);
    writeInt64(bytes, at + 10, transaction.firstOffset);
    writeInt64(bytes, at + 18, transaction.lastOffset);
    writeInt64(bytes, at + 26, transaction.lastStableOffset);
  }

  get(slot: number): AbortedTransaction {
    const { bytes } = this.entries;
    const at = slot * ENTRY_SIZE;
    return {
      producerId: readInt64(bytes, at + 2),
      firstOffset: readInt64(bytes, at + 10),
      lastOffset: readInt64(bytes, at + 18),
      lastStableOffset: readInt64(bytes, at + 26),
    };
  }

  /**
   * Those that touch `[fetchOffset, upperBound)`, added to `into`; true when no later segment can hold more (Kafka's
   * `collectAbortedTxns`).
   */
  collect(fetchOffset: Offset, upperBound: Offset, into: AbortedTransaction[]): boolean {
    for (let slot = 0; slot < this.entries.count; slot++) {
      const one = this.get(slot);
      if (one.lastOffset >= fetchOffset && one.firstOffset < upperBound) into.push(one);
      if (one.lastStableOffset >= upperBound) return true;
    }
    return false;
  }

  isSane(baseOffset: Offset): boolean {
    const { bytes, count } = this.entries;
    if (bytes.length !== count * ENTRY_SIZE) return false;
    let last = baseOffset - 1;
    for (let slot = 0; slot < count; slot++) {
      const one = this.get(slot);
      if (readInt16(bytes, slot * ENTRY_SIZE) !== 0 || one.lastOffset <= last || one.firstOffset > one.lastOffset) {
        return false;
      }
      last = one.lastOffset;
    }
    return true;
  }
}
