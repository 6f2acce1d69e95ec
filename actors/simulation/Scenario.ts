/**
 * Scenarios as data: who works on the broker, what goes wrong meanwhile, and the knobs a seed may turn. What must stay
 * true: a plan is all that a run depends on beside the code, drawn from (scenario, seed) and nothing else; every client
 * and every fault carries an id from which its own choices come, so that leaving one out changes no other's.
 */
import { SeededRandom } from "./SeededRandom.ts";
import { POWER_CUTS, type PowerCut } from "./SimulatedDisk.ts";
import type { NetworkNature } from "./SimulatedNetwork.ts";

/**
 * `plain`: a producer without sequences, one batch at a time. `idempotent`: sequences, five requests in flight.
 * `mixed`: produces and polls what it is assigned. `consumer`: polls only. `admin`: creates topics, uses and deletes them.
 */
export type ClientKind = "plain" | "idempotent" | "mixed" | "consumer" | "admin";

export type FaultKind =
  | "power cut"
  | "kill"
  | "slow flush"
  | "failed flush"
  | "hung flush"
  | "no space"
  | "write error"
  | "short write"
  | "delay"
  | "partition"
  | "half-open"
  | "reset"
  | "pause"
  | "clock jump";

export const FAULT_KINDS: ReadonlyArray<FaultKind> = [
  "power cut",
  "kill",
  "slow flush",
  "failed flush",
  "hung flush",
  "no space",
  "write error",
  "short write",
  "delay",
  "partition",
  "half-open",
  "reset",
  "pause",
  "clock jump",
];

const CRASHES: ReadonlyArray<FaultKind> = ["power cut", "kill"];
const DISK_FAULTS: ReadonlyArray<FaultKind> = [
  "slow flush",
  "failed flush",
  "hung flush",
  "no space",
  "write error",
  "short write",
];
/** What an operation of the disk may be refused by: a log may be offline afterwards until its broker is started again. */
export const DISK_BREAKERS: ReadonlyArray<FaultKind> = ["failed flush", "no space", "write error", "short write"];
const NETWORK_FAULTS: ReadonlyArray<FaultKind> = ["delay", "partition", "half-open", "reset"];

export interface ClientPlan {
  readonly id: number;
  readonly kind: ClientKind;
  /** Operations it begins. */
  readonly steps: number;
}

export interface Fault {
  readonly id: number;
  readonly kind: FaultKind;
  /** Virtual milliseconds from the beginning of the safety phase, and how long it lasts. */
  readonly atMs: number;
  readonly forMs: number;
  /** Of a power cut. */
  readonly cut?: PowerCut;
}

export interface Plan {
  readonly scenario: string;
  readonly seed: number;
  readonly clients: ReadonlyArray<ClientPlan>;
  readonly faults: ReadonlyArray<Fault>;
  /** Length of the safety phase. */
  readonly safetyMs: number;
  /** Virtual milliseconds after the heal in which everything must have finished. */
  readonly livenessMs: number;
  readonly partitions: number;
  readonly valueBytes: number;
  readonly pageBytes: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly topicConfigs: Readonly<Record<string, string>>;
  readonly network: Partial<NetworkNature>;
}

export interface Scenario {
  readonly name: string;
  /** What it is for, in a line. */
  readonly about: string;
  readonly clients: ReadonlyArray<{ readonly kind: ClientKind; readonly atLeast: number; readonly atMost: number }>;
  readonly faults: ReadonlyArray<FaultKind>;
  /** Fault windows, one after the other; a quarter of them stay free of faults. */
  readonly windows: number;
  /** Operations per client. */
  readonly steps: number;
}

