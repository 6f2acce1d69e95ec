/**
 * What retention takes from a log (Kafka's `UnifiedLog.deletableSegments` and its three conditions): the oldest segments,
 * one after another, as long as each lies below the log start, or is older than `retention.ms`, or the log without it is
 * still at least `retention.bytes`. Pure: the caller describes the segments, the partition's actor does the deed.
 *
 * What must stay true (Ret1–Ret3): only a prefix of whole segments goes, nothing at or above the high watermark; the
 * answer is an offset at which a segment begins, or the log's end when the active one goes as well; it never goes back.
 */
import { buggify } from "../prelude/Buggify.ts";
import type { Offset, Timestamp } from "../prelude/Types.ts";

export interface RetentionRules {
  /** `cleanup.policy` has `delete`; without it only what lies below the log start goes. */
  readonly deletes: boolean;
  /** `retention.ms`; negative: no limit. */
  readonly retentionMs: number;
  /** `retention.bytes`; negative: no limit. */
  readonly retentionBytes: number;
}

export interface RetentionBounds {
  readonly logStartOffset: Offset;
  readonly highWatermark: Offset;
  /** Bytes of all segments. */
  readonly logSize: number;
}

export interface SegmentDescription {
  /** Exclusive: where the next segment begins, or the log's end. */
  readonly endOffset: Offset;
  readonly size: number;
  readonly active: boolean;
  /** Of its records, or of the file's last write when none has one. */
  readonly largestTimestamp: Timestamp;
}

/** Walks the segments from the oldest on: give it one after another until it takes no more. */
export class RetentionScan {
  private start: Offset;
  private surplus: number;
  /** The active segment goes as well. */
  takesActive = false;

  constructor(
    private readonly bounds: RetentionBounds,
    private readonly rules: RetentionRules,
    private readonly now: Timestamp,
  ) {
    this.start = bounds.logStartOffset;
    this.surplus = bounds.logSize - rules.retentionBytes;
  }

  /** Where the log begins without the segments taken so far. */
  get logStartOffset(): Offset {
    return this.start;
  }

  /** Whether this segment goes; when not, none behind it does. */
  takes(segment: SegmentDescription): boolean {
    // An empty active segment is what remains of a log that lost everything.
    if (segment.endOffset > this.bounds.highWatermark || (segment.active && segment.size === 0)) return false;
    if (!this.belowStart(segment) && !this.tooMuch(segment) && !this.tooOld(segment)) return false;
    if (buggify("a round of retention ends early", 0.5)) return false;
    this.surplus -= segment.size;
    this.start = Math.max(this.start, segment.endOffset);
    this.takesActive = segment.active;
    return true;
  }

  private belowStart(segment: SegmentDescription): boolean {
    return !segment.active && segment.endOffset <= this.bounds.logStartOffset;
  }

  private tooMuch(segment: SegmentDescription): boolean {
    return this.rules.deletes && this.rules.retentionBytes >= 0 && this.surplus >= segment.size;
  }

  private tooOld(segment: SegmentDescription): boolean {
    const { deletes, retentionMs } = this.rules;
    return deletes && retentionMs >= 0 && this.now - segment.largestTimestamp > retentionMs;
  }
}
