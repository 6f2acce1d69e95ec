/** The disk model's laws: what a power cut may and may not do. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { DiskFault } from "../../actors/simulation/DiskFault.ts";
import { POWER_CUTS, type PowerCut } from "../../actors/simulation/PowerCut.ts";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { bytes, codeOf, instant, text } from "./support/InstantDisk.ts";

/** What is at a path after every kind of power cut, over many draws. */
const after = (
  platter: SimulatedDisk,
  path: string,
  cuts: ReadonlyArray<PowerCut> = POWER_CUTS,
): Set<string | undefined> => {
  const found = new Set<string | undefined>();
  for (const cut of cuts) {
    for (let seed = 0; seed < 40; seed++) {
      found.add(
        text(
          platter
            .image(cut, new SeededRandom(`${cut} ${seed}`))
            .files()
            .get(path),
        ),
      );
    }
  }
  return found;
};

describe("SimulatedDisk", () => {
  test("what was flushed, with its name flushed, survives every power cut", () => {
    const { platter, disk } = instant();
    const file = disk.open("/d/a", "write");
    file.write([bytes("hello"), bytes(" world")], 0);
    file.flush();
    disk.flushDirectory("/d");
    expect([...after(platter, "/d/a")]).toEqual(["hello world"]);
  });

  test("without a flush of the directory the file itself may be missing", () => {
    const { platter, disk } = instant();
    const file = disk.open("/d/a", "write");
    file.write([bytes("hello")], 0);
    file.flush();
    expect(after(platter, "/d/a")).toEqual(new Set([undefined, "hello"]));
    expect([...after(platter, "/d/a", ["lost"])]).toEqual([undefined]);
    expect([...after(platter, "/d/a", ["kept"])]).toEqual(["hello"]);
  });

  test("unflushed bytes: lost, kept, torn at any byte, or reordered with zeros in the gaps", () => {
    const { platter, disk } = instant();
    const file = disk.open("/d/a", "write");
    disk.flushDirectory("/d");
    file.write([bytes("AB")], 0);
    file.flush();
    file.write([bytes("CD")], 2);
    file.write([bytes("EF")], 4);
    expect([...after(platter, "/d/a", ["lost"])]).toEqual(["AB"]);
    expect([...after(platter, "/d/a", ["kept"])]).toEqual(["ABCDEF"]);
    expect(after(platter, "/d/a", ["torn"])).toEqual(new Set(["AB", "ABC", "ABCD", "ABCDE", "ABCDEF"]));
    const reordered = after(platter, "/d/a", ["reordered"]);
    expect(reordered.has("AB\0\0EF")).toBe(true);
    for (const content of reordered) expect(content).toMatch(/^AB(|[C\0](|[D\0](|[E\0](|[F\0]))))$/);
    // The disk itself was only looked at.
    expect(text(disk.readFile("/d/a"))).toBe("ABCDEF");
  });

  test("a page is written back whole: of two writes to it the later never survives without the earlier", () => {
    const { platter, disk } = instant({ pageBytes: 512 });
    const file = disk.open("/d/a", "write");
    disk.flushDirectory("/d");
    file.write([bytes("AB")], 0);
    file.write([bytes("CD")], 2);
    const found = after(platter, "/d/a", ["reordered"]);
    expect(found).toEqual(new Set(["", "AB", "AB\0\0", "ABCD", "\0\0\0\0"]));
  });

  test("a flush covers what was written before it began, not what came during it", () => {
    new Simulation({ seed: 5 }).run(async (world) => {
      const platter = world.makeDisk("d", { pendingChance: 0, pageBytes: 1 });
      const process = world.process("p", { disk: platter });
      process.disk.makeDirectory("/d");
      const file = process.disk.open("/d/a", "write");
      platter.settle();
      file.write([bytes("AB")], 0);
      platter.beforeOperation = ({ kind }) => (kind === "flush" ? { delayMs: 10 } : undefined);
      const flushed = file.flush();
      expect(flushed).toBeInstanceOf(Promise);
      file.write([bytes("CD")], 2);
      file.write([bytes("x")], 0);
      expect([...after(platter, "/d/a", ["lost"])]).toEqual([""]);
      await flushed;
      expect([...after(platter, "/d/a", ["lost"])]).toEqual(["AB"]);
      expect([...after(platter, "/d/a", ["kept"])]).toEqual(["xBCD"]);
    });
  });

  test("after a failed flush its bytes read back, no later flush saves them, a power cut loses them", () => {
    const { platter, disk } = instant();
    const file = disk.open("/d/a", "write");
    disk.flushDirectory("/d");
    file.write([bytes("AB")], 0);
    file.flush();
    file.write([bytes("CD")], 2);
    platter.beforeOperation = ({ kind }) => (kind === "flush" ? { error: "EIO" } : undefined);
    expect(codeOf(() => file.flush())).toBe("EIO");
    platter.beforeOperation = undefined;
    expect(text(disk.readFile("/d/a"))).toBe("ABCD");
    file.flush();
    file.write([bytes("EF")], 4);
    file.flush();
    expect(text(disk.readFile("/d/a"))).toBe("ABCDEF");
    expect([...after(platter, "/d/a")]).toEqual(["AB\0\0EF"]);
    // Writing them again does.
    file.write([bytes("CD")], 2);
    file.flush();
    expect([...after(platter, "/d/a")]).toEqual(["ABCDEF"]);
  });

  test("replaceFile: the old or the new content whole, at every operation and in every power cut", () => {
    const { platter, disk } = instant();
    disk.replaceFile("/d/c", bytes("old"));
    expect([...after(platter, "/d/c")]).toEqual(["old"]);
    const seen = new Set<string | undefined>();
    let operations = 0;
    platter.beforeOperation = () => {
      operations += 1;
      for (const content of after(platter, "/d/c")) seen.add(content);
      return undefined;
    };
    disk.replaceFile("/d/c", bytes("newer"));
    expect(operations).toBe(5);
    expect(seen).toEqual(new Set(["old", "newer"]));
    platter.beforeOperation = undefined;
    expect([...after(platter, "/d/c")]).toEqual(["newer"]);
  });

  test("a rename is lost or done, never half, and durable after the directory's flush", () => {
    const { platter, disk } = instant();
    disk.replaceFile("/d/from", bytes("x"));
    disk.rename("/d/from", "/d/to");
    const names = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      names.add([...platter.image("mixed", new SeededRandom(seed)).files().keys()].join());
    }
    expect(names).toEqual(new Set(["/d/from", "/d/to"]));
    disk.flushDirectory("/d");
    expect([...after(platter, "/d/from")]).toEqual([undefined]);
    expect([...after(platter, "/d/to")]).toEqual(["x"]);
  });

  test("a removed directory comes back until its parent is flushed", () => {
    const { platter, disk } = instant();
    disk.makeDirectory("/d/topic-0");
    disk.replaceFile("/d/topic-0/log", bytes("x"));
    disk.flushDirectory("/d");
    disk.removeDirectory("/d/topic-0");
    expect(disk.exists("/d/topic-0")).toBe(false);
    expect(after(platter, "/d/topic-0/log")).toEqual(new Set(["x", undefined]));
    disk.flushDirectory("/d");
    expect([...after(platter, "/d/topic-0/log")]).toEqual([undefined]);
  });

  test("a truncation that nothing flushed is lost or done, a flushed one is done, and what it cut off reads as zeros", () => {
    const { platter, disk } = instant();
    const file = disk.open("/d/a", "write");
    file.write([bytes("ABCDEF")], 0);
    file.flush();
    disk.flushDirectory("/d");
    file.truncate(2);
    expect([...after(platter, "/d/a", ["lost"])]).toEqual(["ABCDEF"]);
    expect([...after(platter, "/d/a", ["kept"])]).toEqual(["AB"]);
    expect(after(platter, "/d/a", ["reordered"])).toEqual(new Set(["ABCDEF", "AB"]));
    file.truncate(4);
    expect(text(disk.readFile("/d/a"))).toBe("AB\0\0");
    file.flush();
    expect([...after(platter, "/d/a")]).toEqual(["AB\0\0"]);
  });

  test("what the kernel had just written is there by all its names", () => {
    const { platter, disk } = instant();
    for (const name of ["a", "b", "c", "d"]) disk.open(`/d/${name}`, "write").write([bytes(name)], 0);
    disk.remove("/d/b");
    for (let seed = 0; seed < 40; seed++)
      expect([...platter.image("kept", new SeededRandom(seed)).files().keys()]).toEqual(["/d/a", "/d/c", "/d/d"]);
  });

  test("flushFileSystem makes names and bytes durable", () => {
    const { platter, disk } = instant();
    disk.makeDirectory("/d/e");
    disk.open("/d/e/f", "write").write([bytes("deep")], 0);
    disk.flushFileSystem?.("/d");
    expect([...after(platter, "/d/e/f")]).toEqual(["deep"]);
  });

  test("kill -9 keeps everything readable, and readable is still not durable", () => {
    new Simulation({ seed: 2 }).run(async (world) => {
      const platter = world.makeDisk("d", { pendingChance: 0 });
      const first = world.process("first", { disk: platter });
      first.disk.makeDirectory("/d");
      platter.settle();
      const file = first.disk.open("/d/a", "write");
      file.write([bytes("AB")], 0);
      platter.beforeOperation = ({ kind }) => (kind === "flush" ? { hang: true } : undefined);
      const release = first.disk.lock("/d/.lock");
      expect(release).toBeDefined();
      void file.flush();
      first.kill();
      platter.beforeOperation = undefined;
      const second = world.process("second", { disk: platter });
      expect(text(second.disk.readFile("/d/a"))).toBe("AB");
      expect([...after(platter, "/d/a", ["lost"])]).toEqual([undefined]);
      expect(second.disk.lock("/d/.lock")).toBeDefined();
      expect(second.disk.lock("/d/.lock")).toBeUndefined();
      const again = second.disk.open("/d/a", "write");
      await again.flush();
      await second.disk.flushDirectory("/d");
      expect([...after(platter, "/d/a")]).toEqual(["AB"]);
    });
  });

  test("a power cut in the middle of a run: the process is deaf, the next one finds the image", () => {
    new Simulation({ seed: 9 }).run(async (world) => {
      const platter = world.makeDisk("d", { pendingChance: 1 });
      const first = world.process("first", { disk: platter });
      first.disk.makeDirectory("/d");
      const file = first.disk.open("/d/a", "write");
      platter.settle();
      await file.write([bytes("AB")], 0);
      await file.flush();
      let answered = false;
      void Promise.resolve(file.write([bytes("CD")], 2)).then(() => {
        answered = true;
      });
      first.powerCut("lost");
      const second = world.process("second", { disk: platter });
      await new Promise<void>((resolve) => second.clock.after(100, resolve));
      expect(answered).toBe(false);
      expect(text(second.disk.readFile("/d/a"))).toBe("AB");
    });
  });

  test("property: flushed bytes always survive, nothing that was never written appears, sizes stay in bounds", () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ kind: fc.constant("append" as const), length: fc.integer({ min: 1, max: 40 }) }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("flush" as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("cut" as const), back: fc.integer({ min: 0, max: 30 }) }) },
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 25 }),
        fc.constantFrom(...POWER_CUTS),
        fc.constantFrom(1, 8, 512),
        fc.nat(),
        (steps, cut, pageBytes, seed) => {
          const { platter, disk } = instant({ pageBytes });
          const file = disk.open("/d/a", "write");
          disk.flushDirectory("/d");
          let content = "";
          let durable = "";
          let lowest = 0;
          let highest = 0;
          let next = 1;
          for (const action of steps) {
            if (action.kind === "append") {
              const chunk = String.fromCharCode(1 + (next++ % 250)).repeat(action.length);
              file.write([bytes(chunk)], content.length);
              content += chunk;
            } else if (action.kind === "flush") {
              file.flush();
              durable = content;
              lowest = content.length;
              highest = content.length;
            } else {
              content = content.slice(0, Math.max(0, content.length - action.back));
              file.truncate(content.length);
              lowest = Math.min(lowest, content.length);
            }
            highest = Math.max(highest, content.length);
          }
          const found = text(platter.image(cut, new SeededRandom(seed)).files().get("/d/a"));
          if (found === undefined) throw new Error("the flushed name is gone");
          // Below every truncation since the last flush, the flushed bytes are there.
          expect(found.slice(0, lowest)).toBe(durable.slice(0, lowest));
          expect(found.length).toBeLessThanOrEqual(highest);
          if (cut === "kept") expect(found).toBe(content);
          if (cut === "lost") expect(found).toBe(durable);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("right after a failed flush no power cut keeps its bytes, and one that settled keeps all", () => {
    const { platter, disk } = instant();
    const file = disk.open("/d/a", "write");
    disk.flushDirectory("/d");
    file.write([bytes("AB")], 0);
    platter.beforeOperation = () => ({ error: "EIO" });
    expect(codeOf(() => file.flush())).toBe("EIO");
    platter.beforeOperation = undefined;
    expect([...after(platter, "/d/a", ["lost", "kept", "torn"])]).toEqual([""]);
    file.truncate(0);
    file.write([bytes("CD")], 0);
    platter.settle();
    expect([...after(platter, "/d/a")]).toEqual(["CD"]);
  });

  test("a directory's flush that fails or lies makes no name durable, and a slow one none that came during it", () => {
    new Simulation({ seed: 5 }).run(async (world) => {
      const platter = world.makeDisk("d", { pendingChance: 0 });
      const process = world.process("p", { disk: platter });
      const { disk } = process;
      disk.makeDirectory("/d");
      platter.settle();
      const names = (): string[] => [...platter.image("lost", new SeededRandom(1)).files().keys()];
      disk.open("/d/a", "write");
      const faults: DiskFault[] = [{ error: "EIO" }, { lie: true }, { delayMs: 10 }];
      platter.beforeOperation = ({ kind }) => (kind === "flushDirectory" ? faults.shift() : undefined);
      expect(codeOf(() => disk.flushDirectory("/d"))).toBe("EIO");
      disk.flushDirectory("/d");
      expect(names()).toEqual([]);
      const slow = disk.flushDirectory("/d");
      disk.open("/d/b", "write");
      expect(names()).toEqual([]);
      await slow;
      expect(names()).toEqual(["/d/a"]);
    });
  });

  test("a rename from one directory to another is in both or in neither, and durable by a flush of either", () => {
    for (const flushed of ["/d", "/e"]) {
      const { platter, disk } = instant();
      disk.makeDirectory("/e");
      disk.flushDirectory("/");
      disk.replaceFile("/d/a", bytes("x"));
      disk.rename("/d/a", "/e/a");
      const found = new Set<string>();
      for (const cut of POWER_CUTS) {
        for (let seed = 0; seed < 20; seed++)
          found.add([...platter.image(cut, new SeededRandom(seed)).files().keys()].join());
      }
      expect(found).toEqual(new Set(["/d/a", "/e/a"]));
      disk.flushDirectory(flushed);
      expect([...after(platter, "/d/a")]).toEqual([undefined]);
      expect([...after(platter, "/e/a")]).toEqual(["x"]);
    }
  });

  test("a directory that comes back may have lost some of what was in it", () => {
    const { platter, disk } = instant();
    disk.makeDirectory("/d/t");
    disk.flushDirectory("/d");
    for (const name of ["a", "b"]) disk.replaceFile(`/d/t/${name}`, bytes(name));
    disk.removeDirectory("/d/t");
    const found = new Set<string>();
    for (let seed = 0; seed < 60; seed++)
      found.add([...platter.image("torn", new SeededRandom(seed)).files().keys()].join());
    expect(found).toEqual(new Set(["/d/t/a,/d/t/b", "/d/t/b", ""]));
  });

  test("mixed loses one file and keeps another; what is left is durable, and does not depend on what was made first", () => {
    const made = (names: ReadonlyArray<string>): SimulatedDisk => {
      const { platter, disk } = instant();
      const files = names.map((name) => disk.open(`/d/${name}`, "write"));
      disk.flushDirectory("/d");
      for (const [at, file] of files.entries()) {
        file.write([bytes(names[at]!.repeat(2))], 0);
        file.write([bytes(names[at]!.repeat(2))], 2);
      }
      return platter;
    };
    const [one, other] = [made(["a", "b", "c"]), made(["c", "a", "b"])];
    const found = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const left = one.image("mixed", new SeededRandom(seed));
      const files = [...left.files()].map(([path, content]) => [path, text(content)]);
      const filesOf = (disk: SimulatedDisk) => [...disk.files()].map(([path, content]) => [path, text(content)]);
      expect(filesOf(other.image("mixed", new SeededRandom(seed)))).toEqual(files);
      for (const cut of POWER_CUTS) expect(filesOf(left.image(cut, new SeededRandom(seed)))).toEqual(files);
      found.add(String(files[0]![1]));
      if (files[0]![1] === "" && files[1]![1] === "bbbb") found.add("one lost, one kept");
    }
    expect(found).toContain("one lost, one kept");
    for (const content of ["", "aaa", "aaaa", "\0\0\0\0"]) expect(found).toContain(content);
  });

  test("syncfs answers when what others are still flushing is durable, and takes nothing back of what came later", () => {
    new Simulation({ seed: 5 }).run(async (world) => {
      const platter = world.makeDisk("d", { pendingChance: 0, pageBytes: 1 });
      const process = world.process("p", { disk: platter });
      process.disk.makeDirectory("/d");
      const file = process.disk.open("/d/a", "write");
      platter.settle();
      platter.beforeOperation = ({ kind }) =>
        kind === "flush" ? { delayMs: 10 } : kind === "flushFileSystem" ? { delayMs: 1 } : undefined;
      file.write([bytes("AB")], 0);
      const flushed = file.flush();
      file.write([bytes("CD")], 2);
      await process.disk.flushFileSystem?.("/d");
      expect([...after(platter, "/d/a", ["lost"])]).toEqual(["ABCD"]);
      await flushed;
      expect([...after(platter, "/d/a", ["lost"])]).toEqual(["ABCD"]);
    });
  });
});
