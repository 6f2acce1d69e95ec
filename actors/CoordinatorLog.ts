/**
 * A coordinator's journal: the partition of an internal topic that it alone writes to. It reads the log whole, appends a
 * decision's records as one batch, and holds back replies until everything appended before them is committed.
 *
 * What must stay true: offsets handed to the fold are the ones the log gives; the log is not read while an append of one's
 * own may still change it; a batch gets in only where its journal
 * ended when it was decided, never behind one it has not seen or in the place of one that failed; a reply that is held
 * back is settled once; after a failed append nothing appended since counts, the replies that wait are told so, and
 * nothing more is appended until the log has been read again.
 */
import type { AppendCommand, EndOfTransaction } from "../src/api/Ports.ts";
import { ParkedReplies } from "../src/partition/ParkedReplies.ts";
import type { PartitionView } from "../src/partition/PartitionView.ts";
import type { Clock } from "../src/platform/Clock.ts";
import {
  isPending,
  type LeaderEpoch,
  type MaybePending,
  type Offset,
  type ProducerEpoch,
  type ProducerId,
} from "../src/prelude/Types.ts";
import { Errors } from "../src/protocol/Errors.ts";
import type { Codecs } from "../src/record/Compression.ts";
import { forEachBatch, isTransactional, lastOffsetOf, readBatchInfo, records } from "../src/record/RecordBatch.ts";
import { buildBatch, buildEndTransactionMarker } from "../src/record/RecordBatchBuilder.ts";

export interface CoordinatorLogEnvironment {
  readonly clock: Clock;
  readonly codecs: Codecs;
  /** The published view or the error why there is none, the way to append, and the bound on one batch. */
  readonly view: () => PartitionView | number;
  readonly append: (command: AppendCommand) => void;
  readonly maxBatchBytes: () => number;
}

export interface JournalRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

/** Whose transaction records belong to, with what shows that it includes this partition. */
export interface RecordsOfTransaction {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly verification: NonNullable<AppendCommand["verification"]>;
}

/** What a load tells: `begin` before any record, and again when it has to begin anew. */
export interface LogReader {
  begin(): void;
  /** `producerId`: whose transaction the record belongs to, -1 for none. */
  fold(key: Uint8Array, value: Uint8Array | null, offset: Offset, producerId: ProducerId): void;
  /** A transaction has ended here; a coordinator that takes part in none may leave it out. */
  ended?(producerId: ProducerId, committed: boolean): void;
  ready(leaderEpoch: LeaderEpoch): void;
  /** The log cannot be read: now (it can be tried again), or ever. */
  failed(why: string, forGood: boolean): void;
}

/** Read at a time while loading. */
const READ_BYTES = 1024 * 1024;
/** How long to wait before looking again whether the partition is open, or its end is committed. */
const RETRY_MS = 10;
/** More than any batch header and one record's own fields take. */
const BATCH_OVERHEAD = 128;
const RECORD_OVERHEAD = 32;

export class CoordinatorLog {
  private readonly parked = new ParkedReplies();
  /** Counts loads: what an earlier one left behind (appends, reads) is void. */
  private term = 0;
  private broken = false;
  /** Appends that the partition has not answered, of earlier loads too. */
  private underWay = 0;
  /** Exclusive end of what was appended, and of what of it is committed. */
  private appendedEnd: Offset = 0;
  private committedEnd: Offset = 0;

  constructor(
    private readonly environment: CoordinatorLogEnvironment,
    /** An append failed with this code: the journal has to be read again. */
    private readonly failed: (error: number) => void,
  ) {}

  /** Forgets everything, with `error` to the replies that wait. */
  reset(error: number): void {
    this.term += 1;
    this.broken = false;
    this.parked.fail(error);
  }

  /** Reads the whole log, at once when it can; `reset` ends an earlier load. */
  load(reader: LogReader): void {
    const { term } = this;
    const view = this.environment.view();
    if (view === Errors.KAFKA_STORAGE_ERROR) return reader.failed("its partition is offline", true);
    // Not open yet, or its end not yet committed (nobody may be told what could still be lost), or not yet its end.
    if (typeof view === "number" || view.highWatermark < view.logEndOffset || this.underWay > 0) {
      this.environment.clock.after(RETRY_MS, () => {
        if (term === this.term) this.load(reader);
      });
      return;
    }
    reader.begin();
    const ready = (): void => {
      if (term !== this.term) return;
      this.appendedEnd = view.logEndOffset;
      this.committedEnd = view.logEndOffset;
      reader.ready(view.leaderEpoch);
    };
    const unreadable = (error: unknown): void => {
      if (term === this.term) reader.failed(String(error), false);
    };
    try {
      const loading = this.replay(view, reader, view.logStartOffset);
      if (!isPending(loading)) return ready();
      loading.then(ready).catch(unreadable);
    } catch (error) {
      unreadable(error);
    }
  }

  /** Offset of the next record. */
  get end(): Offset {
    return this.appendedEnd;
  }

