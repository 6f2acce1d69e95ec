/**
 * Which producers a partition is asking the transaction coordinator about (KIP-890, Kafka's `VerificationStateEntry`):
 * volatile, forgotten when the producer's transaction begins or ends here. What must stay true: a guard is unique, so
 * that an answer about one transaction is never taken for the next one's (T11, KAFKA-14884); while one is open, no
 * sequence above the lowest that was seen gets in before that one.
 */

import type { MonotonicMs, ProducerEpoch, ProducerId, Sequence } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { isControl, isTransactional } from "../record/RecordBatch.ts";
import type { Verification } from "./ProducerStateManager.ts";

/** Who is asked about, and with which of its batches. */
export interface VerificationRequest {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly baseSequence: Sequence;
  /** The client speaks transactions version 2. */
  readonly supportsEpochBump: boolean;
}

/** Given to whoever asks the coordinator; the append brings it back. */
export type VerificationGuard = { readonly guard: symbol };

interface Entry {
  readonly guard: VerificationGuard;
  readonly supportsEpochBump: boolean;
  readonly since: MonotonicMs;
  lowestSequence: Sequence;
  epoch: ProducerEpoch;
}

/** Entries are looked through for forgotten ones whenever there are so many more. */
const SWEEP_EVERY = 1000;

export class Verifications {
  private readonly entries = new Map<ProducerId, Entry>();
  private sweepAt = SWEEP_EVERY;

  get size(): number {
    return this.entries.size;
  }

  /** Begins, or joins, the verification of a producer; `expirationMs` is how long one may stay without an append. */
  begin(request: VerificationRequest, now: MonotonicMs, expirationMs: number): VerificationGuard {
    const { producerId, producerEpoch, baseSequence, supportsEpochBump } = request;
    let entry = this.entries.get(producerId);
    if (entry === undefined) {
      this.sweep(now, expirationMs);
      const guard = { guard: Symbol() };
      entry = { guard, supportsEpochBump, since: now, lowestSequence: baseSequence, epoch: producerEpoch };
      this.entries.set(producerId, entry);
    } else if (producerEpoch > entry.epoch) {
      entry.epoch = producerEpoch;
      entry.lowestSequence = baseSequence;
    } else if (producerEpoch === entry.epoch && baseSequence < entry.lowestSequence) {
      entry.lowestSequence = baseSequence;
    }
    return entry.guard;
  }

  /** What an append that brings `guard` (or none) is judged by. */
  of(producerId: ProducerId, guard: VerificationGuard | undefined, supportsEpochBump: boolean): Verification {
    const entry = this.entries.get(producerId);
    if (entry === undefined) return { verified: false, lowestSequence: -1, supportsEpochBump };
    return { verified: entry.guard === guard, ...entry };
  }

  /**
   * A batch was written: its producer's transaction has begun here, or has ended, and later guards are others. But not
   * where a marker has the very epoch that is being verified: transactions version 2 bumps it, so that the marker ends the
   * last transaction and the next one is what is asked about.
   */
  written({ attributes, producerId, producerEpoch }: BatchInfo): void {
    if (!isTransactional(attributes)) return;
    const entry = this.entries.get(producerId);
    const isNext = entry?.supportsEpochBump === true && isControl(attributes) && producerEpoch === entry.epoch;
    if (!isNext) this.entries.delete(producerId);
  }

  private sweep(now: MonotonicMs, expirationMs: number): void {
    if (this.entries.size < this.sweepAt) return;
    for (const [producerId, { since }] of this.entries)
      if (now - since >= expirationMs) this.entries.delete(producerId);
    this.sweepAt = this.entries.size + SWEEP_EVERY;
  }
}
