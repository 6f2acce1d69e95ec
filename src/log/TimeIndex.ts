/**
 * The sparse time index of a segment, Kafka's `.timeindex`: entries of 12 bytes, the largest timestamp so far (int64,
 * strictly increasing) and the last offset of the batch that has it, relative to the base (int32, never decreasing). A
 * sealed segment's last entry is its largest timestamp.
 */
import { isPending, type MaybePending, type Offset, type Timestamp } from "../prelude/Types.ts";
import { readInt32, readInt64, writeInt32, writeInt64 } from "../record/Wire.ts";
import { type EntryAt, IndexEntries, type IndexFile } from "./IndexEntries.ts";

export const TIME_ENTRY_SIZE = 12;

export interface TimestampOffset {
  readonly timestamp: Timestamp;
  readonly offset: Offset;
}

export class TimeIndex {
  readonly entries: IndexEntries;
  private newest: TimestampOffset;

  /** `count` entries with the checksum `crc` are in the file already, and none is later than `last`. */
  constructor(
    readonly baseOffset: Offset,
    file: IndexFile,
    count = 0,
    crc = 0,
    last: TimestampOffset = { timestamp: -1, offset: baseOffset },
  ) {
    this.entries = new IndexEntries(TIME_ENTRY_SIZE, file, count, crc);
    this.newest = last;
  }

  /** (-1, base offset) when it is empty; of an inherited file known once it was checked. */
  get last(): TimestampOffset {
    return this.newest;
  }

  /** Ignored unless the timestamp is above the last one. */
  append(timestamp: Timestamp, offset: Offset): void {
    if (timestamp <= this.newest.timestamp) return;
    this.newest = { timestamp, offset };
    this.entries.append((bytes, at) => {
      writeInt64(bytes, at, timestamp);
      writeInt32(bytes, at + 8, offset - this.baseOffset);
    });
  }

  private entryAt(bytes: Uint8Array, at: number): TimestampOffset {
    return { timestamp: readInt64(bytes, at), offset: this.baseOffset + readInt32(bytes, at + 8) };
  }

  /** The last entry whose timestamp is below `timestamp`: every batch up to its offset is older than that. */
  before(timestamp: Timestamp): MaybePending<TimestampOffset> {
    const found = this.entries.floor(readInt64, timestamp - 1);
    const entry = (at: EntryAt | undefined): TimestampOffset =>
      at === undefined ? { timestamp: -1, offset: this.baseOffset } : this.entryAt(at.bytes, at.at);
    return isPending(found) ? found.then(entry) : entry(found);
  }

  /** Whether the inherited file can be believed: its entries are in order. */
  check(crc: number | undefined): MaybePending<boolean> {
    let last: TimestampOffset = { timestamp: -1, offset: this.baseOffset };
    const checked = this.entries.check(crc, (bytes, at) => {
      const entry = this.entryAt(bytes, at);
      if (entry.timestamp <= last.timestamp || entry.offset < last.offset) return false;
      last = entry;
      return true;
    });
    const learn = (sane: boolean): boolean => {
      if (last.timestamp > this.newest.timestamp) this.newest = last;
      return sane;
    };
    return isPending(checked) ? checked.then(learn) : learn(checked);
  }
}
