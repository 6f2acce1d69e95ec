/**
 * One segment of a log: a `.log` file and its three indexes, named by the segment's base offset in 20 digits (Kafka's
 * `LogSegment`). The last segment of a log is active: its indexes live in memory and their files are appended in steps.
 * A sealed one is opened, and its indexes are mapped, when somebody first looks; an index that cannot be believed is
 * built again from the batches, so that any of the side files may be lost.
 *
 * What must stay true: `size` counts only bytes that are written whole; a file that may be mapped is replaced, never
 * truncated; files stay until the last reader has released the segment.
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
} from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { CorruptLog } from "./CorruptLog.ts";
import type { IndexEntries } from "./IndexEntries.ts";
import type { SegmentEnd } from "./LogSnapshot.ts";
import { OffsetIndex } from "./OffsetIndex.ts";
import { TimeIndex } from "./TimeIndex.ts";
import { type AbortedTransaction, TransactionIndex } from "./TransactionIndex.ts";

/** Unwritten index bytes that are worth a write of their own. */
const INDEX_STEP = 4096;
/** Read at a time while the batch that contains an offset is looked for. */
const LOOK_UP = 4096 + HEADER_SIZE;

/** Of every file of a segment; its snapshot is the state at its base offset. */
const SUFFIXES = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"] as const;
type SegmentSuffix = (typeof SUFFIXES)[number];
const SEGMENT_SUFFIXES = SUFFIXES.filter((suffix) => suffix !== ".snapshot");
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

interface Indexes {
  readonly offset: OffsetIndex;
  readonly time: TimeIndex;
}

export class LogSegment {
  private readonly stem: string;
  private handle: DiskFile | undefined;
  private indexes: Indexes | undefined;
  private transactions: TransactionIndex | undefined;
  private readonly indexFiles = new Map<string, DiskFile>();
  private bytesSinceIndexEntry = 0;
  private knownSize: number | undefined;
  private references = 0;
  private retired = false;
  active = false;
  /** Max timestamp of the first batch; -1 while there is none. */
  firstTimestamp: Timestamp = -1;
  private maxTimestamp: Timestamp = -1;
  private maxTimestampOffset: Offset;
  /** How a snapshot says the segment ends, as long as that still holds for its index files. */
  private described: SegmentEnd | undefined;
  /** Behind the names of its files while they are not, or no longer, a segment's of the log. */
  private suffix: "" | typeof DELETED_SUFFIX | typeof CLEANED_SUFFIX | typeof SWAP_SUFFIX = "";

  /** `describe` finds how a sealed segment ends, from the snapshot behind it; asked once, at the first look-up. */
  constructor(
    private readonly disk: Disk,
    readonly directory: string,
    readonly baseOffset: Offset,
    private describe: (() => SegmentEnd | undefined) | undefined = undefined,
  ) {
    this.maxTimestampOffset = baseOffset;
    this.stem = `${directory}/${segmentName(baseOffset)}`;
  }

  /** `suffix` with its dot. */
  path(suffix: SegmentSuffix): string {
    return this.stem + suffix + this.suffix;
  }

  /** An empty segment that a cleaner fills (`appended`), `seal`s and gives a place in the log. */
  static cleaned(disk: Disk, directory: string, baseOffset: Offset, indexIntervalBytes: number): LogSegment {
    const segment = new LogSegment(disk, directory, baseOffset);
    segment.suffix = CLEANED_SUFFIX;
    segment.indexIntervalBytes = indexIntervalBytes;
    for (const suffix of SUFFIXES) disk.remove(segment.path(suffix));
    segment.begin();
    return segment;
  }

  /** Makes it the empty active segment. `adopt` does the same for one that has batches. */
  begin(): void {
    this.active = true;
    this.knownSize = 0;
    this.indexes = { offset: new OffsetIndex(this.baseOffset), time: new TimeIndex(this.baseOffset) };
    this.transactions = new TransactionIndex();
  }

  /** How it ends is known from a snapshot: nothing has to be opened. */
  adopt(end: SegmentEnd, active: boolean): void {
    this.active = active;
    this.knownSize = end.size;
    this.firstTimestamp = end.firstTimestamp;
    this.maxTimestamp = end.maxTimestamp;
    this.maxTimestampOffset = end.maxTimestampOffset;
    this.bytesSinceIndexEntry = end.bytesSinceIndexEntry;
    this.described = end;
    this.describe = undefined;
  }

  private askDescription(): SegmentEnd | undefined {
    const { describe } = this;
    this.describe = undefined;
    const end = describe?.();
    if (end !== undefined && end.baseOffset === this.baseOffset && end.size === this.size) this.adopt(end, this.active);
    return this.described;
  }

