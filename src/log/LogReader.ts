/**
 * The read side of one log: batches from memory where they were just written, else from a segment's file, cut at whole
 * batches and at the reader's bound, or promised where they may stay in the file; and what is known of damage. What must
 * stay true: nothing at or above the bound is given; no file is read that its segment may close; who reads where damage
 * begins is refused, and everything before it is read as ever.
 */
import { DiskError } from "../platform/Disk.ts";
import { allocateUninitialised } from "../platform/Memory.ts";
import { buggify } from "../prelude/Buggify.ts";
import { isPending, type MaybePending, type Offset, type Position } from "../prelude/Types.ts";
import { baseOffsetOf, batchSize, HEADER_SIZE, lastOffsetOf, MAGIC, magicOf } from "../record/RecordBatch.ts";
import type { FileScan } from "./BatchScan.ts";
import { CorruptLog } from "./CorruptLog.ts";
import { FileRecords } from "./FileRecords.ts";
import type { BatchPlace, LogSegment } from "./LogSegment.ts";
import type { LogTail, TailRead } from "./LogTail.ts";

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

export interface Wanted {
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

/** What a reader has to know of its log; both change. */
export interface ReadLog {
  readonly segments: ReadonlyArray<LogSegment>;
  readonly logEndOffset: Offset;
}

/** Index of the segment whose range contains the offset; the first one when it is below all. */
export const segmentIndex = (segments: ReadonlyArray<LogSegment>, offset: Offset): number => {
  let low = 0;
  let high = segments.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    if (segments[middle]!.baseOffset <= offset) low = middle + 1;
    else high = middle - 1;
  }
  return Math.max(0, high);
};

export class LogReader {
  /** Where reads ended lately, so that the next one of a sequential reader needs no look-up. */
  private readonly hints: { offset: Offset; segment: LogSegment; position: Position }[] = [];
  private nextHint = 0;

  constructor(
    private readonly source: ReadLog,
    private readonly tail: LogTail,
  ) {}

  /** What may be had at once, or from the file; `wanted.bound` is at most the log's end. */
  read(wanted: Wanted): MaybePending<PromisedData> {
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
    return this.readFrom(segmentIndex(this.source.segments, startOffset), wanted);
  }

  private readFrom(index: number, wanted: Wanted): MaybePending<PromisedData> {
    const { startOffset, bound } = wanted;
    const segment = this.source.segments[index];
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
      const next = this.source.segments[segmentIndex(this.source.segments, segment.baseOffset) + 1];
      return { position: limit, offset: next?.baseOffset ?? this.source.logEndOffset };
    }
    const boundary = segment.indexes.boundaryBefore(limit);
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

  /** Segments have left the log. */
  forgetPlaces(): void {
    this.hints.length = 0;
    this.nextHint = 0;
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
    this.forgetPlaces();
    this.tell(segment.damage);
  }

  private tell(found: CorruptLog | DiskError): void {
    // What a client tries again and again is said once; so much at a time is remembered.
    if (this.told.has(found.message)) return;
    if (this.told.size >= 100) this.told.clear();
    this.told.add(found.message);
    this.damageFound?.(found);
  }

  /** Throws what a reader met, having told of it. */
  unreadable(error: unknown): never {
    if (error instanceof CorruptLog) {
      const segment = this.source.segments.find((each) => each.path(".log") === error.path);
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

  /** A search that met damage has no answer. */
  assertRead(segment: LogSegment, scan: FileScan): void {
    if (scan.stop === "invalid") {
      this.unreadable(new CorruptLog(segment.path(".log"), scan.position, "no batch where one must begin"));
    }
    if (scan.stop === "end" && segment.damage !== undefined) throw segment.damage;
  }
}

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
