import { expect, test } from "bun:test";
import { ProducerStateManager } from "../../src/log/ProducerStateManager.ts";
import { LostFirstBatches } from "../../src/partition/LostFirstBatches.ts";
import type { BatchInfo } from "../../src/record/BatchInfo.ts";

const batch = (baseSequence: number, producerEpoch = 0): BatchInfo => ({
  baseOffset: 0,
  lastOffset: 0,
  leaderEpoch: 0,
  sizeInBytes: 70,
  attributes: 0,
  baseTimestamp: 0,
  maxTimestamp: 0,
  producerId: 9,
  producerEpoch,
  baseSequence,
  lastSequence: baseSequence,
  recordCount: 1,
});

test("what was pipelined behind a lost first batch waits until that one comes again", () => {
  const lost = new LostFirstBatches();
  const nobody = new ProducerStateManager();
  lost.lost(batch(0));
  lost.lost(batch(1));
  expect(lost.mustWait(batch(2), nobody)).toBe(true);
  expect(lost.mustWait(batch(1), nobody)).toBe(true);
  expect(lost.mustWait(batch(0), nobody)).toBe(false);
  expect(lost.mustWait(batch(1), nobody)).toBe(false);
});

test("a producer that the log knows, and a new epoch, wait for nothing", () => {
  const lost = new LostFirstBatches();
  const known = new ProducerStateManager();
  known.evolve(batch(0));
  lost.lost(batch(5));
  expect(lost.mustWait(batch(6), known)).toBe(false);
  lost.lost(batch(5));
  expect(lost.mustWait(batch(6, 1), new ProducerStateManager())).toBe(false);
});