  end(): SegmentEnd {
    return {
      baseOffset: this.baseOffset,
      size: this.size,
      firstTimestamp: this.firstTimestamp,
      maxTimestamp: this.maxTimestamp,
      maxTimestampOffset: this.maxTimestampOffset,
      bytesSinceIndexEntry: this.bytesSinceIndexEntry,
      abortedTransactions: this.transactions?.entries.count ?? this.described?.abortedTransactions ?? 0,
      offsetIndexCrc: this.indexes?.offset.entries.crc ?? this.described?.offsetIndexCrc ?? 0,
      timeIndexCrc: this.indexes?.time.entries.crc ?? this.described?.timeIndexCrc ?? 0,
      transactionIndexCrc: this.transactions?.entries.crc ?? this.described?.transactionIndexCrc ?? 0,
    };
  }

  /** Bytes of whole, written batches. */
  get size(): number {
    return (this.knownSize ??= this.disk.fileSize(this.path(".log")) ?? 0);
  }

  get file(): DiskFile {
    return (this.handle ??= this.disk.open(this.path(".log"), this.active ? "write" : "read"));
  }

  /** Index entries so far, for Kafka's limit `segment.index.bytes`. */
  get indexBytes(): { readonly offset: number; readonly time: number } {
    const indexes = this.indexes ?? this.loadIndexes();
    return { offset: indexes?.offset.entries.sizeInBytes ?? 0, time: indexes?.time.entries.sizeInBytes ?? 0 };
  }

  /** Largest timestamp and the last offset of its batch; timestamp -1 when there is none. */
  async largestTimestamp(): Promise<{ readonly timestamp: Timestamp; readonly offset: Offset }> {
    if (this.maxTimestamp < 0 && this.size > 0 && (this.described ?? this.askDescription()) === undefined) {
      const { time } = await this.loaded();
      this.maxTimestamp = time.last.timestamp;
      this.maxTimestampOffset = time.last.offset;
    }
    return { timestamp: this.maxTimestamp, offset: this.maxTimestampOffset };
  }

  /** Takes account of a batch that has been written whole at the segment's end. */
  appended(batch: BatchInfo, indexIntervalBytes: number): void {
    this.indexBatch(this.writableIndexes(), batch.lastOffset, batch.maxTimestamp, this.size, indexIntervalBytes);
    this.knownSize = this.size + batch.sizeInBytes;
    this.bytesSinceIndexEntry += batch.sizeInBytes;
  }

  private indexBatch(indexes: Indexes, lastOffset: Offset, timestamp: Timestamp, position: Position, step: number) {
    if (position === 0) this.firstTimestamp = timestamp;
    if (timestamp > this.maxTimestamp) {
      this.maxTimestamp = timestamp;
      this.maxTimestampOffset = lastOffset;
    }
    if (this.bytesSinceIndexEntry <= step) return;
    indexes.offset.append(lastOffset, position);
    indexes.time.append(this.maxTimestamp, this.maxTimestampOffset);
    this.bytesSinceIndexEntry = 0;
  }

  private writableIndexes(): Indexes {
    invariant(this.active, "only an active segment is appended to");
    const indexes = this.indexes ?? this.loadIndexes();
    if (indexes !== undefined) return indexes;
    // Sparse is allowed: entries from here on; what is before costs a longer scan until the index is built again.
    this.replaceSideFile(this.path(".index"));
    this.replaceSideFile(this.path(".timeindex"));
    return (this.indexes = { offset: new OffsetIndex(this.baseOffset), time: new TimeIndex(this.baseOffset) });
  }

  appendAborted(transaction: AbortedTransaction): void {
    (this.transactions ?? this.loadTransactions() ?? (this.transactions = new TransactionIndex())).append(transaction);
  }

  /** Appends what the index files do not have yet: when it is worth a write, or all of it with `all`. */
  writeIndexes(all: boolean): void {
    const { indexes, transactions } = this;
    if (indexes !== undefined) {
      this.writeEntries(indexes.offset.entries, ".index", all);
      this.writeEntries(indexes.time.entries, ".timeindex", all);
    }
    if (transactions !== undefined) this.writeEntries(transactions.entries, ".txnindex", true);
  }

  private writeEntries(entries: IndexEntries, suffix: ".index" | ".timeindex" | ".txnindex", all: boolean): void {
    if (entries.unwrittenBytes === 0 || (!all && entries.unwrittenBytes < INDEX_STEP)) return;
    const path = this.path(suffix);
    let file = this.indexFiles.get(path);
    if (file === undefined) this.indexFiles.set(path, (file = this.disk.open(path, "write")));
    let bytes = entries.unwritten();
    let position = entries.writtenBytes;
    entries.markWritten();
    while (bytes.length > 0) {
      const taken = file.write([bytes], position);
      // A side file: when it cannot be written now it is found short, and built again, by whoever needs it.
      if (isPending(taken)) return void taken.catch(() => undefined);
      if (taken === 0) return;
      position += taken;
      bytes = bytes.subarray(taken);
    }
  }

