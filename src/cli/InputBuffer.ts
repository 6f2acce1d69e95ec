/**
 * What has come of the standard input and was not taken yet. What must stay true: at most one record's bytes wait here
 * beside the last chunk (`limit` bytes, then `InputError`), and a delimiter is looked for only once in each byte, in
 * however many chunks its record comes.
 */

/** What is wrong with the input; the message is for the user. */
export class InputError extends Error {
  override readonly name = "InputError";
}

export class InputBuffer {
  /** No more will come. */
  ended = false;
  private bytes = new Uint8Array(65_536);
  private start = 0;
  private end = 0;
  /** Where looking for a delimiter goes on: none begins between `start` and here. */
  private searched = 0;

  /** `limit`: bytes of the largest record. */
  constructor(private readonly limit: number) {}

  get length(): number {
    return this.end - this.start;
  }

  push(chunk: Uint8Array): void {
    if (this.end + chunk.length > this.bytes.length) this.makeRoom(chunk.length);
    this.bytes.set(chunk, this.end);
    this.end += chunk.length;
  }

  private makeRoom(count: number): void {
    if (this.length > this.limit) throw new InputError(`a record of more than ${this.limit} bytes`);
    const needed = this.length + count;
    const target = needed > this.bytes.length / 2 ? new Uint8Array(2 * needed) : this.bytes;
    target.set(this.bytes.subarray(this.start, this.end));
    this.bytes = target;
    this.searched -= this.start;
    this.end -= this.start;
    this.start = 0;
  }

  /** The byte so far behind the start; undefined when it has not come. */
  at(index: number): number | undefined {
    return this.start + index < this.end ? this.bytes[this.start + index] : undefined;
  }

  /** The first `count` bytes, as a view that lasts until the next `push`. */
  peek(count: number): Uint8Array {
    return this.bytes.subarray(this.start, this.start + count);
  }

  skip(count: number): void {
    this.start += count;
    this.searched = this.start;
  }

  /** The first `count` bytes as a copy, taken. */
  take(count: number): Uint8Array {
    const taken = this.bytes.slice(this.start, this.start + count);
    this.skip(count);
    return taken;
  }

  /** How many bytes are before the next `delimiter` (at least one byte); undefined when it has not come. */
  find(delimiter: Uint8Array): number | undefined {
    for (let at = Math.max(this.searched, this.start); ; at += 1) {
      const found = this.bytes.subarray(at, this.end).indexOf(delimiter[0]!);
      at += found;
      if (found < 0 || at + delimiter.length > this.end) {
        // The beginning of a delimiter may be the last that came.
        this.searched = Math.max(this.start, this.end - delimiter.length + 1);
        return undefined;
      }
      if (delimiter.every((byte, index) => this.bytes[at + index] === byte)) return at - this.start;
    }
  }
}
