/**
 * Scenarios as data: who works on the broker, what goes wrong meanwhile, and the knobs a seed may turn. What must stay
 * true: a plan is all that a run depends on beside the code, drawn from (scenario, seed) and nothing else; every client
 * and every fault carries an id from which its own choices come, so that leaving one out changes no other's.
 */
import { POWER_CUTS, type PowerCut } from "../simulation/PowerCut.ts";
import { SeededRandom } from "../simulation/SeededRandom.ts";
import type { NetworkNature } from "../simulation/SimulatedNetwork.ts";
import type { SubscribedVia } from "./ConsistencyChecker.ts";

/** What one client does: a name of `workloads/ClientKinds.ts`. */
export type ClientKindName =
  | "plain"
  | "idempotent"
  | "resumed"
  | "mixed"
  | "consumer"
  | "admin"
  | "member"
  | "transactional"
  | "copier"
  | "keyed"
  | "keyed reader"
  | "expiring"
  | "expiring reader"
  | "stream producer"
  | "stream consumer"
  | "stream member"
  | "stream transactional"
  | "stream copier";

export const FAULT_KINDS = [
  // Processes and the clock.
  "power cut",
  "kill",
  "pause",
  "clock jump",
  "client kill",
  "client pause",
  // The disk.
  "slow flush",
  "failed flush",
  "hung flush",
  "no space",
  "write error",
  "short write",
  "read error",
  "slow disk",
  // The network.
  "delay",
  "partition",
  "half-open",
  "reset",
  "client reset",
  // The medium.
  "bit flip",
] as const;

export type ScenarioFaultKind = (typeof FAULT_KINDS)[number];

/** All but rot: what compaction has taken, and what clients had deleted, a side file may be the only one to know. */
export const ORDINARY_FAULTS: ReadonlyArray<ScenarioFaultKind> = FAULT_KINDS.filter((kind) => kind !== "bit flip");

export const CRASHES: ReadonlyArray<ScenarioFaultKind> = ["power cut", "kill"];
export const CLIENT_FAULTS: ReadonlyArray<ScenarioFaultKind> = ["client kill", "client pause", "client reset"];
export const DISK_FAULTS: ReadonlyArray<ScenarioFaultKind> = [
  "slow flush",
  "failed flush",
  "hung flush",
  "no space",
  "write error",
  "short write",
  "read error",
  "slow disk",
];
/** What an operation of the disk may be refused by: a log may be offline afterwards until its broker is started again. */
export const DISK_BREAKERS: ReadonlyArray<ScenarioFaultKind> = [
  "failed flush",
  "no space",
  "write error",
  "short write",
  "read error",
];
export const NETWORK_FAULTS: ReadonlyArray<ScenarioFaultKind> = ["delay", "partition", "half-open", "reset"];

export interface ClientPlan {
  readonly id: number;
  readonly kind: ClientKindName;
  /** Operations it begins, over all its lives. */
  readonly steps: number;
}

export interface ScenarioFault {
  readonly id: number;
  readonly kind: ScenarioFaultKind;
  /** Milliseconds from the beginning of the safety phase, and how long it lasts. */
  readonly atMs: number;
  readonly forMs: number;
  /** Of a power cut. */
  readonly cut?: PowerCut;
}

export interface TopicPlan {
  readonly name: string;
  readonly partitions: number;
  readonly configs: Readonly<Record<string, string>>;
  /** Records may rightly vanish: compaction, retention. Its histories are judged by other rules than Jepsen's. */
  readonly vanishing: boolean;
}

/** Choices of a seed that clients read by name. */
export interface Knobs {
  readonly valueBytes: number;
  readonly groupProtocol: "classic" | "consumer" | "both";
  readonly assignor: "range" | "roundrobin" | "cooperative-sticky";
  /** Of transactional clients; 1 only where nothing can make a request late (KAFKA-17754). */
  readonly transactionVersion: 1 | 2;
  readonly sessionTimeoutMs: number;
  readonly deleteRetentionMs: number;
  readonly retentionMs: number;
}

