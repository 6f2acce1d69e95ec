/**
 * The bytes of one partition: its directory's segments, appended at the end and read anywhere (Kafka's `UnifiedLog`,
 * without any decision in it). It knows offsets and positions, never producers or leaders.
 *
 * The order of an append is `stage` (no I/O), `evolve` of the state, `write`, later a flush round:
 * `beginFlush`, flushing the ticket's files and directories, `flushed`.
 *
 * What must stay true: readers (`LogReader`, `TimeSearch`) see written bytes only; after a failed write the log takes
 * nothing more and is opened again (`LogLoader.reload`); no file a reader holds is closed.
 */
import type { Disk } from "../platform/Disk.ts";
import { DiskError } from "../platform/Disk.ts";
import { buggify } from "../prelude/Buggify.ts";
import { invariant } from "../prelude/Invariant.ts";
import { isPending, type MaybePending, type Offset, type Timestamp } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import type { Codecs } from "../record/Compression.ts";
import { HEADER_SIZE } from "../record/RecordBatch.ts";
import { collectAborted } from "./AbortedTransactions.ts";
import { encodeLeaderEpochs, LEADER_EPOCH_FILE } from "./Checkpoints.ts";
import { type FetchData, LogReader, type PromisedData, segmentIndex } from "./LogReader.ts";
import { LogSegment, segmentName } from "./LogSegment.ts";
import { decodeSnapshot, placeSnapshot } from "./LogSnapshot.ts";
import { LogTail, type TailBudget } from "./LogTail.ts";
import type { CompletedTransaction } from "./ProducerStateManager.ts";
import { maxTimestampOffset, type OffsetAndTimestamp, offsetForTimestamp } from "./TimeSearch.ts";
import type { AbortedTransaction } from "./TransactionIndex.ts";
import { type FlushTicket, Unflushed } from "./Unflushed.ts";
import { writeFully } from "./WriteFully.ts";

/** Offsets in a segment are relative and an int32. */
const MAX_RELATIVE_OFFSET = 0x7fff_ffff;

/** The part of a topic's configuration a log needs; replaced as a whole when it changes at run time. */
export interface LogConfig {
  readonly segmentBytes: number;
  readonly segmentMs: number;
  /** Draws 0 … `segment.jitter.ms` for each segment: how much sooner than `segmentMs` it ends. */
  readonly segmentJitterMs: () => number;
  readonly segmentIndexBytes: number;
  readonly indexIntervalBytes: number;
}

/** Kafka's defaults. */
export const DEFAULT_LOG_CONFIG: LogConfig = {
  segmentBytes: 1024 * 1024 * 1024,
  segmentMs: 7 * 24 * 60 * 60 * 1000,
  segmentJitterMs: () => 0,
  segmentIndexBytes: 10 * 1024 * 1024,
  indexIntervalBytes: 4096,
};

/** What will be one write: consecutive batches of one segment. */
interface Group {
  readonly segment: LogSegment;
  /** The producer snapshot to write first, when the segment is new. */
  readonly snapshot: Uint8Array | undefined;
  readonly chunks: Uint8Array[];
  readonly batches: BatchInfo[];
  readonly aborted: AbortedTransaction[];
  size: number;
  firstTimestamp: Timestamp;
}

export class UnifiedLog {
  private staged: Group[] = [];
  private stagedEnd: Offset;
  private writing = false;
  private failed = false;
  private closed = false;
  /** Since when the active segment exists: rolls one whose batches have no timestamp. -1 until it is told. */
  private activeSince: Timestamp = -1;
  /** Drawn for the newest segment. */
  private jitterMs: number;
  private readonly unflushed: Unflushed;
  /** Where the last snapshot that is whole was taken; -1 before the first. */
  private describedOffset: Offset = -1;
  private writtenEnd: Offset;
  private flushedEnd: Offset;
  /** How often compaction has put a segment in the place of others. */
  swaps = 0;
  private readonly tail: LogTail;
  readonly reader: LogReader;

