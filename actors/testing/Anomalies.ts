/**
 * Jepsen's catalogue of what can be wrong with a history of a Kafka log, each anomaly with Jepsen's name and definition.
 * What must stay true: one witness is reported per case; operations of one process are taken in the order they began
 * (several may be under way, as an idempotent producer does it); what a poll of a failed operation showed counts, because
 * a consumer must never be shown what is not safe.
 */
import { DependencyGraph } from "./DependencyGraph.ts";
import type { Exchange, Op, Value } from "./History.ts";
import { VersionOrder } from "./VersionOrder.ts";

/** A history with what every anomaly is defined by. */
export interface Analysis {
  readonly history: ReadonlyArray<Op>;
  readonly exchanges: ReadonlyArray<Exchange>;
  readonly versions: VersionOrder;
  /** Who wrote a value, by key. */
  readonly writers: ReadonlyMap<number, ReadonlyMap<Value, Exchange>>;
  /** Values that ok operations read, by key. */
  readonly read: ReadonlyMap<number, ReadonlySet<Value>>;
  readonly mustHaveCommitted: (exchange: Exchange) => boolean;
}

export const writerOf = (analysis: Analysis, key: number, value: Value): Exchange | undefined =>
  analysis.writers.get(key)?.get(value);

const at = <Inner>(map: Map<number, Inner>, key: number, make: () => Inner): Inner => {
  let inner = map.get(key);
  if (inner === undefined) map.set(key, (inner = make()));
  return inner;
};

export const analyse = (history: ReadonlyArray<Op>, exchanges: ReadonlyArray<Exchange>): Analysis => {
  const writers = new Map<number, Map<Value, Exchange>>();
  const read = new Map<number, Set<Value>>();
  for (const exchange of exchanges) {
    for (const { key, value } of exchange.writes) {
      const ofKey = at(writers, key, () => new Map());
      if (ofKey.has(value)) throw new Error(`value ${value} is written to key ${key} twice: nothing can be told`);
      ofKey.set(value, exchange);
    }
    if (exchange.type !== "ok") continue;
    for (const [key, pairs] of exchange.reads) {
      const values = at(read, key, () => new Set());
      for (const [, value] of pairs) values.add(value);
    }
  }
  const mustHaveCommitted = ({ type, writes }: Exchange): boolean =>
    type === "ok" || (type === "info" && writes.some(({ key, value }) => read.get(key)?.has(value) === true));
  const versions = new VersionOrder();
  for (const exchange of exchanges) {
    if (mustHaveCommitted(exchange)) {
      for (const { key, offset, value } of exchange.writes) versions.add(key, offset, value);
    }
    for (const [key, pairs] of exchange.reads) for (const [offset, value] of pairs) versions.add(key, offset, value);
  }
  return { history, exchanges, versions, writers, read, mustHaveCommitted };
};

export interface InconsistentOffset {
  readonly key: number;
  readonly offset: number;
  readonly values: ReadonlyArray<Value>;
}

/** Some offset of a key holds two or more values. */
export const inconsistentOffsets = ({ versions }: Analysis): InconsistentOffset[] =>
  versions.keys.flatMap((key) => {
    const { offsets, values } = versions.log(key);
    return offsets.flatMap((offset, index) =>
      values[index]!.size > 1 ? [{ key, offset, values: [...values[index]!] }] : [],
    );
  });

export interface Duplicate {
  readonly key: number;
  readonly value: Value;
  readonly offsets: ReadonlyArray<number>;
}

/** A value is at more than one offset. */
export const duplicates = ({ versions }: Analysis): Duplicate[] =>
  versions.keys.flatMap((key) => {
    const { offsets, values, firstIndex, lastIndex } = versions.log(key);
    return [...firstIndex.keys()]
      .filter((value) => firstIndex.get(value) !== lastIndex.get(value))
      .map((value) => ({ key, value, offsets: offsets.filter((_, index) => values[index]!.has(value)) }));
  });

/** What an operation read and nobody wrote. */
export const phantoms = (analysis: Analysis): WrongRead[] =>
  analysis.exchanges.flatMap(({ reads, op }) =>
    [...reads].flatMap(([key, pairs]) =>
      pairs
        .filter(([, value]) => writerOf(analysis, key, value) === undefined)
        .map(([, value]) => ({ key, value, reader: op.index, writer: -1 })),
    ),
  );

