/**
 * Where the pinned Bun is, asked from Node: in the npm package `bun` this one depends on, whose executables lie in
 * packages of their own and are there whether or not its install script ran; else whatever `bun` the PATH has.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export const findBun = (): string => {
  const system = process.platform === "win32" ? "windows" : process.platform;
  const cpu = process.arch === "arm64" ? "aarch64" : process.arch;
  const variants = existsSync("/etc/alpine-release") ? ["-musl", ""] : ["", "-musl"];
  try {
    const fromBun = createRequire(createRequire(import.meta.url).resolve("bun/package.json"));
    for (const variant of variants) {
      const found = executableIn(fromBun, `@oven/bun-${system}-${cpu}${variant}`);
      if (found !== undefined) return found;
    }
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
