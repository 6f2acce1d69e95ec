/** The `buggify` marks of production code, as its sources name them: a campaign says which of them it never reached. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";

const ROOT = join(import.meta.dir, "../..");
const MARK = /\bbuggify\("([^"]+)"/g;

export const marksInSource = (): string[] => {
  const marks = new Set<string>();
  for (const folder of ["src", "actors"]) {
    for (const path of new Glob(`${folder}/**/*.ts`).scanSync(ROOT)) {
      // The prelude explains marks and has none.
      if (path.endsWith("/Buggify.ts")) continue;
      for (const [, name] of readFileSync(join(ROOT, path), "utf8").matchAll(MARK)) marks.add(name!);
    }
  }
  return [...marks].sort();
};
