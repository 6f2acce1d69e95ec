/**
 * One segment of a log: a `.log` file and its three indexes, named by the segment's base offset in 20 digits (Kafka's
 * `LogSegment`). The last segment of a log is active: its index files are appended in steps. A sealed one is opened when
 * somebody first looks; an index that cannot be believed is built again from the batches, so that any of the side files
 * may be lost.
 *
 * What must stay true: `size` counts only bytes that are written whole; an index file that is wrong is replaced, never
 * repaired in place; files stay until the last reader has released the segment.
 */
import { type Disk, DiskError, type DiskFile } from "../platform/Disk.ts";
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
import type { IndexFile } from "./IndexEntries.ts";
import type { SegmentEnd } from "./LogSnapshot.ts";
import { SegmentIndexes } from "./SegmentIndexes.ts";
import type { TimestampOffset } from "./TimeIndex.ts";
import { type AbortedTransaction, TransactionIndex } from "./TransactionIndex.ts";

/** Read at a time while the batch that contains an offset is looked for. */
const LOOK_UP = 4096 + HEADER_SIZE;

/** Of every file of a segment; its snapshot is the state at its base offset. */
const SUFFIXES = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"] as const;
type SegmentSuffix = (typeof SUFFIXES)[number];
const SEGMENT_SUFFIXES = SUFFIXES.filter((suffix) => suffix !== ".snapshot");
const INDEX_SUFFIXES = [".index", ".timeindex", ".txnindex"] as const;
type IndexSuffix = (typeof INDEX_SUFFIXES)[number];
/** Kafka's suffix of files that are out of the log and will be removed. */
const DELETED_SUFFIX = ".deleted";
/** Of a cleaned segment that is being written, and of one that is whole and takes the place of those it was made from. */
export const CLEANED_SUFFIX = ".cleaned";
export const SWAP_SUFFIX = ".swap";

