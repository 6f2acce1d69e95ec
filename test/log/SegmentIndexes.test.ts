import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { OffsetIndex } from "../../src/log/OffsetIndex.ts";
import { TimeIndex } from "../../src/log/TimeIndex.ts";
import { TransactionIndex } from "../../src/log/TransactionIndex.ts";

describe("segment indexes", () => {
  test("the offset index is Kafka's 8-byte entries, and its look-up a linear scan", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 500 })), { maxLength: 200 }),
        (gaps) => {
          const index = new OffsetIndex(1000);
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
          const reopened = new OffsetIndex(1000, index.entries.bytes.slice(0, index.entries.sizeInBytes));
          expect(reopened.isSane(position + 1)).toBe(true);
          expect(reopened.isSane(position)).toBe(entries.length === 0);
          expect(reopened.indexedPosition(position - 1)).toBe(entries.at(-2)?.position ?? 0);
        },
      ),
      { numRuns: 50 },
    );
    const index = new OffsetIndex(1000);
    index.append(1258, 70_000);
    expect([...index.entries.unwritten()]).toEqual([0, 0, 1, 2, 0, 1, 17, 112]);
  });

  test("entries out of order, or half an entry, make an index unbelievable", () => {
    const index = new OffsetIndex(0);
    for (const at of [1, 2, 3]) index.append(at * 10, at * 100);
    const bytes = index.entries.bytes.slice(0, 24);
    expect(new OffsetIndex(0, bytes).isSane(1000)).toBe(true);
    expect(new OffsetIndex(0, bytes.slice(0, 23)).isSane(1000)).toBe(false);
    expect(new OffsetIndex(0, new Uint8Array(16)).isSane(1000)).toBe(false);
    expect(new OffsetIndex(0, bytes.slice().fill(0, 16)).isSane(1000)).toBe(false);
  });

  test("the time index keeps only larger timestamps, in Kafka's 12-byte entries", () => {
    const index = new TimeIndex(1000);
    for (const [timestamp, offset] of [
      [50, 1001],
      [50, 1002],
      [40, 1003],
      [60, 1004],
    ] as const)
      index.append(timestamp, offset);
    expect(index.last).toEqual({ timestamp: 60, offset: 1004 });
    expect([...index.entries.unwritten()]).toEqual([
      0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 4,
    ]);
    expect([49, 50, 51, 60, 61].map((timestamp) => index.before(timestamp).timestamp)).toEqual([-1, -1, 50, 50, 60]);
    expect(new TimeIndex(1000, index.entries.unwritten().slice()).isSane()).toBe(true);
    expect(new TimeIndex(1000, new Uint8Array(24)).isSane()).toBe(false);
  });

  test("the transaction index is Kafka's 34-byte entries and answers by overlap, stopping where nothing can follow", () => {
    const index = new TransactionIndex();
    index.append({ producerId: 1, firstOffset: 5, lastOffset: 10, lastStableOffset: 7 });
    index.append({ producerId: 2, firstOffset: 7, lastOffset: 20, lastStableOffset: 21 });
    index.append({ producerId: 3, firstOffset: 30, lastOffset: 40, lastStableOffset: 41 });
    expect(index.entries.unwritten().length).toBe(3 * 34);
    expect([...index.entries.unwritten().subarray(0, 10)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    const collect = (from: number, to: number): [number[], boolean] => {
      const found: Parameters<typeof index.collect>[2] = [];
      const done = index.collect(from, to, found);
      return [found.map((one) => one.producerId), done];
    };
    expect(collect(0, 100)).toEqual([[1, 2, 3], false]);
    expect(collect(11, 20)).toEqual([[2], true]);
    expect(collect(41, 100)).toEqual([[], false]);
    expect(collect(0, 6)).toEqual([[1], true]);
    const file = index.entries.unwritten().slice();
    expect(new TransactionIndex(file).isSane(0)).toBe(true);
    expect(new TransactionIndex(file).isSane(11)).toBe(false);
    expect(new TransactionIndex(file.slice(0, 33)).isSane(0)).toBe(false);
  });
});
