/**
 * A clock for something that ends before its timers do: after `end` none of them fires and none can be set. What must
 * stay true: until then it is the clock it was made from.
 */
import type { Clock } from "../src/platform/Clock.ts";
import type { MonotonicMs, Timestamp } from "../src/prelude/Types.ts";

export class MortalClock implements Clock {
  private alive = true;
  private readonly timers = new Map<() => void, () => void>();

  constructor(private readonly clock: Clock) {}

  wall(): Timestamp {
    return this.clock.wall();
  }

  monotonic(): MonotonicMs {
    return this.clock.monotonic();
  }

  after(delayMs: number, task: () => void): () => void {
    if (!this.alive) return () => {};
    const cancel = this.clock.after(delayMs, () => {
      this.timers.delete(forget);
      task();
    });
    const forget = (): void => {
      if (this.timers.delete(forget)) cancel();
    };
    this.timers.set(forget, task);
    return forget;
  }

  /** Answers what was still to be done, for whoever would rather do it now than never. */
  end(): Array<() => void> {
    this.alive = false;
    const tasks = [...this.timers.values()];
    for (const cancel of [...this.timers.keys()]) cancel();
    return tasks;
  }
}
