/** Compaction against a model of every record that was ever appended (C1–C8, correctness.md 4.6). */
import { describe, expect, test } from "bun:test";
import { POWER_CUTS } from "../../actors/simulation/PowerCut.ts";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { type CleanableBounds, cleanableOf } from "../../src/log/LogCleaner.ts";
import { loadLog } from "../../src/log/LogLoader.ts";
import { evolve, snapshotOf } from "../../src/log/LogState.ts";
import type { UnifiedLog } from "../../src/log/UnifiedLog.ts";
import type { Codec } from "../../src/record/Compression.ts";
import { forEachBatch, hasDeleteHorizon, isControl, readBatchInfo, stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch, buildEndTransactionMarker, type NewRecord } from "../../src/record/RecordBatchBuilder.ts";
import { cleanLog, codecs, committedMap, recordsOf, type SeenRecord } from "../support/CleaningDriver.ts";
import { DIRECTORY, LogDriver, readAll, TINY } from "../support/LogDriver.ts";

const CONFIG = { ...TINY, segmentBytes: 1500, indexIntervalBytes: 200 };
const KEYS = 6;
const RETENTION = 1000;

type CodecId = (typeof Codec)[keyof typeof Codec];

/** Appends batches of every kind; transactions of producers 1 to 3 are open while they are open. */
class History {
  readonly sequence = new Map<number, number>();
  readonly open = new Set<number>();
  timestamp = 100;

  constructor(
    readonly driver: LogDriver,
    readonly random: SeededRandom,
  ) {}

  private records(): NewRecord[] {
    return Array.from({ length: this.random.between(1, 4) }, () => {
      const key = Buffer.from(`k${this.random.below(KEYS)}`);
      const value = this.random.chance(0.25) ? null : Buffer.from(`v${this.random.below(1_000_000)}`);
      return { key, value, timestamp: (this.timestamp += this.random.below(3)) };
    });
  }

  async step(): Promise<void> {
    const { driver, random } = this;
    const producerId = random.between(0, 3);
    if (random.chance(0.05)) driver.leaderEpoch += 1;
    if (producerId > 0 && this.open.has(producerId) && random.chance(0.4)) {
      this.open.delete(producerId);
      await driver.endTransaction(random.pick(["abort", "commit"]), producerId);
      return;
    }
    const records = this.records();
    const codec: CodecId = random.pick([0, 0, 1, 3, 4]);
    const baseSequence = this.sequence.get(producerId) ?? 0;
    const transactional = producerId === 3 || this.open.has(producerId) || (producerId > 0 && random.chance(0.5));
    this.sequence.set(producerId, baseSequence + records.length);
    if (transactional && producerId > 0) this.open.add(producerId);
    driver.stage(
      buildBatch(records, {
        codec,
        codecs,
        ...(producerId > 0 ? { producerId, producerEpoch: 0, baseSequence, transactional } : {}),
      }),
    );
    await driver.log.write();
  }

  /** Ends what is open, so that all that was written is decided. */
  async settle(): Promise<void> {
    for (const producerId of this.open) await this.driver.endTransaction("commit", producerId);
    this.open.clear();
  }

  async seal(): Promise<void> {
    this.driver.log.roll(() => snapshotOf(this.driver.state));
    await this.driver.log.write();
    this.driver.flush();
  }
}

const history = async (seed: number, steps = 40): Promise<History> => {
  const made = new History(await LogDriver.open(CONFIG), new SeededRandom(seed));
  for (let step = 0; step < steps; step += 1) {
    await made.step();
    // A reader at the end: from now on what is written is kept in memory as well.
    if (step === 0) await readAll(made.driver.log);
  }
  return made;
};

const batchesOf = (bytes: Uint8Array) => {
  const found: ReturnType<typeof readBatchInfo>[] = [];
  forEachBatch(bytes, 0, bytes.length, (at) => {
    found.push(readBatchInfo(bytes, at));
    return true;
  });
  return found;
};

/** What was appended and not aborted, by offset, below `end`. */
const committedRecords = (driver: LogDriver, all: ReadonlyArray<SeenRecord>): SeenRecord[] =>
  all.filter(
    ({ offset, producerId, transactional }) =>
      !transactional ||
      !driver.aborted.some(
        (one) => one.producerId === producerId && one.firstOffset <= offset && offset < one.lastOffset,
      ),
  );

