/** Every seed that found a bug, with a line on what it was. They stay. */
import { expect, test } from "bun:test";
import { runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { planOf } from "../../actors/testing/Scenario.ts";
import { scenarioOf } from "../../actors/testing/Scenarios.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";

const codecs = makeBunCodecs();

test.each([
  ["admin", 2, "a second stray folder of one name kept the broker from starting"],
  ["admin", 23, "the same, by another way of cuts"],
  ["disk", 116, "a batch pipelined behind a new producer's lost first batch was taken, and the first refused for good"],
] as const)(
  "%s %d: %s",
  (scenario, seed) => {
    expect(runPlan(planOf(scenarioOf(scenario), seed), { codecs }).violations).toEqual([]);
  },
  60_000,
);
