/**
 * Jepsen's catalogue of what can be wrong with a history of a Kafka log, each anomaly with Jepsen's name and definition.
 * What must stay true: one witness is reported per case; operations of one process are taken in the order they began
 * (several may be under way, as an idempotent producer does it); what a poll of a failed operation showed counts, because
 * a consumer must never be shown what is not safe.
 */
import { DependencyGraph } from "./DependencyGraph.ts";
import { type Exchange, type Op, readsOf, type Value, writesOf } from "./History.ts";
import { VersionOrder } from "./VersionOrder.ts";

/** A history with what every anomaly is defined by. */
export interface Analysis {
  readonly history: ReadonlyArray<Op>;
  readonly exchanges: ReadonlyArray<Exchange>;
  readonly versions: VersionOrder;
  /** Who wrote a value of a key. */
  readonly writers: ReadonlyMap<string, Exchange>;
  /** Values that ok operations read, by key. */
  readonly read: ReadonlyMap<number, ReadonlySet<Value>>;
  readonly mustHaveCommitted: (exchange: Exchange) => boolean;
}

const nameOf = (key: number, value: Value): string => `${key} ${typeof value} ${value}`;

export const writerOf = (analysis: Analysis, key: number, value: Value): Exchange | undefined =>
  analysis.writers.get(nameOf(key, value));

const typeOf = ({ completion }: Exchange): Op["type"] => completion?.type ?? "info";

/** The operation as far as it is known: what never ended is its invocation. */
const opOf = ({ invocation, completion }: Exchange): Op => completion ?? invocation;

export const analyse = (history: ReadonlyArray<Op>, exchanges: ReadonlyArray<Exchange>): Analysis => {
  const writers = new Map<string, Exchange>();
  const read = new Map<number, Set<Value>>();
  for (const exchange of exchanges) {
    for (const { key, value } of writesOf(opOf(exchange))) {
      const name = nameOf(key, value);
      if (writers.has(name)) throw new Error(`value ${value} is written to key ${key} twice: nothing can be told`);
      writers.set(name, exchange);
    }
    if (typeOf(exchange) !== "ok") continue;
    for (const [key, pairs] of readsOf(opOf(exchange))) {
      let values = read.get(key);
      if (values === undefined) read.set(key, (values = new Set()));
      for (const [, value] of pairs) values.add(value);
    }
  }
  const mustHaveCommitted = (exchange: Exchange): boolean => {
    const type = typeOf(exchange);
    if (type !== "info") return type === "ok";
    return writesOf(opOf(exchange)).some(({ key, value }) => read.get(key)?.has(value) === true);
  };
  const versions = new VersionOrder();
  for (const exchange of exchanges) {
    const op = opOf(exchange);
    if (mustHaveCommitted(exchange)) {
      for (const { key, offset, value } of writesOf(op)) versions.add(key, offset, value);
    }
    for (const [key, pairs] of readsOf(op)) for (const [offset, value] of pairs) versions.add(key, offset, value);
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

export interface WrongRead {
  readonly key: number;
  readonly value: Value;
  /** Index of the operation that read, and of the one that wrote. */
  readonly reader: number;
  readonly writer: number;
}

/** An ok operation read what a failed one wrote. */
export const abortedReads = (analysis: Analysis): WrongRead[] =>
  analysis.exchanges.flatMap((exchange) => {
    if (typeOf(exchange) !== "ok") return [];
    const found: WrongRead[] = [];
    for (const [key, pairs] of readsOf(opOf(exchange))) {
      for (const [, value] of pairs) {
        const writer = writerOf(analysis, key, value);
        if (writer === undefined || typeOf(writer) !== "fail") continue;
        found.push({ key, value, reader: opOf(exchange).index, writer: opOf(writer).index });
      }
    }
    return found;
  });

/** An operation read what it wrote itself: legal in a database, not in Kafka. */
export const precommittedReads = ({ exchanges }: Analysis): WrongRead[] =>
  exchanges.flatMap((exchange) => {
    const op = opOf(exchange);
    const reads = readsOf(op);
    return writesOf(op)
      .filter(({ key, value }) => reads.get(key)?.some(([, seen]) => seen === value) === true)
      .map(({ key, value }) => ({ key, value, reader: op.index, writer: op.index }));
  });

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
    const indexes = [...read].flatMap((value) => firstIndex.get(value) ?? []);
    const bound = indexes.reduce((most, index) => Math.max(most, index), -1);
    const least = indexes.reduce((fewest, index) => Math.min(fewest, index), Number.POSITIVE_INFINITY);
    return [...lastIndex].flatMap(([value, index]): LostWrite[] => {
      if (index > bound || read.has(value)) return [];
      const writer = writerOf(analysis, key, value);
      if (writer === undefined || !analysis.mustHaveCommitted(writer)) return [];
      const where = index < least ? "prefix" : index === bound ? "postfix" : "middle";
      return [{ key, value, writer: opOf(writer).index, where }];
    });
  });

export interface WrongStep {
  readonly key: number;
  readonly from: Value;
  readonly to: Value;
  readonly delta: number;
  readonly operation: number;
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
    for (const exchange of own) {
      const { completion } = exchange;
      if (completion === undefined) continue;
      if (completion.f === "assign" || completion.f === "subscribe") {
        const kept = new Set(completion.value as ReadonlyArray<number>);
        last = new Map([...last].filter(([key]) => kept.has(key)));
        continue;
      }
      for (const [key, pairs] of readsOf(completion)) {
        const [first] = pairs;
        if (first === undefined) continue;
        const from = last.get(key);
        if (from !== undefined) {
          const delta = versions.delta(key, from, first[1]);
          steps.push({ key, from, to: first[1], delta, operation: completion.index });
        }
        if (completion.type === "ok") last.set(key, pairs[pairs.length - 1]![1]);
      }
    }
  }
  return sorted(steps);
};

