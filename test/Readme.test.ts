import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { withApiTable } from "../scripts/api-table.ts";
import { startRealBroker, temporaryDirectory } from "./support/RealBroker.ts";

const top = join(import.meta.dir, "..");

test("the README's table of what works is what the code serves (bun scripts/api-table.ts writes it)", () => {
  const readme = readFileSync(join(top, "README.md"), "utf8");
  expect(withApiTable(readme)).toBe(readme);
});

test("the README's command lines do what it says", async () => {
  const [, script] =
    /## Command line[\s\S]*?```sh\n([\s\S]*?)```/.exec(readFileSync(join(top, "README.md"), "utf8")) ?? [];
  using directory = temporaryDirectory();
  await using broker = await startRealBroker(directory.path);
  const { host, port } = broker.broker.listeners[0]!.endpoint;
  const odradek = `odradek() { "${process.execPath}" "${join(top, "scripts", "run.mjs")}" "$@"; }`;
  const child = Bun.spawn(["bash", "-euo", "pipefail", "-c", `${odradek}\n${script}`], {
    env: { ...process.env, ODRADEK_BROKERS: `${host}:${port}` },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  expect(stdout).toContain('"headers":[["source","readme"]],"key":"k1","payload":"first"}');
  expect(stdout).toMatch(/^orders \[\d\] k2=second \d{4}-\d\d-\d\d$/m);
  expect(stdout).toContain("billing: Empty, classic protocol, 0 members");
  const copied = await Promise.all([0, 1, 2].map((partition) => broker.client.readAll("copy", partition)));
  expect(
    copied
      .flat()
      .map(({ value }) => new TextDecoder().decode(value!))
      .sort(),
  ).toEqual(["first", "second"]);
}, 30_000);
