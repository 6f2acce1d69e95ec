/**
 * Scenarios under a few seeds each; that one seed is one run, in every process; that planted bugs are caught by their
 * recorded seeds; and the command that does all this at length.
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { failureOf, shrink } from "../../actors/simulation/Shrink.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { FAULT_KINDS, planOf } from "../../actors/testing/Scenario.ts";
import { SCENARIOS, scenarioOf } from "../../actors/testing/Scenarios.ts";
import { parseSimulateArguments } from "../../scripts/simulate/Arguments.ts";
import { marksInSource } from "../../scripts/simulate/Marks.ts";
import type { SavedTotals } from "../../scripts/simulate/Totals.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { MUTANTS, mutantOf } from "./support/Mutants.ts";
import { directoryOf } from "./support/OldDirectory.ts";

const codecs = makeBunCodecs();
/** For a machine that has much else to do. */
const TIME = 900_000;

const simulate = async (...args: string[]): Promise<{ code: number; out: string; told: string }> => {
  const script = join(import.meta.dir, "../../scripts/simulate.ts");
  const child = Bun.spawn([process.execPath, script, ...args], { stdout: "pipe", stderr: "pipe" });
  const [out, told] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, told };
};

/** Seeds of the small scenario and of each of the others: a thousand and more. */
const SMALL_SEEDS = 760;
const OTHER_SEEDS = 20;
const others = SCENARIOS.map(({ name }) => name).filter((name) => name !== "small");

/** Marks that fired in the runs so far. */
const reached = new Set<string>();

