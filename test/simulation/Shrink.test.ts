/** Making a failing plan small: what is left still fails by the same rule, and nothing of it can be spared. */
import { expect, test } from "bun:test";
import type { RunResult } from "../../actors/simulation/ScenarioRun.ts";
import { failureOf, shrink } from "../../actors/simulation/Shrink.ts";
import { type Plan, planOf } from "../../actors/testing/Scenario.ts";
import { scenarioOf } from "../../actors/testing/Scenarios.ts";

/** What a run of a plan comes to, without one. */
const resultOf = (plan: Plan, violations: ReadonlyArray<string>): RunResult => ({
  plan,
  violations,
  hash: "",
  trace: [],
  simulatedMs: 0,
  tasks: 0,
  operations: 0,
  brokers: 1,
  faults: new Map(),
  marks: new Map(),
  ended: new Map(),
});

test("a failure is known by its rule, or by the words before what differs from run to run", () => {
  const rules = ["G1a", "G1c", "G1c-process", "G3", "T8", "T9", "T13", "C1", "O2", "L11", "Ret1"];
  const kinds = rules.map((rule) => failureOf([`${rule}: 7 of 9`]));
  expect(kinds).toEqual(["G1a", "G1c", "G1c", "G3", "T8", "T9", "T13", "C1", "O2", "L11", "Ret1"]);
  expect(failureOf(["two owners: t-0 of g"])).toBe("two owners");
  expect(failureOf(["producer id 12 was given out twice"])).toBe("producer id");
  expect(failureOf(["lost-write: {}"])).toBe("lost-write");
});

test("the smallest plan fails by the rule that the first one broke, not by any other", async () => {
  const plan = planOf(scenarioOf("small"), 1);
  const run = (one: Plan): RunResult =>
    resultOf(one, one.faults.some(({ id }) => id === 7) ? ["T9: 1 of 2 records are seen"] : ["T13: a commit"]);
  const least = await shrink(run(plan), run);
  expect(least.violations).toEqual(["T9: 1 of 2 records are seen"]);
  expect(least.plan.faults.map(({ id }) => id)).toEqual([7]);
  expect(least.plan.clients.map(({ steps }) => steps)).toEqual([1]);
});

test("what is left cannot be spared: faults that only together fail, a client that needs its steps beside one that does not", async () => {
  const plan = { ...planOf(scenarioOf("small"), 1) };
  const [one, two, ...others] = plan.clients;
  const larger: Plan = {
    ...plan,
    clients: [{ ...one!, steps: 16 }, { ...two!, steps: 16 }, ...others],
  };
  const ids = larger.faults.map(({ id }) => id);
  const needed = [ids[0]!, ids[ids.length >> 1]!, ids.at(-1)!];
  const run = (tried: Plan): RunResult => {
    const stepsOf = (id: Plan["clients"][number]["id"]): number =>
      tried.clients.find((client) => client.id === id)?.steps ?? 0;
    const fails =
      needed.every((id) => tried.faults.some((fault) => fault.id === id)) &&
      stepsOf(one!.id) >= 5 &&
      stepsOf(two!.id) > 0;
    // Another rule's name comes first.
    return resultOf(tried, fails ? ["T13: a commit", "T9: 1 of 2 records are seen"] : []);
  };
  const least = await shrink({ ...run(larger), violations: ["T9: 3 of 9 records are seen"] }, run);
  expect(least.plan.faults.map(({ id }) => id)).toEqual(needed);
  expect(least.plan.clients.map(({ id, steps }) => [id, steps])).toEqual([
    [one!.id, 8],
    [two!.id, 1],
  ]);
});

test("the search ends after its budget, with a plan that was run and failed", async () => {
  const plan = planOf(scenarioOf("small"), 1);
  const failed: RunResult[] = [];
  const run = (tried: Plan): RunResult => {
    failed.push(resultOf(tried, ["T9: 1 of 2 records are seen"]));
    return failed.at(-1)!;
  };
  const least = await shrink(resultOf(plan, ["T9: 1"]), run, 5);
  expect(failed).toHaveLength(5);
  expect(least).toBe(failed.at(-1)!);
  expect(await shrink(least, run, 0)).toBe(least);
  let runs = 0;
  const holds = (tried: Plan): RunResult => {
    runs += 1;
    return resultOf(tried, []);
  };
  const original = resultOf(plan, ["T9: 1"]);
  expect(await shrink(original, holds, 5)).toBe(original);
  expect(runs).toBe(5);
});
