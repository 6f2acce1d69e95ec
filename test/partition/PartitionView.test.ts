import { expect, test } from "bun:test";
import { assertView, type PartitionView } from "../../src/partition/PartitionView.ts";

const view = (bounds: ReadonlyArray<number>, leaderEpoch = 3): PartitionView => {
  const [logStartOffset, lastStableOffset, highWatermark, logEndOffset] = bounds;
  return { logStartOffset, lastStableOffset, highWatermark, logEndOffset, leaderEpoch } as PartitionView;
};

test("L6: log start ≤ last stable offset ≤ high watermark ≤ log end, whatever is published", () => {
  for (const bounds of [
    [0, 0, 0, 0],
    [2, 2, 5, 9],
    [2, 4, 4, 4],
  ]) {
    expect(() => assertView(view(bounds), undefined)).not.toThrow();
  }
  for (const bounds of [
    [3, 2, 5, 9],
    [2, 6, 5, 9],
    [2, 4, 10, 9],
  ]) {
    expect(() => assertView(view(bounds), undefined)).toThrow("L6 broken");
  }
});

test("in one reign neither the high watermark nor the last stable offset goes back; a new leader begins anew", () => {
  const before = view([0, 4, 6, 9]);
  expect(() => assertView(view([1, 4, 6, 6]), before)).not.toThrow();
  expect(() => assertView(view([0, 4, 5, 9]), before)).toThrow("the high watermark went back");
  expect(() => assertView(view([0, 3, 6, 9]), before)).toThrow("the last stable offset went back");
  expect(() => assertView(view([0, 3, 5, 5], 4), before)).not.toThrow();
});
