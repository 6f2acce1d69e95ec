/**
 * A directory of its own under the system's temporary one, removed by whoever made it or else when the process ends in
 * an orderly way.
 */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const left = new Set<string>();
let hooked = false;

const removeAll = (): void => {
  for (const path of left) fs.rmSync(path, { recursive: true, force: true });
  left.clear();
};

export const makeTemporaryDirectory = (prefix: string): { readonly path: string; remove(): void } => {
  const path = fs.mkdtempSync(join(tmpdir(), prefix));
  left.add(path);
  if (!hooked) process.on("exit", removeAll);
  hooked = true;
  return {
    path,
    remove: () => {
      left.delete(path);
      fs.rmSync(path, { recursive: true, force: true });
    },
  };
};
