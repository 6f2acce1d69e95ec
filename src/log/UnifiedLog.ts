/**
 * The bytes of one partition: its directory's segments, appended at the end and read anywhere (Kafka's `UnifiedLog`,
 * without any decision in it). It knows offsets and positions, never producers or leaders.
 *
 * The order of an append is `stage` (no I/O), `evolve` of the state, `write`, later a flush round:
 * `beginFlush`, flushing the ticket's files and directories, `flushed`.
 *
 * What must stay true: readers see written bytes only, whole batches, nothing at or above their bound; after a failed
 * write the log takes nothing more and is opened again (`LogLoader.reload`); no file a reader holds is closed.
 */
import type { Disk, DiskFile } from "../platform/Disk.ts";
import { DiskError } from "../platform/Disk.ts";
import { allocateUninitialised } from "../platform/Memory.ts";
import { buggify } from "../prelude/Buggify.ts";
import { invariant } from "../prelude/Invariant.ts";
import {
  isPending,
  type LeaderEpoch,
  type MaybePending,
  type Offset,
  type Position,
  type Timestamp,
} from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import type { Codecs } from "../record/Compression.ts";
import {
  baseOffsetOf,
  batchSize,
  HEADER_SIZE,
  lastOffsetOf,
  leaderEpochOf,
  MAGIC,
  magicOf,
  maxTimestampOf,
  records,
} from "../record/RecordBatch.ts";
import { type BatchVisitor, type FileScan, NEARBY, scanBatches } from "./BatchScan.ts";
import { encodeLeaderEpochs, LEADER_EPOCH_FILE } from "./Checkpoints.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { FileRecords } from "./FileRecords.ts";
import { type BatchPlace, LogSegment, segmentName } from "./LogSegment.ts";
import { decodeSnapshot, placeSnapshot } from "./LogSnapshot.ts";
import { LogTail, type TailBudget, type TailRead } from "./LogTail.ts";
import type { CompletedTransaction } from "./ProducerStateManager.ts";
import type { AbortedTransaction, TransactionIndex } from "./TransactionIndex.ts";
import { replayTransactions } from "./TransactionReplay.ts";

/** Offsets in a segment are relative and an int32. */
const MAX_RELATIVE_OFFSET = 0x7fff_ffff;

/** The part of a topic's configuration a log needs; replaced as a whole when it changes at run time. */
export interface LogConfig {
  readonly segmentBytes: number;
  readonly segmentMs: number;
  /** 0 … `segment.jitter.ms`, drawn by the caller: how much sooner than `segmentMs` this log rolls. */
  readonly segmentJitterMs: number;
  readonly segmentIndexBytes: number;
  readonly indexIntervalBytes: number;
}

/** Kafka's defaults. */
export const DEFAULT_LOG_CONFIG: LogConfig = {
  segmentBytes: 1024 * 1024 * 1024,
  segmentMs: 7 * 24 * 60 * 60 * 1000,
  segmentJitterMs: 0,
  segmentIndexBytes: 10 * 1024 * 1024,
  indexIntervalBytes: 4096,
};

/** Whole batches, the first of which contains the offset asked for; empty when none may be returned. */
export interface FetchData {
  readonly records: Uint8Array;
  /** Base offset of the first batch; the offset asked for when there is none. */
  readonly firstOffset: Offset;
  /** Behind the last batch. */
  readonly endOffset: Offset;
}

/** The same where the batches may still be in the file. */
export type PromisedData = FetchData | { readonly records: FileRecords; readonly endOffset: Offset };

/** From so many bytes on an answer may leave them in the file: below, reading costs less than looking up where to stop. */
const PROMISED_FROM = 64 * 1024;

interface Wanted {
  readonly startOffset: Offset;
  readonly maxBytes: number;
  /** Exclusive. */
  readonly bound: Offset;
  readonly minOneBatch: boolean;
  readonly mayPromise: boolean;
}

/** A batch boundary, and the offset of the batch that begins there. */
interface EndOfPromise {
  readonly position: Position;
  readonly offset: Offset;
}

/** What must be flushed so that everything below `offset` is durable. Settle it with `flushed` or `flushFailed`. */
export interface FlushTicket {
  readonly files: ReadonlyArray<DiskFile>;
  readonly directories: ReadonlyArray<string>;
  /** Exclusive. */
  readonly offset: Offset;
  readonly segments: ReadonlyArray<LogSegment>;
}

