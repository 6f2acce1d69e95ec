/** PROTOCOL.md names every verb, frame and close code that the code knows, and nothing that it does not. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { CloseCode } from "../../src/gateway/Messages.ts";
import { verbs } from "../../src/gateway/Verbs.ts";

const document = readFileSync(`${import.meta.dir}/../../src/gateway/PROTOCOL.md`, "utf8");

test("the verbs are those of the table, each with all fields of its body", () => {
  const rows = [...document.matchAll(/^\| `(\w+\.\w+)` \| `(\{.*?\})`/gm)].map(([, name, body]) => ({
    name,
    body: body!,
  }));
  expect(rows.map(({ name }) => name!).sort()).toEqual(verbs.map(({ name }) => name).sort());
  for (const { name, body } of rows) {
    const { schema } = verbs.find((verb) => verb.name === name)!.body;
    const fields = [...body.matchAll(/(?<=[{ ])(\w+)\??(?=[:,}])/g)].map(([, field]) => field!);
    const required = [...body.matchAll(/(?<=[{ ])(\w+)(?=[:,}])/g)].map(([, field]) => field!);
    for (const field of Object.keys(schema.properties ?? {})) expect(`${name}: ${fields.join()}`).toContain(field);
    for (const field of (schema.required ?? []) as string[]) expect(`${name}: ${required.join()}`).toContain(field);
  }
});

test("the close codes are those of the table", () => {
  const table = [...document.matchAll(/^\| ([\d, ]+) \| (?:client|server|either) \|/gm)]
    .flatMap(([, codes]) => codes!.split(", "))
    .map(Number);
  // 1006 is what a browser says of a connection that ended without a code.
  const ours = Object.values(CloseCode).filter((code) => code !== CloseCode.ABNORMAL);
  expect(table.sort()).toEqual([...ours].sort());
});
