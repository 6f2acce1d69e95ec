/**
 * The sparse time index of a segment, Kafka's `.timeindex`: entries of 12 bytes, the largest timestamp so far (int64,
 * strictly increasing) and the last offset of the batch that has it, relative to the base (int32, never decreasing). A
 * sealed segment's last entry is its largest timestamp.
 */
import type { Offset, Timestamp } from "../prelude/Types.ts";
import { readInt32, readInt64, writeInt32, writeInt64 } from "../record/Wire.ts";
import { IndexEntries } from "./IndexEntries.ts";

const ENTRY_SIZE = 12;

export interface TimestampOffset {
  readonly timestamp: Timestamp;
  readonly offset: Offset;
}

export class TimeIndex {
  readonly entries: IndexEntries;

  constructor(
    readonly baseOffset: Offset,
    bytes?: Uint8Array,
  ) {
    this.entries = new IndexEntries(ENTRY_SIZE, bytes);
  }

  private at(slot: number): TimestampOffset {
    const { bytes } = this.entries;
    return {
      timestamp: readInt64(bytes, slot * ENTRY_SIZE),
      offset: this.baseOffset + readInt32(bytes, slot * ENTRY_SIZE + 8),
    };
  }

  /** (-1, base offset) when it is empty. */
  get last(): TimestampOffset {
    const { count } = this.entries;
    return count === 0 ? { timestamp: -1, offset: this.baseOffset } : this.at(count - 1);
  }

  /** Ignored unless the timestamp is above the last one. */
  append(timestamp: Timestamp, offset: Offset): void {
    if (timestamp <= this.last.timestamp) return;
    const at = this.entries.grow();
    writeInt64(this.entries.bytes, at, timestamp);
    writeInt32(this.entries.bytes, at + 8, offset - this.baseOffset);
  }

  /** The last entry whose timestamp is below `timestamp`: every batch up to its offset is older than that. */
  before(timestamp: Timestamp): TimestampOffset {
    const slot = this.entries.floor(readInt64, timestamp - 1);
    return slot < 0 ? { timestamp: -1, offset: this.baseOffset } : this.at(slot);
  }

  /** Whether the file can be believed: whole entries in order. */
  isSane(): boolean {
    const { bytes, count } = this.entries;
    if (bytes.length !== count * ENTRY_SIZE) return false;
    let lastTimestamp = -1;
    let lastOffset = -1;
    for (let at = 0; at < bytes.length; at += ENTRY_SIZE) {
      const timestamp = readInt64(bytes, at);
      const offset = readInt32(bytes, at + 8);
      if (timestamp <= lastTimestamp || offset < lastOffset) return false;
      lastTimestamp = timestamp;
      lastOffset = offset;
    }
    return true;
  }
}
