/**
 * The command line's door over the stream protocol: the gateway's WebSocket, spoken by the stream client. What must stay
 * true: a record counts as taken only when the next ones are asked for, so that what a member gives up is what was
 * printed; what this door cannot do is refused by name, never done by half.
 */
import type { ConsumedRecord, PartitionBounds } from "../src/cli/ConsumedRecord.ts";
import type {
  Delivery,
  GroupMember,
  MemberOptions,
  OffsetToWrite,
  RecordDoor,
  RecordSink,
  RecordSource,
  Sent,
  SinkOptions,
  SourceOptions,
} from "../src/cli/RecordDoor.ts";
import {
  type Client,
  type Consumer,
  type ConsumerBatch,
  connect,
  KafkaError,
  OutcomeUnknownError,
  type Producer,
} from "../src/client/Client.ts";
import type { RunningTransaction } from "../src/client/TransactionalProducer.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { Offset, TopicPartition } from "../src/prelude/Types.ts";
import type { NewRecord } from "../src/record/RecordBatchBuilder.ts";
import { StreamTopics } from "./StreamTopics.ts";

/** What is on its way or waits here. */
const WINDOW = { records: 20_000, bytes: 8 * 1024 * 1024 };
/** The gateway takes frames of 2 MiB unless it is told otherwise. */
const MOST_BATCH_BYTES = 1024 * 1024;

