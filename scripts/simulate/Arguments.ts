/** The command line of `bun run simulate`: text in, a decision out. Nothing is printed, read or ended here. */
import { SCENARIOS } from "../../actors/testing/Scenarios.ts";
import {
  endingFlag,
  flag,
  oneOf,
  type Parsed,
  parsedBy,
  readArguments,
  UsageError,
  valued,
  wholeNumber,
} from "../../src/cli/Arguments.ts";
import { MUTANTS } from "../../test/simulation/support/Mutants.ts";
import { REAL_SCENARIOS } from "./Real.ts";

/** What is to be done with the scenarios. */
export type Task =
  | { readonly type: "list" }
  /** Adds up the totals in the files. */
  | { readonly type: "merge"; readonly files: ReadonlyArray<string> }
  | { readonly type: "mutants" }
  | { readonly type: "determinism"; readonly seeds: number }
  | { readonly type: "replay"; readonly seed: number }
  | { readonly type: "explore" }
  /** Against a real process: one seed, or one after the other. */
  | { readonly type: "real"; readonly seed: number | undefined }
  /** A child of one of these, with its work as JSON. */
  | { readonly type: "work"; readonly job: string };

export interface SimulateOptions {
  readonly task: Task;
  /** Names of scenarios. */
  readonly scenarios: ReadonlyArray<string>;
  readonly seeds: number | undefined;
  readonly from: number | undefined;
  readonly minutes: number | undefined;
  readonly jobs: number;
  /** Runs to spend on a smaller variant of a failure. */
  readonly budget: number;
  readonly trace: boolean;
  readonly json: boolean;
  readonly keepGoing: boolean;
  /** File the totals are kept in. */
  readonly totals: string | undefined;
  /** A planted bug. */
  readonly mutant: string | undefined;
}

export const SIMULATE_HELP = `Runs whole brokers with clients, disks, networks and clocks in one process, seed by seed, until one fails.

Usage: bun run simulate [OPTIONS]         (also: odradek simulate, in a clone)

  --scenario NAMES    only these, with commas (default: all, in turn)
  --list              the scenarios
  --seeds N           seeds per scenario (default: no end)
  --from N            the first of them (default 1)
  --minutes M         stop after so long
  --jobs N            processes (default 2)
  --keep-going        count failures instead of stopping at the first one
  --json              the totals as one JSON object at the end
  --totals FILE       go on from the totals in the file, and keep them in it
  --merge FILES       add up totals and print them

  --seed N            replay one seed
  --trace             with its whole trace
  --budget N          runs to spend on a smaller variant of a failure (default 120)

  --determinism N     run N seeds of every scenario in two processes each: every trace must be the same
  --mutants           how many seeds each planted bug takes to be found (at most --seeds, default 2000)
  --mutant NAME       only that bug; with --seed: replay with it
  --real              against a real broker process that is killed and stopped, over TCP
  --help              print this

The exit code is 0 when every seed held, 1 when one failed, 2 when the command line was wrong.
`;

const options = {
  scenario: valued("--scenario"),
  seeds: valued("--seeds"),
  from: valued("--from"),
  minutes: valued("--minutes"),
  jobs: valued("--jobs"),
  seed: valued("--seed"),
  trace: flag("--trace"),
  budget: valued("--budget"),
  keepGoing: flag("--keep-going"),
  json: flag("--json"),
  totals: valued("--totals"),
  merge: flag("--merge"),
  determinism: valued("--determinism"),
  mutants: flag("--mutants"),
  mutant: valued("--mutant"),
  real: flag("--real"),
  list: flag("--list"),
  worker: valued("--worker"),
  help: endingFlag("--help", "-h"),
};

export const parseSimulateArguments = (args: ReadonlyArray<string>): Parsed<SimulateOptions> =>
  parsedBy("bun run simulate", () => {
    const given = readArguments(args, options);
    if (given.has("help")) return { kind: "help", text: SIMULATE_HELP };
    const whole = (name: keyof typeof options, least = 0): number | undefined => {
      const text = given.last(name);
      return text === undefined ? undefined : wholeNumber(text, options[name].names[0]!, least);
    };
    const task = ((): Task => {
      const seed = whole("seed");
      const determinism = whole("determinism", 1);
      if (given.has("worker")) return { type: "work", job: given.last("worker")! };
      if (given.has("list")) return { type: "list" };
      if (given.has("merge")) return { type: "merge", files: given.words };
      if (given.has("mutants")) return { type: "mutants" };
      if (determinism !== undefined) return { type: "determinism", seeds: determinism };
      if (given.has("real")) return { type: "real", seed };
      return seed === undefined ? { type: "explore" } : { type: "replay", seed };
    })();
    const [word] = given.words;
    if (word !== undefined && task.type !== "merge") throw new UsageError(`unexpected argument ${word}`);
    const mutant = given.last("mutant");
    if (mutant !== undefined)
      oneOf(
        mutant,
        "--mutant",
        MUTANTS.map(({ name }) => name),
      );
    const minutes = given.last("minutes");
    if (minutes !== undefined && !(Number(minutes) > 0))
      throw new UsageError(`--minutes ${minutes}: expected a number above 0`);
    const known = (task.type === "real" ? REAL_SCENARIOS : SCENARIOS).map(({ name }) => name);
    const names = given.last("scenario")?.split(",");
    return {
      kind: "run",
      arguments: {
        task,
        scenarios: names?.map((name) => oneOf(name, "--scenario", known)) ?? known,
        seeds: whole("seeds", 1),
        from: whole("from"),
        minutes: minutes === undefined ? undefined : Number(minutes),
        jobs: whole("jobs", 1) ?? 2,
        budget: whole("budget") ?? 120,
        trace: given.has("trace"),
        json: given.has("json"),
        keepGoing: given.has("keepGoing"),
        totals: given.last("totals"),
        mutant,
      },
    };
  });
