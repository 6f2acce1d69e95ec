/** The pinned Bun is found where npm leaves it: with install scripts blocked, run, or without the package. */
import { afterAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const directory = mkdtempSync(join(tmpdir(), "odradek-find-bun-"));
afterAll(() => rmSync(directory, { recursive: true }));

const SEPARATE = `node_modules/@oven/bun-${process.platform}-${process.arch === "arm64" ? "aarch64" : process.arch}`;
const PACKAGES = { "node_modules/bun/package.json": 0, [`${SEPARATE}/package.json`]: 0 };
const STUB = { "node_modules/bun/bin/bun.exe": 500 };
const MOVED = { "node_modules/bun/bin/bun.exe": 2 << 20 };

/** What is found in a project with files of these sizes: a path in it, or what the PATH is to have. */
const foundWith = async (files: Readonly<Record<string, number>>): Promise<string> => {
  const project = mkdtempSync(join(directory, "project-"));
  for (const [name, bytes] of Object.entries(files)) {
    const path = join(project, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, name.endsWith("json") ? "{}" : "");
    if (bytes > 0) truncateSync(path, bytes);
  }
  copyFileSync(join(import.meta.dir, "../../actors/testing/FindBun.ts"), join(project, "FindBun.ts"));
  const { findBun } = await import(join(project, "FindBun.ts"));
  return findBun().replace(`${project}/`, "");
};

describe("Bun is found", () => {
  test("on the PATH, when npm has none", async () => {
    expect(await foundWith({})).toBe("bun");
    expect(await foundWith({ ...PACKAGES, ...STUB })).toBe("bun");
  });

  test("in a package of its own, beside the stub of an install script that did not run", async () => {
    expect(await foundWith({ ...PACKAGES, ...STUB, [`${SEPARATE}/bin/bun`]: 1 })).toBe(`${SEPARATE}/bin/bun`);
  });

  test("in npm's package bun, where its install script has moved it", async () => {
    expect(await foundWith({ ...PACKAGES, ...MOVED })).toBe("node_modules/bun/bin/bun.exe");
  });
});
