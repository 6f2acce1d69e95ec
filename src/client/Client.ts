/**
 * The stream client's entry: `connect`, and everything an application needs beside it. One implementation for browsers,
 * Bun and Node; what it needs of them is in WebPlatform.ts. What must stay true: closing a client closes what was made
 * with it, members leave their groups, and nothing of it lives on.
 */
import { Admin } from "./Admin.ts";
import type { BackoffOptions } from "./Backoff.ts";
import { ClientError, ConnectionError } from "./ClientError.ts";
import type { ClientPlatform } from "./ClientPlatform.ts";
import { Consumer } from "./Consumer.ts";
import type { ConsumeOptions, Int64Mode, Int64Of } from "./ConsumerOptions.ts";
import { refuse, whole } from "./Options.ts";
import { Producer, type ProducerOptions } from "./Producer.ts";
import { Session, type SessionEvents, type SessionState, type TokenSource } from "./Session.ts";
import { TopicCache } from "./TopicCache.ts";
import { type TransactionalOptions, TransactionalProducer } from "./TransactionalProducer.ts";
import { webPlatform } from "./WebPlatform.ts";

export type { Credit, From, Isolation, Position, TopicPartition } from "../gateway/Messages.ts";
export { murmur2, partitionForKey } from "../record/Murmur2.ts";
export type { CallOptions } from "./Admin.ts";
export type { BackoffOptions } from "./Backoff.ts";
export * from "./ClientError.ts";
export type * from "./ClientPlatform.ts";
export { bytes, type Codec, int64, int64AsBigint, json, type StandardSchema, string, validated } from "./Codec.ts";
export type { CommitPlace, Consumer } from "./Consumer.ts";
export type * from "./ConsumerOptions.ts";
export type { Partitioner } from "./Partitioner.ts";
export type { HeaderValue, Producer, ProducerOptions, ProducerRecord } from "./Producer.ts";
export type { RecordMetadata } from "./Sender.ts";
export type { SessionState, StateEvent, TokenSource } from "./Session.ts";
export type { ResetPolicy, StreamState } from "./Stream.ts";
export type { Transaction, TransactionalOptions, TransactionalProducer } from "./TransactionalProducer.ts";

export interface ConnectOptions {
  /** A token for the server, or how to get one: asked for at every connection and when the last one was refused. */
  readonly token?: TokenSource;
  /** Name and version by which the server knows this program. */
  readonly client?: { readonly name: string; readonly version: string };
  /** Waits between attempts, with full jitter. */
  readonly backoff?: BackoffOptions;
  /** How long the first connection may take, attempts included (default 10,000 ms). Later ones are tried for ever. */
  readonly connectTimeoutMs?: number;
  /** Closes the client; before it is connected `connect` rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Instead of the runtime's own WebSocket, timers and random source. */
  readonly platform?: ClientPlatform;
}

const PATH = "/v1/stream";
const CONNECT_TIMEOUT_MS = 10_000;
/** Of one attempt: what the server gives a client for its `hello`. */
const OPEN_TIMEOUT_MS = 10_000;
const VERSION = "0.1.0";

/**
 * Connects to a gateway: `ws://host:8080`, or with `wss`, `http`, `https`; without a path the one of the protocol. Resolves
 * with a client that stays connected until it is closed. Rejects with `ConnectionError` when the first connection cannot
 * be made in time or is refused.
 */
export const connect = async (url: string | URL, options: ConnectOptions = {}): Promise<Client> => {
  options.signal?.throwIfAborted();
  const client = new Client(streamUrl(url), options);
  await client.connected();
  return client;
};

const PROTOCOLS: ReadonlySet<string> = new Set(["ws:", "wss:", "http:", "https:"]);

const parsedUrl = (given: string | URL): URL | undefined => {
  try {
    return new URL(given);
  } catch {
    return undefined;
  }
};

const streamUrl = (given: string | URL): string => {
  const url = parsedUrl(given);
  if (url === undefined || !PROTOCOLS.has(url.protocol)) {
    const what = "a URL as ws://host:8080, with ws:, wss:, http: or https:";
    throw new ClientError(`${JSON.stringify(String(given))}: expected ${what}`);
  }
  const secure = url.protocol === "wss:" || url.protocol === "https:";
  url.protocol = secure ? "wss:" : "ws:";
  if (url.pathname === "/") url.pathname = PATH;
  url.hash = "";
  return url.href;
};

