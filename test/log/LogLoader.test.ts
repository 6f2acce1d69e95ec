import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CorruptLog } from "../../src/log/CorruptLog.ts";
import type { LoadedLog } from "../../src/log/LogLoader.ts";
import { decodeSnapshot, placeSnapshot } from "../../src/log/LogSnapshot.ts";
import { evolve, LogState, snapshotOf } from "../../src/log/LogState.ts";
import { completeWindows } from "../../src/log/ProducerWindows.ts";
import { DEFAULT_LOG_CONFIG } from "../../src/log/UnifiedLog.ts";
import { DiskError } from "../../src/platform/Disk.ts";
import { crc32c } from "../../src/record/Crc32c.ts";
import { DIRECTORY, LogDriver, noCodecs, readAll, TINY } from "../support/LogDriver.ts";
import type { MemoryDisk } from "../support/MemoryDisk.ts";

const INFINITY = Number.POSITIVE_INFINITY;
const LOG = `${DIRECTORY}/00000000000000000000.log`;

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

const bytesOf = (driver: LogDriver, count = driver.batches.length): Uint8Array =>
  Buffer.concat(driver.batches.slice(0, count).map((batch) => batch.bytes));

/** Plain, idempotent and transactional batches, several reigns, several segments. */
const filled = async (config = TINY): Promise<LogDriver> => {
  const driver = await LogDriver.open(config);
  for (let at = 0; at < 24; at++) {
    if (at === 7 || at === 15) driver.leaderEpoch += 2;
    await driver.append([at, at + 1], 30);
    await driver.append([at + 3], 20, { producerId: 5, producerEpoch: 1, baseSequence: at });
    const transactional = { producerId: 9, producerEpoch: 0, baseSequence: at, transactional: true };
    await driver.append([at + 2], 10, transactional);
    if (at % 3 === 2) await driver.endTransaction(at % 2 === 0 ? "abort" : "commit", 9);
  }
  return driver;
};

/** Everything a client could tell two logs apart by. */
const expectSame = async (driver: LogDriver, { log, state }: LoadedLog): Promise<void> => {
  expect(same(snapshotOf(state), snapshotOf(driver.state))).toBe(true);
  expect(same(await readAll(log), bytesOf(driver))).toBe(true);
  for (const timestamp of [0, 5, 11, 19, 26, 99]) {
    expect(await log.offsetForTimestamp(timestamp, 0, INFINITY, noCodecs)).toEqual(
      await driver.log.offsetForTimestamp(timestamp, 0, INFINITY, noCodecs),
    );
  }
  expect(await log.abortedTransactions(0, INFINITY)).toEqual(driver.aborted);
  const middle = Math.floor(driver.end / 2);
  expect(await log.abortedTransactions(middle, middle + 10)).toEqual(
    driver.aborted.filter((one) => one.lastOffset >= middle && one.firstOffset < middle + 10),
  );
};