export interface Plan {
  readonly scenario: string;
  readonly seed: number;
  readonly clients: ReadonlyArray<ClientPlan>;
  readonly faults: ReadonlyArray<ScenarioFault>;
  /** Length of the safety phase. */
  readonly safetyMs: number;
  /** Milliseconds after the heal in which everything must have finished. */
  readonly livenessMs: number;
  readonly topics: ReadonlyArray<TopicPlan>;
  readonly pageBytes: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly knobs: Knobs;
  readonly network: Partial<NetworkNature>;
  readonly subVia: SubscribedVia;
  /** Name of a recorded data directory that the first broker starts on (`OldData.ts`). */
  readonly directory?: string;
}

export interface Scenario {
  readonly name: string;
  /** What it is for, in a line. */
  readonly about: string;
  readonly clients: ReadonlyArray<{ readonly kind: ClientKindName; readonly atLeast: number; readonly atMost: number }>;
  readonly faults: ReadonlyArray<ScenarioFaultKind>;
  /** Fault windows, one after the other; a quarter of them stay free of faults. */
  readonly windows: number;
  /** Lengths of a window in milliseconds, one of which a seed picks. */
  readonly windowMs?: ReadonlyArray<number>;
  /** Operations per client. */
  readonly steps: number;
  /** Beside "t"; `configs` over what all topics have. */
  readonly topics?: ReadonlyArray<{
    readonly name: string;
    readonly configs?: (random: SeededRandom, knobs: Knobs) => Readonly<Record<string, string>>;
    readonly vanishing?: boolean;
    /** Default: one to three, as all the others. */
    readonly partitions?: number;
  }>;
  readonly settings?: (random: SeededRandom) => Readonly<Record<string, string>>;
  readonly knobs?: Partial<Knobs>;
  readonly livenessMs?: number;
  readonly subVia?: SubscribedVia;
  /** Name of a recorded data directory to begin with; its topics are among `topics`. */
  readonly directory?: string;
}

const FAULT_FREE = 0.25;
/** A plan with fewer goes on for as many windows as it takes. */
const LEAST_FAULTS = 24;
/** The topic that every scenario has. */
export const TOPIC = "t";

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
  const windowMs = random.pick(scenario.windowMs ?? [60, 200, 600]);
  const faults: ScenarioFault[] = [];
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
  const knobs: Knobs = {
    valueBytes: random.pick([20, 600, 3000]),
    groupProtocol: random.pick(["classic", "consumer"]),
    assignor: random.pick(["range", "roundrobin", "cooperative-sticky"]),
    transactionVersion: kinds.includes("pause") || random.chance(0.6) ? 2 : 1,
    sessionTimeoutMs: random.pick([300, 1000]),
    deleteRetentionMs: random.pick([0, 500, 86_400_000]),
    retentionMs: random.pick([300, 1500]),
    ...scenario.knobs,
  };
  const common = {
    "segment.ms": random.pick(["8", "50", "604800000"]),
    "index.interval.bytes": random.pick(["0", "64", "4096"]),
  };
  const most = random.between(1, 3);
  const topics = (scenario.topics ?? [{ name: TOPIC }]).map((topic): TopicPlan => {
    const { name, configs, vanishing, partitions = most } = topic;
    return { name, partitions, configs: { ...common, ...configs?.(random, knobs) }, vanishing: vanishing ?? false };
  });
  return {
    scenario: scenario.name,
    seed,
    clients,
    faults,
    safetyMs: at,
    livenessMs: scenario.livenessMs ?? 60_000,
    topics,
    pageBytes: random.pick([512, 512, 4096]),
    settings: {
      "log.flush.policy": "ack",
      "offsets.topic.num.partitions": "1",
      "transaction.state.log.num.partitions": "1",
      "group.min.session.timeout.ms": "100",
      "group.consumer.heartbeat.interval.ms": "60",
      "group.consumer.min.heartbeat.interval.ms": "60",
      "group.consumer.session.timeout.ms": String(knobs.sessionTimeoutMs),
      "group.consumer.min.session.timeout.ms": "100",
      "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
      ...scenario.settings?.(random),
    },
    knobs,
    network: { latencyMs: random.pick([0, 0.5, 5, 20]), resetChance: 0 },
    subVia: scenario.subVia ?? "assign",
    ...(scenario.directory === undefined ? {} : { directory: scenario.directory }),
  };
};
