/**
 * A file of a simulated disk: what of it is readable, what is durable, and what was done in between. It owns its dirty
 * pages and the flushes that write them back. What must stay true: bytes become durable only through a flush that
 * succeeded and began after they were written; after a failed one they are clean but not durable (they read back, a
 * later flush does not save them), as Linux file systems do it.
 */

/** Bytes that grow. Beyond `size` the buffer is always zero. */
export class Content {
  buffer = new Uint8Array(0);
  size = 0;

  write(position: number, bytes: Uint8Array): void {
    this.grow(position + bytes.length);
    this.buffer.set(bytes, position);
    this.size = Math.max(this.size, position + bytes.length);
  }

  resize(size: number): void {
    this.grow(size);
    if (size < this.size) this.buffer.fill(0, size, this.size);
    this.size = size;
  }

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.size);
  }

  copy(): Content {
    const content = new Content();
    content.write(0, this.bytes());
    return content;
  }

  private grow(size: number): void {
    if (size <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(size, 2 * this.buffer.length, 256));
    larger.set(this.bytes());
    this.buffer = larger;
  }
}

/** What was done to a file. `sequence` counts them, from 0. */
export type FileChange =
  | { readonly kind: "write"; readonly sequence: number; readonly position: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly sequence: number; readonly size: number };

export class FileNode {
  readonly kind = "file";
  durable = new Content();
  /** What was done since the last flush that took part in it, oldest first. */
  changes: FileChange[] = [];
  modifiedAt = 0;
  /** The flush in progress: the next one waits for it and shares its failure. */
  flushing: Promise<void> | undefined;

  private sequence = 0;
  private readonly dirty = new Set<number>();
  /** Pages that flushes in progress have marked clean. */
  private readonly writeback = new Set<ReadonlyArray<number>>();

  constructor(
    readonly pageBytes: number,
    readonly content = new Content(),
  ) {}

  write(position: number, bytes: Uint8Array, now: number): void {
    if (bytes.length === 0) return;
    this.changes.push({ kind: "write", sequence: this.sequence++, position, bytes: new Uint8Array(bytes) });
    // A hole before the position is part of what the flush must save.
    this.soil(Math.min(this.content.size, position), position + bytes.length);
    this.content.write(position, bytes);
    this.modifiedAt = now;
  }

  truncate(size: number, now: number): void {
    this.changes.push({ kind: "truncate", sequence: this.sequence++, size });
    this.soil(Math.min(size, this.content.size), Math.max(size, this.content.size));
    this.content.resize(size);
    this.modifiedAt = now;
  }

  /** Begins a flush of what was written so far; the answer ends it, well or not. */
  beginFlush(): (success: boolean) => void {
    const size = this.content.size;
    const upTo = this.sequence;
    const pages = [...this.dirty].map((page): readonly [number, Uint8Array] => {
      const start = page * this.pageBytes;
      return [start, this.content.buffer.slice(start, Math.min(size, start + this.pageBytes))];
    });
    // The kernel marks pages clean when it begins to write them, and leaves them so when it fails.
    const taken = [...this.dirty];
    this.dirty.clear();
    this.writeback.add(taken);
    return (success) => {
      if (!this.writeback.delete(taken)) return;
      this.changes = this.changes.filter((change) => change.sequence >= upTo);
      if (!success) return;
      this.durable.resize(size);
      for (const [start, bytes] of pages) if (bytes.length > 0) this.durable.write(start, bytes);
    };
  }

  /** Its flushers died: what they were flushing is as dirty as if they had not begun. */
  abandonFlushes(): void {
    this.flushing = undefined;
    for (const pages of this.writeback) for (const page of pages) this.dirty.add(page);
    this.writeback.clear();
  }

  /** Makes everything that is readable durable. */
  settle(): void {
    this.durable = this.content.copy();
    this.dirty.clear();
    this.changes = [];
  }

  private soil(start: number, end: number): void {
    for (let page = Math.floor(start / this.pageBytes); page * this.pageBytes < end; page++) this.dirty.add(page);
  }
}