/** The first record at or above a timestamp, or the one with the largest. */
export interface OffsetAndTimestamp {
  readonly offset: Offset;
  readonly timestamp: Timestamp;
  readonly leaderEpoch: LeaderEpoch;
}

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
  private dirtySegments = new Set<LogSegment>();
  private dirtyFiles = new Set<DiskFile>();
  private dirtyNames = false;
  /** Where the last snapshot that is whole was taken; -1 before the first. */
  private describedOffset: Offset = -1;
  private writtenEnd: Offset;
  private flushedEnd: Offset;
  /** How often compaction has put a segment in the place of others. */
  swaps = 0;
  private readonly tail: LogTail;
  /** Where reads ended lately, so that the next one of a sequential reader needs no look-up. */
  private readonly hints: { offset: Offset; segment: LogSegment; position: Position }[] = [];
  private nextHint = 0;

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
    this.dirtySegments = new Set(recovered);
    this.dirtyNames = namesChanged || recovered.length > 0;
    for (const segment of recovered) for (const file of segment.filesToFlush()) this.dirtyFiles.add(file);
    this.stagedEnd = endOffset;
    this.writtenEnd = endOffset;
    this.flushedEnd = flushedOffset;
    this.tail = new LogTail(budget);
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
      segment.indexIntervalBytes = this.config.indexIntervalBytes;
      segment.begin();
    }
    const { firstTimestamp } = segment;
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
    const rollMs = config.segmentMs - config.segmentJitterMs;
    if (group.firstTimestamp >= 0) {
      if (info.maxTimestamp - group.firstTimestamp > rollMs) return true;
    } else if (now >= 0 && this.activeSince >= 0 && now - this.activeSince > rollMs) return true;
    // An entry stands for more than a header's bytes: nearly always the index need not even be loaded.
    return (size / HEADER_SIZE) * 12 > config.segmentIndexBytes - 24 && this.indexFull(group);
  }

  private indexFull(group: Group): boolean {
    const { segmentIndexBytes } = this.config;
    const { offset, time } = group.segment.indexBytes;
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
    if (segment.size === 0) this.dirtyNames = true;
    return writeFully(segment.file, chunks, segment.size, size);
  }

  /** Seals the active segment and puts the new one behind it. */
  private startSegment(segment: LogSegment, snapshot: Uint8Array): MaybePending<void> {
    const sealed = this.active;
    placeSnapshot(snapshot, sealed.seal());
    for (const file of sealed.filesToFlush()) this.dirtyFiles.add(file);
    this.dirtySegments.add(sealed);
    this.list = [...this.list, segment];
    this.dirtyNames = true;
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
    this.dirtyNames = true;
    this.writeLeaderEpochs(content);
    const whole = (): void => {
      this.describedOffset = offset;
      // Only now: a flush that began before would not cover it.
      this.dirtyFiles.add(file);
      this.snapshots.push(file);
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
    this.dirtyFiles.add(file);
    this.snapshots.push(file);
  }

  /** Snapshots and the like that wait for their flush and are then closed. */
  private snapshots: DiskFile[] = [];

  private written(group: Group): void {
    const { segment, batches } = group;
    const first = batches[0];
    if (first === undefined) return;
    for (const batch of batches) segment.appended(batch, this.config.indexIntervalBytes);
    for (const one of group.aborted) segment.appendAborted(one);
    segment.writeIndexes(false);
    this.dirtySegments.add(segment);
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
    if (this.dirtySegments.size === 0 && this.dirtyFiles.size === 0 && !this.dirtyNames) return undefined;
    const segments = [...this.dirtySegments];
    const files = [...this.dirtyFiles];
    for (const segment of segments) {
      segment.acquire();
      if (segment.size > 0) files.push(segment.file);
    }
    const directories = this.dirtyNames ? [this.directory] : [];
    this.dirtySegments = new Set();
    this.dirtyFiles = new Set();
    this.dirtyNames = false;
    return { files, directories, offset: this.writtenEnd, segments };
  }

  /** All of the ticket is durable. */
  flushed(ticket: FlushTicket): void {
    if (ticket.offset > this.flushedEnd) this.flushedEnd = ticket.offset;
    this.settle(ticket);
  }

  /** Some of it failed: nothing above `flushedOffset` may be trusted, so the log takes no more batches. */
  flushFailed(ticket: FlushTicket): void {
    this.failed = true;
    this.settle(ticket);
  }

  private settle(ticket: FlushTicket): void {
    const files = new Set(ticket.files);
    for (const segment of ticket.segments) {
      segment.closeFlushed((file) => files.has(file) && !this.dirtyFiles.has(file));
      segment.release();
    }
    this.snapshots = this.snapshots.filter((file) => {
      if (!files.has(file)) return true;
      file.close();
      return false;
    });
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
      const reading = this.readBelow({ startOffset, maxBytes, bound, minOneBatch, mayPromise });
      return isPending(reading) ? reading.catch((error: unknown) => this.unreadable(error)) : reading;
    } catch (error) {
      return this.unreadable(error);
    }
  }

  private readBelow(wanted: Wanted): MaybePending<PromisedData> {
    const { startOffset, maxBytes, bound, minOneBatch } = wanted;
    if (startOffset >= bound || (maxBytes <= 0 && !minOneBatch)) return emptyFetch(startOffset);
    const recent: TailRead | undefined = this.tail.read(startOffset, maxBytes, bound, minOneBatch);
    if (recent !== undefined) return recent;
    for (const hint of this.hints) {
      if (hint.offset === startOffset && hint.position < hint.segment.size) {
        if (hint.segment.active) this.tail.want();
        return this.readAt(hint.segment, hint.position, wanted);
      }
    }
    return this.readFrom(this.segmentIndex(startOffset), wanted);
  }

  /** Index of the segment whose range contains the offset; the first one when it is below all. */
  private segmentIndex(offset: Offset): number {
    let low = 0;
    let high = this.list.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (this.list[middle]!.baseOffset <= offset) low = middle + 1;
      else high = middle - 1;
    }
    return Math.max(0, high);
  }

  private readFrom(index: number, wanted: Wanted): MaybePending<PromisedData> {
    const { startOffset, bound } = wanted;
    const segment = this.list[index];
    if (segment === undefined || segment.baseOffset >= bound) return emptyFetch(startOffset);
    const go = (place: BatchPlace | undefined): MaybePending<PromisedData> => {
      // Behind the segment's last batch: what is asked for begins in the next one.
      if (place === undefined) return this.readFrom(index + 1, wanted);
      if (place.baseOffset >= bound) return emptyFetch(startOffset);
      return this.readAt(segment, place.position, wanted);
    };
    const place = segment.find(startOffset);
    if (!isPending(place)) return go(place);
    segment.acquire();
    return place.then(go).finally(() => segment.release());
  }

  /** Reads from a batch boundary, or promises to. */
  private readAt(segment: LogSegment, position: Position, wanted: Wanted): MaybePending<PromisedData> {
    const end = segment.readableEnd;
    const most = Math.min(wanted.maxBytes, end - position);
    const least = buggify("few records stay in their file") ? 1 : PROMISED_FROM;
    if (!wanted.mayPromise || most < least || segment.breaksPromises) return this.readNow(segment, position, wanted);
    const promise = (boundary: EndOfPromise | undefined): MaybePending<PromisedData> => {
      const length = boundary === undefined ? 0 : boundary.position - position;
      if (boundary === undefined || length < least || boundary.offset > wanted.bound)
        return this.readNow(segment, position, wanted);
      this.remember(boundary.offset, segment, boundary.position);
      const records = new FileRecords(segment, position, length, (error) => {
        segment.breaksPromises = true;
        return this.unreadable(error);
      });
      return { records, endOffset: boundary.offset };
    };
    const found = this.endOfPromise(segment, position + most);
    if (!isPending(found)) return promise(found);
    segment.acquire();
    return found.then(promise).finally(() => segment.release());
  }

  /** The last batch boundary at or before `limit` and the offset there, where the index knows one. */
  private endOfPromise(segment: LogSegment, limit: Position): MaybePending<EndOfPromise | undefined> {
    if (limit === segment.size) {
      const next = this.list[this.segmentIndex(segment.baseOffset) + 1];
      return { position: limit, offset: next?.baseOffset ?? this.writtenEnd };
    }
    const boundary = segment.boundaryBefore(limit);
    return isPending(boundary) ? boundary.then((position) => offsetAt(segment, position)) : offsetAt(segment, boundary);
  }

  private readNow(segment: LogSegment, position: Position, wanted: Wanted): MaybePending<FetchData> {
    const { startOffset, maxBytes, bound, minOneBatch } = wanted;
    const end = segment.readableEnd;
    if (position >= end && segment.damage !== undefined) throw segment.damage;
    const target = allocateUninitialised(Math.min(Math.max(maxBytes, HEADER_SIZE), end - position));
    const go = (there: number): MaybePending<FetchData> => {
      if (there < HEADER_SIZE)
        throw new CorruptLog(segment.path(".log"), position, "the file is shorter than its batches");
      const first = batchSize(target, 0);
      if (position + first > end || first < HEADER_SIZE) {
        throw new CorruptLog(segment.path(".log"), position, "no batch where one must begin");
      }
      if (first > maxBytes || first > there) {
        if (!minOneBatch) return emptyFetch(startOffset);
        if (first > there) return this.readNow(segment, position, { ...wanted, maxBytes: first });
      }
      return this.cut(segment, target, there, position, startOffset, bound);
    };
    const reading = segment.file.read(target, position);
    if (!isPending(reading)) return go(reading);
    segment.acquire();
    return reading.then(go).finally(() => segment.release());
  }

  /** Cuts what was read at the bound and at the last whole batch. */
  private cut(
    segment: LogSegment,
    bytes: Uint8Array,
    there: number,
    position: Position,
    startOffset: Offset,
    bound: Offset,
  ): FetchData {
    let at = 0;
    let endOffset = startOffset;
    while (at + HEADER_SIZE <= there) {
      const size = batchSize(bytes, at);
      if (size < HEADER_SIZE)
        throw new CorruptLog(segment.path(".log"), position + at, "no batch where one must begin");
      if (at + size > there || baseOffsetOf(bytes, at) >= bound) break;
      endOffset = lastOffsetOf(bytes, at) + 1;
      at += size;
    }
    if (at === 0) return emptyFetch(startOffset);
    this.remember(endOffset, segment, position + at);
    if (segment.active && endOffset === bound) this.tail.want();
    return { records: bytes.subarray(0, at), firstOffset: baseOffsetOf(bytes, 0), endOffset };
  }

  // — damage

  /** Told of damage, each once. */
  damageFound: ((found: CorruptLog | DiskError) => void) | undefined;
  private readonly told = new Set<string>();

  /**
   * A segment does not hold what was written from `position` on: whoever reads there is refused, the bytes stay. What
   * lies before, and every other segment, is read as ever.
   */
  noteDamage(segment: LogSegment, position: Position, why: string): void {
    const known = segment.damage;
    if (known !== undefined && known.position <= position) return;
    segment.damage = new CorruptLog(segment.path(".log"), position, why);
    this.hints.length = 0;
    this.nextHint = 0;
    this.tell(segment.damage);
  }

  private tell(found: CorruptLog | DiskError): void {
    // What a client tries again and again is said once; so much at a time is remembered.
    if (this.told.has(found.message)) return;
    if (this.told.size >= 100) this.told.clear();
    this.told.add(found.message);
    this.damageFound?.(found);
  }

  private unreadable(error: unknown): never {
    if (error instanceof CorruptLog) {
      const segment = this.list.find((each) => each.path(".log") === error.path);
      if (segment !== undefined) this.noteDamage(segment, error.position, error.why);
    } else if (error instanceof DiskError) this.tell(error);
    throw error;
  }

  private remember(offset: Offset, segment: LogSegment, position: Position): void {
    // Swapped or detached while it was read: its files go when this reader is done.
    if (!segment.isInLog) return;
    this.hints[this.nextHint] = { offset, segment, position };
    this.nextHint = (this.nextHint + 1) % 8;
  }

  // — look-up by time

  /** The first record in `[startOffset, upperBound)` whose timestamp is at least `timestamp`; undefined when none is. */
  async offsetForTimestamp(
    timestamp: Timestamp,
    startOffset: Offset,
    upperBound: Offset,
    codecs: Codecs,
  ): Promise<OffsetAndTimestamp | undefined> {
    for (let index = this.segmentIndex(startOffset); index < this.list.length; index++) {
      const segment = this.list[index]!;
      if (segment.baseOffset >= upperBound) return undefined;
      segment.acquire();
      try {
        if ((await segment.largestTimestamp()).timestamp < timestamp) continue;
        const from = await segment.positionForTimestamp(timestamp);
        const found = await this.searchTime(segment, from, timestamp, startOffset, upperBound, codecs);
        if (found !== undefined) return found;
      } finally {
        segment.release();
      }
    }
    return undefined;
  }

  private async searchTime(
    segment: LogSegment,
    from: Position,
    timestamp: Timestamp,
    startOffset: Offset,
    upperBound: Offset,
    codecs: Codecs,
  ): Promise<OffsetAndTimestamp | undefined> {
    let found: OffsetAndTimestamp | undefined;
    const look: BatchVisitor = (bytes, at) => {
      if (baseOffsetOf(bytes, at) >= upperBound) return false;
      if (maxTimestampOf(bytes, at) < timestamp || lastOffsetOf(bytes, at) < startOffset) return true;
      for (const record of records(bytes, at, codecs)) {
        if (record.timestamp >= timestamp && record.offset >= startOffset) {
          found = { offset: record.offset, timestamp: record.timestamp, leaderEpoch: leaderEpochOf(bytes, at) };
          return false;
        }
      }
      return true;
    };
    const scan = await scanBatches(segment.file, from, segment.readableEnd, look, NEARBY);
    this.assertRead(segment, scan);
    return found;
  }

  /** The first record with the largest timestamp in `[startOffset, upperBound)` (KIP-734); undefined when it has none. */
  async maxTimestampOffset(
    startOffset: Offset,
    upperBound: Offset,
    codecs: Codecs,
  ): Promise<OffsetAndTimestamp | undefined> {
    let largest = -1;
    for (let index = this.segmentIndex(startOffset); index < this.list.length; index++) {
      if (this.list[index]!.baseOffset >= upperBound) break;
      largest = Math.max(largest, (await this.list[index]!.largestTimestamp()).timestamp);
    }
    if (largest < 0) return undefined;
    const found = await this.offsetForTimestamp(largest, startOffset, upperBound, codecs);
    // The largest of a segment may lie outside the range: then every batch in it has to be asked.
    return found ?? this.scanMaxTimestamp(startOffset, upperBound, codecs);
  }

  private async scanMaxTimestamp(
    startOffset: Offset,
    upperBound: Offset,
    codecs: Codecs,
  ): Promise<OffsetAndTimestamp | undefined> {
    let best: OffsetAndTimestamp | undefined;
    for (let index = this.segmentIndex(startOffset); index < this.list.length; index++) {
      const segment = this.list[index]!;
      if (segment.baseOffset >= upperBound) break;
      segment.acquire();
      try {
        const scan = await scanBatches(segment.file, 0, segment.readableEnd, (bytes, at) => {
          if (baseOffsetOf(bytes, at) >= upperBound) return false;
          if (lastOffsetOf(bytes, at) < startOffset || maxTimestampOf(bytes, at) <= (best?.timestamp ?? -1))
            return true;
          for (const { offset, timestamp } of records(bytes, at, codecs)) {
            if (offset >= startOffset && timestamp > (best?.timestamp ?? -1)) {
              best = { offset, timestamp, leaderEpoch: leaderEpochOf(bytes, at) };
            }
          }
          return true;
        });
        this.assertRead(segment, scan);
      } finally {
        segment.release();
      }
    }
    return best;
  }

  /** A search that met damage has no answer. */
  private assertRead(segment: LogSegment, scan: FileScan): void {
    if (scan.stop === "invalid") {
      this.unreadable(new CorruptLog(segment.path(".log"), scan.position, "no batch where one must begin"));
    }
    if (scan.stop === "end" && segment.damage !== undefined) throw segment.damage;
  }

  // — aborted transactions

  /**
   * Aborted transactions that touch `[startOffset, upperBound)`, for a `read_committed` answer. At once, unless a
   * segment's transaction index is lost and has to be replayed first.
   */
  abortedTransactions(startOffset: Offset, upperBound: Offset): MaybePending<AbortedTransaction[]> {
    return this.collectAborted(this.list, this.segmentIndex(startOffset), startOffset, upperBound, []);
  }

  private collectAborted(
    segments: ReadonlyArray<LogSegment>,
    from: number,
    startOffset: Offset,
    upperBound: Offset,
    found: AbortedTransaction[],
  ): MaybePending<AbortedTransaction[]> {
    for (let index = from; index < segments.length; index++) {
      const segment = segments[index]!;
      const transactions = segment.transactionIndex;
      const complete = isPending(transactions)
        ? transactions.then((ready) => this.collectIn(segments, index, ready, startOffset, upperBound, found))
        : this.collectIn(segments, index, transactions, startOffset, upperBound, found);
      if (isPending(complete)) {
        segment.acquire();
        return complete
          .then((done) => (done ? found : this.collectAborted(segments, index + 1, startOffset, upperBound, found)))
          .finally(() => segment.release());
      }
      if (complete) break;
    }
    return found;
  }

  /** Those of one segment; true when no later one can have more. */
  private collectIn(
    segments: ReadonlyArray<LogSegment>,
    index: number,
    transactions: TransactionIndex | undefined,
    startOffset: Offset,
    upperBound: Offset,
    found: AbortedTransaction[],
  ): MaybePending<boolean> {
    if (transactions !== undefined) return transactions.collect(startOffset, upperBound, found);
    return replayTransactions(this.disk, segments, index).then(async () => {
      const restored = await segments[index]!.transactionIndex;
      return restored === undefined ? false : restored.collect(startOffset, upperBound, found);
    });
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
      this.dirtySegments.delete(segment);
      for (const file of segment.unflushedFiles) this.dirtyFiles.delete(file);
      segment.retire();
      segment.renameAway();
    }
    if (detached.length > 0) this.dirtyNames = true;
    this.hints.length = 0;
    this.nextHint = 0;
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
      this.dirtySegments.delete(segment);
      for (const file of segment.unflushedFiles) this.dirtyFiles.delete(file);
      segment.retire();
      segment.renameAway(index > 0);
    }
    this.dirtyNames = true;
    this.hints.length = 0;
    this.nextHint = 0;
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
    active.completeIndexes();
    for (const file of active.filesToFlush()) this.dirtyFiles.add(file);
    placeSnapshot(snapshot, active.end());
    if (!equalBytes(this.disk.readFile(path), snapshot)) this.writeSnapshot(this.writtenEnd, snapshot);
    return this.beginFlush();
  }

  /** Closes the descriptors once readers are done. Writes nothing: without `prepareClose` this is a crash. */
  close(): void {
    this.closed = true;
    for (const file of this.snapshots) file.close();
    this.snapshots = [];
    this.tail.clear();
    for (const segment of this.list) segment.retire();
  }
}

