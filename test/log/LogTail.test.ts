import { describe, expect, test } from "bun:test";
import { LogTail, TailBudget } from "../../src/log/LogTail.ts";
import { stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";

const INFINITY = Number.POSITIVE_INFINITY;

const batch = (baseOffset: number, records = 1, size = 40): Uint8Array => {
  const bytes = buildBatch(
    Array.from({ length: records }, () => ({ value: new Uint8Array(size).fill(baseOffset % 256) })),
  );
  stampBatch(bytes, 0, baseOffset, 0);
  return bytes;
};

const wantedTail = (budget: TailBudget): LogTail => {
  const tail = new LogTail(budget);
  tail.want();
  return tail;
};

describe("LogTail", () => {
  test("keeps nothing until a reader was at the end", () => {
    const budget = new TailBudget();
    const tail = new LogTail(budget);
    tail.append([batch(0)], batch(0).length, 0, 1);
    expect(tail.read(0, 1000, INFINITY, true)).toBeUndefined();
    expect(budget.usedBytes).toBe(0);
    tail.want();
    tail.append([batch(1)], batch(1).length, 1, 2);
    expect(tail.read(0, 1000, INFINITY, true)).toBeUndefined();
    expect(tail.read(1, 1000, INFINITY, true)).toMatchObject({ firstOffset: 1, endOffset: 2 });
  });

  test("answers whole batches across appends, slabs and other logs' bytes", () => {
    const budget = new TailBudget(1 << 20, 512);
    const tail = wantedTail(budget);
    const other = wantedTail(budget);
    const all: Uint8Array[] = [];
    for (let offset = 0; offset < 60; offset += 3) {
      const pieces = [batch(offset, 2), batch(offset + 2)];
      tail.append(pieces, pieces[0]!.length + pieces[1]!.length, offset, offset + 3);
      all.push(...pieces);
      if (offset % 4 === 0) other.append([batch(offset)], batch(offset).length, offset, offset + 1);
    }
    expect(tail.read(0, 1 << 20, INFINITY, true)!.records).toEqual(Buffer.concat(all).subarray(0));
    const found = tail.read(31, 1 << 20, 45, false)!;
    expect([found.firstOffset, found.endOffset]).toEqual([30, 45]);
    expect(Buffer.compare(found.records, Buffer.concat(all.slice(20, 30)))).toBe(0);
    expect(tail.read(30, 1 << 20, 32, true)).toMatchObject({ firstOffset: 30, endOffset: 32 });
    const size = all[20]!.length;
    expect(tail.read(30, size - 1, INFINITY, false)).toMatchObject({ endOffset: 30 });
    expect(tail.read(30, size - 1, INFINITY, true)!.records.length).toBe(size);
    expect(tail.read(30, size, INFINITY, false)!.records.length).toBe(size);
    expect(tail.read(60, 1000, INFINITY, true)).toBeUndefined();
  });

  test("the budget is over all logs: the oldest bytes go, whoever's they are", () => {
    const budget = new TailBudget(4096, 1024);
    const first = wantedTail(budget);
    first.append([batch(0)], batch(0).length, 0, 1);
    const second = wantedTail(budget);
    for (let offset = 0; offset < 100; offset++) {
      second.append([batch(offset)], batch(offset).length, offset, offset + 1);
      expect(second.read(offset, 1000, INFINITY, true)).toMatchObject({ endOffset: offset + 1 });
      expect(budget.usedBytes).toBeLessThanOrEqual(4096);
    }
    expect(first.read(0, 1000, INFINITY, true)).toBeUndefined();
    expect(second.read(0, 1000, INFINITY, true)).toBeUndefined();
  });

  test("a log that nobody reads stops keeping when its bytes went by unread", () => {
    const budget = new TailBudget(1024, 512);
    const tail = wantedTail(budget);
    for (let offset = 0; offset < 100; offset++) tail.append([batch(offset)], batch(offset).length, offset, offset + 1);
    expect(tail.read(99, 1000, INFINITY, true)).toBeUndefined();
  });

  test("an answer stays what it was after its slab is gone", () => {
    const budget = new TailBudget(1024, 512);
    const tail = wantedTail(budget);
    tail.append([batch(0)], batch(0).length, 0, 1);
    const answer = tail.read(0, 1000, INFINITY, true)!.records;
    const before = answer.slice();
    for (let offset = 1; offset < 50; offset++) tail.append([batch(offset)], batch(offset).length, offset, offset + 1);
    expect(answer).toEqual(before);
  });
});
