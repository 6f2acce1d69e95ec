/**
 * Fixed-size sorted entries, the storage under the three indexes of a segment: what is in the file is read from there,
 * only what is not yet in it is in memory, so that an index costs the same however long its segment is. A look-up in a
 * full index is some ten reads of the page cache, 8 µs (2026-11: a mapping's first touch and checksum take 660 µs, reading
 * and checksumming the whole file 490 µs; and what Bun has mapped only its garbage collector unmaps).
 *
 * What must stay true: entries leave memory only after a write that took all of them; what was inherited from an
 * earlier process is believed only after `check`; an answer comes from whole blocks whose checksums are those of what was
 * written: a file in which a bit has flipped since is `CorruptLog`.
 */
import type { DiskFile } from "../platform/Disk.ts";
import { allocateUninitialised } from "../platform/Memory.ts";
import { invariant } from "../prelude/Invariant.ts";
import { isPending, type MaybePending } from "../prelude/Types.ts";
import { crc32c } from "../record/Crc32c.ts";
import { CorruptLog } from "./CorruptLog.ts";

/** Bytes that are read at once, and have a checksum. */
const BLOCK = 4096;
/** Blocks read at a time while a whole file is checked. */
const CHECK_CHUNK = 16;

/** Where one entry lies: in the file or in memory. */
export interface EntryAt {
  readonly slot: number;
  readonly bytes: Uint8Array;
  readonly at: number;
}

type Key = (bytes: Uint8Array, at: number) => number;

/** How the file is reached: opened when it is first needed, by whoever knows its name of the moment. */
export interface IndexFile {
  readonly openToRead: () => DiskFile;
  /** Opened for one save and closed after it. */
  readonly openToSave: () => DiskFile;
}

export class IndexEntries {
  private inFile: number;
  private tail: Uint8Array = new Uint8Array(0);
  private inTail = 0;
  private saving: Promise<void> | undefined;
  /** Of the first `checksummed` entries. */
  private checksum: number;
  private checksummed: number;
  private readonly inherited: { readonly count: number; readonly crc: number };
  /** CRC-32C of each block's entries in the file. The first that was not inherited begins a block. */
  private readonly sums: number[] = [];
  private readonly perBlock: number;
  private readonly inheritedBlocks: number;

  /** `count` entries are in the file already; `crc` is their checksum, if it is known. */
  constructor(
    readonly entrySize: number,
    private readonly file: IndexFile,
    count = 0,
    crc = 0,
  ) {
    this.inFile = count;
    this.checksum = crc;
    this.checksummed = count;
    this.inherited = { count, crc };
    this.perBlock = Math.floor(BLOCK / entrySize);
    this.inheritedBlocks = Math.ceil(count / this.perBlock);
  }

  get count(): number {
    return this.inFile + this.inTail;
  }

  get sizeInBytes(): number {
    return this.count * this.entrySize;
  }

  get unsavedBytes(): number {
    return this.inTail * this.entrySize;
  }

  /** CRC-32C of all entries. */
  crc(): number {
    const { entrySize, inFile, checksummed, tail } = this;
    if (checksummed < this.count) {
      this.checksum = crc32c(tail, (checksummed - inFile) * entrySize, this.inTail * entrySize, this.checksum);
      this.checksummed = this.count;
    }
    return this.checksum;
  }

  /** One more entry, stored by `store` at the position it is given. */
  append(store: (bytes: Uint8Array, at: number) => void): void {
    const at = this.inTail * this.entrySize;
    if (at + this.entrySize > this.tail.length) {
      const larger = allocateUninitialised(Math.max(8 * this.entrySize, this.tail.length * 2));
      larger.set(this.tail.subarray(0, at));
      this.tail = larger;
    }
    store(this.tail, at);
    this.inTail++;
  }

  /** Writes what the file lacks. A failure loses nothing: the entries stay in memory and the next save tries again. */
  save(): MaybePending<void> {
    if (this.saving !== undefined) return this.saving;
    while (this.inTail > 0) {
      const { entrySize, inTail } = this;
      // The sum of what leaves memory is taken before it leaves.
      this.crc();
      const writing = this.write(this.tail.slice(0, inTail * entrySize), this.inFile * entrySize);
      if (!isPending(writing)) {
        if (!writing) return undefined;
        this.saved(inTail);
        continue;
      }
      this.saving = writing.then((whole) => {
        this.saving = undefined;
        if (!whole) return undefined;
        this.saved(inTail);
        return this.save();
      });
      return this.saving;
    }
    return undefined;
  }

