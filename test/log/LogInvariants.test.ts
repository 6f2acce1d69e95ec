/**
 * The invariants of a log by their names, and where each is tested. Those that no other test has are here: random programs
 * of appends, reigns, rolls, truncations, restarts and compaction, audited from the bytes after every step by a reader that
 * shares no code with the log; and the audit itself, which finds each of them broken.
 *
 * | L1–L5, L10 | here; of whole brokers under faults `simulation/Scenarios.test.ts` (the checker's inconsistent-offsets is L10) |
 * | L6 | `partition/PartitionView.test.ts`, and asserted wherever a view is published |
 * | L7 | `LogPowerCut.test.ts`, `LogLoader.test.ts` |
 * | L8, L9 | `SideFiles.test.ts`, `SegmentIndexes.test.ts`, `LogCleaner.test.ts` |
 * | L11, L12 | `UnifiedLog.test.ts` |
 * | L13 | `api/02-ListOffsets.test.ts` |
 * | L14 | `actors/LogMaintenance.test.ts` |
 * | C1–C9 | `LogCleaner.test.ts`, C9 of whole brokers `simulation/CleanupCrash.test.ts` |
 * | C10 | `LogValidator.test.ts` |
 * | Ret1, Ret2 | `Retention.test.ts` |
 * | Ret3 | `simulation/CleanupCrash.test.ts` |
 */
import { describe, expect, test } from "bun:test";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { reload } from "../../src/log/LogLoader.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { cleanLog } from "../support/CleaningDriver.ts";
import { LogDriver, readAll, TINY } from "../support/LogDriver.ts";

/** CRC-32C, bit by bit. */
const slowCrc = (bytes: Uint8Array): number => {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return ~crc >>> 0;
};

/** A signed varint of up to 32 bits, zigzag, and where it ends. */
const varint = (bytes: Uint8Array, at: number): [value: number, end: number] => {
  let raw = 0;
  for (let shift = 0, next = at; ; shift += 7) {
    const byte = bytes[next++]!;
    raw |= (byte & 127) << shift;
    if (byte < 128) return [(raw >>> 1) ^ -(raw & 1), next];
  }
};

interface Stored {
  readonly offset: number;
  /** Everything of the record but its delta's place in a batch: timestamp, key, value, headers. */
  readonly content: string;
}

interface Batch {
  readonly base: number;
  readonly last: number;
  readonly epoch: number;
  readonly crcIsRight: boolean;
  readonly deltas: ReadonlyArray<number>;
  readonly records: ReadonlyArray<Stored>;
}

const batchesOf = (bytes: Uint8Array): Batch[] => {
  const found: Batch[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; ) {
    const end = at + 12 + view.getInt32(at + 8);
    const base = Number(view.getBigInt64(at));
    const baseTimestamp = Number(view.getBigInt64(at + 27));
    const deltas: number[] = [];
    const stored: Stored[] = [];
    for (let index = 0, next = at + 61; index < view.getInt32(at + 57); index++) {
      const [length, start] = varint(bytes, next);
      const [timestampDelta, behindTimestamp] = varint(bytes, start + 1);
      const [delta, behindDelta] = varint(bytes, behindTimestamp);
      next = start + length;
      deltas.push(delta);
      const rest = Buffer.from(bytes.subarray(behindDelta, next)).toString("hex");
      stored.push({ offset: base + delta, content: `${baseTimestamp + timestampDelta} ${rest}` });
    }
    found.push({
      base,
      last: base + view.getInt32(at + 23),
      epoch: view.getInt32(at + 12),
      crcIsRight: view.getUint32(at + 17) === slowCrc(bytes.subarray(at + 21, end)),
      deltas,
      records: stored,
    });
    at = end;
  }
  return found;
};

interface Segment {
  readonly baseOffset: number;
  readonly bytes: Uint8Array;
}