export interface WrongRead {
  readonly key: number;
  readonly value: Value;
  /** Index of the operation that read, and of the one that wrote. */
  readonly reader: number;
  readonly writer: number;
}

/** An ok operation read what a failed one wrote. */
export const abortedReads = (analysis: Analysis): WrongRead[] => {
  const found: WrongRead[] = [];
  for (const { type, reads, op } of analysis.exchanges) {
    if (type !== "ok") continue;
    for (const [key, pairs] of reads) {
      for (const [, value] of pairs) {
        const writer = writerOf(analysis, key, value);
        if (writer?.type === "fail") found.push({ key, value, reader: op.index, writer: writer.op.index });
      }
    }
  }
  return found;
};

/** An operation read what it wrote itself: legal in a database, not in Kafka. */
export const precommittedReads = ({ exchanges }: Analysis): WrongRead[] =>
  exchanges.flatMap(({ op, reads, writes }) =>
    reads.size === 0
      ? []
      : writes
          .filter(({ key, value }) => reads.get(key)?.some(([, seen]) => seen === value) === true)
          .map(({ key, value }) => ({ key, value, reader: op.index, writer: op.index })),
  );

export interface LostWrite {
  readonly key: number;
  readonly value: Value;
  readonly writer: number;
  /** Where in the log: at its front, in its middle, or behind everything that was read. */
  readonly where: "prefix" | "middle" | "postfix";
}

/** A write that must have committed, at or before an offset that somebody read, was read by nobody. */
export const lostWrites = (analysis: Analysis): LostWrite[] =>
  analysis.versions.keys.flatMap((key) => {
    const { firstIndex, lastIndex } = analysis.versions.log(key);
    const read = analysis.read.get(key) ?? new Set();
    let bound = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const value of read) {
      const index = firstIndex.get(value);
      if (index === undefined) continue;
      bound = Math.max(bound, index);
      least = Math.min(least, index);
    }
    const lost: LostWrite[] = [];
    for (const [value, index] of lastIndex) {
      if (index > bound || read.has(value)) continue;
      const writer = writerOf(analysis, key, value);
      if (writer === undefined || !analysis.mustHaveCommitted(writer)) continue;
      const where = index < least ? "prefix" : index === bound ? "postfix" : "middle";
      lost.push({ key, value, writer: writer.op.index, where });
    }
    return lost;
  });

export interface WrongStep {
  readonly key: number;
  readonly from: Value;
  readonly to: Value;
  readonly delta: number;
  readonly operation: number;
  /** The process had subscribed: a rebalance between the two may have moved it. */
  readonly subscribed?: boolean;
}

export interface Steps {
  readonly skips: ReadonlyArray<WrongStep>;
  readonly nonmonotonic: ReadonlyArray<WrongStep>;
}

const sorted = (steps: ReadonlyArray<WrongStep>): Steps => ({
  skips: steps.filter(({ delta }) => delta > 1),
  nonmonotonic: steps.filter(({ delta }) => delta < 1),
});

const byProcess = (exchanges: ReadonlyArray<Exchange>): Exchange[][] => [
  ...Map.groupBy(exchanges, ({ invocation }) => invocation.process).values(),
];

/** Between the last value of a process's previous ok poll of a key and the first of its next. */
export const pollSteps = ({ exchanges, versions }: Analysis): Steps => {
  const steps: WrongStep[] = [];
  for (const own of byProcess(exchanges)) {
    let last = new Map<number, Value>();
    let subscribed = false;
    for (const { completion, type, reads, op } of own) {
      if (completion === undefined) continue;
      if (op.f === "assign" || op.f === "subscribe") {
        if (type === "fail") continue;
        subscribed = op.f === "subscribe";
        const kept = new Set(op.value as ReadonlyArray<number>);
        last = new Map([...last].filter(([key]) => kept.has(key)));
        continue;
      }
      for (const [key, pairs] of reads) {
        const [first] = pairs;
        if (first === undefined) continue;
        const from = last.get(key);
        if (from !== undefined) {
          const delta = versions.delta(key, from, first[1]);
          steps.push({ key, from, to: first[1], delta, operation: op.index, subscribed });
        }
        if (type === "ok") last.set(key, pairs[pairs.length - 1]![1]);
      }
    }
  }
  return sorted(steps);
};

