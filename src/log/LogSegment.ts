/**
 * One segment of a log: a `.log` file and its three indexes, named by the segment's base offset in 20 digits (Kafka's
 * `LogSegment`). Owns the names of all its files, the `.log` and its size, and who still reads it; the index files have a
 * life of their own (`LazyIndexes`). The last segment of a log is active: only that one is appended to.
 *
 * What must stay true: `size` counts only bytes that are written whole; files stay until the last reader has released
 * the segment.
 */
import type { Disk, DiskFile } from "../platform/Disk.ts";
import { allocateUninitialised } from "../platform/Memory.ts";
import { invariant } from "../prelude/Invariant.ts";
import { isPending, type MaybePending, type Offset, type Position, type Timestamp } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import {
  baseOffsetOf,
  batchSize,
  HEADER_SIZE,
  lastOffsetOf,
  MAGIC,
  magicOf,
  maxTimestampOf,
  recordCountOf,
} from "../record/RecordBatch.ts";
import { NEARBY, scanBatches } from "./BatchScan.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { LazyIndexes } from "./LazyIndexes.ts";
import type { SegmentEnd } from "./LogSnapshot.ts";
import { INDEX_SUFFIXES, SideFiles } from "./SideFiles.ts";

/** Read at a time while the batch that contains an offset is looked for. */
const LOOK_UP = 4096 + HEADER_SIZE;

const SEGMENT_SUFFIXES = [".log", ...INDEX_SUFFIXES] as const;
/** Of every file of a segment; its snapshot is the state at its base offset. */
const SUFFIXES = [...SEGMENT_SUFFIXES, ".snapshot"] as const;
type SegmentSuffix = (typeof SUFFIXES)[number];
/** Kafka's suffix of files that are out of the log and will be removed. */
const DELETED_SUFFIX = ".deleted";
/** Of a cleaned segment that is being written, and of one that is whole and takes the place of those it was made from. */
export const CLEANED_SUFFIX = ".cleaned";
export const SWAP_SUFFIX = ".swap";

export const segmentName = (baseOffset: Offset): string => String(baseOffset).padStart(20, "0");

/** Where a batch is: its position and what its header says of itself. */
export interface BatchPlace {
  readonly position: Position;
  readonly baseOffset: Offset;
  readonly size: number;
}

export class LogSegment {
  private readonly stem: string;
  private handle: DiskFile | undefined;
  readonly sideFiles: SideFiles;
  readonly indexes: LazyIndexes;
  private knownSize: number | undefined;
  private references = 0;
  private retired = false;
  active = false;
  private headerTimestamp: Timestamp = -1;
  /** Of a sealed segment's emptied batches, once it was asked for. */
  private emptiedTimestamp: Timestamp | undefined;
  /** What was found wrong in it: from there on nobody reads it. */
  damage: CorruptLog | undefined;
  /** A read failed that had been promised: from then on its bytes are read before they are. */
  breaksPromises = false;
  /** Behind the names of its files while they are not, or no longer, a segment's of the log. */
  private suffix: "" | typeof DELETED_SUFFIX | typeof CLEANED_SUFFIX | typeof SWAP_SUFFIX = "";

  /** `describe` finds how a sealed segment ends, from the snapshot behind it; asked once, at the first look-up. */
  constructor(
    private readonly disk: Disk,
    readonly directory: string,
    readonly baseOffset: Offset,
    describe?: () => SegmentEnd | undefined,
  ) {
    this.stem = `${directory}/${segmentName(baseOffset)}`;
    this.sideFiles = new SideFiles(disk, (suffix) => this.path(suffix));
    this.indexes = new LazyIndexes(this, this.sideFiles, describe);
  }

  /** `suffix` with its dot. */
  path(suffix: SegmentSuffix): string {
    return this.stem + suffix + this.suffix;
  }

  /** An empty segment that a cleaner fills (`appended`), `seal`s and gives a place in the log. */
  static cleaned(disk: Disk, directory: string, baseOffset: Offset, indexIntervalBytes: number): LogSegment {
    const segment = new LogSegment(disk, directory, baseOffset);
    segment.suffix = CLEANED_SUFFIX;
    segment.indexes.intervalBytes = indexIntervalBytes;
    for (const suffix of SUFFIXES) disk.remove(segment.path(suffix));
    segment.begin();
    return segment;
  }