/** Between consecutive values of a key inside one operation; keys that were rebalanced meanwhile are exempt. */
export const innerPollSteps = ({ exchanges, versions }: Analysis): Steps => {
  const steps: WrongStep[] = [];
  for (const exchange of exchanges) {
    const op = opOf(exchange);
    const rebalanced = new Set(op.rebalanceLog?.flatMap(({ keys }) => keys));
    for (const [key, pairs] of readsOf(op)) {
      if (rebalanced.has(key)) continue;
      for (let at = 1; at < pairs.length; at++) {
        const [from, to] = [pairs[at - 1]![1], pairs[at]![1]];
        steps.push({ key, from, to, delta: versions.delta(key, from, to), operation: op.index });
      }
    }
  }
  return sorted(steps);
};

/** Between consecutive sends to a key inside one operation. */
export const innerSendSteps = ({ exchanges, versions }: Analysis): Steps => {
  const steps: WrongStep[] = [];
  for (const exchange of exchanges) {
    const op = opOf(exchange);
    const last = new Map<number, Value>();
    for (const { key, value } of writesOf(op)) {
      const from = last.get(key);
      if (from !== undefined) {
        steps.push({ key, from, to: value, delta: versions.delta(key, from, value), operation: op.index });
      }
      last.set(key, value);
    }
  }
  return sorted(steps);
};

/** Between the last send of a process's previous operation on a key and the first of its next; failed ones are left out. */
export const sendSteps = ({ exchanges, versions }: Analysis): WrongStep[] => {
  const steps: WrongStep[] = [];
  for (const own of byProcess(exchanges)) {
    const last = new Map<number, Value>();
    for (const exchange of own) {
      if (typeOf(exchange) === "fail") continue;
      const op = opOf(exchange);
      const writes = writesOf(op);
      for (const key of new Set(writes.map((write) => write.key))) {
        const values = writes.filter((write) => write.key === key).map(({ value }) => value);
        const from = last.get(key);
        const to = values[0]!;
        if (from !== undefined) {
          steps.push({ key, from, to, delta: versions.delta(key, from, to), operation: op.index });
        }
        last.set(key, values[values.length - 1]!);
      }
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
  exchanges.flatMap((exchange) =>
    typeOf(exchange) !== "ok"
      ? []
      : writesOf(opOf(exchange))
          .filter(({ key, value }) => read.get(key)?.has(value) !== true)
          .map(({ key, value }) => ({ key, value, writer: opOf(exchange).index })),
  );

/** The graph over operations that did not fail, named by their invocations. */
export const dependencies = (analysis: Analysis, wwDeps: boolean): DependencyGraph => {
  const graph = new DependencyGraph();
  const { versions, exchanges } = analysis;
  if (wwDeps) {
    for (const key of versions.keys) {
      const { values } = versions.log(key);
      for (let at = 1; at < values.length; at++) {
        for (const before of values[at - 1]!) {
          for (const after of values[at]!) {
            const from = writerOf(analysis, key, before);
            const to = writerOf(analysis, key, after);
            if (from === undefined || to === undefined || typeOf(from) === "fail" || typeOf(to) === "fail") continue;
            graph.add("ww", from.invocation.index, to.invocation.index);
          }
        }
      }
    }
  }
  for (const exchange of exchanges) {
    if (typeOf(exchange) === "fail") continue;
    for (const [key, pairs] of readsOf(opOf(exchange))) {
      for (const [, value] of pairs) {
        const writer = writerOf(analysis, key, value);
        if (writer === undefined || typeOf(writer) === "fail") continue;
        graph.add("wr", writer.invocation.index, exchange.invocation.index);
      }
    }
  }
  for (const own of byProcess(exchanges)) {
    const kept = own.filter((exchange) => typeOf(exchange) !== "fail");
    for (let at = 1; at < kept.length; at++) {
      graph.add("process", kept[at - 1]!.invocation.index, kept[at]!.invocation.index);
    }
  }
  addRealTime(graph, analysis);
  return graph;
};

/** Only an ok operation is known to be over. The frontier holds those over which no later one has yet passed. */
const addRealTime = (graph: DependencyGraph, { history, exchanges }: Analysis): void => {
  const begun = new Map(exchanges.map((exchange) => [exchange.invocation.index, exchange]));
  const ended = new Map(
    exchanges.flatMap((exchange) =>
      exchange.completion?.type === "ok" ? [[exchange.completion.index, exchange] as const] : [],
    ),
  );
  let frontier: number[] = [];
  const before = new Map<number, ReadonlyArray<number>>();
  for (const op of history) {
    const beginning = begun.get(op.index);
    if (beginning !== undefined && typeOf(beginning) !== "fail") {
      before.set(op.index, frontier);
      for (const earlier of frontier) graph.add("realtime", earlier, op.index);
    }
    const ending = ended.get(op.index);
    if (ending === undefined) continue;
    const { index } = ending.invocation;
    const passed = new Set(before.get(index));
    frontier = [...frontier.filter((earlier) => !passed.has(earlier)), index];
  }
};
