/**
 * Side files are caches: whatever is missing, cut or flipped, before a start or while the log runs, the answers stay
 * (L8, L9, and the rows of correctness.md 3.2 about .index, .timeindex, .txnindex and .snapshot). What one lost file
 * alone does after a stop is LogLoader.test.ts.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LoadedLog } from "../../src/log/LogLoader.ts";
import { snapshotOf } from "../../src/log/LogState.ts";
import type { DiskFile } from "../../src/platform/Disk.ts";
import { crc32c } from "../../src/record/Crc32c.ts";
import { LogDriver, noCodecs, readAll, TINY } from "../support/LogDriver.ts";
import type { MemoryDisk } from "../support/MemoryDisk.ts";

const INFINITY = Number.POSITIVE_INFINITY;
const CONFIG = { ...TINY, indexIntervalBytes: 60 };
const INDEXES = /\.(index|timeindex|txnindex)$/;

/** Transactions with early and late beginnings, timestamps in no order, several segments. */
const filled = async (rounds = 24): Promise<LogDriver> => {
  const driver = await LogDriver.open(CONFIG);
  for (let at = 0; at < rounds; at++) {
    await driver.append([at * 7 - (at % 5) * 20, at], 30);
    await driver.append([at + 2], 10, { producerId: 9, producerEpoch: 0, baseSequence: at, transactional: true });
    if (at % 3 === 2) await driver.endTransaction(at % 2 === 0 ? "abort" : "commit", 9);
  }
  return driver;
};

/** The first record at or above a timestamp, from the model. */
const byTime = (driver: LogDriver, timestamp: number): number | undefined => {
  for (const { info, timestamps } of driver.batches) {
    const index = timestamps.findIndex((each) => each >= timestamp);
    if (index >= 0) return info.baseOffset + index;
  }
  return undefined;
};

/** What a client sees of the log is what the model of all its batches says. */
const expectModel = async (driver: LogDriver, { log, state }: LoadedLog): Promise<void> => {
  expect(Buffer.compare(snapshotOf(state), snapshotOf(driver.state))).toBe(0);
  expect(Buffer.compare(await readAll(log), Buffer.concat(driver.batches.map(({ bytes }) => bytes)))).toBe(0);
  for (let offset = 0; offset < driver.end; offset += 5) {
    const batch = driver.batches.find(({ info }) => info.lastOffset >= offset)!;
    expect((await log.read(offset, 1, INFINITY, true)).firstOffset).toBe(batch.info.baseOffset);
    const upper = offset + 17;
    expect(await log.abortedTransactions(offset, upper)).toEqual(
      driver.aborted.filter((one) => one.lastOffset >= offset && one.firstOffset < upper),
    );
  }
  for (let timestamp = -10; timestamp < 190; timestamp += 9) {
    expect((await log.offsetForTimestamp(timestamp, 0, INFINITY, noCodecs))?.offset).toBe(byTime(driver, timestamp));
  }
  for (const segment of log.segments) {
    const own = driver.batches.filter(
      ({ info }) => info.baseOffset >= segment.baseOffset && info.baseOffset < segmentEnd(driver, segment.baseOffset),
    );
    const largest = Math.max(-1, ...own.flatMap(({ timestamps }) => timestamps));
    expect((await segment.indexes.largestTimestamp()).timestamp).toBe(largest);
  }
};

const segmentEnd = ({ log }: LogDriver, baseOffset: number): number =>
  log.segments.find((segment) => segment.baseOffset > baseOffset)?.baseOffset ?? INFINITY;

/** Snapshots as Kafka writes them: nothing says any more how a segment ends. */
const withoutAdditions = (disk: MemoryDisk): void => {
  for (const path of disk.files.keys()) {
    if (!path.endsWith(".snapshot")) continue;
    const ours = disk.content(path);
    const count = new DataView(ours.buffer).getInt32(6);
    const kafka = ours.slice(0, 10 + count * 46);
    new DataView(kafka.buffer).setUint32(2, crc32c(kafka, 6));
    disk.put(path, kafka);
  }
};

const damage = (disk: MemoryDisk, path: string, kind: string, place: number, unit: number): void => {
  const content = disk.content(path);
  if (kind === "delete" || content.length === 0) return disk.remove(path);
  if (kind === "cut") return disk.put(path, content.subarray(0, place % content.length));
  // At the end of an entry: what is left looks whole.
  if (kind === "cut at an entry") return disk.put(path, content.subarray(0, (place % (content.length / unit)) * unit));
  content.fill(0, place % content.length);
  disk.put(path, content);
};

/** What is cut under whoever has the file open. */
const cutInPlace = (disk: MemoryDisk, path: string, place: number): void => {
  const file = disk.files.get(path)!;
  file.size = file.size === 0 ? 0 : place % file.size;
};

const flipInPlace = (disk: MemoryDisk, path: string, place: number): void => {
  const { bytes, size } = disk.files.get(path)!;
  const bit = place % (size * 8);
  if (size > 0) bytes[bit >> 3]! ^= 1 << (bit & 7);
};

const unitOf = (path: string): number => (path.endsWith(".timeindex") ? 12 : path.endsWith(".txnindex") ? 34 : 8);