const agesOf = (log: UnifiedLog): Promise<number[]> => Promise.all(log.segments.map((segment) => segment.age()));

const newest = (of: ReadonlyArray<SeenRecord>): Map<string, SeenRecord> => {
  const last = new Map<string, SeenRecord>();
  for (const record of of) if (record.key !== null) last.set(record.key, record);
  return last;
};

const SEEDS = Array.from({ length: 25 }, (_, seed) => seed);

describe("compaction", () => {
  test("C1, C2, C5, C7: the newest of each key stays as it was, whatever the map has room for; readers see the same", async () => {
    for (const seed of SEEDS) {
      const { driver } = await history(seed);
      const { log, state, disk } = driver;
      driver.flush();
      const before = recordsOf(await readAll(log));
      const stable = state.lastStableOffset(state.logEndOffset);
      const seen = await committedMap(log, stable);
      const tail = await readAll(log, log.active.baseOffset);
      let clean = 0;
      const mapKeys = 2 + (seed % 7);
      for (let pass = 0; pass < 60; pass += 1) {
        const next = await cleanLog(disk, log, state, {
          now: 5000,
          deleteRetentionMs: RETENTION,
          mapKeys,
          firstDirty: clean,
        });
        if (next === clean) break;
        clean = next;
      }
      const after = recordsOf(await readAll(log));
      const byOffset = new Map(before.map((record) => [record.offset, record]));
      for (const record of after) expect(record).toEqual(byOffset.get(record.offset)!);
      const left = new Set(after.map(({ offset }) => offset));
      for (const record of newest(committedRecords(driver, before)).values())
        expect(left.has(record.offset)).toBe(true);
      // Below what was cleaned no key is there twice, and nothing that was aborted.
      const cleaned = after.filter(({ offset }) => offset < clean);
      const latest = newest(committedRecords(driver, before).filter(({ offset }) => offset < clean));
      for (const record of cleaned) expect(latest.get(record.key!)?.offset).toBe(record.offset);
      expect(await committedMap(log, stable)).toEqual(seen);
      // C3.
      expect(Buffer.compare(await readAll(log, log.active.baseOffset), tail)).toBe(0);
      // C5: from anywhere on.
      for (let from = 0; from < stable; from += 7) {
        const replayed = newest(
          committedRecords(driver, before).filter(({ offset }) => offset >= from && offset < stable),
        );
        const values = [...replayed].flatMap(([key, { value }]) => (value === null ? [] : [[key, value] as const]));
        expect(await committedMap(log, stable, from)).toEqual(new Map(values));
      }
    }
  });

  test("C3: nothing at or above the first undecided offset is touched", async () => {
    for (const seed of SEEDS) {
      const { driver } = await history(seed, 25);
      const { log, state, disk } = driver;
      driver.flush();
      const stable = state.lastStableOffset(state.logEndOffset);
      const before = batchesOf(await readAll(log)).filter(({ lastOffset }) => lastOffset >= stable);
      await cleanLog(disk, log, state, { now: 5000 });
      expect(batchesOf(await readAll(log)).filter(({ lastOffset }) => lastOffset >= stable)).toEqual(before);
    }
  });

  test("C4: a tombstone stays until its horizon, set by the first cleaning, has passed", async () => {
    let went = 0;
    for (const seed of SEEDS) {
      const made = await history(seed);
      const { driver } = made;
      const { log, state, disk } = driver;
      await made.settle();
      await made.seal();
      const tombstones = [...newest(committedRecords(driver, recordsOf(await readAll(log)))).values()].filter(
        ({ value }) => value === null,
      );
      const there = async (): Promise<number> => {
        const left = new Set(recordsOf(await readAll(log)).map(({ offset }) => offset));
        return tombstones.filter(({ offset }) => left.has(offset)).length;
      };
      const at = (now: number) => cleanLog(disk, log, state, { now, deleteRetentionMs: RETENTION });
      await at(5000);
      expect(await there()).toBe(tombstones.length);
      await at(5000 + RETENTION - 1);
      expect(await there()).toBe(tombstones.length);
      await at(5000 + RETENTION);
      expect(await there()).toBe(0);
      went += tombstones.length;
    }
    expect(went).toBeGreaterThan(10);
  });

  test("C4: for ever is no horizon, and no record's timestamp suffers from it", async () => {
    const made = await history(4);
    const { log, state, disk } = made.driver;
    await made.settle();
    await made.seal();
    const written = new Map(recordsOf(await readAll(log)).map((record) => [record.offset, record]));
    for (const now of [1_800_000_000_000, Number.MAX_SAFE_INTEGER - 1]) {
      await cleanLog(disk, log, state, { now, deleteRetentionMs: Number.MAX_SAFE_INTEGER });
      const left = recordsOf(await readAll(log));
      for (const record of left) expect(record).toEqual(written.get(record.offset)!);
      expect(left.some(({ value }) => value === null)).toBe(true);
      expect(batchesOf(await readAll(log)).some(({ attributes }) => hasDeleteHorizon(attributes))).toBe(false);
    }
  });

  test("C6: aborted data goes at once; a marker when all its data is gone and its horizon has passed", async () => {
    let markersSeen = 0;
    for (const seed of SEEDS) {
      const made = await history(seed);
      const { driver } = made;
      const { log, state, disk } = driver;
      await made.settle();
      await made.seal();
      const abortedOffsets = new Set(recordsOf(await readAll(log)).map(({ offset }) => offset));
      for (const { offset } of committedRecords(driver, recordsOf(await readAll(log)))) abortedOffsets.delete(offset);
      const markers = async () => batchesOf(await readAll(log)).filter((info) => isControl(info.attributes));
      const marked = await markers();
      markersSeen += marked.length;
      await cleanLog(disk, log, state, { now: 5000, deleteRetentionMs: RETENTION });
      for (const { offset } of recordsOf(await readAll(log))) expect(abortedOffsets.has(offset)).toBe(false);
      // Not one of them yet: either data was seen, or the horizon begins now.
      expect((await markers()).map(({ baseOffset }) => baseOffset)).toEqual(marked.map(({ baseOffset }) => baseOffset));
      // Where all of a transaction's data went, its marker's horizon begins with the pass that finds that out.
      const records = async () => (await markers()).filter(({ recordCount }) => recordCount > 0);
      const withRecord = (await records()).map(({ baseOffset }) => baseOffset);
      await cleanLog(disk, log, state, { now: 5500, deleteRetentionMs: RETENTION });
      expect((await records()).map(({ baseOffset }) => baseOffset)).toEqual(withRecord);
      // An emptied batch that only kept its place goes with the next pass, and counts as data until then.
      for (const now of [6000, 8000, 10_000, 12_000]) {
        await cleanLog(disk, log, state, { now, deleteRetentionMs: RETENTION });
      }
      // What is left stands behind a batch of its producer, if only an empty one that keeps the sequence.
      const producers = new Set<number>();
      for (const info of batchesOf(await readAll(log))) {
        if (!isControl(info.attributes)) producers.add(info.producerId);
        else if (info.recordCount > 0) expect(producers.has(info.producerId)).toBe(true);
      }
    }
    expect(markersSeen).toBeGreaterThan(50);
  });

  test("C6: no reader is told of an aborted transaction of which no batch is left, though its marker stays for ever", async () => {
    let told = 0;
    for (const seed of SEEDS) {
      const made = await history(seed);
      const { log, state, disk } = made.driver;
      await made.settle();
      await made.seal();
      const before = await log.abortedTransactions(0, Number.POSITIVE_INFINITY);
      for (const now of [5000, 6000, 7000]) {
        await cleanLog(disk, log, state, { now, deleteRetentionMs: Number.MAX_SAFE_INTEGER });
      }
      const batches = batchesOf(await readAll(log)).filter(({ attributes }) => !isControl(attributes));
      const aborted = await log.abortedTransactions(0, Number.POSITIVE_INFINITY);
      for (const { producerId, firstOffset, lastOffset } of aborted) {
        const own = batches.filter((info) => info.producerId === producerId);
        expect(own.some((info) => info.lastOffset >= firstOffset && info.baseOffset <= lastOffset)).toBe(true);
      }
      told += before.length - aborted.length;
    }
    expect(told).toBeGreaterThan(0);
  });

  test("C8: the last batch of every live producer stays, and the state is the same after every kind of restart", async () => {
    for (const seed of SEEDS) {
      const made = await history(seed);
      const { driver } = made;
      const { log, state, disk } = driver;
      await made.settle();
      await made.seal();
      for (const now of [5000, 7000, 9000]) await cleanLog(disk, log, state, { now, deleteRetentionMs: RETENTION });
      const batches = batchesOf(await readAll(log));
      for (const { producerId, batches: window } of state.producers.entries()) {
        const last = window.at(-1)!;
        const found = batches.find((info) => info.producerId === producerId && info.lastOffset === last.lastOffset);
        expect(found?.lastSequence).toBe(last.lastSequence);
        expect(found?.baseOffset).toBe(last.firstOffset);
      }
      // So that what was cleaned lies behind a segment of which there is a file.
      await driver.append([1]);
      driver.flush();
      const content = await readAll(log);
      const ages = await agesOf(log);
      const recoveryPoint = log.flushedOffset;
      for (const { recoveryPoint: from, full } of [
        { recoveryPoint, full: false },
        { recoveryPoint: 0, full: false },
        { recoveryPoint: 0, full: true },
      ]) {
        const left = disk.copy();
        left.full = full;
        const loaded = await driver.load({ recoveryPoint: from }, left);
        expect(loaded.repairs).toEqual([]);
        expect(Buffer.compare(await readAll(loaded.log), content)).toBe(0);
        expect(loaded.log.logEndOffset).toBe(driver.end);
        expect(await agesOf(loaded.log)).toEqual(ages);
        expect(Buffer.compare(snapshotOf(loaded.state), snapshotOf(state))).toBe(0);
      }
      driver.stop();
      const reopened = await driver.load({ clean: true, recoveryPoint }, disk.copy());
      expect(Buffer.compare(await readAll(reopened.log), content)).toBe(0);
      expect(Buffer.compare(snapshotOf(reopened.state), snapshotOf(state))).toBe(0);
    }
  });

  test("C8: a producer whose last word is a marker keeps its epoch when the marker's record has gone", async () => {
    const driver = await LogDriver.open(CONFIG);
    const { log, state, disk } = driver;
    const producer = { producerId: 1, producerEpoch: 0, baseSequence: 0, transactional: true };
    await driver.append([1], 20, producer);
    await driver.endTransaction("abort", 1, 1);
    // So that the marker is the last batch neither of its segment nor of the log.
    await driver.append([2]);
    log.roll(() => snapshotOf(state));
    await log.write();
    driver.flush();
    for (const now of [5000, 7000, 9000]) await cleanLog(disk, log, state, { now, deleteRetentionMs: RETENTION });
    const marker = batchesOf(await readAll(log)).find(({ producerId }) => producerId === 1);
    expect(marker?.recordCount).toBe(0);
    const bare = disk.copy();
    for (const name of bare.list(DIRECTORY)) if (name.endsWith(".snapshot")) bare.remove(`${DIRECTORY}/${name}`);
    const { producers } = (await driver.load({ recoveryPoint: log.flushedOffset }, bare)).state;
    expect(producers.get(1)).toMatchObject({ epoch: 1, batches: [], transactionFirstOffset: -1 });
  });

  test("a snapshot that could not be written is made before compaction takes what it would have said", async () => {
    for (const which of ["the last", "all"]) {
      const made = await history(4);
      const { driver } = made;
      const { log, state, disk } = driver;
      await made.settle();
      await made.seal();
      const paths = log.segments.map((segment) => segment.path(".snapshot")).filter((path) => disk.exists(path));
      expect(paths.length).toBeGreaterThan(2);
      for (const path of which === "all" ? paths : paths.slice(-1)) disk.remove(path);
      const before = snapshotOf(state);
      await cleanLog(disk, log, state, { now: 5000 });
      for (const recoveryPoint of [log.flushedOffset, 0]) {
        const loaded = await driver.load({ recoveryPoint }, disk.copy());
        expect(loaded.repairs).toEqual([]);
        expect(Buffer.compare(snapshotOf(loaded.state), before)).toBe(0);
      }
    }
  });

  test("the indexes of a cleaned log are caches: every offset is found as by a scan (L8)", async () => {
    for (const seed of SEEDS.slice(0, 8)) {
      const made = await history(seed, 60);
      await made.settle();
      await made.seal();
      const { log, state, disk } = made.driver;
      await cleanLog(disk, log, state, { now: 5000 });
      const ages = await agesOf(log);
      for (const segment of log.segments.filter(({ active }) => !active)) await segment.indexes.rebuild();
      expect(await agesOf(log)).toEqual(ages);
      const batches = batchesOf(await readAll(log));
      for (let offset = 0; offset < log.logEndOffset; offset += 1) {
        const expected = batches.find(({ lastOffset }) => lastOffset >= offset);
        const { firstOffset, records } = await log.read(offset, 100, Number.POSITIVE_INFINITY, true);
        if (expected === undefined) expect(records.length).toBe(0);
        else expect(firstOffset).toBe(expected.baseOffset);
      }
    }
  });

  test("C3: what may be cleaned ends with a segment, before what is undecided, not durable, young, or active", async () => {
    const made = await history(1, 60);
    await made.settle();
    await made.seal();
    const { log } = made.driver;
    const bases = log.segments.map(({ baseOffset }) => baseOffset);
    expect(bases.length).toBeGreaterThan(4);
    const end = log.logEndOffset;
    const policy = { minCleanableRatio: 0.5, minLagMs: 0, maxLagMs: Number.MAX_SAFE_INTEGER };
    const bounds: CleanableBounds = {
      logStartOffset: 0,
      lastStableOffset: end,
      flushedOffset: end,
      cleanedOffset: undefined,
    };
    const of = (more: Partial<CleanableBounds>, rules: Partial<typeof policy> = {}, now = 9999) =>
      cleanableOf(log, { ...bounds, ...more }, { ...policy, ...rules }, now);
    expect(await of({})).toEqual({ firstDirtyOffset: 0, endOffset: log.active.baseOffset, ratio: 1, due: true });
    for (const limit of [bases[2]!, bases[2]! + 1, bases[3]! - 1]) {
      expect((await of({ lastStableOffset: limit }))?.endOffset).toBe(bases[2]!);
      expect((await of({ flushedOffset: limit }))?.endOffset).toBe(bases[2]!);
    }
    expect(await of({ lastStableOffset: bases[1]! - 1 })).toBeUndefined();
    // Of what was cleaned before only the rest counts; a checkpoint from another life counts for nothing.
    const rest = await of({ cleanedOffset: bases.at(-2)! });
    expect([rest?.firstDirtyOffset, rest?.due]).toEqual([bases.at(-2)!, false]);
    expect(rest?.ratio).toBeLessThan(0.5);
    expect((await of({ cleanedOffset: end + 1 }))?.firstDirtyOffset).toBe(0);
    expect((await of({ logStartOffset: bases[1]!, cleanedOffset: 0 }))?.firstDirtyOffset).toBe(bases[1]!);
    expect(await of({ cleanedOffset: log.active.baseOffset })).toBeUndefined();
    // Timestamps begin at 100 and grow by at most a few a record.
    expect(await of({}, { minLagMs: 1000 }, 1000)).toBeUndefined();
    expect((await of({}, { minLagMs: 1000 }, 5000))?.endOffset).toBe(log.active.baseOffset);
    expect((await of({ cleanedOffset: bases.at(-2)! }, { maxLagMs: 1000 }, 5000))?.due).toBe(true);
  });

  test("a rotten batch is told, and nothing is replaced", async () => {
    const made = await history(3);
    await made.settle();
    await made.seal();
    const { log, state, disk } = made.driver;
    const path = log.segments[1]!.path(".log");
    const file = disk.files.get(path)!;
    file.bytes[70]! ^= 1;
    const names = log.segments.map(({ baseOffset }) => baseOffset);
    const outcome = await cleanLog(disk, log, state, { now: 5000 }).then(
      () => "cleaned",
      (error: unknown) => String(error),
    );
    expect(outcome).toContain("no valid batch where one must begin");
    expect(log.segments.map(({ baseOffset }) => baseOffset)).toEqual(names);
    expect(disk.list(DIRECTORY).filter((name) => name.endsWith(".cleaned"))).toEqual([]);
  });
});

