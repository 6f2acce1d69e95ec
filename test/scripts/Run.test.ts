/** The launcher: arguments, exit codes and signals go through it as if it were not there. */
import { afterAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
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

test("an installed package runs the Bun that an install script has moved, and simulates nothing", async () => {
  const installed = join(directory, "installed");
  const bin = join(installed, "node_modules", "bun", "bin");
  for (const folder of [bin, join(installed, "scripts")]) mkdirSync(folder, { recursive: true });
  copyFileSync(launcher, join(installed, "scripts", "run.mjs"));
  // Later than any Bun there is, so that no other will do.
  writeFileSync(join(installed, "package.json"), '{ "dependencies": { "bun": "99.0.0" } }');
  writeFileSync(join(bin, "..", "package.json"), '{ "name": "bun" }');
  const script = '#!/bin/sh\nif [ "$1" = --version ]; then echo 99.0.0; else echo "it ran $2"; fi\n';
  writeFileSync(join(bin, "bun.exe"), script, { mode: 0o755 });
  const run = (...args: string[]) =>
    Bun.spawnSync([process.execPath, join(installed, "scripts", "run.mjs"), ...args], {
      stdout: "pipe",
      stderr: "pipe",
    });
  expect(run("--port").stdout.toString()).toBe("it ran --port\n");
  const simulate = run("simulate", "--seeds", "2");
  expect(simulate.stderr.toString()).toContain("simulate is for a clone");
  expect(simulate.exitCode).toBe(1);
});
