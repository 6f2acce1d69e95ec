/** The log on the simulated disk: a power cut before every operation, and again while recovering from it. */
import { expect, test } from "bun:test";
import { POWER_CUTS } from "../../actors/simulation/PowerCut.ts";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { type LoadedLog, loadLog, reload } from "../../src/log/LogLoader.ts";
import { evolve, LogState, snapshotOf } from "../../src/log/LogState.ts";
import type { UnifiedLog } from "../../src/log/UnifiedLog.ts";
import type { Disk } from "../../src/platform/Disk.ts";
import type { BatchInfo } from "../../src/record/BatchInfo.ts";
import { readBatchInfo, stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch, buildEndTransactionMarker } from "../../src/record/RecordBatchBuilder.ts";
import { DIRECTORY, readAll, TINY } from "../support/LogDriver.ts";

const CONFIG = { ...TINY, segmentBytes: 1300, indexIntervalBytes: 600 };

const user = {
  owner: { name: "broker", alive: true },
  after: (_: number, task: () => void) => queueMicrotask(task),
  wall: () => 0,
  trace: () => undefined,
};

const open = async (disk: Disk, clean: boolean, recoveryPoint: number): Promise<LoadedLog> =>
  loadLog(disk, DIRECTORY, CONFIG, { clean, recoveryPoint, logStartOffset: 0 });

const makeDisk = (random: SeededRandom): { platter: SimulatedDisk; disk: Disk } => {
  const platter = new SimulatedDisk({ random: random.fork("disk"), pendingChance: 0 });
  const disk = platter.attach(user);
  disk.makeDirectory(DIRECTORY);
  platter.settle();
  return { platter, disk };
};

/** False when a part of it failed: what was written since the last one is not trusted any more. */
const tryFlush = async (disk: Disk, log: UnifiedLog): Promise<boolean> => {
  const ticket = log.beginFlush();
  if (ticket === undefined) return true;
  const outcomes = await Promise.allSettled([
    ...ticket.files.map(async (file) => file.flush()),
    ...ticket.directories.map(async (directory) => disk.flushDirectory(directory)),
  ]);
  const whole = outcomes.every(({ status }) => status === "fulfilled");
  if (whole) log.flushed(ticket);
  else log.flushFailed(ticket);
  return whole;
};

interface Written {
  readonly info: BatchInfo;
  readonly bytes: Uint8Array;
}

const nextBatch = (random: SeededRandom, sequence: number): Uint8Array => {
  const kind = random.between(0, 9);
  const value = new Uint8Array(random.pick([3, 30, 300, 1200])).map(() => random.between(1, 255));
  if (kind === 0) {
    return buildEndTransactionMarker(random.pick(["abort", "commit"]), {
      producerId: 9,
      producerEpoch: 0,
      coordinatorEpoch: 1,
      timestamp: sequence,
    });
  }
  const producer = kind < 4 ? { producerId: 9, producerEpoch: 0, baseSequence: sequence, transactional: true } : {};
  return buildBatch([{ timestamp: sequence, value }], producer);
};

/** Writes 1–4 batches of a turn, and notes them in `written` before anything of them may be on the disk. */
const appendSome = async (
  { log, state }: LoadedLog,
  random: SeededRandom,
  turn: number,
  written: Written[],
): Promise<void> => {
  for (let count = random.between(1, 4); count > 0; count--) {
    const bytes = nextBatch(random, turn * 10 + count);
    stampBatch(bytes, 0, state.logEndOffset, Math.floor(turn / 6));
    const info = readBatchInfo(bytes, 0);
    log.stage(bytes, info, () => snapshotOf(state));
    const ended = evolve(state, info);
    if (ended !== undefined) log.stageAborted(ended);
    written.push({ info, bytes });
  }
  await log.write();
};

/**
 * What must hold of any disk found after a power cut: what was flushed is there, and what is there is the beginning of
 * one of the `histories`.
 */
const checkRecovered = async (
  found: SimulatedDisk,
  histories: ReadonlyArray<ReadonlyArray<Written>>,
  flushedOffset: number,
): Promise<void> => {
  const disk = found.attach(user);
  const { log, state } = await open(disk, false, flushedOffset);
  expect(log.logEndOffset).toBeGreaterThanOrEqual(flushedOffset);
  const there = await readAll(log);
  const fits = (written: ReadonlyArray<Written>): boolean => {
    const kept = written.filter(({ info }) => info.lastOffset < log.logEndOffset);
    const replayed = new LogState(0);
    for (const { info } of kept) evolve(replayed, info);
    const all = Buffer.concat(kept.map(({ bytes }) => bytes));
    return Buffer.compare(there, all) === 0 && Buffer.compare(snapshotOf(state), snapshotOf(replayed)) === 0;
  };
  expect(histories.some(fits)).toBe(true);
  await tryFlush(disk, log);
  log.close();
};

