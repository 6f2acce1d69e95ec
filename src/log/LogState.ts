/**
 * The journaled state of a partition: a fold of its batch headers. `evolve` is that fold, the same code on a leader, on
 * a follower and in replay, and the only thing that changes the state; it decides nothing.
 */
import { invariant } from "../prelude/Invariant.ts";
import type { Offset } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { LeaderEpochCache } from "./LeaderEpochCache.ts";
import { encodeSnapshot } from "./LogSnapshot.ts";
import { type CompletedTransaction, ProducerStateManager } from "./ProducerStateManager.ts";

export class LogState {
  /** First offset a reader may ask for. Not folded: it comes from its checkpoint and moves by retention. */
  logStartOffset: Offset;
  /** Exclusive. */
  logEndOffset: Offset;
  readonly producers: ProducerStateManager;
  readonly leaderEpochs: LeaderEpochCache;

  constructor(
    logStartOffset: Offset,
    logEndOffset: Offset = logStartOffset,
    producers: ProducerStateManager = new ProducerStateManager(),
    leaderEpochs: LeaderEpochCache = new LeaderEpochCache(),
  ) {
    this.logStartOffset = logStartOffset;
    this.logEndOffset = logEndOffset;
    this.producers = producers;
    this.leaderEpochs = leaderEpochs;
  }

  /** min(high watermark, first unstable offset): what a `read_committed` reader sees is below it. */
  lastStableOffset(highWatermark: Offset): Offset {
    const unstable = this.producers.firstUnstableOffset(highWatermark);
    if (unstable === -1 || unstable > highWatermark) return highWatermark;
    // What was deleted below the log start took the beginning of the transaction with it.
    return Math.max(unstable, this.logStartOffset);
  }

  /** Records below `offset`, at most the high watermark, are no longer the log's. Never goes back. */
  moveLogStart(offset: Offset): void {
    if (offset <= this.logStartOffset) return;
    this.logStartOffset = offset;
    this.leaderEpochs.truncateFromStart(offset);
  }
}

/**
 * Folds one batch in. Answers the transaction it ended, when it is a marker of one that had data here: an aborted one
 * belongs into the transaction index (`UnifiedLog.stageAborted`).
 */
export const evolve = (state: LogState, batch: BatchInfo): CompletedTransaction | undefined => {
  // Compaction leaves gaps, never an overlap. The message is made only when it is needed: this runs for every batch.
  if (batch.baseOffset < state.logEndOffset) {
    invariant(false, `batch at ${batch.baseOffset} below log end ${state.logEndOffset}`);
  }
  state.leaderEpochs.assign(batch.leaderEpoch, batch.baseOffset);
  const ended = state.producers.evolve(batch);
  state.logEndOffset = batch.lastOffset + 1;
  return ended;
};

/** The state in canonical bytes (a producer snapshot): equal exactly when the journaled states are. */
export const snapshotOf = (state: LogState): Uint8Array =>
  encodeSnapshot(state.logEndOffset, state.producers.entries(), state.leaderEpochs.entries);
