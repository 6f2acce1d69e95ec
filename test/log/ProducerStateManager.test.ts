import { describe, expect, test } from "bun:test";
import { type ProducerRules, ProducerStateManager, WINDOW } from "../../src/log/ProducerStateManager.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import type { BatchInfo } from "../../src/record/BatchInfo.ts";
import { addToSequence } from "../../src/record/RecordBatch.ts";

const CLIENT: ProducerRules = { origin: "client" };
const MAX_SEQUENCE = 0x7fff_ffff;
const TRANSACTIONAL = 0x10;

interface Sketch {
  readonly pid?: number;
  readonly epoch?: number;
  readonly first?: number;
  readonly count?: number;
  readonly at?: number;
  readonly timestamp?: number;
  readonly transactional?: boolean;
}

const batch = ({
  pid = 1,
  epoch = 0,
  first = 0,
  count = 1,
  at = 0,
  timestamp = 100,
  transactional = false,
}: Sketch): BatchInfo => ({
  baseOffset: at,
  lastOffset: at + count - 1,
  leaderEpoch: 0,
  sizeInBytes: 100,
  attributes: transactional ? TRANSACTIONAL : 0,
  baseTimestamp: timestamp,
  maxTimestamp: timestamp,
  producerId: pid,
  producerEpoch: epoch,
  baseSequence: first,
  lastSequence: first < 0 ? -1 : addToSequence(first, count - 1),
  recordCount: count,
});

const marker = (type: "abort" | "commit", at: number, sketch: Sketch = {}, coordinatorEpoch = 1): BatchInfo => ({
  ...batch({ ...sketch, at, first: -1, transactional: true }),
  attributes: 0x30,
  control: { type, coordinatorEpoch },
});

const after = (...batches: ReadonlyArray<BatchInfo>): ProducerStateManager => {
  const state = new ProducerStateManager();
  for (const one of batches) state.evolve(one);
  return state;
};

const error = (code: number) => ({ kind: "error", error: code }) as const;
const append = { kind: "append" } as const;