  /**
   * For the loader. `list` is in order of base offset and ends with the active segment; batches end at `endOffset`, of
   * which everything below `flushedOffset` is durable.
   */
  constructor(
    private readonly disk: Disk,
    readonly directory: string,
    public config: LogConfig,
    private list: LogSegment[],
    endOffset: Offset,
    flushedOffset: Offset,
    budget: TailBudget,
    recovered: ReadonlyArray<LogSegment> = [],
    namesChanged = false,
  ) {
    this.unflushed = new Unflushed(directory, recovered, namesChanged);
    this.stagedEnd = endOffset;
    this.writtenEnd = endOffset;
    this.flushedEnd = flushedOffset;
    this.jitterMs = config.segmentJitterMs();
    this.tail = new LogTail(budget);
    this.reader = new LogReader(this, this.tail);
  }

  /** Behind the last written batch: what a reader may see at most. */
  get logEndOffset(): Offset {
    return this.writtenEnd;
  }

  /** Everything below is durable: the recovery point. */
  get flushedOffset(): Offset {
    return this.flushedEnd;
  }

  /** Oldest first; the last one is active. */
  get segments(): ReadonlyArray<LogSegment> {
    return this.list;
  }

  get active(): LogSegment {
    return this.list.at(-1)!;
  }

  /** Bytes of all segments. */
  get size(): number {
    let size = 0;
    for (const segment of this.list) size += segment.size;
    return size;
  }

  /** A write failed: nothing is taken until the log is opened again. */
  get hasFailed(): boolean {
    return this.failed;
  }

  // — append

  /**
   * Takes one stamped batch for the next `write`. `snapshot` gives the producer snapshot at `info.baseOffset` and is
   * called only when a segment ends here, which is why the state must not have seen the batch yet. `now` is for
   * segments without timestamps. The bytes are the log's until `write` is done.
   */
  stage(bytes: Uint8Array, info: BatchInfo, snapshot: () => Uint8Array, now: Timestamp = -1): void {
    invariant(!this.failed && !this.closed, "a log that failed or was closed takes no batch");
    // The message is made only when it is needed: this runs for every batch.
    if (info.baseOffset < this.stagedEnd) {
      invariant(false, `batch at ${info.baseOffset} below staged end ${this.stagedEnd}`);
    }
    let group = this.staged.at(-1);
    if (group === undefined) {
      group = this.newGroup(this.active, undefined);
      this.staged.push(group);
    }
    if (this.mustRoll(group, info, now)) {
      group = this.newGroup(new LogSegment(this.disk, this.directory, info.baseOffset), snapshot());
      this.staged.push(group);
      this.activeSince = now;
    }
    if (this.activeSince < 0) this.activeSince = now;
    if (group.segment.size + group.size === 0) group.firstTimestamp = info.maxTimestamp;
    group.chunks.push(bytes);
    group.batches.push(info);
    group.size += info.sizeInBytes;
    this.stagedEnd = info.lastOffset + 1;
  }

  private newGroup(segment: LogSegment, snapshot: Uint8Array | undefined): Group {
    if (snapshot !== undefined) {
      this.jitterMs = this.config.segmentJitterMs();
      segment.indexes.intervalBytes = this.config.indexIntervalBytes;
      segment.begin();
    }
    const { firstTimestamp } = segment.indexes;
    return { segment, snapshot, chunks: [], batches: [], aborted: [], size: 0, firstTimestamp };
  }

  /** Kafka's `LogSegment.shouldRoll`, as it will be once what is staged is written. */
  private mustRoll(group: Group, info: BatchInfo, now: Timestamp): boolean {
    const { config } = this;
    const { segment } = group;
    const size = segment.size + group.size;
    if (size === 0) return info.lastOffset - segment.baseOffset > MAX_RELATIVE_OFFSET;
    if (size + info.sizeInBytes > config.segmentBytes) return true;
    if (buggify("a segment ends early", 0.2)) return true;
    if (info.lastOffset - segment.baseOffset > MAX_RELATIVE_OFFSET) return true;
    const rollMs = config.segmentMs - this.jitterMs;
    if (group.firstTimestamp >= 0) {
      if (info.maxTimestamp - group.firstTimestamp > rollMs) return true;
    } else if (now >= 0 && this.activeSince >= 0 && now - this.activeSince > rollMs) return true;
    // An entry stands for more than a header's bytes: nearly always the index need not even be loaded.
    return (size / HEADER_SIZE) * 12 > config.segmentIndexBytes - 24 && this.indexFull(group);
  }