export const SCENARIOS: ReadonlyArray<Scenario> = [
  {
    name: "produce",
    about: "producers without sequences, consumers beside them, everything may fail",
    clients: [
      { kind: "plain", atLeast: 1, atMost: 3 },
      { kind: "consumer", atLeast: 1, atMost: 2 },
    ],
    faults: FAULT_KINDS,
    windows: 28,
    steps: 24,
  },
  {
    name: "idempotent",
    about: "pipelined producers with sequences: every retry counts once, in order",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 3 },
      { kind: "consumer", atLeast: 1, atMost: 1 },
    ],
    faults: FAULT_KINDS,
    windows: 28,
    steps: 30,
  },
  {
    name: "clients",
    about: "clients that produce and poll by changing assignments, and pipelined producers between them",
    clients: [
      { kind: "mixed", atLeast: 2, atMost: 4 },
      { kind: "idempotent", atLeast: 0, atMost: 1 },
    ],
    faults: FAULT_KINDS,
    windows: 28,
    steps: 24,
  },
  {
    name: "network",
    about: "only the wires and the scheduler misbehave: cuts, delays, resets, pauses",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 2 },
      { kind: "mixed", atLeast: 1, atMost: 2 },
    ],
    faults: [...NETWORK_FAULTS, "pause"],
    windows: 28,
    steps: 24,
  },
  {
    name: "disk",
    about: "crashes and a failing disk, nothing else",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 2 },
      { kind: "consumer", atLeast: 1, atMost: 1 },
    ],
    faults: [...CRASHES, ...DISK_FAULTS],
    windows: 28,
    steps: 24,
  },
  {
    name: "admin",
    about: "topics come and go under crashes: what was created exists, what was deleted does not come back",
    clients: [
      { kind: "admin", atLeast: 1, atMost: 3 },
      { kind: "plain", atLeast: 0, atMost: 1 },
    ],
    faults: [...CRASHES, ...NETWORK_FAULTS, "slow flush", "pause", "clock jump"],
    windows: 28,
    steps: 10,
  },
];

export const scenarioOf = (name: string): Scenario => {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found === undefined)
    throw new Error(`no scenario ${name}: there are ${SCENARIOS.map((one) => one.name).join(", ")}`);
  return found;
};

const FAULT_FREE = 0.25;
/** A plan with fewer goes on for as many windows as it takes. */
const LEAST_FAULTS = 20;

/** What a seed makes of a scenario. */
export const planOf = (scenario: Scenario, seed: number): Plan => {
  const random = new SeededRandom(`${scenario.name} ${seed}`);
  const clients: ClientPlan[] = [];
  for (const { kind, atLeast, atMost } of scenario.clients) {
    const count = random.between(atLeast, atMost);
    for (let i = 0; i < count; i++) clients.push({ id: clients.length, kind, steps: scenario.steps });
  }
  // A seed knows only some kinds: many of one kind meet what one of each would not.
  const kinds = scenario.faults.filter(() => random.chance(0.6));
  if (kinds.length === 0) kinds.push(random.pick(scenario.faults));
  const windowMs = random.pick([60, 200, 600]);
  const faults: Fault[] = [];
  let at = 0;
  for (let window = 0; window < scenario.windows || faults.length < LEAST_FAULTS; window++) {
    const lengthMs = random.between(windowMs / 2, windowMs * 1.5);
    if (!random.chance(FAULT_FREE)) {
      const count = random.chance(0.4) ? 2 : 1;
      for (let i = 0; i < count; i++) {
        const kind = random.pick(kinds);
        const cut = kind === "power cut" ? { cut: random.pick(POWER_CUTS) } : {};
        const after = random.below(Math.ceil(lengthMs / 2));
        faults.push({ id: faults.length, kind, atMs: at + after, forMs: lengthMs - after - 1, ...cut });
      }
    }
    at += lengthMs;
  }
  return {
    scenario: scenario.name,
    seed,
    clients,
    faults,
    safetyMs: at,
    livenessMs: 60_000,
    partitions: random.between(1, 3),
    valueBytes: random.pick([20, 600, 3000]),
    pageBytes: random.pick([512, 512, 4096]),
    settings: { "log.flush.policy": "ack" },
    topicConfigs: {
      "segment.ms": random.pick(["8", "50", "604800000"]),
      "index.interval.bytes": random.pick(["0", "64", "4096"]),
    },
    network: { latencyMs: random.pick([0, 0.5, 5, 20]), resetChance: 0 },
  };
};
