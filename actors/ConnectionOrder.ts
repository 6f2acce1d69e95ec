/**
 * The order of one connection's requests, whichever door it came through (architecture, Order on a connection): writes
 * not yet applied, reads that wait for them, requests that hold back what comes behind them, and what is to be undone
 * when the connection closes. What must stay true: `released` comes once per time that nothing holds any more, as a task
 * of its own.
 */
import type { ConnectionContext } from "../src/api/RequestContext.ts";
import type { TaskList } from "../src/platform/TaskList.ts";

export class ConnectionOrder implements Pick<ConnectionContext, "beginWrite" | "hold" | "afterWrites" | "onClose"> {
  private unappliedWrites = 0;
  private afterWriteTasks: Array<() => void> = [];
  private holds = 0;
  private readonly closeTasks = new Set<() => void>();
  private isClosed = false;

  constructor(
    private readonly tasks: TaskList,
    private readonly held: () => void,
    private readonly released: () => void,
  ) {}

  /** A request has to wait before it is handed over: what comes behind it waits too. */
  get isHeld(): boolean {
    return this.holds > 0;
  }

  beginWrite(): () => void {
    this.unappliedWrites += 1;
    return () => {
      this.unappliedWrites -= 1;
      if (this.unappliedWrites > 0) return;
      const tasks = this.afterWriteTasks;
      this.afterWriteTasks = [];
      for (const task of tasks) task();
    };
  }

  hold(): () => void {
    this.holds += 1;
    this.held();
    return () => {
      this.holds -= 1;
      if (this.holds > 0) return;
      this.tasks.schedule(this.released);
    };
  }

  afterWrites(task: () => void): void {
    if (this.unappliedWrites === 0) task();
    else this.afterWriteTasks.push(task);
  }

  /** At once, when it is closed already. */
  onClose(task: () => void): () => void {
    if (this.isClosed) task();
    else this.closeTasks.add(task);
    return () => this.closeTasks.delete(task);
  }

  /** The connection is gone. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const task of this.closeTasks) task();
    this.closeTasks.clear();
    this.afterWriteTasks = [];
  }
}
