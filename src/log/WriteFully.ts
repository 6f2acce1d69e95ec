/** Writes and copies that come back whole or fail: a disk may take less than it was given. Kept apart from what is written. */
import { DiskError, type DiskFile } from "../platform/Disk.ts";
import { allocateUninitialised } from "../platform/Memory.ts";
import { isPending, type MaybePending, type Position } from "../prelude/Types.ts";

/** Copied at a time, at most. */
const CHUNK = 1024 * 1024;

/** Drops the first `taken` bytes of a vector. */
const rest = (chunks: ReadonlyArray<Uint8Array>, taken: number): Uint8Array[] => {
  let left = taken;
  let index = 0;
  while (index < chunks.length && left >= chunks[index]!.length) left -= chunks[index++]!.length;
  const remaining = chunks.slice(index);
  if (left > 0) remaining[0] = remaining[0]!.subarray(left);
  return remaining;
};

/**
 * Writes all of it, continuing short writes; a write that takes nothing is a failure. With `whole` chunks, so is one that
 * ends inside a chunk: continued, a power cut could leave the page where it ended as it was in between beside what follows,
 * which recovery could not tell from damage.
 */
export const writeFully = (
  file: DiskFile,
  chunks: ReadonlyArray<Uint8Array>,
  position: Position,
  size: number,
  whole?: "whole",
): MaybePending<void> => {
  let left = size;
  let remaining = chunks;
  /** True when nothing is left. */
  const took = (taken: number): boolean => {
    if (taken === left) return true;
    if (taken <= 0) throw new DiskError("OTHER", "write", file.path, "nothing was taken");
    const next = rest(remaining, taken);
    if (whole !== undefined && !remaining.includes(next[0]!)) {
      // A file takes a part only when the disk has room for no more.
      throw new DiskError("ENOSPC", "write", file.path, `${taken} of ${left} bytes were taken`);
    }
    remaining = next;
    left -= taken;
    return false;
  };
  for (;;) {
    const taking = file.write(remaining, position + size - left);
    if (isPending(taking)) {
      return taking.then((taken) =>
        took(taken) ? undefined : writeFully(file, remaining, position + size - left, left, whole),
      );
    }
    if (took(taking)) return undefined;
  }
};

/** Copies `[start, end)` of a file to `position` of `target`, which may be the same file: others get their turn meanwhile. */
export const copyFully = async (
  file: DiskFile,
  start: Position,
  end: Position,
  target: DiskFile,
  position: Position,
): Promise<void> => {
  const chunk = allocateUninitialised(Math.min(CHUNK, end - start));
  for (let at = start; at < end; ) {
    const there = await file.readAside(chunk.subarray(0, Math.min(chunk.length, end - at)), at);
    if (there === 0) throw new DiskError("EIO", "read", file.path, `nothing at ${at}`);
    await writeFully(target, [chunk.subarray(0, there)], position + at - start, there);
    at += there;
  }
};