const user = {
  owner: { name: "broker", alive: true },
  after: (_: number, task: () => void) => queueMicrotask(task),
  wall: () => 0,
  trace: () => undefined,
};

const flush = async (disk: ReturnType<SimulatedDisk["attach"]>, log: UnifiedLog): Promise<void> => {
  const ticket = log.beginFlush();
  if (ticket === undefined) return;
  for (const file of ticket.files) await file.flush();
  for (const directory of ticket.directories) await disk.flushDirectory(directory);
  log.flushed(ticket);
};

describe("C9: a crash at any operation of a compaction", () => {
  for (const power of [false, true]) {
    test(`${power ? "power cut" : "kill -9"}: each group is as it was or as it became, and nothing else is there`, async () => {
      for (let seed = 0; seed < 6; seed += 1) {
        const random = new SeededRandom(seed);
        const platter = new SimulatedDisk({ random: random.fork("disk"), pendingChance: 0 });
        const disk = platter.attach(user);
        disk.makeDirectory(DIRECTORY);
        platter.settle();
        const { log, state } = await loadLog(disk, DIRECTORY, CONFIG, {
          clean: false,
          recoveryPoint: 0,
          logStartOffset: 0,
        });
        for (let batch = 0; batch < 45; batch += 1) {
          if (batch === 24) {
            // What is cleaned has holes already.
            await flush(disk, log);
            await cleanLog(disk, log, state, { now: 4000 });
          }
          const key = Buffer.from(`k${random.below(8)}`);
          const record = { key, value: random.chance(0.2) ? null : Buffer.from(`v${batch}`), timestamp: batch };
          const aborts = batch % 9 === 8;
          const bytes = aborts
            ? buildEndTransactionMarker("abort", { producerId: 7, producerEpoch: 0, coordinatorEpoch: 1, timestamp: 1 })
            : buildBatch(
                [record],
                batch % 9 === 7 ? { producerId: 7, producerEpoch: 0, baseSequence: batch, transactional: true } : {},
              );
          // Reigns so short that compaction takes all of some.
          stampBatch(bytes, 0, state.logEndOffset, batch >> 1);
          const info = readBatchInfo(bytes, 0);
          log.stage(bytes, info, () => snapshotOf(state));
          const ended = evolve(state, info);
          if (ended !== undefined) log.stageAborted(ended);
          await log.write();
        }
        await flush(disk, log);
        const states: string[] = [];
        const remember = async (): Promise<void> => {
          states.push(Buffer.from(await readAll(log)).toString("hex"));
        };
        await remember();
        const images: Array<{ image: SimulatedDisk; at: string; known: number }> = [];
        platter.beforeOperation = ({ index, kind, path }) => {
          if (kind === "read") return undefined;
          const cut = power ? random.pick(POWER_CUTS) : "kept";
          images.push({
            image: platter.image(cut, random.fork(`cut ${index}`)),
            at: `${kind} ${path}`,
            known: states.length,
          });
          return undefined;
        };
        await cleanLog(disk, log, state, { now: 5000, swapped: remember });
        platter.beforeOperation = undefined;
        expect(states.length).toBeGreaterThan(1);
        for (const { image, at, known } of images) {
          // A second crash, now while the first is repaired.
          const again: SimulatedDisk[] = [];
          const second = random.between(0, 8);
          const start = image.operations;
          image.beforeOperation = ({ index }) => {
            if (index === start + second)
              again.push(image.image(power ? random.pick(POWER_CUTS) : "kept", random.fork("again")));
            return undefined;
          };
          const open = async (found: SimulatedDisk): Promise<void> => {
            const files = found.attach(user);
            const loaded = await loadLog(files, DIRECTORY, CONFIG, {
              clean: false,
              // Its checkpoint is written now and then: all of the log may be read again.
              recoveryPoint: random.pick([0, log.flushedOffset]),
              logStartOffset: 0,
            });
            const content = Buffer.from(await readAll(loaded.log)).toString("hex");
            // What it was before this group, or with it; never a mixture.
            expect([at, states.slice(known - 1, known + 1).includes(content)]).toEqual([at, true]);
            expect(Buffer.compare(snapshotOf(loaded.state), snapshotOf(state))).toBe(0);
            const strange = files.list(DIRECTORY).filter((name) => /\.(cleaned|swap|deleted|tmp)$/.test(name));
            expect([at, strange]).toEqual([at, []]);
            loaded.log.close();
          };
          await open(image);
          for (const each of again) await open(each);
        }
      }
    });
  }
});