/** An index file's answer that could not be had. */
const LOST = Symbol("lost");

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
  /** Index files that look-ups read, and those that wait for their flush. */
  private readonly readers = new Map<IndexSuffix, DiskFile>();
  private readonly unflushed = new Map<IndexSuffix, DiskFile>();
  private indexes: SegmentIndexes | undefined;
  /** `indexes` are known to say what the batches do. */
  private believed = false;
  private transactions: TransactionIndex | undefined;
  private transactionsBelieved = false;
  private knownSize: number | undefined;
  private references = 0;
  private retired = false;
  active = false;
  indexIntervalBytes = 4096;
  /** How a snapshot says the segment ends, as long as that still holds. */
  private described: SegmentEnd | undefined;
  private headerTimestamp: Timestamp = -1;
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
    private describe: (() => SegmentEnd | undefined) | undefined = undefined,
  ) {
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
    this.installIndexes(this.emptyIndexes());
    this.installTransactions(new TransactionIndex(this.indexFile(".txnindex")));
  }

  /** How it ends is known from a snapshot: nothing has to be opened. */
  adopt(end: SegmentEnd, active: boolean): void {
    this.active = active;
    this.knownSize = end.size;
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
    const { indexes, transactions, described } = this;
    const largest = indexes?.largestTimestamp;
    return {
      baseOffset: this.baseOffset,
      size: this.size,
      firstTimestamp: indexes?.firstTimestamp ?? described?.firstTimestamp ?? -1,
      maxTimestamp: largest?.timestamp ?? described?.maxTimestamp ?? -1,
      maxTimestampOffset: largest?.offset ?? described?.maxTimestampOffset ?? this.baseOffset,
      bytesSinceIndexEntry: indexes?.bytesSinceIndexEntry ?? described?.bytesSinceIndexEntry ?? 0,
      abortedTransactions: transactions?.entries.count ?? described?.abortedTransactions ?? 0,
      offsetIndexCrc: indexes?.offset.entries.crc() ?? described?.offsetIndexCrc ?? 0,
      timeIndexCrc: indexes?.time.entries.crc() ?? described?.timeIndexCrc ?? 0,
      transactionIndexCrc: transactions?.entries.crc() ?? described?.transactionIndexCrc ?? 0,
    };
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

  /** Max timestamp of the first batch of the active segment, for the roll by time; -1 while there is none. */
  get firstTimestamp(): Timestamp {
    return this.indexes?.firstTimestamp ?? this.described?.firstTimestamp ?? -1;
  }

  /** Index entries so far, for Kafka's limit `segment.index.bytes`. */
  get indexBytes(): { readonly offset: number; readonly time: number } {
    const { indexes } = this;
    const onDisk = (suffix: IndexSuffix): number => this.disk.fileSize(this.path(suffix)) ?? 0;
    return {
      offset: indexes?.offset.entries.sizeInBytes ?? onDisk(".index"),
      time: indexes?.time.entries.sizeInBytes ?? onDisk(".timeindex"),
    };
  }

  /** Largest timestamp and the last offset of its batch; timestamp -1 when there is none. */
  async largestTimestamp(): Promise<TimestampOffset> {
    if (this.size === 0) return { timestamp: -1, offset: this.baseOffset };
    const end = this.described ?? this.askDescription();
    // An active segment's are right whatever its files hold; a sealed one's without a description only once checked.
    if (this.indexes !== undefined && (this.active || end !== undefined || this.believed)) {
      return this.indexes.largestTimestamp;
    }
    if (end !== undefined) return { timestamp: end.maxTimestamp, offset: end.maxTimestampOffset };
    return (await this.loaded()).largestTimestamp;
  }

  /** Takes account of a batch that has been written whole at the segment's end. */
  appended(batch: BatchInfo, indexIntervalBytes: number): void {
    const { lastOffset, maxTimestamp, sizeInBytes } = batch;
    this.writableIndexes().add(lastOffset, maxTimestamp, this.size, sizeInBytes, indexIntervalBytes);
    this.knownSize = this.size + sizeInBytes;
  }

  private writableIndexes(): SegmentIndexes {
    invariant(this.active, "only an active segment is appended to");
    if (this.indexes !== undefined) return this.indexes;
    // What cannot be believed is told by the first look-up, and built again.
    return (this.indexes = this.inheritIndexes() ?? this.trackingIndexes());
  }

  appendAborted(transaction: AbortedTransaction): void {
    const transactions = (this.transactions ??= this.inheritTransactions());
    invariant(transactions !== undefined, "how an active segment begins is known");
    transactions.append(transaction);
  }

  /** Appends what the index files do not have yet: when it is worth a write, or all of it with `all`. */
  writeIndexes(all: boolean): void {
    this.indexes?.save(all);
    if (this.transactions !== undefined && this.transactions.entries.unsavedBytes > 0)
      void this.transactions.entries.save();
  }

  /** The time index gets its closing entry, and the files all they lack: at a seal and at an orderly stop. */
  completeIndexes(): void {
    this.indexes?.close();
    this.writeIndexes(true);
    // Kafka's tools want both files of a segment that has batches, if only empty ones.
    if (this.size === 0) return;
    for (const suffix of [".index", ".timeindex"] as const) {
      if (!this.disk.exists(this.path(suffix))) this.unflushed.set(suffix, this.openWriter(suffix));
    }
  }

  /** The last batch is in. Answers how the segment ends. */
  seal(): SegmentEnd {
    this.completeIndexes();
    const end = this.end();
    this.active = false;
    this.described = end;
    return end;
  }

  /** Opens the side files that a flush of this segment has to include. */
  filesToFlush(): DiskFile[] {
    for (const suffix of INDEX_SUFFIXES) {
      if (this.unflushed.has(suffix) || !this.disk.exists(this.path(suffix))) continue;
      this.unflushed.set(suffix, this.openWriter(suffix));
    }
    return [...this.unflushed.values()];
  }

  /** Those that wait for their flush. */
  get unflushedFiles(): Iterable<DiskFile> {
    return this.unflushed.values();
  }

  /** Closes side files whose flush is over. */
  closeFlushed(isOver: (file: DiskFile) => boolean = () => true): void {
    for (const [suffix, file] of this.unflushed) {
      if (!isOver(file)) continue;
      file.close();
      this.unflushed.delete(suffix);
    }
  }

  /** All that was to be written to the index files is in them, as far as the disk takes it. */
  async indexesSaved(): Promise<void> {
    const { indexes, transactions } = this;
    await indexes?.offset.entries.save();
    await indexes?.time.entries.save();
    await transactions?.entries.save();
  }

  // — index files

  private openWriter(suffix: IndexSuffix): DiskFile {
    return this.disk.open(this.path(suffix), "write");
  }

  private indexFile(suffix: IndexSuffix): IndexFile {
    return {
      openToSave: () => this.openWriter(suffix),
      openToRead: () => {
        let reader = this.readers.get(suffix);
        if (reader === undefined) this.readers.set(suffix, (reader = this.disk.open(this.path(suffix), "read")));
        return reader;
      },
    };
  }

  private removeIndexFile(suffix: IndexSuffix): void {
    for (const files of [this.readers, this.unflushed]) {
      files.get(suffix)?.close();
      files.delete(suffix);
    }
    this.disk.remove(this.path(suffix));
  }

  private emptyIndexes(): SegmentIndexes {
    return SegmentIndexes.empty(this.baseOffset, this.segmentIndexFiles());
  }

  private segmentIndexFiles() {
    return { offset: this.indexFile(".index"), time: this.indexFile(".timeindex") };
  }

  /** Keeps count of what is appended while there is no index to enter it into. */
  private trackingIndexes(): SegmentIndexes {
    const tracking = SegmentIndexes.inherit(this.baseOffset, this.segmentIndexFiles(), {
      offsetBytes: 0,
      timeBytes: 0,
      end: this.described,
    })!;
    tracking.detach();
    return tracking;
  }

  private installIndexes(indexes: SegmentIndexes): void {
    this.indexes = indexes;
    this.believed = true;
  }

  /** Both indexes as the files have them, still to be checked; undefined when they cannot be what was written. */
  private inheritIndexes(): SegmentIndexes | undefined {
    const end = this.described ?? this.askDescription();
    const offsetBytes = this.disk.fileSize(this.path(".index"));
    const timeBytes = this.disk.fileSize(this.path(".timeindex"));
    // A log so short that it has no index entry has no index file either.
    const missing = offsetBytes === undefined || timeBytes === undefined;
    if (missing && this.size > 0 && (end?.offsetIndexCrc !== 0 || end.timeIndexCrc !== 0)) return undefined;
    const sizes = { offsetBytes: missing ? 0 : offsetBytes, timeBytes: missing ? 0 : timeBytes };
    return SegmentIndexes.inherit(this.baseOffset, this.segmentIndexFiles(), { ...sizes, end });
  }

  private loading: Promise<SegmentIndexes> | undefined;

  /** Indexes that can be believed. */
  private loaded(): MaybePending<SegmentIndexes> {
    if (this.believed && this.indexes !== undefined) return this.indexes;
    const underWay = this.rebuilding ?? this.loading;
    if (underWay !== undefined) return underWay;
    const inherited = this.indexes ?? this.inheritIndexes();
    if (inherited === undefined || inherited.isDetached) return this.rebuild();
    const judge = (sane: boolean): MaybePending<SegmentIndexes> => {
      if (!sane) return this.rebuild();
      this.installIndexes(inherited);
      return inherited;
    };
    // What is appended meanwhile goes behind what is being checked.
    this.indexes = inherited;
    const checking = this.unlessLost(() => this.checkIndexes(inherited), false);
    if (!isPending(checking)) return judge(checking);
    this.acquire();
    this.loading = checking.then(judge).finally(() => {
      this.loading = undefined;
      this.release();
    });
    return this.loading;
  }

  private checkIndexes(inherited: SegmentIndexes): MaybePending<boolean> {
    const sane = inherited.check(this.size);
    if (this.described !== undefined) return sane;
    return isPending(sane) ? sane.then((so) => so && this.reachesEnd(inherited)) : sane && this.reachesEnd(inherited);
  }

  /** Without a description: whether no batch behind the time index's last entry is later than that says. */
  private async reachesEnd({ time, offset }: SegmentIndexes): Promise<boolean> {
    const { last } = time;
    let latest: Timestamp = -1;
    const scan = await scanBatches(this.file, await offset.positionBefore(last.offset), this.size, (bytes, at) => {
      latest = Math.max(latest, maxTimestampOf(bytes, at));
      return latest <= last.timestamp;
    });
    return scan.stop === "end" && latest <= last.timestamp;
  }

  /** An index file that is gone or damaged since it was last seen is no failure: what was in it can be made again. */
  private unlessLost<A>(ask: () => MaybePending<A>, otherwise: A): MaybePending<A> {
    const lost = (error: unknown): A => {
      const gone = error instanceof DiskError && (error.code === "ENOENT" || error.code === "EIO");
      if (gone || error instanceof CorruptLog) return otherwise;
      throw error;
    };
    try {
      const answer = ask();
      return isPending(answer) ? answer.catch(lost) : answer;
    } catch (error) {
      return lost(error);
    }
  }

  /** Asks the indexes; when their files fail now, asks those that are built in their place. */
  private asking<A>(ask: (indexes: SegmentIndexes) => MaybePending<A>): MaybePending<A> {
    const answered = (answer: A | typeof LOST): MaybePending<A> =>
      answer === LOST ? this.rebuild().then(ask) : answer;
    const from = (indexes: SegmentIndexes): MaybePending<A> => {
      const answer = this.unlessLost<A | typeof LOST>(() => ask(indexes), LOST);
      return isPending(answer) ? answer.then(answered) : answered(answer);
    };
    const indexes = this.loaded();
    return isPending(indexes) ? indexes.then(from) : from(indexes);
  }

  private rebuilding: Promise<SegmentIndexes> | undefined;

  /** Builds both indexes from the batches and replaces their files. */
  private rebuild(): Promise<SegmentIndexes> {
    return (this.rebuilding ??= this.buildIndexes());
  }

  private async buildIndexes(): Promise<SegmentIndexes> {
    this.acquire();
    try {
      this.forgetIndexes();
      const built = this.emptyIndexes();
      // Until it has caught up with an active segment: its appends leave their entries to this scan.
      for (let from: Position = 0; from < this.size; ) {
        const end = this.size;
        const found = await scanBatches(this.file, from, end, (bytes, at, size, position) => {
          const [offset, timestamp] = [lastOffsetOf(bytes, at), maxTimestampOf(bytes, at)];
          if (built.add(offset, timestamp, position, size, this.indexIntervalBytes)) built.save(false);
          return true;
        });
        if (found.stop !== "end")
          throw new CorruptLog(this.path(".log"), found.position, "no batch where one must begin");
        from = end;
      }
      if (!this.active) built.close();
      built.save(true);
      this.installIndexes(built);
      return built;
    } finally {
      this.rebuilding = undefined;
      this.release();
    }
  }

  private forgetIndexes(): void {
    this.believed = false;
    this.indexes?.detach();
    if (this.active) this.indexes ??= this.trackingIndexes();
    for (const suffix of [".index", ".timeindex"] as const) this.removeIndexFile(suffix);
  }

  /** What recovery does per batch in place of `appended`: the file has the bytes already. */
  recovered(batch: BatchInfo, position: Position): void {
    const { lastOffset, maxTimestamp, sizeInBytes } = batch;
    this.knownSize = position + sizeInBytes;
    if (this.indexes!.add(lastOffset, maxTimestamp, position, sizeInBytes, this.indexIntervalBytes)) {
      this.writeIndexes(false);
    }
  }

  /** Begins recovery: indexes and size are told again by `recovered`, aborted transactions by `appendAborted`. */
  beginRecovery(): void {
    this.describe = undefined;
    this.described = undefined;
    for (const suffix of INDEX_SUFFIXES) this.removeIndexFile(suffix);
    this.begin();
  }

  // — look-up

  /**
   * The batch that contains `offset`, or the first one above it where compaction left a gap; undefined when the
   * segment ends before it.
   */
  find(offset: Offset): MaybePending<BatchPlace | undefined> {
    const from = this.asking((indexes) => indexes.offset.positionBefore(offset));
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
        return this.rebuild().then(async (ready) => this.findFrom(await ready.offset.positionBefore(offset), offset));
      }
      if (lastOffsetOf(bytes, at) >= offset) return { position: position + at, baseOffset, size };
      at += size;
    }
    if (at === 0) throw new CorruptLog(this.path(".log"), position, "a batch header is cut short");
    return position + at;
  }

  /** The last batch boundary at or before `position` that the index knows: one in some 4 KiB. */
  boundaryBefore(position: Position): MaybePending<Position> {
    return this.asking((indexes) => indexes.offset.boundaryBefore(position));
  }

  /** A position before which every batch's timestamps are below `timestamp`. */
  positionForTimestamp(timestamp: Timestamp): MaybePending<Position> {
    return this.asking((indexes) => {
      const position = (older: TimestampOffset): MaybePending<Position> =>
        older.timestamp < 0 ? 0 : indexes.offset.positionBefore(older.offset);
      const older = indexes.time.before(timestamp);
      return isPending(older) ? older.then(position) : position(older);
    });
  }

  // — aborted transactions

  private installTransactions(transactions: TransactionIndex): void {
    this.transactions = transactions;
    this.transactionsBelieved = true;
  }

  /**
   * As the file has them, still to be checked; undefined when nothing says what it must hold: Kafka makes no file for a
   * segment without any, so one that is missing or short may also be damage.
   */
  private inheritTransactions(): TransactionIndex | undefined {
    const end = this.described ?? this.askDescription();
    if (end === undefined) return undefined;
    return new TransactionIndex(this.indexFile(".txnindex"), end.abortedTransactions, end.transactionIndexCrc);
  }

  /** Undefined when the file does not hold what it must: then only a replay can tell. */
  private loadTransactions(): MaybePending<TransactionIndex | undefined> {
    const inherited = (this.transactions ??= this.inheritTransactions());
    if (inherited === undefined) return undefined;
    const judge = (sane: boolean): TransactionIndex | undefined => {
      // Whoever replayed it meanwhile knows better.
      if (this.transactionsBelieved) return this.transactions;
      if (!sane) return undefined;
      this.installTransactions(inherited);
      return inherited;
    };
    const crc = this.described?.transactionIndexCrc ?? 0;
    const checking = this.unlessLost(() => inherited.entries.check(crc, () => true), false);
    return isPending(checking) ? checking.then(judge) : judge(checking);
  }

  /** Its aborted transactions; undefined when they are lost and have to be replayed. */
  get transactionIndex(): MaybePending<TransactionIndex | undefined> {
    return this.transactionsBelieved ? this.transactions : this.loadTransactions();
  }

  /** Replaces a transaction index that was lost by a replayed one. */
  restoreTransactions(aborted: ReadonlyArray<AbortedTransaction>): void {
    this.removeIndexFile(".txnindex");
    const restored = new TransactionIndex(this.indexFile(".txnindex"));
    for (const one of aborted) restored.append(one);
    this.installTransactions(restored);
    void restored.entries.save();
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

  /** Max timestamp of the first batch; -1 when there is none. */
  async firstBatchTimestamp(): Promise<Timestamp> {
    if (this.size < HEADER_SIZE) return -1;
    if ((this.described ?? this.askDescription()) !== undefined || this.active) return this.firstTimestamp;
    if (this.headerTimestamp >= 0) return this.headerTimestamp;
    const header = new Uint8Array(HEADER_SIZE);
    await this.file.read(header, 0);
    return (this.headerTimestamp = maxTimestampOf(header, 0));
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
    for (const file of this.readers.values()) file.close();
    this.readers.clear();
    this.closeFlushed();
  }
}
