/**
 * Scenarios under a few seeds each; that one seed is one run, in every process; that planted bugs are caught by their
 * recorded seeds; and the command that does all this at length.
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { FAULT_KINDS, planOf, SCENARIOS, scenarioOf } from "../../actors/simulation/Scenario.ts";
import { runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { failureOf, shrink } from "../../actors/simulation/Shrink.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { MUTANTS, mutantOf } from "./support/Mutants.ts";

const codecs = makeBunCodecs();
const TIME = 60_000;
const SEEDS = [1, 2];
/** Hash of each run's trace, by scenario and seed. */
const hashes = new Map<string, string>();

const simulate = async (...args: string[]): Promise<{ code: number; out: string }> => {
  const script = join(import.meta.dir, "../../scripts/simulate.ts");
  const child = Bun.spawn([process.execPath, script, ...args], { stdout: "pipe", stderr: "pipe" });
  const out = await new Response(child.stdout).text();
  return { code: await child.exited, out };
};

describe("scenarios", () => {
  test.each(SCENARIOS.map(({ name }) => [name] as const))(
    "%s holds",
    (name) => {
      for (const seed of SEEDS) {
        const { violations, hash } = runPlan(planOf(scenarioOf(name), seed), { codecs });
        hashes.set(`${name} ${seed}`, hash);
        expect({ name, seed, violations }).toEqual({ name, seed, violations: [] });
      }
    },
    TIME,
  );

  test("a plan is drawn from its seed alone; about a quarter of the windows are free of faults; every kind occurs", () => {
    const kinds = new Set<string>();
    for (const scenario of SCENARIOS) {
      let windows = 0;
      for (let seed = 0; seed < 40; seed++) {
        const plan = planOf(scenario, seed);
        expect(planOf(scenario, seed)).toEqual(plan);
        for (const { kind } of plan.faults) kinds.add(kind);
        windows += new Set(plan.faults.map(({ atMs, forMs }) => atMs + forMs)).size;
      }
      expect(windows / (40 * scenario.windows)).toBeCloseTo(0.75, 1);
    }
    expect([...kinds].sort()).toEqual([...FAULT_KINDS].sort());
  });

  test(
    "a seed is the same run in another process, and seeds differ",
    async () => {
      const { code, out } = await simulate(
        "--worker",
        "0/1",
        "--seeds",
        String(SEEDS.length),
        "--from",
        String(SEEDS[0]),
      );
      expect(code).toBe(0);
      const runs = out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { scenario: string; seed: number; hash: string });
      const theirs = new Map(runs.map(({ scenario, seed, hash }) => [`${scenario} ${seed}`, hash]));
      expect(theirs).toEqual(hashes);
      expect(new Set(hashes.values()).size).toBe(SEEDS.length * SCENARIOS.length);
    },
    TIME,
  );

  test("a paused process does nothing until it goes on; its timers come due meanwhile", () => {
    const world = new Simulation({ seed: 1, network: { latencyMs: 0 } });
    world.run(async () => {
      const stopped = world.process("stopped");
      const other = world.process("other", { host: "10.0.0.1" });
      const seen: string[] = [];
      stopped.network.listen({ host: "", port: 1 }, () => ({
        onData: () => void seen.push("data"),
        onDrain() {},
        onClose() {},
      }));
      const socket = await other.network.connect(
        { host: "127.0.0.1", port: 1 },
        { onData() {}, onDrain() {}, onClose() {} },
      );
      stopped.clock.after(5, () => seen.push("timer"));
      stopped.pause();
      socket.write(Uint8Array.of(1));
      await new Promise<void>((resolve) => other.clock.after(50, resolve));
      expect(seen).toEqual([]);
      stopped.resume();
      await new Promise<void>((resolve) => other.clock.after(0.5, resolve));
      expect(seen.sort()).toEqual(["data", "timer"]);
    });
  });
});

describe("planted bugs are caught, as a rule by their recorded seeds", () => {
  test.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
    "%s",
    (_, { scenario, seed, plant }) => {
      const unplant = plant();
      try {
        // Any change of production code gives every seed another run: then one of these has to show it.
        const seeds = [seed, ...Array.from({ length: 60 }, (_, index) => index + 1)];
        const caught = (one: number) => runPlan(planOf(scenarioOf(scenario), one), { codecs }).violations.length > 0;
        expect(seeds.some(caught)).toBe(true);
      } finally {
        unplant();
      }
    },
    TIME,
  );

  test(
    "a failure shrinks to a plan that is smaller and fails in the same way",
    () => {
      const { scenario, seed, plant } = mutantOf("a duplicate is answered with a new offset");
      const unplant = plant();
      try {
        const run = (plan: Parameters<typeof runPlan>[0]) => runPlan(plan, { codecs });
        const failed = run(planOf(scenarioOf(scenario), seed));
        const least = shrink(failed, run, 8);
        expect(failureOf(least.violations)).toBe(failureOf(failed.violations));
        expect(least.plan.faults.length).toBeLessThan(failed.plan.faults.length / 2);
        expect(run(least.plan).hash).toBe(least.hash);
      } finally {
        unplant();
      }
    },
    TIME,
  );
});

describe("bun run simulate", () => {
  test(
    "ends with 0 when every seed held and says what it did",
    async () => {
      const { code, out } = await simulate("--scenario", "network", "--seeds", "1", "--jobs", "1", "--json");
      expect(code).toBe(0);
      expect(JSON.parse(out)).toMatchObject({ seeds: 1, distinct: 1 });
    },
    TIME,
  );

  test(
    "ends with 1 at a failure: the seed, the command that replays it, and a smaller variant with its trace",
    async () => {
      const { code, out } = await simulate(
        "--mutant",
        "a waiting fetch is not woken",
        "--scenario",
        "network",
        "--seed",
        "1",
        "--budget",
        "10",
      );
      expect(code).toBe(1);
      expect(out).toContain("scenario network, seed 1 FAILED at commit ");
      expect(out).toContain("bun run simulate --scenario network --seed 1");
      expect(out).toContain("faults: none");
      expect(out).toContain("was not woken");
    },
    TIME,
  );
});
