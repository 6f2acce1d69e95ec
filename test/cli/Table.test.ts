import { expect, test } from "bun:test";
import { columns, report, SECONDS } from "../../src/cli/Table.ts";

const TITLES = columns("NAME", "START OFFSET", SECONDS, "PARTITIONS");
const ROWS = [
  ["a", 5, 61.25, ["t-0", "t-1"]],
  ["longer", null, 0, []],
];

test("a table's columns are as wide as their longest cell, what is not known is a dash", () => {
  expect(report("text", TITLES, ROWS)).toBe(
    `NAME    START OFFSET  SECONDS  PARTITIONS
a       5             61.3     t-0,t-1
longer  -             0.0      -
`,
  );
});

test("in JSON each row is an object of its own line, numbers are whole and what is not known is null", () => {
  expect(report("json", TITLES, ROWS)).toBe(
    `{"name":"a","startOffset":5,"seconds":61.25,"partitions":["t-0","t-1"]}
{"name":"longer","startOffset":null,"seconds":0,"partitions":[]}
`,
  );
  expect(report("json", TITLES, [])).toBe("");
});
