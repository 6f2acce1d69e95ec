/**
 * What a partition knows of its producers: per producer id the epoch, the last five batches and the open transaction
 * (Kafka's `ProducerStateManager`, `ProducerAppendInfo` and `ProducerStateEntry` without their files). `check` only
 * reads; `evolve` is the one way the state changes, live and in replay, and never refuses.
 */
import type { Offset, ProducerEpoch, ProducerId, Sequence, Timestamp } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { isTransactional } from "../record/RecordBatch.ts";

/** Batches remembered per producer: as many as a client may have in flight. */
export const WINDOW = 5;

const MAX_SEQUENCE = 0x7fff_ffff;
const MAX_EPOCH = 0x7fff;

/** A batch as the window keeps it; `timestamp` is its max timestamp. First and last are inclusive. */
export interface CachedBatch {
  readonly firstSequence: Sequence;
  readonly lastSequence: Sequence;
  readonly firstOffset: Offset;
  readonly lastOffset: Offset;
  readonly timestamp: Timestamp;
}

export interface ProducerEntry {
  readonly producerId: ProducerId;
  readonly epoch: ProducerEpoch;
  /** Of the last transaction marker; -1 before the first. */
  readonly coordinatorEpoch: number;
  /** Max timestamp of the last batch, or the last marker's timestamp. */
  readonly lastTimestamp: Timestamp;
  /** -1 without an open transaction. */
  readonly transactionFirstOffset: Offset;
  /** At most `WINDOW`, oldest first, all of `epoch`. */
  readonly batches: ReadonlyArray<CachedBatch>;
}

/** A transaction its marker has ended in this partition; only those that had data here. */
export interface CompletedTransaction {
  readonly producerId: ProducerId;
  readonly firstOffset: Offset;
  /** The marker's offset. */
  readonly lastOffset: Offset;
  readonly aborted: boolean;
  /** First offset still undecided once this one is (Kafka's `lastStableOffset(CompletedTxn)`). */
  readonly lastStableOffset: Offset;
}

export type ProducerCheck =
  | { readonly kind: "append" }
  | {
      readonly kind: "duplicate";
      readonly baseOffset: Offset;
      readonly lastOffset: Offset;
      readonly timestamp: Timestamp;
    }
  | { readonly kind: "error"; readonly error: number };

/** How the transaction coordinator's verification of a producer stands (KIP-890); none: verification is not asked for. */
export interface Verification {
  readonly verified: boolean;
  /** Lowest sequence seen while it was pending; -1 for none. */
  readonly lowestSequence: Sequence;
  /** The client speaks transactions version 2. */
  readonly supportsEpochBump: boolean;
}

export interface ProducerRules {
  /** `replication` checks nothing: the leader has. */
  readonly origin: "client" | "coordinator" | "replication";
  readonly verification?: Verification;
  /** Of a marker's transaction: 2 wants a marker epoch above the producer's. */
  readonly transactionVersion?: number;
}

interface MutableEntry {
  producerId: ProducerId;
  epoch: ProducerEpoch;
  coordinatorEpoch: number;
  lastTimestamp: Timestamp;
  transactionFirstOffset: Offset;
  batches: CachedBatch[];
}

interface OpenTransaction {
  readonly firstOffset: Offset;
  readonly producerId: ProducerId;
}

const APPEND: ProducerCheck = { kind: "append" };
const refuse = (error: number): ProducerCheck => ({ kind: "error", error });

export class ProducerStateManager {
  private readonly producers = new Map<ProducerId, MutableEntry>();
  /** By first offset, ascending: they begin in the order of the log. */
  private open: OpenTransaction[] = [];
  /** Ended, but the marker may lie above the high watermark; volatile, so in no snapshot. */
  private completed: CompletedTransaction[] = [];

