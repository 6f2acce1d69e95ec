/**
 * Random programs of idempotent producers on a whole broker that dies: retries, duplicates, batches out of order and new
 * epochs leave every acknowledged value in the log once, in its order (P1–P8 of the decision table). And planted bugs, each
 * caught by its recorded program. A failure names its seed, its path and the smallest program;
 * `SEED=n RUNS=n npm test -- test/simulation/Idempotence.test.ts` looks further.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { IDEMPOTENCE_BUGS } from "./support/IdempotenceBugs.ts";
import { idempotentPrograms, runIdempotent } from "./support/IdempotentWorld.ts";
import { findingsOf, isCaught } from "./support/PlantedBugs.ts";

const TIME = 120_000;
const seed = Number(Bun.env.SEED ?? 6);
const findings = findingsOf(runIdempotent);

const hold = (crashes: number, numRuns: number): void =>
  fc.assert(
    fc.property(idempotentPrograms(crashes), (program) => {
      expect(findings(program)).toEqual([]);
    }),
    { seed, numRuns: Number(Bun.env.RUNS ?? numRuns), includeErrorInReport: true },
  );

describe("idempotent producers: every acknowledged value once, in order", () => {
  test("on a broker that lives", () => hold(0, 400), TIME);

  test("while the broker is stopped, killed or loses its power", () => hold(3, 600), TIME);

  test(
    "the programs send a good part of their batches again, and end the broker often",
    () => {
      const outcomes = fc.sample(idempotentPrograms(3), { seed, numRuns: 50 }).map(runIdempotent);
      const sum = (of: (outcome: (typeof outcomes)[number]) => number): number =>
        outcomes.reduce((all, outcome) => all + of(outcome), 0);
      expect(sum(({ repeated }) => repeated)).toBeGreaterThan(outcomes.length / 2);
      expect(sum(({ generations }) => generations)).toBeGreaterThan(1.2 * outcomes.length);
    },
    TIME,
  );
});

describe("planted bugs are caught", () => {
  test.each(IDEMPOTENCE_BUGS.map((bug) => [bug.name, bug] as const))(
    "%s",
    (_, bug) => {
      expect(isCaught(bug, findings)).toBe(true);
    },
    TIME,
  );
});
