/**
 * A log file's batches from one position to another, read in chunks of 1 MiB: what recovery, index rebuilding and
 * look-up by time share. A batch larger than the chunk gets a chunk of its size; nothing is allocated by a length that
 * the file does not have.
 */

import type { DiskFile } from "../platform/Disk.ts";
import { allocateUninitialised } from "../platform/Memory.ts";
import { isPending, type MaybePending, type Position } from "../prelude/Types.ts";
import { batchSize, HEADER_SIZE, LOG_OVERHEAD, MAGIC, magicOf } from "../record/RecordBatch.ts";

const CHUNK = 1024 * 1024;
/** From so many bytes on. */
const ASIDE_FROM = 256 * 1024;
/** To begin with where little is likely to be needed: the chunks behind it grow. */
export const NEARBY = 16 * 1024;

/** `bytes[at, at + size)` is the whole batch at `position` in the file; false ends the scan before it. */
export type BatchVisitor = (bytes: Uint8Array, at: number, size: number, position: Position) => boolean;

export interface FileScan {
  /** Every batch before it was visited. */
  readonly position: Position;
  /** `end`: nothing is left; `invalid`: no whole batch of magic 2 begins there; `stopped`: the visitor said false. */
  readonly stop: "end" | "invalid" | "stopped";
}

/** Visits the batches of `file` in `[start, end)`. The chunk is reused: views do not outlive the visit. */
export const scanBatches = async (
  file: DiskFile,
  start: Position,
  end: Position,
  visit: BatchVisitor,
  firstChunk = CHUNK,
): Promise<FileScan> => {
  let chunk = allocateUninitialised(Math.min(firstChunk, Math.max(0, end - start)));
  let position = start;
  while (position < end) {
    const wanted = Math.min(chunk.length, end - position);
    const target = wanted === chunk.length ? chunk : chunk.subarray(0, wanted);
    // Others get their turn between two large chunks, however warm the file is.
    const reading: MaybePending<number> =
      chunk.length < ASIDE_FROM ? file.read(target, position) : file.readAside(target, position);
    const there = isPending(reading) ? await reading : reading;
    let at = 0;
    let size = 0;
    while (there - at >= HEADER_SIZE) {
      size = batchSize(chunk, at);
      if (size < HEADER_SIZE || magicOf(chunk, at) !== MAGIC) return { position: position + at, stop: "invalid" };
      if (at + size > there) break;
      if (!visit(chunk, at, size, position + at)) return { position: position + at, stop: "stopped" };
      at += size;
    }
    if (at === 0) {
      // Not one whole batch in the chunk: a large one, or the end of what is there.
      if (there >= LOG_OVERHEAD) size = batchSize(chunk, 0);
      if (there < HEADER_SIZE || position + size > end || size <= chunk.length) return { position, stop: "invalid" };
      chunk = allocateUninitialised(size);
    } else if (chunk.length < CHUNK && position + at < end) {
      chunk = allocateUninitialised(Math.min(CHUNK, 4 * chunk.length, end - position - at));
    }
    position += at;
  }
  return { position, stop: "end" };
};

/**
 * Whole batches from `start` on, at least one and otherwise no more than `bytes`, in memory of their own; undefined when
 * none begins there. `end` is a batch boundary.
 */
export const readBatches = async (
  file: DiskFile,
  start: Position,
  end: Position,
  bytes: number,
): Promise<Uint8Array | undefined> => {
  let wanted = Math.min(Math.max(bytes, HEADER_SIZE), end - start);
  for (;;) {
    const chunk = allocateUninitialised(wanted);
    const there = await file.readAside(chunk, start);
    let at = 0;
    while (there - at >= HEADER_SIZE) {
      const size = batchSize(chunk, at);
      if (size < HEADER_SIZE || magicOf(chunk, at) !== MAGIC) return undefined;
      if (at + size > there) break;
      at += size;
    }
    if (at > 0) return chunk.subarray(0, at);
    const size = there >= LOG_OVERHEAD ? batchSize(chunk, 0) : 0;
    if (size < HEADER_SIZE || size <= wanted || start + size > end) return undefined;
    wanted = size;
  }
};
