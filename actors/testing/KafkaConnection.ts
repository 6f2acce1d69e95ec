/**
 * One connection to a broker as a client sees it: frames out, frames in, requests matched with their responses. What
 * must stay true: responses come in the order of the requests (anything else is told as a violation), a request that
 * gets no answer in time ends the connection, as in Kafka's clients; everything outside is behind the ports, so that it
 * runs in a simulation and against any real broker.
 *
 * Raw access for tests of bad input: `sendBytes` sends what it is given, `receiveFrame` answers the next frame that no
 * `request` waits for.
 */
import type { Clock } from "../../src/platform/Clock.ts";
import type { Endpoint, Network, Socket } from "../../src/platform/Network.ts";
import type { Random } from "../../src/platform/Random.ts";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import {
  type Api,
  ApiKey,
  Apis,
  apiName,
  apiOf,
  type KnownApiKey,
  type RequestOf,
  type ResponseOf,
} from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { FrameAssembler } from "../../src/protocol/Frame.ts";
import { decodeResponseHeader, encodeRequestHeader } from "../../src/protocol/RequestHeader.ts";
import type { Codecs } from "../../src/record/Compression.ts";

/** The ports a client needs. */
export interface ClientPlatform {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly codecs: Codecs;
}

export interface ConnectionOptions {
  readonly clientId?: string;
  /** How long a request waits for its response (default 30,000). */
  readonly requestTimeoutMs?: number;
  /** How long connecting may take (default 10,000). */
  readonly connectTimeoutMs?: number;
  /** The newest version to use per API key, below what client and broker both have. */
  readonly maxVersions?: Readonly<Partial<Record<KnownApiKey, number>>>;
  /** Do not ask for the broker's versions first: for tests of what is before that. */
  readonly raw?: boolean;
}

/** The connection ended, or never came to be. `sent`: the broker may have seen the request. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  constructor(
    message: string,
    readonly sent: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The broker answered something no broker may answer. */
export class ProtocolViolation extends Error {
  override readonly name = "ProtocolViolation";
}

interface Waiting {
  readonly correlationId: number;
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly accept: (reader: ByteReader) => void;
  readonly reject: (error: Error) => void;
  cancelTimeout: () => void;
}

/** A response may be as large as the client asked for. */
const MAX_RESPONSE_BYTES = 0x7fffffff;

const peekInt16 = (reader: ByteReader): number => {
  const position = reader.position;
  const value = reader.int16();
  reader.position = position;
  return value;
};

export class KafkaConnection {
  /** Resolves when the connection is over, with the error when it was not an orderly end. */
  readonly closed: Promise<Error | undefined>;
  /** Advertised version ranges by API key; empty on a raw connection. */
  readonly versions = new Map<number, { readonly min: number; readonly max: number }>();
  /** Finalized features by name, as `transaction.version`. */
  readonly features = new Map<string, number>();

  private socket: Socket | undefined;
  private readonly assembler = new FrameAssembler(MAX_RESPONSE_BYTES, 4);
  private readonly waiting: Waiting[] = [];
  private readonly outgoing: Uint8Array[] = [];
  private readonly frames: Uint8Array[] = [];
  private readonly receivers: Array<PromiseWithResolvers<Uint8Array>> = [];
  private nextCorrelationId = 0;
  private over: Error | undefined;
  private readonly resolveClosed: (error: Error | undefined) => void;

  private constructor(
    private readonly platform: ClientPlatform,
    readonly endpoint: Endpoint,
    private readonly options: ConnectionOptions,
  ) {
    const closed = Promise.withResolvers<Error | undefined>();
    this.closed = closed.promise;
    this.resolveClosed = closed.resolve;
  }

  /** Connects and, unless `raw`, asks for the broker's API versions. Rejects with `ConnectionLost`. */
  static async open(
    platform: ClientPlatform,
    endpoint: Endpoint,
    options: ConnectionOptions = {},
  ): Promise<KafkaConnection> {
    const connection = new KafkaConnection(platform, endpoint, options);
    await connection.connect();
    if (options.raw !== true) await connection.askVersions();
    return connection;
  }

  get isOpen(): boolean {
    return this.over === undefined;
  }

  /** Requests sent and not yet answered. */
  get inFlight(): number {
    return this.waiting.length;
  }

