/**
 * What is known of a segment without reading its batches: its three indexes, and how a snapshot says it ends. Owns the
 * life of the indexes (Kafka's `LazyIndex`): they are taken from their files when somebody first looks, believed once
 * they are checked, and the offset and the time index are built again from the batches when they cannot be. Lost aborted
 * transactions only a replay can tell; whoever makes it gives them back (`restoreTransactions`).
 *
 * What must stay true: no look-up is answered by an index that is not believed; an index file that is wrong is replaced,
 * never repaired in place; what is appended while indexes are checked or built is in them when that is over.
 */
import type { DiskFile } from "../platform/Disk.ts";
import { invariant } from "../prelude/Invariant.ts";
import { isPending, type MaybePending, type Offset, type Position, type Timestamp } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { lastOffsetOf, maxTimestampOf, recordCountOf } from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { CorruptLog } from "./CorruptLog.ts";
import type { SegmentEnd } from "./LogSnapshot.ts";
import { LOST, unlessLost } from "./LostIndex.ts";
import { SegmentIndexes } from "./SegmentIndexes.ts";
import { INDEX_SUFFIXES, type SideFiles } from "./SideFiles.ts";
import type { TimestampOffset } from "./TimeIndex.ts";
import { type AbortedTransaction, TransactionIndex } from "./TransactionIndex.ts";

/** What the indexes are built from, and held while that lasts. */
export interface IndexedSegment {
  readonly baseOffset: Offset;
  readonly size: number;
  readonly active: boolean;
  readonly file: DiskFile;
  path(suffix: ".log"): string;
  acquire(): void;
  release(): void;
}

/** What a search by time can find of a batch: compaction leaves batches without records, whose headers keep their times. */
const timeToFind = (recordCount: number, maxTimestamp: Timestamp): Timestamp => (recordCount === 0 ? -1 : maxTimestamp);

export class LazyIndexes {
  /** Bytes of batches between two entries of an index that is built again. */
  intervalBytes = 4096;
  /** Those that take account of what is appended, believed or not. */
  private current: SegmentIndexes | undefined;
  /** `current` is known to say what the batches do. */
  private believed = false;
  private loading: Promise<SegmentIndexes> | undefined;
  private rebuilding: Promise<SegmentIndexes> | undefined;
  private transactionIndex: TransactionIndex | undefined;
  private transactionsBelieved = false;
  /** Its file could not answer: nothing but a replay can. */
  private transactionsLost = false;
  /** How a snapshot says the segment ends, as long as that still holds. */
  private described: SegmentEnd | undefined;

  /** `describe` finds how a sealed segment ends, from the snapshot behind it; asked once, at the first look-up. */
  constructor(
    private readonly segment: IndexedSegment,
    private readonly files: SideFiles,
    private describe: (() => SegmentEnd | undefined) | undefined,
  ) {}

  // — how the segment ends

  /** Begins empty ones, for a segment without batches. */
  begin(): void {
    this.install(this.empty());
    this.installTransactions(new TransactionIndex(this.files.of(".txnindex")));
  }

  /** How the segment ends is known from a snapshot: nothing has to be opened. */
  adopt(end: SegmentEnd): void {
    this.described = end;
    this.describe = undefined;
  }

  /** Nothing that was written of the segment beside its batches counts any more. */
  discard(): void {
    this.describe = undefined;
    this.described = undefined;
    for (const suffix of INDEX_SUFFIXES) this.files.remove(suffix);
  }

  /** How the segment ends, or ended when this process found it; undefined: nothing says. */
  get description(): SegmentEnd | undefined {
    return this.described ?? this.askDescription();
  }

  private askDescription(): SegmentEnd | undefined {
    const { describe, segment } = this;
    this.describe = undefined;
    const end = describe?.();
    if (end !== undefined && end.baseOffset === segment.baseOffset && end.size === segment.size) this.described = end;
    return this.described;
  }

