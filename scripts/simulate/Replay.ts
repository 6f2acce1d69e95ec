/** One seed again: its trace when asked for, and of a failure the smallest variant that still fails, to be read. */
import { type RunResult, runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { shrink } from "../../actors/simulation/Shrink.ts";
import { type Plan, planOf } from "../../actors/testing/Scenario.ts";
import { scenarioOf } from "../../actors/testing/Scenarios.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { directoryOf } from "../../test/simulation/support/OldDirectory.ts";
import { told } from "./Totals.ts";
import { watched } from "./Watched.ts";

const READ_LINES = 120;

export const commitOf = (): string => {
  const git = Bun.spawnSync(["git", "rev-parse", "--short=12", "HEAD"], { cwd: import.meta.dir, stderr: "ignore" });
  return git.success ? git.stdout.toString().trim() : "unknown";
};

/** `mutant`: the bug that was planted, without which the seed holds. */
export const replayCommand = (scenario: string, seed: number, mutant: string | undefined): string =>
  `bun run simulate --scenario ${scenario} --seed ${seed}${mutant === undefined ? "" : ` --mutant "${mutant}"`}`;

const describePlan = ({ clients, faults, knobs }: Plan): string =>
  [
    `clients: ${clients.map(({ id, kind, steps }) => `${kind} ${id} (${steps} steps)`).join(", ")}`,
    `faults: ${faults.map(({ id, kind, atMs, forMs, cut }) => `${id} ${kind}${cut ? ` ${cut}` : ""} at ${atMs} ms for ${forMs}`).join("; ") || "none"}`,
    `knobs: ${JSON.stringify(knobs)}`,
  ].join("\n");

/** What a person reads: no deliveries, and nothing behind the first thing that was wrong. */
const readable = ({ trace }: RunResult): string[] => {
  const seen = trace.filter((line) => !/^net .* (delivers|accepted|ends|closed|aborts)/.test(line));
  const first = seen.findIndex((line) => line.startsWith("VIOLATION"));
  return first < 0 ? seen : seen.slice(0, first + 1);
};

/** Prints (`json`: one object, nothing else); answers whether the seed held. `budget`: runs to spend on a smaller variant. */
export const replay = async (
  scenario: string,
  seed: number,
  options: {
    readonly trace: boolean;
    readonly json: boolean;
    readonly budget: number;
    readonly mutant: string | undefined;
  },
): Promise<boolean> => {
  const codecs = makeBunCodecs();
  const run = watched((plan, keepTrace) => runPlan(plan, { codecs, directoryOf, keepTrace }));
  const command = `${replayCommand(scenario, seed, options.mutant)} --trace`;
  const result = await run(planOf(scenarioOf(scenario), seed), options.trace);
  const held = result.violations.length === 0;
  if (options.json) {
    const least = held ? undefined : await shrink(result, run, options.budget);
    const smallest = least && { plan: least.plan, violations: least.violations };
    const trace = options.trace ? result.trace : undefined;
    console.log(JSON.stringify({ ...told(result), commit: commitOf(), replay: command, smallest, trace }));
    return held;
  }
  if (options.trace) for (const line of result.trace) console.log(line);
  if (held) {
    console.log(`scenario ${scenario}, seed ${seed}: held (trace ${result.hash})`);
    return true;
  }
  console.log(`\nscenario ${scenario}, seed ${seed} FAILED at commit ${commitOf()}`);
  for (const line of result.violations) console.log(`  ${line}`);
  console.log(`replay: ${command}`);
  const least = await shrink(result, run, options.budget);
  console.log(`\nthe smallest failing variant found:\n${describePlan(least.plan)}`);
  for (const line of least.violations) console.log(`  ${line}`);
  const lines = readable(await run(least.plan, true));
  console.log(
    `\nits trace without deliveries (the last ${Math.min(READ_LINES, lines.length)} of ${lines.length} lines):`,
  );
  for (const line of lines.slice(-READ_LINES)) console.log(`  ${line}`);
  return false;
};
