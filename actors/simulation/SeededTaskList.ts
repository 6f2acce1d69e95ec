/**
 * The one list of runnable tasks of a simulated world; the seed picks which runs next. What must stay true: everything
 * that can happen next, of every process, is in this list, and one runs at a time; tasks of a process that is no more
 * never run.
 */
import type { TaskList } from "../../src/platform/TaskList.ts";
import type { SeededRandom } from "./SeededRandom.ts";

/** Whoever owns tasks: a simulated process, or the world itself (the network's wires). */
export interface TaskOwner {
  readonly name: string;
  readonly alive: boolean;
  /** Stopped (SIGSTOP): its tasks wait. */
  readonly paused?: boolean;
}

interface Entry {
  readonly owner: TaskOwner;
  readonly task: () => void;
}

export class SeededTaskList {
  private entries: Entry[] = [];
  /** Tasks of paused owners, in order. */
  private held: Entry[] = [];
  /** How often the choice is free; otherwise the oldest task runs, as on the real machine. Drawn per seed. */
  private readonly freedom: number;

  constructor(private readonly random: SeededRandom) {
    this.freedom = random.pick([1, 1, 0.5, 0.1]);
  }

  get length(): number {
    return this.entries.length;
  }

  schedule(owner: TaskOwner, task: () => void): void {
    if (!owner.alive) return;
    if (owner.paused === true) this.held.push({ owner, task });
    else this.entries.push({ owner, task });
  }

  /** Puts aside what a process that was just paused had to do. */
  hold(owner: TaskOwner): void {
    this.held.push(...this.entries.filter((entry) => entry.owner === owner));
    this.entries = this.entries.filter((entry) => entry.owner !== owner);
  }

  /** The owner goes on: what was put aside is runnable, in its order. */
  release(owner: TaskOwner): void {
    this.entries.push(...this.held.filter((entry) => entry.owner === owner));
    this.held = this.held.filter((entry) => entry.owner !== owner);
  }

  /** Runs one task; answers whether there was one. */
  runOne(): boolean {
    for (;;) {
      const entries = this.entries;
      if (entries.length === 0) return false;
      const index = entries.length > 1 && this.random.chance(this.freedom) ? this.random.below(entries.length) : 0;
      const [entry] = entries.splice(index, 1);
      if (entry === undefined || !entry.owner.alive) continue;
      entry.task();
      return true;
    }
  }

  /** The port as one process sees it. */
  portOf(owner: TaskOwner): TaskList {
    return { schedule: (task) => this.schedule(owner, task), drain() {} };
  }
}