  /** Makes it the empty active segment. `adopt` does the same for one that has batches. */
  begin(): void {
    this.active = true;
    this.knownSize = 0;
    this.indexes.begin();
  }

  /** How it ends is known from a snapshot: nothing has to be opened. */
  adopt(end: SegmentEnd, active: boolean): void {
    this.active = active;
    this.knownSize = end.size;
    this.indexes.adopt(end);
  }

  /** The last batch is in. Answers how the segment ends. */
  seal(): SegmentEnd {
    this.indexes.complete();
    const end = this.indexes.end();
    this.adopt(end, false);
    return end;
  }

  /** Begins recovery: size and indexes are told again by `recovered`, aborted transactions by `indexes`. */
  beginRecovery(): void {
    this.indexes.discard();
    this.begin();
  }

  /** What recovery does per batch in place of `appended`: the file has the bytes already. */
  recovered(batch: BatchInfo, position: Position): void {
    this.knownSize = position + batch.sizeInBytes;
    if (this.indexes.append(batch, position, this.indexes.intervalBytes)) this.indexes.write(false);
  }

  /** Takes account of a batch that has been written whole at the segment's end. */
  appended(batch: BatchInfo, indexIntervalBytes: number): void {
    this.indexes.append(batch, this.size, indexIntervalBytes);
    this.knownSize = this.size + batch.sizeInBytes;
  }

  /** Bytes of whole, written batches. */
  get size(): number {
    return (this.knownSize ??= this.disk.fileSize(this.path(".log")) ?? 0);
  }

  /** Where readers stop: its end, or what is damaged. */
  get readableEnd(): Position {
    return this.damage === undefined ? this.size : Math.max(0, this.damage.position);
  }

  get file(): DiskFile {
    return (this.handle ??= this.disk.open(this.path(".log"), this.active ? "write" : "read"));
  }

  // — look-up

  /**
   * The batch that contains `offset`, or the first one above it where compaction left a gap; undefined when the
   * segment ends before it.
   */
  find(offset: Offset): MaybePending<BatchPlace | undefined> {
    const from = this.indexes.positionBefore(offset);
    return isPending(from) ? from.then((position) => this.findFrom(position, offset)) : this.findFrom(from, offset);
  }

  /** Walks the headers from a batch position on. An index that led astray is built again, once. */
  private findFrom(from: Position, offset: Offset, block?: Uint8Array): MaybePending<BatchPlace | undefined> {
    const end = this.size;
    let position = from;
    let bytes = block;
    while (position < end) {
      bytes ??= allocateUninitialised(LOOK_UP);
      const reading: MaybePending<number> = this.file.read(bytes, position);
      if (isPending(reading)) {
        const pendingBlock = bytes;
        return reading.then((there) => {
          const next = this.walk(pendingBlock, there, position, offset, position === from && from > 0);
          return typeof next === "number" ? this.findFrom(next, offset, pendingBlock) : next;
        });
      }
      const next = this.walk(bytes, reading, position, offset, position === from && from > 0);
      if (typeof next !== "number") return next;
      position = next;
    }
    return undefined;
  }

  /** The batch in what was read, or the position at which to read on. */
  private walk(
    bytes: Uint8Array,
    there: number,
    position: Position,
    offset: Offset,
    indexed: boolean,
  ): MaybePending<BatchPlace | undefined> | Position {
    const end = Math.min(this.size, position + there);
    let at = 0;
    while (position + at + HEADER_SIZE <= end) {
      const size = batchSize(bytes, at);
      const baseOffset = baseOffsetOf(bytes, at);
      const wrong =
        magicOf(bytes, at) !== MAGIC ||
        size < HEADER_SIZE ||
        position + at + size > this.size ||
        baseOffset < this.baseOffset ||
        (indexed && at === 0 && baseOffset > offset);
      if (wrong) {
        if (!indexed) throw new CorruptLog(this.path(".log"), position + at, "no batch where one must begin");
        return this.indexes
          .rebuild()
          .then(async (ready) => this.findFrom(await ready.offset.positionBefore(offset), offset));
      }
      if (lastOffsetOf(bytes, at) >= offset) return { position: position + at, baseOffset, size };
      at += size;
    }
    if (at === 0) throw new CorruptLog(this.path(".log"), position, "a batch header is cut short");
    return position + at;
  }

