/** What recovery is told of damage that a whole log shows only by chance; what it then does is LogLoader.test.ts. */
import { describe, expect, test } from "bun:test";
import { CorruptLog } from "../../src/log/CorruptLog.ts";
import { judgeDamage } from "../../src/log/Damage.ts";
import { stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { MemoryDisk } from "../support/MemoryDisk.ts";

const PATH = "data/topic-0/00000000000000000000.log";

const batch = (offset: number, valueSize = 1000): Uint8Array => {
  const bytes = buildBatch([{ timestamp: 1, value: new Uint8Array(valueSize).fill(0x61) }]);
  stampBatch(bytes, 0, offset, 0);
  return bytes;
};

/** The batch at offset 4 with a bit of its value flipped. */
const flipped = (): Uint8Array => {
  const bytes = batch(4);
  bytes[900]! ^= 0x40;
  return bytes;
};

/** Of a log that ends at offset 4, `before` bytes into the file, and goes on with `parts` there. */
const judge = async (before: number, parts: ReadonlyArray<Uint8Array>, disk = new MemoryDisk()) => {
  const content = Buffer.concat([new Uint8Array(before).fill(0x61), ...parts]);
  disk.put(PATH, content);
  const damage = { position: before, offset: 4, size: content.length, laterSegments: false };
  const verdict = await judgeDamage(disk, disk.open(PATH, "write"), damage).catch((error: unknown) => error);
  expect(Buffer.compare(disk.content(PATH), content)).toBe(0);
  return verdict;
};

describe("damage", () => {
  test("a batch behind it counts from the log's end on; below it is what an earlier truncation left", async () => {
    expect(await judge(0, [flipped(), batch(4)])).toBeInstanceOf(CorruptLog);
    expect(await judge(0, [flipped(), batch(3)])).toContain("torn tail");
  });

  test("a batch behind it is found wherever it begins, also one larger than what is read at a time", async () => {
    for (const gap of [0, 1, 1024 * 1024 - 1100, 3_000_000]) {
      const noise = new Uint8Array(gap).fill(0x62);
      expect(await judge(0, [flipped(), noise, batch(5)])).toBeInstanceOf(CorruptLog);
      expect(await judge(0, [flipped(), noise, batch(5, 1_500_000)])).toBeInstanceOf(CorruptLog);
    }
  });

  test("the high bytes of an offset alone in their sector are zeros by right, not a lost write", async () => {
    for (let alone = 1; alone < 8; alone++) {
      expect(await judge(512 - alone, [flipped(), batch(5)])).toBeInstanceOf(CorruptLog);
    }
    const lost = flipped().fill(0, 4, 4 + 512);
    expect(await judge(512 - 4, [lost, batch(5)])).toContain("a lost write reads as zeros");
  });

  test("what is kept aside is all of it, on a disk that takes less than it is given", async () => {
    const disk = new MemoryDisk();
    disk.onWrite = (_, size) => Math.min(size, 700);
    const parts = [batch(4).fill(0), batch(5), batch(6)];
    expect(await judge(100, parts, disk)).toContain(`kept in ${PATH}.cut-100`);
    expect(Buffer.compare(disk.content(`${PATH}.cut-100`), Buffer.concat(parts))).toBe(0);
  });
});