  /** The version to speak an API in: the newest both sides have. Undefined when there is none. */
  versionOf(apiKey: KnownApiKey): number | undefined {
    const api: Api = Apis[apiKey];
    const newest = api.latestVersionUnstable ? api.maxVersion - 1 : api.maxVersion;
    const own = Math.min(newest, this.options.maxVersions?.[apiKey] ?? newest);
    const theirs = this.versions.get(apiKey);
    if (theirs === undefined) return this.options.raw === true ? own : undefined;
    const version = Math.min(own, theirs.max);
    return version >= Math.max(api.minVersion, theirs.min) ? version : undefined;
  }

  /**
   * Sends a request and answers its response. Rejects with `ConnectionLost` or `ProtocolViolation`. `timeoutMs`: for a
   * request that may rightly take longer than others.
   */
  request<K extends KnownApiKey>(
    apiKey: K,
    message: RequestOf<K>,
    version?: number,
    timeoutMs = this.options.requestTimeoutMs ?? 30_000,
  ): Promise<ResponseOf<K>> {
    return new Promise((resolve, reject) => {
      const apiVersion = version ?? this.versionOf(apiKey);
      if (apiVersion === undefined) {
        reject(new ProtocolViolation(`the broker does not serve ${apiName(apiKey)} in a version we know`));
        return;
      }
      if (this.over !== undefined) {
        reject(new ConnectionLost(this.over.message, false, { cause: this.over }));
        return;
      }
      const correlationId = this.writeRequest(apiKey, apiVersion, message);
      const entry: Waiting = {
        correlationId,
        apiKey,
        apiVersion,
        accept: (reader) => {
          const api: Api<K> = Apis[apiKey];
          // An ApiVersions answer that refuses the version is in version 0, whatever was asked (KIP-511).
          const refused = apiKey === ApiKey.ApiVersions && peekInt16(reader) === Errors.UNSUPPORTED_VERSION;
          resolve(api.decodeResponse(reader, refused ? 0 : apiVersion));
        },
        reject,
        cancelTimeout: () => {},
      };
      entry.cancelTimeout = this.platform.clock.after(timeoutMs, () =>
        this.fail(new Error(`${apiName(apiKey)} got no answer in time`)),
      );
      this.waiting.push(entry);
      this.flushOut();
    });
  }

  /** Sends a request that gets no response (Produce with acks 0). */
  send<K extends KnownApiKey>(apiKey: K, message: RequestOf<K>, version?: number): void {
    const apiVersion = version ?? this.versionOf(apiKey);
    if (apiVersion === undefined) throw new ProtocolViolation(`the broker does not serve ${apiName(apiKey)}`);
    if (this.over !== undefined) throw new ConnectionLost(this.over.message, false, { cause: this.over });
    this.writeRequest(apiKey, apiVersion, message);
    this.flushOut();
  }

  /** Sends bytes as they are. */
  sendBytes(bytes: Uint8Array): void {
    this.outgoing.push(new Uint8Array(bytes));
    this.flushOut();
  }

  /** Sends bytes with their length in front. */
  sendFrame(payload: Uint8Array): void {
    const size = new Uint8Array(4);
    new DataView(size.buffer).setInt32(0, payload.length);
    this.outgoing.push(size, new Uint8Array(payload));
    this.flushOut();
  }