/** Between consecutive values of a key inside one operation; keys that were rebalanced meanwhile are exempt. */
export const innerPollSteps = ({ exchanges, versions }: Analysis): Steps => {
  const steps: WrongStep[] = [];
  for (const { op, reads } of exchanges) {
    if (reads.size === 0) continue;
    const rebalanced = new Set(op.rebalanceLog?.flatMap(({ keys }) => keys));
    for (const [key, pairs] of reads) {
      if (rebalanced.has(key)) continue;
      for (let at = 1; at < pairs.length; at++) {
        const [from, to] = [pairs[at - 1]![1], pairs[at]![1]];
        const delta = versions.delta(key, from, to);
        if (delta !== 1) steps.push({ key, from, to, delta, operation: op.index });
      }
    }
  }
  return sorted(steps);
};

/** Between consecutive sends to a key inside one operation. */
export const innerSendSteps = ({ exchanges, versions }: Analysis): Steps => {
  const steps: WrongStep[] = [];
  for (const { op, writes } of exchanges) {
    if (writes.length < 2) continue;
    const last = new Map<number, Value>();
    for (const { key, value } of writes) {
      const from = last.get(key);
      if (from !== undefined) {
        steps.push({ key, from, to: value, delta: versions.delta(key, from, value), operation: op.index });
      }
      last.set(key, value);
    }
  }
  return sorted(steps);
};

/**
 * Between the last send of a process's previous operation on a key and the first of its next; failed ones are left out.
 * (Jepsen forgets a key's last send when the process's consumer is assigned others; a producer knows nothing of that.)
 */
export const sendSteps = ({ exchanges, versions }: Analysis): WrongStep[] => {
  const steps: WrongStep[] = [];
  for (const own of byProcess(exchanges)) {
    const last = new Map<number, Value>();
    for (const { type, op, writes } of own) {
      if (type === "fail" || writes.length === 0) continue;
      const ends = new Map<number, Value>();
      for (const { key, value } of writes) {
        const from = last.get(key);
        // Only the first of this operation is compared: the others are inside it.
        if (from !== undefined && !ends.has(key)) {
          steps.push({ key, from, to: value, delta: versions.delta(key, from, value), operation: op.index });
        }
        ends.set(key, value);
      }
      for (const [key, value] of ends) last.set(key, value);
    }
  }
  return [...sorted(steps).nonmonotonic];
};

export interface Unseen {
  readonly key: number;
  readonly value: Value;
  readonly writer: number;
}

/** Acknowledged and never polled by an ok operation; whether lost or only very late, nobody can tell. */
export const unseen = ({ exchanges, read }: Analysis): Unseen[] =>
  exchanges.flatMap(({ type, op, writes }) =>
    type !== "ok"
      ? []
      : writes
          .filter(({ key, value }) => read.get(key)?.has(value) !== true)
          .map(({ key, value }) => ({ key, value, writer: op.index })),
  );

/** The graph over operations that did not fail, named by their invocations. */
export const dependencies = (analysis: Analysis): DependencyGraph => {
  const graph = new DependencyGraph();
  const { versions, exchanges } = analysis;
  for (const key of versions.keys) {
    const { values } = versions.log(key);
    for (let index = 1; index < values.length; index++) {
      for (const before of values[index - 1]!) {
        for (const after of values[index]!) {
          const from = writerOf(analysis, key, before);
          const to = writerOf(analysis, key, after);
          if (from === undefined || to === undefined || from.type === "fail" || to.type === "fail") continue;
          graph.add("ww", from.invocation.index, to.invocation.index);
        }
      }
    }
  }
  for (const { type, invocation, reads } of exchanges) {
    if (type === "fail") continue;
    for (const [key, pairs] of reads) {
      let last: Exchange | undefined;
      for (const [, value] of pairs) {
        const writer = writerOf(analysis, key, value);
        if (writer === undefined || writer.type === "fail" || writer === last) continue;
        graph.add("wr", writer.invocation.index, invocation.index);
        last = writer;
      }
    }
  }
  for (const own of byProcess(exchanges)) {
    let before: Exchange | undefined;
    for (const exchange of own) {
      if (exchange.type === "fail") continue;
      if (before !== undefined) graph.add("process", before.invocation.index, exchange.invocation.index);
      before = exchange;
    }
  }
  addRealTime(graph, analysis);
  return graph;
};

