/**
 * What happened in a simulated run, as lines and as one hash over them. What must stay true: a line holds nothing that
 * two runs of one seed could tell apart (no fiber id, no address, no real time), so that equal hashes mean equal runs.
 */

/** Lines kept when the whole trace was not asked for: enough to see what led to a failure. */
const TAIL = 200;

export class Trace {
  private readonly kept: string[] = [];
  private low = 0x811c9dc5;
  private high = 0x9e3779b1;
  /** Lines added so far. */
  length = 0;

  constructor(private readonly keepAll = false) {}

  add(line: string): void {
    let low = this.low;
    let high = this.high;
    const end = line.length - 1;
    // Two characters a step: the hash is a good part of what a run costs.
    let i = 0;
    for (; i < end; i += 2) {
      const pair = line.charCodeAt(i) | (line.charCodeAt(i + 1) << 16);
      low = Math.imul(low ^ pair, 0x01000193);
      low ^= low >>> 15;
      high = Math.imul(high ^ pair, 0x85ebca6b);
      high ^= high >>> 13;
    }
    if (i === end) high = Math.imul(high ^ line.charCodeAt(i), 0x85ebca6b);
    this.low = Math.imul(low ^ high ^ line.length, 0x01000193);
    this.high = Math.imul(high ^ (high >>> 16) ^ line.length, 0xc2b2ae35);
    this.length += 1;
    this.kept.push(line);
    if (!this.keepAll && this.kept.length > 2 * TAIL) this.kept.splice(0, TAIL);
  }

  /** All lines when they were to be kept, else the last few hundred. */
  get lines(): ReadonlyArray<string> {
    return this.kept;
  }

  /** 16 hexadecimal digits. */
  get hash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.high) + hex(this.low);
  }
}