const failure = (opening: Promise<LoadedLog>): Promise<unknown> =>
  opening.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("LogLoader", () => {
  test("after a clean stop no segment is opened, and everything is as before", async () => {
    const driver = await filled();
    driver.stop();
    const disk = driver.disk.copy();
    const loaded = await driver.load({ clean: true, recoveryPoint: driver.end }, disk);
    expect(disk.opened).toBe(0);
    expect(loaded.log.beginFlush()).toBeUndefined();
    await expectSame(await filled(), loaded);
  });

  test("a log whose last writes were lost and whose rest was deleted begins where it was told; what is left is kept aside", async () => {
    const { end } = await filled();
    const start = end + 5;
    for (const options of [{ recoveryPoint: 40 }, { recoveryPoint: end, clean: true }]) {
      const driver = await filled();
      if (options.clean === true) driver.stop();
      const { disk } = driver;
      const kept = [...disk.files.keys()].filter((path) => path.endsWith(".log")).sort();
      driver.adopt(await driver.load({ ...options, logStartOffset: start }, disk));
      for (let times = 0; times < 2; times++) {
        const { log, state } = driver;
        expect([state.logStartOffset, state.logEndOffset, log.logEndOffset]).toEqual([start, start, start]);
        const cut = [...disk.files.keys()].filter((path) => path.endsWith(".log.cut")).sort();
        expect(cut).toEqual(kept.map((path) => `${path}.cut`));
        driver.adopt(await driver.load({ recoveryPoint: options.recoveryPoint, logStartOffset: start }, disk));
      }
      expect((await driver.append([1])).baseOffset).toBe(start);
    }
  });

  test("after an unclean stop everything written is there, and the next ticket makes it durable", async () => {
    const driver = await filled();
    for (const recoveryPoint of [0, 40, driver.end]) {
      const loaded = await driver.load({ recoveryPoint });
      expect(loaded.log.flushedOffset).toBe(recoveryPoint);
      const ticket = loaded.log.beginFlush()!;
      expect([ticket.offset, ticket.directories]).toEqual([driver.end, [DIRECTORY]]);
      expect(ticket.files.some((file) => file.path === loaded.log.active.path(".log"))).toBe(true);
      await expectSame(driver, loaded);
      expect(loaded.repairs).toEqual([]);
    }
  });

  test("recovery of what was recovered changes nothing", async () => {
    const driver = await filled();
    const disk = driver.disk.copy();
    disk.put(LOG, disk.content(LOG));
    await driver.load({}, disk);
    const after = disk.copy();
    await expectSame(driver, await driver.load({}, disk));
    for (const [path, { size }] of after.files)
      expect(same(disk.content(path), after.content(path)), `${path} ${size}`).toBe(true);
  });

  test("a tail torn at any byte is cut to the last whole batch", async () => {
    const driver = await filled();
    const { active } = driver.log;
    const inActive = driver.batches.filter((batch) => batch.info.baseOffset >= active.baseOffset);
    const expected = new Map<number, Uint8Array>();
    const state = new LogState(0);
    for (const { info } of driver.batches) {
      expected.set(info.baseOffset, snapshotOf(state));
      evolve(state, info);
    }
    expected.set(driver.end, snapshotOf(state));
    const lastTwo = inActive.slice(-2).reduce((sum, batch) => sum + batch.bytes.length, 0);
    const full = driver.disk.content(active.path(".log"));
    for (let size = full.length - lastTwo; size <= full.length; size++) {
      const disk = driver.disk.copy();
      disk.put(active.path(".log"), full.subarray(0, size));
      let end = active.baseOffset;
      let good = 0;
      for (const { info, bytes } of inActive) {
        if (good + bytes.length > size) break;
        good += bytes.length;
        end = info.lastOffset + 1;
      }
      const { log, state: recovered, repairs } = await driver.load({ recoveryPoint: active.baseOffset }, disk);
      expect(log.logEndOffset).toBe(end);
      expect(same(snapshotOf(recovered), expected.get(end)!)).toBe(true);
      expect(disk.fileSize(active.path(".log"))).toBe(good);
      expect(repairs.length).toBe(good === size ? 0 : 1);
    }
  });

  test("any side file deleted, cut or flipped: the same answers, after a clean and an unclean stop", async () => {
    const reference = await filled();
    const driver = await filled();
    driver.stop();
    const sideFiles = [...driver.disk.files.keys()].filter((path) => !path.endsWith(".log"));
    expect(sideFiles.some((path) => path.endsWith(".txnindex"))).toBe(true);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...sideFiles),
        fc.constantFrom("delete", "cut", "flip", "grow", "zero"),
        fc.nat(),
        fc.integer({ min: 0, max: 7 }),
        fc.boolean(),
        async (path, damage, place, bit, clean) => {
          const disk = driver.disk.copy();
          const content = disk.content(path);
          if (damage === "delete" || content.length === 0) disk.remove(path);
          else if (damage === "cut") disk.put(path, content.subarray(0, place % content.length));
          else if (damage === "flip") content[place % content.length]! ^= 1 << bit;
          else if (damage === "zero") content.fill(0, place % content.length);
          if (damage === "flip" || damage === "zero") disk.put(path, content);
          if (damage === "grow") disk.put(path, Buffer.concat([content, new Uint8Array(1 + (place % 40))]));
          await expectSame(reference, await driver.load({ clean, recoveryPoint: driver.end }, disk));
        },
      ),
      { numRuns: 250 },
    );
  });

  test("all side files gone at once", async () => {
    const reference = await filled();
    const driver = await filled();
    driver.stop();
    for (const clean of [true, false]) {
      const disk = driver.disk.copy();
      for (const path of disk.files.keys()) if (!path.endsWith(".log")) disk.remove(path);
      await expectSame(reference, await driver.load({ clean }, disk));
    }
  });

  test("a directory as Kafka writes it: snapshots without our addition, epochs in their own file", async () => {
    const reference = await filled();
    const driver = await filled();
    driver.stop();
    for (const path of driver.disk.files.keys()) {
      if (!path.endsWith(".snapshot")) continue;
      const ours = driver.disk.content(path);
      const count = new DataView(ours.buffer).getInt32(6);
      const kafka = ours.slice(0, 10 + count * 46);
      new DataView(kafka.buffer).setUint32(2, crc32c(kafka, 6));
      driver.disk.put(path, kafka);
    }
    for (const clean of [true, false]) {
      await expectSame(reference, await driver.load({ clean, recoveryPoint: driver.end }));
      const disk = driver.disk.copy();
      disk.remove(`${DIRECTORY}/leader-epoch-checkpoint`);
      await expectSame(reference, await driver.load({ clean, recoveryPoint: driver.end }, disk));
    }
  });

  test("the windows of producers that Kafka's snapshot cut short are read back", async () => {
    const driver = await LogDriver.open({ ...TINY, segmentBytes: 300 });
    for (let at = 0; at < 8; at++) {
      await driver.append([at, at], 20, { producerId: 1, producerEpoch: 0, baseSequence: at * 2 });
      if (at === 3) await driver.append([50], 20, { producerId: 2, producerEpoch: 0, baseSequence: 0 });
      if (at > 5) await driver.append([60], 20, { producerId: 3, producerEpoch: 2, baseSequence: 90 + at });
    }
    const entries = [...driver.state.producers.entries()];
    const cut = entries.map((entry) => ({ ...entry, batches: entry.batches.slice(-1) }));
    const paths = driver.log.segments.map((segment) => segment.path(".log"));
    expect(paths.length).toBeGreaterThan(3);
    expect(await completeWindows(driver.disk, paths, driver.end, cut)).toEqual(entries);
  });

  const oneSegment = { ...DEFAULT_LOG_CONFIG, indexIntervalBytes: 200 };

  /** Ten batches of about 1.1 KiB in one file; `at(n)` is where the n-th begins. */
  const large = async () => {
    const driver = await LogDriver.open(oneSegment);
    const starts: number[] = [];
    let position = 0;
    for (let index = 0; index < 10; index++) {
      starts.push(position);
      position += (await driver.append([index], 1000)).sizeInBytes;
    }
    return { driver, starts, size: position };
  };

  const damaged = (driver: LogDriver, change: (bytes: Uint8Array) => void): MemoryDisk => {
    const disk = driver.disk.copy();
    const bytes = disk.content(LOG);
    change(bytes);
    disk.put(LOG, bytes);
    return disk;
  };

  test("a hole of zeros above the recovery point is cut there, and what follows is kept aside", async () => {
    const { driver, starts, size } = await large();
    const zeroed: Array<(bytes: Uint8Array) => void> = [
      // A whole batch, one sector inside it, the sector with the next header, everything up to the last batch.
      (bytes) => bytes.fill(0, starts[4]!, starts[5]!),
      (bytes) =>
        bytes.fill(0, Math.ceil((starts[4]! + 100) / 512) * 512, Math.ceil((starts[4]! + 100) / 512) * 512 + 512),
      (bytes) => bytes.fill(0, starts[4]!, Math.ceil((starts[4]! + 1) / 512) * 512),
      (bytes) => bytes.fill(0, starts[4]!, starts[9]!),
    ];
    for (const change of zeroed) {
      const disk = damaged(driver, change);
      const before = disk.content(LOG);
      const { log, repairs } = await driver.load({ recoveryPoint: 4 }, disk);
      expect(log.logEndOffset).toBe(4);
      expect(repairs.length).toBe(1);
      expect(same(disk.content(`${LOG}.cut-${starts[4]!}`), before.subarray(starts[4]!))).toBe(true);
      expect(same(await readAll(log), bytesOf(driver, 4))).toBe(true);
      expect(disk.fileSize(LOG)).toBe(starts[4]!);
    }
    expect(size).toBeGreaterThan(10_000);
  });

  test("other damage with valid batches behind it takes the log offline and touches nothing", async () => {
    const { driver, starts } = await large();
    for (const at of [8, 16, 17, 25, 60, 61, 500, 1000]) {
      const disk = damaged(driver, (bytes) => {
        bytes[starts[4]! + at]! ^= 0x40;
      });
      const before = disk.content(LOG);
      const opening = driver.load({ recoveryPoint: 2 }, disk);
      expect(await failure(opening)).toBeInstanceOf(CorruptLog);
      expect(same(disk.content(LOG), before)).toBe(true);
    }
  });

  test("damage in the last batch is a torn tail, whatever it looks like", async () => {
    const { driver, starts } = await large();
    for (const at of [8, 16, 17, 25, 60, 61, 500, 1000]) {
      const disk = damaged(driver, (bytes) => {
        bytes[starts[9]! + at]! ^= 0x40;
      });
      expect((await driver.load({ recoveryPoint: 2 }, disk)).log.logEndOffset).toBe(9);
    }
  });

  test("nothing below the recovery point is cut", async () => {
    const { driver, starts, size } = await large();
    const cut = driver.disk.copy();
    cut.put(LOG, cut.content(LOG).subarray(0, starts[7]!));
    expect(await failure(driver.load({ recoveryPoint: 8 }, cut))).toBeInstanceOf(CorruptLog);
    expect((await driver.load({ recoveryPoint: 7 }, cut)).log.logEndOffset).toBe(7);
    const zeros = damaged(driver, (bytes) => bytes.fill(0, starts[4]!, size));
    expect(await failure(driver.load({ recoveryPoint: 8 }, zeros))).toBeInstanceOf(CorruptLog);
    const gone = driver.disk.copy();
    gone.remove(LOG);
    expect(await failure(driver.load({ recoveryPoint: 8 }, gone))).toBeInstanceOf(CorruptLog);
  });

  test("a hole in a segment takes the later ones aside with it", async () => {
    const driver = await filled();
    const [, second, third] = driver.log.segments;
    const disk = driver.disk.copy();
    const bytes = disk.content(second!.path(".log"));
    disk.put(second!.path(".log"), bytes.fill(0, Math.floor((bytes.length - 1) / 512) * 512));
    const kept = disk.content(third!.path(".log"));
    const { log } = await driver.load({ recoveryPoint: second!.baseOffset }, disk);
    expect(log.segments.length).toBe(2);
    expect(log.logEndOffset).toBeLessThan(third!.baseOffset);
    expect(same(disk.content(`${third!.path(".log")}.cut`), kept)).toBe(true);
    expect(same(await readAll(log), bytesOf(driver).subarray(0, log.size))).toBe(true);
  });

  test("a segment whose last writes never came, or that is gone, ends the log before the later ones", async () => {
    const driver = await filled();
    const [, second, third] = driver.log.segments;
    const bytes = driver.disk.content(second!.path(".log"));
    const last = driver.batches.filter((batch) => batch.info.baseOffset < third!.baseOffset).at(-1)!;
    for (const size of [bytes.length - last.bytes.length, bytes.length - 1, bytes.length - last.bytes.length + 3]) {
      const disk = driver.disk.copy();
      disk.put(second!.path(".log"), bytes.subarray(0, size));
      const { log, repairs } = await driver.load({ recoveryPoint: second!.baseOffset }, disk);
      expect(log.logEndOffset).toBe(last.info.baseOffset);
      expect(disk.exists(`${third!.path(".log")}.cut`)).toBe(true);
      expect(repairs.length).toBe(1);
      const durable = driver.disk.copy();
      durable.put(second!.path(".log"), bytes.subarray(0, size));
      const names = durable.list(DIRECTORY);
      expect(await failure(driver.load({ recoveryPoint: third!.baseOffset - 1 }, durable))).toBeInstanceOf(CorruptLog);
      expect(durable.list(DIRECTORY).filter((name) => name.endsWith(".log"))).toEqual(
        names.filter((name) => name.endsWith(".log")),
      );
    }
    const gone = driver.disk.copy();
    gone.remove(second!.path(".log"));
    const { log } = await driver.load({ recoveryPoint: 0 }, gone);
    expect(log.logEndOffset).toBe(second!.baseOffset);
  });

  test("a gap that compaction left is no loss: the snapshot behind the segment says how it ends", async () => {
    const driver = await filled();
    const [, second, third] = driver.log.segments;
    const bytes = driver.disk.content(second!.path(".log"));
    const last = driver.batches.filter((batch) => batch.info.baseOffset < third!.baseOffset).at(-1)!;
    const disk = driver.disk.copy();
    const size = bytes.length - last.bytes.length;
    disk.put(second!.path(".log"), bytes.subarray(0, size));
    const snapshot = disk.content(third!.path(".snapshot"));
    placeSnapshot(snapshot, { ...decodeSnapshot(snapshot)!.addition!.end!, size });
    disk.put(third!.path(".snapshot"), snapshot);
    const { log, repairs } = await driver.load({ recoveryPoint: 0 }, disk);
    expect([log.logEndOffset, repairs]).toEqual([driver.end, []]);
    const kept = driver.batches.filter((batch) => batch !== last).map((batch) => batch.bytes);
    expect(same(await readAll(log), Buffer.concat(kept))).toBe(true);
    expect((await log.read(last.info.baseOffset, 1000, INFINITY, true)).firstOffset).toBe(third!.baseOffset);
  });

  test("snapshots above a truncation do not come back when the log has grown past them", async () => {
    const driver = await LogDriver.open();
    const producer = (producerId: number, at: number) => ({ producerId, producerEpoch: 0, baseSequence: at });
    for (let at = 0; at < 6; at++) await driver.append([at], 10, producer(1, at));
    driver.stop();
    driver.adopt(await driver.load({ clean: true, endOffset: 4 }, driver.disk));
    driver.batches.splice(4);
    for (let at = 0; at < 20; at++) await driver.append([at, at], 40, producer(2, at * 2));
    expect(driver.log.segments.some((segment) => segment.baseOffset === 6)).toBe(false);
    driver.flush();
    const disk = driver.disk.copy();
    for (const segment of driver.log.segments) {
      if (segment.baseOffset > 6) disk.remove(segment.path(".snapshot"));
    }
    const { state } = await driver.load({ recoveryPoint: driver.end }, disk);
    expect(same(snapshotOf(state), snapshotOf(driver.state))).toBe(true);
  });

  test("the log start comes from its checkpoint, and first reigns begin there", async () => {
    const driver = await filled();
    const { state } = await driver.load({ logStartOffset: 50 });
    expect(state.logStartOffset).toBe(50);
    expect(state.leaderEpochs.entries[0]).toEqual({
      epoch: driver.state.leaderEpochs.epochForOffset(50),
      startOffset: 50,
    });
  });

  describe("on a full disk", () => {
    const full = (disk: MemoryDisk): MemoryDisk => {
      disk.full = true;
      return disk;
    };
    const snapshotsOf = (driver: LogDriver): string[] =>
      driver.log.segments.slice(1).map((segment) => segment.path(".snapshot"));

    test("everything is recovered, and the snapshots that are right stay", async () => {
      const driver = await filled();
      const disk = full(driver.disk.copy());
      await expectSame(driver, await driver.load({}, disk));
      for (const path of snapshotsOf(driver))
        expect(same(disk.content(path), driver.disk.content(path)), path).toBe(true);
    });

    test("of a snapshot that cannot be written nothing wrong is left, and the next opening does without", async () => {
      const driver = await filled();
      const disk = full(driver.disk.copy());
      const [first, second, third, fourth, ...rest] = snapshotsOf(driver);
      disk.remove(first!);
      disk.put(second!, disk.content(second!).subarray(1));
      disk.put(third!, disk.content(rest[0]!));
      const shorter = disk.content(fourth!);
      const { end } = decodeSnapshot(shorter)!.addition!;
      placeSnapshot(shorter, { ...end!, size: end!.size - 1 });
      disk.put(fourth!, shorter);
      await expectSame(driver, await driver.load({}, disk));
      expect([first!, second!, third!, fourth!, ...rest].filter((path) => disk.exists(path))).toEqual(rest);
      await expectSame(driver, await driver.load({ recoveryPoint: driver.end }, disk));
    });

    test("what only a snapshot knows, because compaction took the batches, waits for room", async () => {
      const driver = await filled();
      const [, second, third] = driver.log.segments;
      const inSecond = driver.batches.filter(
        ({ info: { baseOffset } }) => baseOffset >= second!.baseOffset && baseOffset < third!.baseOffset,
      );
      const disk = driver.disk.copy();
      disk.put(
        second!.path(".log"),
        Buffer.concat(inSecond.filter((_, index) => index !== 1).map(({ bytes }) => bytes)),
      );
      const before = disk.content(third!.path(".snapshot"));
      expect(await failure(Promise.resolve(driver.load({}, full(disk))))).toBeInstanceOf(DiskError);
      expect(same(disk.content(third!.path(".snapshot")), before)).toBe(true);
      disk.full = false;
      const { state } = await driver.load({}, disk);
      expect(same(snapshotOf(state), snapshotOf(driver.state))).toBe(true);
    });
  });

  test("leftovers of interrupted work are removed", async () => {
    const driver = await filled();
    for (const name of ["00000000000000000003.log.deleted", "00000000000000000000.log.cleaned", "x.tmp"]) {
      driver.disk.put(`${DIRECTORY}/${name}`, new Uint8Array(9));
    }
    await expectSame(driver, await driver.load({}, driver.disk));
    expect(driver.disk.list(DIRECTORY).filter((name) => /deleted|cleaned|tmp/.test(name))).toEqual([]);
  });
});
