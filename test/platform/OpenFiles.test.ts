/** Files that are closed behind their holders' backs: nobody can tell, but for how many are open. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import fc from "fast-check";
import type { DiskFault, DiskOperation } from "../../actors/simulation/DiskFault.ts";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { bunDisk } from "../../src/platform/BunDisk.ts";
import { type Disk, DiskError, type DiskFile } from "../../src/platform/Disk.ts";
import { limitOpenFiles } from "../../src/platform/OpenFiles.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);

const simulated = (pendingChance = 0): { platter: SimulatedDisk; disk: Disk } => {
  const platter = new SimulatedDisk({ random: new SeededRandom(1), pendingChance });
  const user = {
    owner: { name: "broker", alive: true },
    after: (_: number, task: () => void) => void setTimeout(task, 0),
    wall: () => 0,
    trace: () => undefined,
  };
  const disk = platter.attach(user);
  disk.makeDirectory("/d");
  disk.makeDirectory("/e");
  return { platter, disk };
};

const readText = async (file: DiskFile): Promise<string> => {
  const target = new Uint8Array(100);
  const there = await file.read(target, 0);
  return Buffer.from(target.subarray(0, there)).toString();
};

type Step = readonly [kind: string, file: number, other: number];

/** Does the steps on a disk and notes what each answers. */
const story = async (disk: Disk, steps: ReadonlyArray<Step>): Promise<string[]> => {
  const told: string[] = [];
  const held: DiskFile[] = [];
  const path = (index: number): string => `/${index % 2 === 0 ? "d" : "e"}/${index % 5}`;
  for (const [kind, which, other] of steps) {
    const file = held[which % Math.max(1, held.length)];
    const act = async (): Promise<string> => {
      if (kind === "open") return `${held.push(disk.open(path(which), "write"))}`;
      if (kind === "openToRead") return `${held.push(disk.open(path(which), "read"))}`;
      if (kind === "rename") disk.rename(path(which), path(other));
      if (kind === "renameDirectory") disk.rename("/d", `/d${other}`);
      if (kind === "remove") disk.remove(path(which));
      if (kind === "replace") disk.replaceFile(path(which), bytes(`replaced ${other}`));
      if (file === undefined) return "none";
      if (kind === "write") return `${await file.write([bytes(`${other}`)], other % 7)}`;
      if (kind === "read") return readText(file);
      if (kind === "size") return `${file.size()}`;
      if (kind === "flush") return `${await file.flush()}`;
      if (kind === "truncate") file.truncate(other % 4);
      if (kind === "close") {
        file.close();
        held.splice(which % held.length, 1);
      }
      return "";
    };
    told.push(
      await act().then(
        (answer) => `${kind} ${answer}`,
        (error: unknown) => `${kind} ${error instanceof DiskError ? error.code : String(error)}`,
      ),
    );
  }
  for (const file of held) told.push(await readText(file).catch(() => "closed"));
  return told;
};

const KINDS = ["open", "open", "openToRead", "rename", "renameDirectory", "remove", "replace"];
const MORE = ["write", "write", "write", "read", "read", "size", "flush", "truncate", "close"];
const step = fc.tuple(fc.constantFrom(...KINDS, ...MORE), fc.nat(9), fc.nat(9));

