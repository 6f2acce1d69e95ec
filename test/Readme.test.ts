import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { withApiTable } from "../scripts/api-table.ts";

test("the README's table of what works is what the code serves (bun scripts/api-table.ts writes it)", () => {
  const readme = readFileSync(join(import.meta.dir, "..", "README.md"), "utf8");
  expect(withApiTable(readme)).toBe(readme);
});
