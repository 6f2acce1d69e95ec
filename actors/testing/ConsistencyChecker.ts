/**
 * Judges a history by Jepsen's Kafka anomaly catalogue. Pure: the same history gives the same report. What must stay
 * true: everything found is in `errors`; `bad` names only what Kafka does not allow for this kind of history; a history is
 * judged twice, with and without write order between operations, because with it every G1c is allowed.
 */
import {
  abortedReads,
  analyse,
  dependencies,
  duplicates,
  inconsistentOffsets,
  innerPollSteps,
  innerSendSteps,
  lostWrites,
  pollSteps,
  precommittedReads,
  sendSteps,
  unseen,
} from "./Anomalies.ts";
import type { CycleName } from "./DependencyGraph.ts";
import { exchangesOf, type Op, readsOf, writesOf } from "./History.ts";

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
  | CycleName;

export interface CheckOptions {
  /** Whether the order of writes counts as a dependency between operations. */
  readonly wwDeps: boolean;
  readonly subVia: "assign" | "subscribe" | "both";
}

export interface Report {
  readonly valid: boolean;
  /** Anomalies that are not allowed here. */
  readonly bad: ReadonlyArray<Anomaly>;
  /** Witnesses of every anomaly, allowed or not. */
  readonly errors: Readonly<Partial<Record<Anomaly, ReadonlyArray<unknown>>>>;
  /** The longest time from an acknowledgement to the end of the first ok poll that showed the value; units of `Op.time`. */
  readonly worstRealtimeLag: number;
  /** Why operations ended as unknown; each reason once. */
  readonly infoCauses: ReadonlyArray<string>;
}

const ALWAYS_ALLOWED: ReadonlyArray<Anomaly> = ["int-send-skip", "G0", "G0-process", "G0-realtime"];
const ALLOWED_BY_SUBSCRIBE: ReadonlyArray<Anomaly> = ["poll-skip", "nonmonotonic-poll"];
const ALLOWED_WITH_WW: ReadonlyArray<Anomaly> = ["G1c", "G1c-process", "G1c-realtime"];

/** One pass. Throws when the history is none: an end without a beginning, a value written twice. */
export const check = (history: ReadonlyArray<Op>, { wwDeps, subVia }: CheckOptions): Report => {
  const analysis = analyse(history, exchangesOf(history));
  const polls = pollSteps(analysis);
  const innerPolls = innerPollSteps(analysis);
  const innerSends = innerSendSteps(analysis);
  const all: Array<readonly [Anomaly, ReadonlyArray<unknown>]> = [
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
  ];
  const cycles = Map.groupBy(dependencies(analysis, wwDeps).cycles(), ({ name }) => name);
  for (const [name, found] of cycles) all.push([name, found]);
  const allowed = new Set<Anomaly>([
    ...ALWAYS_ALLOWED,
    ...(subVia === "assign" ? [] : ALLOWED_BY_SUBSCRIBE),
    ...(wwDeps ? ALLOWED_WITH_WW : []),
  ]);
  const found = all.filter(([, witnesses]) => witnesses.length > 0);
  const bad = found.map(([name]) => name).filter((name) => !allowed.has(name));
  return {
    valid: bad.length === 0,
    bad,
    errors: Object.fromEntries(found),
    worstRealtimeLag: worstLag(history),
    infoCauses: [...new Set(history.flatMap((op) => (op.type === "info" && op.error !== undefined ? [op.error] : [])))],
  };
};

/** Both passes as one report: bad is what either calls bad. */
export const checkTwice = (history: ReadonlyArray<Op>, subVia: CheckOptions["subVia"]): Report => {
  const withWrites = check(history, { wwDeps: true, subVia });
  const without = check(history, { wwDeps: false, subVia });
  const bad = [...new Set([...withWrites.bad, ...without.bad])];
  return { ...withWrites, valid: bad.length === 0, bad, errors: { ...withWrites.errors, ...without.errors } };
};

const worstLag = (history: ReadonlyArray<Op>): number => {
  const acked = new Map<string, number>();
  const seen = new Map<string, number>();
  for (const op of history) {
    if (op.type !== "ok") continue;
    for (const { key, value } of writesOf(op)) acked.set(`${key} ${value}`, op.time);
    for (const [key, pairs] of readsOf(op)) {
      for (const [, value] of pairs) if (!seen.has(`${key} ${value}`)) seen.set(`${key} ${value}`, op.time);
    }
  }
  const end = history[history.length - 1]?.time ?? 0;
  let worst = 0;
  for (const [name, time] of acked) worst = Math.max(worst, (seen.get(name) ?? end) - time);
  return worst;
};
