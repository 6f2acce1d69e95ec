/**
 * The scheduler port: the one list of things to do next. Actors' turns, and in simulation Effect's own fibers and
 * every delivered event, are tasks of this list. Real: run in order, at the end of the event that scheduled them.
 * Simulated: one at a time, the seed chooses which.
 */
export interface TaskList {
  /** Runs `task` later, never inside this call. */
  schedule(task: () => void): void;
  /**
   * The event that is being handled (a socket's data, a timer) has scheduled what it had to: run the list now instead
   * of at the next turn of the event loop. In simulation this does nothing.
   */
  drain(): void;
}