const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}-${partition}`;

/** Rejects when the gateway cannot be reached. */
export const openStreamDoor = async (url: string, clock: Clock): Promise<RecordDoor> =>
  new StreamDoor(await connect(url, { client: { name: "odradek", version: "1" } }), clock);

class StreamDoor implements RecordDoor {
  readonly topics: StreamTopics;

  constructor(
    private readonly client: Client,
    private readonly clock: Clock,
  ) {
    this.topics = new StreamTopics(client);
  }

  async partitionsOf(topic: string): Promise<number> {
    const { topics } = await this.client.call("topics.describe", { topics: [topic], create: true }, { kind: "read" });
    const [found] = topics;
    if (found === undefined || "error" in found) throw new Error(`${topic}: ${found?.error.name ?? "it is not there"}`);
    return found.partitions.length;
  }

  read(options: SourceOptions): RecordSource {
    return new StreamSource(this.client, this.clock, options);
  }

  join(options: MemberOptions): GroupMember {
    return new StreamMember(this.client, this.clock, options);
  }

  write(options: SinkOptions): RecordSink {
    if (options.codec !== 0) throw new Error("--compression is not for --url: its batches are not compressed");
    return new StreamSink(this.client, options);
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

type BytesConsumer = Consumer<Uint8Array, Uint8Array>;

/** Takes batches from a consumer, at most one waited for. */
class Taking {
  private readonly iterator: AsyncIterator<ConsumerBatch<Uint8Array, Uint8Array>, undefined>;
  private pending: Promise<ConsumerBatch<Uint8Array, Uint8Array> | undefined> | undefined;
  /** Where each partition was when it was last told. */
  private readonly told = new Map<string, Offset>();

  constructor(
    private readonly consumer: BytesConsumer,
    private readonly clock: Clock,
  ) {
    this.iterator = consumer.batches();
  }

  async next(maxWaitMs: number): Promise<Delivery[]> {
    // What came before is finished by asking for the next one.
    this.pending ??= this.iterator.next().then(({ value }) => value);
    this.pending.catch(() => {});
    const batch = await this.within(this.pending, maxWaitMs);
    if (batch !== undefined) this.pending = undefined;
    const bounds = this.bounds();
    const deliveries: Delivery[] = [];
    if (batch !== undefined) {
      const { position } = batch.position;
      this.told.set(nameOf(batch), position.offset);
      deliveries.push({
        topic: batch.topic,
        partition: batch.partition,
        records: batch.records.map((record) => consumed(record, position.leaderEpoch)),
        nextOffset: position.offset,
        bounds: bounds.get(nameOf(batch)) ?? UNKNOWN_BOUNDS,
      });
    }
    // Markers and what was aborted bring no batch, only a place behind them.
    for (const { topic, partition, position } of this.consumer.position()) {
      const name = nameOf({ topic, partition });
      if (this.told.get(name) === position.offset) continue;
      this.told.set(name, position.offset);
      deliveries.push({
        topic,
        partition,
        records: [],
        nextOffset: position.offset,
        bounds: bounds.get(name) ?? UNKNOWN_BOUNDS,
      });
    }
    return deliveries;
  }

  private within<A>(promise: Promise<A>, ms: number): Promise<A | undefined> {
    return new Promise((resolve, reject) => {
      const cancel = this.clock.after(ms, () => resolve(undefined));
      promise.then(resolve, reject).finally(cancel);
    });
  }

  private bounds(): ReadonlyMap<string, PartitionBounds> {
    return new Map(this.consumer.lag().map((each) => [nameOf(each), each]));
  }
}

const UNKNOWN_BOUNDS: PartitionBounds = { logStartOffset: -1, lastStableOffset: -1, highWatermark: -1 };

/** What the stream protocol says nothing of is unknown. */
const consumed = (
  {
    topic,
    partition,
    offset,
    timestamp,
    key,
    value,
    headers,
  }: ConsumerBatch<Uint8Array, Uint8Array>["records"][number],
  leaderEpoch: number,
): ConsumedRecord => ({
  topic,
  partition,
  offset,
  timestamp,
  key,
  value,
  headers: headers.map(([name, content]) => ({ key: name, value: content })),
  leaderEpoch,
  producerId: -1,
  producerEpoch: -1,
  attributes: -1,
  broker: -1,
});

const listen = (consumer: BytesConsumer, onTrouble: (line: string) => void): void => {
  consumer.on("trouble", ({ message }) => onTrouble(message));
  consumer.on("reset", ({ error, to }) => onTrouble(`${error.message}: going on from ${to}`));
};

class StreamSource implements RecordSource {
  private consumer: BytesConsumer | undefined;
  private taking: Taking | undefined;
  private readonly assigned = new Map<string, TopicPartition>();

  constructor(
    private readonly client: Client,
    private readonly clock: Clock,
    private readonly options: SourceOptions,
  ) {}

  assign(places: ReadonlyArray<TopicPartition & { readonly offset: Offset }>): void {
    const names = new Set(places.map(nameOf));
    const added = places.filter((place) => !this.assigned.has(nameOf(place)));
    const removed = [...this.assigned.values()].filter((place) => !names.has(nameOf(place)));
    for (const place of added) this.assigned.set(nameOf(place), place);
    for (const place of removed) this.assigned.delete(nameOf(place));
    const partitions = added.map(({ topic, partition, offset }) => ({ topic, partition, from: { offset } }));
    if (this.consumer !== undefined) {
      this.consumer.assign(partitions, removed);
      return;
    }
    if (partitions.length === 0) return;
    const { isolation, onTrouble } = this.options;
    this.consumer = this.client.consume({ partitions, isolation, window: WINDOW, onOutOfRange: "earliest" });
    listen(this.consumer, onTrouble);
    this.taking = new Taking(this.consumer, this.clock);
  }

  async poll(maxWaitMs: number): Promise<ReadonlyArray<Delivery>> {
    if (this.taking !== undefined) return this.taking.next(maxWaitMs);
    await new Promise<void>((resolve) => this.clock.after(maxWaitMs, resolve));
    return [];
  }

  async close(): Promise<void> {
    await this.consumer?.close();
  }
}

class StreamMember implements GroupMember {
  private readonly consumer: BytesConsumer;
  private readonly taking: Taking;

  constructor(client: Client, clock: Clock, options: MemberOptions) {
    const { groupId, topics, reset, isolation, onAssigned, onRevoked, onLost, onTrouble } = options;
    this.consumer = client.consume({
      group: groupId,
      ...(topics instanceof RegExp ? { regex: topics.source } : { topics }),
      from: reset,
      isolation,
      window: WINDOW,
      autoCommit: false,
      onOutOfRange: "earliest",
      onAssigned,
      onRevoked,
      onLost,
    });
    listen(this.consumer, onTrouble);
    this.taking = new Taking(this.consumer, clock);
  }

  get owned(): ReadonlyArray<TopicPartition> {
    return this.consumer.assignment();
  }

  poll(maxWaitMs: number): Promise<ReadonlyArray<Delivery>> {
    return this.taking.next(maxWaitMs);
  }

  position(partition: TopicPartition): Offset | undefined {
    return this.consumer.position().find((each) => nameOf(each) === nameOf(partition))?.position.offset;
  }

  async commit(offsets: ReadonlyArray<OffsetToWrite>): Promise<string | undefined> {
    try {
      await this.consumer.commit(offsets);
      return undefined;
    } catch (error) {
      return reasonOf(error);
    }
  }

  close(): Promise<void> {
    return this.consumer.close();
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof KafkaError ? error.kafkaName : error instanceof Error ? error.message : String(error);

class StreamSink implements RecordSink {
  readonly producerId = -1;
  readonly producerEpoch = -1;
  private producer: Producer<Uint8Array, Uint8Array> | undefined;
  private transaction: RunningTransaction<Uint8Array, Uint8Array> | undefined;

  constructor(
    private readonly client: Client,
    private readonly options: SinkOptions,
  ) {}

  async begin(): Promise<void> {
    const { acks, deliveryTimeoutMs, transaction } = this.options;
    // A call's records leave together: they are one batch.
    const batching = { batchBytes: MOST_BATCH_BYTES, batchRecords: 1_000_000, deliveryTimeoutMs };
    if (transaction === undefined) {
      this.producer = this.client.producer({ ...batching, acks, idempotent: acks === -1 });
      return;
    }
    const { id, timeoutMs } = transaction;
    this.transaction = await this.client.transactional(id, { ...batching, transactionTimeoutMs: timeoutMs }).begin();
  }

  async send(topic: string, partition: number, records: ReadonlyArray<NewRecord>): Promise<Sent> {
    const writer = this.transaction ?? this.producer;
    if (writer === undefined) return { type: "fail", error: "nothing has begun" };
    const sent = await Promise.allSettled(
      records.map(({ key = null, value = null, headers = [], timestamp }) =>
        writer.send({
          topic,
          partition,
          key,
          value,
          headers: headers.map((header) => [header.key, header.value] as const),
          ...(timestamp === undefined ? {} : { timestamp }),
        }),
      ),
    );
    const refused = sent.find((each) => each.status === "rejected");
    if (refused !== undefined) {
      const type = refused.reason instanceof OutcomeUnknownError ? "info" : "fail";
      return { type, error: reasonOf(refused.reason) };
    }
    const places = sent.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    return {
      type: "ok",
      offsetOf: (index) => places[index]?.offset ?? -1,
      // The client says what the record has in the end: its own time, unless the log gave it another one.
      timestampOf: (index) => {
        const timestamp = places[index]?.timestamp ?? -1;
        return timestamp === records[index]?.timestamp ? -1 : timestamp;
      },
    };
  }

  async commit(): Promise<string | undefined> {
    try {
      await this.transaction?.commit();
      return undefined;
    } catch (error) {
      return reasonOf(error);
    }
  }

  async abort(): Promise<string | undefined> {
    const cause = new Error("aborted");
    const told = await this.transaction?.abort(cause);
    return told === cause || told === undefined ? undefined : reasonOf(told);
  }
}
