/**
 * The order of the values of every key, as the history shows it: offsets of sends that must have committed and of all
 * polls. What must stay true: offsets that nobody saw leave no gap (transaction markers take offsets too), so an index is
 * dense; nothing requires that an offset holds one value, because showing that it holds two is the checker's work.
 */
import type { Value } from "./History.ts";

/** One key's log. */
export interface KeyLog {
  /** Offsets that are known, ascending. */
  readonly offsets: ReadonlyArray<number>;
  /** Values by dense index; more than one is an anomaly. */
  readonly values: ReadonlyArray<ReadonlySet<Value>>;
  readonly firstIndex: ReadonlyMap<Value, number>;
  readonly lastIndex: ReadonlyMap<Value, number>;
}

export class VersionOrder {
  private readonly byOffset = new Map<number, Map<number, Set<Value>>>();
  private readonly logs = new Map<number, KeyLog>();

  /** Value `value` was seen at `offset` of `key`; an unknown offset says nothing. */
  add(key: number, offset: number | null, value: Value): void {
    if (offset === null || offset < 0) return;
    this.logs.delete(key);
    let offsets = this.byOffset.get(key);
    if (offsets === undefined) this.byOffset.set(key, (offsets = new Map()));
    const values = offsets.get(offset);
    if (values === undefined) offsets.set(offset, new Set([value]));
    else values.add(value);
  }

  get keys(): number[] {
    return [...this.byOffset.keys()].sort((left, right) => left - right);
  }

  log(key: number): KeyLog {
    const known = this.logs.get(key);
    if (known !== undefined) return known;
    const entries = [...(this.byOffset.get(key) ?? [])].sort(([left], [right]) => left - right);
    const firstIndex = new Map<Value, number>();
    const lastIndex = new Map<Value, number>();
    entries.forEach(([, values], index) => {
      for (const value of values) {
        if (!firstIndex.has(value)) firstIndex.set(value, index);
        lastIndex.set(value, index);
      }
    });
    const log: KeyLog = {
      offsets: entries.map(([offset]) => offset),
      values: entries.map(([, values]) => values),
      firstIndex,
      lastIndex,
    };
    this.logs.set(key, log);
    return log;
  }

  /** Steps from one value to another; 1 when the index of either is unknown. */
  delta(key: number, from: Value, to: Value): number {
    const { firstIndex } = this.log(key);
    const before = firstIndex.get(from);
    const after = firstIndex.get(to);
    return before === undefined || after === undefined ? 1 : after - before;
  }
}