/** L1 to L4 of a log's segments, a line for each place where one is broken. */
const auditBytes = (segments: ReadonlyArray<Segment>, compacted = false): string[] => {
  const wrong: string[] = [];
  let end = -1;
  let epoch = -1;
  for (const { baseOffset, bytes } of segments) {
    const batches = batchesOf(bytes);
    if (batches.length > 0 && baseOffset > batches[0]!.base)
      wrong.push(`L2: ${baseOffset} is named above its first batch`);
    if (baseOffset < end) wrong.push(`L2: ${baseOffset} begins below ${end}`);
    for (const batch of batches) {
      const { base, last, deltas } = batch;
      const ascending = deltas.every((delta, index) => delta > (deltas[index - 1] ?? -1) && delta <= last - base);
      const whole = deltas.length === last - base + 1;
      if (!ascending || (!compacted && !whole)) wrong.push(`L1: ${base} to ${last} has the deltas ${deltas}`);
      if (base < end || last < base) wrong.push(`L2: ${base} comes behind ${end - 1}`);
      else if (!compacted && end >= 0 && base !== end) wrong.push(`L2: ${base} leaves a gap behind ${end - 1}`);
      if (!batch.crcIsRight) wrong.push(`L3: the CRC of ${base}`);
      if (batch.epoch < epoch) wrong.push(`L4: epoch ${batch.epoch} at ${base}, behind epoch ${epoch}`);
      end = last + 1;
      ({ epoch } = batch);
    }
  }
  return wrong;
};

/** L5 and L10: what readers and producers were told, held against every later reading. */
class Told {
  private readonly read = new Map<number, string>();
  private readonly acked = new Map<number, string>();

  /** A producer was told that its record is at `offset`. */
  ack(offset: number, value: string): void {
    this.acked.set(offset, value);
  }

  /** What was never readable is no promise. */
  cutTo(end: number): void {
    for (const offset of this.acked.keys()) if (offset >= end) this.acked.delete(offset);
  }

  /** A reader was given these, and with them everything from the first to below `end`. */
  given(records: ReadonlyArray<Stored>, compacted = false): string[] {
    const wrong: string[] = [];
    for (const { offset, content } of records) {
      const before = this.read.get(offset);
      if (before !== undefined && before !== content) wrong.push(`L5: ${offset} was ${before} and is ${content}`);
      this.read.set(offset, content);
      const value = this.acked.get(offset);
      if (value !== undefined && !content.includes(Buffer.from(value).toString("hex"))) {
        wrong.push(`L10: ${offset} is not ${value}`);
      }
    }
    if (compacted) return wrong;
    const there = new Set(records.map(({ offset }) => offset));
    for (const offset of this.read.keys()) if (!there.has(offset)) wrong.push(`L5: ${offset} is gone`);
    for (const [offset, value] of this.acked) if (!there.has(offset)) wrong.push(`L10: ${value} is not at ${offset}`);
    return wrong;
  }
}

const segmentsOf = ({ disk }: LogDriver): Segment[] =>
  [...disk.files.keys()]
    .filter((path) => path.endsWith(".log"))
    .sort()
    .map((path) => ({
      baseOffset: Number.parseInt(path.slice(path.lastIndexOf("/") + 1), 10),
      bytes: disk.content(path),
    }));

/** Appends and everything that happens to a log between them; answers it with all that anybody was told. */
const program = async (seed: number, audit: (driver: LogDriver, told: Told) => Promise<void>) => {
  const random = new SeededRandom(seed);
  const driver = await LogDriver.open(TINY);
  const told = new Told();
  let count = 0;
  let sequence = 0;
  for (let turn = 0; turn < 60; turn++) {
    const kind = random.below(10);
    if (kind < 6) {
      const values = Array.from({ length: random.between(1, 3) }, () => `${seed} ${count++}`.padEnd(random.below(60)));
      const records = values.map((value) => ({
        key: Buffer.from(`k${random.below(5)}`),
        value: Buffer.from(value),
        timestamp: turn,
      }));
      const producer = random.chance(0.4) ? { producerId: 5, producerEpoch: 0, baseSequence: sequence } : {};
      if ("producerId" in producer) sequence += records.length;
      const { baseOffset } = driver.stage(buildBatch(records, producer));
      await driver.log.write();
      for (const [index, value] of values.entries()) told.ack(baseOffset + index, value);
      if (random.chance(0.5)) driver.flush();
    } else if (kind === 6) driver.leaderEpoch += random.between(1, 2);
    else if (kind === 7) {
      const clean = random.chance(0.5);
      if (clean) driver.stop();
      const recoveryPoint = driver.log.flushedOffset;
      driver.adopt(await driver.load({ clean, recoveryPoint }, driver.disk));
    } else if (kind === 8) {
      // What a follower, or a failed write, cuts: never what a reader may have seen.
      const boundaries = segmentsOf(driver).flatMap(({ bytes }) => batchesOf(bytes).map(({ base }) => base));
      const open = boundaries.filter((base) => base >= driver.log.flushedOffset);
      if (open.length === 0) continue;
      const endOffset = random.pick(open);
      driver.adopt(await reload(driver.disk, driver.log, { logStartOffset: 0, endOffset }));
      told.cutTo(endOffset);
      driver.leaderEpoch += 1;
    } else driver.flush();
    await audit(driver, told);
  }
  return { driver, told };
};

