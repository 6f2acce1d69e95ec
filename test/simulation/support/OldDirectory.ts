/** The recorded data directories that scenarios begin with, as MakeOldDirectory.ts has written them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { OldDirectory } from "../../../actors/simulation/ScenarioRun.ts";
import type { OldData } from "../../../actors/testing/OldData.ts";

export const FIXTURES = join(import.meta.dir, "../fixtures");

const known = new Map<string, OldDirectory>();

/** Read once; a run works on a copy of it. */
export const directoryOf = (name: string): OldDirectory => {
  const found = known.get(name);
  if (found !== undefined) return found;
  const root = join(FIXTURES, name, "data");
  const files = new Map<string, Uint8Array>();
  for (const path of [...new Bun.Glob("**").scanSync({ cwd: root })].sort())
    files.set(path, new Uint8Array(readFileSync(join(root, path))));
  const data = JSON.parse(readFileSync(join(FIXTURES, name, "contents.json"), "utf8")) as OldData;
  const directory = { files, data };
  known.set(name, directory);
  return directory;
};
