/**
 * Planted bugs, each a change of one method of production code, with the program that shows it: the proof that a property
 * can fail. What must stay true: a bug is taken out again whatever happens; the program is run with the bug in and must find
 * what the bug breaks.
 */
import fc from "fast-check";

export interface PlantedBug<Program> {
  readonly name: string;
  /** A program that shows it, as `search` found it, and what is found then. */
  readonly program: Program;
  readonly finds: RegExp;
  /** Plants the bug; the answer takes it out. */
  readonly plant: () => () => void;
}

/** Replaces a method, whatever its visibility. */
export const replace = (
  prototype: object,
  method: string,
  body: (this: never, ...inputs: never[]) => unknown,
): (() => void) => {
  const original = Object.getOwnPropertyDescriptor(prototype, method);
  if (original === undefined) throw new Error(`there is no method ${method}`);
  Object.defineProperty(prototype, method, { ...original, value: body });
  return () => Object.defineProperty(prototype, method, original);
};

/** A method as it is now, to be called by what replaces it. */
export const methodOf = (prototype: object, method: string): ((...inputs: unknown[]) => unknown) =>
  Object.getOwnPropertyDescriptor(prototype, method)!.value as (...inputs: unknown[]) => unknown;

/** What a run finds; that it ends in an error is a finding too. */
export const findingsOf =
  <Program>(run: (program: Program) => { readonly found: ReadonlyArray<string> }) =>
  (program: Program): ReadonlyArray<string> => {
    try {
      return run(program).found;
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  };

export type Findings<Program> = (program: Program) => ReadonlyArray<string>;

const shows = <Program>(
  { finds, plant }: PlantedBug<Program>,
  program: Program,
  findings: Findings<Program>,
): boolean => {
  const uproot = plant();
  try {
    return findings(program).some((line) => finds.test(line));
  } finally {
    uproot();
  }
};

/** Variants tried beside the recorded program: which one shows a bug changes with the broker's own timing. */
const VARIANTS = 100;

interface Timed {
  readonly seed: number;
  readonly crashes: ReadonlyArray<{ readonly afterOperations: number }>;
}

/** The same program with another order of tasks, and a broker that dies a little later. */
const variant = <Program extends Timed>(program: Program, index: number): Program => ({
  ...program,
  seed: program.seed + index,
  crashes: program.crashes.map((crash) => ({ ...crash, afterOperations: crash.afterOperations + (index % 10) })),
});

/** Whether the bug's own program, or a variant of it, shows it. */
export const isCaught = <Program extends Timed>(bug: PlantedBug<Program>, findings: Findings<Program>): boolean => {
  for (let index = 0; index < VARIANTS; index++) {
    if (shows(bug, variant(bug.program, index), findings)) return true;
  }
  return false;
};

/** The campaign: the smallest program that shows the bug, of so many. */
export const search = <Program>(
  bug: PlantedBug<Program>,
  programs: fc.Arbitrary<Program>,
  findings: Findings<Program>,
  numRuns: number,
  seed: number,
): Program | undefined =>
  fc.check(
    fc.property(programs, (program) => !shows(bug, program, findings)),
    { numRuns, seed },
  ).counterexample?.[0];