/** Everything a reader may see. */
const visible = async ({ log }: LogDriver): Promise<Stored[]> =>
  batchesOf(await readAll(log))
    .flatMap(({ records }) => records)
    .filter(({ offset }) => offset < log.flushedOffset);

describe("random programs", () => {
  test("L1, L2, L3, L4: offsets without a gap, right checksums and reigns that never go back, after every step and compaction", async () => {
    let segments = 0;
    for (let seed = 0; seed < 8; seed++) {
      const { driver } = await program(seed, async (each) => {
        expect(auditBytes(segmentsOf(each))).toEqual([]);
      });
      segments += segmentsOf(driver).length;
      driver.flush();
      await cleanLog(driver.disk, driver.log, driver.state, { now: 5000 });
      expect(auditBytes(segmentsOf(driver), true)).toEqual([]);
    }
    expect(segments).toBeGreaterThan(30);
  });

  test("L5, L10: what was read stays what it was, and what was acknowledged is where it was said to be; after compaction too, or gone", async () => {
    let read = 0;
    for (let seed = 20; seed < 28; seed++) {
      const { driver, told } = await program(seed, async (each, all) => {
        const records = await visible(each);
        read += records.length;
        expect(all.given(records, true)).toEqual([]);
      });
      driver.flush();
      expect(told.given(await visible(driver))).toEqual([]);
      await cleanLog(driver.disk, driver.log, driver.state, { now: 5000 });
      expect(told.given(await visible(driver), true)).toEqual([]);
    }
    expect(read).toBeGreaterThan(1000);
  });
});