describe("side files", () => {
  test("all of them gone, below the recovery point too: aborted data stays hidden, times are found", async () => {
    const driver = await filled();
    expect(driver.aborted.length).toBeGreaterThan(3);
    driver.flush();
    for (const recoveryPoint of [0, driver.log.active.baseOffset, driver.end]) {
      const disk = driver.disk.copy();
      for (const path of disk.files.keys()) if (!path.endsWith(".log")) disk.remove(path);
      await expectModel(driver, await driver.load({ recoveryPoint }, disk));
    }
  });

  test("in a folder that Kafka wrote, where nothing says how a segment ends, any index may be lost or cut", async () => {
    const reference = await filled();
    const driver = await filled();
    driver.stop();
    withoutAdditions(driver.disk);
    const paths = [...driver.disk.files.keys()].filter((path) => INDEXES.test(path));
    expect(paths.some((path) => path.endsWith(".txnindex"))).toBe(true);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...paths),
        fc.constantFrom("delete", "cut", "cut at an entry", "zero"),
        fc.nat(),
        fc.boolean(),
        async (path, kind, place, clean) => {
          const disk = driver.disk.copy();
          damage(disk, path, kind, place, unitOf(path));
          await expectModel(reference, await driver.load({ clean, recoveryPoint: driver.end }, disk));
        },
      ),
      { numRuns: 200 },
    );
  });

  test("cut, gone or with a flipped bit while the log runs: the next answer is the same", async () => {
    const driver = await filled();
    const { log, state, disk } = driver;
    const kinds = fc.constantFrom("cut", "gone", "flipped");
    await fc.assert(
      fc.asyncProperty(fc.nat(), kinds, fc.nat(), fc.boolean(), async (which, kind, place, appends) => {
        const paths = [...disk.files.keys()].filter((path) => INDEXES.test(path));
        const path = paths[which % paths.length]!;
        if (kind === "flipped") flipInPlace(disk, path, place);
        else cutInPlace(disk, path, kind === "gone" ? 0 : place);
        if (kind === "gone") disk.remove(path);
        if (appends) await driver.append([place % 150], 30);
        for (let offset = 0; offset < driver.end; offset += 3) {
          const batch = driver.batches.find(({ info }) => info.lastOffset >= offset)!;
          expect((await log.read(offset, 1, INFINITY, true)).firstOffset).toBe(batch.info.baseOffset);
        }
        for (let timestamp = -10; timestamp < 190; timestamp += 19) {
          const found = await log.offsetForTimestamp(timestamp, 0, INFINITY, noCodecs);
          expect(found?.offset).toBe(byTime(driver, timestamp));
        }
        expect(await log.abortedTransactions(0, INFINITY)).toEqual(driver.aborted);
      }),
      { numRuns: 120, seed: 5 },
    );
    await expectModel(driver, { log, state, repairs: [] });
  });

  test("what a stop left of the active segment's is damaged, and appends come before the first look-up", async () => {
    for (const suffix of [".index", ".timeindex", ".txnindex"] as const) {
      for (const kind of ["delete", "cut", "cut at an entry", "zero"]) {
        const driver = await filled(13);
        await driver.endTransaction("abort", 9);
        const path = driver.log.active.path(suffix);
        driver.stop();
        if (driver.disk.exists(path)) damage(driver.disk, path, kind, 3, unitOf(path));
        driver.adopt(await driver.load({ clean: true, recoveryPoint: driver.end }, driver.disk));
        const producer = { producerId: 9, producerEpoch: 0, baseSequence: 13, transactional: true };
        await driver.append([500], 10, producer);
        await driver.endTransaction("abort", 9);
        for (let at = 0; at < 6; at++) await driver.append([at], 40);
        await expectModel(driver, { log: driver.log, state: driver.state, repairs: [] });
        // And what is written down of it is right after another stop.
        driver.stop();
        await expectModel(driver, await driver.load({ clean: true, recoveryPoint: driver.end }, driver.disk));
      }
    }
  });

  test("what is appended while an index, or the aborted transactions, are told again from the batches is in them", async () => {
    for (const suffix of [".index", ".timeindex", ".txnindex"] as const) {
      const driver = await filled(13);
      await driver.endTransaction("abort", 9);
      driver.stop();
      const gate = Promise.withResolvers<void>();
      let reads = 0;
      const { open } = driver.disk;
      driver.disk.open = (path, mode) => {
        const file = open.call(driver.disk, path, mode);
        const read: DiskFile["read"] = (target, position) => {
          if (!path.endsWith(".log") || ++reads !== 1) return file.read(target, position);
          const there = file.read(target, position);
          return gate.promise.then(() => there);
        };
        return Object.create(file, { read: { value: read } });
      };
      driver.adopt(await driver.load({ clean: true, recoveryPoint: driver.end }, driver.disk));
      const { log } = driver;
      const path = log.active.path(suffix);
      if (driver.disk.exists(path)) driver.disk.put(path, driver.disk.content(path).subarray(1));
      else driver.disk.put(path, new Uint8Array(1));
      const looking =
        suffix === ".txnindex" ? log.abortedTransactions(log.active.baseOffset, INFINITY) : log.active.find(0);
      // The segment is being read; what comes now lies behind what was read.
      expect(reads).toBe(1);
      await driver.append([700], 10, { producerId: 9, producerEpoch: 0, baseSequence: 13, transactional: true });
      await driver.endTransaction("abort", 9);
      for (let at = 0; at < 3; at++) await driver.append([at], 10);
      expect(log.segments.length).toBe((await driver.load({ recoveryPoint: 0 })).log.segments.length);
      gate.resolve();
      await looking;
      await expectModel(driver, { log, state: driver.state, repairs: [] });
      driver.stop();
      await expectModel(driver, await driver.load({ clean: true, recoveryPoint: driver.end }, driver.disk));
    }
  });
});