  static of(entries: Iterable<ProducerEntry>): ProducerStateManager {
    const state = new ProducerStateManager();
    for (const entry of entries) {
      state.producers.set(entry.producerId, { ...entry, batches: [...entry.batches] });
      if (entry.transactionFirstOffset >= 0) {
        state.open.push({ firstOffset: entry.transactionFirstOffset, producerId: entry.producerId });
      }
    }
    state.open.sort((a, b) => a.firstOffset - b.firstOffset);
    return state;
  }

  get size(): number {
    return this.producers.size;
  }

  get(producerId: ProducerId): ProducerEntry | undefined {
    return this.producers.get(producerId);
  }

  entries(): IterableIterator<ProducerEntry> {
    return this.producers.values();
  }

  /** First offset of the oldest open transaction; -1 when none is open. */
  get firstUndecidedOffset(): Offset {
    return this.open[0]?.firstOffset ?? -1;
  }

  /**
   * First offset of any transaction that is open, or whose marker is not below `highWatermark` (invariant H5); -1 when
   * there is none. Forgets the ones the high watermark has passed.
   */
  firstUnstableOffset(highWatermark: Offset): Offset {
    let unstable = this.firstUndecidedOffset;
    if (this.completed.length > 0) {
      this.completed = this.completed.filter((one) => one.lastOffset >= highWatermark);
      for (const one of this.completed) {
        if (unstable === -1 || one.firstOffset < unstable) unstable = one.firstOffset;
      }
    }
    return unstable;
  }

  /** Whether this epoch of the producer has a transaction open here: its data needs no verification. */
  hasOngoingTransaction(producerId: ProducerId, epoch: ProducerEpoch): boolean {
    const entry = this.producers.get(producerId);
    return entry !== undefined && entry.epoch === epoch && entry.transactionFirstOffset >= 0;
  }

  /** What to do with a batch that is about to be appended. Reads only. */
  check(batch: BatchInfo, rules: ProducerRules): ProducerCheck {
    if (batch.producerId < 0 || rules.origin === "replication") return APPEND;
    const entry = this.producers.get(batch.producerId);
    if (batch.control !== undefined) return checkMarker(entry, batch, rules.transactionVersion ?? 0);
    const client = rules.origin === "client";
    if (client && entry !== undefined && entry.epoch === batch.producerEpoch) {
      for (const seen of entry.batches) {
        if (seen.firstSequence === batch.baseSequence && seen.lastSequence === batch.lastSequence) {
          const { firstOffset, lastOffset, timestamp } = seen;
          return { kind: "duplicate", baseOffset: firstOffset, lastOffset, timestamp };
        }
      }
    }
    if (entry !== undefined && batch.producerEpoch < entry.epoch) return refuse(Errors.INVALID_PRODUCER_EPOCH);
    const transactional = isTransactional(batch.attributes);
    const { verification } = rules;
    if (
      transactional &&
      verification !== undefined &&
      !verification.verified &&
      !this.hasOngoingTransaction(batch.producerId, batch.producerEpoch)
    ) {
      return refuse(verification.supportsEpochBump ? Errors.TRANSACTION_ABORTABLE : Errors.INVALID_TXN_STATE);
    }
    if (client && !sequenceFollows(entry, batch, verification)) return refuse(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER);
    if (!transactional && entry !== undefined && entry.transactionFirstOffset >= 0)
      return refuse(Errors.INVALID_TXN_STATE);
    return APPEND;
  }

