/**
 * Waiting fetches: plain code, indexed by partition, touched once per published view. A waiter holds no record bytes;
 * it counts what became visible below its bound since it last read, and is done at `minBytes`, at any change of
 * leadership, or when its partition goes away. What must stay true: a waiter completes exactly once or is cancelled,
 * and costs nothing between two views of its partitions.
 *
 * It counts with `PartitionView.committedBytes`. A read_committed waiter below an open transaction cannot count with
 * it: such a waiter is done when the last stable offset moves, reads again, and waits again when that was too little.
 */
import type { PartitionView } from "../partition/PartitionView.ts";
import type { TaskList } from "../platform/TaskList.ts";
import type { Uuid } from "../prelude/Types.ts";

interface Watched {
  /** The view of the reading that found too little. */
  readonly seen: PartitionView;
  gainedBytes: number;
}

export class WaitingFetch {
  readonly watched = new Map<PartitionView["log"], Watched>();
  done = false;
  gainedBytes = 0;

  constructor(
    readonly missingBytes: number,
    readonly readCommitted: boolean,
    readonly complete: () => void,
  ) {}
}

export class DelayedFetches {
  /** By topic id, then by partition index. */
  private readonly waiting = new Map<Uuid, Array<Set<WaitingFetch> | undefined>>();
  /** Fetches that wait now. */
  size = 0;
  /** Nothing may wait any more. */
  stopping = false;

  constructor(private readonly tasks: TaskList) {}

  /** `views` are those the caller has just read. `complete` runs later, as a task of its own. */
  wait(fetch: WaitingFetch, views: ReadonlyArray<PartitionView>): void {
    this.size += 1;
    for (const view of views) {
      fetch.watched.set(view.log, { seen: view, gainedBytes: 0 });
      let partitions = this.waiting.get(view.topicId);
      if (partitions === undefined) this.waiting.set(view.topicId, (partitions = []));
      const waiters = (partitions[view.partition] ??= new Set());
      waiters.add(fetch);
    }
  }

  /** Takes a waiter out; nothing happens when it is done. */
  cancel(fetch: WaitingFetch): void {
    if (fetch.done) return;
    fetch.done = true;
    this.size -= 1;
    for (const { seen } of fetch.watched.values()) {
      const partitions = this.waiting.get(seen.topicId);
      const waiters = partitions?.[seen.partition];
      if (waiters === undefined) continue;
      waiters.delete(fetch);
      if (waiters.size > 0) continue;
      delete partitions![seen.partition];
      if (partitions!.every((left) => left === undefined)) this.waiting.delete(seen.topicId);
    }
  }

  /** A partition published a view. */
  published(view: PartitionView): void {
    const waiters = this.waiting.get(view.topicId)?.[view.partition];
    if (waiters === undefined) return;
    for (const fetch of waiters) if (this.satisfied(fetch, view)) this.finish(fetch);
  }

  /** The partition is gone from here or cannot be read: whoever waits for it learns why by reading again. */
  lost(topicId: Uuid, partition: number): void {
    for (const fetch of this.waiting.get(topicId)?.[partition] ?? []) this.finish(fetch);
  }

  /** The broker stops: every waiter answers with what there is, and none waits again. */
  finishAll(): void {
    this.stopping = true;
    for (const partitions of [...this.waiting.values()]) {
      for (const waiters of partitions) for (const fetch of [...(waiters ?? [])]) this.finish(fetch);
    }
  }

  private satisfied(fetch: WaitingFetch, view: PartitionView): boolean {
    const watched = fetch.watched.get(view.log);
    // The log was reopened: offsets may have gone back.
    if (watched === undefined || watched.seen.leaderEpoch !== view.leaderEpoch) return true;
    const { seen } = watched;
    if (
      fetch.readCommitted &&
      (view.lastStableOffset < view.highWatermark || seen.lastStableOffset < seen.highWatermark)
    ) {
      return view.lastStableOffset > seen.lastStableOffset;
    }
    const gained = view.committedBytes - seen.committedBytes;
    fetch.gainedBytes += gained - watched.gainedBytes;
    watched.gainedBytes = gained;
    return fetch.gainedBytes >= fetch.missingBytes;
  }

  private finish(fetch: WaitingFetch): void {
    if (fetch.done) return;
    this.cancel(fetch);
    this.tasks.schedule(fetch.complete);
  }
}