describe("scenarios", () => {
  test.each([
    ["small", SMALL_SEEDS, SMALL_SEEDS],
    [others.join(","), OTHER_SEEDS, others.length * OTHER_SEEDS],
  ] as const)(
    "%s: %d seeds each hold, and hardly two are alike",
    async (names, seeds, runs) => {
      const { out } = await simulate("--scenario", names, "--seeds", String(seeds), "--jobs", "2", "--json");
      const totals = JSON.parse(out.trim().split("\n").at(-1)!) as SavedTotals;
      expect({ failures: totals.failures, seeds: totals.seeds }).toEqual({ failures: [], seeds: runs });
      expect(totals.distinct).toBeGreaterThan(0.9 * runs);
      // Together they are all marks there are: no third case.
      const marks = Object.keys(totals.marks).sort();
      expect(marks).toEqual(marksInSource());
      expect([...totals.unreached].sort()).toEqual(marks.filter((mark) => totals.marks[mark] === 0));
      for (const mark of marks) if (totals.marks[mark]! > 0) reached.add(mark);
      expect(SMALL_SEEDS + others.length * OTHER_SEEDS).toBeGreaterThanOrEqual(1000);
    },
    TIME,
  );

  test("every rare branch that is marked is taken by some of them", () => {
    expect([...reached].sort()).toEqual(marksInSource());
    expect(reached.size).toBeGreaterThanOrEqual(20);
  });

  test("every plan has at least twenty faults, and it is drawn from its seed alone; every kind occurs", () => {
    const kinds = new Set<string>();
    for (const scenario of SCENARIOS) {
      for (let seed = 0; seed < 40; seed++) {
        const plan = planOf(scenario, seed);
        expect(planOf(scenario, seed)).toEqual(plan);
        expect(plan.faults.length).toBeGreaterThanOrEqual(20);
        for (const { kind } of plan.faults) kinds.add(kind);
      }
    }
    expect([...kinds].sort()).toEqual([...FAULT_KINDS].sort());
  });

  test("about a quarter of the windows are free of faults", () => {
    for (const scenario of SCENARIOS.filter(({ windows }) => windows >= 28)) {
      let windows = 0;
      for (let seed = 0; seed < 40; seed++)
        windows += new Set(planOf(scenario, seed).faults.map(({ atMs, forMs }) => atMs + forMs)).size;
      expect(windows / (40 * scenario.windows)).toBeCloseTo(0.75, 1);
    }
  });

  test(
    "a seed is the same run in another process",
    async () => {
      const { code, out } = await simulate("--determinism", "1");
      expect(out).toContain(`${SCENARIOS.length} byte-identical traces`);
      expect(code).toBe(0);
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

describe("the command", () => {
  test.each([
    ["--seeds many", "--seeds many: expected a whole number from 1 on"],
    ["--seeds 0", "--seeds 0: expected a whole number from 1 on"],
    ["--seed", "--seed needs a value"],
    ["--fast", "unknown option --fast"],
    ["small", "unexpected argument small"],
    ["--minutes soon", "--minutes soon: expected a number above 0"],
    ["--real --scenario stream", "--scenario stream: allowed are small, produce"],
    ["--mutant typo", "--mutant typo: allowed are no fsync of the log"],
  ])("%s is one line that says what is wrong", (line, message) => {
    const parsed = parseSimulateArguments(line.split(" "));
    const told = parsed.kind === "error" ? parsed.message : "";
    expect(told).toContain(message);
    expect(told.split("\n")).toHaveLength(1);
  });

  test("a file that holds no totals is one line that says so", async () => {
    for (const [path, why] of [
      [import.meta.path, "JSON"],
      ["nowhere.json", "no such file"],
    ] as const) {
      const { code, told } = await simulate("--merge", path);
      expect(told).toContain(`${path}: expected the totals of a campaign`);
      expect(told).toContain(why);
      expect([code, told.trim().split("\n").length]).toEqual([2, 1]);
    }
  });

  test("--help wins over everything, and names every option", async () => {
    expect((await simulate("--fast")).code).toBe(2);
    const parsed = parseSimulateArguments(["--seed", "x", "--help"]);
    expect(parsed.kind).toBe("help");
    const text = parsed.kind === "help" ? parsed.text : "";
    for (const name of ["seeds", "minutes", "scenario", "json", "seed", "trace", "mutants", "determinism", "real"])
      expect(text).toContain(`--${name}`);
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
        const caught = (one: number) =>
          runPlan(planOf(scenarioOf(scenario), one), { codecs, directoryOf }).violations.length > 0;
        expect(seeds.some(caught)).toBe(true);
      } finally {
        unplant();
      }
    },
    TIME,
  );

  test(
    "a failure shrinks to a plan that is smaller and fails in the same way",
    async () => {
      const { scenario, seed, plant } = mutantOf("a duplicate is answered with a new offset");
      const unplant = plant();
      try {
        const run = (plan: Parameters<typeof runPlan>[0]) => runPlan(plan, { codecs, directoryOf });
        const failed = run(planOf(scenarioOf(scenario), seed));
        const least = await shrink(failed, run, 8);
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
    "stops at the first seed that fails, whichever process has it, and says as much of it",
    async () => {
      const bug = "a waiting fetch is not woken";
      const { code, out } = await simulate("--mutant", bug, "--scenario", "network", "--seeds", "500", "--budget", "1");
      expect(code).toBe(1);
      expect(Number(/^(\d+) seeds, /m.exec(out)?.[1])).toBeLessThan(100);
      expect(out).toMatch(
        /^replay: bun run simulate --scenario network --seed \d+ --mutant "a waiting fetch is not woken" --trace$/m,
      );
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

  test(
    "as JSON a failure is one object: what the text says, the smaller variant's plan too",
    async () => {
      const line = ["--scenario", "network", "--seed", "1", "--mutant", "a waiting fetch is not woken"];
      const { code, out } = await simulate(...line, "--budget", "3", "--json");
      expect(code).toBe(1);
      const { seed, replay, violations, smallest } = JSON.parse(out);
      expect([seed, replay]).toEqual([
        1,
        'bun run simulate --scenario network --seed 1 --mutant "a waiting fetch is not woken" --trace',
      ]);
      expect(failureOf(smallest.violations)).toBe(failureOf(violations));
      expect(smallest.plan.faults.length).toBeLessThan(20);
    },
    TIME,
  );

  test("a promise that nobody looked after fails the run that left it, again too, and no other", async () => {
    const code = `
      const { watched } = await import(${JSON.stringify(join(import.meta.dir, "../../scripts/simulate/Watched.ts"))});
      const run = watched((seed) => {
        if (seed > 1) Promise.reject(new Error("nobody " + seed));
        return { violations: ["told"] };
      });
      for (const seed of [1, 2, 2, 1]) console.log((await run(seed)).violations.join());`;
    const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", stderr: "inherit" });
    expect((await new Response(child.stdout).text()).trim().split("\n")).toEqual([
      "told",
      "told,unhandled: nobody 2",
      "told,unhandled: nobody 2",
      "told",
    ]);
    expect(await child.exited).toBe(0);
  });
});
