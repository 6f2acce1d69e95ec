/**
 * The Clock port on the real machine: `Date.now`, `performance.now` and `setTimeout`. What must stay true: a task never
 * runs early, however the runtime rounds its timers, and a delay beyond the runtime's 2^31 − 1 ms is waited out in steps.
 */
import type { MonotonicMs, Timestamp } from "../prelude/Types.ts";
import type { Clock } from "./Clock.ts";

/** `setTimeout` fires at once for anything longer. */
const LONGEST_TIMER_MS = 0x7fffffff;

export interface BunClockOptions {
  /**
   * Whether a waiting task keeps the process alive (default true: a stop that waits for a grace period must not be cut
   * short because the listeners are closed already; `actors/main` ends the process by itself).
   */
  readonly keepAlive?: boolean;
}

export const makeBunClock = (options: BunClockOptions = {}): Clock => {
  const keepAlive = options.keepAlive ?? true;
  return {
    wall: (): Timestamp => Date.now(),
    monotonic: (): MonotonicMs => performance.now(),
    after(delayMs, task) {
      const due = performance.now() + Math.max(0, delayMs);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const arm = (): void => {
        const remaining = due - performance.now();
        timer = setTimeout(fire, Math.min(Math.max(0, Math.ceil(remaining)), LONGEST_TIMER_MS));
        if (!keepAlive) timer.unref();
      };
      const fire = (): void => {
        if (performance.now() < due) {
          arm();
          return;
        }
        timer = undefined;
        task();
      };
      arm();
      return () => {
        clearTimeout(timer);
        timer = undefined;
      };
    },
  };
};
