/**
 * A random program of everything a client can do to a log, run by our broker and by Kafka side by side: produces good and
 * bad, of all codecs, idempotent and in transactions, look-ups, configurations, retention, compaction, DeleteRecords and
 * restarts. Every answer is the same, and in the end the files are: segments, indexes, and what is in them.
 */
import { gzipSync, zstdCompressSync } from "node:zlib";
import { type BatchOptions, batch, storedBatches, type TestRecord } from "../support/Batch.ts";
import { startBroker } from "../support/Brokers.ts";
import type { Fields, Value } from "../support/Definitions.ts";
import { sleep } from "../support/Process.ts";
import { fetchBody, fieldsAt, initProducerId, listOffsetsBody, produceBody } from "../support/Requests.ts";
import type { Context, Suite } from "../support/Suite.ts";
import { beginProducer } from "../support/TransactionRequests.ts";
import { at, numberAt, textAt } from "../support/Tree.ts";
import { type ProducerIds, type Side, shownBatches, Twins } from "../support/Twins.ts";
import { Wire } from "../support/Wire.ts";
import { seeded } from "./BadInput.ts";

const SETTINGS = {
  "log.retention.check.interval.ms": "200",
  "log.initial.task.delay.ms": "100",
  "log.cleaner.backoff.ms": "100",
  "log.segment.delete.delay.ms": "0",
  "log.flush.offset.checkpoint.interval.ms": "200",
  "log.flush.start.offset.checkpoint.interval.ms": "200",
  "auto.create.topics.enable": "false",
};
const HOUR = 3_600_000;
const NEVER = "9223372036854775807";

/** Values of topic configurations that take part; some are refused. */
const CONFIGS: ReadonlyArray<readonly [name: string, values: readonly string[]]> = [
  ["max.message.bytes", ["400", "1500", "1048588", "-1"]],
  ["message.timestamp.type", ["CreateTime", "LogAppendTime", "Sometime"]],
  ["message.timestamp.before.max.ms", ["2400000", NEVER, "x"]],
  ["message.timestamp.after.max.ms", ["60000", "3600000"]],
  ["compression.type", ["producer", "uncompressed", "brotli"]],
  ["cleanup.policy", ["delete", "compact", "compact,delete", "drop"]],
  ["segment.ms", ["600000", "604800000", "0"]],
  ["internal.segment.bytes", ["2000", "6000"]],
  ["segment.index.bytes", ["10485760", "2"]],
  ["index.interval.bytes", ["0", "300", "4096"]],
  ["min.compaction.lag.ms", ["0", "-5"]],
  ["min.insync.replicas", ["1", "2"]],
  ["flush.messages", ["1", NEVER]],
  ["file.delete.delay.ms", ["0", "60000"]],
];

/** Codecs of two libraries make batches of different sizes, so where these are made segments end elsewhere. */
const COMPRESSION = ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

interface Topic {
  readonly name: string;
  /** What it is sent: nothing compressed, what clients compress, or what the brokers compress as well. */
  readonly compressed: "never" | "by clients" | "by brokers";
  /** Its segments end at the same offsets in both. */
  exact: boolean;
  /** Its records may have the broker's time. */
  appendTime: boolean;
  /** Its log may begin inside a segment. */
  trimmed: boolean;
  /** It was compacted. */
  cleaned: boolean;
}

interface Idempotent {
  readonly name: string;
  readonly transactionalId: string | null;
  ids: [ProducerIds, ProducerIds];
  /** The next sequence of each topic. */
  readonly next: Map<string, number>;
  last: Map<string, (ids: ProducerIds) => Buffer>;
  open: boolean;
}

class Program {
  readonly random: (bound: number) => number;
  readonly twins: Twins;
  readonly topics: Topic[] = [];
  readonly producers: Idempotent[] = [];
  #named = 0;

  constructor(twins: Twins, seed: number) {
    this.twins = twins;
    this.random = seeded(seed);
  }

  pick<A>(values: readonly A[]): A {
    return values[this.random(values.length)]!;
  }

  chance(one: number): boolean {
    return this.random(one) === 0;
  }

