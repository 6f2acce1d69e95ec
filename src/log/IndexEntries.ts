/**
 * Fixed-size sorted entries, the storage under both indexes: a view of a sealed file (often a mapping, never stored
 * through) or an array that grows in memory while its file is appended in steps.
 */
import { allocateUninitialised } from "../platform/Memory.ts";
import { crc32c } from "../record/Crc32c.ts";

export class IndexEntries {
  bytes: Uint8Array;
  count: number;
  /** Entries the file already has. */
  private written: number;

  /** `bytes` are whole entries that are in the file; they are copied before the first append. */
  constructor(
    readonly entrySize: number,
    bytes: Uint8Array = new Uint8Array(0),
  ) {
    this.bytes = bytes;
    this.count = Math.floor(bytes.length / entrySize);
    this.written = this.count;
  }

  /** The position at which the caller stores one more entry. */
  grow(): number {
    const at = this.count * this.entrySize;
    if (at + this.entrySize > this.bytes.length) {
      const larger = allocateUninitialised(Math.max(32 * this.entrySize, this.bytes.length * 2));
      larger.set(this.bytes.subarray(0, at));
      this.bytes = larger;
    }
    this.count++;
    return at;
  }

  get sizeInBytes(): number {
    return this.count * this.entrySize;
  }

  get unwrittenBytes(): number {
    return (this.count - this.written) * this.entrySize;
  }

  get writtenBytes(): number {
    return this.written * this.entrySize;
  }

  get crc(): number {
    return crc32c(this.bytes, 0, this.sizeInBytes);
  }

  unwritten(): Uint8Array {
    return this.bytes.subarray(this.written * this.entrySize, this.sizeInBytes);
  }

  markWritten(): void {
    this.written = this.count;
  }

  /** The last slot whose key is at most `target`, -1 for none. `key` reads at a byte position. */
  floor(key: (bytes: Uint8Array, at: number) => number, target: number): number {
    let low = 0;
    let high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (key(this.bytes, middle * this.entrySize) <= target) low = middle + 1;
      else high = middle - 1;
    }
    return high;
  }
}
