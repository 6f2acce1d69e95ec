/**
 * The second half of every run: after the heal everything has to finish within the scenario's bound of simulated time. A run
 * that does so at the last moment holds, one that needs a millisecond more is reported, with the seed and the command that
 * replays it.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { planOf } from "../../actors/testing/Scenario.ts";
import { scenarioOf } from "../../actors/testing/Scenarios.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";

const codecs = makeBunCodecs();

/** What is wrong with a run whose one client thinks for longer than the safety phase, and so many milliseconds after it. */
const within = (livenessMs: number): ReadonlyArray<string> => {
  const plan = planOf(scenarioOf("produce"), 5);
  const clients = [{ id: 0, kind: "plain", steps: 3 }] as const;
  const changes = { clients, faults: [], safetyMs: 60_000, livenessMs };
  return runPlan({ ...plan, ...changes }, { codecs, buggify: false }).violations;
};

test("what is done at the last moment of the bound holds, what is not done then is reported", () => {
  let tooShort = 1;
  let enough = 65_536;
  expect(within(tooShort)).toEqual(["liveness: plain client 0 not done 1 ms after the heal"]);
  expect(within(enough)).toEqual([]);
  while (enough - tooShort > 1) {
    const middle = (tooShort + enough) >>> 1;
    if (within(middle).length === 0) enough = middle;
    else tooShort = middle;
  }
  expect(within(enough)).toEqual([]);
  expect(within(enough - 1)).toEqual([`liveness: plain client 0 not done ${enough - 1} ms after the heal`]);
});

test("the command reports a broker that never answers some: who waits, the bound, the seed, how to replay it", async () => {
  const script = join(import.meta.dir, "../../scripts/simulate.ts");
  const args = ["--mutant", "a batch is neither written nor answered", "--scenario", "idempotent", "--seed", "1"];
  const child = Bun.spawn([process.execPath, script, ...args, "--budget", "1"], { stdout: "pipe", stderr: "pipe" });
  const out = await new Response(child.stdout).text();
  expect(await child.exited).toBe(1);
  expect(out).toContain("scenario idempotent, seed 1 FAILED at commit ");
  expect(out).toMatch(/liveness: idempotent client 0.* not done 60000 ms after the heal/);
  expect(out).toContain(
    'replay: bun run simulate --scenario idempotent --seed 1 --mutant "a batch is neither written nor answered" --trace',
  );
}, 60_000);
