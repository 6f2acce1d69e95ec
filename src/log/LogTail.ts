/**
 * The newest bytes of the logs, kept in memory for readers at their ends. All logs of a log directory share one arena
 * of slabs under one budget: bytes are copied in (a view would keep its whole request frame alive), slabs are filled
 * in order and the oldest is dropped whole, never reused, because an answer on its way to a socket may still view it.
 *
 * What must stay true: the chunks of one log are contiguous in offsets and end at its written end, so that an offset
 * at or above the first chunk's is here completely.
 */
import { allocateUninitialised } from "../platform/Memory.ts";
import { buggify } from "../prelude/Buggify.ts";
import { concatenated } from "../prelude/Concatenated.ts";
import type { Offset } from "../prelude/Types.ts";
import { baseOffsetOf, batchSize, lastOffsetOf } from "../record/RecordBatch.ts";

interface Slab {
  readonly bytes: Uint8Array;
  used: number;
  /** The log of each chunk in it, in order. */
  readonly chunks: LogTail[];
}

interface Chunk {
  readonly slab: Slab;
  readonly start: number;
  end: number;
  readonly baseOffset: Offset;
  endOffset: Offset;
  /** Where each append began: offsets and positions, ascending. */
  readonly markOffsets: Offset[];
  readonly markPositions: number[];
}

/** What a read found: whole batches, and the offset behind the last of them. */
export interface TailRead {
  readonly records: Uint8Array;
  readonly firstOffset: Offset;
  readonly endOffset: Offset;
}

/** The memory all tails of a process share. */
export class TailBudget {
  private readonly slabs: Slab[] = [];
  private total = 0;

  /** `limit` and `slabSize` in bytes; at least one slab is always kept. */
  constructor(
    readonly limit = 16 * 1024 * 1024,
    private readonly slabSize = 1024 * 1024,
  ) {}

  get usedBytes(): number {
    return this.total;
  }

  place(size: number): Slab {
    const current = this.slabs.at(-1);
    if (current !== undefined && current.used + size <= current.bytes.length) return current;
    const bytes = allocateUninitialised(Math.max(this.slabSize, size));
    const slab: Slab = { bytes, used: 0, chunks: [] };
    this.slabs.push(slab);
    this.total += bytes.length;
    while (this.total > this.limit && this.slabs.length > 1) {
      const oldest = this.slabs.shift()!;
      this.total -= oldest.bytes.length;
      for (const tail of oldest.chunks) tail.drop(oldest);
    }
    return slab;
  }
}

const floorMark = (marks: number[], target: number): number => {
  let low = 0;
  let high = marks.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    if (marks[middle]! <= target) low = middle + 1;
    else high = middle - 1;
  }
  return high;
};

/** Position of the batch that contains `offset`, which the chunk holds. */
const positionOf = (chunk: Chunk, offset: Offset): number => {
  const { bytes } = chunk.slab;
  let at = chunk.markPositions[floorMark(chunk.markOffsets, offset)]!;
  while (lastOffsetOf(bytes, at) < offset) at += batchSize(bytes, at);
  return at;
};

/** The last batch boundary at or before `limit`. */
const boundaryBefore = (chunk: Chunk, limit: number): number => {
  const { bytes } = chunk.slab;
  let at = chunk.markPositions[floorMark(chunk.markPositions, limit)] ?? chunk.start;
  while (at < chunk.end && at + batchSize(bytes, at) <= limit) at += batchSize(bytes, at);
  return at;
};

export class LogTail {
  private chunks: Chunk[] = [];
  /** Nobody reads most logs' ends: bytes are kept from the first reader there on, until a slab goes by unread. */
  private wanted = false;
  private hits = 0;

  constructor(private readonly budget: TailBudget) {}

  /** A reader was at the log's end and had to go to the disk. */
  want(): void {
    this.wanted = true;
  }

  clear(): void {
    this.chunks = [];
  }

  drop(slab: Slab): void {
    if (this.chunks[0]?.slab !== slab) return;
    this.chunks.shift();
    if (this.hits === 0) this.wanted = false;
    this.hits = 0;
  }

  /** What was just written, `[baseOffset, endOffset)`. */
  append(pieces: ReadonlyArray<Uint8Array>, size: number, baseOffset: Offset, endOffset: Offset): void {
    if (!this.wanted) {
      if (this.chunks.length > 0) this.clear();
      return;
    }
    if (size > this.budget.limit || buggify("the tail of a log is dropped")) {
      this.clear();
      return;
    }
    const slab = this.budget.place(size);
    const start = slab.used;
    for (const piece of pieces) {
      slab.bytes.set(piece, slab.used);
      slab.used += piece.length;
    }
    let last = this.chunks.at(-1);
    if (last !== undefined && last.endOffset !== baseOffset) {
      this.clear();
      last = undefined;
    }
    if (last !== undefined && last.slab === slab && last.end === start) {
      last.markOffsets.push(baseOffset);
      last.markPositions.push(start);
      last.end = slab.used;
      last.endOffset = endOffset;
      return;
    }
    slab.chunks.push(this);
    const markOffsets = [baseOffset];
    this.chunks.push({ slab, start, end: slab.used, baseOffset, endOffset, markOffsets, markPositions: [start] });
  }

  /**
   * Batches from the one that contains `startOffset`, none at or above `upperBound`, at most `maxBytes` (the first one
   * whole all the same with `minOneBatch`). Undefined when they are not here.
   */
  read(startOffset: Offset, maxBytes: number, upperBound: Offset, minOneBatch: boolean): TailRead | undefined {
    const { chunks } = this;
    let index = chunks.length - 1;
    while (index >= 0 && chunks[index]!.baseOffset > startOffset) index--;
    if (index < 0 || startOffset >= chunks[index]!.endOffset) return undefined;
    this.hits++;
    const views: Uint8Array[] = [];
    let firstOffset = startOffset;
    let endOffset = startOffset;
    let left = maxBytes;
    for (let offset = startOffset; index < chunks.length; index++) {
      const chunk = chunks[index]!;
      const { bytes } = chunk.slab;
      const from = positionOf(chunk, offset);
      if (views.length === 0) {
        firstOffset = baseOffsetOf(bytes, from);
        endOffset = firstOffset;
      }
      const bound = upperBound >= chunk.endOffset ? chunk.end : positionOf(chunk, upperBound);
      if (bound <= from) break;
      let to = bound - from <= left ? bound : boundaryBefore(chunk, from + left);
      if (to <= from) {
        if (views.length > 0 || !minOneBatch) break;
        to = from + batchSize(bytes, from);
      }
      views.push(bytes.subarray(from, to));
      left -= to - from;
      endOffset = to === chunk.end ? chunk.endOffset : baseOffsetOf(bytes, to);
      if (to < bound || left <= 0) break;
      offset = chunk.endOffset;
      if (offset >= upperBound) break;
    }
    return { records: join(views), firstOffset, endOffset };
  }
}

const join = (views: Uint8Array[]): Uint8Array =>
  views.length === 1 ? views[0]! : concatenated(views, allocateUninitialised);
