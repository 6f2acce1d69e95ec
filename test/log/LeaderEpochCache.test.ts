import { describe, expect, test } from "bun:test";
import { LeaderEpochCache } from "../../src/log/LeaderEpochCache.ts";

const cacheOf = (...pairs: ReadonlyArray<readonly [number, number]>): LeaderEpochCache =>
  LeaderEpochCache.of(pairs.map(([epoch, startOffset]) => ({ epoch, startOffset })));
const pairs = (cache: LeaderEpochCache): Array<[number, number]> =>
  cache.entries.map(({ epoch, startOffset }) => [epoch, startOffset]);

describe("LeaderEpochCache", () => {
  test("keeps the first offset of each epoch", () => {
    const cache = cacheOf([0, 0], [0, 5], [2, 9], [2, 9], [2, 12], [5, 20]);
    expect(pairs(cache)).toEqual([
      [0, 0],
      [2, 9],
      [5, 20],
    ]);
    cache.assign(-1, 30);
    expect(cache.latestEpoch).toBe(5);
  });

  test("a new entry removes what contradicts it", () => {
    expect(pairs(cacheOf([0, 0], [2, 9], [5, 20], [6, 9]))).toEqual([
      [0, 0],
      [6, 9],
    ]);
    expect(pairs(cacheOf([0, 0], [2, 9], [5, 20], [3, 25]))).toEqual([
      [0, 0],
      [2, 9],
      [3, 25],
    ]);
  });

  test("endOffsetFor: the latest ends at the log end, the unknown nowhere, the others where the next begins", () => {
    const cache = cacheOf([1, 3], [4, 10], [7, 20]);
    const ask = (epoch: number) => {
      const { epoch: found, endOffset } = cache.endOffsetFor(epoch, 30);
      return [found, endOffset];
    };
    expect(ask(7)).toEqual([7, 30]);
    expect(ask(8)).toEqual([-1, -1]);
    expect(ask(-1)).toEqual([-1, -1]);
    expect(ask(0)).toEqual([0, 3]);
    expect(ask(1)).toEqual([1, 10]);
    expect(ask(3)).toEqual([1, 10]);
    expect(ask(4)).toEqual([4, 20]);
    expect(ask(6)).toEqual([4, 20]);
    expect(new LeaderEpochCache().endOffsetFor(0, 9)).toEqual({ epoch: -1, endOffset: -1 });
  });

  test("truncation from either end", () => {
    const cache = cacheOf([1, 3], [4, 10], [7, 20]);
    cache.truncateFromStart(12);
    expect(pairs(cache)).toEqual([
      [4, 12],
      [7, 20],
    ]);
    cache.truncateFromStart(20);
    expect(pairs(cache)).toEqual([[7, 20]]);
    cache.truncateFromStart(2);
    expect(pairs(cache)).toEqual([[7, 20]]);
    cache.truncateFromEnd(21);
    expect(pairs(cache)).toEqual([[7, 20]]);
    cache.truncateFromEnd(20);
    expect(pairs(cache)).toEqual([]);
  });

  test("epochForOffset", () => {
    const cache = cacheOf([1, 3], [4, 10]);
    expect([2, 3, 9, 10, 99].map((offset) => cache.epochForOffset(offset))).toEqual([-1, 1, 1, 4, 4]);
  });
});
