/**
 * Replies that wait for the high watermark: a queue ordered by the offset that releases them. What must stay true: a
 * parked reply is settled exactly once, and never before everything below its offset is committed.
 */
import type { Offset } from "../prelude/Types.ts";

interface Parked {
  readonly offset: Offset;
  readonly committed: () => void;
  readonly failed: (error: number) => void;
}

export class ParkedReplies {
  /** Ascending by offset; `first` is the oldest still parked, the part before it is dropped in steps. */
  private queue: Parked[] = [];
  private first = 0;

  get size(): number {
    return this.queue.length - this.first;
  }

  park(offset: Offset, committed: () => void, failed: (error: number) => void): void {
    const parked = { offset, committed, failed };
    let index = this.queue.length;
    // A duplicate waits for its original's offset, which is older than what was parked last.
    while (index > this.first && this.queue[index - 1]!.offset > offset) index -= 1;
    if (index === this.queue.length) this.queue.push(parked);
    else this.queue.splice(index, 0, parked);
  }

  /** Settles every reply whose offset the (exclusive) high watermark has reached. */
  release(highWatermark: Offset): void {
    while (this.first < this.queue.length && this.queue[this.first]!.offset <= highWatermark) {
      const parked = this.queue[this.first]!;
      this.first += 1;
      parked.committed();
    }
    if (this.first === this.queue.length) {
      this.queue = [];
      this.first = 0;
    } else if (this.first > 1024) {
      this.queue.splice(0, this.first);
      this.first = 0;
    }
  }

  /** Settles every parked reply with an error code of the unknown-outcome class. */
  fail(error: number): void {
    const left = this.queue.slice(this.first);
    this.queue = [];
    this.first = 0;
    for (const parked of left) parked.failed(error);
  }
}