  private saved(count: number): void {
    for (let slot = this.inFile; slot < this.inFile + count; ) {
      const block = this.blockOf(slot);
      const end = Math.min(this.startOf(block + 1), this.inFile + count);
      const [from, to] = [slot - this.inFile, end - this.inFile];
      this.sums[block] = crc32c(this.tail, from * this.entrySize, to * this.entrySize, this.sums[block]);
      slot = end;
    }
    this.tail.copyWithin(0, count * this.entrySize, this.inTail * this.entrySize);
    this.inFile += count;
    this.inTail -= count;
    if (this.inTail === 0) this.tail = new Uint8Array(0);
  }

  /** Whether all of it was taken. */
  private write(bytes: Uint8Array, position: number): MaybePending<boolean> {
    let file: DiskFile;
    try {
      file = this.file.openToSave();
    } catch {
      return false;
    }
    const next = (done: number): MaybePending<boolean> => {
      while (done < bytes.length) {
        const taking = file.write([bytes.subarray(done)], position + done);
        if (isPending(taking)) return taking.then((taken) => taken > 0 && next(done + taken));
        if (taking <= 0) return false;
        done += taking;
      }
      return true;
    };
    try {
      const written = next(0);
      if (isPending(written)) return written.catch(() => false).finally(() => file.close());
      file.close();
      return written;
    } catch {
      file.close();
      return false;
    }
  }

  // — blocks of the file

  private blockOf(slot: number): number {
    const { inherited, perBlock } = this;
    return slot < inherited.count
      ? Math.floor(slot / perBlock)
      : this.inheritedBlocks + Math.floor((slot - inherited.count) / perBlock);
  }

  /** The slot of a block's first entry. */
  private startOf(block: number): number {
    const { inherited, inheritedBlocks, perBlock } = this;
    return block < inheritedBlocks ? block * perBlock : inherited.count + (block - inheritedBlocks) * perBlock;
  }

  /** A block's entries as they were written. Throws or rejects `CorruptLog` when they are not that any more. */
  private readBlock(block: number): MaybePending<Uint8Array> {
    const start = this.startOf(block);
    const end = Math.min(this.startOf(block + 1), this.inFile);
    const sum = this.sums[block];
    invariant(sum !== undefined, "an index is checked before it is read");
    const entries = allocateUninitialised((end - start) * this.entrySize);
    const judged = (): Uint8Array => {
      if (!this.isWhole(entries, sum)) throw this.damagedAt(start);
      return entries;
    };
    const reading = this.read(entries, start);
    return isPending(reading) ? reading.then(judged) : judged();
  }

  private isWhole(entries: Uint8Array, sum: number): boolean {
    return crc32c(entries) === sum;
  }

  private damagedAt(slot: number): CorruptLog {
    return new CorruptLog(this.file.openToRead().path, slot * this.entrySize, "the index is not what was written");
  }

  /** The last entry whose key is at most `target`; undefined when there is none. `key` never falls from entry to entry. */
  floor(key: Key, target: number): MaybePending<EntryAt | undefined> {
    const { tail, inTail, inFile } = this;
    if (inTail > 0 && key(tail, 0) <= target) return this.floorIn(tail, inTail, inFile, key, target);
    if (inFile === 0) return undefined;
    const blocks = this.blockOf(inFile - 1) + 1;
    const block = this.narrow(key, target, 0, blocks);
    return isPending(block)
      ? block.then((found) => this.floorInBlock(key, target, found, blocks))
      : this.floorInBlock(key, target, block, blocks);
  }