test("L7: whatever a power cut leaves before any operation, what was flushed is found and nothing else appears", async () => {
  for (let seed = 0; seed < 8; seed++) {
    const random = new SeededRandom(seed);
    const { platter, disk } = makeDisk(random);
    const loaded = await open(disk, false, 0);
    const written: Written[] = [];
    const images: Array<{ image: SimulatedDisk; written: Written[]; flushed: number }> = [];
    platter.beforeOperation = () => {
      const cut = random.pick(POWER_CUTS);
      images.push({
        image: platter.image(cut, random.fork("cut")),
        written: [...written],
        flushed: loaded.log.flushedOffset,
      });
      return undefined;
    };
    for (let turn = 0; turn < 15; turn++) {
      await appendSome(loaded, random, turn, written);
      if (random.chance(0.5)) await tryFlush(disk, loaded.log);
    }
    for (const { image, written: before, flushed } of images) {
      // A second cut while the first is being recovered from.
      let second: SimulatedDisk | undefined;
      const at = random.between(0, 12);
      const start = image.operations;
      image.beforeOperation = ({ index }) => {
        if (index === start + at) second = image.image(random.pick(POWER_CUTS), random.fork("second"));
        return undefined;
      };
      await checkRecovered(image, [before], flushed);
      if (second !== undefined) await checkRecovered(second, [before], flushed);
    }
  }
});

test("the same while the log is cut back after a failed write or flush, and while it goes on from there", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const random = new SeededRandom(seed);
    const { platter, disk } = makeDisk(random);
    let loaded = await open(disk, false, 0);
    // What may be on the disk since the last flush that succeeded; the last one is what the log holds.
    let histories: Written[][] = [[]];
    const images: Array<{ image: SimulatedDisk; histories: Written[][]; flushed: number }> = [];
    let failing: "nothing" | "write" | "flush" = "nothing";
    platter.beforeOperation = ({ kind }) => {
      const image = platter.image(random.pick(POWER_CUTS), random.fork("cut"));
      images.push({ image, histories: histories.map((each) => [...each]), flushed: loaded.log.flushedOffset });
      if (!kind.startsWith(failing) || random.chance(0.5)) return undefined;
      return kind === "write" && random.chance(0.5) ? { short: random.between(1, 200) } : { error: "EIO" };
    };
    const reopen = async (endOffset: number): Promise<void> => {
      const written = histories.at(-1)!;
      loaded = await reload(disk, loaded.log, { logStartOffset: 0, endOffset });
      histories.push(written.filter(({ info }) => info.lastOffset < loaded.log.logEndOffset));
    };
    for (let turn = 0; turn < 4; turn++) {
      failing = random.pick(["nothing", "write", "flush"]);
      try {
        await appendSome(loaded, random, turn, histories.at(-1)!);
      } catch {
        failing = "nothing";
        await reopen(loaded.log.logEndOffset);
      }
      while (!(await tryFlush(disk, loaded.log))) {
        failing = "nothing";
        await reopen(loaded.log.flushedOffset);
        failing = random.pick(["nothing", "flush"]);
      }
      // What was cut off is gone for good before anything takes its place.
      histories = [histories.at(-1)!];
    }
    for (const { image, histories: possible, flushed } of images) await checkRecovered(image, possible, flushed);
  }
});

test("the same after a short write, whichever state of its pages a power cut has kept", async () => {
  let reopened = 0;
  for (let seed = 0; seed < 300; seed++) {
    const random = new SeededRandom(seed);
    const { platter, disk } = makeDisk(random);
    let loaded = await open(disk, false, 0);
    const written: Written[] = [];
    await appendSome(loaded, random, 0, written);
    await tryFlush(disk, loaded.log);
    const flushed = loaded.log.flushedOffset;
    let isShort = true;
    platter.beforeOperation = ({ kind }) => {
      if (kind !== "write" || !isShort) return undefined;
      isShort = false;
      return { short: random.between(1, 1000) };
    };
    for (let turn = 1; turn < 3; turn++) {
      try {
        await appendSome(loaded, random, turn, written);
      } catch {
        reopened++;
        const endOffset = loaded.log.logEndOffset;
        loaded = await reload(disk, loaded.log, { logStartOffset: 0, endOffset });
        await tryFlush(disk, loaded.log);
        written.splice(written.findIndex(({ info }) => info.baseOffset >= loaded.log.logEndOffset));
      }
    }
    await checkRecovered(platter.image("reordered", random.fork("cut")), [written], flushed);
  }
  expect(reopened).toBeGreaterThan(50);
});
