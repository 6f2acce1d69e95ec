/**
 * A Kafka client over the ports: metadata, topics, offsets, fetches and producers, with the generated codecs and the
 * retry rules of librdkafka. What must stay true: it reads no clock and no random source but the ports, keeps produce
 * and fetch on connections of their own (a long poll would hold back the answers behind it), and never hides an
 * outcome: what it cannot know it calls `info`.
 */
import type { Endpoint } from "../../src/platform/Network.ts";
import type { LeaderEpoch, MonotonicMs, Offset, Timestamp, Uuid } from "../../src/prelude/Types.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, isRetriable } from "../../src/protocol/Errors.ts";
import { emptyFetchRequestFetchPartition } from "../../src/protocol/generated/FetchRequest.ts";
import { Coordinators } from "./Coordinators.ts";
import { type FetchedRecord, readFetched } from "./FetchedRecords.ts";
import { KafkaAdmin } from "./KafkaAdmin.ts";
import { type ClientPlatform, ConnectionLost, type ConnectionOptions, KafkaConnection } from "./KafkaConnection.ts";
import { type ConsumerOptions, KafkaConsumer } from "./KafkaConsumer.ts";
import { KafkaError } from "./KafkaError.ts";
import { KafkaProducer, type ProducerOptions } from "./KafkaProducer.ts";

export interface ClientOptions extends ConnectionOptions {
  /** Brokers to ask first. */
  readonly bootstrap: ReadonlyArray<Endpoint>;
  /** Pause before a retry (default 100). */
  readonly retryBackoffMs?: number;
  /** How long a call that may be retried goes on (default 60,000). */
  readonly callTimeoutMs?: number;
}

export type { FetchedRecord } from "./FetchedRecords.ts";

export interface TopicInfo {
  readonly name: string;
  readonly id: Uuid;
  /** Leader's node id by partition; -1 while there is none. */
  readonly leaders: ReadonlyArray<number>;
  readonly leaderEpochs: ReadonlyArray<number>;
}

export interface FetchOptions {
  /** Default 500. */
  readonly maxWaitMs?: number;
  /** Default 1. */
  readonly minBytes?: number;
  /** Default 1 MiB; of the partition and of the whole answer. */
  readonly maxBytes?: number;
  /** Default `read_uncommitted`. */
  readonly isolation?: "read_uncommitted" | "read_committed";
  /** Default -1: not checked. */
  readonly currentLeaderEpoch?: number;
}

export interface Fetched {
  readonly errorCode: number;
  readonly highWatermark: Offset;
  readonly lastStableOffset: Offset;
  readonly logStartOffset: Offset;
  /** From the offset asked for on; aborted ones are left out under `read_committed`, control records always. */
  readonly records: ReadonlyArray<FetchedRecord>;
  /** Where to go on: behind the last whole batch, or the offset asked for. */
  readonly nextOffset: Offset;
  /** Bytes of the answer's records, a cut batch at the end included. */
  readonly bytes: number;
}

/** `ListOffsets` timestamps with a meaning of their own. */
export const EARLIEST = -2;
export const LATEST = -1;
export const MAX_TIMESTAMP = -3;

export class KafkaClient {
  private readonly connections = new Map<string, Promise<KafkaConnection>>();
  private brokers = new Map<number, Endpoint>();
  private readonly topics = new Map<string, TopicInfo>();
  private refreshing: Promise<void> | undefined;
  private nextBootstrap = 0;
  private consumers = 0;
  private closed = false;
  readonly coordinators = new Coordinators(this);
  readonly admin = new KafkaAdmin(this);
  /** Node id of the controller as last told; -1 unknown. */
  controllerId = -1;
  clusterId: string | null = null;

  constructor(
    readonly platform: ClientPlatform,
    readonly options: ClientOptions,
  ) {}

  producer(options: ProducerOptions = {}): KafkaProducer {
    return new KafkaProducer(this, options);
  }

  consumer(options: ConsumerOptions = {}): KafkaConsumer {
    return new KafkaConsumer(this, options);
  }

  /** A number of its own for each of the client's consumers. */
  nextConsumer(): number {
    return this.consumers++;
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** Ends every connection; calls in flight are rejected. */
  close(): void {
    this.closed = true;
    for (const connection of this.connections.values()) {
      connection.then(
        (open) => open.destroy(),
        () => {},
      );
    }
    this.connections.clear();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.platform.clock.after(ms, resolve));
  }

