/**
 * The offset and the time index of a segment together with what their next entries depend on (Kafka's
 * `LogSegment.append`): how many bytes came since the last entry, and the largest timestamp so far. The same fold while
 * batches are appended, recovered, and read again to replace an index that is lost.
 */
import { buggify } from "../prelude/Buggify.ts";
import { isPending, type MaybePending, type Offset, type Position, type Timestamp } from "../prelude/Types.ts";
import type { IndexFile } from "./IndexEntries.ts";
import type { SegmentEnd } from "./LogSnapshot.ts";
import { OFFSET_ENTRY_SIZE, OffsetIndex } from "./OffsetIndex.ts";
import { TIME_ENTRY_SIZE, TimeIndex, type TimestampOffset } from "./TimeIndex.ts";

/** Unsaved bytes of an index that are worth a write of their own. */
const SAVE_STEP = 4096;

export interface IndexFiles {
  readonly offset: IndexFile;
  readonly time: IndexFile;
}

/** What the files hold that an earlier process has left. */
export interface InheritedIndexes {
  readonly offsetBytes: number;
  readonly timeBytes: number;
  /** How the segment ended then; undefined: nothing says. */
  readonly end: SegmentEnd | undefined;
}

export class SegmentIndexes {
  readonly offset: OffsetIndex;
  readonly time: TimeIndex;
  /** Max timestamp of the first batch; -1 while there is none. */
  firstTimestamp: Timestamp = -1;
  private largest: TimestampOffset;
  private sinceEntry = 0;
  private detached = false;

  private constructor(
    baseOffset: Offset,
    files: IndexFiles,
    private readonly inherited: InheritedIndexes | undefined,
  ) {
    const end = inherited?.end;
    this.largest = { timestamp: end?.maxTimestamp ?? -1, offset: end?.maxTimestampOffset ?? baseOffset };
    this.firstTimestamp = end?.firstTimestamp ?? -1;
    this.sinceEntry = end?.bytesSinceIndexEntry ?? 0;
    const offsets = (inherited?.offsetBytes ?? 0) / OFFSET_ENTRY_SIZE;
    const times = (inherited?.timeBytes ?? 0) / TIME_ENTRY_SIZE;
    this.offset = new OffsetIndex(baseOffset, files.offset, offsets, end?.offsetIndexCrc);
    this.time = new TimeIndex(baseOffset, files.time, times, end?.timeIndexCrc, times > 0 ? this.largest : undefined);
  }

  static empty(baseOffset: Offset, files: IndexFiles): SegmentIndexes {
    return new SegmentIndexes(baseOffset, files, undefined);
  }

  /** Undefined when the files cannot be what was written: one is cut inside an entry. `check` knows the rest. */
  static inherit(baseOffset: Offset, files: IndexFiles, inherited: InheritedIndexes): SegmentIndexes | undefined {
    const { offsetBytes, timeBytes } = inherited;
    if (offsetBytes % OFFSET_ENTRY_SIZE !== 0 || timeBytes % TIME_ENTRY_SIZE !== 0) return undefined;
    return new SegmentIndexes(baseOffset, files, inherited);
  }

  /** The largest timestamp and the last offset of its batch; timestamp -1 when there is none. */
  get largestTimestamp(): TimestampOffset {
    return this.largest.timestamp >= 0 ? this.largest : this.time.last;
  }

  get bytesSinceIndexEntry(): number {
    return this.sinceEntry;
  }

  /** From here on it only counts: its files are another's, or nobody's. */
  detach(): void {
    this.detached = true;
  }

  get isDetached(): boolean {
    return this.detached;
  }

  /**
   * Takes account of the batch at `position`; an entry is due when more than `step` bytes came since the last one. Answers
   * whether there is one more to save.
   */
  add(lastOffset: Offset, timestamp: Timestamp, position: Position, size: number, step: number): boolean {
    if (position === 0) this.firstTimestamp = timestamp;
    if (timestamp > this.largest.timestamp) this.largest = { timestamp, offset: lastOffset };
    const due = this.sinceEntry > step && !this.detached && !buggify("an index entry is left out");
    if (due) {
      this.offset.append(lastOffset, position);
      this.time.append(this.largest.timestamp, this.largest.offset);
      this.sinceEntry = 0;
    }
    this.sinceEntry += size;
    return due;
  }

  /** The last batch is in: the time index gets its closing entry. */
  close(): void {
    if (this.detached) return;
    const { timestamp, offset } = this.largestTimestamp;
    this.time.append(timestamp, offset);
  }

  /** Writes what the files lack, when it is worth a write, or all of it. */
  save(all: boolean): void {
    if (this.detached) return;
    for (const { entries } of [this.offset, this.time]) {
      if (entries.unsavedBytes > 0 && (all || entries.unsavedBytes >= SAVE_STEP)) void entries.save();
    }
  }

  /** Whether what was inherited can be believed of a segment of this size. Built here, it always can. */
  check(segmentSize: number): MaybePending<boolean> {
    const { inherited } = this;
    if (inherited === undefined) return true;
    const { end, timeBytes } = inherited;
    if (end === undefined && timeBytes === 0 && segmentSize > 0) return false;
    const times = (sane: boolean): MaybePending<boolean> => sane && this.time.check(end?.timeIndexCrc);
    const offsets = this.offset.check(end?.offsetIndexCrc, segmentSize);
    return isPending(offsets) ? offsets.then(times) : times(offsets);
  }
}
