/**
 * Which faults `testBroker({ faults })` injects: the kinds, how often, and the decision for one request. What must stay
 * true: a decision is a function of the seed and the request's place (the connection's number, the request's number on
 * it, the API) and of nothing else, so that the same requests in the same order meet the same faults.
 */
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { SeededRandom } from "../simulation/SeededRandom.ts";
import { checkNames, checkNumber, checkSeed, shown } from "./Options.ts";

/**
 * `rebalance`: a member's session ends, as if it had not been heard of for too long. `coordinatorMove`: a group's or a
 * transaction's coordinator is lost and found again. `connectionCut`: before the request is handled, or after it, when
 * only the answer is lost. `retriableError`: an error that Kafka's clients repeat the request after; nothing was done, or
 * (Produce, OffsetCommit) it was done and nobody can tell. `slowAnswer`: the answer is held back. `crash`: kill -9 of the
 * broker, before or after it handled the request, and a restart.
 */
export type FaultKind = "rebalance" | "coordinatorMove" | "connectionCut" | "retriableError" | "slowAnswer" | "crash";

export interface FaultOptions {
  /** Decides everything below that is left to chance. */
  readonly seed: number | string;
  /** Only these kinds, or the chance of each per request that it can hit, `0 … 1`; kinds not named never happen. */
  readonly kinds?: ReadonlyArray<FaultKind> | Readonly<Partial<Record<FaultKind, number>>>;
  /** Makes all of them so many times as likely (default 1). */
  readonly rate?: number;
  /** The slowest answer in milliseconds (default 300), and the longest the broker stays down after a crash. */
  readonly maxDelayMs?: number;
  /**
   * At most so many of a kind (default 5 crashes, 10 coordinator moves, 20 rebalances: each begins something anew, and
   * without an end nothing would ever finish).
   */
  readonly atMost?: Readonly<Partial<Record<FaultKind, number>>>;
}

/** The options with everything decided that the seed decides for a whole run. */
export interface FaultPlan {
  readonly seed: string;
  readonly chances: Readonly<Record<FaultKind, number>>;
  readonly maxDelayMs: number;
  readonly atMost: Readonly<Record<FaultKind, number>>;
}

/** Where a request stands. Both are counted from 1. */
export interface RequestPlace {
  readonly connection: number;
  readonly request: number;
  readonly apiKey: number;
}

export interface FaultDecision {
  readonly kind: FaultKind;
  /** The request is handled first, where the kind has both. */
  readonly after: boolean;
  /** How long an answer is held back, or the broker stays down. */
  readonly delayMs: number;
  /** `0 ≤ pick < 1`, for what the injector has to choose from. */
  readonly pick: number;
}

/** One fault that was injected. */
export interface InjectedFault {
  readonly kind: FaultKind;
  /** Kafka's name of the request that it hit. */
  readonly api: string;
  /** The connection, in the order of their first requests, and the request on it, both counted from 1. */
  readonly connection: number;
  readonly request: number;
  readonly clientId: string;
  /** What was done, in words. */
  readonly what: string;
}

/** The client id of the test broker's own requests: neither counted nor hit. */
export const SPARED_CLIENT_ID = "odradek-test-broker";

/** Chances per request that a kind can hit. The order is that of the draws. */
const DEFAULT_CHANCES: Readonly<Record<FaultKind, number>> = {
  crash: 0.003,
  coordinatorMove: 0.015,
  rebalance: 0.015,
  connectionCut: 0.01,
  retriableError: 0.03,
  slowAnswer: 0.04,
};
const KINDS = Object.keys(DEFAULT_CHANCES) as ReadonlyArray<FaultKind>;
const DEFAULT_AT_MOST: Readonly<Record<FaultKind, number>> = {
  crash: 5,
  coordinatorMove: 10,
  rebalance: 20,
  // A million: what a plan says must be JSON.
  connectionCut: 1e6,
  retriableError: 1e6,
  slowAnswer: 1e6,
};

const GROUP_APIS = [
  ApiKey.OffsetCommit,
  ApiKey.OffsetFetch,
  ApiKey.JoinGroup,
  ApiKey.Heartbeat,
  ApiKey.SyncGroup,
  ApiKey.ConsumerGroupHeartbeat,
];
const TRANSACTION_APIS = [ApiKey.AddPartitionsToTxn, ApiKey.AddOffsetsToTxn, ApiKey.EndTxn];
const READ_APIS = [ApiKey.Fetch, ApiKey.ListOffsets, ApiKey.OffsetForLeaderEpoch];