  private indexFull(group: Group): boolean {
    const { segmentIndexBytes } = this.config;
    const { offset, time } = group.segment.indexes.sizeInBytes;
    const coming = group.batches.length;
    return (
      offset + coming * 8 > segmentIndexBytes - 8 ||
      // One entry of the time index stays free for the seal.
      time + coming * 12 > segmentIndexBytes - 24
    );
  }

  /** Notes the aborted transaction that the last staged batch, a marker, has ended. Commits are ignored. */
  stageAborted(ended: CompletedTransaction): void {
    if (!ended.aborted) return;
    const { producerId, firstOffset, lastOffset, lastStableOffset } = ended;
    this.staged.at(-1)!.aborted.push({ producerId, firstOffset, lastOffset, lastStableOffset });
  }

  /** The next batch goes into a new segment, whatever the old one's size. Nothing happens when it is empty. */
  roll(snapshot: () => Uint8Array, now: Timestamp = -1): void {
    const last = this.staged.at(-1) ?? this.newGroup(this.active, undefined);
    if (last.segment.size + last.size === 0) return;
    this.staged.push(this.newGroup(new LogSegment(this.disk, this.directory, this.stagedEnd), snapshot()));
    this.activeSince = now;
  }

  get hasStaged(): boolean {
    return this.staged.length > 0;
  }

  /**
   * Writes what is staged, one append per segment. Throws (or rejects with) `DiskError`, and `hasFailed` is set: what
   * of it reached the disk is then unknown and cut away by `reload`.
   */
  write(): MaybePending<void> {
    invariant(!this.writing, "one write at a time");
    const groups = this.staged;
    if (groups.length === 0) return undefined;
    this.staged = [];
    this.writing = true;
    return this.writeGroups(groups, 0);
  }

  private writeGroups(groups: ReadonlyArray<Group>, from: number): MaybePending<void> {
    try {
      for (let index = from; index < groups.length; index++) {
        const group = groups[index]!;
        const writing = this.writeGroup(group);
        if (!isPending(writing)) {
          this.written(group);
          continue;
        }
        return writing.then(
          () => {
            this.written(group);
            return this.writeGroups(groups, index + 1);
          },
          (error: unknown) => this.fail(error),
        );
      }
      this.writing = false;
      return undefined;
    } catch (error) {
      return this.fail(error);
    }
  }

  private fail(error: unknown): never {
    this.failed = true;
    this.writing = false;
    throw error;
  }

  private writeGroup(group: Group): MaybePending<void> {
    const started = group.snapshot === undefined ? undefined : this.startSegment(group.segment, group.snapshot);
    return isPending(started) ? started.then(() => this.writeBatches(group)) : this.writeBatches(group);
  }

  private writeBatches({ segment, chunks, size }: Group): MaybePending<void> {
    if (chunks.length === 0) return undefined;
    if (segment.size === 0) this.unflushed.addNames();
    return writeFully(segment.file, chunks, segment.size, size, "whole");
  }

  /** Seals the active segment and puts the new one behind it. */
  private startSegment(segment: LogSegment, snapshot: Uint8Array): MaybePending<void> {
    const sealed = this.active;
    placeSnapshot(snapshot, sealed.seal());
    this.unflushed.addFilesOf(sealed);
    this.unflushed.addSegment(sealed);
    this.list = [...this.list, segment];
    this.unflushed.addNames();
    return this.writeSnapshot(segment.baseOffset, snapshot);
  }

  /** The state at the active segment's base offset is on disk: what it was folded from may go. */
  get activeIsDescribed(): boolean {
    return this.describedOffset === this.active.baseOffset;
  }

  private writeSnapshot(offset: Offset, content: Uint8Array): MaybePending<void> {
    const path = `${this.directory}/${segmentName(offset)}.snapshot`;
    this.disk.remove(path);
    const file = this.disk.open(path, "write");
    this.unflushed.addNames();
    this.writeLeaderEpochs(content);
    const whole = (): void => {
      this.describedOffset = offset;
      // Only now: a flush that began before would not cover it.
      this.unflushed.addClosing(file);
    };
    // Believed only with its CRC: when it cannot be written whole, recovery starts from the snapshot before it.
    const cut = (): void => file.close();
    try {
      const writing = writeFully(file, [content], 0, content.length);
      return isPending(writing) ? writing.then(whole, cut) : whole();
    } catch (error) {
      cut();
      if (!(error instanceof DiskError)) throw error;
    }
  }

