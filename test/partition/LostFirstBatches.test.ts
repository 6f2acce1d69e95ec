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

/** What a log knows of its producers after these batches. */
const knowing = (...batches: ReadonlyArray<BatchInfo>): ProducerStateManager => {
  const producers = new ProducerStateManager();
  for (const each of batches) producers.evolve(each);
  return producers;
};

test("what was pipelined behind a lost first batch waits until that one comes again", () => {
  const lost = new LostFirstBatches();
  const nobody = knowing();
  lost.cut(knowing(batch(0), batch(1)), nobody);
  expect(lost.mustWait(batch(2), nobody)).toBe(true);
  expect(lost.mustWait(batch(1), nobody)).toBe(true);
  expect(lost.mustWait(batch(0), nobody)).toBe(false);
  expect(lost.mustWait(batch(1), nobody)).toBe(false);
});

test("a producer that the log still knows, and a new epoch, wait for nothing", () => {
  const lost = new LostFirstBatches();
  lost.cut(knowing(batch(0), batch(1)), knowing(batch(0)));
  expect(lost.mustWait(batch(2), knowing())).toBe(false);
  lost.cut(knowing(batch(5)), knowing());
  expect(lost.mustWait(batch(6), knowing(batch(5)))).toBe(false);
  lost.cut(knowing(batch(5)), knowing());
  expect(lost.mustWait(batch(6, 1), knowing())).toBe(false);
});

test("what follows a new producer's refused first batch waits for it, whatever else is refused meanwhile", () => {
  const lost = new LostFirstBatches();
  const nobody = knowing();
  for (const sequence of [0, 1, 2]) lost.refused(batch(sequence), nobody);
  expect(lost.mustWait(batch(2), nobody)).toBe(true);
  expect(lost.mustWait(batch(1), nobody)).toBe(true);
  expect(lost.mustWait(batch(0), nobody)).toBe(false);
  lost.refused(batch(0), nobody);
  expect(lost.mustWait(batch(1), nobody)).toBe(true);
  // A producer that is known has its sequences looked at by the log itself.
  lost.refused(batch(7), knowing(batch(6)));
  expect(lost.mustWait(batch(0), nobody)).toBe(false);
  expect(lost.mustWait(batch(8), nobody)).toBe(false);
});

test("what was refused while the log could not be opened counts by its lowest sequence", () => {
  const lost = new LostFirstBatches();
  for (const sequence of [2, 0, 4]) lost.refused(batch(sequence));
  expect(lost.mustWait(batch(2), knowing())).toBe(true);
  expect(lost.mustWait(batch(0), knowing())).toBe(false);
  lost.refused(batch(5, 0));
  lost.refused(batch(0, 1));
  expect(lost.mustWait(batch(3, 1), knowing())).toBe(true);
  expect(lost.mustWait(batch(6, 0), knowing())).toBe(false);
});