  /** The time index gets its closing entry, and the files all they lack: at a seal and at an orderly stop. */
  completeIndexes(): void {
    this.indexes?.time.append(this.maxTimestamp, this.maxTimestampOffset);
    this.writeIndexes(true);
    // Kafka's tools want both files of a segment that has batches, if only empty ones.
    if (this.size === 0) return;
    for (const suffix of [".index", ".timeindex"] as const) {
      const path = this.path(suffix);
      if (!this.disk.exists(path)) this.indexFiles.set(path, this.disk.open(path, "write"));
    }
  }

  /** The last batch is in. Answers how the segment ends; the memory of its indexes is given up. */
  seal(): SegmentEnd {
    this.completeIndexes();
    const end = this.end();
    this.active = false;
    this.indexes = undefined;
    this.described = end;
    return end;
  }

  /** Side files that a flush of this segment has to include. */
  openIndexFiles(): DiskFile[] {
    return [...this.indexFiles.values()];
  }

  /** A sealed segment's side files are durable: nobody appends to them again. */
  closeIndexFiles(): void {
    for (const file of this.indexFiles.values()) file.close();
    this.indexFiles.clear();
  }

  // — look-up

  /** Both indexes, or undefined when the files cannot be believed. */
  private loadIndexes(): Indexes | undefined {
    const end = this.described ?? this.askDescription();
    const offsetPath = this.path(".index");
    const timePath = this.path(".timeindex");
    const load = (path: string): Uint8Array | undefined => {
      if (this.active) return this.disk.readFile(path);
      return this.disk.exists(path) ? this.disk.mapReadOnly(path) : undefined;
    };
    const offsetBytes = load(offsetPath);
    const timeBytes = load(timePath);
    if (offsetBytes === undefined || timeBytes === undefined) {
      // A log so short that it has no index entry has no index file either.
      if (this.size > 0 && end?.offsetIndexCrc !== 0) return undefined;
      if (this.size > 0 && end?.timeIndexCrc !== 0) return undefined;
      return (this.indexes = { offset: new OffsetIndex(this.baseOffset), time: new TimeIndex(this.baseOffset) });
    }
    const offset = new OffsetIndex(this.baseOffset, offsetBytes);
    const time = new TimeIndex(this.baseOffset, timeBytes);
    const sane =
      end === undefined
        ? offset.isSane(this.size) && time.isSane() && (this.size === 0 || time.entries.count > 0)
        : offset.entries.crc === end.offsetIndexCrc && time.entries.crc === end.timeIndexCrc;
    if (!sane) return undefined;
    return (this.indexes = { offset, time });
  }

  private loaded(): MaybePending<Indexes> {
    return this.indexes ?? this.loadIndexes() ?? this.rebuild();
  }

  private rebuilding: Promise<Indexes> | undefined;

  /** Builds both indexes from the batches and replaces their files. */
  private rebuild(): Promise<Indexes> {
    return (this.rebuilding ??= this.buildIndexes().finally(() => {
      this.rebuilding = undefined;
    }));
  }

  indexIntervalBytes = 4096;

  private async buildIndexes(): Promise<Indexes> {
    this.acquire();
    try {
      this.resetIndexes();
      const built = { offset: new OffsetIndex(this.baseOffset), time: new TimeIndex(this.baseOffset) };
      const end = this.size;
      const found = await scanBatches(this.file, 0, end, (bytes, at, size, position) => {
        this.indexBatch(built, lastOffsetOf(bytes, at), maxTimestampOf(bytes, at), position, this.indexIntervalBytes);
        this.bytesSinceIndexEntry += size;
        return true;
      });
      if (found.stop !== "end")
        throw new CorruptLog(this.path(".log"), found.position, "no batch where one must begin");
      this.installIndexes(built);
      return built;
    } finally {
      this.release();
    }
  }

  /** Forgets what the indexes and their files say; the files are removed, because they may be mapped. */
  resetIndexes(): void {
    this.indexes = undefined;
    this.bytesSinceIndexEntry = 0;
    this.maxTimestamp = -1;
    this.maxTimestampOffset = this.baseOffset;
    this.firstTimestamp = -1;
    for (const suffix of [".index", ".timeindex"] as const) this.replaceSideFile(this.path(suffix));
  }

  private replaceSideFile(path: string): void {
    this.indexFiles.get(path)?.close();
    this.indexFiles.delete(path);
    this.disk.remove(path);
  }

