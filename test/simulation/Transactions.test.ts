/**
 * Random programs of transactions on a whole broker, with crashes: every reader's view equals the reference model. And
 * the proof that this can fail: planted bugs, each caught by its recorded program.
 */
import { describe, expect, test } from "bun:test";
import { MUTANTS } from "./support/TransactionMutants.ts";
import { type Program, runProgram } from "./support/TransactionWorld.ts";

const TIME = 60_000;
/** Seeds tried behind a mutant's recorded one: which program shows it changes with the broker's own timing. */
const NEXT_SEEDS = 20;

const findings = (programs: ReadonlyArray<Program>): string[] =>
  programs.flatMap((program) => {
    try {
      return runProgram(program).found.map((line) => `${JSON.stringify(program)}: ${line}`);
    } catch (error) {
      return [`${JSON.stringify(program)}: ${error instanceof Error ? error.message : String(error)}`];
    }
  });

const seeds = (first: number, count: number): number[] => Array.from({ length: count }, (_, index) => first + index);

describe("transactions: readers see what was committed, whole and in order, and nothing else", () => {
  test(
    "with aborts, timeouts, zombies and stray batches",
    () => {
      expect(findings(seeds(1, 12).map((seed) => ({ seed, apps: 2, transactions: 9, crashes: 0 })))).toEqual([]);
    },
    TIME,
  );

  test(
    "while the broker is killed or loses its power",
    () => {
      expect(findings(seeds(1000, 16).map((seed) => ({ seed, apps: 2, transactions: 9, crashes: 4 })))).toEqual([]);
    },
    TIME,
  );

  test(
    "the programs commit a good part of their transactions, and the same seed does the same",
    () => {
      const program = { seed: 7, apps: 2, transactions: 9, crashes: 2 };
      const [first, second] = [runProgram(program), runProgram(program)];
      expect(first.trace).toBe(second.trace);
      expect(first.committed).toBeGreaterThan(first.transactions / 5);
      expect(first.generations).toBeGreaterThan(1);
    },
    TIME,
  );
});

describe("planted bugs are caught", () => {
  for (const { name, program, finds, plant } of MUTANTS) {
    test(
      name,
      () => {
        const uproot = plant();
        try {
          for (const seed of seeds(program.seed, NEXT_SEEDS)) {
            if (findings([{ ...program, seed }]).some((line) => finds.test(line))) return;
          }
          throw new Error(`${name}: no program shows it`);
        } finally {
          uproot();
        }
      },
      TIME,
    );
  }
});