const inMemory = (data: PromisedData): FetchData => {
  invariant(data.records instanceof Uint8Array, "nobody asked for a promise");
  return data as FetchData;
};

/** The base offset of the batch at an index's position; undefined when none begins there, or none is there at once. */
const offsetAt = (segment: LogSegment, position: Position): MaybePending<EndOfPromise | undefined> => {
  if (position <= 0) return undefined;
  const header = new Uint8Array(HEADER_SIZE);
  const look = (there: number): EndOfPromise | undefined => {
    const size = there < HEADER_SIZE || magicOf(header, 0) !== MAGIC ? 0 : batchSize(header, 0);
    const offset = baseOffsetOf(header, 0);
    if (size < HEADER_SIZE || position + size > segment.size || offset < segment.baseOffset) return undefined;
    return { position, offset };
  };
  const reading = segment.file.read(header, position);
  return isPending(reading) ? reading.then(look) : look(reading);
};

const emptyFetch = (offset: Offset): FetchData => ({
  records: new Uint8Array(0),
  firstOffset: offset,
  endOffset: offset,
});

const equalBytes = (a: Uint8Array | undefined, b: Uint8Array): boolean => {
  if (a === undefined || a.length !== b.length) return false;
  for (let at = 0; at < b.length; at++) if (a[at] !== b[at]) return false;
  return true;
};

