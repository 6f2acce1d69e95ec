import { describe, expect, test } from "bun:test";
import { isUnsupportedTimestamp, ListOffsets } from "../../src/api/02-ListOffsets.ts";
import { type ViewedLog, viewedLog } from "./Views.ts";

const answer = (offset: number, timestamp: number, leaderEpoch: number) => ({
  partitionIndex: 0,
  errorCode: 0,
  timestamp,
  offset,
  leaderEpoch,
});
const NONE = answer(-1, -1, -1);
const refused = (errorCode: number, partitionIndex = 0) => ({ ...NONE, errorCode, partitionIndex });

/** Offsets 0–2 at times 10, 30, 20 in epoch 0; 3–4 at 40, 30 in epoch 1. */
const filled = (bounds = {}) =>
  viewedLog(async (driver) => {
    await driver.append([10, 30, 20]);
    driver.leaderEpoch = 1;
    await driver.append([40, 30]);
  }, bounds);

const ask = async (
  { handling }: ViewedLog,
  timestamp: number,
  options: { version?: number; isolationLevel?: number; currentLeaderEpoch?: number; replicaId?: number } = {},
) => {
  const { version = 11, isolationLevel = 0, currentLeaderEpoch = -1, replicaId = -1 } = options;
  const { topics } = await handling.call(2, ListOffsets, version, {
    replicaId,
    isolationLevel,
    topics: [{ name: "t", partitions: [{ partitionIndex: 0, timestamp, currentLeaderEpoch }] }],
  });
  return topics[0]?.partitions[0];
};

describe("ListOffsets (#37)", () => {
  test("earliest and latest answer no timestamp, and the epoch from v4 on", async () => {
    for (let version = 1; version <= 11; version++) {
      const log = await filled();
      expect(await ask(log, -1, { version })).toEqual(answer(5, -1, version >= 4 ? 1 : -1));
      expect(await ask(log, -2, { version })).toEqual(answer(0, -1, version >= 4 ? 0 : -1));
    }
  });

  test("L13: latest is the last stable offset for read_committed, else the high watermark; for a replica the log's end", async () => {
    const log = await filled({ lastStableOffset: 2, highWatermark: 4 });
    expect((await ask(log, -1, { isolationLevel: 1 }))?.offset).toBe(2);
    expect((await ask(log, -1))?.offset).toBe(4);
    expect((await ask(log, -1, { replicaId: 2 }))?.offset).toBe(5);
  });

  test("by time: the first record at or after, with its own timestamp and epoch; none is -1 without error", async () => {
    const log = await filled();
    expect(await ask(log, 0)).toEqual(answer(0, 10, 0));
    expect(await ask(log, 11)).toEqual(answer(1, 30, 0));
    expect(await ask(log, 31)).toEqual(answer(3, 40, 1));
    expect(await ask(log, 41)).toEqual(NONE);
  });

  test("-3: the first record with the largest timestamp", async () => {
    expect(await ask(await filled(), -3)).toEqual(answer(3, 40, 1));
    const twice = await viewedLog(async (driver) => {
      await driver.append([5, 9, 9]);
    });
    expect(await ask(twice, -3)).toEqual(answer(1, 9, 0));
  });

  test("read_committed caps every look-up at the last stable offset, everyone at the high watermark", async () => {
    const log = await filled({ lastStableOffset: 3, highWatermark: 3 });
    expect(await ask(log, 31)).toEqual(NONE);
    expect(await ask(log, 31, { isolationLevel: 1 })).toEqual(NONE);
    expect(await ask(log, -3)).toEqual(answer(1, 30, 0));
    const stable = await filled({ lastStableOffset: 0 });
    expect(await ask(stable, 0, { isolationLevel: 1 })).toEqual(NONE);
    expect(await ask(stable, 0)).toEqual(answer(0, 10, 0));
  });

  test("an empty log: earliest and latest 0 with the leader's epoch, by time and -3 none", async () => {
    const log = await viewedLog(async (driver) => {
      driver.leaderEpoch = 3;
    });
    expect(await ask(log, -1)).toEqual(answer(0, -1, 3));
    expect(await ask(log, -2)).toEqual(answer(0, -1, 3));
    for (const timestamp of [-3, 0, 5]) expect(await ask(log, timestamp)).toEqual(NONE);
  });

  test("-4 is earliest, -5 and -6 are none without tiers", async () => {
    const log = await filled();
    expect(await ask(log, -4)).toEqual(answer(0, -1, 0));
    expect(await ask(log, -5)).toEqual(NONE);
    expect(await ask(log, -6)).toEqual(NONE);
  });

  test("special timestamps below their version, and other negative numbers: 35", async () => {
    const firstVersion = new Map([
      [-1, 1],
      [-2, 1],
      [-3, 7],
      [-4, 8],
      [-5, 9],
      [-6, 11],
    ]);
    for (let version = 1; version <= 11; version++) {
      for (const [timestamp, first] of firstVersion) {
        expect(isUnsupportedTimestamp(timestamp, version)).toBe(version < first);
      }
      expect(isUnsupportedTimestamp(-7, version)).toBe(true);
      expect(isUnsupportedTimestamp(0, version)).toBe(false);
    }
    expect(await ask(await filled(), -3, { version: 6 })).toEqual(refused(35));
  });

  test("the client's leader epoch: older 74, newer 75", async () => {
    const log = await filled();
    expect(await ask(log, -1, { currentLeaderEpoch: 0 })).toEqual(refused(74));
    expect(await ask(log, -1, { currentLeaderEpoch: 2 })).toEqual(refused(75));
    expect((await ask(log, -1, { currentLeaderEpoch: 1 }))?.errorCode).toBe(0);
  });

  test("an isolation level that is none: -1 per partition", async () => {
    expect(await ask(await filled(), -1, { version: 9, isolationLevel: 5 })).toEqual(refused(-1));
  });

  test("unknown topic or partition 3; not hosted here 6; the same partition twice one answer, 42", async () => {
    const { handling } = await filled();
    const question = { timestamp: -1, currentLeaderEpoch: -1 };
    const { topics } = await handling.call(2, ListOffsets, 11, {
      replicaId: -1,
      topics: [
        { name: "nope", partitions: [{ partitionIndex: 0, ...question }] },
        {
          name: "t",
          partitions: [
            { partitionIndex: 7, ...question },
            { partitionIndex: 1, ...question },
            { partitionIndex: 0, ...question },
            { partitionIndex: 0, ...question, timestamp: 5 },
          ],
        },
      ],
    });
    expect(topics).toEqual([
      { name: "nope", partitions: [refused(3)] },
      { name: "t", partitions: [refused(3, 7), refused(6, 1), refused(42)] },
    ]);
  });
});