  /** What the work answers, or undefined when it has not by then; the work goes on. */
  async within<A>(work: Promise<A>, deadline: MonotonicMs): Promise<A | undefined> {
    const { clock } = this.platform;
    const left = deadline - clock.monotonic();
    if (!Number.isFinite(left)) return work;
    let cancel = (): void => {};
    const late = new Promise<undefined>((resolve) => {
      cancel = clock.after(left, () => resolve(undefined));
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      cancel();
    }
  }

  /** The connection to a node for a purpose, opened when there is none. `"any"` is whoever answers. */
  connection(node: number | "any", purpose = "main"): Promise<KafkaConnection> {
    const key = `${node}/${purpose}`;
    const known = this.connections.get(key);
    if (known !== undefined) return known;
    const opened = this.open(node);
    this.connections.set(key, opened);
    const forget = (): void => {
      if (this.connections.get(key) === opened) this.connections.delete(key);
    };
    opened.then((connection) => connection.closed.then(forget), forget);
    return opened;
  }

  /** One request to a node, not retried. */
  async request<K extends KnownApiKey>(
    node: number | "any",
    apiKey: K,
    message: RequestOf<K>,
    purpose?: string,
  ): Promise<ResponseOf<K>> {
    const connection = await this.connection(node, purpose);
    return connection.request(apiKey, message);
  }

  /** Asks for metadata of the topics (null: all of them) and remembers it. Retried until something answers. */
  metadata(
    topics: ReadonlyArray<string> | null,
    options: { readonly allowAutoTopicCreation?: boolean } = {},
  ): Promise<ResponseOf<3>> {
    return this.retried("Metadata", async () => {
      const answer = await this.request("any", ApiKey.Metadata, {
        ...Apis[ApiKey.Metadata].request.empty(),
        topics: topics === null ? null : topics.map((name) => ({ topicId: ZERO_UUID, name })),
        allowAutoTopicCreation: options.allowAutoTopicCreation ?? false,
      });
      this.remember(answer);
      return answer;
    });
  }

  /** What is known of a topic; asked for (and created, when asked so and the broker does that) until it has leaders. */
  topic(name: string, options: { readonly create?: boolean } = {}): Promise<TopicInfo> {
    return this.retried(`topic ${name}`, async () => {
      const known = this.topics.get(name);
      if (known !== undefined) return known;
      const answer = await this.metadata([name], { allowAutoTopicCreation: options.create ?? false });
      const error = answer.topics[0]?.errorCode ?? Errors.UNKNOWN_TOPIC_OR_PARTITION;
      const found = this.topics.get(name);
      if (found === undefined) throw new KafkaError(error === 0 ? Errors.LEADER_NOT_AVAILABLE : error, `topic ${name}`);
      return found;
    });
  }

  /** Forgets what is known of the topics, so that the next call asks. */
  forgetTopics(): void {
    this.topics.clear();
  }

  /** One metadata request for every known and the named topics, shared by whoever asks meanwhile. */
  refresh(name: string): Promise<void> {
    this.refreshing ??= this.metadata([...new Set([...this.topics.keys(), name])])
      .then(() => {})
      .finally(() => {
        this.refreshing = undefined;
      });
    return this.refreshing;
  }

  /** The leader's node id as known, or -1. */
  knownLeader(topic: string, partition: number): number {
    return this.topics.get(topic)?.leaders[partition] ?? -1;
  }

  knownTopicId(topic: string): Uuid {
    return this.topics.get(topic)?.id ?? ZERO_UUID;
  }

  /** The name of the topic with that id; undefined when no topic has it. */
  async topicNameOf(id: Uuid): Promise<string | undefined> {
    const known = (): string | undefined => [...this.topics.values()].find((topic) => topic.id === id)?.name;
    if (known() === undefined) await this.metadata(null);
    return known();
  }

  /** What is known of a topic without asking. */
  knownTopic(topic: string): TopicInfo | undefined {
    return this.topics.get(topic);
  }

  /** Some answer named a broker. */
  learnBroker(nodeId: number, endpoint: Endpoint): void {
    this.brokers.set(nodeId, endpoint);
  }

  /** Creates a topic and waits until it has leaders. An existing one is an error unless `orExists`. */
  async createTopic(
    name: string,
    options: {
      readonly partitions?: number;
      readonly replicationFactor?: number;
      readonly configs?: Readonly<Record<string, string>>;
      readonly orExists?: boolean;
    } = {},
  ): Promise<TopicInfo> {
    let attempts = 0;
    await this.retried(`CreateTopics ${name}`, async () => {
      attempts += 1;
      const answer = await this.request("any", ApiKey.CreateTopics, {
        topics: [
          {
            name,
            numPartitions: options.partitions ?? 1,
            replicationFactor: options.replicationFactor ?? -1,
            assignments: [],
            configs: Object.entries(options.configs ?? {}).map(([key, value]) => ({ name: key, value })),
          },
        ],
        timeoutMs: 30_000,
        validateOnly: false,
      });
      const result = answer.topics[0];
      const code = result?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
      // An attempt whose answer was lost may have created it.
      if (code === Errors.TOPIC_ALREADY_EXISTS && (options.orExists === true || attempts > 1)) return;
      if (code !== Errors.NONE) throw new KafkaError(code, `CreateTopics ${name}`, result?.errorMessage);
    });
    this.topics.delete(name);
    return this.topic(name);
  }

  async deleteTopic(name: string): Promise<void> {
    let attempts = 0;
    await this.retried(`DeleteTopics ${name}`, async () => {
      attempts += 1;
      const answer = await this.request("any", ApiKey.DeleteTopics, {
        topics: [{ name, topicId: ZERO_UUID }],
        topicNames: [],
        timeoutMs: 30_000,
        ...((await this.connection("any")).versionOf(ApiKey.DeleteTopics)! < 6
          ? { topics: [], topicNames: [name] }
          : {}),
      });
      const code = answer.responses[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
      if (code === Errors.UNKNOWN_TOPIC_OR_PARTITION && attempts > 1) return;
      if (code !== Errors.NONE) throw new KafkaError(code, `DeleteTopics ${name}`, answer.responses[0]?.errorMessage);
    });
    this.topics.delete(name);
  }

  /** The offset for a timestamp, or for `EARLIEST`, `LATEST`, `MAX_TIMESTAMP`. */
  listOffset(
    topic: string,
    partition: number,
    timestamp: number,
    isolation: "read_uncommitted" | "read_committed" = "read_uncommitted",
  ): Promise<{ readonly offset: Offset; readonly timestamp: Timestamp; readonly leaderEpoch: number }> {
    return this.onLeader("ListOffsets", topic, partition, async (node) => {
      const answer = await this.request(node, ApiKey.ListOffsets, {
        replicaId: -1,
        isolationLevel: isolation === "read_committed" ? 1 : 0,
        topics: [{ name: topic, partitions: [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp }] }],
        timeoutMs: 30_000,
      });
      const found = answer.topics[0]?.partitions[0];
      if (found === undefined) throw new KafkaError(Errors.UNKNOWN_SERVER_ERROR, "ListOffsets");
      if (found.errorCode !== Errors.NONE) throw new KafkaError(found.errorCode, `ListOffsets ${topic}-${partition}`);
      return { offset: found.offset, timestamp: found.timestamp, leaderEpoch: found.leaderEpoch };
    });
  }

  /** Where an epoch of the partition ends, as its leader of `currentEpoch` knows it; not retried. */
  async endOfEpoch(
    topic: string,
    partition: number,
    currentEpoch: LeaderEpoch,
    epoch: LeaderEpoch,
  ): Promise<{ readonly errorCode: number; readonly leaderEpoch: LeaderEpoch; readonly endOffset: Offset }> {
    const answer = await this.request(this.knownLeader(topic, partition), ApiKey.OffsetForLeaderEpoch, {
      replicaId: -1,
      topics: [{ topic, partitions: [{ partition, currentLeaderEpoch: currentEpoch, leaderEpoch: epoch }] }],
    });
    const found = answer.topics[0]?.partitions[0];
    return found ?? { errorCode: Errors.UNKNOWN_SERVER_ERROR, leaderEpoch: -1, endOffset: -1 };
  }

  /** One fetch of one partition without a session, not retried; a refusal is in the answer's `errorCode`. */
  async fetch(topic: string, partition: number, offset: Offset, options: FetchOptions = {}): Promise<Fetched> {
    const info = await this.topic(topic);
    const maxBytes = options.maxBytes ?? 1024 * 1024;
    const connection = await this.connection(info.leaders[partition] ?? -1, "fetch");
    const answer = await connection.request(ApiKey.Fetch, {
      ...Apis[ApiKey.Fetch].request.empty(),
      maxWaitMs: options.maxWaitMs ?? 500,
      minBytes: options.minBytes ?? 1,
      maxBytes,
      isolationLevel: options.isolation === "read_committed" ? 1 : 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [
        {
          // Only one of the two is written, by the version that is spoken.
          ...((connection.versionOf(ApiKey.Fetch) ?? 0) >= 13
            ? { topic: "", topicId: info.id }
            : { topic, topicId: ZERO_UUID }),
          partitions: [
            {
              ...emptyFetchRequestFetchPartition(),
              partition,
              currentLeaderEpoch: options.currentLeaderEpoch ?? -1,
              fetchOffset: offset,
              partitionMaxBytes: maxBytes,
            },
          ],
        },
      ],
    });
    const found = answer.responses[0]?.partitions[0];
    const errorCode = answer.errorCode !== Errors.NONE ? answer.errorCode : (found?.errorCode ?? Errors.NONE);
    if (found === undefined || errorCode !== Errors.NONE) {
      return {
        errorCode,
        highWatermark: found?.highWatermark ?? -1,
        lastStableOffset: found?.lastStableOffset ?? -1,
        logStartOffset: found?.logStartOffset ?? -1,
        records: [],
        nextOffset: offset,
        bytes: 0,
      };
    }
    const bytes = found.records ?? new Uint8Array(0);
    const aborted = options.isolation === "read_committed" ? (found.abortedTransactions ?? []) : [];
    const { records, nextOffset } = readFetched(bytes, offset, aborted, this.platform.codecs);
    return {
      errorCode,
      highWatermark: found.highWatermark,
      lastStableOffset: found.lastStableOffset,
      logStartOffset: found.logStartOffset,
      records,
      nextOffset,
      bytes: bytes.length,
    };
  }

  /** Everything of a partition from `from` (default: the earliest) to where its end is now. */
  async readAll(
    topic: string,
    partition: number,
    options: FetchOptions & { readonly from?: Offset } = {},
  ): Promise<FetchedRecord[]> {
    const isolation = options.isolation ?? "read_uncommitted";
    let offset = options.from ?? (await this.listOffset(topic, partition, EARLIEST)).offset;
    const end = (await this.listOffset(topic, partition, LATEST, isolation)).offset;
    const found: FetchedRecord[] = [];
    while (offset < end) {
      const from = offset;
      const fetched = await this.onLeader("Fetch", topic, partition, async () => {
        const answer = await this.fetch(topic, partition, from, options);
        if (answer.errorCode !== Errors.NONE) throw new KafkaError(answer.errorCode, `Fetch ${topic}-${partition}`);
        return answer;
      });
      found.push(...fetched.records.filter((record) => record.offset < end));
      offset = fetched.nextOffset;
    }
    return found;
  }

  /** Repeats `call` while it fails with something that may pass, until the call's time is over. */
  async retried<A>(what: string, call: () => Promise<A>): Promise<A> {
    const { clock } = this.platform;
    const deadline = clock.monotonic() + (this.options.callTimeoutMs ?? 60_000);
    for (;;) {
      try {
        return await call();
      } catch (error) {
        const passing = error instanceof ConnectionLost || (error instanceof KafkaError && isRetriable(error.code));
        if (!passing || this.closed) throw error;
        const backoff = this.options.retryBackoffMs ?? 100;
        if (clock.monotonic() + backoff > deadline) {
          throw new Error(`${what} was given up: ${error.message}`, { cause: error });
        }
        await this.sleep(backoff);
      }
    }
  }

  private onLeader<A>(what: string, topic: string, partition: number, call: (node: number) => Promise<A>): Promise<A> {
    return this.retried(`${what} ${topic}-${partition}`, async () => {
      const info = await this.topic(topic);
      const leader = info.leaders[partition];
      if (leader === undefined || leader < 0) {
        this.topics.delete(topic);
        throw new KafkaError(
          leader === undefined ? Errors.UNKNOWN_TOPIC_OR_PARTITION : Errors.LEADER_NOT_AVAILABLE,
          `${what} ${topic}-${partition}`,
        );
      }
      try {
        return await call(leader);
      } catch (error) {
        // Whatever went wrong, another leader may be the reason.
        this.topics.delete(topic);
        throw error;
      }
    });
  }

  private async open(node: number | "any"): Promise<KafkaConnection> {
    if (this.closed) throw new Error("the client is closed");
    if (node !== "any") {
      const endpoint = this.brokers.get(node);
      if (endpoint === undefined) throw new ConnectionLost(`no broker ${node} is known`, false);
      return KafkaConnection.open(this.platform, endpoint, this.options);
    }
    const candidates = [...this.options.bootstrap, ...this.brokers.values()];
    let last: unknown;
    for (let i = 0; i < candidates.length; i++) {
      const endpoint = candidates[(this.nextBootstrap + i) % candidates.length]!;
      try {
        return await KafkaConnection.open(this.platform, endpoint, this.options);
      } catch (error) {
        last = error;
      }
    }
    this.nextBootstrap += 1;
    throw last;
  }

  private remember(answer: ResponseOf<3>): void {
    this.brokers = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    this.controllerId = answer.controllerId;
    this.clusterId = answer.clusterId;
    for (const topic of answer.topics) {
      if (topic.name === null) continue;
      if (topic.errorCode !== Errors.NONE || topic.partitions.length === 0) {
        this.topics.delete(topic.name);
        continue;
      }
      const leaders: number[] = [];
      const leaderEpochs: number[] = [];
      for (const partition of topic.partitions) {
        leaders[partition.partitionIndex] = partition.leaderId;
        leaderEpochs[partition.partitionIndex] = partition.leaderEpoch;
      }
      this.topics.set(topic.name, { name: topic.name, id: topic.topicId, leaders, leaderEpochs });
    }
  }
}
