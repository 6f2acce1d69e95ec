/**
 * What is known of each record of a stretch of a log: a byte an offset, so that what the key map found out while it took
 * the keys in is not asked again, and a batch of which everything stays or goes is not even decompressed. What must stay
 * true: nothing is known of what lies outside; it never has more than `most` bytes.
 */
import type { Offset } from "../prelude/Types.ts";

/** Bits of a record's fate. */
export const Fate = {
  /** A newer record has its key, or it has no key. */
  superseded: 1,
  /** It has no value. */
  tombstone: 2,
} as const;

const FIRST_BYTES = 4096;

export class RecordFates {
  private bytes = new Uint8Array(0);
  private from: Offset = 0;
  /** Nothing is marked from here on. */
  private end = 0;

  constructor(private readonly most: number) {}

  /** From here on it is about the stretch that begins at `from`, of which nothing is known. */
  begin(from: Offset): void {
    this.from = from;
    this.bytes.fill(0, 0, this.end);
    this.end = 0;
  }

  /** Whether the records in `[first, last]` are in its stretch. */
  covers(first: Offset, last: Offset): boolean {
    return first >= this.from && last - this.from < this.most;
  }

  mark(offset: Offset, fate: number): void {
    const at = offset - this.from;
    if (at < 0 || at >= this.most) return;
    if (at >= this.bytes.length) {
      const larger = new Uint8Array(Math.min(this.most, Math.max(FIRST_BYTES, 2 * (at + 1))));
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes[at]! |= fate;
    if (at >= this.end) this.end = at + 1;
  }

  /** Bits of `Fate`; 0 where nothing is known. */
  of(offset: Offset): number {
    const at = offset - this.from;
    return at >= 0 && at < this.end ? this.bytes[at]! : 0;
  }

  /** How many records in `[first, last]` have one of the bits. */
  count(first: Offset, last: Offset, bits: number): number {
    const { bytes } = this;
    const end = Math.min(last - this.from + 1, this.end);
    let count = 0;
    for (let at = Math.max(0, first - this.from); at < end; at++) if ((bytes[at]! & bits) !== 0) count++;
    return count;
  }
}
