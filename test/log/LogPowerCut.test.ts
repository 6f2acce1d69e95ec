/** The log on the simulated disk: a power cut before every operation, and again while recovering from it. */
import { expect, test } from "bun:test";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { POWER_CUTS, SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { type LoadedLog, loadLog } from "../../src/log/LogLoader.ts";
import { evolve, LogState, snapshotOf } from "../../src/log/LogState.ts";
import type { UnifiedLog } from "../../src/log/UnifiedLog.ts";
import type { Disk } from "../../src/platform/Disk.ts";
import type { BatchInfo } from "../../src/record/BatchInfo.ts";
import { readBatchInfo, stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch, buildEndTransactionMarker } from "../../src/record/RecordBatchBuilder.ts";
import { DIRECTORY, readAll, TINY } from "../support/LogDriver.ts";

const CONFIG = { ...TINY, segmentBytes: 4000, indexIntervalBytes: 600 };

const user = {
  owner: { name: "broker", alive: true },
  after: (_: number, task: () => void) => queueMicrotask(task),
  wall: () => 0,
  trace: () => undefined,
};

const open = async (disk: Disk, clean: boolean, recoveryPoint: number): Promise<LoadedLog> =>
  loadLog(disk, DIRECTORY, CONFIG, { clean, recoveryPoint, logStartOffset: 0 });

const flush = async (disk: Disk, log: UnifiedLog): Promise<void> => {
  const ticket = log.beginFlush();
  if (ticket === undefined) return;
  for (const file of ticket.files) await file.flush();
  for (const directory of ticket.directories) await disk.flushDirectory(directory);
  log.flushed(ticket);
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

/** What must hold of any disk found after a power cut: what was flushed is there, and what is there was written. */
const checkRecovered = async (
  found: SimulatedDisk,
  written: ReadonlyArray<Written>,
  flushedOffset: number,
): Promise<SimulatedDisk> => {
  const disk = found.attach(user);
  const loaded = await open(disk, false, flushedOffset);
  const { log, state } = loaded;
  expect(log.logEndOffset).toBeGreaterThanOrEqual(flushedOffset);
  const kept = written.filter(({ info }) => info.lastOffset < log.logEndOffset);
  const all = Buffer.concat(kept.map(({ bytes }) => bytes));
  expect(Buffer.compare(await readAll(log), all)).toBe(0);
  const replayed = new LogState(0);
  for (const { info } of kept) evolve(replayed, info);
  expect(Buffer.compare(snapshotOf(state), snapshotOf(replayed))).toBe(0);
  await flush(disk, log);
  log.close();
  return found;
};

test("whatever a power cut leaves before any operation, what was flushed is found and nothing else appears", async () => {
  for (let seed = 0; seed < 12; seed++) {
    const random = new SeededRandom(seed);
    const platter = new SimulatedDisk({ random: random.fork("disk"), pendingChance: 0 });
    const disk = platter.attach(user);
    disk.makeDirectory(DIRECTORY);
    platter.settle();
    const { log, state } = await open(disk, false, 0);
    const written: Written[] = [];
    const images: Array<{ image: SimulatedDisk; written: Written[]; flushed: number }> = [];
    platter.beforeOperation = () => {
      const cut = random.pick(POWER_CUTS);
      images.push({ image: platter.image(cut, random.fork("cut")), written: [...written], flushed: log.flushedOffset });
      return undefined;
    };
    for (let turn = 0; turn < 15; turn++) {
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
      if (random.chance(0.5)) await flush(disk, log);
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
      await checkRecovered(image, before, flushed);
      if (second !== undefined) await checkRecovered(second, before, flushed);
    }
  }
});
