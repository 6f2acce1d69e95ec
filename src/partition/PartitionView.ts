/**
 * What a partition shows to everyone but its own actor: an immutable snapshot, published at the end of each turn that
 * changed something. Fetch, ListOffsets and Metadata read it and never queue behind an append. What must stay true:
 * `logStartOffset ≤ lastStableOffset ≤ highWatermark ≤ logEndOffset` (correctness L6), and from one view to the next
 * of one leader epoch the high watermark and the last stable offset never go back.
 */
import type { LogState } from "../log/LogState.ts";
import type { UnifiedLog } from "../log/UnifiedLog.ts";
import { invariant } from "../prelude/Invariant.ts";
import type { LeaderEpoch, Offset, Uuid } from "../prelude/Types.ts";

export interface PartitionView {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  readonly leaderId: number;
  readonly leaderEpoch: LeaderEpoch;
  readonly logStartOffset: Offset;
  /** End (exclusive) of what consumers may see. */
  readonly highWatermark: Offset;
  /** End (exclusive) of what read_committed consumers may see. */
  readonly lastStableOffset: Offset;
  /** End (exclusive) of what is written. */
  readonly logEndOffset: Offset;
  /** Bytes appended below the high watermark since the actor started: a waiting fetch counts with differences of it. */
  readonly committedBytes: number;
  /** The log, for reading only. */
  readonly log: UnifiedLog;
  /** The journaled state, for reading only (leader epochs, producers). It may be ahead of this view. */
  readonly state: LogState;
}

/** Asserts what every view promises; called where a view is published, so that any test or simulation profits. */
export const assertView = (view: PartitionView, previous: PartitionView | undefined): void => {
  const { logStartOffset, lastStableOffset, highWatermark, logEndOffset } = view;
  if (!(logStartOffset <= lastStableOffset && lastStableOffset <= highWatermark && highWatermark <= logEndOffset)) {
    invariant(
      false,
      `L6 broken: start ${logStartOffset}, stable ${lastStableOffset}, high watermark ${highWatermark}, end ${logEndOffset}`,
    );
  }
  if (previous === undefined || previous.leaderEpoch !== view.leaderEpoch) return;
  invariant(highWatermark >= previous.highWatermark, "the high watermark went back");
  invariant(lastStableOffset >= previous.lastStableOffset, "the last stable offset went back");
};
