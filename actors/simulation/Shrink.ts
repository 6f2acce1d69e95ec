/**
 * Looks for the smallest plan that still fails in the same way: fewer faults, fewer clients, fewer steps. What must stay
 * true: the answer was run and failed; the search ends after `budget` runs whatever it found.
 */
import type { Plan } from "../testing/Scenario.ts";
import type { RunResult } from "./ScenarioRun.ts";

/** What kind of failure it is: a rule's name (`G1a`, `T9`), or else the words before the first colon or number. */
export const failureOf = (violations: ReadonlyArray<string>): string =>
  /^(?:[A-Z][A-Za-z]*\d+[a-z]*(?=[:-])|[^:\d]*)/.exec(violations[0] ?? "")![0].trim();

const without = <A>(list: ReadonlyArray<A>, from: number, count: number): A[] => [
  ...list.slice(0, from),
  ...list.slice(from + count),
];

export const shrink = async (
  failed: RunResult,
  run: (plan: Plan) => RunResult | Promise<RunResult>,
  budget = 120,
): Promise<RunResult> => {
  const kind = failureOf(failed.violations);
  let best = failed;
  let left = budget;
  const attempt = async (plan: Plan): Promise<boolean> => {
    if (left <= 0) return false;
    left -= 1;
    const result = await run(plan);
    if (!result.violations.some((line) => failureOf([line]) === kind)) return false;
    best = result;
    return true;
  };
  for (let improved = true; improved && left > 0; ) {
    improved = false;
    for (let chunk = Math.max(1, best.plan.faults.length >> 1); chunk >= 1; chunk = chunk >> 1) {
      for (let at = 0; at < best.plan.faults.length; ) {
        if (await attempt({ ...best.plan, faults: without(best.plan.faults, at, chunk) })) improved = true;
        else at += chunk;
      }
    }
    for (let at = 0; at < best.plan.clients.length && best.plan.clients.length > 1; ) {
      if (await attempt({ ...best.plan, clients: without(best.plan.clients, at, 1) })) improved = true;
      else at += 1;
    }
    for (const client of best.plan.clients) {
      const steps = client.steps >> 1;
      if (steps === 0) continue;
      const clients = best.plan.clients.map((one) => (one.id === client.id ? { ...one, steps } : one));
      if (await attempt({ ...best.plan, clients })) improved = true;
    }
  }
  return best;
};
