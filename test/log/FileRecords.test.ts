import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CorruptLog } from "../../src/log/CorruptLog.ts";
import { FileRecords } from "../../src/log/FileRecords.ts";
import type { PromisedData } from "../../src/log/LogReader.ts";
import { DEFAULT_LOG_CONFIG } from "../../src/log/UnifiedLog.ts";
import { DiskError } from "../../src/platform/Disk.ts";
import { LogDriver } from "../support/LogDriver.ts";

const INFINITY = Number.POSITIVE_INFINITY;
const PROMISED_FROM = 64 * 1024;
const CONFIG = { ...DEFAULT_LOG_CONFIG, segmentBytes: 400_000 };

/** The bytes, in pieces of `step`; what was promised is let go. */
const bytesOf = async ({ records }: PromisedData, step = 10_000): Promise<Uint8Array> => {
  if (records instanceof Uint8Array) return records;
  const bytes = new Uint8Array(records.length);
  for (let at = 0; at < bytes.length; at += step) await records.read(bytes.subarray(at, at + step), at);
  records.release();
  return bytes;
};

/** A promise of the log's beginning. */
const promised = async ({ log }: LogDriver): Promise<FileRecords> => {
  const { records } = await log.promise(0, 100_000, INFINITY, true);
  if (!(records instanceof FileRecords)) throw new Error("nothing was promised");
  return records;
};

const filled = async (): Promise<LogDriver> => {
  const driver = await LogDriver.open(CONFIG);
  for (let at = 0; at < 60; at++) await driver.append([at], 10_000);
  return driver;
};

const failureOf = async (doing: () => unknown): Promise<unknown> => {
  try {
    await doing();
    return undefined;
  } catch (error) {
    return error;
  }
};

describe("records that stay in their file", () => {
  test("are the bytes that would be read: whole batches, none at or above the bound, no more than asked for", async () => {
    let promises = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 5000, max: 90_000 })), {
          minLength: 20,
          maxLength: 60,
        }),
        fc.integer({ min: 1, max: 300_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.boolean(),
        async (sizes, maxBytes, share, pending) => {
          const driver = await LogDriver.open(CONFIG);
          for (const size of sizes) await driver.append([1, 2], size);
          driver.disk.pending = pending;
          const bound = 2 * Math.round(share * sizes.length);
          let offset = 0;
          while (offset < bound) {
            const data = await driver.log.promise(offset, maxBytes, bound, true);
            const bytes = await bytesOf(data);
            const batches = driver.batches.filter(
              ({ info }) => info.baseOffset >= offset && info.baseOffset < data.endOffset,
            );
            expect(Buffer.compare(bytes, Buffer.concat(batches.map((batch) => batch.bytes)))).toBe(0);
            expect(data.endOffset).toBeGreaterThan(offset);
            expect(data.endOffset).toBeLessThanOrEqual(bound);
            if (batches.length > 1) expect(bytes.length).toBeLessThanOrEqual(maxBytes);
            if (!(data.records instanceof Uint8Array)) promises++;
            offset = data.endOffset;
          }
        },
      ),
      // Chance alone may draw short logs and short answers only.
      { numRuns: 60, examples: [[Array.from({ length: 20 }, () => 50_000), 300_000, 1, true]] },
    );
    expect(promises).toBeGreaterThan(0);
  });

  test("are there as long as they are held, whatever becomes of the segment", async () => {
    const driver = await filled();
    const records = await promised(driver);
    expect(records.length).toBeGreaterThan(PROMISED_FROM);
    const [detached] = driver.log.detachOldest(1);
    detached!.retire();
    expect(detached!.inUse).toBe(true);
    const bytes = await bytesOf({ records, endOffset: 0 });
    const written = Buffer.concat(driver.batches.map((batch) => batch.bytes));
    expect(Buffer.compare(bytes, written.subarray(0, bytes.length))).toBe(0);
    records.release();
    expect(detached!.inUse).toBe(false);
  });

  test("that cannot be read are not promised again: the next reader hears of it before it is answered", async () => {
    for (const pending of [false, true]) {
      const driver = await filled();
      const told: string[] = [];
      driver.log.reader.damageFound = ({ message }) => void told.push(message);
      const records = await promised(driver);
      driver.disk.pending = pending;
      driver.disk.onRead = (path) => {
        if (path.endsWith(".log")) throw new DiskError("EIO", "read", path);
      };
      expect(await failureOf(() => records.read(new Uint8Array(100), 0))).toBeInstanceOf(DiskError);
      expect(await failureOf(() => driver.log.promise(0, 100_000, INFINITY, true))).toBeInstanceOf(DiskError);
      expect(told.length).toBe(1);
      driver.disk.onRead = () => {};
      expect((await driver.log.promise(0, 100_000, INFINITY, true)).records).toBeInstanceOf(Uint8Array);
      records.release();
    }
  });

  test("of a file that has become shorter are damage", async () => {
    const driver = await filled();
    const records = await promised(driver);
    driver.disk.files.get(driver.log.segments[0]!.path(".log"))!.size = 500;
    expect(await failureOf(() => records.read(new Uint8Array(1000), 0))).toBeInstanceOf(CorruptLog);
    expect(driver.log.segments[0]!.damage).toBeInstanceOf(CorruptLog);
    expect(await failureOf(() => driver.log.promise(0, 100_000, INFINITY, true))).toBeInstanceOf(CorruptLog);
    records.release();
  });
});