  /** The next frame (without its length) that is not the answer to a `request`. Rejects with `ConnectionLost`. */
  receiveFrame(): Promise<Uint8Array> {
    const frame = this.frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.over !== undefined) return Promise.reject(new ConnectionLost(this.over.message, true));
    const receiver = Promise.withResolvers<Uint8Array>();
    this.receivers.push(receiver);
    return receiver.promise;
  }

  /** Not read until `resume`: a slow reader. */
  pause(): void {
    this.socket?.pause();
  }

  resume(): void {
    this.socket?.resume();
  }

  /** Ends the connection after what was taken has been sent. */
  end(): void {
    this.socket?.end();
    this.finish(undefined);
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.socket?.destroy();
    this.finish(undefined);
  }

  private connect(): Promise<void> {
    const { network, clock } = this.platform;
    const where = `${this.endpoint.host}:${this.endpoint.port}`;
    return new Promise((resolve, reject) => {
      const cancel = clock.after(this.options.connectTimeoutMs ?? 10_000, () =>
        lost(new Error(`connecting to ${where} took too long`)),
      );
      const lost = (cause: Error): void => {
        cancel();
        this.finish(cause);
        reject(new ConnectionLost(cause.message, false, { cause }));
      };
      const connecting = async (): Promise<Socket> =>
        network.connect(this.endpoint, {
          onData: (_, chunk) => this.receive(chunk),
          onDrain: () => this.flushOut(),
          onClose: (_, error) => this.finish(error ?? new Error(`${where} ended the connection`)),
        });
      connecting().then(
        (socket) => {
          cancel();
          if (this.over === undefined) {
            this.socket = socket;
            resolve();
          } else {
            socket.destroy();
            reject(new ConnectionLost(this.over.message, false, { cause: this.over }));
          }
        },
        (error: unknown) => lost(error instanceof Error ? error : new Error(String(error))),
      );
    });
  }

  private async askVersions(): Promise<void> {
    const key = ApiKey.ApiVersions;
    const newest = Math.min(Apis[key].maxVersion, this.options.maxVersions?.[key] ?? Apis[key].maxVersion);
    const ask = (version: number): Promise<ResponseOf<18>> =>
      this.request(key, { clientSoftwareName: "odradek-testing", clientSoftwareVersion: "1" }, version);
    let answer = await ask(newest).catch((error: unknown) => {
      this.destroy();
      throw error;
    });
    if (answer.errorCode === Errors.UNSUPPORTED_VERSION) {
      const range = answer.apiKeys.find((entry) => entry.apiKey === key);
      answer = await ask(Math.min(range?.maxVersion ?? 0, newest));
    }
    if (answer.errorCode !== Errors.NONE) {
      this.destroy();
      throw new ProtocolViolation(`ApiVersions answered error ${answer.errorCode}`);
    }
    for (const { apiKey, minVersion, maxVersion } of answer.apiKeys) {
      this.versions.set(apiKey, { min: minVersion, max: maxVersion });
    }
    for (const { name, maxVersionLevel } of answer.finalizedFeatures) this.features.set(name, maxVersionLevel);
  }

  private writeRequest<K extends KnownApiKey>(apiKey: K, apiVersion: number, message: RequestOf<K>): number {
    const correlationId = this.nextCorrelationId;
    this.nextCorrelationId = (correlationId + 1) & 0x7fffffff;
    const writer = new ByteWriter();
    writer.int32(0);
    encodeRequestHeader(writer, { apiKey, apiVersion, correlationId, clientId: this.options.clientId ?? "odradek" });
    const api: Api<K> = Apis[apiKey];
    api.encodeRequest(writer, message, apiVersion);
    writer.setInt32(0, writer.length - 4);
    this.outgoing.push(writer.toBytes());
    return correlationId;
  }

  private flushOut(): void {
    const { socket, outgoing } = this;
    if (socket === undefined) return;
    while (outgoing.length > 0) {
      const chunk = outgoing[0]!;
      const taken = socket.write(chunk);
      if (taken < chunk.length) {
        outgoing[0] = chunk.subarray(taken);
        return;
      }
      outgoing.shift();
    }
  }

  private receive(chunk: Uint8Array): void {
    if (this.over !== undefined) return;
    try {
      for (const frame of this.assembler.push(chunk)) this.take(frame);
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  private take(frame: Uint8Array): void {
    const first = this.waiting.shift();
    if (first === undefined) {
      const receiver = this.receivers.shift();
      if (receiver === undefined) this.frames.push(frame);
      else receiver.resolve(frame);
      return;
    }
    first.cancelTimeout();
    try {
      const reader = new ByteReader(frame);
      const correlationId = decodeResponseHeader(reader, first.apiKey, first.apiVersion);
      if (correlationId !== first.correlationId) {
        throw new ProtocolViolation(
          `${this.describe(first)} has correlation id ${first.correlationId}, its answer ${correlationId}`,
        );
      }
      first.accept(reader);
      if (reader.remaining > 0) {
        throw new ProtocolViolation(`${reader.remaining} bytes behind the answer to ${this.describe(first)}`);
      }
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      first.reject(cause);
      this.fail(cause);
    }
  }

  private describe(entry: Waiting): string {
    return `${apiOf(entry.apiKey)?.name ?? entry.apiKey} v${entry.apiVersion}`;
  }

  private fail(cause: Error): void {
    this.socket?.destroy();
    this.finish(cause);
  }

  private finish(cause: Error | undefined): void {
    if (this.over !== undefined) return;
    const reason = cause ?? new Error("the connection was closed here");
    this.over = reason;
    this.outgoing.length = 0;
    for (const entry of this.waiting.splice(0)) {
      entry.cancelTimeout();
      entry.reject(new ConnectionLost(reason.message, true, { cause: reason }));
    }
    for (const receiver of this.receivers.splice(0)) receiver.reject(new ConnectionLost(reason.message, true));
    this.resolveClosed(cause);
  }
}
