/**
 * What was written to topics whose records may rightly vanish (compaction, retention, DeleteRecords), and the judgement on
 * what a reader of everything finds there: nothing that was not written, everything where it was acknowledged, and of
 * what is gone only what may be (correctness.md 4.6, C1, C2, Ret1, Ret3). Pure: the same book gives the same lines.
 */
import type { Value } from "./History.ts";

export interface Written {
  readonly key: number;
  /** The record's own key; null where the topic is not compacted. */
  readonly name: string | null;
  /** Null: a tombstone. */
  readonly value: Value | null;
  /** Undefined unless acknowledged with its place. */
  offset: number | undefined;
  outcome: "ok" | "info" | "fail";
  readonly timestamp: number;
}

/** A record as it was read. */
export interface Found {
  readonly offset: number;
  readonly name: string | null;
  readonly value: Value | null;
}

export class KeyedBook {
  private readonly written: Written[] = [];
  /**
   * By key: the highest offset below which records were ever asked to be deleted. That they are is not durable, in Kafka
   * neither: the log start is in a checkpoint that a crash may set back.
   */
  private readonly deleted = new Map<number, number>();

  write(written: Written): void {
    this.written.push(written);
  }

  deleting(key: number, before: number): void {
    this.deleted.set(key, Math.max(before, this.deleted.get(key) ?? 0));
  }

  private strangers(key: number, found: ReadonlyArray<Found>): string[] {
    const wrong: string[] = [];
    const own = this.written.filter((written) => written.key === key);
    const byPlace = new Map(own.flatMap((one) => (one.offset === undefined ? [] : [[one.offset, one] as const])));
    const seen = new Set<string>();
    for (const { offset, name, value } of found) {
      const acked = byPlace.get(offset);
      const isSame = (one: Written): boolean => one.name === name && one.value === value;
      if (acked !== undefined && !isSame(acked))
        wrong.push(`C2: ${key}@${offset} is ${name}=${value}, acknowledged was ${acked.name}=${acked.value}`);
      const writer = acked ?? own.find((one) => isSame(one) && one.offset === undefined);
      if (writer === undefined) wrong.push(`phantom: ${key}@${offset}: nobody wrote ${name}=${value} there`);
      else if (writer.outcome === "fail") wrong.push(`G1a: ${key}@${offset}: ${name}=${value} was refused`);
      // Tombstones of a key look all the same.
      const text = `${name}=${value}`;
      if (value !== null && seen.has(text)) wrong.push(`duplicate: ${key}: ${text}`);
      seen.add(text);
    }
    return wrong;
  }

  /** Everything of a compacted partition as it is read from its beginning. `keepsTombstones`: none is old enough to go. */
  judgeCompacted(key: number, found: ReadonlyArray<Found>, keepsTombstones: boolean): string[] {
    const wrong = this.strangers(key, found);
    for (const [name, own] of Map.groupBy(
      this.written.filter((one) => one.key === key),
      (one) => one.name,
    )) {
      const acked = own.filter((one) => one.offset !== undefined).sort((left, right) => left.offset! - right.offset!);
      const last = acked.at(-1);
      if (last === undefined) continue;
      if (found.some((one) => one.name === name && one.offset >= last.offset!)) continue;
      // A tombstone goes in time, and one that nobody knows the fate of may have been the last.
      const mayBeGone = own.some((one) => one.value === null && (one === last || one.outcome === "info"));
      if (mayBeGone && !keepsTombstones) continue;
      wrong.push(`C1: the last record of ${name}, ${key}@${last.offset}=${last.value}, is gone`);
    }
    return wrong;
  }

  /** Everything of an expiring partition, which begins at `logStart`. `youngerThan`: timestamps that may not have expired. */
  judgeExpiring(key: number, found: ReadonlyArray<Found>, logStart: number, youngerThan: number): string[] {
    const wrong = this.strangers(key, found);
    const asked = this.deleted.get(key) ?? 0;
    const there = new Set(found.map(({ offset }) => offset));
    for (const { key: where, offset, timestamp, value } of this.written) {
      if (where !== key || offset === undefined) continue;
      if (offset >= logStart && !there.has(offset))
        wrong.push(`lost: ${key}@${offset}=${value} is behind the log start`);
      if (offset < logStart && offset >= asked && timestamp > youngerThan)
        wrong.push(`Ret1: ${key}@${offset}=${value} was deleted before its time`);
      if (offset < logStart && there.has(offset)) wrong.push(`Ret3: ${key}@${offset} is below the log start`);
    }
    return wrong;
  }

  /** Acknowledged records, and how many of them a reader still finds: whether the cleaner had anything to do. */
  get acknowledged(): number {
    return this.written.filter(({ outcome }) => outcome === "ok").length;
  }
}