  /** Half an hour to an hour ago; now and then far in the past or the future, or none. */
  time(): number {
    const { startedAt } = this.twins;
    if (this.chance(40)) return this.pick([startedAt - 30 * HOUR, startedAt + 2 * HOUR, -1, 0]);
    return startedAt - HOUR + this.random(HOUR / 2);
  }

  records(): TestRecord[] {
    const start = this.time();
    return Array.from({ length: 1 + this.random(5) }, (_, index) => ({
      key: this.chance(25) ? null : `k${this.random(12)}`,
      value: this.chance(8) ? null : `${this.random(1000)} ${"v".repeat(this.random(this.chance(6) ? 500 : 60))}`,
      timestamp: this.chance(10) ? this.time() : start < 1000 ? start : start + index * this.random(2000),
      ...(this.chance(5) ? { headers: { h: `${this.random(9)}` } } : {}),
    }));
  }

  /** Something that is wrong with a batch, as a rule nothing. */
  fault(): BatchOptions {
    if (!this.chance(14)) return {};
    return this.pick<BatchOptions>([
      { crcError: 1 },
      { baseOffset: 5 },
      { lastOffsetDelta: 9 },
      { count: 9 },
      { attributes: 0x20 },
      { attributes: 0x10 },
      { attributes: 0x48 },
      { attributes: 8 },
      { magic: 1 },
      { maxTimestamp: 17 },
      { leaderEpoch: 77 },
    ]);
  }

  compression(topic: Topic, records: readonly TestRecord[], options: BatchOptions): BatchOptions {
    if (topic.compressed === "never" || !this.chance(2) || options.attributes !== undefined) return {};
    const plain = batch({ records, ...options }).subarray(61);
    return this.pick<() => BatchOptions>([
      () => ({ attributes: 1, payload: gzipSync(plain) }),
      () => ({ attributes: 2, payload: snappy(plain) }),
      () => ({ attributes: 3, payload: lz4(plain) }),
      () => ({ attributes: 4, payload: zstdCompressSync(plain) }),
    ])();
  }

  async createTopic(): Promise<void> {
    const configs = {
      "internal.segment.bytes": this.pick(["2000", "5000"]),
      "index.interval.bytes": this.pick(["0", "200", "4096"]),
      "cleanup.policy": this.pick(["delete", "compact", "compact,delete"]),
      "retention.ms": "-1",
      "delete.retention.ms": NEVER,
      "min.cleanable.dirty.ratio": "1",
    };
    const index = this.topics.length;
    const compressed = index < 2 ? "never" : index === 2 ? "by clients" : "by brokers";
    const topic: Topic = {
      name: `t${index}`,
      compressed,
      exact: compressed !== "by brokers",
      appendTime: false,
      trimmed: false,
      cleaned: false,
    };
    await this.twins.same(`create ${topic.name} ${JSON.stringify(configs)}`, (side) =>
      side.call("CreateTopics", 7, {
        topics: [
          {
            name: topic.name,
            numPartitions: 1,
            replicationFactor: 1,
            configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
          },
        ],
        timeoutMs: 10_000,
      }),
    );
    await this.twins.settled(`${topic.name} is led`, (side) => this.offset(side, topic, -1));
    this.topics.push(topic);
  }

  async createProducer(transactional: boolean): Promise<void> {
    const name = `producer ${this.producers.length}`;
    const transactionalId = transactional ? name : null;
    const ids = await this.twins.each((side) => this.initialise(side, transactionalId));
    const producer = { name, transactionalId, ids, next: new Map(), last: new Map(), open: false };
    this.nameProducer(producer);
    this.producers.push(producer);
  }

  async initialise(side: Side, transactionalId: string | null): Promise<ProducerIds> {
    const wire = await Wire.open(side.broker);
    try {
      return await (transactionalId === null ? initProducerId(wire) : beginProducer(wire, transactionalId));
    } finally {
      wire.close();
    }
  }

  nameProducer({ name, ids }: Idempotent): void {
    for (const [index, side] of this.twins.sides.entries()) {
      const { producerId } = ids[index]!;
      if (typeof side.producer(producerId) === "number") side.nameProducer(producerId, `${name} (${this.#named})`);
    }
    this.#named += 1;
  }

  idsOf({ ids }: Idempotent, side: Side): ProducerIds {
    return side === this.twins.sides[0] ? ids[0] : ids[1];
  }

