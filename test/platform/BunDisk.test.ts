import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { bunDisk } from "../../src/platform/BunDisk.ts";
import { DiskError } from "../../src/platform/Disk.ts";
import { libc } from "../../src/platform/Libc.ts";

const root = mkdtempSync(`${tmpdir()}/odradek-disk-`);
afterAll(() => rmSync(root, { recursive: true, force: true }));

const disk = bunDisk();
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const failure = (action: () => unknown): unknown => {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("BunDisk", () => {
  test("writes vectors at a position and reads them back at once", async () => {
    const file = disk.open(`${root}/vectors`, "write");
    expect(await file.write([text("hello "), text("wide"), text(" world")], 3)).toBe(16);
    expect(file.size()).toBe(19);
    const target = new Uint8Array(30);
    expect(await file.read(target, 0)).toBe(19);
    expect(new TextDecoder().decode(target.subarray(3, 19))).toBe("hello wide world");
    expect(await file.read(target, 19)).toBe(0);
    expect(await file.read(target, 5000)).toBe(0);
    file.close();
  });

  test("a large file is gone at once, alone or with its folder, and its space is given back elsewhere", () => {
    const cpu = (): number => {
      const { user, system } = process.threadCpuUsage();
      return user + system;
    };
    const bytes = new Uint8Array(16 << 20).fill(1);
    /** CPU time of this thread for ten of them: it may be counted in ticks longer than one takes. */
    const spent = (prepare: () => string, remove: (path: string) => void): number => {
      const times = Array.from({ length: 10 }, () => {
        const path = prepare();
        const before = cpu();
        remove(path);
        const after = cpu();
        expect(disk.exists(path)).toBe(false);
        return after - before;
      });
      return times.reduce((sum, each) => sum + each);
    };
    const large = (): string => {
      writeFileSync(`${root}/large`, bytes);
      return `${root}/large`;
    };
    const folder = (): string => {
      disk.makeDirectory(`${root}/folder`);
      writeFileSync(`${root}/folder/large`, bytes);
      return `${root}/folder`;
    };
    const here = spent(large, (path) => rmSync(path));
    expect(spent(large, (path) => disk.remove(path))).toBeLessThan(here / 2);
    expect(spent(folder, (path) => disk.removeDirectory(path))).toBeLessThan(here / 2);
    disk.removeDirectory(`${root}/no folder`);
  });

  test("more chunks than a vector takes are a short write", async () => {
    const file = disk.open(`${root}/many`, "write");
    const chunks = Array.from({ length: 1500 }, () => text("ab"));
    expect(await file.write(chunks, 0)).toBe(2048);
    file.close();
  });

  test("a warm read is there at once, whatever its size", async () => {
    const file = disk.open(`${root}/warm`, "write");
    const bytes = new Uint8Array(3 * 1024 * 1024).map((_, at) => at % 251);
    await file.write([bytes], 0);
    const target = new Uint8Array(bytes.length);
    const read = file.read(target, 0);
    if (libc()?.readWarm !== undefined) expect(read).toBe(bytes.length);
    expect(await read).toBe(bytes.length);
    expect(Buffer.compare(target, bytes)).toBe(0);
    file.close();
  });

  test("a view into a larger array is read into its own place", async () => {
    const file = disk.open(`${root}/view`, "write");
    await file.write([text("0123456789")], 0);
    const whole = new Uint8Array(20);
    expect(await file.read(whole.subarray(5, 9), 2)).toBe(4);
    expect(whole).toEqual(new Uint8Array([0, 0, 0, 0, 0, ...text("2345"), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    file.close();
  });

  test("flushes a file, a directory and the file system without waiting on the event loop", async () => {
    const file = disk.open(`${root}/flushed`, "write");
    await file.write([text("x")], 0);
    const flushing = file.flush();
    expect(flushing).toBeInstanceOf(Promise);
    await flushing;
    await disk.flushDirectory(root);
    if (disk.flushFileSystem !== undefined) {
      await Promise.all([disk.flushFileSystem(root), disk.flushFileSystem(root)]);
      const missing: unknown = await Promise.resolve(disk.flushFileSystem(`${root}/none`)).catch((error) => error);
      expect(missing).toBeInstanceOf(DiskError);
    }
    file.close();
  });

  test("names: made, listed in order, renamed, removed", () => {
    disk.makeDirectory(`${root}/a/b/c`);
    for (const name of ["z", "m", "0"]) disk.replaceFile(`${root}/a/b/${name}`, text(name));
    expect(disk.list(`${root}/a/b`)).toEqual(["0", "c", "m", "z"]);
    expect(disk.list(`${root}/nowhere`)).toEqual([]);
    expect([disk.isDirectory(`${root}/a`), disk.isDirectory(`${root}/a/b/m`)]).toEqual([true, false]);
    disk.rename(`${root}/a/b/m`, `${root}/a/b/n`);
    expect([disk.exists(`${root}/a/b/m`), disk.exists(`${root}/a/b/n`)]).toEqual([false, true]);
    disk.remove(`${root}/a/b/n`);
    disk.remove(`${root}/a/b/n`);
    disk.removeDirectory(`${root}/a`);
    disk.removeDirectory(`${root}/a`);
    expect(disk.exists(`${root}/a`)).toBe(false);
  });

  test("replaces a small file whole and leaves no temporary one", () => {
    disk.replaceFile(`${root}/small`, text("long content"));
    disk.replaceFile(`${root}/small`, text("short"));
    expect(disk.readFile(`${root}/small`)).toEqual(Buffer.from("short"));
    expect(disk.list(root)).not.toContain("small.tmp");
    expect(disk.readFile(`${root}/none`)).toBeUndefined();
  });

  test("what the system refuses is a DiskError that says why", () => {
    const missing = failure(() => disk.open(`${root}/none/file`, "write"));
    expect(missing).toBeInstanceOf(DiskError);
    expect(missing).toMatchObject({ code: "ENOENT", operation: "open", path: `${root}/none/file` });
    expect(failure(() => disk.open(`${root}/none`, "read"))).toMatchObject({ code: "ENOENT" });
    expect(failure(() => disk.rename(`${root}/none`, `${root}/other`))).toMatchObject({ code: "ENOENT" });
    const file = disk.open(`${root}/read-only`, "write");
    file.close();
    file.close();
    const reader = disk.open(`${root}/read-only`, "read");
    expect(failure(() => reader.write([text("x")], 0))).toBeInstanceOf(DiskError);
    reader.close();
  });

  test("sizes, times and free space", async () => {
    const before = Date.now();
    disk.replaceFile(`${root}/sized`, text("12345"));
    expect(disk.fileSize(`${root}/sized`)).toBe(5);
    expect(Math.abs(disk.modifiedAt(`${root}/sized`)! - before)).toBeLessThan(10_000);
    expect([disk.fileSize(`${root}/none`), disk.modifiedAt(`${root}/none`)]).toEqual([undefined, undefined]);
    expect(disk.freeBytes(root)).toBeGreaterThan(0);
    const file = disk.open(`${root}/sized`, "write");
    file.truncate(2);
    expect(file.size()).toBe(2);
    file.close();
  });

  test("a lock excludes everyone else and ends with its process, however that ends", async () => {
    const path = `${root}/.lock`;
    const release = disk.lock(path)!;
    expect(disk.lock(path)).toBeUndefined();
    release();
    const module = new URL("../../src/platform/BunDisk.ts", import.meta.url).href;
    const script = `
      const { bunDisk } = await import(${JSON.stringify(module)});
      console.log(bunDisk().lock(${JSON.stringify(path)}) === undefined ? "refused" : "locked");
      setInterval(() => {}, 1000);
    `;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value).trim()).toBe("locked");
    expect(disk.lock(path)).toBeUndefined();
    child.kill("SIGKILL");
    await child.exited;
    const again = disk.lock(path);
    expect(again).toBeDefined();
    again!();
  });
});
