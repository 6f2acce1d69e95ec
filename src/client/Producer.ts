/**
 * A producer as an application has it: typed records in, promises of where they went out. What must stay true: records
 * of a partition are sent in the order of the calls; what waits here is bounded, and whoever sends more waits for room.
 */
import type { WireHeaders } from "../gateway/Messages.ts";
import { Errors } from "../protocol/Errors.ts";
import { partitionForKey } from "../record/Murmur2.ts";
import { ClientError, ClosedError, CodecError, KafkaError, TimeoutError, wireErrorOf } from "./ClientError.ts";
import { bytes, type Codec } from "./Codec.ts";
import { utf8Length } from "./Delivery.ts";
import { among, refuse, topicName, whole } from "./Options.ts";
import { type Partitioner, StickyPartitions } from "./Partitioner.ts";
import { type RecordMetadata, Sender, type SentRecord } from "./Sender.ts";
import type { Session, SessionPart } from "./Session.ts";
import type { TopicCache } from "./TopicCache.ts";

/** A header's value may be text; it travels as UTF-8. */
export type HeaderValue = Uint8Array | string | null;

export interface ProducerRecord<Key, Value> {
  readonly topic: string;
  /** Kafka's null by default. */
  readonly key?: Key | null;
  readonly value?: Value | null;
  readonly headers?: ReadonlyArray<readonly [name: string, value: HeaderValue]> | Readonly<Record<string, HeaderValue>>;
  /** Milliseconds since 1970; default: now. */
  readonly timestamp?: number;
  /** Instead of the partitioner's choice. */
  readonly partition?: number;
}

export interface ProducerOptions<Key, Value> {
  /** Default `bytes`. */
  readonly key?: Codec<unknown, Key>;
  readonly value?: Codec<unknown, Value>;
  /**
   * Default true: no record is written twice or out of order, whatever happens to the connection. Without it a record
   * whose answer was lost is not sent again.
   */
  readonly idempotent?: boolean;
  /** -1 (default): all in-sync replicas. 0 and 1 need `idempotent: false`. */
  readonly acks?: -1 | 0 | 1;
  /** Instead of Java's murmur2 of the key, and sticky partitions without one. */
  readonly partitioner?: Partitioner;
  /** How long a batch waits for more records, in milliseconds (default 0: what is sent in one go leaves together). */
  readonly lingerMs?: number;
  /** A batch is full at so many bytes (default 128 KiB) or records (default 10,000). */
  readonly batchBytes?: number;
  readonly batchRecords?: number;
  /** What may wait here unacknowledged (default 32 MiB). */
  readonly bufferBytes?: number;
  /** How long `send` waits for room, or to learn a topic's partitions, in milliseconds (default 60,000). */
  readonly maxBlockMs?: number;
  /** From `send` to the acknowledgement, attempts included, in milliseconds (default 120,000). */
  readonly deliveryTimeoutMs?: number;
  /** What the broker is given to reach `acks`, in milliseconds (default 30,000). */
  readonly requestTimeoutMs?: number;
  /** How old the knowledge of a topic's partitions may be, in milliseconds (default 300,000). */
  readonly metadataMaxAgeMs?: number;
}

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

  send(record: ProducerRecord<Key, Value>): Promise<RecordMetadata> {
    let encoded: { readonly record: SentRecord["record"]; readonly bytes: number };
    try {
      encoded = this.encode(record);
    } catch (error) {
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      const { topic, partition } = record;
      const since = this.session.platform.clock.monotonic();
      this.waiting.push({ topic, partition, sent: { ...encoded, resolve, reject }, since });
      this.admit();
    });
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

export class Producer<Key, Value> {
  private readonly intake: RecordIntake<Key, Value>;
  private closing: Promise<void> | undefined;

  /** Use `client.producer`. */
  constructor(
    private readonly session: Session,
    topics: TopicCache,
    options: ProducerOptions<Key, Value>,
  ) {
    this.intake = new RecordIntake(session, topics, options);
    session.parts.add(this);
  }

  /**
   * Sends a record. Resolves when it is acknowledged; rejects with `KafkaError`, `CodecError` or `TimeoutError` when it
   * was not written, and with `OutcomeUnknownError` when nobody can tell.
   */
  send(record: ProducerRecord<Key, Value>, options: { readonly signal?: AbortSignal } = {}): Promise<RecordMetadata> {
    if (this.closing !== undefined) return Promise.reject(new ClosedError("the producer"));
    if (options.signal?.aborted === true) return Promise.reject(options.signal.reason);
    return abortable(this.intake.send(record), options.signal);
  }

  /** Resolves when there is room in the buffer: awaited before each `send` it keeps a loop from running ahead. */
  ready(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return abortable(this.intake.ready(), options.signal);
  }

  /** Bytes of records that are not acknowledged. */
  get bufferedBytes(): number {
    return this.intake.sender.bufferedBytes;
  }

  /** Resolves when everything sent so far is acknowledged or has failed. */
  flush(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return abortable(this.intake.flush(), options.signal);
  }

  /** Flushes, for at most `timeoutMs` (default 30,000); what is left then is rejected. Never rejects itself. */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const error = new ClosedError("the producer");
    this.closing ??= closeAfter(this.session, this, this.intake, options.timeoutMs ?? CLOSE_TIMEOUT_MS, error);
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export const CLOSE_TIMEOUT_MS = 30_000;

/** Flushes for so long, then ends it. */
export const closeAfter = async (
  session: Session,
  part: SessionPart,
  intake: Pick<RecordIntake<never, never>, "flush" | "end">,
  timeoutMs: number,
  error: ClientError,
): Promise<void> => {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const cancel = session.platform.clock.after(timeoutMs, resolve);
  await Promise.race([intake.flush(), late]);
  cancel();
  intake.end(error);
  session.parts.delete(part);
};

/** The promise, or the signal's reason, whichever comes first. What is under way is not called back. */
export const abortable = <A>(promise: Promise<A>, signal: AbortSignal | undefined): Promise<A> => {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    const settled = (): void => signal.removeEventListener("abort", abort);
    promise.then(resolve, reject).finally(settled);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
};

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
