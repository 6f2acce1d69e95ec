/**
 * Records on their way into a producer: checked, encoded, and kept in the order of the calls until there is room for them
 * and their partition is known. What must stay true: records of a partition go on in the order of the calls; each waits
 * for room no longer than it may; one that cannot go is refused alone.
 */
import type { WireHeaders } from "../gateway/Messages.ts";
import { Errors } from "../protocol/Errors.ts";
import { partitionForKey } from "../record/Murmur2.ts";
import { abortable } from "./Abortable.ts";
import { ClientError, CodecError, KafkaError, TimeoutError, wireErrorOf } from "./ClientError.ts";
import { bytes, type Codec } from "./Codec.ts";
import { utf8Length } from "./Delivery.ts";
import { among, refuse, topicName, whole } from "./Options.ts";
import { StickyPartitions } from "./Partitioner.ts";
import type { HeaderValue, ProducerOptions, ProducerRecord } from "./Producer.ts";
import { type RecordMetadata, Sender, type SentRecord } from "./Sender.ts";
import type { Session } from "./Session.ts";
import type { TopicCache } from "./TopicCache.ts";

interface Waiting {
  readonly topic: string;
  readonly partition: number | undefined;
  readonly sent: SentRecord;
  readonly since: number;
}

const DEFAULTS = {
  lingerMs: 0,
  batchBytes: 128 * 1024,
  batchRecords: 10_000,
  bufferBytes: 32 * 1024 * 1024,
  maxBlockMs: 60_000,
  deliveryTimeoutMs: 120_000,
  requestTimeoutMs: 30_000,
  metadataMaxAgeMs: 300_000,
} as const;

const utf8 = new TextEncoder();

/** Encodes records and finds their partitions, for producers with and without transactions. */
export class RecordIntake<Key, Value> {
  readonly sender: Sender;
  private readonly settings;
  private readonly sticky: StickyPartitions;
  /** In the order of the calls. */
  private readonly waiting: Waiting[] = [];
  /** The topic that the first of them waits for. */
  private asking: string | undefined;
  private cancelBlock: (() => void) | undefined;
  private roomWaiters: Array<() => void> = [];

  constructor(
    private readonly session: Session,
    private readonly topics: TopicCache,
    private readonly options: ProducerOptions<Key, Value> & { readonly transactionalId?: string },
  ) {
    checkOptions(options);
    this.settings = { ...DEFAULTS, ...options };
    const { acks = -1, idempotent = true, transactionalId } = options;
    if (idempotent && acks !== -1) throw new ClientError(`acks ${acks} is not for an idempotent producer`);
    const { lingerMs, batchBytes, batchRecords, deliveryTimeoutMs, requestTimeoutMs } = this.settings;
    const batching = { lingerMs, batchBytes, batchRecords, deliveryTimeoutMs, requestTimeoutMs };
    this.sticky = new StickyPartitions(session.platform.random, batchBytes);
    this.sender = new Sender(session, { ...batching, acks, idempotent, transactionalId, codec: 0 }, () => this.admit());
  }

  /** A signal takes the record back as long as it waits here. */
  send(record: ProducerRecord<Key, Value>, signal?: AbortSignal): Promise<RecordMetadata> {
    let encoded: { readonly record: SentRecord["record"]; readonly bytes: number };
    try {
      encoded = this.encode(record);
    } catch (error) {
      return Promise.reject(error);
    }
    const { promise, resolve, reject } = Promise.withResolvers<RecordMetadata>();
    const { topic, partition } = record;
    const since = this.session.platform.clock.monotonic();
    const waiting: Waiting = { topic, partition, sent: { ...encoded, resolve, reject }, since };
    this.waiting.push(waiting);
    this.admit();
    if (signal === undefined) return promise;
    const withdraw = (): void => this.withdraw(waiting);
    signal.addEventListener("abort", withdraw, { once: true });
    const settled = (): void => signal.removeEventListener("abort", withdraw);
    promise.then(settled, settled);
    return abortable(promise, signal);
  }

  private withdraw(waiting: Waiting): void {
    const at = this.waiting.indexOf(waiting);
    if (at < 0) return;
    this.waiting.splice(at, 1);
    if (at === 0) this.unblock();
    this.admit();
  }

  get hasRoom(): boolean {
    return this.waiting.length === 0 && this.sender.bufferedBytes < this.settings.bufferBytes;
  }

  /** Resolves when a `send` would not wait for room, or nothing can be sent any more. */
  ready(): Promise<void> {
    if (this.hasRoom || this.sender.refusal !== undefined) return Promise.resolve();
    return new Promise((resolve) => this.roomWaiters.push(resolve));
  }

  async flush(): Promise<void> {
    while (this.waiting.length > 0) await new Promise<void>((resolve) => this.roomWaiters.push(resolve));
    await this.sender.flush();
  }

  end(error: ClientError): void {
    this.sender.end(error);
    this.admit();
  }

  /** Rejects what is not in the log yet. */
  doom(error: ClientError): void {
    this.sender.doom(error);
    this.admit();
  }

  private encode(record: ProducerRecord<Key, Value>): { record: SentRecord["record"]; bytes: number } {
    if (typeof record !== "object" || record === null) refuse("a record", "{topic, …}", record);
    topicName(record.topic);
    whole("partition", record.partition, 0);
    const key = encoded("key", record.topic, this.options.key ?? (bytes as Codec<unknown, never>), record.key);
    const value = encoded("value", record.topic, this.options.value ?? (bytes as Codec<unknown, never>), record.value);
    const headers = headersOf(record.headers).map(([name, content]) => ({ key: name, value: content }));
    let size = (key?.length ?? 0) + (value?.length ?? 0);
    for (const { key: name, value: content } of headers) size += utf8Length(name) + (content?.length ?? 0) + 4;
    const { timestamp = this.session.platform.clock.wall() } = record;
    whole("timestamp", timestamp, 0, Number.MAX_SAFE_INTEGER);
    if (size > this.sender.maxRecordBytes) {
      const text = `a record of ${size} bytes does not fit into a frame of this server`;
      throw new KafkaError(wireErrorOf(Errors.MESSAGE_TOO_LARGE, "MESSAGE_TOO_LARGE", text), record.topic);
    }
    return { record: { key, value, headers, timestamp }, bytes: size };
  }