  async send(what: string, topic: Topic, bytes: (side: Side) => Buffer, transactionalId: string | null = null) {
    const options = { version: transactionalId === null ? 9 : 12, transactionalId, acks: this.chance(8) ? 1 : -1 };
    const answer = await this.twins.same(`${what} to ${topic.name}`, (side) =>
      side.call("Produce", options.version, produceBody(topic.name, bytes(side), options)),
    );
    // Ours answers before the flush that makes it visible.
    if (options.acks === 1) await this.settledEnds(topic);
    if (topic.compressed !== "by brokers") {
      await this.agreed(`the last segment of ${topic.name}`, async (side) => this.lastSegment(side, topic));
    }
    return numberAt(answer, "responses.0.partitionResponses.0.errorCode");
  }

  async produce(): Promise<void> {
    const topic = this.pick(this.topics);
    const records = this.records();
    const fault = this.fault();
    const bytes = batch({ records, ...fault, ...this.compression(topic, records, fault) });
    await this.send(`produce ${shownRecords(records)} ${JSON.stringify(fault)}`, topic, () => bytes);
  }

  /** A producer whose last record is a day old is forgotten at Kafka's next start, and by ours with the next sweep. */
  recent(records: readonly TestRecord[]): TestRecord[] {
    const { startedAt } = this.twins;
    const old = (timestamp = 0) => timestamp < startedAt - 2 * HOUR;
    return records.map((record) => (old(record.timestamp) ? { ...record, timestamp: startedAt - HOUR / 2 } : record));
  }

  async produceIdempotent(): Promise<void> {
    const producer = this.pick(this.producers);
    const topic = this.pick(this.topics);
    const transactional = producer.transactionalId !== null;
    const repeated = producer.last.get(topic.name);
    // In Kafka what is refused as a duplicate or a gap may have rolled the log: where that shows, there is neither.
    const mayRoll = topic.compressed === "by brokers";
    if (repeated !== undefined && mayRoll && this.chance(6)) {
      const again = (side: Side) => repeated(this.idsOf(producer, side));
      await this.send(`${producer.name} again`, topic, again, producer.transactionalId);
      return;
    }
    const next = producer.next.get(topic.name) ?? 0;
    const sequence = mayRoll && this.chance(6) ? Math.max(0, next + this.random(9) - 4) : next;
    const records = this.recent(this.records());
    const attributes = transactional ? 0x10 : 0;
    // Kafka adds the partition of a batch before it judges the batch, ours behind that: here it is there before both.
    if (transactional) {
      const topics = [{ name: topic.name, partitions: [0] }];
      const { transactionalId } = producer;
      await this.twins.same(`${producer.name} adds ${topic.name}`, (side) =>
        side.call("AddPartitionsToTxn", 3, {
          v3AndBelowTransactionalId: transactionalId,
          ...prefixed(this.idsOf(producer, side)),
          v3AndBelowTopics: topics,
        }),
      );
      producer.open = true;
    }
    const make = ({ producerId, producerEpoch }: ProducerIds) =>
      batch({ records, attributes, producerId, producerEpoch, sequence });
    const code = await this.send(
      `${producer.name} ${sequence} (${next}) ${shownRecords(records)}`,
      topic,
      (side) => make(this.idsOf(producer, side)),
      producer.transactionalId,
    );
    // A sequence that is not the next one may be a duplicate by accident: what is next stays as it was.
    if (code === 0 && sequence >= next) {
      producer.next.set(topic.name, sequence + records.length);
      producer.last.set(topic.name, make);
    }
  }

  async endTransaction(): Promise<void> {
    const producer = this.pick(this.producers.filter(({ transactionalId }) => transactionalId !== null));
    if (!producer.open && !this.chance(5)) return;
    const committed = this.chance(2);
    const bumped = await this.twins.each(async (side) => {
      const { producerId, producerEpoch } = this.idsOf(producer, side);
      for (;;) {
        const { transactionalId } = producer;
        const answer = await side.call("EndTxn", 5, { transactionalId, producerId, producerEpoch, committed });
        const errorCode = numberAt(answer, "errorCode");
        if (errorCode === 51) continue;
        const [id, epoch] = [numberAt(answer, "producerId"), numberAt(answer, "producerEpoch")];
        return { errorCode, ids: { producerId: id, producerEpoch: epoch } };
      }
    });
    await this.twins.same(`${producer.name} ${committed ? "commits" : "aborts"}`, async (side) => {
      const { errorCode, ids } = side === this.twins.sides[0] ? bumped[0] : bumped[1];
      return { errorCode, epoch: ids.producerEpoch };
    });
    if (bumped[0].errorCode === 0) {
      producer.ids = [bumped[0].ids, bumped[1].ids];
      producer.next.clear();
      producer.last.clear();
      producer.open = false;
    }
    await this.completed(producer);
    await this.settledOffsets();
  }

