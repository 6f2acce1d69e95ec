/**
 * The aborted transactions of a segment, Kafka's `.txnindex`: entries of 34 bytes (version int16 = 0, producer id,
 * first offset, last offset = the marker's, last stable offset; int64 each), in the order of their markers. Most
 * segments have none, and then no file.
 */
import { isPending, type MaybePending, type Offset, type ProducerId } from "../prelude/Types.ts";
import { readInt16, readInt64, writeInt16, writeInt64 } from "../record/Wire.ts";
import { type EntryAt, IndexEntries, type IndexFile } from "./IndexEntries.ts";

export const TRANSACTION_ENTRY_SIZE = 34;

export interface AbortedTransaction {
  readonly producerId: ProducerId;
  readonly firstOffset: Offset;
  readonly lastOffset: Offset;
  readonly lastStableOffset: Offset;
}

export const readAborted = (bytes: Uint8Array, at: number): AbortedTransaction => ({
  producerId: readInt64(bytes, at + 2),
  firstOffset: readInt64(bytes, at + 10),
  lastOffset: readInt64(bytes, at + 18),
  lastStableOffset: readInt64(bytes, at + 26),
});

const lastOffsetAt = (bytes: Uint8Array, at: number): Offset => readInt64(bytes, at + 18);

/** Tells of one entry after another whether it can stand behind those before it in a segment's index. */
export const abortedInOrder = (baseOffset: Offset): ((bytes: Uint8Array, at: number) => boolean) => {
  let last = baseOffset - 1;
  return (bytes, at) => {
    const one = readAborted(bytes, at);
    if (readInt16(bytes, at) !== 0 || one.lastOffset <= last || one.firstOffset >= one.lastOffset) return false;
    last = one.lastOffset;
    return true;
  };
};

export class TransactionIndex {
  readonly entries: IndexEntries;

  /** `count` entries with the checksum `crc` are in the file already. */
  constructor(file: IndexFile, count = 0, crc = 0) {
    this.entries = new IndexEntries(TRANSACTION_ENTRY_SIZE, file, count, crc);
  }

  append(transaction: AbortedTransaction): void {
    this.entries.append((bytes, at) => {
      writeInt16(bytes, at, 0);
      writeInt64(bytes, at + 2, transaction.producerId);
      writeInt64(bytes, at + 10, transaction.firstOffset);
      writeInt64(bytes, at + 18, transaction.lastOffset);
      writeInt64(bytes, at + 26, transaction.lastStableOffset);
    });
  }

  /**
   * Those that touch `[fetchOffset, upperBound)`, added to `into`; true when no later segment can hold more (Kafka's
   * `collectAbortedTxns`).
   */
  collect(fetchOffset: Offset, upperBound: Offset, into: AbortedTransaction[]): MaybePending<boolean> {
    let complete = false;
    const visit = (bytes: Uint8Array, at: number): boolean => {
      const one = readAborted(bytes, at);
      if (one.lastOffset >= fetchOffset && one.firstOffset < upperBound) into.push(one);
      complete = one.lastStableOffset >= upperBound;
      return !complete;
    };
    const walk = (below: EntryAt | undefined): MaybePending<boolean> => {
      const walking = this.entries.forEachFrom(below === undefined ? 0 : below.slot, visit);
      return isPending(walking) ? walking.then(() => complete) : complete;
    };
    const below = this.entries.floor(lastOffsetAt, fetchOffset - 1);
    return isPending(below) ? below.then(walk) : walk(below);
  }
}
