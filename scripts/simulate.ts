/**
 * `bun run simulate`: runs scenarios under one seed after the other until stopped, or until one fails; for a failure it
 * prints the seed, the commit, the command that replays it, and the smallest failing variant it finds. What must stay
 * true: exit code 0 only when every seed held; a seed's run depends on (scenario, seed, commit, Bun) and on nothing here.
 *
 *   --scenario NAME    only that scenario; several with commas (default: all, in turn)
 *   --seeds N          seeds per scenario (default: no end)      --from N   the first seed (default 1)
 *   --minutes M        stop after so long                        --jobs N   processes (default 2)
 *   --seed N           replay one seed (of one scenario)         --trace    with its whole trace
 *   --budget N         runs to spend on a smaller variant of a failure (default 120)
 *   --keep-going       count failures instead of stopping at the first one
 *   --json             the totals as one JSON object at the end
 *   --totals FILE      go on from the totals in the file (made when it is not there), and keep them in it
 *   --merge FILES      add up totals and print them
 *   --determinism N    run N seeds of every scenario in two processes each: every trace must be the same
 *   --mutant NAME      with that planted bug (test/simulation/support/Mutants.ts)
 *   --mutants          how many seeds each planted bug takes to be found (at most --seeds, default 2000)
 *   --list             the scenarios
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { SCENARIOS, scenarioOf } from "../actors/testing/Scenarios.ts";
import { MUTANTS, mutantOf } from "../test/simulation/support/Mutants.ts";
import { commitOf, replay } from "./simulate/Replay.ts";
import { type SavedTotals, type Told, Totals } from "./simulate/Totals.ts";
import { runChildren, type Work, work } from "./simulate/Workers.ts";

const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    scenario: { type: "string" },
    seeds: { type: "string" },
    from: { type: "string" },
    minutes: { type: "string" },
    jobs: { type: "string", default: "2" },
    seed: { type: "string" },
    trace: { type: "boolean", default: false },
    budget: { type: "string", default: "120" },
    "keep-going": { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    totals: { type: "string" },
    merge: { type: "boolean", default: false },
    determinism: { type: "string" },
    mutants: { type: "boolean", default: false },
    mutant: { type: "string" },
    list: { type: "boolean", default: false },
    worker: { type: "string" },
  },
});

const numberOf = (name: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(value >= 0)) {
    console.error(`odradek: --${name} ${text}: a number from 0 on is allowed`);
    process.exit(2);
  }
  return value;
};

const names = options.scenario?.split(",").map((name) => scenarioOf(name).name) ?? SCENARIOS.map(({ name }) => name);
const jobs = Math.max(1, numberOf("jobs", options.jobs)!);
const minutes = numberOf("minutes", options.minutes);
const budget = numberOf("budget", options.budget)!;
const replayOptions = { trace: options.trace, json: options.json, budget };

const readTotals = (path: string): SavedTotals => JSON.parse(readFileSync(path, "utf8")) as SavedTotals;

const saveTotals = (path: string, totals: Totals): void => {
  writeFileSync(`${path}.tmp`, `${JSON.stringify(totals, undefined, 1)}\n`);
  renameSync(`${path}.tmp`, path);
};

/** Seeds until the end, the time, a signal or the first failure. */
const explore = async (): Promise<boolean> => {
  const totals = new Totals();
  const file = options.totals;
  if (file !== undefined && existsSync(file)) totals.merge(readTotals(file));
  const before = totals.seeds;
  totals.at(commitOf());
  const from = numberOf("from", options.from) ?? totals.next;
  const seeds = numberOf("seeds", options.seeds) ?? Number.MAX_SAFE_INTEGER;
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
    while (done.get(totals.next) === names.length) totals.next += 1;
    if (file !== undefined) saveTotals(file, totals);
  };
  totals.next = from;
  const job: Work = { scenarios: names, from, seeds };
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
      return failed === undefined || options["keep-going"];
    },
  });
  if (process.stderr.isTTY) process.stderr.write("\n");
  keep();
  if (options.json) {
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
          : { scenario: failed.scenario, seed: failed.seed, violations: failed.violations }),
      }),
    );
  } else {
    console.log(totals.progress(seconds(), jobs));
    const { unreached } = totals;
    if (unreached.length > 0) console.log(`marks never reached: ${unreached.join(", ")}`);
    if (failed !== undefined && !options["keep-going"]) replay(failed.scenario, failed.seed, replayOptions);
  }
  return totals.failed === 0 && whole;
};

/** The same seeds in two sets of processes: equal traces, and nearly as many different ones as seeds. */
const checkDeterminism = async (seeds: number): Promise<boolean> => {
  const run = async (): Promise<Map<string, string>> => {
    const hashes = new Map<string, string>();
    const job: Work = { scenarios: names, from: numberOf("from", options.from) ?? 1, seeds };
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
  const expected = seeds * names.length;
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
  const seeds = numberOf("seeds", options.seeds) ?? 2000;
  const from = numberOf("from", options.from) ?? 1;
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

const mergeTotals = (): boolean => {
  const totals = new Totals();
  for (const path of positionals) totals.merge(readTotals(path));
  console.log(JSON.stringify(totals, undefined, 1));
  return totals.failed === 0;
};

const main = async (): Promise<boolean> => {
  if (options.list) {
    for (const { name, about } of SCENARIOS) console.log(`${name.padEnd(20)} ${about}`);
    return true;
  }
  if (options.merge) return mergeTotals();
  if (options.mutants) return huntMutants();
  if (options.determinism !== undefined) return checkDeterminism(numberOf("determinism", options.determinism)!);
  if (options.seed === undefined) return explore();
  if (options.mutant !== undefined) mutantOf(options.mutant).plant();
  return names.map((name) => replay(name, Number(options.seed), replayOptions)).every((held) => held);
};

if (options.worker === undefined) process.exit((await main()) ? 0 : 1);
const job = JSON.parse(options.worker) as Work & { readonly index: number; readonly jobs: number };
if (job.mutant !== undefined) mutantOf(job.mutant).plant();
await work(job, job.index, job.jobs);