  /** Markers are written after the answer. */
  async completed({ transactionalId }: Idempotent): Promise<void> {
    await this.twins.each(async (side) => {
      const deadline = performance.now() + 10_000;
      while (performance.now() < deadline) {
        const answer = await side.call("DescribeTransactions", 0, { transactionalIds: [transactionalId] });
        if (/^(Complete|Empty)/.test(textAt(answer, "transactionStates.0.transactionState"))) return;
        await sleep(5);
      }
      throw new Error(`${transactionalId} is not complete after 10 s`);
    });
  }

  async coordinated(transactionalId: string): Promise<void> {
    await this.agreed(`the coordinator of ${transactionalId}`, async (side) => {
      const answer = await side.call("DescribeTransactions", 0, { transactionalIds: [transactionalId] });
      const errorCode = numberAt(answer, "transactionStates.0.errorCode");
      return errorCode === 0 ? "there" : `${side === this.twins.sides[0] ? "ours" : "Kafka's"} is not there`;
    });
  }

  async settledOffsets(): Promise<void> {
    for (const topic of this.topics) await this.settledEnds(topic);
  }

  settledEnds(topic: Topic): Promise<void> {
    return this.agreed(`the ends of ${topic.name}`, (side) => this.ends(side, topic));
  }

  /** Both come to the same at once or soon. */
  async agreed(what: string, work: (side: Side) => Promise<Value>): Promise<void> {
    const deadline = performance.now() + 10_000;
    for (;;) {
      const [ours, kafka] = await this.twins.ask(work);
      if (Bun.deepEquals(ours, kafka, true)) return;
      if (performance.now() > deadline) this.twins.differ(what, ours, kafka);
    }
  }

  /** Where the segment that is written begins, and its size: both roll at the same batches. */
  lastSegment(side: Side, topic: Topic): Value {
    const [name, bytes] =
      [...side.files(`${topic.name}-0`, ".log")].filter(([, { length }]) => length > 0).at(-1) ?? [];
    return [name ?? null, bytes?.length ?? 0];
  }

  async ends(side: Side, topic: Topic): Promise<Value> {
    return [await this.offset(side, topic, -1, 0), await this.offset(side, topic, -1, 1)];
  }

  offset(side: Side, { name }: Topic, timestamp: number, isolation = 0): Promise<Fields> {
    return side.call("ListOffsets", 10, { ...listOffsetsBody(name, 0, timestamp, isolation), timeoutMs: 5000 });
  }

  async lookUp(): Promise<void> {
    const topic = this.pick(this.topics);
    const specials = topic.appendTime ? [-1, -2, -4, -5, -6] : [-1, -2, -3, -3, -4, -5, -6, -7];
    // A time that a deleted record answers has none in Kafka, which looks into one segment only.
    const timestamp = topic.trimmed || this.chance(3) ? this.pick(specials) : this.time();
    // Kafka has none where the largest is not yet stable, ours is the largest that is (README, Deviations).
    const isolation = timestamp === -3 ? 0 : this.random(2);
    await this.twins.same(`ListOffsets ${timestamp} of ${topic.name}, isolation ${isolation}`, (side) =>
      this.offset(side, topic, timestamp, isolation),
    );
  }

  /** Read to the end, in as many answers as each wants: ours may go on behind a segment's end where Kafka does not. */
  async fetch(topic: Topic, offset: number, isolationLevel: number, maxBytes: number): Promise<void> {
    await this.twins.same(
      `fetch ${topic.name} from ${offset}, isolation ${isolationLevel}, ${maxBytes} bytes`,
      (side) => this.readFrom(side, topic, offset, isolationLevel, maxBytes),
    );
  }

