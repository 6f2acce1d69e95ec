/** The disk as one process has it: what is refused, what fails, and who is told of it. */
import { describe, expect, test } from "bun:test";
import type { DiskFault } from "../../actors/simulation/DiskFault.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
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
});