  end(): SegmentEnd {
    const { segment, current, transactionIndex, described } = this;
    const largest = current?.largestTimestamp;
    return {
      baseOffset: segment.baseOffset,
      size: segment.size,
      firstTimestamp: this.firstTimestamp,
      maxTimestamp: largest?.timestamp ?? described?.maxTimestamp ?? -1,
      maxTimestampOffset: largest?.offset ?? described?.maxTimestampOffset ?? segment.baseOffset,
      bytesSinceIndexEntry: current?.bytesSinceIndexEntry ?? described?.bytesSinceIndexEntry ?? 0,
      abortedTransactions: transactionIndex?.entries.count ?? described?.abortedTransactions ?? 0,
      offsetIndexCrc: current?.offset.entries.crc() ?? described?.offsetIndexCrc ?? 0,
      timeIndexCrc: current?.time.entries.crc() ?? described?.timeIndexCrc ?? 0,
      transactionIndexCrc: transactionIndex?.entries.crc() ?? described?.transactionIndexCrc ?? 0,
    };
  }

  /** Max timestamp of the first batch of a segment that is active or described; -1 while there is none. */
  get firstTimestamp(): Timestamp {
    return this.current?.firstTimestamp ?? this.described?.firstTimestamp ?? -1;
  }

  /** Largest timestamp and the last offset of its batch; timestamp -1 when there is none. */
  async largestTimestamp(): Promise<TimestampOffset> {
    const { segment, current } = this;
    if (segment.size === 0) return { timestamp: -1, offset: segment.baseOffset };
    const end = this.description;
    // An active segment's are right whatever its files hold; a sealed one's without a description only once checked.
    if (current !== undefined && (segment.active || end !== undefined || this.believed))
      return current.largestTimestamp;
    if (end !== undefined) return { timestamp: end.maxTimestamp, offset: end.maxTimestampOffset };
    return (await this.loaded()).largestTimestamp;
  }

  // — entries

  /** Index entries so far, for Kafka's limit `segment.index.bytes`. */
  get sizeInBytes(): { readonly offset: number; readonly time: number } {
    return {
      offset: this.current?.offset.entries.sizeInBytes ?? this.files.size(".index") ?? 0,
      time: this.current?.time.entries.sizeInBytes ?? this.files.size(".timeindex") ?? 0,
    };
  }

  /** Takes account of the batch at `position`; answers whether there is one more entry to write. */
  append(batch: BatchInfo, position: Position, intervalBytes: number): boolean {
    const { lastOffset, recordCount, maxTimestamp, sizeInBytes } = batch;
    return this.writable().add(lastOffset, timeToFind(recordCount, maxTimestamp), position, sizeInBytes, intervalBytes);
  }

  private writable(): SegmentIndexes {
    invariant(this.segment.active, "only an active segment is appended to");
    // What cannot be believed is told by the first look-up, and built again.
    return (this.current ??= this.inherit() ?? this.tracking());
  }

  appendAborted(transaction: AbortedTransaction): void {
    const transactions = (this.transactionIndex ??= this.inheritTransactions());
    invariant(transactions !== undefined, "how an active segment begins is known");
    transactions.append(transaction);
  }

  /** Appends what the files do not have yet: when it is worth a write, or all of it with `all`. */
  write(all: boolean): void {
    this.current?.save(all);
    const aborted = this.transactionIndex?.entries;
    if (aborted !== undefined && aborted.unsavedBytes > 0) void aborted.save();
  }

  /** The time index gets its closing entry, and the files all they lack: at a seal and at an orderly stop. */
  complete(): void {
    this.current?.close();
    this.write(true);
    // Kafka's tools want both files of a segment that has batches, if only empty ones.
    if (this.segment.size === 0) return;
    this.files.ensure(".index");
    this.files.ensure(".timeindex");
  }

  /** All that was to be written to the files is in them, as far as the disk takes it. */
  async saved(): Promise<void> {
    const { current, transactionIndex } = this;
    await current?.offset.entries.save();
    await current?.time.entries.save();
    await transactionIndex?.entries.save();
  }

