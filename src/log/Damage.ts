/**
 * Damage at the end of what recovery could read: whether what is behind it may be cut. A torn tail may; a write that the
 * disk lost, which reads as zeros, may once what follows is kept in a side file; anything else is `CorruptLog`.
 *
 * What must stay true: it is asked only at or above the recovery point, and changes nothing of the log itself.
 */
import type { Disk, DiskFile } from "../platform/Disk.ts";
import { allocateUninitialised } from "../platform/Memory.ts";
import { isPending, type Offset, type Position } from "../prelude/Types.ts";
import { baseOffsetOf, batchSize, checkCrc, HEADER_SIZE, LOG_OVERHEAD, MAGIC, magicOf } from "../record/RecordBatch.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { copyFully } from "./WriteFully.ts";

/** A page the disk lost reads as zeros in multiples of this. */
const SECTOR = 512;
const CHUNK = 1024 * 1024;

export interface Damage {
  /** Where the last whole batch ends, and the log with it. */
  readonly position: Position;
  readonly offset: Offset;
  /** Of the file. */
  readonly size: number;
  /** Whether segments behind this one hold anything. */
  readonly laterSegments: boolean;
}

/** Says for the operator why the file may be cut at the damage. Rejects `CorruptLog` when it may not, or `DiskError`. */
export const judgeDamage = async (disk: Disk, file: DiskFile, damage: Damage): Promise<string> => {
  const { position, offset, size, laterSegments } = damage;
  const where = `${file.path} at ${position} (offset ${offset})`;
  const follows = await batchFollows(file, position, size, offset);
  // The file itself ends inside the batch: what is missing was never written, also when later segments were.
  if (!follows && (!laterSegments || (await endsInside(file, position, size)))) {
    return `${where}: torn tail of ${size - position} bytes cut`;
  }
  if (!(await readsAsZeros(file, position, size, offset))) {
    throw new CorruptLog(file.path, position, "damage with valid batches behind it");
  }
  const aside = `${file.path}.cut-${position}`;
  await keepAside(disk, file, position, size, aside);
  return `${where}: a lost write reads as zeros; ${size - position} bytes cut and kept in ${aside}`;
};

const keepAside = async (disk: Disk, file: DiskFile, start: Position, end: Position, path: string): Promise<void> => {
  const target = disk.open(path, "write");
  try {
    await copyFully(file, start, end, target, 0);
    await target.flush();
  } finally {
    target.close();
  }
};

/**
 * Whether a whole batch with a right CRC begins anywhere behind `position`, at any byte, whatever lies before it. Base
 * offsets below the log's end are ghosts of an earlier truncation and do not count.
 */
const batchFollows = async (file: DiskFile, position: Position, size: number, endOffset: Offset): Promise<boolean> => {
  const chunk = allocateUninitialised(Math.min(CHUNK, Math.max(0, size - position)));
  for (let start = position + 1; start + HEADER_SIZE <= size; ) {
    const there = await file.readAside(chunk.subarray(0, Math.min(chunk.length, size - start)), start);
    if (there < HEADER_SIZE) return false;
    const last = there - HEADER_SIZE;
    for (let at = 0; at <= last; at++) {
      if (chunk[at + 16] !== MAGIC || chunk[at] !== 0) continue;
      const batch = batchSize(chunk, at);
      if (batch < HEADER_SIZE || start + at + batch > size || baseOffsetOf(chunk, at) < endOffset) continue;
      if (at + batch <= there) {
        if (checkCrc(chunk.subarray(0, at + batch), at)) return true;
        continue;
      }
      const whole = allocateUninitialised(batch);
      const more = file.read(whole, start + at);
      if ((isPending(more) ? await more : more) === batch && checkCrc(whole, 0)) return true;
    }
    start += last + 1;
  }
  return false;
};

/** Whether the batch at `position` goes on behind the end of the file. */
const endsInside = async (file: DiskFile, position: Position, size: number): Promise<boolean> => {
  if (size - position < HEADER_SIZE) return true;
  const header = new Uint8Array(HEADER_SIZE);
  await file.read(header, position);
  return magicOf(header, 0) === MAGIC && position + batchSize(header, 0) > size;
};

/**
 * Whether the batch at `position` lacks bytes that the disk never got: within one sector all that belongs to it reads
 * as zeros. `expectedOffset` is its base offset if it is the next one, whose high bytes are zeros by right.
 */
const readsAsZeros = async (
  file: DiskFile,
  position: Position,
  size: number,
  expectedOffset: Offset,
): Promise<boolean> => {
  const header = new Uint8Array(HEADER_SIZE);
  const got = await file.read(header, position);
  const batch = got >= LOG_OVERHEAD ? batchSize(header, 0) : 0;
  const length = batch >= HEADER_SIZE && position + batch <= size ? batch : got;
  const chunk = new Uint8Array(SECTOR);
  for (let start = position; start < position + length; ) {
    const sectorEnd = (Math.floor(start / SECTOR) + 1) * SECTOR;
    const view = chunk.subarray(0, Math.min(sectorEnd, position + length) - start);
    const zeros = (await file.read(view, start)) === view.length && view.every((byte) => byte === 0);
    const byRight = start === position && view.length < 8 && expectedOffset < 2 ** (64 - 8 * view.length);
    if (zeros && !byRight) return true;
    start += view.length;
  }
  return false;
};
