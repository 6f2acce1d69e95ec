/**
 * Where the pinned Bun is, asked from Node: in the npm package `bun` this one depends on, whose executables lie in
 * packages of their own until its install script has run, which moves one of them into it; else whatever `bun` the PATH has.
 */
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const LARGEST_STUB = 1 << 20;

export const findBun = (): string => {
  const system = process.platform === "win32" ? "windows" : process.platform;
  const cpu = process.arch === "arm64" ? "aarch64" : process.arch;
  const variants = existsSync("/etc/alpine-release") ? ["-musl", ""] : ["", "-musl"];
  try {
    const description = createRequire(import.meta.url).resolve("bun/package.json");
    const fromBun = createRequire(description);
    for (const variant of variants) {
      const found = executableIn(fromBun, `@oven/bun-${system}-${cpu}${variant}`);
      if (found !== undefined) return found;
    }
    // Called so on every platform. Without the install script a stub of a few lines that only fails.
    const moved = join(dirname(description), "bin", "bun.exe");
    if ((statSync(moved, { throwIfNoEntry: false })?.size ?? 0) > LARGEST_STUB) return moved;
  } catch {
    // Installed without its dependencies: the PATH may have one.
  }
  return "bun";
};

const executableIn = (from: NodeJS.Require, name: string): string | undefined => {
  try {
    const directory = dirname(from.resolve(`${name}/package.json`));
    const path = join(directory, "bin", process.platform === "win32" ? "bun.exe" : "bun");
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
};
