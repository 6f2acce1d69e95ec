/**
 * The sparse offset index of a segment, Kafka's `.index`: entries of 8 bytes, a batch's last offset relative to the
 * segment's base (int32) and the batch's position in the file (int32), both strictly increasing.
 */
import type { Offset, Position } from "../prelude/Types.ts";
import { readInt32, writeInt32 } from "../record/Wire.ts";
import { IndexEntries } from "./IndexEntries.ts";

const ENTRY_SIZE = 8;
const offsetKey = readInt32;
const positionKey = (bytes: Uint8Array, at: number): number => readInt32(bytes, at + 4);

export class OffsetIndex {
  readonly entries: IndexEntries;

  constructor(
    readonly baseOffset: Offset,
    bytes?: Uint8Array,
  ) {
    this.entries = new IndexEntries(ENTRY_SIZE, bytes);
  }

  /** Ignored when the offset is not above the last one. */
  append(lastOffset: Offset, position: Position): void {
    const { entries } = this;
    const relative = lastOffset - this.baseOffset;
    if (entries.count > 0 && relative <= readInt32(entries.bytes, (entries.count - 1) * ENTRY_SIZE)) return;
    const at = entries.grow();
    writeInt32(entries.bytes, at, relative);
    writeInt32(entries.bytes, at + 4, position);
  }

  /** A position at or before the batch that contains `offset`: 0 when no entry is low enough. */
  positionBefore(offset: Offset): Position {
    const slot = this.entries.floor(offsetKey, offset - this.baseOffset);
    return slot < 0 ? 0 : positionKey(this.entries.bytes, slot * ENTRY_SIZE);
  }

  /** The last indexed batch position that is at most `position`; 0 when there is none. */
  indexedPosition(position: Position): Position {
    const slot = this.entries.floor(positionKey, position);
    return slot < 0 ? 0 : positionKey(this.entries.bytes, slot * ENTRY_SIZE);
  }

  /** Whether the file can be believed: whole entries, both columns increasing, positions inside the segment. */
  isSane(segmentSize: number): boolean {
    const { bytes, count } = this.entries;
    if (bytes.length !== count * ENTRY_SIZE) return false;
    let lastOffset = -1;
    let lastPosition = -1;
    for (let at = 0; at < bytes.length; at += ENTRY_SIZE) {
      const offset = readInt32(bytes, at);
      const position = readInt32(bytes, at + 4);
      if (offset <= lastOffset || position <= lastPosition) return false;
      lastOffset = offset;
      lastPosition = position;
    }
    return lastPosition < segmentSize;
  }
}