  async fetchSomewhere(): Promise<void> {
    const topic = this.pick(this.topics);
    const answer = await this.offset(this.twins.sides[0], topic, -1);
    const end = numberAt(answer, "topics.0.partitions.0.offset");
    await this.fetch(topic, this.random(end + 2), this.random(2), this.chance(2) ? 50 << 20 : 1 + this.random(900));
  }

  async configure(name?: string, value?: string, chosen?: Topic): Promise<void> {
    const topic = chosen ?? this.pick(this.topics);
    const recompress = topic.compressed === "by brokers" && this.chance(2);
    const [anyName, values] = recompress ? (["compression.type", COMPRESSION] as const) : this.pick(CONFIGS);
    const config = { name: name ?? anyName, value: value ?? this.pick(values), configOperation: 0 };
    const code = await this.twins.same(`${topic.name}: ${config.name}=${config.value}`, (side) =>
      side.call("IncrementalAlterConfigs", 1, {
        resources: [{ resourceType: 2, resourceName: topic.name, configs: [config] }],
        validateOnly: false,
      }),
    );
    if (config.value === "LogAppendTime" && at(code, "responses.0.errorCode") === 0) topic.appendTime = true;
    // In Kafka the answer may come before anybody has heard of it, and before the log has when the others have.
    if (at(code, "responses.0.errorCode") === 0)
      await this.agreed(`${topic.name}: ${config.name} is known`, (side) =>
        side.call("DescribeConfigs", 4, {
          resources: [{ resourceType: 2, resourceName: topic.name, configurationKeys: [config.name] }],
          includeSynonyms: false,
          includeDocumentation: false,
        }),
      );
    await this.twins.each(() => new Promise((resolve) => setTimeout(resolve, 60)));
  }

  async deleteRecords(): Promise<void> {
    const topic = this.pick(this.topics);
    const latest = async (isolation: number) =>
      numberAt(await this.offset(this.twins.sides[0], topic, -1, isolation), "topics.0.partitions.0.offset");
    const [end, stable] = [await latest(0), await latest(1)];
    // With a log start inside an open transaction Kafka's last stable offset falls below it (README, Deviations).
    const everything = end === stable ? -1 : -2;
    const below = Math.min(Math.floor(end / 2), stable);
    const offset = this.chance(6) ? this.pick([everything, -2, end + 1]) : this.random(below + 1);
    topic.trimmed = true;
    await this.twins.same(`delete ${topic.name} below ${offset}`, (side) =>
      side.call("DeleteRecords", 2, {
        topics: [{ name: topic.name, partitions: [{ partitionIndex: 0, offset }] }],
        timeoutMs: 5000,
      }),
    );
  }

  async retention(): Promise<void> {
    const alike = this.topics.filter((topic) => topic.exact && this.joinedAlike(topic));
    if (alike.length === 0) return;
    const topic = this.pick(alike);
    const [name, value, usual] = this.pick([
      ["retention.ms", "2700000", "-1"],
      ["retention.ms", "1000", "-1"],
      ["retention.bytes", "3000", "-1"],
      ["retention.bytes", "0", "-1"],
    ] as const);
    await this.configure(name, value, topic);
    await this.twins.settled(`${topic.name}: what retention leaves`, (side) => this.offset(side, topic, -2));
    await this.configure(name, usual, topic);
    await this.files(topic);
  }

  async compaction(): Promise<void> {
    const topic = this.pick(this.topics.filter(({ compressed }) => compressed !== "by brokers"));
    if (topic.compressed !== "never") topic.exact = false;
    topic.cleaned = true;
    await this.configure("min.cleanable.dirty.ratio", "0", topic);
    await this.twins.settled(`${topic.name}: what compaction leaves`, (side) => this.content(side, topic));
    await this.configure("min.cleanable.dirty.ratio", "1", topic);
    await this.files(topic);
  }

