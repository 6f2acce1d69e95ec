/** One seed again: its trace when asked for, and of a failure the smallest variant that still fails, to be read. */
import { type RunResult, runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { shrink } from "../../actors/simulation/Shrink.ts";
import { type Plan, planOf } from "../../actors/testing/Scenario.ts";
import { scenarioOf } from "../../actors/testing/Scenarios.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { directoryOf } from "../../test/simulation/support/OldDirectory.ts";
import { told } from "./Totals.ts";

const READ_LINES = 120;

export const commitOf = (): string => {
  const git = Bun.spawnSync(["git", "rev-parse", "--short=12", "HEAD"], { cwd: import.meta.dir, stderr: "ignore" });
  return git.success ? git.stdout.toString().trim() : "unknown";
};

export const replayCommand = (scenario: string, seed: number): string =>
  `bun run simulate --scenario ${scenario} --seed ${seed}`;

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

/** Prints; answers whether the seed held. `budget`: runs to spend on a smaller variant. */
export const replay = (
  scenario: string,
  seed: number,
  options: { readonly trace: boolean; readonly json: boolean; readonly budget: number },
): boolean => {
  const codecs = makeBunCodecs();
  const result = runPlan(planOf(scenarioOf(scenario), seed), { codecs, directoryOf, keepTrace: options.trace });
  if (options.json) console.log(JSON.stringify({ ...told(result), commit: commitOf() }));
  if (options.trace) for (const line of result.trace) console.log(line);
  if (result.violations.length === 0) {
    if (!options.json) console.log(`scenario ${scenario}, seed ${seed}: held (trace ${result.hash})`);
    return true;
  }
  console.log(`\nscenario ${scenario}, seed ${seed} FAILED at commit ${commitOf()}`);
  for (const line of result.violations) console.log(`  ${line}`);
  console.log(`replay: ${replayCommand(scenario, seed)} --trace`);
  const least = shrink(result, (plan) => runPlan(plan, { codecs, directoryOf }), options.budget);
  console.log(`\nthe smallest failing variant found:\n${describePlan(least.plan)}`);
  for (const line of least.violations) console.log(`  ${line}`);
  const lines = readable(runPlan(least.plan, { codecs, directoryOf, keepTrace: true }));
  console.log(
    `\nits trace without deliveries (the last ${Math.min(READ_LINES, lines.length)} of ${lines.length} lines):`,
  );
  for (const line of lines.slice(-READ_LINES)) console.log(`  ${line}`);
  return false;
};
