/** Writes that come back whole or fail: a disk may take less than it was given. Kept apart from what is written. */
import { DiskError, type DiskFile } from "../platform/Disk.ts";
import { isPending, type MaybePending, type Position } from "../prelude/Types.ts";

/** Drops the first `taken` bytes of a vector. */
const rest = (chunks: ReadonlyArray<Uint8Array>, taken: number): Uint8Array[] => {
  let left = taken;
  let index = 0;
  while (index < chunks.length && left >= chunks[index]!.length) left -= chunks[index++]!.length;
  const remaining = chunks.slice(index);
  if (left > 0) remaining[0] = remaining[0]!.subarray(left);
  return remaining;
};

/** Writes all of it, continuing short writes; a write that takes nothing is a failure. */
export const writeFully = (
  file: DiskFile,
  chunks: ReadonlyArray<Uint8Array>,
  position: Position,
  size: number,
): MaybePending<void> => {
  let left = size;
  let remaining = chunks;
  for (;;) {
    const taking = file.write(remaining, position + size - left);
    if (isPending(taking)) {
      return taking.then((taken) => {
        if (taken === left) return undefined;
        if (taken <= 0) throw new DiskError("OTHER", "write", file.path, "nothing was taken");
        return writeFully(file, rest(remaining, taken), position + size - left + taken, left - taken);
      });
    }
    if (taking === left) return undefined;
    if (taking <= 0) throw new DiskError("OTHER", "write", file.path, "nothing was taken");
    remaining = rest(remaining, taking);
    left -= taking;
  }
};
