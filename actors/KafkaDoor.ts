/**
 * The command line's door over the Kafka protocol: records through the client's consumers and producers. What must stay
 * true: nothing is handed out that the isolation hides, and what happened is told as the client tells it.
 */
import type { ConsumedRecord } from "../src/cli/ConsumedRecord.ts";
import type {
  Delivery,
  GroupMember,
  MemberOptions,
  RecordDoor,
  RecordSink,
  RecordSource,
  Sent,
  SinkOptions,
  SourceOptions,
} from "../src/cli/RecordDoor.ts";
import type { TopicDoor } from "../src/cli/TopicDoor.ts";
import type { Endpoint } from "../src/platform/Network.ts";
import type { Offset, Timestamp } from "../src/prelude/Types.ts";
import { errorName } from "../src/protocol/Errors.ts";
import type { NewRecord } from "../src/record/RecordBatchBuilder.ts";
import { AdminClient } from "./AdminClient.ts";
import { KafkaTopics } from "./KafkaTopics.ts";
import { partitionName } from "./testing/GroupMembership.ts";
import type { ClientPlatform } from "./testing/KafkaConnection.ts";
import type { ConsumerTrouble, KafkaConsumer, PolledPartition } from "./testing/KafkaConsumer.ts";
import type { KafkaProducer } from "./testing/KafkaProducer.ts";

/** What is in memory of one answer; a batch larger than that comes alone. */
const MAX_BYTES = 8 * 1024 * 1024;

export class KafkaDoor implements RecordDoor {
  readonly topics: TopicDoor;
  private readonly admin: AdminClient;

  constructor(platform: ClientPlatform, brokers: ReadonlyArray<Endpoint>) {
    this.admin = new AdminClient(platform, brokers);
    this.topics = new KafkaTopics(this.admin);
  }

  async partitionsOf(topic: string): Promise<number> {
    return (await this.admin.client.topic(topic, { create: true })).leaders.length;
  }

  read(options: SourceOptions): RecordSource {
    const consumer = this.admin.client.consumer({ ...consumerOptions(options), autoOffsetReset: "earliest" });
    return {
      assign: (places) => {
        const known = new Set(consumer.assignment.map(partitionName));
        // With an offset, a partition that is read already would begin there anew.
        consumer.assign(
          places.map((place) =>
            known.has(partitionName(place)) ? { topic: place.topic, partition: place.partition } : place,
          ),
        );
      },
      poll: (maxWaitMs) => polled(consumer, maxWaitMs),
      close: () => consumer.close(),
    };
  }

  join(options: MemberOptions): GroupMember {
    const consumer = this.admin.client.consumer({
      ...consumerOptions(options),
      groupId: options.groupId,
      groupProtocol: options.protocol,
      autoOffsetReset: options.reset,
      onAssigned: options.onAssigned,
      onRevoked: options.onRevoked,
      onLost: options.onLost,
    });
    consumer.subscribe(options.topics);
    return {
      get owned() {
        return consumer.assignment;
      },
      poll: (maxWaitMs) => polled(consumer, maxWaitMs),
      position: (partition) => consumer.position(partition),
      commit: async (offsets) => {
        const outcome = await consumer.commit(offsets);
        return outcome.type === "ok" ? undefined : outcome.error;
      },
      close: () => consumer.close(),
    };
  }

  write(options: SinkOptions): RecordSink {
    const { acks, codec, deliveryTimeoutMs, transaction } = options;
    const producer = this.admin.client.producer({
      acks,
      idempotent: acks === -1,
      codec,
      deliveryTimeoutMs,
      createTopics: true,
      ...(transaction === undefined
        ? {}
        : { transactionalId: transaction.id, transactionTimeoutMs: transaction.timeoutMs }),
    });
    return new KafkaSink(producer, acks, transaction !== undefined);
  }

  async close(): Promise<void> {
    this.admin.close();
  }
}

const consumerOptions = ({ isolation, onTrouble }: SourceOptions) => ({
  isolation,
  maxBytes: MAX_BYTES,
  onTrouble: (trouble: ConsumerTrouble) => onTrouble(troubleLine(trouble)),
});

const troubleLine = ({ topic, partition, kind, position, errorCode }: ConsumerTrouble): string => {
  const where = `${topic} [${partition}]`;
  if (kind === "out of range")
    return `${where}: offset ${position} is not there any more, going on from the first that is`;
  if (kind === "truncated") return `${where}: the log was cut below offset ${position}, going on from there`;
  return `${where}: ${errorName(errorCode)}`;
};

const polled = async (consumer: KafkaConsumer, maxWaitMs: number): Promise<Delivery[]> =>
  (await consumer.poll(maxWaitMs)).map(delivery);

const delivery = ({ topic, partition, node, records, nextOffset, ...bounds }: PolledPartition): Delivery => ({
  topic,
  partition,
  nextOffset,
  bounds,
  records: records.map(
    (record): ConsumedRecord => ({
      topic,
      partition,
      offset: record.offset,
      timestamp: record.timestamp,
      key: record.key,
      value: record.value,
      headers: record.headers,
      leaderEpoch: record.leaderEpoch,
      producerId: record.producerId,
      producerEpoch: record.producerEpoch,
      attributes: record.attributes,
      broker: node,
    }),
  ),
});

const acknowledged = (base: Offset, appended: Timestamp): Sent => ({
  type: "ok",
  offsetOf: (index) => (base < 0 ? -1 : base + index),
  timestampOf: () => appended,
});

class KafkaSink implements RecordSink {
  constructor(
    private readonly producer: KafkaProducer,
    private readonly acks: -1 | 0 | 1,
    private readonly transactional: boolean,
  ) {}

  get producerId(): number {
    return this.producer.producerId;
  }

  get producerEpoch(): number {
    return this.producer.producerEpoch;
  }

  async begin(): Promise<void> {
    if (this.acks === -1) await this.producer.init();
    if (this.transactional) this.producer.begin();
  }

  async send(topic: string, partition: number, records: ReadonlyArray<NewRecord>): Promise<Sent> {
    const outcome = await this.producer.send(topic, partition, records);
    if (outcome.type === "ok") return acknowledged(outcome.baseOffset, outcome.logAppendTime);
    // Nobody asked for an answer.
    if (outcome.error === "LOCAL_NO_ACK") return acknowledged(-1, -1);
    return { type: outcome.type, error: outcome.error };
  }

  async commit(): Promise<string | undefined> {
    const outcome = await this.producer.commit();
    return outcome.type === "ok" ? undefined : outcome.error;
  }

  async abort(): Promise<string | undefined> {
    const outcome = await this.producer.abort();
    return outcome.type === "ok" ? undefined : outcome.error;
  }
}
