/**
 * `simulate`: a program, a whole broker, the disk, the network and the clock in a world of their own, from one seed. It
 * owns what a test sees of that world; what the world is made of is in `actors/simulation`. What must stay true: the
 * same scenario with the same seed does the same, in every process; a world needs Bun, and says so elsewhere.
 */
import type { ClientPlatform } from "../../src/client/ClientPlatform.ts";
import type { PowerCut } from "../simulation/PowerCut.ts";
import type { ClientOptions, KafkaClient } from "./KafkaClient.ts";
import { checkNames, checkNumber, checkSeed, checkSettings, checkTopics, shown } from "./Options.ts";
import type { RecordedHistory } from "./RecordedHistory.ts";
import type { ScenarioFaultKind } from "./Scenario.ts";
import type { TestTopic } from "./TestBroker.ts";

/** What can go wrong in a world. `actors/testing/README.md` says what each of them is. */
export type SimulatedFaultKind = ScenarioFaultKind;

export interface SimulatedFault {
  readonly kind: SimulatedFaultKind;
  /** Milliseconds from the beginning of the scenario, and how long it lasts. */
  readonly atMs: number;
  readonly forMs: number;
  /** What a power cut leaves of what was not flushed (default `"lost"`). */
  readonly cut?: PowerCut;
}

/** Faults that the seed draws. */
export interface SimulatedFaultOptions {
  /** Default: all but `bit flip`. A seed takes some of them, because many of one kind meet what one of each would not. */
  readonly kinds?: ReadonlyArray<SimulatedFaultKind>;
  /** Default 20. */
  readonly count?: number;
  /** Milliseconds over which they are spread (default 2,000). */
  readonly withinMs?: number;
}

export interface SimulateOptions {
  /** Everything that is left to chance comes from it. */
  readonly seed: number | string;
  /** Topics that are there when the scenario begins. */
  readonly topics?: ReadonlyArray<string | TestTopic>;
  /** Settings of the broker by the names of `server.properties`, over the built-in values. */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
  /** From the beginning of the scenario to the last one's end, or `heal`. Without it nothing goes wrong by itself. */
  readonly faults?: ReadonlyArray<SimulatedFault> | SimulatedFaultOptions;
  /** The longest a message is on its way (default 1). */
  readonly latencyMs?: number;
  /** How long a broker or a service is down after it died, in milliseconds (default 200). */
  readonly restartMs?: number;
  /** Virtual milliseconds after which a scenario counts as hanging (default one hour). */
  readonly maxTimeMs?: number;
  /**
   * Whether a history that was recorded is judged (default true): when the scenario has ended everything is healed, a last
   * reader reads all partitions that the history knows, and an anomaly is a failure.
   */
  readonly check?: boolean;
  /** Keep the whole trace, not only its last lines (default false). */
  readonly trace?: boolean;
}

/** A process on a machine of its own. What it waits for never comes once it is killed: the program ends in an `await`. */
export interface SimulatedMachine {
  readonly name: string;
  readonly isAlive: boolean;
  /** A client of this library, of the broker unless told otherwise. */
  kafka(options?: Partial<ClientOptions>): KafkaClient;
  /** The ports of a client of the stream protocol: `connect("ws://broker", { platform: machine.stream })`. */
  readonly stream: ClientPlatform;
  /** Its clocks: milliseconds since 1970, which may jump, and since some beginning, which do not go back. */
  wall(): number;
  now(): number;
  sleep(ms: number): Promise<void>;
  /** kill -9. */
  kill(): void;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
}

export interface SimulatedBrokerControls {
  readonly isAlive: boolean;
  /** kill -9: connections are gone, what was written is there after the restart, which comes by itself. */
  kill(): void;
  /** What was not flushed is lost, or in part (default `"lost"`). */
  powerCut(cut?: PowerCut): void;
  pause(): void;
  resume(): void;
}

export interface SimulatedRandom {
  /** An integer, `0 ≤ result < bound`. */
  below(bound: number): number;
  /** An integer, `first ≤ result ≤ last`. */
  between(first: number, last: number): number;
  /** `0 ≤ result < 1`. */
  fraction(): number;
  chance(probability: number): boolean;
  pick<A>(choices: ReadonlyArray<A>): A;
}

export interface SimulatedWorld {
  readonly seed: number | string;
  /** For the scenario's own choices. */
  readonly random: SimulatedRandom;
  readonly broker: SimulatedBrokerControls;
  /** What recorded producers and consumers did, for the checker. */
  readonly history: RecordedHistory;
  /** Virtual milliseconds since the world began. */
  now(): number;
  sleep(ms: number): Promise<void>;
  /** A line of the trace. */
  note(line: string): void;
  /** A new machine with one process. Nobody but the scenario kills it. */
  machine(name?: string): SimulatedMachine;
  /**
   * Runs a program as a process manager does: on a machine of its own, and again in a new process whenever that is
   * killed or the program throws. Resolves when it has ended by itself. Faults of clients hit services.
   */
  service(name: string, program: (machine: SimulatedMachine) => Promise<void>): Promise<void>;
  /** Cuts the wires between the broker and a machine, both ways or one (`"to"` and `"from"` the broker), until `heal`. */
  cut(machine: SimulatedMachine, way?: "both" | "to" | "from"): void;
  /** No more faults: wires are whole, nobody is paused, the disk works. For the part in which everything must finish. */
  heal(): void;
}

