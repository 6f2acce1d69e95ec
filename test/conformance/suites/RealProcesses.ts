/**
 * The simulation's workloads and checkers against real processes: clients over TCP, a broker that a seed kills (SIGKILL) and
 * stops (SIGSTOP) again and again. `bun run simulate --real` does the same for as many seeds as one likes.
 */
import { existsSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { scenarioOf } from "../../../actors/testing/Scenarios.ts";
import { type RealOptions, runReal } from "../../../scripts/simulate/Real.ts";
import { assert, type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";

const play = async (context: Context, name: string, seed: number, options: RealOptions = {}) => {
  const run = await runReal(scenarioOf(name), seed, options);
  const { kill = 0, pause = 0 } = run.faults;
  assert(kill > 0 && pause > 0, `${name} ${seed}: ${kill} kills and ${pause} pauses`);
  context.note(`${run.operations} operations, ${kill} kills, ${pause} pauses in ${run.seconds.toFixed(1)} s`);
  return run;
};

const holds = (name: string, about: string): ConformanceTest => ({
  name: `${about}, killed and stopped (scenario ${name})`,
  own: true,
  timeoutMs: 180_000,
  async run(context) {
    const { violations } = await play(context, name, 1);
    equal(violations, [], `scenario ${name}, seed 1`);
  },
});

const found: ConformanceTest = {
  name: "a log that loses its end between two processes is found",
  own: true,
  timeoutMs: 180_000,
  async run(context) {
    let lost = 0;
    const whileDown = (directory: string): void => {
      const log = join(directory, "t-0", "00000000000000000000.log");
      if (!existsSync(log) || lost > 0) return;
      const { size } = statSync(log);
      if (size < 200) return;
      lost = size;
      truncateSync(log, 100);
    };
    const { violations } = await play(context, "network", 1, { whileDown });
    assert(lost > 0, "nothing was there to be lost");
    assert(violations.length > 0, "a log was cut to its first bytes and nobody noticed");
    context.note(violations[0]!.slice(0, 100));
  },
};

export const suite: Suite = {
  name: "real processes",
  oursOnly: true,
  tests: [
    holds("produce", "producers without sequences and consumers"),
    holds("idempotent", "pipelined producers with sequences"),
    holds("groups", "members of a classic group"),
    holds("consumer-groups", "members of a KIP-848 group"),
    holds("copy", "transactional copies"),
    found,
  ],
};