/** Only an ok operation is known to be over. The frontier holds those over which no later one has yet passed. */
const addRealTime = (graph: DependencyGraph, { history, exchanges }: Analysis): void => {
  const begun = new Map(exchanges.map((exchange) => [exchange.invocation, exchange]));
  const ended = new Map<Op, Exchange>();
  for (const exchange of exchanges) {
    if (exchange.type === "ok" && exchange.completion !== undefined) ended.set(exchange.completion, exchange);
  }
  let frontier: number[] = [];
  const before = new Map<number, ReadonlyArray<number>>();
  for (const op of history) {
    if (op.type === "invoke") {
      if (begun.get(op)?.type === "fail") continue;
      before.set(op.index, frontier);
      for (const earlier of frontier) graph.add("realtime", earlier, op.index);
      continue;
    }
    const ending = ended.get(op);
    if (ending === undefined) continue;
    const { index } = ending.invocation;
    const passed = before.get(index)!;
    frontier = frontier.filter((earlier) => !passed.includes(earlier));
    frontier.push(index);
  }
};

export interface Lag {
  readonly process: number;
  readonly key: number;
  /** When the poll began. */
  readonly time: number;
  readonly lag: number;
}

/**
 * For every ok poll and key: how long it had been known, when the poll began, that there is more than what the process
 * has seen when it ended (Jepsen's `realtime-lag`). Answers the worst.
 */
export const worstRealtimeLag = ({ history, exchanges }: Analysis): Lag | undefined => {
  const exchangeOf = new Map(exchanges.map((exchange) => [exchange.op, exchange]));
  const highestOf = ({ reads, writes }: Exchange): Map<number, number> => {
    const highest = new Map<number, number>();
    const add = (key: number, offset: number | null): void => {
      if (offset !== null && offset > (highest.get(key) ?? -1)) highest.set(key, offset);
    };
    for (const { key, offset } of writes) add(key, offset);
    for (const [key, pairs] of reads) for (const [offset] of pairs) add(key, offset);
    return highest;
  };
  /** By key: element i is the time from which on offset i was known to exist. */
  const known = new Map<number, number[]>();
  for (const op of history) {
    const exchange = exchangeOf.get(op);
    if (exchange === undefined || op.type === "invoke") continue;
    for (const [key, highest] of highestOf(exchange)) {
      const times = at(known, key, () => []);
      for (let offset = times.length; offset <= highest; offset++) times.push(op.time);
    }
  }
  const seen = new Map<number, Map<number, number>>();
  let worst: Lag | undefined;
  for (const op of history) {
    const exchange = exchangeOf.get(op);
    if (exchange === undefined || exchange.type !== "ok") continue;
    const { process, f } = op;
    const offsets = at(seen, process, () => new Map<number, number>());
    if (f === "assign") {
      const keys = op.value as ReadonlyArray<number>;
      seen.set(process, new Map(keys.map((key) => [key, offsets.get(key) ?? -1])));
    } else if (f === "subscribe") seen.set(process, new Map());
    if (f !== "poll" && f !== "txn") continue;
    for (const [key, highest] of highestOf(exchange)) offsets.set(key, Math.max(highest, offsets.get(key) ?? -1));
    const { time } = exchange.invocation;
    for (const [key, offset] of offsets) {
      const since = known.get(key)?.[offset + 1] ?? Number.POSITIVE_INFINITY;
      const lag = Math.max(0, time - since);
      if (worst === undefined || lag > worst.lag) worst = { process, key, time, lag };
    }
  }
  return worst;
};

export interface ConsumeCount {
  readonly process: number;
  readonly key: number;
  readonly value: Value;
  readonly count: number;
}

/** Values that one subscribed process was shown more than once by ok operations (Jepsen's `consume-counts`). */
export const consumedAgain = ({ exchanges }: Analysis): ConsumeCount[] => {
  const again: ConsumeCount[] = [];
  for (const own of byProcess(exchanges)) {
    const counts = new Map<number, Map<Value, number>>();
    let subscribed = false;
    for (const { type, op, reads } of own) {
      if (type !== "ok") continue;
      if (op.f === "subscribe") subscribed = true;
      if (!subscribed) continue;
      for (const [key, pairs] of reads) {
        const ofKey = at(counts, key, () => new Map<Value, number>());
        for (const [, value] of pairs) ofKey.set(value, (ofKey.get(value) ?? 0) + 1);
      }
    }
    const { process } = own[0]!.invocation;
    for (const [key, ofKey] of counts) {
      for (const [value, count] of ofKey) if (count > 1) again.push({ process, key, value, count });
    }
  }
  return again;
};