describe("ProducerStateManager", () => {
  test("without a producer id everything is appended and nothing kept", () => {
    const state = after(batch({ pid: -1, first: -1 }));
    expect(state.check(batch({ pid: -1, first: -1 }), CLIENT)).toEqual(append);
    expect(state.size).toBe(0);
  });

  test("an unknown producer may begin anywhere", () => {
    expect(new ProducerStateManager().check(batch({ first: 17 }), CLIENT)).toEqual(append);
  });

  test("the next sequence is appended, a gap and an old one are out of order", () => {
    const state = after(batch({ first: 0, count: 3 }));
    expect(state.check(batch({ first: 3, at: 3 }), CLIENT)).toEqual(append);
    expect(state.check(batch({ first: 4, at: 3 }), CLIENT)).toEqual(error(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER));
    expect(state.check(batch({ first: 1, at: 3 }), CLIENT)).toEqual(error(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER));
    expect(state.check(batch({ first: 0, count: 2, at: 3 }), CLIENT)).toEqual(
      error(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER),
    );
  });

  test("each of the last five batches is a duplicate with its own offsets and timestamp; the sixth is out of order", () => {
    const state = after(...Array.from({ length: 6 }, (_, at) => batch({ first: at, at: at + 10, timestamp: at })));
    for (let first = 1; first <= WINDOW; first++) {
      expect(state.check(batch({ first, at: 99, timestamp: 7 }), CLIENT)).toEqual({
        kind: "duplicate",
        baseOffset: first + 10,
        lastOffset: first + 10,
        timestamp: first,
      });
    }
    expect(state.check(batch({ first: 0, at: 99 }), CLIENT)).toEqual(error(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER));
  });

  test("sequences wrap from 2^31 - 1 to 0, also inside a batch", () => {
    const full = after(batch({ first: MAX_SEQUENCE - 1, count: 2 }));
    expect(full.check(batch({ first: 0, at: 2 }), CLIENT)).toEqual(append);
    const inside = batch({ first: MAX_SEQUENCE, count: 3 });
    expect(inside.lastSequence).toBe(1);
    const wrapped = after(inside);
    expect(wrapped.check(batch({ first: 2, at: 3 }), CLIENT)).toEqual(append);
    expect(wrapped.check(inside, CLIENT)).toMatchObject({ kind: "duplicate", baseOffset: 0, lastOffset: 2 });
  });

  test("an older epoch is fenced; a newer one begins at 0 and forgets the window", () => {
    const state = after(batch({ epoch: 3, first: 5 }));
    expect(state.check(batch({ epoch: 2, first: 6, at: 1 }), CLIENT)).toEqual(error(Errors.INVALID_PRODUCER_EPOCH));
    expect(state.check(batch({ epoch: 4, first: 6, at: 1 }), CLIENT)).toEqual(
      error(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER),
    );
    expect(state.check(batch({ epoch: 4, first: 0, at: 1 }), CLIENT)).toEqual(append);
    state.evolve(batch({ epoch: 4, first: 0, at: 1 }));
    expect(state.get(1)!.batches.length).toBe(1);
    expect(state.check(batch({ epoch: 3, first: 5 }), CLIENT)).toEqual(error(Errors.INVALID_PRODUCER_EPOCH));
  });

  test("check changes nothing", () => {
    const state = after(batch({ first: 0 }));
    const before = JSON.stringify([...state.entries()]);
    state.check(batch({ first: 1, at: 1 }), CLIENT);
    state.check(batch({ pid: 2 }), CLIENT);
    expect(JSON.stringify([...state.entries()])).toBe(before);
  });

  test("a coordinator's batches carry no sequence; a replica checks nothing", () => {
    const state = after(batch({ epoch: 3, first: 0 }));
    expect(state.check(batch({ epoch: 3, first: -1, at: 1, transactional: true }), { origin: "coordinator" })).toEqual(
      append,
    );
    expect(state.check(batch({ epoch: 2, first: -1, at: 1 }), { origin: "coordinator" })).toEqual(
      error(Errors.INVALID_PRODUCER_EPOCH),
    );
    expect(state.check(batch({ epoch: 1, first: 77, at: 1 }), { origin: "replication" })).toEqual(append);
  });

  test("a transaction is open from its first batch to its marker", () => {
    const state = after(batch({ pid: 1, at: 5, transactional: true }), batch({ pid: 2, at: 8, transactional: true }));
    expect(state.firstUndecidedOffset).toBe(5);
    expect(state.hasOngoingTransaction(1, 0)).toBe(true);
    expect(state.evolve(marker("abort", 10, { pid: 1 }))).toEqual({
      producerId: 1,
      firstOffset: 5,
      lastOffset: 10,
      aborted: true,
      lastStableOffset: 8,
    });
    expect(state.firstUndecidedOffset).toBe(8);
    expect(state.evolve(marker("commit", 11, { pid: 2 }))).toMatchObject({ aborted: false, lastStableOffset: 12 });
    expect(state.firstUndecidedOffset).toBe(-1);
    expect(state.evolve(marker("commit", 12, { pid: 2 }))).toBeUndefined();
  });

  test("a decided transaction stays unstable until the high watermark is above its marker", () => {
    const state = after(
      batch({ at: 5, transactional: true }),
      marker("commit", 10),
      batch({ pid: 2, at: 11, transactional: true }),
    );
    expect(state.firstUnstableOffset(9)).toBe(5);
    expect(state.firstUnstableOffset(10)).toBe(5);
    expect(state.firstUnstableOffset(11)).toBe(11);
  });

  test("plain data inside an open transaction is refused", () => {
    const state = after(batch({ first: 0, transactional: true }));
    expect(state.check(batch({ first: 1, at: 1 }), CLIENT)).toEqual(error(Errors.INVALID_TXN_STATE));
    expect(state.check(batch({ first: 1, at: 1, transactional: true }), CLIENT)).toEqual(append);
  });

  test("transactional data that is neither ongoing nor verified is refused, in the words the client knows", () => {
    const unverified = { verified: false, lowestSequence: -1, supportsEpochBump: false };
    const begin = batch({ first: 0, transactional: true });
    const state = new ProducerStateManager();
    expect(state.check(begin, { origin: "client", verification: unverified })).toEqual(error(Errors.INVALID_TXN_STATE));
    expect(state.check(begin, { origin: "client", verification: { ...unverified, supportsEpochBump: true } })).toEqual(
      error(Errors.TRANSACTION_ABORTABLE),
    );
    expect(state.check(begin, { origin: "client", verification: { ...unverified, verified: true } })).toEqual(append);
    state.evolve(begin);
    expect(
      state.check(batch({ first: 1, at: 1, transactional: true }), { origin: "client", verification: unverified }),
    ).toEqual(append);
  });

  test("markers: epoch at least the producer's, above it in version 2, except for a retry; zombies of a coordinator fenced", () => {
    const state = after(batch({ epoch: 3, transactional: true }), marker("commit", 1, { epoch: 3 }, 5));
    const old: ProducerRules = { origin: "coordinator", transactionVersion: 1 };
    const strict: ProducerRules = { origin: "coordinator", transactionVersion: 2 };
    expect(state.check(marker("commit", 2, { epoch: 2 }, 5), old)).toEqual(error(Errors.INVALID_PRODUCER_EPOCH));
    expect(state.check(marker("commit", 2, { epoch: 3 }, 4), old)).toEqual(
      error(Errors.TRANSACTION_COORDINATOR_FENCED),
    );
    expect(state.check(marker("commit", 2, { epoch: 3 }, 5), old)).toEqual(append);
    expect(state.check(marker("commit", 2, { epoch: 3 }, 5), strict)).toEqual(append);
    state.evolve(batch({ epoch: 3, at: 2, first: 1, transactional: true }));
    expect(state.check(marker("commit", 3, { epoch: 3 }, 5), strict)).toEqual(error(Errors.INVALID_PRODUCER_EPOCH));
    expect(state.check(marker("commit", 3, { epoch: 4 }, 5), strict)).toEqual(append);
  });

  test("a marker of a new epoch clears the window, one of the same keeps it", () => {
    const kept = after(batch({ first: 4, transactional: true }), marker("commit", 1));
    expect(kept.check(batch({ first: 4, transactional: true }), CLIENT)).toMatchObject({ kind: "duplicate" });
    const bumped = after(batch({ first: 4, transactional: true }), marker("commit", 1, { epoch: 1 }));
    expect(bumped.get(1)).toMatchObject({ epoch: 1, batches: [], transactionFirstOffset: -1, coordinatorEpoch: 1 });
    expect(bumped.check(batch({ epoch: 1, first: 0, at: 2 }), CLIENT)).toEqual(append);
    expect(bumped.check(batch({ epoch: 1, first: 1, at: 2 }), CLIENT)).toEqual(
      error(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER),
    );
  });

  test("an emptied control batch says nothing", () => {
    const state = after({
      ...batch({ first: -1 }),
      attributes: 0x30,
      control: { type: "other", coordinatorEpoch: -1 },
    });
    expect(state.size).toBe(0);
  });

  test("idle producers expire by the time given, never in a transaction", () => {
    const state = after(batch({ pid: 1, timestamp: 100 }), batch({ pid: 2, at: 1, timestamp: 150 }));
    state.evolve(batch({ pid: 3, at: 2, timestamp: 1, transactional: true }));
    state.expire(199, 100);
    expect([...state.entries()].map((entry) => entry.producerId)).toEqual([1, 2, 3]);
    state.expire(200, 100);
    expect([...state.entries()].map((entry) => entry.producerId)).toEqual([2, 3]);
  });
});