export interface Simulated<A> {
  readonly seed: number | string;
  /** What the scenario resolved with. */
  readonly value: A;
  readonly simulatedMs: number;
  /** Faults that took effect, by kind. */
  readonly faults: Readonly<Partial<Record<SimulatedFaultKind, number>>>;
  /** Equal for equal runs. */
  readonly hash: string;
  /** The last lines, or all with `trace`. */
  readonly trace: ReadonlyArray<string>;
}

/** The scenario threw (see `cause`), never ended, or its history has an anomaly. */
export class SimulationFailure extends Error {
  override readonly name = "SimulationFailure";
  readonly #trace: ReadonlyArray<string>;
  constructor(
    message: string,
    readonly seed: number | string,
    trace: ReadonlyArray<string>,
    options?: ErrorOptions,
  ) {
    super(`seed ${typeof seed === "string" ? JSON.stringify(seed) : seed}: ${message}`, options);
    this.#trace = trace;
  }

  /** The last lines of what happened, or all with `trace`. Not printed with the error: it is long. */
  get trace(): ReadonlyArray<string> {
    return this.#trace;
  }
}

/**
 * Runs a scenario in a world of its own: one broker, everything on it from one seed, in virtual time. An hour of
 * waiting takes no time, and nothing outside the world can be touched: `setTimeout`, `Date.now`, `fetch` or a file inside a
 * scenario is an error that names it.
 *
 * ```ts
 * await simulate(async (world) => { … }, { seed: 7, topics: ["orders"], faults: {} });
 * ```
 *
 * Rejects with a `SimulationFailure` that has the seed. Needs Bun.
 */
export const simulate = async <A>(
  scenario: (world: SimulatedWorld) => Promise<A>,
  options: SimulateOptions,
): Promise<Simulated<A>> => {
  if (typeof scenario !== "function") throw new TypeError(`simulate: ${shown(scenario)} (allowed: a function)`);
  check(options);
  // The build for Node makes it a constant: nothing of Bun's is in it.
  if (process.versions.bun !== undefined) {
    const { runScenario } = await import("./UserWorld.ts");
    const run = turns.then(() => runScenario(scenario, options));
    turns = run.catch(() => {});
    return run;
  }
  throw new Error("simulate: a simulated world needs Bun (bun test, or bun FILE)");
};

/** One world after the other: while one goes on nothing else in the process does. */
let turns: Promise<unknown> = Promise.resolve();

const OPTIONS: Record<keyof SimulateOptions, true> = {
  seed: true,
  topics: true,
  config: true,
  faults: true,
  latencyMs: true,
  restartMs: true,
  maxTimeMs: true,
  check: true,
  trace: true,
};
const FAULT: Record<keyof SimulatedFault, true> = { kind: true, atMs: true, forMs: true, cut: true };
const DRAWN_FAULTS: Record<keyof SimulatedFaultOptions, true> = { kinds: true, count: true, withinMs: true };

const check = (options: SimulateOptions): void => {
  checkNames("simulate", options, OPTIONS);
  const { seed, topics, config, faults, latencyMs = 0, restartMs = 0, maxTimeMs = 0 } = options;
  checkSeed("simulate: seed", seed);
  checkTopics("simulate: topics", topics);
  checkSettings("simulate: config", config);
  for (const [name, value] of Object.entries({ latencyMs, restartMs, maxTimeMs })) {
    checkNumber(`simulate: ${name}`, value, 0);
  }
  if (faults !== undefined) checkFaults(faults);
};

const checkFaults = (faults: NonNullable<SimulateOptions["faults"]>): void => {
  if (!isList(faults)) {
    checkNames("simulate: faults", faults, DRAWN_FAULTS);
    const { count = 0, withinMs = 0 } = faults;
    for (const [name, value] of Object.entries({ count, withinMs })) checkNumber(`simulate: faults: ${name}`, value, 0);
    return;
  }
  for (const fault of faults) {
    checkNames("simulate: faults", fault, FAULT);
    for (const name of ["atMs", "forMs"] as const) {
      checkNumber(`simulate: faults: ${name} of ${fault.kind}`, fault[name], 0);
    }
  }
};

const isList = (faults: NonNullable<SimulateOptions["faults"]>): faults is ReadonlyArray<SimulatedFault> =>
  Array.isArray(faults);
