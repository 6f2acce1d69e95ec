/**
 * The sparse offset index of a segment, Kafka's `.index`: entries of 8 bytes, a batch's last offset relative to the
 * segment's base (int32) and the batch's position in the file (int32), both strictly increasing.
 */
import { isPending, type MaybePending, type Offset, type Position } from "../prelude/Types.ts";
import { readInt32, writeInt32 } from "../record/Wire.ts";
import { type EntryAt, IndexEntries, type IndexFile } from "./IndexEntries.ts";

export const OFFSET_ENTRY_SIZE = 8;

export class OffsetIndex {
  readonly entries: IndexEntries;
  private last: number;

  /** `count` entries with the checksum `crc` are in the file already, all of them below what will be appended. */
  constructor(
    readonly baseOffset: Offset,
    file: IndexFile,
    count = 0,
    crc = 0,
  ) {
    this.entries = new IndexEntries(OFFSET_ENTRY_SIZE, file, count, crc);
    this.last = -1;
  }

  /** Ignored when the offset is not above the last one. */
  append(lastOffset: Offset, position: Position): void {
    const relative = lastOffset - this.baseOffset;
    if (relative <= this.last) return;
    this.last = relative;
    this.entries.append((bytes, at) => {
      writeInt32(bytes, at, relative);
      writeInt32(bytes, at + 4, position);
    });
  }

  /** A position at or before the batch that contains `offset`: 0 when no entry is low enough. */
  positionBefore(offset: Offset): MaybePending<Position> {
    const found = this.entries.floor(readInt32, offset - this.baseOffset);
    return isPending(found) ? found.then(positionOf) : positionOf(found);
  }

  /** The last position at or before `position` at which an entry says that a batch begins; 0 when there is none. */
  boundaryBefore(position: Position): MaybePending<Position> {
    const found = this.entries.floor(positionAt, position);
    return isPending(found) ? found.then(positionOf) : positionOf(found);
  }

  /** Whether the inherited file can be believed: both columns increase, and positions lie inside the segment. */
  check(crc: number | undefined, segmentSize: number): MaybePending<boolean> {
    let lastOffset = -1;
    let lastPosition = -1;
    return this.entries.check(crc, (bytes, at) => {
      const offset = readInt32(bytes, at);
      const position = readInt32(bytes, at + 4);
      if (offset <= lastOffset || position <= lastPosition || position >= segmentSize) return false;
      lastOffset = offset;
      lastPosition = position;
      return true;
    });
  }
}

const positionAt = (bytes: Uint8Array, at: number): Position => readInt32(bytes, at + 4);

const positionOf = (entry: EntryAt | undefined): Position =>
  entry === undefined ? 0 : positionAt(entry.bytes, entry.at);
