/**
 * A producer as an application has it: typed records in, promises of where they went out. What must stay true: records
 * of a partition are sent in the order of the calls; what waits here is bounded, and whoever sends more waits for room.
 */
import { abortable } from "./Abortable.ts";
import { type ClientError, ClosedError } from "./ClientError.ts";
import type { Codec } from "./Codec.ts";
import type { Partitioner } from "./Partitioner.ts";
import { RecordIntake } from "./RecordIntake.ts";
import type { RecordMetadata } from "./Sender.ts";
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
   * was not written, and with `OutcomeUnknownError` when nobody can tell. A signal takes back a record that still waits for
   * room; one that is on its way may be written all the same.
   */
  send(record: ProducerRecord<Key, Value>, options: { readonly signal?: AbortSignal } = {}): Promise<RecordMetadata> {
    if (this.closing !== undefined) return Promise.reject(new ClosedError("the producer"));
    if (options.signal?.aborted === true) return Promise.reject(options.signal.reason);
    return this.intake.send(record, options.signal);
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
