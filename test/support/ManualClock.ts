/** A clock that a test moves: timers run inside `advance`, in the order of their deadlines. */
import type { Clock } from "../../src/platform/Clock.ts";

export class ManualClock implements Clock {
  private now = 0;
  private timers: Array<{ readonly at: number; readonly task: () => void }> = [];
  /** Timers set since the clock was made: an idle broker sets none. */
  armed = 0;

  wall(): number {
    return 1_700_000_000_000 + this.now;
  }

  monotonic(): number {
    return this.now;
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = { at: this.now + delayMs, task };
    this.timers.push(timer);
    this.armed += 1;
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.now = Math.max(this.now, next.at);
      next.task();
    }
    this.now = end;
  }

  get pending(): number {
    return this.timers.length;
  }
}
