import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CorruptLog } from "../../src/log/CorruptLog.ts";
import { loadLog, reload } from "../../src/log/LogLoader.ts";
import { evolve, snapshotOf } from "../../src/log/LogState.ts";
import { DEFAULT_LOG_CONFIG } from "../../src/log/UnifiedLog.ts";
import { DiskError } from "../../src/platform/Disk.ts";
import { readBatchInfo, stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { LogDriver, noCodecs, readAll, TINY } from "../support/LogDriver.ts";
import { MemoryDisk } from "../support/MemoryDisk.ts";

const INFINITY = Number.POSITIVE_INFINITY;

type Step =
  | { readonly kind: "append"; readonly records: number[]; readonly size: number; readonly write: boolean }
  | { readonly kind: "read"; readonly at: number; readonly max: number; readonly bound: number; readonly one: boolean }
  | { readonly kind: "time"; readonly timestamp: number; readonly from: number; readonly bound: number }
  | { readonly kind: "roll" | "flush" | "epoch" | "clean" | "unclean" | "pending" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      records: fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 4 }),
      size: fc.integer({ min: 0, max: 120 }),
      write: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      max: fc.integer({ min: 0, max: 700 }),
      bound: fc.double({ min: 0, max: 1.2, noNaN: true }),
      one: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("time" as const),
      timestamp: fc.integer({ min: 0, max: 62 }),
      from: fc.double({ min: 0, max: 1, noNaN: true }),
      bound: fc.double({ min: 0, max: 1.2, noNaN: true }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("roll", "flush", "epoch", "clean", "unclean", "pending") as fc.Arbitrary<
        "roll" | "flush" | "epoch" | "clean" | "unclean" | "pending"
      >,
    }),
  },
);

/** A bound the upper layers may give: a batch boundary. */
const boundaryAt = (driver: LogDriver, share: number): number => {
  const wanted = Math.floor(share * driver.end);
  return driver.batches.find((batch) => batch.info.baseOffset >= wanted)?.info.baseOffset ?? driver.end;
};

const run = async (steps: ReadonlyArray<Step>): Promise<void> => {
  const driver = await LogDriver.open();
  for (const one of steps) {
    if (one.kind === "append") {
      driver.stageRecords(one.records, one.size);
      if (one.write) await driver.log.write();
    } else if (one.kind === "read") {
      await driver.log.write();
      const at = Math.floor(one.at * driver.end);
      const bound = boundaryAt(driver, one.bound);
      const got = await driver.log.read(at, one.max, bound, one.one);
      const expected = at < bound ? driver.expectedRead(driver.log, at, one.max, bound, one.one) : new Uint8Array(0);
      // The tail may give more than one segment's; the disk stops at the segment's end. Both begin alike.
      const shorter = Math.min(got.records.length, expected.length);
      expect(got.records.length >= expected.length).toBe(true);
      expect(Buffer.compare(got.records.subarray(0, shorter), expected.subarray(0, shorter))).toBe(0);
      if (got.records.length > expected.length) {
        expect(got.records.length).toBeLessThanOrEqual(one.max);
        expect(got.endOffset).toBeLessThanOrEqual(bound);
      }
      if (expected.length > 0) {
        const last = driver.batches.find((batch) => batch.info.lastOffset === got.endOffset - 1);
        expect(last).toBeDefined();
      } else expect(got.endOffset).toBe(got.firstOffset);
    } else if (one.kind === "time") {
      await driver.log.write();
      const from = Math.floor(one.from * driver.end);
      const bound = boundaryAt(driver, one.bound);
      const expected = driver.batches
        .filter((batch) => batch.info.baseOffset < bound)
        .flatMap(({ info, timestamps }) =>
          timestamps.map((timestamp, at) => ({
            offset: info.baseOffset + at,
            timestamp,
            leaderEpoch: info.leaderEpoch,
          })),
        )
        .find(({ offset, timestamp }) => offset >= from && timestamp >= one.timestamp);
      expect(await driver.log.offsetForTimestamp(one.timestamp, from, bound, noCodecs)).toEqual(expected);
    } else if (one.kind === "roll") {
      driver.log.roll(() => snapshotOf(driver.state));
    } else if (one.kind === "flush") {
      driver.flush();
    } else if (one.kind === "epoch") {
      driver.leaderEpoch++;
    } else if (one.kind === "pending") {
      driver.disk.pending = !driver.disk.pending;
    } else {
      await driver.log.write();
      const before = snapshotOf(driver.state);
      if (one.kind === "clean") driver.stop();
      const recoveryPoint = driver.log.flushedOffset;
      const loaded = await driver.load({ clean: one.kind === "clean", recoveryPoint }, driver.disk);
      expect(Buffer.compare(snapshotOf(loaded.state), before)).toBe(0);
      expect(loaded.log.logEndOffset).toBe(driver.end);
      driver.adopt(loaded);
    }
  }
  await driver.log.write();
  const everything = Buffer.concat(driver.batches.map((batch) => batch.bytes));
  expect(Buffer.compare(await readAll(driver.log), everything)).toBe(0);
  // From nothing but the segments: the fold of the written bytes is the state.
  const bare = driver.disk.copy();
  for (const path of bare.files.keys()) if (!path.endsWith(".log")) bare.remove(path);
  const replayed = await driver.load({}, bare);
  expect(Buffer.compare(snapshotOf(replayed.state), snapshotOf(driver.state))).toBe(0);
  // Index look-up is linear scan, for every offset.
  for (const { info } of driver.batches) {
    for (let offset = info.baseOffset; offset <= info.lastOffset; offset++) {
      const got = await driver.log.read(offset, 1, INFINITY, true);
      expect([got.firstOffset, got.endOffset]).toEqual([info.baseOffset, info.lastOffset + 1]);
    }
  }
};

