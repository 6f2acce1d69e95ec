import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CorruptLog } from "../../src/log/CorruptLog.ts";
import { IndexEntries, type IndexFile } from "../../src/log/IndexEntries.ts";
import { OffsetIndex } from "../../src/log/OffsetIndex.ts";
import { TimeIndex } from "../../src/log/TimeIndex.ts";
import { type AbortedTransaction, abortedInOrder, TransactionIndex } from "../../src/log/TransactionIndex.ts";
import type { DiskFile } from "../../src/platform/Disk.ts";
import { isPending } from "../../src/prelude/Types.ts";
import { readInt32, writeInt32 } from "../../src/record/Wire.ts";
import { MemoryDisk } from "../support/MemoryDisk.ts";

const PATH = "index";
const on = (disk: MemoryDisk): IndexFile => ({
  openToRead: () => disk.open(PATH, "read"),
  openToSave: () => disk.open(PATH, "write"),
});

/** Looks at single entries of four bytes see this bit flipped, whoever reads more sees what is there. */
const flipping = (disk: MemoryDisk, bit: () => number | undefined): DiskFile => {
  const file = disk.open(PATH, "read");
  const read: DiskFile["read"] = (target, position) => {
    const at = bit();
    const flip = (there: number): number => {
      if (at !== undefined && target.length === 4) target[at >> 3]! ^= 1 << (at & 7);
      return there;
    };
    const reading = file.read(target, position);
    return isPending(reading) ? reading.then(flip) : flip(reading);
  };
  return Object.create(file, { read: { value: read } });
};

/** The bytes of the file once all is saved. */
const saved = async (disk: MemoryDisk, { entries }: { readonly entries: IndexEntries }): Promise<number[]> => {
  await entries.save();
  return [...disk.content(PATH)];
};

