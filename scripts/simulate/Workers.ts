/**
 * Runs of seeds in child processes, each with every so-manieth seed, a line of JSON per run. What must stay true: which
 * process runs a seed makes no difference; a child that breaks is told apart from one that was ended.
 */
import { runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { keepTripwires } from "../../actors/simulation/Tripwires.ts";
import { planOf } from "../../actors/testing/Scenario.ts";
import { scenarioOf } from "../../actors/testing/Scenarios.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { directoryOf } from "../../test/simulation/support/OldDirectory.ts";
import { type Told, told } from "./Totals.ts";
import { watched } from "./Watched.ts";

export interface Work {
  readonly scenarios: ReadonlyArray<string>;
  readonly from: number;
  /** Seeds per scenario. */
  readonly seeds: number;
  readonly mutant?: string | undefined;
  /** A child ends at its first failure. */
  readonly stopAtFailure?: boolean;
}

/** What a child does: `index` of `jobs`. */
export const work = async (
  { scenarios, from, seeds, stopAtFailure }: Work,
  index: number,
  jobs: number,
): Promise<void> => {
  keepTripwires();
  const parent = process.ppid;
  const codecs = makeBunCodecs();
  const run = watched((plan) => runPlan(plan, { codecs, directoryOf }));
  for (let seed = from + index; seed < from + seeds; seed += jobs) {
    for (const name of scenarios) {
      // A parent that was killed could end nobody.
      if (process.ppid !== parent) return;
      const result = await run(planOf(scenarioOf(name), seed));
      process.stdout.write(`${JSON.stringify(told(result))}\n`);
      if (stopAtFailure === true && result.violations.length > 0) return;
    }
  }
};

export interface Children {
  readonly jobs: number;
  readonly minutes?: number | undefined;
  /** Called for every run; false ends all children. */
  readonly onRun: (run: Told) => boolean;
}

/** Runs children until all have ended; false when one broke. */
export const runChildren = async (script: string, job: Work, { jobs, minutes, onRun }: Children): Promise<boolean> => {
  const children = Array.from({ length: jobs }, (_, index) =>
    Bun.spawn([process.execPath, script, "--worker", JSON.stringify({ ...job, index, jobs })], {
      stdout: "pipe",
      stderr: "inherit",
    }),
  );
  let stopped = false;
  const end = (): void => {
    stopped = true;
    for (const child of children) child.kill();
  };
  const timer = minutes === undefined ? undefined : setTimeout(end, minutes * 60_000);
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
  clearTimeout(timer);
  process.off("SIGINT", end);
  process.off("SIGTERM", end);
  // 143: ended by our own signal, 130: by the same Ctrl-C as we. Anything else is a child that broke.
  return codes.every((code) => code === 0 || (stopped && (code === 143 || code === 130)));
};