  /** Of blocks `[from, to)` the last one whose first entry's key is at most `target`, or the first, by unchecked looks. */
  private narrow(key: Key, target: number, from: number, to: number): MaybePending<number> {
    const probe = allocateUninitialised(this.entrySize);
    let low = from;
    let high = to;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const reading = this.read(probe, this.startOf(middle));
      if (isPending(reading)) {
        const [left, right] = [low, high];
        return reading.then(() =>
          key(probe, 0) <= target ? this.narrow(key, target, middle, right) : this.narrow(key, target, left, middle),
        );
      }
      if (key(probe, 0) <= target) low = middle;
      else high = middle;
    }
    return low;
  }

  /** The floor, when it is in this block of so many; a look at a flipped bit may have led to the wrong one. */
  private floorInBlock(key: Key, target: number, block: number, blocks: number): MaybePending<EntryAt | undefined> {
    const start = this.startOf(block);
    const find = (entries: Uint8Array): MaybePending<EntryAt | undefined> => {
      const count = entries.length / this.entrySize;
      const found = this.floorIn(entries, count, start, key, target);
      if (found === undefined && block > 0) throw this.damagedAt(start);
      if (found?.slot !== start + count - 1 || block + 1 === blocks) return found;
      const follows = (next: Uint8Array): EntryAt => {
        if (key(next, 0) <= target) throw this.damagedAt(start + count);
        return found;
      };
      const next = this.readBlock(block + 1);
      return isPending(next) ? next.then(follows) : follows(next);
    };
    const reading = this.readBlock(block);
    return isPending(reading) ? reading.then(find) : find(reading);
  }

  private floorIn(bytes: Uint8Array, count: number, first: number, key: Key, target: number): EntryAt | undefined {
    let low = 0;
    let high = count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (key(bytes, middle * this.entrySize) <= target) low = middle + 1;
      else high = middle - 1;
    }
    return high < 0 ? undefined : { slot: first + high, bytes, at: high * this.entrySize };
  }

  /** Visits the entries from `slot` on, until the visitor answers false. */
  forEachFrom(slot: number, visit: (bytes: Uint8Array, at: number) => boolean): MaybePending<void> {
    const { entrySize } = this;
    for (let next = slot; next < this.inFile; ) {
      const block = this.blockOf(next);
      const start = this.startOf(block);
      const first = (next - start) * entrySize;
      const all = (entries: Uint8Array): boolean => {
        next = start + entries.length / entrySize;
        for (let at = first; at < entries.length; at += entrySize) if (!visit(entries, at)) return false;
        return true;
      };
      const reading = this.readBlock(block);
      if (isPending(reading))
        return reading.then((entries) => (all(entries) ? this.forEachFrom(next, visit) : undefined));
      if (!all(reading)) return undefined;
    }
    for (let next = Math.max(0, slot - this.inFile); next < this.inTail; next++) {
      if (!visit(this.tail, next * entrySize)) return undefined;
    }
    return undefined;
  }

  /** Fills `target` with the file's entries from `slot` on. */
  private read(target: Uint8Array, slot: number): MaybePending<void> {
    const file = this.file.openToRead();
    const position = slot * this.entrySize;
    const whole = (there: number): void => {
      if (there < target.length) throw new CorruptLog(file.path, position, "the index is shorter than it was");
    };
    const reading = file.read(target, position);
    return isPending(reading) ? reading.then(whole) : whole(reading);
  }

  /**
   * Whether what was inherited can be believed: with a `crc` it is that, without one every entry is `sane` behind the
   * one before it.
   */
  check(crc: number | undefined, sane: (bytes: Uint8Array, at: number) => boolean): MaybePending<boolean> {
    return this.checkFrom(0, 0, crc, sane);
  }

  private checkFrom(
    slot: number,
    sum: number,
    crc: number | undefined,
    sane: (bytes: Uint8Array, at: number) => boolean,
  ): MaybePending<boolean> {
    const { entrySize, inherited, perBlock } = this;
    let next = slot;
    let crcSoFar = sum;
    while (next < inherited.count) {
      const count = Math.min(inherited.count - next, CHECK_CHUNK * perBlock);
      const chunk = allocateUninitialised(count * entrySize);
      const reading = this.read(chunk, next);
      const before = crcSoFar;
      const first = next;
      const look = (): boolean => {
        crcSoFar = crc32c(chunk, 0, chunk.length, before);
        for (let at = 0; at < chunk.length; at += perBlock * entrySize)
          this.sums[this.blockOf(first + at / entrySize)] = crc32c(
            chunk,
            at,
            Math.min(at + perBlock * entrySize, chunk.length),
          );
        for (let at = 0; crc === undefined && at < chunk.length; at += entrySize) if (!sane(chunk, at)) return false;
        return true;
      };
      next += count;
      const behind = next;
      if (isPending(reading)) {
        return reading.then(() => (look() ? this.checkFrom(behind, crcSoFar, crc, sane) : false));
      }
      if (!look()) return false;
    }
    if (crc === undefined) {
      // Nothing said what it was: this is what it is.
      if (this.checksummed === inherited.count) this.checksum = crcSoFar;
      return true;
    }
    return crcSoFar === crc;
  }
}
