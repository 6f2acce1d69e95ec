/**
 * The one timing wheel: deadlines of waiting fetches, produce time-outs, idle connections and, later, sessions. It
 * keeps deadlines in buckets of `tickMs`, a heap of bucket numbers, and one timer of the Clock armed for the earliest
 * bucket: an idle broker ticks nothing. What must stay true: a task runs at most once, never before its deadline, and
 * never after its cancellation; tasks of one bucket run in the order they were added.
 */
import type { Timers } from "../src/api/Ports.ts";
import type { Clock } from "../src/platform/Clock.ts";
import { buggify } from "../src/prelude/Buggify.ts";

/** How much later timers are where a simulation makes them late. */
const LATE_MS = 20;

type Bucket = Set<{ readonly task: () => void }>;

export class TimingWheel implements Timers {
  private readonly buckets = new Map<number, Bucket>();
  /** A binary min-heap of the bucket numbers that exist. */
  private readonly heap: number[] = [];
  private armed: { readonly bucket: number; readonly cancel: () => void } | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly tickMs = 1,
  ) {}

  after(delayMs: number, task: () => void): () => void {
    const number = Math.ceil((this.clock.monotonic() + Math.max(0, delayMs)) / this.tickMs);
    const entry = { task };
    const bucket = this.buckets.get(number);
    if (bucket !== undefined) bucket.add(entry);
    else {
      this.buckets.set(number, new Set([entry]));
      push(this.heap, number);
      this.arm();
    }
    return () => {
      this.buckets.get(number)?.delete(entry);
    };
  }

  /** Deadlines not yet reached or cancelled. */
  get size(): number {
    let size = 0;
    for (const bucket of this.buckets.values()) size += bucket.size;
    return size;
  }

  private arm(): void {
    this.dropEmptyBuckets();
    const first = this.heap[0];
    if (first === this.armed?.bucket) return;
    this.armed?.cancel();
    this.armed = undefined;
    if (first === undefined) return;
    const delay = Math.max(0, first * this.tickMs - this.clock.monotonic());
    this.armed = { bucket: first, cancel: this.clock.after(delay, () => this.expire()) };
  }

  private expire(): void {
    this.armed = undefined;
    if (buggify("timers are late")) {
      // By any time, as after a pause of the process.
      this.armed = { bucket: this.heap[0] ?? 0, cancel: this.clock.after(LATE_MS, () => this.expire()) };
      return;
    }
    const now = this.clock.monotonic() / this.tickMs;
    for (let first = this.heap[0]; first !== undefined && first <= now; first = this.heap[0]) {
      pop(this.heap);
      const bucket = this.buckets.get(first);
      this.buckets.delete(first);
      for (const entry of bucket ?? []) entry.task();
    }
    this.arm();
  }

  /** Every deadline of these buckets was cancelled: no timer is worth arming for them. */
  private dropEmptyBuckets(): void {
    for (let first = this.heap[0]; first !== undefined; first = this.heap[0]) {
      if (this.buckets.get(first)?.size !== 0) return;
      pop(this.heap);
      this.buckets.delete(first);
    }
  }
}

const push = (heap: number[], value: number): void => {
  let index = heap.push(value) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (heap[parent]! <= value) break;
    heap[index] = heap[parent]!;
    index = parent;
  }
  heap[index] = value;
};

const pop = (heap: number[]): void => {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child += 1;
    if (heap[child]! >= last) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = last;
};