  private installIndexes(built: Indexes): void {
    if (!this.active) built.time.append(this.maxTimestamp, this.maxTimestampOffset);
    this.indexes = built;
    this.writeIndexes(true);
  }

  /** What recovery does per batch in place of `appended`: the file has the bytes already. */
  recovered(batch: BatchInfo, position: Position): void {
    this.indexes ??= { offset: new OffsetIndex(this.baseOffset), time: new TimeIndex(this.baseOffset) };
    this.indexBatch(this.indexes, batch.lastOffset, batch.maxTimestamp, position, this.indexIntervalBytes);
    this.bytesSinceIndexEntry += batch.sizeInBytes;
    this.knownSize = position + batch.sizeInBytes;
  }

  /** Begins recovery: indexes and size are told again by `recovered`, aborted transactions by `appendAborted`. */
  beginRecovery(): void {
    this.active = true;
    this.describe = undefined;
    this.described = undefined;
    this.resetIndexes();
    this.replaceSideFile(this.path(".txnindex"));
    this.transactions = new TransactionIndex();
    this.knownSize = 0;
    this.indexes = { offset: new OffsetIndex(this.baseOffset), time: new TimeIndex(this.baseOffset) };
  }

  /**
   * The batch that contains `offset`, or the first one above it where compaction left a gap; undefined when the
   * segment ends before it.
   */
  find(offset: Offset): MaybePending<BatchPlace | undefined> {
    const indexes = this.loaded();
    if (isPending(indexes)) return indexes.then((ready) => this.findFrom(ready.offset.positionBefore(offset), offset));
    return this.findFrom(indexes.offset.positionBefore(offset), offset);
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
        this.indexes = undefined;
        return this.rebuild().then((ready) => this.findFrom(ready.offset.positionBefore(offset), offset));
      }
      if (lastOffsetOf(bytes, at) >= offset) return { position: position + at, baseOffset, size };
      at += size;
    }
    if (at === 0) throw new CorruptLog(this.path(".log"), position, "a batch header is cut short");
    return position + at;
  }

  /** A batch boundary near and at or before both `position` and the batch of `offset`; 0 when no entry is lower. */
  boundaryBefore(position: Position, offset: Offset): Position {
    const index = this.indexes?.offset;
    if (index === undefined) return 0;
    return Math.min(index.indexedPosition(position), index.positionBefore(offset));
  }

  /** A position before which every batch's timestamps are below `timestamp`. */
  async positionForTimestamp(timestamp: Timestamp): Promise<Position> {
    const indexes = await this.loaded();
    const older = indexes.time.before(timestamp);
    return older.timestamp < 0 ? 0 : indexes.offset.positionBefore(older.offset);
  }

  // — aborted transactions

  /** Undefined when the file does not hold what it must: then only a replay can tell. */
  private loadTransactions(): TransactionIndex | undefined {
    const bytes = this.disk.readFile(this.path(".txnindex"));
    const index = new TransactionIndex(bytes);
    const end = this.described ?? this.askDescription();
    if (!index.isSane(this.baseOffset)) return undefined;
    if (end !== undefined && index.entries.crc !== end.transactionIndexCrc) return undefined;
    return (this.transactions = index);
  }

  get transactionIndex(): TransactionIndex | undefined {
    return this.transactions ?? this.loadTransactions();
  }

  /** Replaces a transaction index that was lost by a replayed one. */
  restoreTransactions(aborted: ReadonlyArray<AbortedTransaction>): void {
    this.replaceSideFile(this.path(".txnindex"));
    this.transactions = new TransactionIndex();
    for (const one of aborted) this.transactions.append(one);
    this.writeIndexes(true);
  }

  // — lifetime

  /** The largest timestamp of its records, or when its file was last written where no record has one. */
  async age(): Promise<Timestamp> {
    const { timestamp } = await this.largestTimestamp();
    return timestamp >= 0 ? timestamp : (this.disk.modifiedAt(this.path(".log")) ?? -1);
  }

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

  /** Never came into the log, or was kept out of it: the `.log` first, because the others mean nothing without it. */
  discard(): void {
    this.retire();
    for (const suffix of SEGMENT_SUFFIXES) this.disk.remove(this.path(suffix));
  }

  /** Max timestamp of the first batch; -1 when there is none. */
  async firstBatchTimestamp(): Promise<Timestamp> {
    if (this.firstTimestamp >= 0 || this.size < HEADER_SIZE) return this.firstTimestamp;
    if ((this.described ?? this.askDescription()) !== undefined) return this.firstTimestamp;
    const header = new Uint8Array(HEADER_SIZE);
    await this.file.read(header, 0);
    return (this.firstTimestamp = maxTimestampOf(header, 0));
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

  private closeFiles(): void {
    this.handle?.close();
    this.handle = undefined;
    this.closeIndexFiles();
  }
}
