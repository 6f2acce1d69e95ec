/** `bun run simulate` on a terminal: what it says while it runs, and that Ctrl-C is an end like any other. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { planOf } from "../../actors/testing/Scenario.ts";
import { scenarioOf } from "../../actors/testing/Scenarios.ts";
import { Totals, told } from "../../scripts/simulate/Totals.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";

const SCRIPT = join(import.meta.dir, "../../scripts/simulate.ts");
const COLUMNS = 90;
const LINE =
  /^(?<seeds>\d+) seeds, (?<rate>[\d.]+)\/s \([\d.]+ per core\), (?<hours>[\d.]+) h simulated, (?<operations>\d+) operations, (?<distinct>\d+) distinct interleavings, (?<faultCount>\d+) faults: (?<faults>.+)$/;

test("progress goes over one line of a terminal, and the last one has the sum of it, also when Ctrl-C ends it", async () => {
  let out = "";
  const shown = Promise.withResolvers<void>();
  const child = Bun.spawn([process.execPath, SCRIPT, "--scenario", "small", "--jobs", "1"], {
    terminal: {
      cols: COLUMNS,
      rows: 24,
      data: (_, bytes) => {
        out += Buffer.from(bytes).toString("latin1");
        if (out.split("\r\x1b[K").length > 2) shown.resolve();
      },
    },
  });
  await shown.promise;
  child.terminal!.write("\x03");
  expect(await child.exited).toBe(0);
  const [progress, , ...rest] = [out.slice(0, out.indexOf("^C")), ...out.slice(out.indexOf("^C")).split("\r\n")];
  const lines = progress!.split("\r\x1b[K").slice(1);
  expect(lines.length).toBeGreaterThanOrEqual(2);
  const counts = lines.map((line) => {
    expect(line).toHaveLength(COLUMNS - 1);
    const head = /^(\d+) seeds, [\d.]+\/s \([\d.]+ per core\), [\d.]+ h simulated, \d+ operations, /.exec(line);
    return Number(head?.[1]);
  });
  expect(counts).toEqual([...new Set(counts)].sort((a, b) => a - b));
  const { seeds, rate, hours, operations, distinct, faultCount, faults } = LINE.exec(rest[0]!)!.groups!;
  const codecs = makeBunCodecs();
  const totals = new Totals();
  for (let seed = 1; seed <= Number(seeds); seed++)
    totals.add(told(runPlan(planOf(scenarioOf("small"), seed), { codecs })));
  const expected = totals.toJSON();
  expect(Number(seeds)).toBeGreaterThanOrEqual(counts.at(-1)!);
  expect(Number(rate)).toBeGreaterThan(0);
  expect(Number(hours)).toBeCloseTo(expected.simulatedHours, 2);
  expect(Number(operations)).toBe(expected.operations);
  expect(Number(distinct)).toBe(expected.distinct);
  expect(Number(faultCount)).toBe(expected.faultCount);
  const kinds = faults!.split(", ").map((one) => /^(.+) (\d+)$/.exec(one)!);
  expect(Object.fromEntries(kinds.map(([, kind, count]) => [kind, Number(count)]))).toEqual(expected.faults);
}, 60_000);

test("nobody's terminal gets nothing but the sum; time that is up ends all of it", async () => {
  const args = ["--scenario", "small", "--seeds", "1000000", "--minutes", "0.05", "--jobs", "1"];
  const child = Bun.spawn([process.execPath, SCRIPT, ...args], { stdout: "pipe", stderr: "pipe" });
  const [out, told] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect(await child.exited).toBe(0);
  expect(told).toBe("");
  expect(out.split("\n")[0]).toMatch(LINE);
}, 60_000);

test("a worker whose parent was killed ends: nobody would hear of what it finds", async () => {
  const job = JSON.stringify({ scenarios: ["small"], from: 1, seeds: 1_000_000, index: 0, jobs: 1 });
  const parent = `
    const worker = Bun.spawn(${JSON.stringify([process.execPath, SCRIPT, "--worker", job])}, { stdout: "pipe", stderr: "ignore" });
    for await (const _ of worker.stdout) if (_.length > 0) console.log(worker.pid);`;
  const child = Bun.spawn([process.execPath, "-e", parent], { stdout: "pipe" });
  const { value } = await child.stdout.getReader().read();
  const worker = Number.parseInt(new TextDecoder().decode(value), 10);
  child.kill("SIGKILL");
  await child.exited;
  const isThere = (): boolean => {
    try {
      return process.kill(worker, 0);
    } catch {
      return false;
    }
  };
  try {
    for (let waits = 0; waits < 200 && isThere(); waits++) await Bun.sleep(50);
    expect(isThere()).toBe(false);
  } finally {
    if (isThere()) process.kill(worker, "SIGKILL");
  }
}, 30_000);
