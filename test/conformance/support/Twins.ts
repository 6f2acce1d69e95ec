/**
 * Our broker and Apache Kafka side by side: every request goes to both, and their answers must be the same once what may
 * differ has a name of its own (producer ids, the time of day, paths). The first difference ends the run.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { makeBunCodecs } from "../../../src/platform/BunCodecs.ts";
import { records } from "../../../src/record/RecordBatch.ts";
import { storedBatches } from "./Batch.ts";
import type { Broker } from "./Brokers.ts";
import type { Fields, Value } from "./Definitions.ts";
import { sleep } from "./Process.ts";
import { numberAt, shown } from "./Tree.ts";
import { Wire } from "./Wire.ts";

const codecs = makeBunCodecs();

export interface ProducerIds {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** One of the two, with the names that its own numbers have in the program. */
export class Side {
  wire: Wire | undefined;
  readonly #names = new Map<number, string>();

  constructor(readonly broker: Broker) {}

  async call(name: string, version: number, body: Fields): Promise<Fields> {
    this.wire ??= await Wire.open(this.broker);
    return this.wire.call(name, version, body);
  }

  nameProducer(producerId: number, name: string): void {
    this.#names.set(producerId, name);
  }

  producer(producerId: number): string | number {
    return this.#names.get(producerId) ?? producerId;
  }

  disconnect(): void {
    this.wire?.close();
    this.wire = undefined;
  }

  /** Bytes of the files of a folder with one of these endings, by name. */
  files(folder: string, ...suffixes: string[]): Map<string, Buffer> {
    const directory = join(this.broker.dataDirectory, folder);
    if (!existsSync(directory)) return new Map();
    const names = readdirSync(directory).filter((name) => suffixes.some((suffix) => name.endsWith(suffix)));
    return new Map(names.sort().map((name) => [name, readFileSync(join(directory, name))]));
  }
}

/** Record batches as text, in the words of the program; those without a record, which keep a place, are left out. */
export const shownBatches = (chunk: Uint8Array, side: Side, startedAt: number): Fields[] =>
  storedBatches(chunk).flatMap((one) => {
    if (one.count === 0) return [];
    const time = (value: number) => (value >= startedAt && value < Date.now() + 1000 ? "now" : value);
    const inside = [...records(one.bytes, 0, codecs)];
    // Kafka's compaction counts a batch's times from the first record that it keeps, ours from the first there was: no
    // reader can tell, since each record's own time is the same. With the broker's time (0x08) Kafka's counts from that
    // one, in every batch that it writes anew, and it does so for a tombstone's sake alone.
    const appendTime = (one.attributes & 0x08) !== 0;
    const kept = inside.length === one.lastOffset - one.baseOffset + 1 && inside.every(({ value }) => value !== null);
    const whole = (one.attributes & 0x40) === 0 && inside[0]?.offset === one.baseOffset && (kept || !appendTime);
    return {
      offsets: `${one.baseOffset}–${one.lastOffset}`,
      attributes: one.attributes,
      first: whole ? time(one.firstTimestamp) : "of no record",
      max: time(one.maxTimestamp),
      producer: side.producer(one.producerId),
      sequence: one.sequence,
      good: one.crcGood,
      records: inside.map((record) => {
        // A marker's value also has the coordinator's epoch, which is a matter of restarts.
        const marker = (one.attributes & 0x20) !== 0;
        const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString("latin1"));
        if (marker) return `${record.offset} @${time(record.timestamp)} ${text(record.key)?.charCodeAt(3)}`;
        return `${record.offset} @${time(record.timestamp)} ${text(record.key)}=${text(record.value)?.slice(0, 40)} ${record.value?.length}`;
      }),
    };
  });

const TIMES = /^(logAppendTimeMs|timestamp|lastTimestamp|maxTimestamp)$/;
/** How many epochs a restart takes is the controller's affair. */
const OWN =
  /^(leaderEpoch|coordinatorEpoch|throttleTimeMs|logDir|totalBytes|usableBytes|topicId|sessionId|clusterId|authorizedOperations)$/;

export class Twins {
  readonly startedAt = Date.now();
  readonly sides: readonly [Side, Side];
  /** What was done, for whoever has to find out why the answers differ. */
  readonly history: string[] = [];

  constructor(ours: Broker, kafka: Broker) {
    this.sides = [new Side(ours), new Side(kafka)];
  }