  /** Takes an appended batch in; answers the transaction it ended here, if it is a marker of one with data. */
  evolve(batch: BatchInfo): CompletedTransaction | undefined {
    if (batch.producerId < 0) return undefined;
    const { control } = batch;
    // A marker that compaction emptied keeps its place for its producer's epoch alone.
    if (control?.type === "other" && batch.recordCount > 0) return undefined;
    let entry = this.producers.get(batch.producerId);
    if (entry === undefined) {
      entry = {
        producerId: batch.producerId,
        epoch: -1,
        coordinatorEpoch: -1,
        lastTimestamp: -1,
        transactionFirstOffset: -1,
        batches: [],
      };
      this.producers.set(batch.producerId, entry);
    }
    if (entry.epoch !== batch.producerEpoch) {
      entry.epoch = batch.producerEpoch;
      entry.batches = [];
    }
    entry.lastTimestamp = batch.maxTimestamp;
    if (control?.type === "other") return undefined;
    if (control !== undefined)
      return this.endTransaction(entry, batch, control.coordinatorEpoch, control.type === "abort");
    if (entry.batches.length === WINDOW) entry.batches.shift();
    entry.batches.push({
      firstSequence: batch.baseSequence,
      lastSequence: batch.lastSequence,
      firstOffset: batch.baseOffset,
      lastOffset: batch.lastOffset,
      timestamp: batch.maxTimestamp,
    });
    if (entry.transactionFirstOffset < 0 && isTransactional(batch.attributes)) {
      entry.transactionFirstOffset = batch.baseOffset;
      this.open.push({ firstOffset: batch.baseOffset, producerId: batch.producerId });
    }
    return undefined;
  }

  private endTransaction(
    entry: MutableEntry,
    batch: BatchInfo,
    coordinatorEpoch: number,
    aborted: boolean,
  ): CompletedTransaction | undefined {
    entry.coordinatorEpoch = coordinatorEpoch;
    const firstOffset = entry.transactionFirstOffset;
    if (firstOffset < 0) return undefined;
    entry.transactionFirstOffset = -1;
    this.open = this.open.filter((one) => one.firstOffset !== firstOffset);
    const lastStableOffset = this.open[0]?.firstOffset ?? batch.baseOffset + 1;
    const { producerId } = entry;
    const ended = { producerId, firstOffset, lastOffset: batch.baseOffset, aborted, lastStableOffset };
    this.completed.push(ended);
    return ended;
  }

  /** Forgets producers idle for `expirationMs` by their own timestamps, never one with an open transaction. */
  expire(now: Timestamp, expirationMs: number): void {
    for (const entry of this.producers.values()) {
      if (entry.transactionFirstOffset < 0 && now - entry.lastTimestamp >= expirationMs) {
        this.producers.delete(entry.producerId);
      }
    }
  }
}

const checkMarker = (entry: ProducerEntry | undefined, batch: BatchInfo, transactionVersion: number): ProducerCheck => {
  if (entry === undefined) return APPEND;
  const epoch = batch.producerEpoch;
  // A marker written twice (its answer was lost) carries the producer's own epoch with no transaction open (KAFKA-19999).
  const retried = epoch === entry.epoch && (entry.transactionFirstOffset < 0 || epoch === MAX_EPOCH);
  const stale = transactionVersion >= 2 ? epoch <= entry.epoch && !retried : epoch < entry.epoch;
  if (stale) return refuse(Errors.INVALID_PRODUCER_EPOCH);
  if (batch.control !== undefined && batch.control.coordinatorEpoch < entry.coordinatorEpoch) {
    return refuse(Errors.TRANSACTION_COORDINATOR_FENCED);
  }
  return APPEND;
};

const sequenceFollows = (
  entry: ProducerEntry | undefined,
  batch: BatchInfo,
  verification: Verification | undefined,
): boolean => {
  const first = batch.baseSequence;
  // A verified batch too: the first one that gets in has to be the first one that was sent.
  if (verification !== undefined) {
    if (verification.supportsEpochBump && first !== 0 && (entry === undefined || entry.batches.length === 0))
      return false;
    if (verification.lowestSequence >= 0 && first > verification.lowestSequence) return false;
  }
  if (entry === undefined || entry.epoch === -1) return true;
  if (batch.producerEpoch !== entry.epoch) return first === 0;
  const last = entry.batches.at(-1)?.lastSequence ?? -1;
  return first === last + 1 || (first === 0 && last === MAX_SEQUENCE);
};
