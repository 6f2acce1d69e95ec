/**
 * What runs of seeds add up to: printed while they go on, printed as JSON at the end, kept in a file to be gone on with,
 * and added to the totals of other machines or days. What must stay true: adding is commutative, so that it does not
 * matter who ran which seed; a seed is counted once per scenario.
 */
import type { RunResult } from "../../actors/simulation/ScenarioRun.ts";

/** What a worker tells of one run, one line each. */
export interface Told {
  readonly scenario: string;
  readonly seed: number;
  readonly hash: string;
  readonly violations: ReadonlyArray<string>;
  readonly simulatedMs: number;
  readonly ended: ReadonlyArray<readonly [string, number]>;
  readonly faults: ReadonlyArray<readonly [string, number]>;
  readonly marks: ReadonlyArray<readonly [string, number]>;
}

export const told = ({ plan, hash, violations, simulatedMs, ended, faults, marks }: RunResult): Told => ({
  scenario: plan.scenario,
  seed: plan.seed,
  hash,
  violations,
  simulatedMs,
  ended: [...ended],
  faults: [...faults],
  marks: [...marks],
});

interface OfScenario {
  seeds: number;
  failed: number;
}

/** The form totals have in a file. */
export interface SavedTotals {
  /** The next seed of every scenario. */
  readonly next: number;
  readonly seeds: number;
  /** Seconds of one core that the runs took. */
  readonly coreSeconds: number;
  readonly simulatedHours: number;
  readonly operations: number;
  /** Runs whose trace no other run had. */
  readonly distinct: number;
  readonly faultCount: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly ended: Readonly<Record<string, number>>;
  readonly marks: Readonly<Record<string, number>>;
  readonly unreached: ReadonlyArray<string>;
  readonly scenarios: Readonly<Record<string, OfScenario>>;
  readonly failures: ReadonlyArray<{ readonly scenario: string; readonly seed: number; readonly violation: string }>;
  readonly commits: ReadonlyArray<string>;
}

const sum = (map: Map<string, number>, entries: Iterable<readonly [string, number]>): void => {
  for (const [name, count] of entries) map.set(name, (map.get(name) ?? 0) + count);
};

/** Largest first. */
const sorted = (map: ReadonlyMap<string, number>): Record<string, number> =>
  Object.fromEntries([...map].sort(([, left], [, right]) => right - left));

export class Totals {
  next = 1;
  seeds = 0;
  coreSeconds = 0;
  private simulatedMs = 0;
  private distinctBefore = 0;
  private readonly hashes = new Set<string>();
  private readonly faults = new Map<string, number>();
  private readonly ended = new Map<string, number>();
  private readonly marks = new Map<string, number>();
  private readonly scenarios = new Map<string, OfScenario>();
  private readonly failures: Array<SavedTotals["failures"][number]> = [];
  private readonly commits = new Set<string>();

  add(run: Told): void {
    this.seeds += 1;
    this.simulatedMs += run.simulatedMs;
    this.hashes.add(run.hash);
    sum(this.faults, run.faults);
    sum(this.ended, run.ended);
    sum(this.marks, run.marks);
    const own = this.of(run.scenario);
    own.seeds += 1;
    const [violation] = run.violations;
    if (violation === undefined) return;
    own.failed += 1;
    this.failures.push({ scenario: run.scenario, seed: run.seed, violation });
  }

  merge(saved: SavedTotals): void {
    this.next = Math.max(this.next, saved.next);
    this.seeds += saved.seeds;
    this.coreSeconds += saved.coreSeconds;
    this.simulatedMs += saved.simulatedHours * 3_600_000;
    this.distinctBefore += saved.distinct;
    sum(this.faults, Object.entries(saved.faults));
    sum(this.ended, Object.entries(saved.ended));
    sum(this.marks, Object.entries(saved.marks));
    for (const [name, { seeds, failed }] of Object.entries(saved.scenarios)) {
      const own = this.of(name);
      own.seeds += seeds;
      own.failed += failed;
    }
    this.failures.push(...saved.failures);
    for (const commit of saved.commits) this.commits.add(commit);
  }

  at(commit: string): void {
    this.commits.add(commit);
  }

  get simulatedHours(): number {
    return this.simulatedMs / 3_600_000;
  }

  get distinct(): number {
    return this.distinctBefore + this.hashes.size;
  }

  get failed(): number {
    return this.failures.length;
  }

  /** Marks there are, whether a run ever asks for them or not. */
  expect(marks: ReadonlyArray<string>): void {
    sum(
      this.marks,
      marks.map((mark) => [mark, 0]),
    );
  }

  /** `buggify` marks that never fired. */
  get unreached(): string[] {
    return [...this.marks].filter(([, count]) => count === 0).map(([mark]) => mark);
  }

  private get operations(): number {
    return this.ended.values().reduce((all, count) => all + count, 0);
  }

  private get faultCount(): number {
    return this.faults.values().reduce((all, count) => all + count, 0);
  }

  private of(scenario: string): OfScenario {
    let own = this.scenarios.get(scenario);
    if (own === undefined) this.scenarios.set(scenario, (own = { seeds: 0, failed: 0 }));
    return own;
  }

  /** One line for people. */
  progress(seconds: number, jobs: number): string {
    const perSecond = this.seeds / Math.max(seconds, 0.001);
    const faults = Object.entries(sorted(this.faults)).map(([kind, count]) => `${kind} ${count}`);
    return [
      `${this.seeds} seeds`,
      `${perSecond.toFixed(1)}/s (${(perSecond / jobs).toFixed(1)} per core)`,
      `${this.simulatedHours.toFixed(2)} h simulated`,
      `${this.operations} operations`,
      `${this.distinct} distinct interleavings`,
      `${this.faultCount} faults: ${faults.join(", ")}`,
    ].join(", ");
  }

  toJSON(): SavedTotals {
    return {
      next: this.next,
      seeds: this.seeds,
      coreSeconds: Math.round(this.coreSeconds),
      simulatedHours: this.simulatedHours,
      operations: this.operations,
      distinct: this.distinct,
      faultCount: this.faultCount,
      faults: sorted(this.faults),
      ended: sorted(this.ended),
      marks: sorted(this.marks),
      unreached: this.unreached,
      scenarios: Object.fromEntries(this.scenarios),
      failures: this.failures,
      commits: [...this.commits],
    };
  }
}
