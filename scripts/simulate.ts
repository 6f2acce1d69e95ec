/**
 * `bun run simulate`: runs scenarios under one seed after the other until stopped, or until one fails; for a failure it
 * prints the seed, the commit, the command that replays it, and the smallest failing variant it finds. What must stay
 * true: exit code 0 only when every seed held; a seed's run depends on (scenario, seed, commit, Bun) and on nothing here.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { SCENARIOS, scenarioOf } from "../actors/testing/Scenarios.ts";
import { MUTANTS, mutantOf } from "../test/simulation/support/Mutants.ts";
import { parseSimulateArguments, type Task } from "./simulate/Arguments.ts";
import { marksInSource } from "./simulate/Marks.ts";
import { runReal } from "./simulate/Real.ts";
import { commitOf, replay, replayCommand } from "./simulate/Replay.ts";
import { type SavedTotals, type Told, Totals } from "./simulate/Totals.ts";
import { runChildren, type Work, work } from "./simulate/Workers.ts";

const parsed = parseSimulateArguments(process.argv.slice(2));
if (parsed.kind !== "run") {
  if (parsed.kind === "help") process.stdout.write(parsed.text);
  else console.error(`odradek: ${parsed.message}`);
  process.exit(parsed.kind === "help" ? 0 : 2);
}
const { task, scenarios, minutes, jobs, json, ...options } = parsed.arguments;
const replayOptions = { trace: options.trace, json, budget: options.budget, mutant: options.mutant };

/** Ends the command where that is no campaign's file. */
const mergeFrom = (path: string, totals: Totals): void => {
  try {
    totals.merge(JSON.parse(readFileSync(path, "utf8")) as SavedTotals);
  } catch (error) {
    console.error(`odradek: ${path}: expected the totals of a campaign (--totals): ${(error as Error).message}`);
    process.exit(2);
  }
};

const saveTotals = (path: string, totals: Totals): void => {
  writeFileSync(`${path}.tmp`, `${JSON.stringify(totals, undefined, 1)}\n`);
  renameSync(`${path}.tmp`, path);
};