describe("the audit finds", () => {
  /** Three segments of two batches of two records, two reigns. */
  const good = (): Segment[] => {
    const segments: Segment[] = [];
    for (let base = 0; base < 12; base += 4) {
      const bytes = [0, 2].map((more) => {
        const records = [0, 1].map((index) => ({ value: Buffer.from(`v${base + more + index}`), timestamp: 7 }));
        const one = buildBatch(records);
        const view = new DataView(one.buffer);
        view.setBigInt64(0, BigInt(base + more));
        view.setInt32(12, base < 4 ? 1 : 2);
        return one;
      });
      segments.push({ baseOffset: base, bytes: Buffer.concat(bytes) });
    }
    return segments;
  };
  const sizeOfFirst = (bytes: Uint8Array): number => 12 + Buffer.from(bytes).readInt32BE(8);
  const signed = (batch: Buffer): Buffer => {
    batch.writeUInt32BE(slowCrc(batch.subarray(21)), 17);
    return batch;
  };
  /** Does something to the first batch of a segment. */
  const changed = (index: number, change: (batch: Buffer) => void, sign = true): Segment[] =>
    good().map((segment, at) => {
      if (at !== index) return segment;
      const bytes = Buffer.from(segment.bytes);
      const first = bytes.subarray(0, sizeOfFirst(bytes));
      change(first);
      if (sign) signed(first);
      return { ...segment, bytes };
    });
  const named = (lines: ReadonlyArray<string>): string[] => [
    ...new Set(lines.map((line) => line.slice(0, line.indexOf(":")))),
  ];

  test("nothing in a good log", () => {
    expect(auditBytes(good())).toEqual([]);
    // Base offset and leader epoch are outside the CRC: whoever stamps them signs nothing anew.
    expect(auditBytes([{ ...changed(0, (batch) => batch.writeInt32BE(0, 12), false)[0]! }])).toEqual([]);
  });

  test("L1: a record that is not where its place in the batch says, a batch that claims more than it has", () => {
    // The second record's offset delta, behind its length, attributes and timestamp delta.
    const second = (batch: Buffer): number => 61 + 1 + varint(batch, 61)[0] + 3;
    expect(named(auditBytes(changed(1, (batch) => void (batch[second(batch)] = 0))))).toEqual(["L1"]);
    const longer = changed(2, (batch) => void batch.writeInt32BE(0, 23));
    expect(named(auditBytes(longer))).toContain("L1");
  });

  test("L2: batches in another order, twice, left out, and a segment that is named above its first batch", () => {
    const [first, second, third] = good() as [Segment, Segment, Segment];
    const half = sizeOfFirst(second.bytes);
    const swapped = Buffer.concat([second.bytes.subarray(half), second.bytes.subarray(0, half)]);
    expect(named(auditBytes([first, { ...second, bytes: swapped }, third], true))).toEqual(["L2"]);
    expect(
      named(auditBytes([first, { ...second, bytes: Buffer.concat([second.bytes, second.bytes]) }, third])),
    ).toEqual(["L2"]);
    const left = [first, { ...second, bytes: second.bytes.subarray(half) }, third];
    expect(named(auditBytes(left))).toEqual(["L2"]);
    expect(auditBytes(left, true)).toEqual([]);
    expect(named(auditBytes([first, { ...second, baseOffset: 5 }, third]))).toEqual(["L2"]);
  });

  test("L3: any flipped bit behind the CRC, and a CRC that covers more or less", () => {
    for (let at = 21; at < sizeOfFirst(good()[1]!.bytes); at += 5) {
      const flipped = changed(1, (batch) => void (batch[at]! ^= 4), false);
      // A length that is another one ends the reading elsewhere.
      if (at < 57 || at > 64) expect(named(auditBytes(flipped))).toContain("L3");
    }
    const covers = (start: number) => (batch: Buffer) => void batch.writeUInt32BE(slowCrc(batch.subarray(start)), 17);
    expect(named(auditBytes(changed(1, covers(12), false)))).toEqual(["L3"]);
    expect(named(auditBytes(changed(1, covers(23), false)))).toEqual(["L3"]);
  });

  test("L4: a reign that comes back", () => {
    expect(named(auditBytes(changed(2, (batch) => void batch.writeInt32BE(1, 12), false)))).toEqual(["L4"]);
  });

  test("L5: a record that is another one, or is gone without compaction", () => {
    const stored = batchesOf(good()[0]!.bytes).flatMap(({ records }) => records);
    const told = new Told();
    expect(told.given(stored)).toEqual([]);
    const other = stored.map((record, index) => (index === 1 ? { ...record, content: "other" } : record));
    expect(named(told.given(other))).toEqual(["L5"]);
    const again = new Told();
    again.given(stored);
    expect(named(again.given(stored.slice(1)))).toEqual(["L5"]);
    expect(again.given(stored.slice(1), true)).toEqual([]);
  });

  test("L10: an answer that is one offset off, or names none that is there", () => {
    const stored = batchesOf(good()[0]!.bytes).flatMap(({ records }) => records);
    const told = new Told();
    for (const { offset } of stored) told.ack(offset, `v${offset}`);
    expect(told.given(stored)).toEqual([]);
    const off = new Told();
    off.ack(1, "v0");
    expect(named(off.given(stored, true))).toEqual(["L10"]);
    const lost = new Told();
    lost.ack(40, "v40");
    expect(named(lost.given(stored))).toEqual(["L10"]);
  });
});

test("every invariant of the log has a test that is named after it", async () => {
  const titles: string[] = [];
  for await (const file of new Bun.Glob("**/*.test.ts").scan(`${import.meta.dir}/..`)) {
    const source = await Bun.file(`${import.meta.dir}/../${file}`).text();
    for (const [, title] of source.matchAll(/\b(?:test|describe)(?:\.each\([\s\S]*?\))?\(\s*["'`]([^"`]*)["'`]/g))
      titles.push(title!);
  }
  const named = (name: string): boolean => titles.some((title) => new RegExp(`\\b${name}\\b`).test(title));
  const count = (prefix: string, last: number): string[] =>
    Array.from({ length: last }, (_, index) => `${prefix}${index + 1}`);
  const names = [...count("L", 14), ...count("C", 10), ...count("Ret", 3)];
  expect(names.filter((name) => !named(name))).toEqual([]);
});
