/**
 * `bun run simulate`: runs scenarios under one seed after the other until stopped, or until one fails; for a failure it
 * prints the seed, the commit, the command that replays it, and the smallest failing variant it finds. What must stay
 * true: exit code 0 only when every seed held; a seed's run depends on (scenario, seed, commit, Bun) and on nothing here.
 *
 *   --scenario NAME    only that scenario (default: all, in turn)
 *   --seeds N          seeds per scenario (default: no end)      --from N   the first seed (default 1)
 *   --minutes M        stop after so long                        --jobs N   processes (default 2)
 *   --seed N           replay one seed (of one scenario)         --trace    with its whole trace
 *   --budget N         runs to spend on a smaller variant of a failure (default 120)
 *   --json             one JSON object at the end (and one per failure)
 *   --mutant NAME      with that planted bug (test/simulation/support/Mutants.ts)
 *   --mutants          how many seeds each planted bug takes to be found (at most --seeds, default 200)
 */
import { parseArgs } from "node:util";
import { type Plan, planOf, SCENARIOS, scenarioOf } from "../actors/simulation/Scenario.ts";
import { type RunResult, runPlan } from "../actors/simulation/ScenarioRun.ts";
import { shrink } from "../actors/simulation/Shrink.ts";
import { keepTripwires } from "../actors/simulation/Tripwires.ts";
import { makeBunCodecs } from "../src/platform/BunCodecs.ts";
import { MUTANTS, mutantOf } from "../test/simulation/support/Mutants.ts";

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: {
    scenario: { type: "string" },
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    minutes: { type: "string" },
    jobs: { type: "string", default: "2" },
    seed: { type: "string" },
    trace: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    mutant: { type: "string" },
    budget: { type: "string", default: "120" },
    worker: { type: "string" },
  },
});

const codecs = makeBunCodecs();
const names = options.scenario === undefined ? SCENARIOS.map(({ name }) => name) : [scenarioOf(options.scenario).name];
const from = Number(options.from);

/** What a worker tells of one run, one line each. */
interface Told {
  readonly scenario: string;
  readonly seed: number;
  readonly hash: string;
  readonly violations: ReadonlyArray<string>;
  readonly simulatedMs: number;
  readonly operations: number;
  readonly faults: ReadonlyArray<readonly [string, number]>;
  readonly marks: ReadonlyArray<readonly [string, number]>;
}

const told = (result: RunResult): Told => ({
  scenario: result.plan.scenario,
  seed: result.plan.seed,
  hash: result.hash,
  violations: result.violations,
  simulatedMs: result.simulatedMs,
  operations: result.operations,
  faults: [...result.faults],
  marks: [...result.marks],
});

const commitOf = (): string => {
  const git = Bun.spawnSync(["git", "rev-parse", "--short=12", "HEAD"], { stderr: "ignore" });
  return git.success ? git.stdout.toString().trim() : "unknown";
};

const describePlan = (plan: Plan): string =>
  [
    `clients: ${plan.clients.map(({ id, kind, steps }) => `${kind} ${id} (${steps} steps)`).join(", ")}`,
    `faults: ${plan.faults.map(({ id, kind, atMs, forMs, cut }) => `${id} ${kind}${cut ? ` ${cut}` : ""} at ${atMs} ms for ${forMs}`).join("; ") || "none"}`,
  ].join("\n");

/** Replays, shrinks and explains one seed; answers whether it held. */
const replay = (scenario: string, seed: number): boolean => {
  const result = runPlan(planOf(scenarioOf(scenario), seed), { codecs, keepTrace: options.trace });
  if (options.json) console.log(JSON.stringify({ ...told(result), commit: commitOf() }));
  if (options.trace) for (const line of result.trace) console.log(line);
  if (result.violations.length === 0) {
    if (!options.json) console.log(`scenario ${scenario}, seed ${seed}: held (trace ${result.hash})`);
    return true;
  }
  console.log(`\nscenario ${scenario}, seed ${seed} FAILED at commit ${commitOf()}`);
  for (const line of result.violations) console.log(`  ${line}`);
  console.log(`replay: bun run simulate --scenario ${scenario} --seed ${seed} --trace`);
  const least = shrink(result, (plan) => runPlan(plan, { codecs }), Number(options.budget));
  console.log(`\nthe smallest failing variant found:\n${describePlan(least.plan)}`);
  for (const line of least.violations) console.log(`  ${line}`);
  const { trace } = runPlan(least.plan, { codecs, keepTrace: true });
  const seen = trace.filter((line) => !/^net .* (delivers|accepted|ends|closed|aborts)/.test(line));
  // What came after the first thing that was wrong explains nothing.
  const first = seen.findIndex((line) => line.startsWith("VIOLATION"));
  const readable = first < 0 ? seen : seen.slice(0, first + 1);
  console.log(
    `\nits trace without deliveries (the last ${Math.min(120, readable.length)} of ${readable.length} lines):`,
  );
  for (const line of readable.slice(-120)) console.log(`  ${line}`);
  return false;
};