  private leaderEpochs: string | undefined;

  /** Kafka's `leader-epoch-checkpoint`, for Kafka: here the epochs come from the snapshot. */
  private writeLeaderEpochs(snapshot: Uint8Array): void {
    const content = encodeLeaderEpochs(decodeSnapshot(snapshot)?.addition?.epochs ?? []);
    const text = content.join();
    const path = `${this.directory}/${LEADER_EPOCH_FILE}`;
    this.leaderEpochs ??= this.disk.readFile(path)?.join();
    if (text === this.leaderEpochs) return;
    this.leaderEpochs = text;
    const file = this.disk.open(`${path}.tmp`, "write");
    file.truncate(0);
    const writing = file.write([content], 0);
    if (isPending(writing)) writing.catch(() => undefined);
    this.disk.rename(`${path}.tmp`, path);
    this.unflushed.addClosing(file);
  }

  private written(group: Group): void {
    const { segment, batches } = group;
    const first = batches[0];
    if (first === undefined) return;
    for (const batch of batches) segment.appended(batch, this.config.indexIntervalBytes);
    for (const one of group.aborted) segment.indexes.appendAborted(one);
    segment.indexes.write(false);
    this.unflushed.addSegment(segment);
    const end = batches.at(-1)!.lastOffset + 1;
    this.tail.append(group.chunks, group.size, first.baseOffset, end);
    this.writtenEnd = end;
  }

  // — flush

  /**
   * What has to be flushed for everything written by now to be durable; undefined when it is already. A ticket holds
   * its files open until it is settled.
   */
  beginFlush(): FlushTicket | undefined {
    return this.unflushed.begin(this.writtenEnd);
  }

  /** All of the ticket is durable. */
  flushed(ticket: FlushTicket): void {
    if (ticket.offset > this.flushedEnd) this.flushedEnd = ticket.offset;
    this.unflushed.settle(ticket);
  }

  /** Some of it failed: nothing above `flushedOffset` may be trusted, so the log takes no more batches. */
  flushFailed(ticket: FlushTicket): void {
    this.failed = true;
    this.unflushed.settle(ticket);
  }

  // — read

  /**
   * Whole batches from the one that contains `startOffset` (or the next one, where compaction left a gap) up to
   * `maxBytes`, none at or above `upperBound`; with `minOneBatch` the first one whole even when it is larger. At most
   * one segment's. Offsets outside the log are the caller's to refuse.
   */
  read(startOffset: Offset, maxBytes: number, upperBound: Offset, minOneBatch: boolean): MaybePending<FetchData> {
    const read = this.readOrPromise(startOffset, maxBytes, upperBound, minOneBatch, false);
    return isPending(read) ? read.then(inMemory) : inMemory(read);
  }

  /** The same, but what is long and not in memory may stay in the file: the caller releases it. */
  promise(startOffset: Offset, maxBytes: number, upperBound: Offset, minOneBatch: boolean): MaybePending<PromisedData> {
    return this.readOrPromise(startOffset, maxBytes, upperBound, minOneBatch, true);
  }

  private readOrPromise(
    startOffset: Offset,
    maxBytes: number,
    upperBound: Offset,
    minOneBatch: boolean,
    mayPromise: boolean,
  ): MaybePending<PromisedData> {
    const bound = Math.min(upperBound, this.writtenEnd);
    try {
      const reading = this.reader.read({ startOffset, maxBytes, bound, minOneBatch, mayPromise });
      return isPending(reading) ? reading.catch((error: unknown) => this.reader.unreadable(error)) : reading;
    } catch (error) {
      return this.reader.unreadable(error);
    }
  }

  // — look-up

  /** The first record in `[startOffset, upperBound)` whose timestamp is at least `timestamp`; undefined when none is. */
  offsetForTimestamp(
    timestamp: Timestamp,
    startOffset: Offset,
    upperBound: Offset,
    codecs: Codecs,
  ): Promise<OffsetAndTimestamp | undefined> {
    return offsetForTimestamp(this, timestamp, startOffset, upperBound, codecs);
  }

