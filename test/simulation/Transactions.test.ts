/**
 * Random programs of transactions on a whole broker that dies: every reader's view equals the reference model, and so do
 * the offsets that were committed with them (T1, T8–T13). And planted bugs, each caught by its recorded program. A failure
 * names its seed, its path and the smallest program; `SEED=n RUNS=n npm test -- test/simulation/Transactions.test.ts` looks
 * further. The coordinator's own table (T2–T6, T12–T15) is in `test/transaction/TransactionCoordinator.test.ts`.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { findingsOf, isCaught } from "./support/PlantedBugs.ts";
import { TRANSACTION_BUGS } from "./support/TransactionBugs.ts";
import { programs } from "./support/TransactionPrograms.ts";
import { runProgram } from "./support/TransactionWorld.ts";

const TIME = 120_000;
const seed = Number(Bun.env.SEED ?? 6);
const findings = findingsOf(runProgram);

const hold = (crashes: number, numRuns: number): void =>
  fc.assert(
    fc.property(programs(crashes), (program) => {
      expect(findings(program)).toEqual([]);
    }),
    { seed, numRuns: Number(Bun.env.RUNS ?? numRuns), includeErrorInReport: true },
  );

describe("transactions: readers see what was committed, whole and in order, and nothing else", () => {
  test("with aborts, timeouts, zombies, stray batches and late markers", () => hold(0, 400), TIME);

  test("while the broker is stopped, killed or loses its power", () => hold(3, 600), TIME);

  test(
    "the programs commit a good part of their transactions, and the same program does the same",
    () => {
      const drawn = fc.sample(programs(2), { seed, numRuns: 40 });
      const outcomes = drawn.map(runProgram);
      expect(runProgram(drawn[0]!).trace).toBe(outcomes[0]!.trace);
      const sum = (of: (outcome: (typeof outcomes)[number]) => number): number =>
        outcomes.reduce((all, outcome) => all + of(outcome), 0);
      expect(sum(({ committed }) => committed)).toBeGreaterThan(sum(({ transactions }) => transactions) / 4);
      expect(sum(({ generations }) => generations)).toBeGreaterThan(1.2 * drawn.length);
    },
    TIME,
  );
});

describe("planted bugs are caught", () => {
  test.each(TRANSACTION_BUGS.map((bug) => [bug.name, bug] as const))(
    "%s",
    (_, bug) => {
      expect(isCaught(bug, findings)).toBe(true);
    },
    TIME,
  );
});
