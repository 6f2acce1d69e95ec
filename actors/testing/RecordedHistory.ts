/**
 * A history of what a program's own producers and consumers did, for the checker. What must stay true: what is recorded
 * behaves as before, but for a header that numbers each record (`odradek-value`), by which it is known again when it is
 * read; a record without it is nobody's and is left out, and so is to the checker what a consumer that reads uncommitted has
 * seen of a transaction that was not committed in the end.
 */
import type { TopicPartition } from "../../src/prelude/Types.ts";
import type { NewRecord } from "../../src/record/RecordBatchBuilder.ts";
import { checkTwice, type Report, type SubscribedVia } from "./ConsistencyChecker.ts";
import type { FetchedRecord } from "./FetchedRecords.ts";
import { HistoryRecorder, type Mop, mopsOf, type Op, type Value, writesOf } from "./History.ts";
import type { KafkaConsumer, PolledPartition } from "./KafkaConsumer.ts";
import type { KafkaProducer, ProduceOutcome } from "./KafkaProducer.ts";
import { replaced } from "./Replaced.ts";
import type { TransactionOutcome } from "./TransactionManager.ts";

const HEADER = "odradek-value";

type End = ReturnType<HistoryRecorder["invoke"]>;

export class RecordedHistory {
  private readonly recorder: HistoryRecorder;
  private readonly keys = new Map<string, number>();
  private readonly places: TopicPartition[] = [];
  private readonly assigned = new Set<KafkaConsumer>();
  private nextValue = 1;
  private via = new Set<"assign" | "subscribe">();
  /** Processes whose consumers read uncommitted. */
  private readonly uncommitted = new Set<number>();

  /** `now`: any clock, the same for everything recorded. */
  constructor(now: () => number) {
    this.recorder = new HistoryRecorder(now);
  }

  /** Everything that began and ended so far. */
  get ops(): ReadonlyArray<Op> {
    return this.recorder.ops;
  }

  /** The number by which the history knows a partition. */
  keyOf({ topic, partition }: TopicPartition): number {
    const name = `${topic}-${partition}`;
    let key = this.keys.get(name);
    if (key === undefined) {
      this.keys.set(name, (key = this.places.length));
      this.places.push({ topic, partition });
    }
    return key;
  }

  /** Partitions that something was acknowledged for. */
  get written(): TopicPartition[] {
    const keys = new Set<number>();
    for (const { type, value } of this.ops) {
      if (type !== "ok") continue;
      for (const mop of value) if (typeof mop === "object" && mop[0] === "send") keys.add(mop[1]);
    }
    return [...keys].map((key) => this.places[key]!);
  }

  /** The same producer with its batches (or, if it is transactional, its transactions) as operations. */
  producer(producer: KafkaProducer): KafkaProducer {
    const process = this.recorder.newProcess();
    let transaction: OpenTransaction | undefined;
    const ended = (outcome: TransactionOutcome, whenOk: "ok" | "fail"): TransactionOutcome => {
      // A commit that failed leaves the transaction to be aborted.
      if (outcome.type !== "fail") transaction?.end(outcome.type === "ok" ? whenOk : "info", outcome);
      if (outcome.type !== "fail") transaction = undefined;
      return outcome;
    };
    return replaced(producer, {
      begin: () => {
        producer.begin();
        transaction = new OpenTransaction(this.recorder, process);
      },
      commit: async () => ended(await producer.commit(), "ok"),
      abort: async () => ended(await producer.abort(), "fail"),
      send: async (topic: string, partition: number, records: ReadonlyArray<NewRecord>) => {
        const key = this.keyOf({ topic, partition });
        const values = records.map(() => this.nextValue++);
        const marked = records.map((record, index) => numbered(record, values[index]!));
        const mops = values.map((value): Mop => ["send", key, value]);
        if (transaction !== undefined) {
          const { settled } = transaction.add(mops);
          const outcome = await producer.send(topic, partition, marked);
          settled(outcome);
          return outcome;
        }
        const end = this.recorder.invoke(process, "send", mops);
        const outcome = await producer.send(topic, partition, marked);
        if (outcome.type === "ok") end("ok", withOffsets(mops, outcome));
        else end(outcome.type, undefined, outcome.error);
        return outcome;
      },
    });
  }