/** Undefined: every API. A request of another one is never hit. */
const HITS: Readonly<Record<FaultKind, ReadonlySet<number> | undefined>> = {
  crash: undefined,
  connectionCut: undefined,
  slowAnswer: undefined,
  coordinatorMove: new Set([...GROUP_APIS, ...TRANSACTION_APIS, ApiKey.InitProducerId]),
  rebalance: new Set([ApiKey.Heartbeat, ApiKey.ConsumerGroupHeartbeat, ApiKey.OffsetCommit, ApiKey.Fetch]),
  retriableError: new Set([
    ...GROUP_APIS,
    ...TRANSACTION_APIS,
    ...READ_APIS,
    ApiKey.Produce,
    ApiKey.Metadata,
    ApiKey.FindCoordinator,
    ApiKey.InitProducerId,
    ApiKey.TxnOffsetCommit,
  ]),
};

const NAMES = Object.fromEntries(KINDS.map((kind) => [kind, true as const]));
const OPTIONS: Record<keyof FaultOptions, true> = {
  seed: true,
  kinds: true,
  rate: true,
  maxDelayMs: true,
  atMost: true,
};

/** Throws an error that names what is wrong. */
export const planFaults = (options: FaultOptions | number | string): FaultPlan => {
  if (typeof options === "object") checkNames("faults", options, OPTIONS);
  const {
    seed,
    kinds,
    rate = 1,
    maxDelayMs = 300,
    atMost = {},
  } = typeof options === "object" ? options : { seed: options };
  checkSeed("faults: seed", seed);
  if (!Array.isArray(kinds)) checkNames("faults: kinds", kinds ?? {}, NAMES);
  checkNames("faults: atMost", atMost, NAMES);
  const random = new SeededRandom(`${seed}/plan`);
  const chances = {} as Record<FaultKind, number>;
  const named: Readonly<Partial<Record<string, number>>> = Array.isArray(kinds)
    ? Object.fromEntries(kinds.map((kind) => [kind, usualChance(kind)]))
    : (kinds ?? DEFAULT_CHANCES);
  for (const [kind, chance] of Object.entries(named)) {
    if (chance === undefined || (typeof chance === "number" && chance >= 0 && chance <= 1)) continue;
    throw new RangeError(`faults: ${kind} is ${shown(chance)} (allowed: 0 to 1)`);
  }
  for (const [name, value] of Object.entries({ rate, maxDelayMs, ...atMost })) checkNumber(`faults: ${name}`, value, 0);
  // Seeds differ in what they are made of, too: some are mostly cuts, some mostly rebalances.
  const exact = kinds !== undefined && !Array.isArray(kinds);
  for (const kind of KINDS) {
    const weight = random.pick([0.5, 1, 2]);
    chances[kind] = Math.min(1, (named[kind] ?? 0) * rate * (exact ? 1 : weight));
  }
  return { seed: String(seed), chances, maxDelayMs, atMost: { ...DEFAULT_AT_MOST, ...atMost } };
};

const usualChance = (kind: FaultKind): number => {
  if (KINDS.includes(kind)) return DEFAULT_CHANCES[kind];
  throw new RangeError(`faults: ${shown(kind)} (allowed: ${KINDS.join(", ")})`);
};

/** What happens to a request; undefined: nothing. */
export const decideFault = (
  plan: FaultPlan,
  { connection, request, apiKey }: RequestPlace,
): FaultDecision | undefined => {
  // Whoever cannot even ask for the versions learns nothing.
  if (apiKey === ApiKey.ApiVersions) return undefined;
  const random = new SeededRandom(`${plan.seed}/${connection}/${request}/${apiKey}`);
  for (const kind of KINDS) {
    const { [kind]: hits } = HITS;
    if (!random.chance(plan.chances[kind]) || hits?.has(apiKey) === false) continue;
    return {
      kind,
      after: random.chance(0.5),
      delayMs: random.below(plan.maxDelayMs + 1),
      pick: random.fraction(),
    };
  }
  return undefined;
};
