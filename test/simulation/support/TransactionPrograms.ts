/**
 * Programs of transactions as data, so that one that fails can be made smaller and kept: applications with their instances
 * and what each does, plain producers beside them, and when the broker dies. `programs` draws them.
 */
import fc from "fast-check";
import { type Crash, crashesUpTo } from "./DyingBroker.ts";

export const PARTITIONS = 2;

export interface Program {
  /** Of the simulation: latencies, and the order of whatever happens at once. */
  readonly seed: number;
  /** Each has a transactional id of its own. */
  readonly apps: ReadonlyArray<ReadonlyArray<Instance>>;
  /** Records of a producer outside of any transaction. */
  readonly plain: number;
  readonly crashes: ReadonlyArray<Crash>;
}

/** One life of an application. */
export interface Instance {
  /** Of the transactions' protocol. */
  readonly version: 1 | 2;
  /** When the next instance comes: so long after this one, which is a zombie then, or when this one is at its end. */
  readonly nextAfterMs: number | null;
  readonly transactions: ReadonlyArray<TransactionScript>;
}

export interface TransactionScript {
  readonly batches: ReadonlyArray<{ readonly partition: number; readonly records: number; readonly pauseMs: number }>;
  /** Whether the next batch waits for the last one's answer; clients of version 1 always do. */
  readonly pipelined: boolean;
  /** Whether a group's offset is committed with it. */
  readonly offset: boolean;
  /** `linger` commits when its time is over; `abandon` ends the instance. */
  readonly end: "commit" | "abort" | "linger" | "abandon";
  /** Version 1: a batch that was late on its way comes after the end, and is outside of any transaction. */
  readonly stray: boolean;
  /** Version 2: its marker comes once more, from a coordinator that was late, while the next transaction is open. */
  readonly lateMarker: boolean;
}

const batch = fc.record({
  partition: fc.nat({ max: PARTITIONS - 1 }),
  records: fc.integer({ min: 1, max: 3 }),
  pauseMs: fc.constantFrom(0, 0, 0, 30),
});

const transaction: fc.Arbitrary<TransactionScript> = fc.record({
  batches: fc.array(batch, { minLength: 1, maxLength: 3 }),
  pipelined: fc.boolean(),
  offset: fc.boolean(),
  end: fc.constantFrom("commit", "commit", "commit", "commit", "abort", "abort", "linger", "abandon"),
  stray: fc.boolean(),
  lateMarker: fc.boolean(),
});

const instance: fc.Arbitrary<Instance> = fc.record({
  version: fc.constantFrom(2, 2, 1),
  nextAfterMs: fc.option(fc.nat({ max: 300 }), { freq: 2 }),
  transactions: fc.array(transaction, { minLength: 1, maxLength: 3 }),
});

/** Small programs with so many crashes at most. */
export const programs = (crashes: number): fc.Arbitrary<Program> =>
  fc.record({
    seed: fc.nat({ max: 1_000_000 }),
    apps: fc.array(fc.array(instance, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 2 }),
    plain: fc.nat({ max: 4 }),
    crashes: crashesUpTo(crashes, 200),
  });