  /** Max timestamp of the first batch; -1 when there is none. */
  async firstBatchTimestamp(): Promise<Timestamp> {
    if (this.size < HEADER_SIZE) return -1;
    if (this.indexes.description !== undefined || this.active) return this.indexes.firstTimestamp;
    if (this.headerTimestamp >= 0) return this.headerTimestamp;
    const header = new Uint8Array(HEADER_SIZE);
    await this.file.read(header, 0);
    return (this.headerTimestamp = maxTimestampOf(header, 0));
  }

  /**
   * The largest timestamp of its records; without any left, of those that its emptied batches had, since compaction has
   * written the file again; or when the file was last written where no record has one.
   */
  async age(): Promise<Timestamp> {
    const { timestamp } = await this.indexes.largestTimestamp();
    if (timestamp >= 0) return timestamp;
    const emptied = this.active ? -1 : (this.emptiedTimestamp ??= await this.timestampOfEmptied());
    return emptied >= 0 ? emptied : (this.disk.modifiedAt(this.path(".log")) ?? -1);
  }

  /** -1 when a batch has records. */
  private async timestampOfEmptied(): Promise<Timestamp> {
    let largest: Timestamp = -1;
    const { stop } = await scanBatches(
      this.file,
      0,
      this.size,
      (bytes, at) => {
        largest = Math.max(largest, maxTimestampOf(bytes, at));
        return recordCountOf(bytes, at) === 0;
      },
      NEARBY,
    );
    return stop === "end" ? largest : -1;
  }

  // — lifetime

  /**
   * Out of the log: its files get Kafka's suffix, the `.log` first. Readers that still have it go on reading. The state
   * at its base offset goes with it unless another segment begins there.
   */
  renameAway(withSnapshot = true): void {
    this.rename(DELETED_SUFFIX, withSnapshot ? SUFFIXES : SEGMENT_SUFFIXES);
  }

  /** Whole and durable: from here on a crash ends with this segment in the log. */
  renameToSwap(): void {
    this.rename(SWAP_SUFFIX, SEGMENT_SUFFIXES);
  }

  /** In the log or about to be, but not under its own name yet. */
  get isSwapped(): boolean {
    return this.suffix === SWAP_SUFFIX;
  }

  /** The files it stands for are out of the way. The `.log` goes last: while it has the suffix the swap is unfinished. */
  renameIntoPlace(): void {
    this.rename("", SEGMENT_SUFFIXES.toReversed());
  }

  private rename(to: typeof this.suffix, suffixes: ReadonlyArray<SegmentSuffix>): void {
    for (const suffix of suffixes) {
      const path = this.path(suffix);
      if (this.disk.exists(path)) this.disk.rename(path, this.stem + suffix + to);
    }
    this.suffix = to;
  }

  /**
   * Never came into the log, or was kept out of it: the `.log` first, because the others mean nothing without it, and
   * under both names, because a renaming may have failed half way.
   */
  discard(): void {
    this.retire();
    for (const name of [SWAP_SUFFIX, CLEANED_SUFFIX]) {
      for (const suffix of SEGMENT_SUFFIXES) this.disk.remove(this.stem + suffix + name);
    }
  }

  /** The end of a segment that was renamed away. */
  removeFiles(): void {
    invariant(this.suffix === DELETED_SUFFIX, "only a segment that is out of the log is removed");
    for (const suffix of SUFFIXES) this.disk.remove(this.path(suffix));
  }

  acquire(): void {
    this.references++;
  }

  release(): void {
    this.references--;
    if (this.retired && this.references === 0) this.closeFiles();
  }

  /** No more readers will come; descriptors close when the last one has left. */
  retire(): void {
    this.retired = true;
    if (this.references === 0) this.closeFiles();
  }

  get inUse(): boolean {
    return this.references > 0;
  }

  /** Still the log's: not replaced, not expired, and the log is open. */
  get isInLog(): boolean {
    return !this.retired;
  }

  private closeFiles(): void {
    this.handle?.close();
    this.handle = undefined;
    this.sideFiles.close();
  }
}
