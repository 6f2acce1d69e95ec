/**
 * What stays of a chunk of batches, one behind the other: moved together in the chunk's own memory as long as it fits
 * before what was not yet read, else in memory of its own. What must stay true: nothing is overwritten that is still to be
 * read, and a chunk of which everything stays is not touched.
 */

export class KeptBatches {
  private target: Uint8Array;
  private length = 0;
  /** Whether what stays is not what there was. */
  changed = false;

  constructor(private readonly chunk: Uint8Array) {
    this.target = chunk;
  }

  get bytes(): Uint8Array {
    const { target, length } = this;
    // What is written later should not hold on to memory that is nearly empty.
    return length < target.length / 2 ? target.slice(0, length) : target.subarray(0, length);
  }

  /** Takes `chunk[start, end)`, of which nothing before `end` is needed any more. */
  keep(start: number, end: number): void {
    const to = this.room(end - start, end);
    if (this.target !== this.chunk) this.target.set(this.chunk.subarray(start, end), to);
    else if (to !== start) this.target.copyWithin(to, start, end);
  }

  /** Takes the head `chunk[start, headEnd)` with `body` from elsewhere behind it; `end` as in `keep`. Answers where. */
  join(start: number, headEnd: number, body: Uint8Array, end: number): { bytes: Uint8Array; at: number } {
    const headLength = headEnd - start;
    const at = this.room(headLength + body.length, end);
    const { target } = this;
    if (target === this.chunk) target.copyWithin(at, start, headEnd);
    else target.set(this.chunk.subarray(start, headEnd), at);
    target.set(body, at + headLength);
    return { bytes: target, at };
  }

  private room(size: number, end: number): number {
    const at = this.length;
    const needed = at + size;
    if (needed > (this.target === this.chunk ? end : this.target.length)) {
      const larger = new Uint8Array(Math.max(this.chunk.length, 2 * needed));
      larger.set(this.target.subarray(0, at));
      this.target = larger;
    }
    this.length = needed;
    return at;
  }
}
