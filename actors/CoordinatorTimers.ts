/**
 * A coordinator's deadlines by key, on the broker's timing wheel. What must stay true: arming anew is cheap (a heartbeat
 * moves a number, not a timer); a deadline that was moved never fires; a stall of our own event loop ends nobody's
 * session: time in which no socket was read does not count, and what can be read is read before a deadline is believed.
 */
import type { Timers } from "../src/api/Ports.ts";
import type { GroupCommand } from "../src/group/GroupCoordinator.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { MonotonicMs } from "../src/prelude/Types.ts";

/** A timer that comes so late was held up by the event loop, not by the wheel's grain. */
const STALL_MS = 100;

export interface CoordinatorTimer {
  readonly key: string;
  deadline: MonotonicMs;
  afterMs: number;
  command: GroupCommand;
  /** When the wheel calls; never after `deadline`. undefined: it has called and the deadline is being looked at. */
  wheelAt: MonotonicMs | undefined;
  cancel: () => void;
}

export class CoordinatorTimers {
  private readonly timers = new Map<string, CoordinatorTimer>();
  private stallEnded: MonotonicMs = Number.NEGATIVE_INFINITY;
  private stallMs = 0;

  constructor(
    private readonly wheel: Timers,
    private readonly clock: Clock,
    /** The deadline has come: to be asked again with `due` when it is its turn. */
    private readonly reached: (timer: CoordinatorTimer) => void,
  ) {}

  get size(): number {
    return this.timers.size;
  }

  arm(key: string, afterMs: number, command: GroupCommand): void {
    const deadline = this.clock.monotonic() + afterMs;
    const timer = this.timers.get(key);
    if (timer === undefined) {
      const added: CoordinatorTimer = { key, deadline, afterMs, command, wheelAt: undefined, cancel: () => undefined };
      this.timers.set(key, added);
      return this.schedule(added);
    }
    timer.deadline = deadline;
    timer.afterMs = afterMs;
    timer.command = command;
    if (timer.wheelAt === undefined || timer.wheelAt <= deadline) return;
    timer.cancel();
    this.schedule(timer);
  }

  cancel(key: string): void {
    this.timers.get(key)?.cancel();
    this.timers.delete(key);
  }

  cancelAll(): void {
    for (const timer of this.timers.values()) timer.cancel();
    this.timers.clear();
  }

  /** Whether a reached deadline still holds; then the timer is gone. One that was moved waits on. */
  due(timer: CoordinatorTimer): boolean {
    if (this.timers.get(timer.key) !== timer) return false;
    if (timer.deadline > this.clock.monotonic()) {
      if (timer.wheelAt === undefined) this.schedule(timer);
      return false;
    }
    this.timers.delete(timer.key);
    return true;
  }

  private schedule(timer: CoordinatorTimer): void {
    timer.wheelAt = timer.deadline;
    timer.cancel = this.wheel.after(timer.deadline - this.clock.monotonic(), () => this.fired(timer));
  }

  private fired(timer: CoordinatorTimer): void {
    if (this.timers.get(timer.key) !== timer) return;
    const now = this.clock.monotonic();
    const late = now - (timer.wheelAt ?? now);
    timer.wheelAt = undefined;
    if (late >= STALL_MS) {
      this.stallEnded = now;
      this.stallMs = late;
    }
    timer.deadline = Math.max(timer.deadline, this.stallEnded + Math.min(this.stallMs, timer.afterMs));
    if (timer.deadline > now) return this.schedule(timer);
    if (timer.afterMs === 0) return this.reached(timer);
    // One turn of the event loop: whatever has come in on a socket goes before the deadline.
    timer.cancel = this.clock.after(0, () => this.reached(timer));
  }
}
