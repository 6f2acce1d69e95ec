/**
 * How many bytes have become visible since the actor started: what waiting fetches count with. It keeps the ends of the
 * batches above the high watermark with the bytes appended up to them; what must stay true: `total` never goes back, and
 * a batch is counted once, when the high watermark reaches its end.
 */
import type { Offset } from "../prelude/Types.ts";

export class CommittedBytes {
  private appended = 0;
  private committed = 0;
  /** Oldest first. */
  private pending: Array<{ readonly end: Offset; readonly bytes: number }> = [];

  /** Bytes of the batches below the high watermark of the last `commit`. */
  get total(): number {
    return this.committed;
  }

  /** `end` is exclusive. */
  append(end: Offset, bytes: number): void {
    this.appended += bytes;
    this.pending.push({ end, bytes: this.appended });
  }

  commit(highWatermark: Offset): void {
    let passed = 0;
    while (passed < this.pending.length && this.pending[passed]!.end <= highWatermark) {
      this.committed = this.pending[passed]!.bytes;
      passed += 1;
    }
    if (passed > 0) this.pending.splice(0, passed);
  }

  /** The log was cut: batches that ended above `endOffset` are gone. Their bytes count with the next batch: a fetch may wake early. */
  cutTo(endOffset: Offset): void {
    this.pending = this.pending.filter((batch) => batch.end <= endOffset);
  }
}