describe("index entries", () => {
  test("whatever was saved when, and however the disk answers: a look-up is a linear scan", async () => {
    const step = fc.record({ entries: fc.integer({ min: 1, max: 900 }), save: fc.boolean(), fails: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 8 }),
        fc.boolean(),
        fc.array(fc.nat()),
        async (steps, pending, asked) => {
          const disk = new MemoryDisk();
          disk.pending = pending;
          const entries = new IndexEntries(4, on(disk));
          const keys: number[] = [];
          const saves: unknown[] = [];
          for (const { entries: more, save, fails } of steps) {
            for (let count = 0; count < more; count++) {
              keys.push((keys.at(-1) ?? 0) + 1 + (count % 3));
              entries.append((bytes, at) => writeInt32(bytes, at, keys.at(-1)!));
            }
            // A short write, or none at all: tried again by the next save.
            disk.onWrite = (_, size) => (fails ? Math.floor(size / 2) * (save ? 1 : 0) : size);
            if (save) saves.push(entries.save());
          }
          const check = async (): Promise<void> => {
            expect(entries.count).toBe(keys.length);
            const highest = keys.at(-1) ?? 0;
            for (const target of [0, 1, highest, highest + 1, ...asked.map((each) => each % (highest + 2))]) {
              const found = await entries.floor(readInt32, target);
              const slot = keys.findLastIndex((key) => key <= target);
              expect(found?.slot ?? -1).toBe(slot);
              if (found !== undefined) expect(readInt32(found.bytes, found.at)).toBe(keys[slot]!);
              const behind: number[] = [];
              await entries.forEachFrom(Math.max(0, slot), (bytes, at) => behind.push(readInt32(bytes, at)) < 3);
              expect(behind).toEqual(keys.slice(Math.max(0, slot), Math.max(0, slot) + 3));
            }
          };
          await check();
          await Promise.all(saves);
          await check();
          disk.onWrite = (_, size) => size;
          await entries.save();
          await check();
          expect(entries.unsavedBytes).toBe(0);
          // As another process finds it.
          const again = new IndexEntries(4, on(disk), keys.length, entries.crc());
          expect(await again.check(entries.crc(), () => false)).toBe(true);
          expect(await again.check(entries.crc() ^ 1, () => true)).toBe(false);
          expect(again.crc()).toBe(entries.crc());
        },
      ),
      { numRuns: 60 },
    );
  });

  test("of a file in which a bit has flipped, or flips once, an answer is what was written, or there is none", async () => {
    let damaged = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.integer({ min: 0, max: 5000 }),
        fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 3 }),
        fc.integer({ min: 0, max: 2 ** 31 }),
        fc.boolean(),
        fc.array(fc.nat(), { minLength: 20, maxLength: 20 }),
        async (pending, before, saves, flip, once, asked) => {
          const disk = new MemoryDisk();
          let flipped: number | undefined;
          disk.pending = pending;
          const keys: number[] = [];
          const grow = async (entries: IndexEntries, count: number): Promise<IndexEntries> => {
            for (let more = 0; more < count; more++) {
              keys.push((keys.at(-1) ?? 0) + 1 + (more % 3));
              entries.append((bytes, at) => writeInt32(bytes, at, keys.at(-1)!));
            }
            await entries.save();
            return entries;
          };
          const first = await grow(new IndexEntries(4, on(disk)), before);
          const file = { ...on(disk), openToRead: () => flipping(disk, () => flipped) };
          const entries = new IndexEntries(4, file, before, first.crc());
          expect(await entries.check(first.crc(), () => true)).toBe(true);
          for (const count of saves) await grow(entries, count);
          const ask = async (tolerant: boolean): Promise<void> => {
            for (const target of asked.map((each) => each % ((keys.at(-1) ?? 0) + 2))) {
              const slot = keys.findLastIndex((key) => key <= target);
              try {
                const found = await entries.floor(readInt32, target);
                expect(found?.slot ?? -1).toBe(slot);
                if (found !== undefined) expect(readInt32(found.bytes, found.at)).toBe(keys[slot]!);
                const behind: number[] = [];
                await entries.forEachFrom(Math.max(0, slot), (bytes, at) => behind.push(readInt32(bytes, at)) < 1500);
                expect(behind).toEqual(keys.slice(Math.max(0, slot), Math.max(0, slot) + 1500));
              } catch (error) {
                if (!tolerant || !(error instanceof CorruptLog)) throw error;
                damaged++;
              }
            }
          };
          await ask(false);
          if (keys.length === 0) return;
          const bit = flip % (keys.length * 32);
          if (once) flipped = bit % 32;
          else disk.files.get(PATH)!.bytes[bit >> 3]! ^= 1 << (bit & 7);
          await ask(true);
        },
      ),
      { numRuns: 100 },
    );
    expect(damaged).toBeGreaterThan(100);
  });

  test("only what is not in the file is in memory", async () => {
    const disk = new MemoryDisk();
    const entries = new IndexEntries(8, on(disk));
    for (let count = 0; count < 100_000; count++) {
      entries.append((bytes, at) => writeInt32(bytes, at, count));
      if (entries.unsavedBytes >= 4096) entries.save();
      expect(entries.unsavedBytes).toBeLessThan(4096);
    }
    expect((await entries.floor(readInt32, 77_777))?.slot).toBe(77_777);
  });
});

