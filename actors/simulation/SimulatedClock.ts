/**
 * Virtual time of a simulated world. What must stay true: time moves only when the simulation says so, and then to the
 * next timer; every timer that is due becomes a task, so that the seed decides the order among them.
 */
import type { Clock } from "../../src/platform/Clock.ts";
import type { SeededTaskList, TaskOwner } from "./SeededTaskList.ts";

interface Timer {
  readonly due: number;
  readonly order: number;
  readonly owner: TaskOwner;
  task: (() => void) | undefined;
}

/** A process's own idea of the time: its wall clock may be wrong and may jump, its monotonic clock starts anywhere. */
export interface ClockSkew {
  wallMs: number;
  readonly monotonicStartMs: number;
}

/** 2026-01-01T00:00:00Z: what the wall says when a simulated world begins. */
const WALL_START = 1_767_225_600_000;

export class SimulatedClock {
  /** Milliseconds since the world began. */
  now = 0;
  /** A binary heap by (due, order). */
  private readonly timers: Timer[] = [];
  private nextOrder = 0;

  constructor(private readonly tasks: SeededTaskList) {}

  after(owner: TaskOwner, delayMs: number, task: () => void): () => void {
    if (!owner.alive) return () => {};
    const due = this.now + Math.max(0, delayMs);
    if (!Number.isFinite(due)) return () => {};
    const timer: Timer = { due, order: this.nextOrder++, owner, task };
    this.push(timer);
    return () => {
      timer.task = undefined;
    };
  }

  /** Moves time to the next timer and makes everything due runnable; answers whether there was one. */
  advance(): boolean {
    for (;;) {
      const first = this.timers[0];
      if (first === undefined) return false;
      if (first.task === undefined || !first.owner.alive) {
        this.pop();
        continue;
      }
      this.now = Math.max(this.now, first.due);
      while (this.timers.length > 0 && this.timers[0]!.due <= this.now) {
        const timer = this.pop();
        // A timer may still be cancelled by a task that runs before it.
        if (timer.task !== undefined) this.tasks.schedule(timer.owner, () => timer.task?.());
      }
      return true;
    }
  }

  portOf(owner: TaskOwner, skew: ClockSkew): Clock {
    return {
      wall: () => Math.floor(WALL_START + this.now + skew.wallMs),
      monotonic: () => skew.monotonicStartMs + this.now,
      after: (delayMs, task) => this.after(owner, delayMs, task),
    };
  }

  private before(left: Timer, right: Timer): boolean {
    return left.due < right.due || (left.due === right.due && left.order < right.order);
  }

  private push(timer: Timer): void {
    const heap = this.timers;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.before(timer, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  private pop(): Timer {
    const heap = this.timers;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && this.before(heap[child + 1]!, heap[child]!)) child += 1;
        if (!this.before(heap[child]!, last)) break;
        heap[at] = heap[child]!;
        at = child;
      }
      heap[at] = last;
    }
    return top;
  }
}
