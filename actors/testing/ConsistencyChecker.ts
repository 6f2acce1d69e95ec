/**
 * Judges a history by Jepsen's Kafka anomaly catalogue. Pure: the same history gives the same report. What must stay
 * true: everything found is in `errors`; `bad` names only what Kafka does not allow for this kind of history; a history is
 * judged twice, with and without write order between operations, because with it every G1c is allowed.
 */
import {
  type Analysis,
  abortedReads,
  analyse,
  type ConsumeCount,
  consumedAgain,
  dependencies,
  duplicates,
  inconsistentOffsets,
  innerPollSteps,
  innerSendSteps,
  type Lag,
  lostWrites,
  phantoms,
  pollSteps,
  precommittedReads,
  sendSteps,
  unseen,
  type WrongStep,
  worstRealtimeLag,
} from "./Anomalies.ts";
import type { CycleName } from "./DependencyGraph.ts";
import { exchangesOf, type Op } from "./History.ts";

export type Anomaly =
  | "inconsistent-offsets"
  | "duplicate"
  | "G1a"
  | "precommitted-read"
  | "lost-write"
  | "poll-skip"
  | "nonmonotonic-poll"
  | "int-poll-skip"
  | "int-nonmonotonic-poll"
  | "int-send-skip"
  | "int-nonmonotonic-send"
  | "nonmonotonic-send"
  | "unseen"
  | "phantom"
  | CycleName;

/**
 * How the consumers got their partitions. With `subscribe` a rebalance may move a consumer between two polls, so that
 * external poll-skip and nonmonotonic-poll are allowed to everybody; with `both` only to processes that had subscribed
 * (stricter than Jepsen, which allows them to all).
 */
export type SubscribedVia = "assign" | "subscribe" | "both";

export interface CheckOptions {
  /** Whether the order of writes counts as a dependency between operations. */
  readonly wwDeps: boolean;
  readonly subVia: SubscribedVia;
}

export interface Report {
  readonly valid: boolean;
  /** Anomalies that are not allowed here. */
  readonly bad: ReadonlyArray<Anomaly>;
  /** Witnesses of every anomaly, allowed or not. */
  readonly errors: Readonly<Partial<Record<Anomaly, ReadonlyArray<unknown>>>>;
  /** The poll that was furthest behind what it could have known; units of `Op.time`. */
  readonly worstRealtimeLag: Lag | undefined;
  /** What one subscribed process was shown more than once. */
  readonly consumedAgain: ReadonlyArray<ConsumeCount>;
  /** Why operations ended as unknown; each reason once. */
  readonly infoCauses: ReadonlyArray<string>;
}

const ALWAYS_ALLOWED: ReadonlyArray<Anomaly> = ["int-send-skip", "G0", "G0-process", "G0-realtime"];
const ALLOWED_BY_SUBSCRIBE: ReadonlySet<Anomaly> = new Set(["poll-skip", "nonmonotonic-poll"]);
const ALLOWED_WITH_WW: ReadonlyArray<Anomaly> = ["G1c", "G1c-process", "G1c-realtime"];

type Found = Map<Anomaly, ReadonlyArray<unknown>>;

/** Everything but cycles. */
const anomaliesOf = (analysis: Analysis): Found => {
  const polls = pollSteps(analysis);
  const innerPolls = innerPollSteps(analysis);
  const innerSends = innerSendSteps(analysis);
  return new Map<Anomaly, ReadonlyArray<unknown>>([
    ["inconsistent-offsets", inconsistentOffsets(analysis)],
    ["duplicate", duplicates(analysis)],
    ["G1a", abortedReads(analysis)],
    ["precommitted-read", precommittedReads(analysis)],
    ["lost-write", lostWrites(analysis)],
    ["poll-skip", polls.skips],
    ["nonmonotonic-poll", polls.nonmonotonic],
    ["int-poll-skip", innerPolls.skips],
    ["int-nonmonotonic-poll", innerPolls.nonmonotonic],
    ["int-send-skip", innerSends.skips],
    ["int-nonmonotonic-send", innerSends.nonmonotonic],
    ["nonmonotonic-send", sendSteps(analysis)],
    ["unseen", unseen(analysis)],
    ["phantom", phantoms(analysis)],
  ]);
};

const isBad = (name: Anomaly, witnesses: ReadonlyArray<unknown>, { wwDeps, subVia }: CheckOptions): boolean => {
  if (witnesses.length === 0 || ALWAYS_ALLOWED.includes(name)) return false;
  if (wwDeps && ALLOWED_WITH_WW.includes(name)) return false;
  if (!ALLOWED_BY_SUBSCRIBE.has(name) || subVia === "assign") return true;
  return subVia === "both" && (witnesses as ReadonlyArray<WrongStep>).some(({ subscribed }) => subscribed !== true);
};

const judge = (history: ReadonlyArray<Op>, passes: ReadonlyArray<CheckOptions>): Report => {
  const analysis = analyse(history, exchangesOf(history));
  const plain = anomaliesOf(analysis);
  const graph = dependencies(analysis);
  const errors: Partial<Record<Anomaly, ReadonlyArray<unknown>>> = {};
  const bad = new Set<Anomaly>();
  for (const options of passes) {
    const cycles = Map.groupBy(graph.cycles(options.wwDeps), ({ name }) => name);
    for (const [name, witnesses] of [...plain, ...cycles] as Array<[Anomaly, ReadonlyArray<unknown>]>) {
      if (witnesses.length > 0) errors[name] ??= witnesses;
      if (isBad(name, witnesses, options)) {
        bad.add(name);
        errors[name] = witnesses;
      }
    }
  }
  const causes = history.flatMap(({ type, error }) => (type === "info" && error !== undefined ? [error] : []));
  return {
    valid: bad.size === 0,
    bad: [...bad],
    errors,
    worstRealtimeLag: worstRealtimeLag(analysis),
    consumedAgain: consumedAgain(analysis),
    infoCauses: [...new Set(causes)],
  };
};

/** One pass. Throws when the history is none: an end without a beginning, a value written twice. */
export const check = (history: ReadonlyArray<Op>, options: CheckOptions): Report => judge(history, [options]);

/** Both passes as one report: bad is what either calls bad. */
export const checkTwice = (history: ReadonlyArray<Op>, subVia: SubscribedVia): Report =>
  judge(history, [
    { wwDeps: true, subVia },
    { wwDeps: false, subVia },
  ]);