/** Seeds until the end, the time, a signal or the first failure. */
const explore = async (): Promise<boolean> => {
  const totals = new Totals();
  const file = options.totals;
  if (file !== undefined && existsSync(file)) mergeFrom(file, totals);
  const before = totals.seeds;
  totals.at(commitOf());
  totals.expect(marksInSource());
  const from = options.from ?? totals.next;
  const seeds = options.seeds ?? Number.MAX_SAFE_INTEGER;
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  const done = new Map<number, number>();
  let failed: Told | undefined;
  let shown = 0;
  let spent = 0;
  const keep = (): void => {
    totals.coreSeconds += (seconds() - spent) * jobs;
    spent = seconds();
    // The next seed is the first that not every scenario has run.
    while (done.get(totals.next) === scenarios.length) totals.next += 1;
    if (file !== undefined) saveTotals(file, totals);
  };
  totals.next = from;
  const job: Work = { scenarios, from, seeds, mutant: options.mutant };
  const whole = await runChildren(import.meta.path, job, {
    jobs,
    minutes,
    onRun: (run) => {
      totals.add(run);
      done.set(run.seed, (done.get(run.seed) ?? 0) + 1);
      if (performance.now() - shown > 500) {
        shown = performance.now();
        if (totals.seeds % 50 === 0) keep();
        const line = totals.progress(seconds(), jobs);
        if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 120) - 1)}`);
      }
      if (run.violations.length > 0) {
        failed ??= run;
        console.error(`\n${run.scenario} ${run.seed}: ${run.violations[0]}`);
      }
      return failed === undefined || options.keepGoing;
    },
  });
  if (process.stderr.isTTY) process.stderr.write("\n");
  keep();
  if (json) {
    const own = totals.seeds - before;
    const perSecond = own / seconds();
    console.log(
      JSON.stringify({
        ...totals.toJSON(),
        seconds: seconds(),
        perSecond,
        perSecondAndCore: perSecond / jobs,
        commit: commitOf(),
        ...(failed === undefined
          ? {}
          : {
              scenario: failed.scenario,
              seed: failed.seed,
              violations: failed.violations,
              replay: `${replayCommand(failed.scenario, failed.seed, options.mutant)} --trace`,
            }),
      }),
    );
  } else {
    console.log(totals.progress(seconds(), jobs));
    const { unreached } = totals;
    if (unreached.length > 0) console.log(`marks never reached: ${unreached.join(", ")}`);
    if (failed !== undefined && !options.keepGoing) await replay(failed.scenario, failed.seed, replayOptions);
  }
  return totals.failed === 0 && whole;
};

/** The same seeds in two sets of processes: equal traces, and nearly as many different ones as seeds. */
const checkDeterminism = async (seeds: number): Promise<boolean> => {
  const run = async (): Promise<Map<string, string>> => {
    const hashes = new Map<string, string>();
    const job: Work = { scenarios, from: options.from ?? 1, seeds };
    await runChildren(import.meta.path, job, {
      jobs: Math.max(1, jobs >> 1),
      onRun: ({ scenario, seed, hash }) => {
        hashes.set(`${scenario} ${seed}`, hash);
        return true;
      },
    });
    return hashes;
  };
  const [first, second] = await Promise.all([run(), run()]);
  const expected = seeds * scenarios.length;
  const different = [...first].filter(([name, hash]) => second.get(name) !== hash).map(([name]) => name);
  const distinct = new Set(first.values()).size;
  for (const name of different) console.log(`${name}: two processes, two traces`);
  console.log(
    `${first.size} of ${expected} seeds twice: ${first.size - different.length} byte-identical traces, ${distinct} distinct interleavings`,
  );
  return first.size === expected && different.length === 0 && distinct > 0.9 * expected;
};

/** Seeds to detection of every planted bug. */
const huntMutants = async (): Promise<boolean> => {
  const seeds = options.seeds ?? 2000;
  const from = options.from ?? 1;
  let all = true;
  console.log("| planted bug | scenario | seeds to detection | found as |\n|---|---|--:|---|");
  for (const { name, scenario } of MUTANTS) {
    if (options.mutant !== undefined && options.mutant !== name) continue;
    let found: Told | undefined;
    const job: Work = { scenarios: [scenario], from, seeds, mutant: name, stopAtFailure: true };
    await runChildren(import.meta.path, job, {
      jobs,
      onRun: (run) => {
        // Of two children the one with the smaller seed counts, as if there were only one.
        if (run.violations.length > 0 && (found === undefined || run.seed < found.seed)) found = run;
        return found === undefined || run.seed < found.seed;
      },
    });
    all &&= found !== undefined;
    const count = found === undefined ? `not in ${seeds}` : String(found.seed - from + 1);
    const what = found?.violations[0]?.slice(0, 90).replaceAll("|", "/") ?? "";
    console.log(`| ${name} | ${scenario} | ${count} | ${what} |`);
  }
  return all;
};

const mergeTotals = (files: ReadonlyArray<string>): boolean => {
  const totals = new Totals();
  for (const path of files) mergeFrom(path, totals);
  console.log(JSON.stringify(totals, undefined, 1));
  return totals.failed === 0;
};

/** One seed after the other against real processes; the trace of a failure is all there is to go by. */
const runForReal = async (only: number | undefined): Promise<boolean> => {
  const from = only ?? options.from ?? 1;
  const until = performance.now() + (minutes ?? Number.POSITIVE_INFINITY) * 60_000;
  const seeds = only === undefined ? (options.seeds ?? Number.MAX_SAFE_INTEGER) : 1;
  let failed = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    for (const name of scenarios) {
      if (performance.now() > until) return failed === 0;
      const { trace, ...run } = await runReal(scenarioOf(name), seed);
      const held = run.violations.length === 0;
      if (!held) failed += 1;
      const faults = Object.entries(run.faults).map(([kind, count]) => `${kind} ${count}`);
      const line = `${name} ${seed}: ${held ? "held" : "FAILED"}, ${run.seconds.toFixed(1)} s, ${run.operations} operations, ${faults.join(", ")}`;
      console.log(json ? JSON.stringify({ ...run, commit: commitOf() }) : line);
      if (options.trace || !held) for (const each of trace) console.log(`  ${each}`);
      if (!held) for (const each of run.violations) console.error(`${name} ${seed}: ${each}`);
      if (!held && !options.keepGoing) return false;
    }
  }
  return failed === 0;
};

const replayAll = async (seed: number): Promise<boolean> => {
  let all = true;
  for (const name of scenarios) if (!(await replay(name, seed, replayOptions))) all = false;
  return all;
};

/** Whatever is run here, or again here, has the bug that is asked for. */
const plant = (): void => {
  if (options.mutant !== undefined) mutantOf(options.mutant).plant();
};

const main = async (task: Exclude<Task, { type: "work" }>): Promise<boolean> => {
  switch (task.type) {
    case "list":
      for (const { name, about } of SCENARIOS) console.log(`${name.padEnd(20)} ${about}`);
      return true;
    case "merge":
      return mergeTotals(task.files);
    case "mutants":
      return huntMutants();
    case "determinism":
      return checkDeterminism(task.seeds);
    case "real":
      return runForReal(task.seed);
    case "replay":
      plant();
      return replayAll(task.seed);
    case "explore":
      plant();
      return explore();
  }
};

if (task.type !== "work") process.exit((await main(task)) ? 0 : 1);
const job = JSON.parse(task.job) as Work & { readonly index: number; readonly jobs: number };
if (job.mutant !== undefined) mutantOf(job.mutant).plant();
await work(job, job.index, job.jobs);
