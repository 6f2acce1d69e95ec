import { describe, expect, test } from "bun:test";
import { epochEndOffset, OffsetForLeaderEpoch } from "../../src/api/23-OffsetForLeaderEpoch.ts";
import { LeaderEpochCache } from "../../src/log/LeaderEpochCache.ts";
import { viewedLog } from "./Views.ts";

const viewOf = (epochs: ReadonlyArray<[number, number]>, leaderEpoch: number, logEndOffset: number) => ({
  leaderEpoch,
  logEndOffset,
  state: { leaderEpochs: LeaderEpochCache.of(epochs.map(([epoch, startOffset]) => ({ epoch, startOffset }))) },
});

describe("OffsetForLeaderEpoch (#38)", () => {
  const log = viewOf(
    [
      [2, 10],
      [5, 20],
      [6, 30],
    ],
    6,
    40,
  );
  const cases: ReadonlyArray<[string, number, number, number]> = [
    ["the current epoch ends at the log's end", 6, 6, 40],
    ["an older one at the start of the next", 5, 5, 30],
    ["one between: the largest known up to it", 4, 2, 20],
    ["the first", 2, 2, 20],
    ["one older than every known: itself, at the first one's start", 1, 1, 10],
    ["one newer than any: none", 7, -1, -1],
    ["-1: none", -1, -1, -1],
  ];
  for (const [what, asked, leaderEpoch, endOffset] of cases) {
    test(what, () => {
      expect(epochEndOffset(log, asked)).toEqual({ leaderEpoch, endOffset });
    });
  }

  test("the leader's epoch is known before its first batch, also in an empty log", () => {
    const young = viewOf([[2, 10]], 4, 15);
    expect(epochEndOffset(young, 4)).toEqual({ leaderEpoch: 4, endOffset: 15 });
    expect(epochEndOffset(young, 3)).toEqual({ leaderEpoch: 2, endOffset: 15 });
    expect(epochEndOffset(young, 2)).toEqual({ leaderEpoch: 2, endOffset: 15 });
    expect(epochEndOffset(young, 5)).toEqual({ leaderEpoch: -1, endOffset: -1 });
    const empty = viewOf([], 3, 0);
    expect(epochEndOffset(empty, 3)).toEqual({ leaderEpoch: 3, endOffset: 0 });
    expect(epochEndOffset(empty, 1)).toEqual({ leaderEpoch: 1, endOffset: 0 });
  });

  test("every version answers every partition, with the checks of the client's epoch", async () => {
    for (let version = 2; version <= 4; version++) {
      const { handling } = await viewedLog(async (driver) => {
        await driver.append([1, 2]);
        driver.leaderEpoch = 1;
        await driver.append([3]);
      });
      const ask = (partition: number, currentLeaderEpoch: number, leaderEpoch: number) => ({
        partition,
        currentLeaderEpoch,
        leaderEpoch,
      });
      const { topics } = await handling.call(23, OffsetForLeaderEpoch, version, {
        topics: [
          { topic: "t", partitions: [ask(0, 1, 0), ask(0, 0, 0), ask(0, 2, 0), ask(1, -1, 0), ask(9, -1, 0)] },
          { topic: "nope", partitions: [ask(0, -1, 0)] },
        ],
      });
      const refused = (errorCode: number, partition = 0) => ({ errorCode, partition, leaderEpoch: -1, endOffset: -1 });
      expect(topics).toEqual([
        {
          topic: "t",
          partitions: [
            { errorCode: 0, partition: 0, leaderEpoch: 0, endOffset: 2 },
            refused(74),
            refused(75),
            refused(6, 1),
            refused(3, 9),
          ],
        },
        { topic: "nope", partitions: [refused(3)] },
      ]);
    }
  });
});