  #common(value: Value | undefined, side: Side, name = ""): Value {
    if (value === undefined) return null;
    if (value instanceof Uint8Array) return shownBatches(value, side, this.startedAt);
    if (Array.isArray(value)) return value.map((each) => this.#common(each, side, name));
    if (typeof value === "number" && name === "producerId") return side.producer(value);
    if (typeof value === "number" && TIMES.test(name))
      return value >= this.startedAt && value < Date.now() + 1000 ? "now" : value;
    // The range is from and to the time of day.
    if (typeof value === "string") return value.replace(/within \[-?\d+, -?\d+\]/, "within […]");
    if (value === null || typeof value !== "object") return value;
    const kept = Object.entries(value as Fields).filter(([key]) => !OWN.test(key));
    return Object.fromEntries(kept.map(([key, each]) => [key, this.#common(each, side, key)]));
  }

  async each<A>(work: (side: Side) => Promise<A>): Promise<[A, A]> {
    const [ours, kafka] = this.sides;
    return Promise.all([work(ours), work(kafka)]);
  }

  /** Both answers in common words. */
  async ask(work: (side: Side) => Promise<Value>): Promise<[Value, Value]> {
    return this.each(async (side) => this.#common(await work(side), side));
  }

  /** Both must answer the same; the answer of ours. */
  async same(what: string, work: (side: Side) => Promise<Value>): Promise<Value> {
    this.history.push(what);
    const [ours, kafka] = await this.ask(work);
    if (!Bun.deepEquals(ours, kafka, true)) this.differ(what, ours, kafka);
    return ours;
  }

  /** Both must come to the same, and stay there for a second. */
  async settled(what: string, work: (side: Side) => Promise<Value>, timeoutMs = 30_000): Promise<Value> {
    this.history.push(what);
    const end = performance.now() + timeoutMs;
    let last: Value = null;
    let since = performance.now();
    for (;;) {
      await sleep(150);
      const [ours, kafka] = await this.ask(work);
      if (!Bun.deepEquals(ours, kafka, true)) since = Number.POSITIVE_INFINITY;
      else if (since === Number.POSITIVE_INFINITY || !Bun.deepEquals(ours, last, true)) since = performance.now();
      last = ours;
      if (performance.now() - since > 1200) return ours;
      if (performance.now() > end) this.differ(`${what}, after ${timeoutMs} ms`, ours, kafka);
    }
  }

  differ(what: string, ours: Value, kafka: Value): never {
    const before = this.history.slice(-12).join("\n  ");
    const parts = differences(ours, kafka).slice(0, 6).join("\n");
    throw new Error(`${what} (step ${this.history.length})\n${parts}\nbefore:\n  ${before}`);
  }

  async restart(kill: boolean, topics: readonly string[]): Promise<void> {
    this.history.push(kill ? "kill -9 of both" : "a restart of both");
    await this.each(async (side) => {
      side.disconnect();
      await (kill ? side.broker.kill() : side.broker.stop());
    });
    await this.each((side) => side.broker.start());
    for (const topic of topics) await this.each((side) => leads(side, topic));
  }
}

const leads = async (side: Side, name: string): Promise<void> => {
  for (let attempt = 0; attempt < 500; attempt++) {
    const partitions = [{ partitionIndex: 0, timestamp: -1, currentLeaderEpoch: -1 }];
    const answer = await side.call("ListOffsets", 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name, partitions }],
    });
    if (numberAt(answer, "topics.0.partitions.0.errorCode") === 0) return;
    await sleep(20);
  }
  throw new Error(`${name} has no leader after 10 s`);
};

/** Where two values differ, a line for each place. */
export const differences = (ours: Value | undefined, kafka: Value | undefined, path = "answer"): string[] => {
  if (Bun.deepEquals(ours, kafka, true)) return [];
  const isTree = (value: Value | undefined): value is Fields | readonly Value[] =>
    typeof value === "object" && value !== null && !(value instanceof Uint8Array);
  if (!isTree(ours) || !isTree(kafka)) return [`${path}\n  ours:  ${shown(ours)}\n  kafka: ${shown(kafka)}`];
  const names = new Set([...Object.keys(ours), ...Object.keys(kafka)]);
  const at = (tree: Fields | readonly Value[], name: string): Value | undefined => (tree as Fields)[name];
  return [...names].flatMap((name) => differences(at(ours, name), at(kafka, name), `${path}.${name}`));
};