export class Client {
  /** Topics, as an administrator sees them. */
  readonly topics: Admin["topics"];
  readonly groups: Admin["groups"];
  readonly offsets: Admin["offsets"];
  /** Any verb of the protocol. */
  readonly call: Admin["call"];
  private readonly session: Session;
  private readonly cache: TopicCache;
  private closing: Promise<void> | undefined;
  private stopFollowing = (): void => {};

  /** Use `connect`. */
  constructor(
    private readonly url: string,
    private readonly options: ConnectOptions,
  ) {
    const { client = { name: "odradek-client", version: VERSION }, token, backoff, signal } = options;
    whole("connectTimeoutMs", options.connectTimeoutMs, 1);
    whole("backoff.initialMs", backoff?.initialMs, 1);
    whole("backoff.maxMs", backoff?.maxMs, 1);
    if (token !== undefined && typeof token !== "string" && typeof token !== "function")
      refuse("token", "a string or a function that gives one", token);
    this.session = new Session(options.platform ?? webPlatform(), {
      url,
      client,
      openTimeoutMs: OPEN_TIMEOUT_MS,
      ...(token === undefined ? {} : { token }),
      ...(backoff === undefined ? {} : { backoff }),
    });
    this.cache = new TopicCache(this.session, options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS);
    const admin = new Admin(this.session);
    this.topics = admin.topics;
    this.groups = admin.groups;
    this.offsets = admin.offsets;
    this.call = admin.call.bind(admin);
    if (signal !== undefined) {
      const abort = (): void => void this.close();
      signal.addEventListener("abort", abort, { once: true });
      this.stopFollowing = () => signal.removeEventListener("abort", abort);
    }
  }

  get state(): SessionState {
    return this.session.state;
  }

  /** Calls `listener` at every such event; answers how to stop that. */
  on<Name extends keyof SessionEvents>(name: Name, listener: (event: SessionEvents[Name]) => void): () => void {
    return this.session.events.on(name, listener);
  }

  /** Begins; resolves when the first connection is there. Called by `connect`, once. */
  connected(): Promise<void> {
    const { signal, connectTimeoutMs = CONNECT_TIMEOUT_MS } = this.options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let last: ClientError | undefined;
    const stop = this.on("state", ({ state, error }) => {
      last = error ?? last;
      if (state === "connected") resolve();
      if (state === "closed") reject(signal?.aborted === true ? signal.reason : (error ?? last));
    });
    const cancel = this.session.platform.clock.after(connectTimeoutMs, () => {
      const what = `${this.url}: not connected in ${connectTimeoutMs} ms`;
      const why = last?.message.replace(`${this.url}: `, "");
      this.session.close(new ConnectionError(why === undefined ? what : `${what}: ${why}`, 1006, { cause: last }));
    });
    this.session.start();
    return promise.finally(() => {
      stop();
      cancel();
    });
  }

  /** A producer with codecs of its own. */
  producer<Key = Uint8Array, Value = Uint8Array>(options: ProducerOptions<Key, Value> = {}): Producer<Key, Value> {
    return new Producer(this.session, this.cache, options);
  }

  /** A producer of transactions under an id; it fences whoever had the id before. */
  transactional<Key = Uint8Array, Value = Uint8Array>(
    transactionalId: string,
    options: TransactionalOptions<Key, Value> = {},
  ): TransactionalProducer<Key, Value> {
    return new TransactionalProducer(this.session, this.cache, transactionalId, options);
  }

  /** Consumes partitions of one's own choice, or as a member of a group. What cannot be opened is thrown when iterated. */
  consume<Key = Uint8Array, Value = Uint8Array, Mode extends Int64Mode = "number">(
    options: ConsumeOptions<Key, Value, Mode>,
  ): Consumer<Key, Value, Int64Of<Mode>> {
    return new Consumer(this.session, this.cache, options);
  }

  /**
   * Closes consumers (what they have finished is committed, members leave their groups), then producers (what was sent
   * is flushed), then the connection. Never rejects; nothing takes longer than `timeoutMs` (default 10,000).
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.closing ??= this.finish(options.timeoutMs ?? 10_000);
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async finish(timeoutMs: number): Promise<void> {
    const { session } = this;
    this.stopFollowing();
    if (session.connection !== undefined)
      await Promise.all([...session.parts].map((part) => part.close({ timeoutMs })));
    session.close();
    // Without a connection there was nothing to wait for; now they know that it is over.
    await Promise.all([...session.parts].map((part) => part.close({ timeoutMs: 0 })));
  }
}