/** A child: every `jobs`-th seed of every scenario, a line each, until it is told to stop. */
const work = (): void => {
  const [index = 0, jobs = 1] = options.worker!.split("/").map(Number);
  keepTripwires();
  const last = options.seeds === undefined ? Number.POSITIVE_INFINITY : from + Number(options.seeds);
  for (let seed = from + index; seed < last; seed += jobs) {
    for (const name of names) {
      const result = runPlan(planOf(scenarioOf(name), seed), { codecs });
      process.stdout.write(`${JSON.stringify(told(result))}\n`);
      if (options.mutant !== undefined && result.violations.length > 0) return;
    }
  }
};

/** Runs children and hands over what they tell, until all ended or `onRun` answers false. */
const campaign = async (jobs: number, args: string[], onRun: (run: Told) => boolean): Promise<boolean> => {
  const children = Array.from({ length: jobs }, (_, index) =>
    Bun.spawn([process.execPath, import.meta.path, ...args, "--worker", `${index}/${jobs}`], {
      stdout: "pipe",
      stderr: "inherit",
    }),
  );
  const stop = (): void => {
    for (const child of children) child.kill();
  };
  let stopped = false;
  const end = (): void => {
    stopped = true;
    stop();
  };
  const minutes = options.minutes === undefined ? undefined : setTimeout(end, Number(options.minutes) * 60_000);
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  await Promise.all(
    children.map(async (child) => {
      let rest = "";
      const decoder = new TextDecoder();
      for await (const chunk of child.stdout) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (!stopped && !onRun(JSON.parse(line) as Told)) end();
      }
    }),
  );
  const codes = await Promise.all(children.map((child) => child.exited));
  clearTimeout(minutes);
  // 143: ended by our own signal. Anything else is a child that broke.
  return codes.every((code) => code === 0 || (stopped && code === 143));
};

const explore = async (): Promise<boolean> => {
  const started = performance.now();
  const hashes = new Set<string>();
  const faults = new Map<string, number>();
  const marks = new Map<string, number>();
  let seeds = 0;
  let simulatedMs = 0;
  let operations = 0;
  let failed: Told | undefined;
  const figures = () => {
    const seconds = (performance.now() - started) / 1000;
    return {
      seeds,
      seconds,
      perSecond: seeds / seconds,
      simulatedHours: simulatedMs / 3_600_000,
      distinct: hashes.size,
    };
  };
  const progress = (): string => {
    const { perSecond, simulatedHours, distinct } = figures();
    const kinds = [...faults].map(([kind, count]) => `${kind} ${count}`).join(", ");
    return `${seeds} seeds, ${perSecond.toFixed(1)}/s, ${simulatedHours.toFixed(2)} h simulated, ${operations} operations, ${distinct} distinct traces; ${kinds}`;
  };
  const args = ["--from", options.from];
  if (options.scenario !== undefined) args.push("--scenario", options.scenario);
  if (options.seeds !== undefined) args.push("--seeds", options.seeds);
  let shown = 0;
  const whole = await campaign(Math.max(1, Number(options.jobs)), args, (run) => {
    seeds += 1;
    simulatedMs += run.simulatedMs;
    operations += run.operations;
    hashes.add(run.hash);
    for (const [kind, count] of run.faults) faults.set(kind, (faults.get(kind) ?? 0) + count);
    for (const [mark, count] of run.marks) marks.set(mark, (marks.get(mark) ?? 0) + count);
    if (process.stderr.isTTY && performance.now() - shown > 500) {
      shown = performance.now();
      process.stderr.write(`\r\x1b[K${progress().slice(0, (process.stderr.columns ?? 120) - 1)}`);
    }
    if (run.violations.length > 0) failed = run;
    return failed === undefined;
  });
  if (process.stderr.isTTY) process.stderr.write("\n");
  const unreached = [...marks].filter(([, count]) => count === 0).map(([mark]) => mark);
  if (options.json) {
    const { violations, scenario, seed } = failed ?? {};
    console.log(
      JSON.stringify({
        ...figures(),
        operations,
        faults: Object.fromEntries(faults),
        unreached,
        commit: commitOf(),
        scenario,
        seed,
        violations,
      }),
    );
  } else {
    console.log(progress());
    if (unreached.length > 0) console.log(`marks never reached: ${unreached.join(", ")}`);
    if (failed !== undefined) replay(failed.scenario, failed.seed);
  }
  return failed === undefined && whole;
};

/** Seeds to detection of every planted bug. */
const huntMutants = async (): Promise<boolean> => {
  const most = options.seeds ?? "200";
  let all = true;
  console.log("| planted bug | scenario | seeds to detection | found as |\n|---|---|--:|---|");
  for (const { name, scenario } of MUTANTS) {
    let found: Told | undefined;
    const args = ["--mutant", name, "--scenario", scenario, "--seeds", most, "--from", options.from];
    await campaign(1, args, (run) => {
      if (run.violations.length > 0) found = run;
      return found === undefined;
    });
    all &&= found !== undefined;
    const count = found === undefined ? `not in ${most}` : String(found.seed - from + 1);
    console.log(
      `| ${name} | ${scenario} | ${count} | ${found?.violations[0]?.slice(0, 90).replaceAll("|", "/") ?? ""} |`,
    );
  }
  return all;
};

if (options.mutant !== undefined) mutantOf(options.mutant).plant();
if (options.worker !== undefined) work();
else {
  const held = options.mutants
    ? await huntMutants()
    : options.seed === undefined
      ? await explore()
      : names.map((name) => replay(name, Number(options.seed))).every((each) => each);
  process.exit(held ? 0 : 1);
}