describe("open files", () => {
  test("a limited disk answers as an unlimited one, whatever is renamed, removed or replaced meanwhile", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 3 }), async (steps, limit) => {
        const plain = await story(simulated().disk, steps);
        const limited = limitOpenFiles(simulated().disk, () => limit);
        expect(await story(limited, steps)).toEqual(plain);
      }),
      { numRuns: 300 },
    );
  });

  test("a file in the middle of an operation stays open, however many others are wanted", async () => {
    const { disk } = simulated(1);
    const limited = limitOpenFiles(disk, () => 2);
    const files = Array.from({ length: 8 }, (_, index) => limited.open(`/d/${index}`, "write"));
    await Promise.all(files.map((file, index) => file.write([bytes(`content ${index}`)], 0)));
    const reads = files.map((file) => readText(file));
    expect(await Promise.all(reads)).toEqual(files.map((_, index) => `content ${index}`));
    await Promise.all(files.map((file) => file.flush()));
    for (const file of files) await readText(file);
    expect(limited.openFiles()).toEqual({ open: 2, held: 8 });
    for (const file of files) file.close();
    expect(limited.openFiles()).toEqual({ open: 0, held: 0 });
  });

  test("what was written is flushed before its file is closed; when that fails the next flush says so", async () => {
    const { platter, disk } = simulated();
    const limited = limitOpenFiles(disk, () => 1);
    const flushed: string[] = [];
    let fault: DiskFault | undefined;
    platter.beforeOperation = ({ kind, path }: DiskOperation) => {
      if (kind !== "flush") return undefined;
      flushed.push(path);
      return fault;
    };
    const first = limited.open("/d/first", "write");
    const second = limited.open("/d/second", "write");
    await first.write([bytes("1")], 0);
    await second.write([bytes("2")], 0);
    expect(flushed).toEqual(["/d/first"]);
    expect(await readText(first)).toBe("1");
    expect(flushed).toEqual(["/d/first", "/d/second"]);
    // Once durable it is closed without another flush.
    await readText(second);
    expect(flushed.length).toBe(2);
    fault = { error: "EIO" };
    await first.write([bytes("11")], 0);
    await readText(second);
    expect(flushed.at(-1)).toBe("/d/first");
    fault = undefined;
    expect(() => first.flush()).toThrow("EIO");
    expect(() => first.flush()).toThrow("EIO");
    expect(await second.flush()).toBeUndefined();
  });

  test("one syncfs makes all of them durable", async () => {
    const { platter, disk } = simulated();
    const limited = limitOpenFiles(disk, () => 4);
    const files = Array.from({ length: 4 }, (_, index) => limited.open(`/d/${index}`, "write"));
    for (const file of files) await file.write([bytes("x")], 0);
    await limited.flushFileSystem?.("/d");
    let flushes = 0;
    platter.beforeOperation = ({ kind }) => void (kind === "flush" && flushes++);
    for (let index = 4; index < 8; index++) limited.open(`/d/${index}`, "write");
    expect([flushes, limited.openFiles().open]).toEqual([0, 4]);
  });

  test("too many for the system: what is idle is closed and the open tried again", () => {
    const { disk } = simulated();
    let open = 0;
    const narrow: Disk = Object.create(disk, {
      open: {
        value: (path: string, mode: "read" | "write") => {
          if (open >= 3) throw new DiskError("EMFILE", "open", path);
          const file = disk.open(path, mode);
          open += 1;
          return Object.create(file, { close: { value: () => void (open -= 1) } });
        },
      },
    });
    const limited = limitOpenFiles(narrow, () => 100);
    for (let index = 0; index < 10; index++) limited.open(`/d/${index}`, "write");
    expect(open).toBeLessThanOrEqual(3);
    expect(limited.openFiles().held).toBe(10);
  });

  test("on the real disk, by what the system counts", async () => {
    const root = mkdtempSync(`${tmpdir()}/odradek-open-files-`);
    try {
      const limited = limitOpenFiles(bunDisk(), () => 20);
      const files = Array.from({ length: 200 }, (_, index) => limited.open(`${root}/${index}`, "write"));
      const before = readdirSync("/proc/self/fd").length;
      for (const [index, file] of files.entries()) {
        await file.write([bytes(`content ${index}`)], 0);
        await file.flush();
      }
      for (const [index, file] of files.entries()) expect(await readText(file)).toBe(`content ${index}`);
      expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 5);
      expect(limited.openFiles().open).toBeLessThanOrEqual(20);
      for (const file of files) file.close();
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});
