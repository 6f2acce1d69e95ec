/** The checkpoint files of a log directory on a simulated disk whose writes and flushes take their time, or fail. */
import { expect, test } from "bun:test";
import { OffsetCheckpoints } from "../../actors/OffsetCheckpoints.ts";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { LOG_START_OFFSET_FILE, RECOVERY_POINT_FILE } from "../../src/log/Checkpoints.ts";
import type { Disk } from "../../src/platform/Disk.ts";

const user = {
  owner: { name: "broker", alive: true },
  after: (_: number, task: () => void) => queueMicrotask(task),
  wall: () => 0,
  trace: () => undefined,
};

const makeDisk = (): { platter: SimulatedDisk; disk: Disk } => {
  const platter = new SimulatedDisk({ random: new SeededRandom(1), pendingChance: 1 });
  const disk = platter.attach(user);
  disk.makeDirectory("data");
  return { platter, disk };
};

const at = (offset: number) => ({ recoveryPoint: offset, logStartOffset: offset - 1, highWatermark: offset });

/** What the next broker reads. */
const found = (disk: Disk, name: string): ReadonlyArray<number> => {
  const next = new OffsetCheckpoints(disk, "data");
  return [next.recoveryPointOf(name), next.logStartOffsetOf(name)];
};

test("writes wait for each other, and none goes back behind a later one", async () => {
  const { platter, disk } = makeDisk();
  const checkpoints = new OffsetCheckpoints(disk, "data");
  const opened: string[] = [];
  platter.beforeOperation = ({ kind, path }) => {
    // A file is begun again only when it has got its name.
    if (kind === "create") expect(disk.list("data").filter((name) => name.endsWith(".tmp"))).toEqual([]);
    if (kind === "create") opened.push(path);
    return undefined;
  };
  const writes: Promise<void>[] = [];
  for (let offset = 10; offset < 15; offset++) {
    checkpoints.note("t-0", at(offset));
    writes.push(checkpoints.write());
  }
  checkpoints.note("t-1", at(7));
  await Promise.all(writes);
  expect(opened.length).toBe(5 * 4);
  expect(found(disk, "t-0")).toEqual([14, 13]);
  expect(found(disk, "t-1")).toEqual([7, 6]);
});

test("a removed partition is told of until a write that began later has succeeded", async () => {
  const { platter, disk } = makeDisk();
  const checkpoints = new OffsetCheckpoints(disk, "data");
  checkpoints.note("t-0", at(10));
  checkpoints.forget("t-0");
  const early = checkpoints.write();
  checkpoints.note("t-1", at(20));
  await early;
  expect(checkpoints.tellOfForgotten()).toBe(false);

  // Removed while the files are written that may have it already.
  const under = checkpoints.write();
  let begun = false;
  platter.beforeOperation = () => {
    if (!begun) checkpoints.forget("t-1");
    begun = true;
    return undefined;
  };
  await under;
  expect(checkpoints.tellOfForgotten("t-1")).toBe(true);
  platter.beforeOperation = ({ kind }) => (kind === "flush" ? { error: "EIO" } : undefined);
  await expect(checkpoints.write()).rejects.toThrow("EIO");
  expect(checkpoints.tellOfForgotten("t-1")).toBe(true);
  // Each file has what was known at its turn.
  expect(found(disk, "t-1")).toEqual([20, 0]);
  platter.beforeOperation = undefined;
  await checkpoints.write();
  expect(checkpoints.tellOfForgotten("t-1")).toBe(false);
  expect(found(disk, "t-1")).toEqual([0, 0]);
});

test("a lost or damaged file says nothing; the log starts are there twice", async () => {
  const { disk } = makeDisk();
  const checkpoints = new OffsetCheckpoints(disk, "data");
  checkpoints.note("t-0", at(10));
  await checkpoints.write();
  disk.remove(`data/${LOG_START_OFFSET_FILE}`);
  expect(found(disk, "t-0")).toEqual([10, 9]);
  disk.replaceFile(`data/${RECOVERY_POINT_FILE}`, new TextEncoder().encode("0\n1\nt 0 10"));
  expect(found(disk, "t-0")).toEqual([0, 9]);
});

test("how far a log is cleaned is written at once, and told of a removed partition until the files are written", async () => {
  const { disk } = makeDisk();
  const cleaned = (): Array<number | undefined> => {
    const read = new OffsetCheckpoints(disk, "data");
    return ["t-0", "t-1"].map((name) => read.cleanedOffsetOf(name));
  };
  const checkpoints = new OffsetCheckpoints(disk, "data");
  await Promise.all([checkpoints.cleaned("t-0", 5), checkpoints.cleaned("t-1", 6)]);
  expect(cleaned()).toEqual([5, 6]);
  checkpoints.forget("t-0");
  expect([checkpoints.cleanedOffsetOf("t-0"), checkpoints.tellOfForgotten("t-0")]).toEqual([undefined, true]);
  await checkpoints.write();
  expect(checkpoints.tellOfForgotten("t-0")).toBe(false);
  expect(cleaned()).toEqual([undefined, 6]);
});