  /**
   * Whether both put the same segments together: an emptied batch that ours keeps (README, Deviations) may be what no
   * longer fits.
   */
  joinedAlike(topic: Topic): boolean {
    const [ours, kafka] = this.twins.sides.map((side) =>
      [...side.files(`${topic.name}-0`, ".log")].filter(([, { length }]) => length > 0),
    ) as [[string, Buffer][], [string, Buffer][]];
    const names = (files: [string, Buffer][]): string => files.map(([name]) => name).join();
    if (!topic.cleaned) return true;
    return (
      names(ours) === names(kafka) || !ours.some(([, bytes]) => storedBatches(bytes).some(({ count }) => count === 0))
    );
  }

  /** Everything a reader sees. */
  async content(side: Side, topic: Topic): Promise<Value> {
    const start = await this.offset(side, topic, -2);
    return [start, await this.readFrom(side, topic, numberAt(start, "topics.0.partitions.0.offset"))];
  }

  async readFrom(side: Side, topic: Topic, offset: number, isolationLevel = 1, maxBytes = 50 << 20): Promise<Value> {
    const chunks: Uint8Array[] = [];
    const listed: { readonly [name: string]: number }[] = [];
    for (let next = offset; ; ) {
      const body = fetchBody(topic.name, next, { isolationLevel, partitionMaxBytes: maxBytes });
      const { records, abortedTransactions, ...rest } = fieldsAt(
        await side.call("Fetch", 11, body),
        "responses.0.partitions.0",
      );
      const chunk = records as Uint8Array;
      const last = storedBatches(chunk).at(-1);
      if (last === undefined) {
        const whole = Buffer.concat(chunks);
        const aborted = new Set(listed.flatMap((one) => this.shownAborted(side, topic, whole, offset, one)));
        return { ...rest, records: whole, aborted: [...aborted].sort() };
      }
      // Kafka takes the end of what it answers from its index, so it may list transactions behind that.
      const upTo = ({ firstOffset }: { readonly [name: string]: number }) => firstOffset! <= last.lastOffset;
      listed.push(...((abortedTransactions ?? []) as typeof listed).filter(upTo));
      chunks.push(Buffer.from(chunk).subarray(0, wholeBytes(chunk)));
      next = last.lastOffset + 1;
    }
  }

  /** None when it says nothing of what was read. */
  private shownAborted(
    side: Side,
    topic: Topic,
    read: Buffer,
    from: number,
    listed: { readonly [name: string]: number },
  ) {
    const { producerId = -1, firstOffset = -1 } = listed;
    const record = firstRecordOf(read, producerId, firstOffset);
    // Ours keeps the last batch of a segment, if need be empty, and lists its transaction as long (README, Deviations).
    if (record === undefined && topic.cleaned) return [];
    // Where its beginning is deleted, Kafka's index after a crash says where what is left begins (README, Deviations).
    const begins = firstOffset < from ? (record ?? firstOffset) : firstOffset;
    return [`${begins} of ${side.producer(producerId)}`];
  }

  /** The segments: their names and batches. Ours makes a file with its first batch. */
  async files(topic: Topic): Promise<void> {
    if (!topic.exact || !this.joinedAlike(topic)) return;
    const segments = async (side: Side) =>
      Object.fromEntries(
        [...side.files(`${topic.name}-0`, ".log")]
          .map(([name, bytes]) => [name, shownBatches(bytes, side, this.twins.startedAt)] as const)
          .filter(([, batches]) => batches.length > 0),
      );
    await this.twins.settled(`the segments of ${topic.name}`, segments, 10_000);
  }

  async producersOf(): Promise<void> {
    const topic = this.pick(this.topics);
    await this.twins.same(`DescribeProducers ${topic.name}`, async (side) => {
      const topics = [{ name: topic.name, partitionIndexes: [0] }];
      const answer = await side.call("DescribeProducers", 0, { topics });
      const active = at(answer, "topics.0.partitions.0.activeProducers") as readonly Fields[];
      const named = active.map((each) => ({ ...each, order: side.producer(each.producerId as number) }));
      return named.sort((a, b) => (String(a.order) < String(b.order) ? -1 : 1));
    });
  }

  async restart(): Promise<void> {
    // Where a log begins is in a checkpoint file by then, and so survives kill -9.
    await sleep(600);
    await this.twins.restart(
      this.chance(2),
      this.topics.map(({ name }) => name),
    );
    // And its transaction coordinators read their logs after the start.
    for (const { transactionalId } of this.producers)
      if (transactionalId !== null) await this.coordinated(transactionalId);
    // Kafka's snapshot keeps one batch of a producer, ours the window: only the last may come again (README, Deviations).
    await this.settledOffsets();
  }

