/**
 * Listeners by event name, typed. What must stay true: a listener that throws harms neither the others nor whoever
 * emits, and its error is not lost: it goes to `onError`.
 */

export class Emitter<Events> {
  private readonly listeners = new Map<keyof Events, Set<(event: never) => void>>();

  constructor(private readonly onError: (error: unknown) => void) {}

  /** Calls `listener` at every such event; answers how to stop that. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    let set = this.listeners.get(name);
    if (set === undefined) this.listeners.set(name, (set = new Set()));
    const own = (event: Events[Name]) => listener(event);
    set.add(own);
    return () => void set.delete(own);
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.listeners.get(name) ?? [])]) {
      try {
        (listener as (event: Events[Name]) => void)(event);
      } catch (error) {
        // Nobody is left to tell when it was the listener for errors: the runtime reports an unhandled rejection.
        if (name === "error") void Promise.reject(error);
        else this.onError(error);
      }
    }
  }
}