  /**
   * Appends records as one batch, or, when each stands for itself, as few as hold them. False: they are more than a
   * batch may hold, and nothing was appended.
   */
  append(encoded: ReadonlyArray<JournalRecord>, divisible: boolean, transaction?: RecordsOfTransaction): boolean {
    const limit = this.environment.maxBatchBytes();
    const timestamp = this.environment.clock.wall();
    const batches = divisible ? split(encoded, limit) : [encoded];
    const { producerId, producerEpoch } = transaction ?? { producerId: -1, producerEpoch: -1 };
    const transactional = transaction !== undefined;
    const built = batches.map((batch) => buildBatch(batch, { timestamp, producerId, producerEpoch, transactional }));
    if (built.some(({ length }) => length > limit)) return false;
    const rules = transactional ? { verification: transaction.verification } : {};
    for (const bytes of built) this.appendBatch(bytes, rules);
    return true;
  }

  /** Appends the marker that ends a producer's transaction here. */
  appendMarker(end: EndOfTransaction): void {
    const timestamp = this.environment.clock.wall();
    const bytes = buildEndTransactionMarker(end.committed ? "commit" : "abort", { ...end, timestamp });
    this.appendBatch(bytes, { transactionVersion: end.transactionVersion });
  }

  /** Calls `committed` when everything appended so far is, or `failed` with an error code when it may not be. */
  whenCommitted(committed: () => void, failed: (error: number) => void): void {
    if (this.appendedEnd <= this.committedEnd) committed();
    else this.parked.park(this.appendedEnd, committed, failed);
  }

  private appendBatch(bytes: Uint8Array, rules: Pick<AppendCommand, "verification" | "transactionVersion">): void {
    const { term, appendedEnd: expectedOffset } = this;
    const info = readBatchInfo(bytes, 0);
    const end = expectedOffset + info.recordCount;
    this.appendedEnd = end;
    this.underWay += 1;
    this.environment.append({
      batch: { bytes, info, logAppendTime: -1 },
      acks: -1,
      origin: "coordinator",
      expectedOffset,
      ...rules,
      applied: () => undefined,
      settle: ({ error }) => {
        this.underWay -= 1;
        if (term !== this.term || this.broken) return;
        if (error !== Errors.NONE) return this.fail(error);
        this.committedEnd = end;
        this.parked.release(end);
      },
    });
  }

  private fail(error: number): void {
    this.broken = true;
    this.parked.fail(responseError(error));
    this.failed(error);
  }

  private replay(view: PartitionView, reader: LogReader, from: Offset): MaybePending<void> {
    const end = view.logEndOffset;
    let offset = from;
    while (offset < end) {
      const at = offset;
      const reading = view.log.read(at, READ_BYTES, end, true);
      if (isPending(reading)) {
        return reading.then((data) => {
          this.foldChunk(data.records, at, reader);
          if (data.endOffset <= at) throw new Error(`nothing can be read at offset ${at}`);
          return this.replay(view, reader, data.endOffset);
        });
      }
      this.foldChunk(reading.records, at, reader);
      if (reading.endOffset <= at) throw new Error(`nothing can be read at offset ${at}`);
      offset = reading.endOffset;
    }
  }

  private foldChunk(chunk: Uint8Array, from: Offset, reader: LogReader): void {
    forEachBatch(chunk, 0, chunk.length, (start) => {
      if (lastOffsetOf(chunk, start) < from) return;
      const { attributes, control, producerId } = readBatchInfo(chunk, start);
      if (control !== undefined) {
        if (control.type !== "other") reader.ended?.(producerId, control.type === "commit");
        return;
      }
      const owner = isTransactional(attributes) ? producerId : -1;
      for (const { key, value, offset } of records(chunk, start, this.environment.codecs)) {
        // A copy: what is kept of a value must not keep the chunk it was read with.
        if (offset >= from && key !== null) reader.fold(key, value?.slice() ?? null, offset, owner);
      }
    });
  }
}

/** What a failed append means to a coordinator's client (Kafka's `CoordinatorOperationExceptionHelper`). */
export const responseError = (error: number): number => {
  switch (error) {
    case Errors.UNKNOWN_TOPIC_OR_PARTITION:
    case Errors.NOT_ENOUGH_REPLICAS:
    case Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case Errors.REQUEST_TIMED_OUT:
      return Errors.COORDINATOR_NOT_AVAILABLE;
    case Errors.NOT_LEADER_OR_FOLLOWER:
    case Errors.KAFKA_STORAGE_ERROR:
      return Errors.NOT_COORDINATOR;
    case Errors.MESSAGE_TOO_LARGE:
    case Errors.RECORD_LIST_TOO_LARGE:
      return Errors.UNKNOWN_SERVER_ERROR;
    default:
      return error;
  }
};

/** Consecutive parts that each fit into a batch of `limit` bytes. */
const split = (encoded: ReadonlyArray<JournalRecord>, limit: number): JournalRecord[][] => {
  const parts: JournalRecord[][] = [];
  let part: JournalRecord[] = [];
  let bytes = BATCH_OVERHEAD;
  for (const record of encoded) {
    const size = RECORD_OVERHEAD + record.key.length + (record.value?.length ?? 0);
    if (part.length > 0 && bytes + size > limit) {
      parts.push(part);
      part = [];
      bytes = BATCH_OVERHEAD;
    }
    part.push(record);
    bytes += size;
  }
  if (part.length > 0) parts.push(part);
  return parts;
};
