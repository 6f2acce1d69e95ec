/**
 * The Clock port: two clocks and one way to wait. Time-outs use `monotonic`, timestamps and retention use `wall`; the
 * two are never mixed, so that a jump of the wall clock expires no session.
 */
import type { MonotonicMs, Timestamp } from "../prelude/Types.ts";

export interface Clock {
  /** Milliseconds since 1970-01-01 UTC; may jump either way. */
  wall(): Timestamp;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonic(): MonotonicMs;
  /** Calls `task` once, no earlier than `delayMs` from now; answers the function that cancels it. */
  after(delayMs: number, task: () => void): () => void;
}
