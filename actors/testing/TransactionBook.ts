/**
 * What transactions were to do and how they ended, and the judgement on it beside Jepsen's: atomicity (T9), fencing (T13)
 * and exactly-once copies. Pure: the same book gives the same lines.
 */
import type { Value } from "./History.ts";

export interface TransactionRecord {
  readonly name: string;
  /** What it wrote, by key. */
  readonly writes: Array<{ readonly key: number; readonly value: Value }>;
  end: "ok" | "info" | "fail";
}

export class TransactionBook {
  private readonly records: TransactionRecord[] = [];
  /** Of each transactional id: the newest producer that was told its id and epoch. */
  private readonly newest = new Map<string, { readonly producerId: number; readonly epoch: number }>();
  /** Which record a copy is one of. */
  private readonly sources = new Map<Value, Value>();
  private readonly found: string[] = [];

  begin(name: string): TransactionRecord {
    const record: TransactionRecord = { name, writes: [], end: "info" };
    this.records.push(record);
    return record;
  }

  /** A producer was initialized: every older one of its id is fenced from now on. */
  initialized(transactionalId: string, producerId: number, epoch: number): void {
    if (!this.isOlder(transactionalId, producerId, epoch)) this.newest.set(transactionalId, { producerId, epoch });
  }

  /** By ids and epochs, not by time: of two answers under way at once the later may be the older producer's. */
  isOlder(transactionalId: string, producerId: number, epoch: number): boolean {
    const known = this.newest.get(transactionalId);
    if (known === undefined) return false;
    return producerId === known.producerId ? epoch < known.epoch : producerId < known.producerId;
  }

  /** A commit was acknowledged; `wasFenced`: a newer producer of the id had been told so before the commit was sent. */
  committed(transactionalId: string, wasFenced: boolean): void {
    if (wasFenced) this.found.push(`T13: a commit of a fenced producer of ${transactionalId} was acknowledged`);
  }

  copy(source: Value, copy: Value): void {
    this.sources.set(copy, source);
  }

  /** `visible`: what a read_committed reader of everything sees; `sources`: what of it had to be copied. */
  judge(visible: ReadonlySet<Value>, sources: ReadonlySet<Value>): string[] {
    const found = [...this.found];
    for (const { name, writes, end } of this.records) {
      const there = writes.filter(({ value }) => visible.has(value)).length;
      if (there > 0 && there < writes.length)
        found.push(`T9: ${there} of ${writes.length} records of ${name} are seen`);
      if (end === "ok" && there < writes.length)
        found.push(`T8: ${name} is committed, ${there} of ${writes.length} are seen`);
      if (end === "fail" && there > 0) found.push(`T8: ${name} is not committed, ${there} records are seen`);
    }
    if (this.sources.size > 0) {
      const copies = new Map<Value, number>();
      for (const [copy, source] of this.sources)
        if (visible.has(copy)) copies.set(source, (copies.get(source) ?? 0) + 1);
      for (const source of sources.union(copies)) {
        const count = copies.get(source) ?? 0;
        if (count !== 1) found.push(`exactly once: ${source} is copied ${count} times`);
      }
    }
    return found;
  }
}