  async step(): Promise<void> {
    const roll = this.random(100);
    if (roll < 42) await this.produce();
    else if (roll < 60) await this.produceIdempotent();
    else if (roll < 65) await this.endTransaction();
    else if (roll < 75) await this.lookUp();
    else if (roll < 84) await this.fetchSomewhere();
    else if (roll < 91) await this.configure();
    else if (roll < 93) await this.deleteRecords();
    else if (roll < 95) await this.producersOf();
    else if (roll < 97) await this.retention();
    else if (roll < 99) await this.compaction();
    else if (this.chance(3)) await this.restart();
  }

  async run(steps: number): Promise<void> {
    for (let index = 0; index < 4; index++) await this.createTopic();
    for (let index = 0; index < 4; index++) await this.createProducer(index >= 2);
    for (let index = 0; index < steps; index++) await this.step();
    for (const topic of this.topics) {
      await this.twins.settled(`all of ${topic.name}`, (side) => this.content(side, topic));
      await this.files(topic);
    }
  }
}

const prefixed = ({ producerId, producerEpoch }: ProducerIds): Fields => ({
  v3AndBelowProducerId: producerId,
  v3AndBelowProducerEpoch: producerEpoch,
});

/** Where what is left of a transaction begins; undefined when nothing is. */
const firstRecordOf = (read: Uint8Array, producerId: number, firstOffset: number): number | undefined => {
  const own = storedBatches(read).filter((one) => one.producerId === producerId && one.lastOffset >= firstOffset);
  const end = own.findIndex(({ attributes }) => (attributes & 0x20) !== 0);
  return (end < 0 ? own : own.slice(0, end)).find(({ count }) => count > 0)?.baseOffset;
};

/** A batch that is cut is read again. */
const wholeBytes = (chunk: Uint8Array): number =>
  storedBatches(chunk).reduce((sum, { bytes }) => sum + bytes.length, 0);

const shownRecords = (records: readonly TestRecord[]): string =>
  records.map(({ key, value, timestamp }) => `${key}=${value?.slice(0, 3)}(${value?.length})@${timestamp}`).join(" ");

/** A block that is one literal. */
const snappy = (plain: Uint8Array): Buffer => {
  const size = plain.length;
  const length: number[] = [];
  for (let rest = size; ; rest >>>= 7) {
    if (rest < 128) {
      length.push(rest);
      break;
    }
    length.push((rest & 127) | 128);
  }
  return Buffer.concat([Buffer.from([...length, 61 << 2, (size - 1) & 255, (size - 1) >> 8]), plain]);
};

/** A frame of one stored block. */
const lz4 = (plain: Uint8Array): Buffer => {
  const descriptor = Buffer.from([0x60, 0x40]);
  const check = (Number(Bun.hash.xxHash32(descriptor)) >>> 8) & 255;
  const size = Buffer.alloc(4);
  size.writeUInt32LE((plain.length | 0x80000000) >>> 0);
  return Buffer.concat([
    Buffer.from("04224d18", "hex"),
    descriptor,
    Buffer.from([check]),
    size,
    plain,
    Buffer.alloc(4),
  ]);
};

const program = (seed: number, steps: number, full: boolean) => ({
  name: `a random program of ${steps} steps, seed ${seed}: Kafka answers the same and leaves the same files`,
  own: true,
  full,
  timeoutMs: 600_000,
  async run(context: Context) {
    const ours = await context.ownBroker(SETTINGS);
    const kafka = await startBroker("kafka", `${context.directory}/kafka`, SETTINGS);
    context.cleanup(() => kafka.stop());
    const twins = new Twins(ours, kafka);
    context.cleanup(() => {
      for (const side of twins.sides) side.disconnect();
    });
    await new Program(twins, seed).run(steps);
  },
});

const chosen = process.env.ODRADEK_SEED;

export const suite: Suite = {
  name: "log differential",
  oursOnly: true,
  tests:
    chosen === undefined
      ? [program(1, 150, false), ...[2, 3, 4].map((seed) => program(seed, 1000, true))]
      : [program(Number(chosen), 1000, false)],
};
