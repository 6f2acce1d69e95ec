/** The disk as one process has it: what is refused, what fails, and who is told of it. */
import { describe, expect, test } from "bun:test";
import type { DiskFault } from "../../actors/simulation/DiskFault.ts";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import type { DiskFile } from "../../src/platform/Disk.ts";
import { bytes, codeOf, instant, text } from "./support/InstantDisk.ts";

describe("AttachedDisk", () => {
  test("a flush that waits for a failing one fails too", () => {
    new Simulation({ seed: 6 }).run(async (world) => {
      const platter = world.makeDisk("d", { pendingChance: 0 });
      const process = world.process("p", { disk: platter });
      process.disk.makeDirectory("/d");
      const file = process.disk.open("/d/a", "write");
      file.write([bytes("AB")], 0);
      let flushes = 0;
      platter.beforeOperation = ({ kind }): DiskFault | undefined =>
        kind !== "flush" ? undefined : flushes++ === 0 ? { error: "EIO" } : { delayMs: 1 };
      const slow = { delayMs: 5, error: "EIO" } satisfies DiskFault;
      platter.beforeOperation = ({ kind }) => (kind === "flush" && flushes++ === 0 ? slow : undefined);
      const first = file.flush();
      const second = file.flush();
      const outcomes = await Promise.allSettled([first, second]);
      expect(outcomes.map((outcome) => outcome.status)).toEqual(["rejected", "rejected"]);
      await file.flush();
    });
  });

  test("any operation can be made to fail; a short write and a full disk say how much was taken", () => {
    const { platter, disk } = instant({ capacityBytes: 8 });
    const file = disk.open("/d/a", "write");
    const faults: Array<readonly [string, () => unknown]> = [
      ["write", () => file.write([bytes("x")], 0)],
      ["flush", () => file.flush()],
      ["truncate", () => file.truncate(0)],
      ["read", () => file.read(new Uint8Array(1), 0)],
      ["create", () => disk.open("/d/b", "write")],
      ["rename", () => disk.rename("/d/a", "/d/b")],
      ["remove", () => disk.remove("/d/a")],
      ["makeDirectory", () => disk.makeDirectory("/d/e")],
      ["flushDirectory", () => disk.flushDirectory("/d")],
      ["flushFileSystem", () => disk.flushFileSystem?.("/d")],
    ];
    for (const [kind, run] of faults) {
      platter.beforeOperation = (operation) => (operation.kind === kind ? { error: "EIO" } : undefined);
      expect(codeOf(run), kind).toBe("EIO");
    }
    expect([disk.list("/d"), file.size()]).toEqual([["a"], 0]);
    platter.beforeOperation = () => ({ short: 3 });
    expect(file.write([bytes("12345")], 0)).toBe(3);
    platter.beforeOperation = undefined;
    expect(file.write([bytes("abcdefgh")], 3)).toBe(5);
    expect(disk.freeBytes("/d")).toBe(0);
    expect(codeOf(() => file.write([bytes("i")], 8))).toBe("ENOSPC");
    expect(file.write([bytes("I")], 7)).toBe(1);
    expect(text(disk.readFile("/d/a"))).toBe("123abcdI");
  });

  test("a file closed in the middle of a read or a write is told", () => {
    for (const act of ["read", "write"] as const) {
      const run = (): void =>
        new Simulation({ seed: 1 }).run(async (world) => {
          const process = world.process("p", { disk: world.makeDisk("d", { pendingChance: 1 }) });
          process.disk.makeDirectory("/d");
          const file = process.disk.open("/d/a", "write");
          const acting = act === "read" ? file.read(new Uint8Array(4), 0) : file.write([bytes("x")], 0);
          file.close();
          await acting;
        });
      expect(run).toThrow(`closed in the middle of a ${act}`);
    }
  });

  test("a file used after close, and a chunk changed while the disk owns it, are told", async () => {
    const { disk } = instant();
    const file = disk.open("/d/a", "write");
    file.close();
    expect(() => file.write([bytes("x")], 0)).toThrow("after it was closed");
    const run = (): void =>
      new Simulation({ seed: 1 }).run(async (world) => {
        const process = world.process("p", { disk: world.makeDisk("d", { pendingChance: 1 }) });
        process.disk.makeDirectory("/d");
        const chunk = bytes("hello");
        const written = process.disk.open("/d/a", "write").write([chunk], 0);
        chunk[0] = 0;
        await written;
      });
    expect(run).toThrow("was changed while it belonged to the disk");
  });

  test("what cannot be done is refused by its code, and changes nothing", () => {
    const { platter, disk, owner } = instant();
    disk.makeDirectory("/d/full/inner");
    for (const name of ["c", "a", "b"]) disk.open(`/d/full/${name}`, "write");
    const before = platter.operations;
    const refused: Array<readonly [string, () => unknown]> = [
      ["ENOENT", () => disk.open("/d/none", "read")],
      ["OTHER", () => disk.open("/d/full", "write")],
      ["ENOENT", () => disk.rename("/d/none", "/d/some")],
      ["EEXIST", () => disk.rename("/d/other", "/d/full")],
      ["EEXIST", () => disk.makeDirectory("/d/full/a")],
      ["OTHER", () => disk.remove("/d/full")],
      ["OTHER", () => disk.readFile("/d/full")],
    ];
    disk.makeDirectory("/d/other");
    for (const [code, run] of refused) expect(codeOf(run), String(run)).toBe(code);
    disk.rename("/d/full/a", "/d/full/a");
    expect(platter.operations).toBe(before + 1);
    expect(disk.list("/d/full")).toEqual(["a", "b", "c", "inner"]);
    const file = disk.open("/d/full/a", "read");
    owner.alive = false;
    const deaf = [
      () => disk.open("/d/full/a", "read"),
      () => disk.exists("/d"),
      () => disk.fileSize("/d/full/a"),
      () => disk.modifiedAt("/d/full/a"),
      () => disk.list("/d"),
      () => disk.isDirectory("/d"),
      () => disk.rename("/d/full/a", "/d/full/b"),
      () => disk.remove("/d/full/a"),
      () => disk.removeDirectory("/d/full"),
      () => disk.readFile("/d/full/a"),
      () => disk.replaceFile("/d/full/a", bytes("x")),
      () => disk.freeBytes("/d"),
      () => disk.totalBytes("/d"),
      () => disk.lock("/d/lock"),
      () => file.size(),
      () => file.flush(),
    ];
    for (const run of deaf) expect(run, String(run)).toThrow("p is no more");
  });

  test("what a disk does in several steps is as many operations, each of which can fail", () => {
    const { platter, disk } = instant();
    disk.makeDirectory("/d/t/inner");
    for (const path of ["/d/t/a", "/d/t/inner/b"]) disk.open(path, "write");
    const seen: string[] = [];
    platter.beforeOperation = ({ kind, path }) => {
      seen.push(`${kind} ${path}`);
      return path === "/d/t/inner" ? { error: "EIO" } : undefined;
    };
    expect(codeOf(() => disk.removeDirectory("/d/t"))).toBe("EIO");
    expect(seen).toEqual(["remove /d/t/a", "remove /d/t/inner/b", "remove /d/t/inner"]);
    expect([disk.list("/d/t"), disk.list("/d/t/inner")]).toEqual([["inner"], []]);
    platter.beforeOperation = ({ kind }) => (kind === "read" ? { error: "EIO" } : undefined);
    const release = disk.lock("/d/lock");
    expect([release === undefined, disk.fileSize("/d/lock")]).toEqual([false, 0]);
    expect(codeOf(() => disk.readFile("/d/lock"))).toBe("EIO");
  });

  test("what is read is the reader's own, and without syncfs there is none", () => {
    const { disk } = instant();
    disk.replaceFile("/d/a", bytes("abc"));
    disk.readFile("/d/a")!.fill(0);
    const target = bytes("....");
    expect([disk.open("/d/a", "read").read(target, 1), text(target)]).toEqual([2, "bc.."]);
    expect(text(disk.readFile("/d/a"))).toBe("abc");
    const without = new SimulatedDisk({ random: new SeededRandom(1), syncfs: false });
    const user = { owner: { name: "p", alive: true }, after() {}, wall: () => 0, trace() {} };
    expect(without.attach(user).flushFileSystem).toBeUndefined();
  });

  test("replaceFile that fails says so and has the old content, and one whose flush lies may lose it", () => {
    const fails: Array<readonly [string, string, DiskFault]> = [
      ["write", "old", { error: "EIO" }],
      ["flush", "old", { error: "EIO" }],
      ["rename", "old", { error: "EIO" }],
      ["flushDirectory", "new", { error: "EIO" }],
    ];
    for (const [failing, left, fault] of fails) {
      const { platter, disk } = instant();
      disk.replaceFile("/d/c", bytes("old"));
      platter.beforeOperation = ({ kind }) => (kind === failing ? fault : undefined);
      expect(
        codeOf(() => disk.replaceFile("/d/c", bytes("new"))),
        failing,
      ).toBe("EIO");
      expect(text(disk.readFile("/d/c")), failing).toBe(left);
    }
    const small = instant({ capacityBytes: 8 });
    small.disk.replaceFile("/d/c", bytes("old"));
    expect(codeOf(() => small.disk.replaceFile("/d/c", bytes("longer")))).toBe("ENOSPC");
    expect(text(small.disk.readFile("/d/c"))).toBe("old");
    const { platter, disk } = instant();
    disk.open("/d/c.tmp", "write").write([bytes("left behind")], 0);
    platter.beforeOperation = ({ kind }) => (kind === "flush" ? { lie: true } : undefined);
    disk.replaceFile("/d/c", bytes("new"));
    expect(text(disk.readFile("/d/c"))).toBe("new");
    expect(text(platter.image("lost", new SeededRandom(1)).files().get("/d/c"))).toBe("");
  });

  test("a file knows when it was changed last, after a power cut too", () => {
    const { platter } = instant();
    let now = 1000;
    const user = { owner: { name: "q", alive: true }, after() {}, wall: () => now, trace() {} };
    const disk = platter.attach(user);
    const file = disk.open("/d/a", "write");
    const times = [disk.modifiedAt("/d/a")];
    const steps = [() => file.write([bytes("abc")], 0), () => file.truncate(1), () => file.flush()];
    for (const step of steps) {
      now += 1000;
      step();
      times.push(disk.modifiedAt("/d/a"));
    }
    expect(times).toEqual([1000, 2000, 3000, 3000]);
    expect(platter.image("kept", new SeededRandom(1)).attach(user).modifiedAt("/d/a")).toBe(3000);
  });

  describe("an operation that waits", () => {
    const waiting = (
      body: (process: SimulatedProcess, platter: SimulatedDisk, file: DiskFile) => Promise<void>,
    ): void => {
      for (let seed = 0; seed < 12; seed++) {
        new Simulation({ seed }).run(async (world) => {
          const platter = world.makeDisk("d", { pendingChance: 1, pageBytes: 1 });
          const process = world.process("p", { disk: platter });
          process.disk.makeDirectory("/d");
          await body(process, platter, process.disk.open("/d/a", "write"));
        });
      }
    };
    const after = (process: SimulatedProcess, ms: number): Promise<"silence"> =>
      new Promise((resolve) => process.clock.after(ms, () => resolve("silence")));

    test("has written a part before its answer, all at its answer, and says how much", () => {
      const early = new Set<string | undefined>();
      waiting(async (process, platter, file) => {
        const written = file.write([bytes("ABCD")], 0);
        early.add(text(process.disk.readFile("/d/a")));
        expect(await written).toBe(4);
        expect(text(process.disk.readFile("/d/a"))).toBe("ABCD");
        platter.beforeOperation = ({ kind }) => (kind === "write" ? { short: 2 } : undefined);
        expect(await file.write([bytes("EFGH")], 4)).toBe(2);
        expect(text(process.disk.readFile("/d/a"))).toBe("ABCDEF");
      });
      expect(early.size).toBeGreaterThan(2);
      for (const content of early) expect("ABCD").toStartWith(content!);
    });

    test("may never answer, or fail later, and has done nothing then", () => {
      waiting(async (process, platter, file) => {
        const attempts = [
          () => file.write([bytes("AB")], 0),
          () => file.read(new Uint8Array(2), 0),
          () => file.readAside(new Uint8Array(2), 0),
          () => file.flush(),
        ];
        platter.beforeOperation = () => ({ error: "EIO" });
        for (const attempt of attempts) {
          const answer = attempt();
          expect(answer, String(attempt)).toBeInstanceOf(Promise);
          expect(await Promise.resolve(answer).then(String, ({ code }) => code), String(attempt)).toBe("EIO");
        }
        platter.beforeOperation = () => ({ hang: true });
        for (const attempt of attempts) {
          const answer = attempt();
          expect(await Promise.race([answer, after(process, 1000)]), String(attempt)).toBe("silence");
        }
        expect(file.size()).toBe(0);
        file.close();
        expect(() => file.flush()).toThrow("after it was closed");
      });
    });

    test("aside is never answered at once", () => {
      const { disk } = instant();
      expect(disk.open("/d/a", "write").readAside(new Uint8Array(1), 0)).toBeInstanceOf(Promise);
    });

    test("is a flush that waits for the one before it, shares its failure, and has made nothing durable then", () => {
      waiting(async (_, platter, file) => {
        platter.settle();
        const faults: DiskFault[] = [{ delayMs: 20 }, { error: "EIO" }, { delayMs: 1 }];
        platter.beforeOperation = ({ kind }) => (kind === "flush" ? faults.shift() : { delayMs: 0 });
        await file.write([bytes("AB")], 0);
        const first = file.flush();
        await file.write([bytes("CD")], 2);
        const second = file.flush();
        await first;
        const third = file.flush();
        const outcomes = await Promise.allSettled([first, second, third]);
        expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
        expect(text(platter.image("lost", new SeededRandom(1)).files().get("/d/a"))).toBe("AB");
      });
    });
  });
});