describe("segment indexes", () => {
  test("L8: the offset index is Kafka's 8-byte entries, and its look-up a linear scan", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 500 })), { maxLength: 200 }),
        async (gaps) => {
          const disk = new MemoryDisk();
          const index = new OffsetIndex(1000, on(disk));
          const entries: Array<{ offset: number; position: number }> = [];
          let offset = 999;
          let position = 0;
          for (const [more, bytes] of gaps) {
            entries.push({ offset: (offset += more), position: (position += bytes) });
            index.append(offset, position);
          }
          for (let target = 990; target < offset + 5; target++) {
            const expected = entries.filter((entry) => entry.offset <= target).at(-1)?.position ?? 0;
            expect(index.positionBefore(target)).toBe(expected);
          }
          index.entries.save();
          const reopened = new OffsetIndex(1000, on(disk), entries.length);
          expect(reopened.check(undefined, position + 1)).toBe(true);
          expect(reopened.check(undefined, position)).toBe(entries.length === 0);
          expect(reopened.positionBefore(offset - 1)).toBe(
            entries.filter((entry) => entry.offset < offset).at(-1)?.position ?? 0,
          );
        },
      ),
      { numRuns: 50 },
    );
    const disk = new MemoryDisk();
    const index = new OffsetIndex(1000, on(disk));
    index.append(1258, 70_000);
    index.append(1258, 80_000);
    expect(await saved(disk, index)).toEqual([0, 0, 1, 2, 0, 1, 17, 112]);
  });

  test("entries out of order make an index unbelievable, and so does another checksum", () => {
    const disk = new MemoryDisk();
    const index = new OffsetIndex(0, on(disk));
    for (const at of [1, 2, 3]) index.append(at * 10, at * 100);
    index.entries.save();
    const crc = index.entries.crc();
    const bytes = disk.content(PATH);
    const check = (content: Uint8Array, sum?: number) => {
      disk.put(PATH, content);
      return new OffsetIndex(0, on(disk), 3).check(sum, 1000);
    };
    expect(check(bytes)).toBe(true);
    expect(check(bytes, crc)).toBe(true);
    expect(check(bytes, crc + 1)).toBe(false);
    expect(check(new Uint8Array(24))).toBe(false);
    expect(check(bytes.slice().fill(0, 16))).toBe(false);
    expect(() => check(bytes.slice(0, 23))).toThrow("shorter");
  });

  test("L9: the time index keeps only larger timestamps, in Kafka's 12-byte entries", async () => {
    const disk = new MemoryDisk();
    const index = new TimeIndex(1000, on(disk));
    for (const [timestamp, offset] of [
      [50, 1001],
      [50, 1002],
      [40, 1003],
      [60, 1004],
    ] as const)
      index.append(timestamp, offset);
    expect(index.last).toEqual({ timestamp: 60, offset: 1004 });
    const before = async (timestamp: number) => (await index.before(timestamp)).timestamp;
    const expected = [-1, -1, 50, 50, 60];
    expect(await Promise.all([49, 50, 51, 60, 61].map(before))).toEqual(expected);
    expect(await saved(disk, index)).toEqual([
      0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 4,
    ]);
    expect(await Promise.all([49, 50, 51, 60, 61].map(before))).toEqual(expected);
    const reopened = new TimeIndex(1000, on(disk), 2);
    expect(reopened.check(undefined)).toBe(true);
    expect(reopened.last).toEqual({ timestamp: 60, offset: 1004 });
    disk.put(PATH, new Uint8Array(24));
    expect(new TimeIndex(1000, on(disk), 2).check(undefined)).toBe(false);
  });

  test("the transaction index is Kafka's 34-byte entries and answers by overlap, stopping where nothing can follow", async () => {
    const disk = new MemoryDisk();
    const index = new TransactionIndex(on(disk));
    index.append({ producerId: 1, firstOffset: 5, lastOffset: 10, lastStableOffset: 7 });
    index.append({ producerId: 2, firstOffset: 7, lastOffset: 20, lastStableOffset: 21 });
    index.append({ producerId: 3, firstOffset: 30, lastOffset: 40, lastStableOffset: 41 });
    const collect = async (from: number, to: number): Promise<[number[], boolean]> => {
      const found: AbortedTransaction[] = [];
      const done = await index.collect(from, to, found);
      return [found.map((one) => one.producerId), done];
    };
    for (const _ of ["in memory", "in the file"]) {
      expect(await collect(0, 100)).toEqual([[1, 2, 3], false]);
      expect(await collect(11, 20)).toEqual([[2], true]);
      expect(await collect(41, 100)).toEqual([[], false]);
      expect(await collect(0, 6)).toEqual([[1], true]);
      await index.entries.save();
    }
    const bytes = disk.content(PATH);
    expect(bytes.length).toBe(3 * 34);
    expect([...bytes.subarray(0, 10)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    const inOrder = (content: Uint8Array, baseOffset: number): boolean[] => {
      const next = abortedInOrder(baseOffset);
      return [0, 34, 68].map((at) => next(content, at));
    };
    expect(inOrder(bytes, 0)).toEqual([true, true, true]);
    expect(inOrder(bytes, 11)).toEqual([false, true, true]);
    expect(inOrder(bytes.slice().fill(0, 34, 68), 0)).toEqual([true, false, true]);
    expect(inOrder(bytes.slice().fill(7, 0, 1), 0)).toEqual([false, true, true]);
  });
});
