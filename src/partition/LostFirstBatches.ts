/**
 * Producers whose first batches here were cut from the log after a write or a flush had failed, or refused because there
 * was no room or the log could not be opened. A log that knows nothing of a producer takes any sequence from it, so the
 * batch pipelined behind the lost one would be taken first and the retry refused for good. What must stay true: until the
 * lost batch or an earlier one comes again, later ones wait (the client retries in order).
 */
import type { ProducerStateManager } from "../log/ProducerStateManager.ts";
import type { ProducerEpoch, ProducerId, Sequence } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";

/** More producers than this are not remembered: a write that fails for so many is no passing fault. */
const MOST = 1000;

export class LostFirstBatches {
  private readonly firsts = new Map<ProducerId, { readonly epoch: ProducerEpoch; readonly sequence: Sequence }>();

  /** The log was cut: what it knew `before`, and what it still knows. */
  cut(before: ProducerStateManager, after: ProducerStateManager): void {
    for (const { producerId, epoch, batches } of before.entries()) {
      const first = batches[0];
      if (first === undefined || after.get(producerId) !== undefined || this.firsts.size >= MOST) continue;
      this.firsts.set(producerId, { epoch, sequence: first.firstSequence });
    }
  }

  /** A batch was refused that may be taken when it comes again; without `producers` the log could not be opened. */
  refused(
    { producerId, producerEpoch, baseSequence }: Pick<BatchInfo, "producerId" | "producerEpoch" | "baseSequence">,
    producers?: ProducerStateManager,
  ): void {
    if (producerId < 0 || producers?.get(producerId) !== undefined || this.firsts.size >= MOST) return;
    const known = this.firsts.get(producerId);
    if (known !== undefined && known.epoch === producerEpoch && known.sequence <= baseSequence) return;
    this.firsts.set(producerId, { epoch: producerEpoch, sequence: baseSequence });
  }

  /** Whether a batch that the log would take for a new producer's first is one that follows a lost one. */
  mustWait({ producerId, producerEpoch, baseSequence }: BatchInfo, producers: ProducerStateManager): boolean {
    if (this.firsts.size === 0 || producerId < 0) return false;
    const lost = this.firsts.get(producerId);
    if (lost === undefined) return false;
    const waits =
      producers.get(producerId) === undefined && producerEpoch === lost.epoch && baseSequence > lost.sequence;
    if (!waits) this.firsts.delete(producerId);
    return waits;
  }
}
