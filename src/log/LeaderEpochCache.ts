/**
 * Where each leader's reign begins in a log: the fold of the batches' leader epochs (KIP-101, Kafka's
 * `LeaderEpochFileCache` without its file). Epochs and start offsets both strictly increase.
 */
import type { LeaderEpoch, Offset } from "../prelude/Types.ts";

export interface EpochEntry {
  readonly epoch: LeaderEpoch;
  readonly startOffset: Offset;
}

export class LeaderEpochCache {
  private list: EpochEntry[] = [];

  static of(entries: Iterable<EpochEntry>): LeaderEpochCache {
    const cache = new LeaderEpochCache();
    for (const { epoch, startOffset } of entries) cache.assign(epoch, startOffset);
    return cache;
  }

  /** Oldest first. */
  get entries(): ReadonlyArray<EpochEntry> {
    return this.list;
  }

  /** -1 when there is none. */
  get latestEpoch(): LeaderEpoch {
    return this.list.at(-1)?.epoch ?? -1;
  }

  /** A batch, or a new reign before its first batch. Negative epochs say nothing; what contradicts the new entry goes. */
  assign(epoch: LeaderEpoch, startOffset: Offset): void {
    if (epoch < 0) return;
    const last = this.list.at(-1);
    if (last !== undefined) {
      if (last.epoch === epoch && startOffset >= last.startOffset) return;
      if (last.epoch >= epoch || last.startOffset >= startOffset) {
        this.list = this.list.filter((entry) => entry.epoch < epoch && entry.startOffset < startOffset);
      }
    }
    this.list.push({ epoch, startOffset });
  }

  /**
   * The largest epoch up to `epoch` and where it ended (exclusive): OffsetForLeaderEpoch's answer. (-1, -1) when the
   * epoch is unknown, or later than the latest.
   */
  endOffsetFor(epoch: LeaderEpoch, logEndOffset: Offset): { readonly epoch: LeaderEpoch; readonly endOffset: Offset } {
    if (epoch < 0 || epoch > this.latestEpoch) return { epoch: -1, endOffset: -1 };
    if (epoch === this.latestEpoch) return { epoch, endOffset: logEndOffset };
    const next = this.list.findIndex((entry) => entry.epoch > epoch);
    const endOffset = this.list[next]!.startOffset;
    return next === 0 ? { epoch, endOffset } : { epoch: this.list[next - 1]!.epoch, endOffset };
  }

  /** The reign `offset` belongs to; -1 when unknown. */
  epochForOffset(offset: Offset): LeaderEpoch {
    for (let at = this.list.length - 1; at >= 0; at--) {
      if (this.list[at]!.startOffset <= offset) return this.list[at]!.epoch;
    }
    return -1;
  }

  /** The log now begins at `offset`: earlier reigns go, the one that spans it begins there. */
  truncateFromStart(offset: Offset): void {
    const spanning = this.epochForOffset(offset);
    if (spanning === -1) return;
    const later = this.list.filter((entry) => entry.startOffset > offset);
    this.list = [{ epoch: spanning, startOffset: offset }, ...later];
  }

  /** The log now ends before `offset`: reigns that begin there or later go. */
  truncateFromEnd(offset: Offset): void {
    this.list = this.list.filter((entry) => entry.startOffset < offset);
  }
}
