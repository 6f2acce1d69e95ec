/**
 * A look for rot: the batches of a sealed segment read again, a part at a time, and compared with their checksums and
 * with what is known of them from elsewhere (offset and leader epoch lie outside the checksum). What it finds is told,
 * never touched.
 */
import { DiskError } from "../platform/Disk.ts";
import type { LeaderEpoch, Offset, Position } from "../prelude/Types.ts";
import { baseOffsetOf, checkCrc, lastOffsetOf, leaderEpochOf } from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import type { LogSegment } from "./LogSegment.ts";

export interface ScrubExpectations {
  /** Where the next segment begins. */
  readonly endOffset: Offset;
  /** The reign that wrote an offset; undefined: not known any more. */
  readonly epochOf: (offset: Offset) => LeaderEpoch | undefined;
}

export class SegmentScrub {
  /** Everything before it was checked. */
  position: Position = 0;
  private last: Offset;
  private lastPosition: Position = 0;

  constructor(
    private readonly segment: LogSegment,
    private readonly expected: ScrubExpectations,
  ) {
    this.last = segment.baseOffset - 1;
  }

  get isDone(): boolean {
    return this.position >= this.segment.size;
  }

  /** Checks about `bytes` bytes more (at least one batch). Answers what is wrong and from where on, if anything is. */
  async next(bytes: number): Promise<{ readonly position: Position; readonly why: string } | undefined> {
    const { segment } = this;
    const from = this.position;
    let wrong: { readonly position: Position; readonly why: string } | undefined;
    segment.acquire();
    try {
      const scan = await scanBatches(segment.file, from, segment.size, (chunk, at, _, position) => {
        if (position > from && position - from >= bytes) return false;
        wrong = this.check(chunk, at, position);
        if (wrong !== undefined) return false;
        this.last = lastOffsetOf(chunk, at);
        this.lastPosition = position;
        return true;
      });
      this.position = scan.position;
      if (wrong === undefined && scan.stop === "invalid") {
        wrong = { position: scan.position, why: "no batch where one must begin" };
      }
      return wrong;
    } catch (error) {
      if (error instanceof DiskError && error.code === "EIO") return { position: from, why: error.message };
      throw error;
    } finally {
      segment.release();
    }
  }

  private check(chunk: Uint8Array, at: number, position: Position) {
    if (!checkCrc(chunk, at)) return { position, why: "the batch does not have its checksum" };
    const base = baseOffsetOf(chunk, at);
    // Of two that overlap either may have the wrong offset.
    if (base <= this.last) return { position: this.lastPosition, why: `two batches overlap at offset ${base}` };
    if (lastOffsetOf(chunk, at) >= this.expected.endOffset) {
      return { position, why: `the batch reaches into the next segment, which begins at ${this.expected.endOffset}` };
    }
    const [written, epoch] = [leaderEpochOf(chunk, at), this.expected.epochOf(base)];
    // Before there were epochs batches had none.
    if (epoch === undefined || written === -1 || written === epoch) return undefined;
    return { position, why: `the batch has leader epoch ${written}, not ${epoch}` };
  }
}
