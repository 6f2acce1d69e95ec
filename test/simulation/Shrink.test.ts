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