  // — look-up

  /** A batch boundary at or before the batch that contains `offset`: the last one that the index knows. */
  positionBefore(offset: Offset): MaybePending<Position> {
    return this.asking((indexes) => indexes.offset.positionBefore(offset));
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

  /** Asks the indexes; when their files fail now, asks those that are built in their place. */
  private asking<A>(ask: (indexes: SegmentIndexes) => MaybePending<A>): MaybePending<A> {
    const answered = (answer: A | typeof LOST): MaybePending<A> =>
      answer === LOST ? this.rebuild().then(ask) : answer;
    const from = (indexes: SegmentIndexes): MaybePending<A> => {
      const answer = unlessLost<A | typeof LOST>(() => ask(indexes), LOST);
      return isPending(answer) ? answer.then(answered) : answered(answer);
    };
    const indexes = this.loaded();
    return isPending(indexes) ? indexes.then(from) : from(indexes);
  }

  // — found, checked, built again

  private install(indexes: SegmentIndexes): void {
    this.current = indexes;
    this.believed = true;
  }

  private get pairOfFiles() {
    return { offset: this.files.of(".index"), time: this.files.of(".timeindex") };
  }

  private empty(): SegmentIndexes {
    return SegmentIndexes.empty(this.segment.baseOffset, this.pairOfFiles);
  }

  /** Keeps count of what is appended while there is no index to enter it into. */
  private tracking(): SegmentIndexes {
    const nothing = { offsetBytes: 0, timeBytes: 0, end: this.described };
    const tracking = SegmentIndexes.inherit(this.segment.baseOffset, this.pairOfFiles, nothing)!;
    tracking.detach();
    return tracking;
  }

  /** Both indexes as the files have them, still to be checked; undefined when they cannot be what was written. */
  private inherit(): SegmentIndexes | undefined {
    const { segment, files } = this;
    const end = this.description;
    const offsetBytes = files.size(".index");
    const timeBytes = files.size(".timeindex");
    // A log so short that it has no index entry has no index file either.
    const missing = offsetBytes === undefined || timeBytes === undefined;
    if (missing && segment.size > 0 && (end?.offsetIndexCrc !== 0 || end.timeIndexCrc !== 0)) return undefined;
    const sizes = { offsetBytes: missing ? 0 : offsetBytes, timeBytes: missing ? 0 : timeBytes };
    return SegmentIndexes.inherit(segment.baseOffset, this.pairOfFiles, { ...sizes, end });
  }

  /** Indexes that can be believed. */
  private loaded(): MaybePending<SegmentIndexes> {
    if (this.believed && this.current !== undefined) return this.current;
    const underWay = this.rebuilding ?? this.loading;
    if (underWay !== undefined) return underWay;
    const inherited = this.current ?? this.inherit();
    if (inherited === undefined || inherited.isDetached) return this.rebuild();
    const judge = (sane: boolean): MaybePending<SegmentIndexes> => {
      if (!sane) return this.rebuild();
      this.install(inherited);
      return inherited;
    };
    // What is appended meanwhile goes behind what is being checked.
    this.current = inherited;
    const checking = unlessLost(() => this.check(inherited), false);
    if (!isPending(checking)) return judge(checking);
    this.segment.acquire();
    this.loading = checking.then(judge).finally(() => {
      this.loading = undefined;
      this.segment.release();
    });
    return this.loading;
  }

  private check(inherited: SegmentIndexes): MaybePending<boolean> {
    const sane = inherited.check(this.segment.size);
    if (this.described !== undefined) return sane;
    return isPending(sane) ? sane.then((so) => so && this.reachesEnd(inherited)) : sane && this.reachesEnd(inherited);
  }

  /** Without a description: whether no batch behind the time index's last entry is later than that says. */
  private async reachesEnd({ time, offset }: SegmentIndexes): Promise<boolean> {
    const { segment } = this;
    const { last } = time;
    let latest: Timestamp = -1;
    const scan = await scanBatches(
      segment.file,
      await offset.positionBefore(last.offset),
      segment.size,
      (bytes, at) => {
        latest = Math.max(latest, timeToFind(recordCountOf(bytes, at), maxTimestampOf(bytes, at)));
        return latest <= last.timestamp;
      },
    );
    return scan.stop === "end" && latest <= last.timestamp;
  }

  /** Builds the offset and the time index from the batches and replaces their files. */
  rebuild(): Promise<SegmentIndexes> {
    return (this.rebuilding ??= this.build());
  }

  private async build(): Promise<SegmentIndexes> {
    const { segment } = this;
    segment.acquire();
    try {
      this.forget();
      const built = this.empty();
      // Until it has caught up with an active segment: its appends leave their entries to this scan.
      for (let from: Position = 0; from < segment.size; ) {
        const end = segment.size;
        const found = await scanBatches(segment.file, from, end, (bytes, at, size, position) => {
          const timestamp = timeToFind(recordCountOf(bytes, at), maxTimestampOf(bytes, at));
          if (built.add(lastOffsetOf(bytes, at), timestamp, position, size, this.intervalBytes)) built.save(false);
          return true;
        });
        if (found.stop !== "end")
          throw new CorruptLog(segment.path(".log"), found.position, "no batch where one must begin");
        from = end;
      }
      if (!segment.active) built.close();
      built.save(true);
      this.install(built);
      return built;
    } finally {
      this.rebuilding = undefined;
      segment.release();
    }
  }

  private forget(): void {
    this.believed = false;
    this.current?.detach();
    if (this.segment.active) this.current ??= this.tracking();
    this.files.remove(".index");
    this.files.remove(".timeindex");
  }

  // — aborted transactions

  /** Its aborted transactions; undefined when they are lost and have to be replayed. */
  get transactions(): MaybePending<TransactionIndex | undefined> {
    return this.transactionsBelieved ? this.transactionIndex : this.loadTransactions();
  }

  private installTransactions(transactions: TransactionIndex): void {
    this.transactionIndex = transactions;
    this.transactionsBelieved = true;
    this.transactionsLost = false;
  }

  /**
   * As the file has them, still to be checked; undefined when nothing says what it must hold: Kafka makes no file for a
   * segment without any, so one that is missing or short may also be damage.
   */
  private inheritTransactions(): TransactionIndex | undefined {
    const end = this.description;
    if (end === undefined) return undefined;
    return new TransactionIndex(this.files.of(".txnindex"), end.abortedTransactions, end.transactionIndexCrc);
  }

  /** Undefined when the file does not hold what it must: then only a replay can tell. */
  private loadTransactions(): MaybePending<TransactionIndex | undefined> {
    const inherited = (this.transactionIndex ??= this.inheritTransactions());
    if (inherited === undefined || this.transactionsLost) return undefined;
    const judge = (sane: boolean): TransactionIndex | undefined => {
      // Whoever replayed it meanwhile knows better.
      if (this.transactionsBelieved) return this.transactionIndex;
      if (!sane) return undefined;
      this.installTransactions(inherited);
      return inherited;
    };
    const crc = this.described?.transactionIndexCrc ?? 0;
    const checking = unlessLost(() => inherited.entries.check(crc, () => true), false);
    return isPending(checking) ? checking.then(judge) : judge(checking);
  }

  /** `lost` could not answer. What is appended until it is replaced is in the replay too. */
  loseTransactions(lost: TransactionIndex): void {
    if (this.transactionIndex !== lost) return;
    this.transactionsBelieved = false;
    this.transactionsLost = true;
  }

  /** Replaces a transaction index that was lost by a replayed one. */
  restoreTransactions(aborted: ReadonlyArray<AbortedTransaction>): void {
    this.files.remove(".txnindex");
    const restored = new TransactionIndex(this.files.of(".txnindex"));
    for (const one of aborted) restored.append(one);
    this.installTransactions(restored);
    void restored.entries.save();
  }
}