  /** Lets in what waits, in order, as far as there is room and its partitions are known. */
  private admit(): void {
    for (;;) {
      const first = this.waiting[0];
      if (first === undefined) break;
      // What takes nothing any more rejects it, whatever its partition would have been.
      const { bufferedBytes, refusal } = this.sender;
      const partition = refusal === undefined ? this.partitionOf(first) : 0;
      if (partition === undefined) break;
      const fits = bufferedBytes === 0 || bufferedBytes + first.sent.bytes <= this.settings.bufferBytes;
      if (!fits && refusal === undefined) break;
      this.unblock();
      this.waiting.shift();
      if (partition instanceof ClientError) first.sent.reject(partition);
      else this.sender.add(first.topic, partition, first.sent);
    }
    const [first] = this.waiting;
    if (first !== undefined) {
      const { clock } = this.session.platform;
      const left = first.since + this.settings.maxBlockMs - clock.monotonic();
      this.cancelBlock ??= clock.after(Math.max(0, left), () => this.blocked(first));
      return;
    }
    this.unblock();
    if (this.hasRoom || this.sender.refusal !== undefined) for (const resolve of this.roomWaiters.splice(0)) resolve();
  }

  private unblock(): void {
    this.cancelBlock?.();
    this.cancelBlock = undefined;
  }

  private blocked(first: Waiting): void {
    this.cancelBlock = undefined;
    if (this.waiting[0] !== first) return;
    this.waiting.shift();
    const why = this.asking === undefined ? "the buffer was full" : `the partitions of ${first.topic} are not known`;
    this.asking = undefined;
    first.sent.reject(new TimeoutError(`not sent: ${why} for ${this.settings.maxBlockMs} ms`));
    this.admit();
  }

  /** Undefined: it has to be asked for. */
  private partitionOf({ topic, partition, sent }: Waiting): number | ClientError | undefined {
    if (partition !== undefined) return partition;
    if (this.asking === topic) return undefined;
    const count = this.topics.partitionsOf(topic, this.settings.metadataMaxAgeMs);
    if (typeof count === "number") return this.choose(topic, count, sent);
    this.asking = topic;
    count.then(
      () => {
        if (this.asking !== topic) return;
        this.asking = undefined;
        this.admit();
      },
      (error: unknown) => {
        if (this.asking !== topic) return;
        this.asking = undefined;
        const first = this.waiting[0];
        if (first?.topic === topic) {
          this.waiting.shift();
          this.unblock();
          first.sent.reject(error);
        }
        this.admit();
      },
    );
    return undefined;
  }

  private choose(topic: string, count: number, { record, bytes: size }: SentRecord): number | ClientError {
    const { key = null, value = null } = record;
    const { partitioner } = this.options;
    if (partitioner !== undefined) {
      let chosen: number;
      try {
        chosen = partitioner({ topic, key, value, partitions: count });
      } catch (cause) {
        return new ClientError(`${topic}: the partitioner threw: ${messageOf(cause)}`, { cause });
      }
      if (Number.isInteger(chosen) && chosen >= 0 && chosen < count) return chosen;
      return new ClientError(`the partitioner chose ${chosen} of ${topic}'s partitions 0 to ${count - 1}`);
    }
    return key === null ? this.sticky.next(topic, count, size) : partitionForKey(key, count);
  }
}

const encoded = <T>(
  what: string,
  topic: string,
  codec: Codec<unknown, T>,
  value: T | null | undefined,
): Uint8Array | null => {
  if (value === null || value === undefined) return null;
  try {
    return codec.encode(value);
  } catch (cause) {
    throw new CodecError(`${what} for ${topic}: ${messageOf(cause)}`, undefined, cause);
  }
};

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

const checkOptions = (options: ProducerOptions<never, never>): void => {
  among("acks", options.acks, -1, 0, 1);
  whole("lingerMs", options.lingerMs, 0);
  whole("batchBytes", options.batchBytes, 1);
  whole("batchRecords", options.batchRecords, 1);
  whole("bufferBytes", options.bufferBytes, 1, Number.MAX_SAFE_INTEGER);
  whole("maxBlockMs", options.maxBlockMs, 0);
  whole("deliveryTimeoutMs", options.deliveryTimeoutMs, 1);
  whole("requestTimeoutMs", options.requestTimeoutMs, 1);
  whole("metadataMaxAgeMs", options.metadataMaxAgeMs, 1);
};

const headersOf = (headers: ProducerRecord<never, never>["headers"]): WireHeaders => {
  if (headers === undefined || headers === null) return [];
  const pairs: ReadonlyArray<readonly [string, HeaderValue]> = Array.isArray(headers)
    ? headers
    : Object.entries(headers);
  return pairs.map((pair) => {
    if (!Array.isArray(pair) || pair.length !== 2) refuse("a header", "[name, value]", pair);
    const [name, value] = pair;
    if (typeof name !== "string") refuse("a header's name", "a string", name);
    if (typeof value === "string") return [name, utf8.encode(value)] as const;
    if (value !== null && !(value instanceof Uint8Array))
      refuse(`header ${name}`, "a Uint8Array, a string or null", value);
    return [name, value] as const;
  });
};