/** Drops the first `taken` bytes of a vector. */
const rest = (chunks: ReadonlyArray<Uint8Array>, taken: number): Uint8Array[] => {
  let left = taken;
  let index = 0;
  while (index < chunks.length && left >= chunks[index]!.length) left -= chunks[index++]!.length;
  const remaining = chunks.slice(index);
  if (left > 0) remaining[0] = remaining[0]!.subarray(left);
  return remaining;
};

/** Writes all of it, continuing short writes; a write that takes nothing is a failure. */
export const writeFully = (
  file: DiskFile,
  chunks: ReadonlyArray<Uint8Array>,
  position: Position,
  size: number,
): MaybePending<void> => {
  let left = size;
  let remaining = chunks;
  for (;;) {
    const taking = file.write(remaining, position + size - left);
    if (isPending(taking)) {
      return taking.then((taken) => {
        if (taken === left) return undefined;
        if (taken <= 0) throw new DiskError("OTHER", "write", file.path, "nothing was taken");
        return writeFully(file, rest(remaining, taken), position + size - left + taken, left - taken);
      });
    }
    if (taking === left) return undefined;
    if (taking <= 0) throw new DiskError("OTHER", "write", file.path, "nothing was taken");
    remaining = rest(remaining, taking);
    left -= taking;
  }
};
