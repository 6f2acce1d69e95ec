/**
 * The task list on the real machine: an array run in order, at the latest at the next turn of the event loop. What must
 * stay true: a task never runs inside `schedule` nor inside another task, one that throws loses none of the others, and
 * tasks that keep scheduling tasks never keep the event loop from its sockets.
 */
import type { TaskList } from "./TaskList.ts";

/** Tasks run in one go before sockets and timers get their turn (at about 1 µs a task: some milliseconds). */
const TASKS_PER_TURN = 4096;

export class BunTaskList implements TaskList {
  private tasks: Array<() => void> = [];
  private head = 0;
  private running = false;
  private armed = false;

  schedule(task: () => void): void {
    this.tasks.push(task);
    this.arm();
  }

  drain(): void {
    if (!this.running) this.run();
  }

  private arm(): void {
    // While the list runs it arms itself at its end, when something is left.
    if (this.armed || this.running) return;
    this.armed = true;
    setImmediate(this.turn);
  }

  private readonly turn = (): void => {
    this.armed = false;
    this.run();
  };

  private run(): void {
    this.running = true;
    const tasks = this.tasks;
    const end = this.head + TASKS_PER_TURN;
    try {
      while (this.head < tasks.length && this.head < end) tasks[this.head++]!();
    } finally {
      this.running = false;
      if (this.head === tasks.length) tasks.length = 0;
      else this.tasks = tasks.slice(this.head);
      this.head = 0;
      if (this.tasks.length > 0) this.arm();
    }
  }
}

export const makeBunTaskList = (): TaskList => new BunTaskList();