  /** The same consumer with its polls as operations. What it polled before is not part of the history. */
  consumer(consumer: KafkaConsumer): KafkaConsumer {
    const newProcess = (): number => {
      const made = this.recorder.newProcess();
      if (consumer.isolation === "read_uncommitted") this.uncommitted.add(made);
      return made;
    };
    let process = newProcess();
    const moved = (f: "assign" | "subscribe", partitions: ReadonlyArray<TopicPartition>): void => {
      this.via.add(f);
      const keys = partitions.map((one) => this.keyOf(one));
      this.recorder.invoke(process, f, keys)("ok");
    };
    return replaced(consumer, {
      assign: (partitions: ReadonlyArray<TopicPartition & { readonly offset?: number }>) => {
        consumer.assign(partitions);
        this.assigned.add(consumer);
        moved("assign", partitions);
      },
      subscribe: (topics: ReadonlyArray<string> | RegExp) => {
        consumer.subscribe(topics);
        moved("subscribe", []);
      },
      seek: (partition: TopicPartition, offset: number) => {
        consumer.seek(partition, offset);
        // It begins anew: what comes next need not follow on what came before.
        process = newProcess();
        moved(this.assigned.has(consumer) ? "assign" : "subscribe", [partition]);
      },
      poll: async (maxWaitMs: number) => {
        const end = this.recorder.invoke(process, "poll", [["poll"]]);
        try {
          const polled = await consumer.poll(maxWaitMs);
          end("ok", [this.shown(polled)]);
          return polled;
        } catch (error) {
          end("info", [["poll"]], error instanceof Error ? error.message : String(error));
          throw error;
        }
      },
    });
  }

  /** Jepsen's anomalies; none when `bad` is empty. */
  check(): Report {
    return checkTwice(this.withoutUncommitted(), this.subscribedVia);
  }

  private withoutUncommitted(): Op[] {
    const [sent, committed] = [new Set<string>(), new Set<string>()];
    const nameOf = (key: number | string, value: Value): string => `${key} ${value}`;
    for (const op of this.ops) {
      if (op.f !== "txn") continue;
      for (const { key, value } of writesOf(op)) (op.type === "ok" ? committed : sent).add(nameOf(key, value));
    }
    const keep = (key: string, value: Value): boolean =>
      !sent.has(nameOf(key, value)) || committed.has(nameOf(key, value));
    return this.ops.map((op) => {
      if (!this.uncommitted.has(op.process) || op.f !== "poll") return op;
      const value = mopsOf(op).map((mop): Mop => {
        if (mop[0] !== "poll" || mop[1] === undefined) return mop;
        const kept = Object.entries(mop[1]).map(([key, pairs]) => [key, pairs.filter((pair) => keep(key, pair[1]))]);
        return ["poll", Object.fromEntries(kept)];
      });
      return { ...op, value };
    });
  }

  private get subscribedVia(): SubscribedVia {
    if (!this.via.has("subscribe")) return "assign";
    return this.via.has("assign") ? "both" : "subscribe";
  }

  private shown(polled: ReadonlyArray<PolledPartition>): Mop {
    const pairs: Record<number, Array<readonly [number, number]>> = {};
    for (const one of polled) {
      for (const record of one.records) {
        const value = numberOf(record);
        if (value !== undefined) (pairs[this.keyOf(one)] ??= []).push([record.offset, value]);
      }
    }
    return ["poll", pairs];
  }
}

/** A transaction as one operation. What it sends is in its invocation, because it may never end. */
class OpenTransaction {
  private readonly mops: Mop[] = [];
  private readonly ended: Mop[] = [];
  private readonly finish: End;

  constructor(recorder: HistoryRecorder, process: number) {
    this.finish = recorder.invoke(process, "txn", this.mops);
  }

  add(mops: ReadonlyArray<Mop>): { readonly settled: (outcome: ProduceOutcome) => void } {
    const at = this.mops.length;
    this.mops.push(...mops);
    this.ended.push(...mops);
    return {
      settled: (outcome) => {
        if (outcome.type === "ok") this.ended.splice(at, mops.length, ...withOffsets(mops, outcome));
      },
    };
  }

  end(type: "ok" | "info" | "fail", outcome: TransactionOutcome): void {
    this.finish(type, [...this.ended], outcome.type === "ok" ? undefined : outcome.error);
  }
}

const withOffsets = (mops: ReadonlyArray<Mop>, { baseOffset }: { readonly baseOffset: number }): Mop[] =>
  mops.map((mop, index) =>
    mop[0] === "send" && typeof mop[2] !== "object"
      ? ["send", mop[1], [baseOffset < 0 ? null : baseOffset + index, mop[2]]]
      : mop,
  );

const numbered = (record: NewRecord, value: number): NewRecord => ({
  ...record,
  headers: [...(record.headers ?? []), { key: HEADER, value: new TextEncoder().encode(String(value)) }],
});

const numberOf = ({ headers }: FetchedRecord): number | undefined => {
  const found = headers.findLast(({ key }) => key === HEADER)?.value;
  return found === undefined || found === null ? undefined : Number(new TextDecoder().decode(found));
};