describe("UnifiedLog", () => {
  test("appends, reads, rolls, looks up by offset and time, and reopens as a list of batches would", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 80, size: "max" }), (steps) => run(steps)),
      { numRuns: 400 },
    );
  });

  test("rolls by size, by the first batch's timestamp and by index size, and snapshots at the boundary", async () => {
    const bySize = await LogDriver.open({ ...DEFAULT_LOG_CONFIG, segmentBytes: 300 });
    const size = (await bySize.append([1], 100)).sizeInBytes;
    for (let at = 0; at < 4; at++) await bySize.append([1], 100);
    const fit = Math.floor(300 / size);
    expect(fit).toBe(1);
    expect(bySize.log.segments.map((segment) => segment.baseOffset)).toEqual([0, 1, 2, 3, 4]);
    expect(bySize.disk.list("data/topic-0")).toContain(`${String(fit).padStart(20, "0")}.snapshot`);

    const byTime = await LogDriver.open({ ...DEFAULT_LOG_CONFIG, segmentMs: 100, segmentJitterMs: () => 10 });
    for (const timestamp of [1000, 1090, 1091]) await byTime.append([timestamp]);
    expect(byTime.log.segments.map((segment) => segment.baseOffset)).toEqual([0, 2]);

    const byIndex = await LogDriver.open({ ...DEFAULT_LOG_CONFIG, segmentIndexBytes: 60, indexIntervalBytes: 0 });
    for (let at = 0; at < 9; at++) await byIndex.append([at]);
    expect(byIndex.log.segments.length).toBeGreaterThan(1);
    for (const segment of byIndex.log.segments) expect(segment.indexes.sizeInBytes.time).toBeLessThanOrEqual(60);
  });

  test("how much sooner than segment.ms a segment ends is drawn for each: one of a log does not end as the next", async () => {
    const draws = [0, 50, 90, 0];
    const driver = await LogDriver.open({
      ...DEFAULT_LOG_CONFIG,
      segmentMs: 100,
      segmentJitterMs: () => draws.shift() ?? 0,
    });
    for (const timestamp of [1000, 1100, 1101, 1151, 1152, 1162, 1163, 1263]) await driver.append([timestamp]);
    expect(driver.log.segments.map((segment) => segment.baseOffset)).toEqual([0, 2, 4, 6]);
  });

  test("a segment without timestamps rolls by the time that passed", async () => {
    const driver = await LogDriver.open({ ...DEFAULT_LOG_CONFIG, segmentMs: 100 });
    const { log, state } = driver;
    for (const at of [5, 100, 106]) {
      const batch = buildBatch([{ value: new Uint8Array(3) }]);
      stampBatch(batch, 0, state.logEndOffset, 0);
      const header = readBatchInfo(batch, 0);
      log.stage(batch, header, () => snapshotOf(state), at);
      evolve(state, header);
      await log.write();
    }
    expect(log.segments.map((segment) => segment.baseOffset)).toEqual([0, 2]);
  });

  test("L11: readers see written batches only, and none at or above the bound", async () => {
    const driver = await LogDriver.open();
    await driver.append([1, 2]);
    driver.stageRecords([3], 10);
    expect((await driver.log.read(0, 1000, INFINITY, true)).endOffset).toBe(2);
    expect((await driver.log.read(2, 1000, INFINITY, true)).records.length).toBe(0);
    await driver.log.write();
    expect((await driver.log.read(2, 1000, INFINITY, true)).endOffset).toBe(3);
    expect((await driver.log.read(0, 1000, 2, true)).endOffset).toBe(2);
  });

  test("L12: a first batch above the limit comes whole when one is wanted, and not at all otherwise", async () => {
    const driver = await LogDriver.open();
    const { sizeInBytes } = await driver.append([1], 200);
    expect((await driver.log.read(0, 10, INFINITY, true)).records.length).toBe(sizeInBytes);
    expect((await driver.log.read(0, 10, INFINITY, false)).records.length).toBe(0);
    expect((await driver.log.read(0, sizeInBytes - 1, INFINITY, false)).records.length).toBe(0);
    expect((await driver.log.read(0, sizeInBytes, INFINITY, false)).records.length).toBe(sizeInBytes);
  });

  test("a flush ticket covers what was written before it, and new names only once", async () => {
    const driver = await LogDriver.open();
    expect(driver.log.beginFlush()).toBeUndefined();
    await driver.append([1]);
    const first = driver.log.beginFlush()!;
    expect([first.offset, first.directories]).toEqual([1, ["data/topic-0"]]);
    expect(first.files.map((file) => file.path)).toEqual(["data/topic-0/00000000000000000000.log"]);
    await driver.append([2]);
    driver.log.flushed(first);
    expect(driver.log.flushedOffset).toBe(1);
    const second = driver.log.beginFlush()!;
    expect([second.offset, second.directories]).toEqual([2, []]);
    driver.log.flushed(second);
    expect(driver.log.flushedOffset).toBe(2);
    expect(driver.log.beginFlush()).toBeUndefined();
  });

  test("a roll's ticket holds the sealed segment, its indexes, snapshot and epochs, and the directory", async () => {
    const driver = await LogDriver.open({ ...TINY, indexIntervalBytes: 0 });
    await driver.append([1], 300);
    await driver.append([2], 300);
    driver.flush();
    await driver.append([3], 700);
    const names = driver.log.beginFlush()!;
    expect(names.directories).toEqual(["data/topic-0"]);
    expect(names.files.map((file) => file.path.slice(-10)).sort()).toEqual(
      ["0000000.log", "000000.index", "0002.snapshot", "0.timeindex", "0000002.log", "epoch-checkpoint.tmp"]
        .map((name) => name.slice(-10))
        .sort(),
    );
  });

  test("short writes are continued where a batch ends, and failures elsewhere", async () => {
    const driver = await LogDriver.open();
    const stage = (): number => {
      for (let at = 0; at < 4; at++) driver.stageRecords([at, at + 1], 60);
      return driver.batches.at(-1)!.info.sizeInBytes;
    };
    const batch = stage();
    driver.disk.onWrite = (path, size) => (path.endsWith(".log") ? Math.min(size, batch) : size);
    await driver.log.write();
    driver.disk.pending = true;
    stage();
    await driver.log.write();
    expect(Buffer.compare(await readAll(driver.log), Buffer.concat(driver.batches.map(({ bytes }) => bytes)))).toBe(0);
    driver.disk.onWrite = (path, size) => (path.endsWith(".log") ? Math.min(size, batch + 7) : size);
    stage();
    await expect(driver.log.write()).rejects.toThrow("bytes were taken");
    expect(driver.log.hasFailed).toBe(true);
  });

  test("a failed write takes the log out of use; reload cuts it to its last good length", async () => {
    for (const taken of [0, 1, 100, 150, 400]) {
      const driver = await LogDriver.open();
      await driver.append([1, 2], 100);
      const good = { end: driver.end, snapshot: snapshotOf(driver.state) };
      let left = taken;
      driver.disk.onWrite = (path, size) => {
        if (!path.endsWith(".log")) return size;
        const now = Math.min(left, size);
        left -= now;
        if (now === 0) throw new DiskError("ENOSPC", "write", path);
        return now;
      };
      for (let at = 0; at < 8; at++) driver.stageRecords([at], 100);
      let error: unknown;
      try {
        await driver.log.write();
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(DiskError);
      expect(driver.log.hasFailed).toBe(true);
      driver.disk.onWrite = (_, size) => size;
      const broken = driver.log;
      expect((await broken.read(0, 1000, INFINITY, true)).endOffset).toBeGreaterThanOrEqual(good.end);
      const end = broken.logEndOffset;
      driver.adopt(await reload(driver.disk, broken, { logStartOffset: 0 }));
      expect(driver.end).toBe(end);
      if (end === good.end) expect(Buffer.compare(snapshotOf(driver.state), good.snapshot)).toBe(0);
      driver.batches.splice(driver.batches.findIndex((batch) => batch.info.baseOffset === end));
      await driver.append([9], 30);
      expect(Buffer.compare(await readAll(driver.log), Buffer.concat(driver.batches.map((batch) => batch.bytes)))).toBe(
        0,
      );
    }
  });

  test("reload to an offset truncates there, over segments, indexes and state", async () => {
    const driver = await LogDriver.open();
    const states: Uint8Array[] = [];
    for (let at = 0; at < 20; at++) {
      states.push(snapshotOf(driver.state));
      await driver.append([at], 100, { producerId: 7, producerEpoch: 0, baseSequence: at });
    }
    driver.flush();
    for (const to of [17, 9, 8, 3, 0]) {
      driver.adopt(await reload(driver.disk, driver.log, { logStartOffset: 0, endOffset: to }));
      expect(driver.end).toBe(to);
      expect(Buffer.compare(snapshotOf(driver.state), states[to]!)).toBe(0);
      driver.batches.splice(to);
      expect(Buffer.compare(await readAll(driver.log), Buffer.concat(driver.batches.map((batch) => batch.bytes)))).toBe(
        0,
      );
    }
    await driver.append([1]);
    expect((await driver.log.read(0, 100, INFINITY, true)).endOffset).toBe(1);
  });

  test("a reader keeps a detached segment's file until it is done", async () => {
    const driver = await LogDriver.open();
    for (let at = 0; at < 12; at++) await driver.append([at], 200);
    driver.disk.pending = true;
    const reading = driver.log.read(0, 500, INFINITY, true);
    const [detached] = driver.log.detachOldest(1);
    expect(detached!.baseOffset).toBe(0);
    expect((await reading).firstOffset).toBe(0);
    expect((await driver.log.read(0, 500, INFINITY, true)).firstOffset).toBe(driver.log.segments[0]!.baseOffset);
  });

  test("max timestamp is that of the first record that has it, within the bounds", async () => {
    const driver = await LogDriver.open();
    for (const timestamps of [[5], [1, 9, 9], [9], [3], [2, 8]]) await driver.append(timestamps, 200);
    expect(await driver.log.maxTimestampOffset(0, INFINITY, noCodecs)).toEqual({
      offset: 2,
      timestamp: 9,
      leaderEpoch: 0,
    });
    expect(await driver.log.maxTimestampOffset(5, INFINITY, noCodecs)).toEqual({
      offset: 7,
      timestamp: 8,
      leaderEpoch: 0,
    });
    expect(await driver.log.maxTimestampOffset(0, 1, noCodecs)).toEqual({ offset: 0, timestamp: 5, leaderEpoch: 0 });
    expect(await (await LogDriver.open()).log.maxTimestampOffset(0, INFINITY, noCodecs)).toBeUndefined();
  });

  test("a new log creates nothing before its first write", async () => {
    const disk = new MemoryDisk();
    const { log } = await loadLog(disk, "data/topic-0", TINY, { clean: true, recoveryPoint: 0, logStartOffset: 0 });
    expect([disk.files.size, log.logEndOffset, log.size]).toEqual([0, 0, 0]);
  });

  test("what lies behind damage is not read and a search that meets it has no answer; the rest is as ever", async () => {
    const driver = await LogDriver.open({ ...DEFAULT_LOG_CONFIG, segmentBytes: 400 });
    for (let at = 0; at < 9; at++) await driver.append([at], 40);
    const { log } = driver;
    expect(log.segments.length).toBe(3);
    const told: string[] = [];
    log.reader.damageFound = ({ message }) => void told.push(message);
    const [first] = log.segments;
    const path = first!.path(".log");
    const size = driver.batches[0]!.info.sizeInBytes;
    const bytes = driver.disk.content(path);
    bytes[size + 8]! ^= 0x40;
    driver.disk.files.get(path)!.bytes.set(bytes);
    const failure = (doing: () => unknown): Promise<unknown> =>
      (async () => doing())().then(
        () => undefined,
        (error: unknown) => error,
      );
    expect((await log.read(0, 100, INFINITY, true)).endOffset).toBe(1);
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(await failure(() => log.read(1, 1000, INFINITY, true))).toBeInstanceOf(CorruptLog);
    }
    expect(await failure(() => log.read(2, 1000, INFINITY, true))).toBeInstanceOf(CorruptLog);
    expect((await log.read(0, 1000, INFINITY, true)).endOffset).toBe(1);
    expect((await log.read(3, 1000, INFINITY, true)).firstOffset).toBe(3);
    expect(told).toEqual([`${path} at ${size}: no batch where one must begin`]);
    // By time: found before the damage, or in a segment that nothing before can hold, or not at all.
    expect((await log.offsetForTimestamp(0, 0, INFINITY, noCodecs))?.offset).toBe(0);
    expect((await log.offsetForTimestamp(4, 0, INFINITY, noCodecs))?.offset).toBe(4);
    expect(await failure(() => log.offsetForTimestamp(2, 0, INFINITY, noCodecs))).toBeInstanceOf(CorruptLog);
    first!.damage = undefined;
    expect(await failure(() => log.offsetForTimestamp(2, 0, INFINITY, noCodecs))).toBeInstanceOf(CorruptLog);
    driver.disk.files.get(path)!.bytes[size + 8]! ^= 0x40;
    first!.damage = undefined;
    expect((await log.offsetForTimestamp(2, 0, INFINITY, noCodecs))?.offset).toBe(2);
  });
});
