/** How far a tool has come, shown to a person who waits for it and to nobody else: never on a screen with the data. */
import type { Terminal } from "../src/platform/Terminal.ts";
import type { MonotonicMs } from "../src/prelude/Types.ts";

const EVERY_MS = 500;

export class Progress {
  private records = 0;
  private readonly began: MonotonicMs;
  private shownAt: MonotonicMs;

  constructor(
    private readonly terminal: Terminal,
    private readonly now: () => MonotonicMs,
    /** The data comes from, or goes to, the screen itself. */
    private readonly silent: boolean,
  ) {
    this.began = now();
    this.shownAt = this.began;
  }

  get count(): number {
    return this.records;
  }

  add(records: number): void {
    this.records += records;
    if (this.silent || this.now() - this.shownAt < EVERY_MS) return;
    this.shownAt = this.now();
    const perSecond = Math.round((this.records * 1000) / (this.shownAt - this.began));
    this.terminal.progress(`${this.records} records, ${perSecond} a second`);
  }
}
