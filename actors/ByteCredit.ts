/**
 * The byte credit of the whole broker: what frames not yet answered may hold in memory, all connections together
 * (`queued.max.request.bytes`). It is taken as a frame's buffer grows, never by a declared length. When it is exhausted,
 * connections are not read; the oldest unfinished frame alone may overdraw, so that one frame can always be finished.
 * What must stay true: what was taken is given back exactly once, and whoever waits is woken in the order of waiting.
 */

export interface CreditHolder {
  /** Credit is there again: go on reading. */
  creditAvailable(): void;
}

export class ByteCredit {
  private used = 0;
  private readonly waiting = new Set<CreditHolder>();
  /** The one that may overdraw: it waited first. */
  private overdrawer: CreditHolder | undefined;

  constructor(private readonly capacity: number) {}

  get usedBytes(): number {
    return this.used;
  }

  /** Whoever asks now would have to wait. */
  get isExhausted(): boolean {
    return this.used > this.capacity;
  }

  /** Takes `bytes` in any case (they are in memory already); answers whether the holder may read on. */
  take(holder: CreditHolder, bytes: number): boolean {
    this.used += bytes;
    if (this.used <= this.capacity || this.overdrawer === holder) return true;
    if (this.overdrawer === undefined) {
      this.overdrawer = holder;
      return true;
    }
    this.waiting.add(holder);
    return false;
  }

  give(bytes: number): void {
    this.used -= bytes;
    if (this.used > this.capacity) return;
    this.overdrawer = undefined;
    if (this.waiting.size === 0) return;
    const woken = [...this.waiting];
    this.waiting.clear();
    for (const holder of woken) holder.creditAvailable();
  }

  /** The holder is gone. */
  leave(holder: CreditHolder): void {
    this.waiting.delete(holder);
    this.frameFinished(holder);
  }

  /** The holder has no unfinished frame: another one may overdraw. */
  frameFinished(holder: CreditHolder): void {
    if (this.overdrawer !== holder) return;
    this.overdrawer = undefined;
    const next = this.waiting.values().next().value;
    if (next === undefined) return;
    this.waiting.delete(next);
    this.overdrawer = next;
    next.creditAvailable();
  }
}