  /** The first record with the largest timestamp in `[startOffset, upperBound)` (KIP-734); undefined when it has none. */
  maxTimestampOffset(startOffset: Offset, upperBound: Offset, codecs: Codecs): Promise<OffsetAndTimestamp | undefined> {
    return maxTimestampOffset(this, startOffset, upperBound, codecs);
  }

  /**
   * Aborted transactions that touch `[startOffset, upperBound)`, for a `read_committed` answer. At once, unless a
   * segment's transaction index is lost and has to be replayed first.
   */
  abortedTransactions(startOffset: Offset, upperBound: Offset): MaybePending<AbortedTransaction[]> {
    return collectAborted(this.disk, this.list, segmentIndex(this.list, startOffset), startOffset, upperBound, []);
  }

  // — segments, end

  /** Sealed segments without a record at or above `offset`, which go when the log begins there. */
  segmentsBelow(offset: Offset): number {
    let count = 0;
    while (count < this.list.length - 1 && this.list[count + 1]!.baseOffset <= offset) count++;
    return count;
  }

  /**
   * Takes the `count` oldest segments out of the log, never the active one, and answers them: their files are renamed,
   * and stay for readers that have them until the caller removes them.
   */
  detachOldest(count: number): LogSegment[] {
    const detached = this.list.slice(0, Math.min(count, this.list.length - 1));
    this.list = this.list.slice(detached.length);
    for (const segment of detached) {
      this.unflushed.forget(segment);
      segment.retire();
      segment.renameAway();
    }
    if (detached.length > 0) this.unflushed.addNames();
    this.reader.forgetPlaces();
    return detached;
  }

  /**
   * Puts a cleaned segment (under its swap name) in the place of the ones it was made from, whose files are renamed away.
   * False when they are no longer all in the log, one after another, or one of them is active: then nothing happens.
   */
  replaceSegments(old: ReadonlyArray<LogSegment>, cleaned: LogSegment): boolean {
    const from = this.list.indexOf(old[0]!);
    const to = from + old.length;
    if (this.failed || this.closed || from < 0 || to >= this.list.length) return false;
    if (old.some((segment, index) => this.list[from + index] !== segment)) return false;
    this.list = [...this.list.slice(0, from), cleaned, ...this.list.slice(to)];
    for (const [index, segment] of old.entries()) {
      this.unflushed.forget(segment);
      segment.retire();
      segment.renameAway(index > 0);
    }
    this.unflushed.addNames();
    this.reader.forgetPlaces();
    // It has what compaction took, of which nobody knows any more what was aborted.
    this.tail.clear();
    this.swaps += 1;
    return true;
  }

  /**
   * Before an orderly stop: writes the snapshot at the log's end and what the index files lack, and answers the ticket
   * that makes all of it durable. Only then may the clean-shutdown marker be written. Nothing is staged afterwards.
   */
  prepareClose(snapshot: Uint8Array): FlushTicket | undefined {
    invariant(this.staged.length === 0 && !this.writing, "everything staged is written before a close");
    this.closed = true;
    const { active } = this;
    if (this.failed) return undefined;
    const path = `${this.directory}/${segmentName(this.writtenEnd)}.snapshot`;
    active.indexes.complete();
    this.unflushed.addFilesOf(active);
    placeSnapshot(snapshot, active.indexes.end());
    if (!equalBytes(this.disk.readFile(path), snapshot)) this.writeSnapshot(this.writtenEnd, snapshot);
    return this.beginFlush();
  }

  /** Closes the descriptors once readers are done. Writes nothing: without `prepareClose` this is a crash. */
  close(): void {
    this.closed = true;
    this.unflushed.close();
    this.tail.clear();
    for (const segment of this.list) segment.retire();
  }
}

const inMemory = (data: PromisedData): FetchData => {
  invariant(data.records instanceof Uint8Array, "nobody asked for a promise");
  return data as FetchData;
};

const equalBytes = (a: Uint8Array | undefined, b: Uint8Array): boolean => {
  if (a === undefined || a.length !== b.length) return false;
  for (let at = 0; at < b.length; at++) if (a[at] !== b[at]) return false;
  return true;
};
