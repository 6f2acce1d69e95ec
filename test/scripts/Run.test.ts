/** The launcher: arguments, exit codes and signals go through it as if it were not there. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const directory = mkdtempSync(join(tmpdir(), "odradek-run-"));
afterAll(() => rmSync(directory, { recursive: true }));
const launcher = join(import.meta.dir, "..", "..", "scripts", "run.mjs");

function launch(name: string, script: string, ...args: string[]) {
  const file = join(directory, `${name}.ts`);
  writeFileSync(file, script);
  return Bun.spawn([process.execPath, launcher, file, ...args], { stdout: "pipe", stderr: "pipe" });
}

test("arguments arrive and the exit code comes back", async () => {
  const child = launch("code", "console.log(JSON.stringify(process.argv.slice(2))); process.exit(7);", "--a", "b c");
  expect(await new Response(child.stdout).text()).toBe('["--a","b c"]\n');
  expect(await child.exited).toBe(7);
  expect(await new Response(child.stderr).text()).toBe("");
});

test.each(["SIGTERM", "SIGHUP", "SIGINT"] as const)("%s is passed on once", async (signal) => {
  const child = launch(
    signal,
    `let n = 0; process.on("${signal}", () => { if (++n === 1) setTimeout(() => process.exit(40 + n), 50); });
     setInterval(() => {}, 1000); console.log("ready");`,
  );
  await child.stdout.getReader().read();
  child.kill(signal);
  expect(await child.exited).toBe(41);
});

test("a child that dies of a signal is not taken for a success", async () => {
  const child = launch("killed", 'process.kill(process.pid, "SIGKILL");');
  expect(await child.exited).not.toBe(0);
});

test("the broker's own options reach it: --version answers and ends", async () => {
  const child = Bun.spawn([process.execPath, launcher, "--version"], { stdout: "pipe", stderr: "pipe" });
  expect(await new Response(child.stdout).text()).toMatch(/^odradek \d+\.\d+\.\d+ \(Kafka 4\.3\.1\)\n$/);
  expect(await child.exited).toBe(0);
});
