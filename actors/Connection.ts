/**
 * One client connection: bytes to frames, frames to typed requests, a fiber per request, responses in request order. It
 * owns the frame being assembled, the byte credit its requests hold, and the decision to read on. What must stay true:
 * requests are handed over in the order they came; a read waits for earlier writes of its connection; a peer that sends
 * nonsense loses this connection and disturbs no other; when the connection closes everything it held is given back.
 */
import * as Cause from "effect/Cause";
import type * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import type * as Fiber from "effect/Fiber";
import { unsupportedApiVersionsResponse } from "../src/api/18-ApiVersions.ts";
import type { Ports } from "../src/api/Ports.ts";
import type { ConnectionContext, RequestContext } from "../src/api/RequestContext.ts";
import { CloseConnection, type Handler } from "../src/api/Router.ts";
import { allocateUninitialised } from "../src/platform/Memory.ts";
import type { Endpoint, Socket, SocketHandlers } from "../src/platform/Network.ts";
import { ByteReader } from "../src/prelude/ByteReader.ts";
import { ByteWriter } from "../src/prelude/ByteWriter.ts";
import { ProtocolError } from "../src/prelude/ProtocolError.ts";
import { type Api, apiName, apiOf, type KnownApiKey, type ResponseOf } from "../src/protocol/ApiKeys.ts";
import { FrameAssembler } from "../src/protocol/Frame.ts";
import { decodeRequestHeader, encodeResponseHeader, type RequestHeader } from "../src/protocol/RequestHeader.ts";
import type { ActorContext } from "./Actor.ts";
import type { ByteCredit, CreditHolder } from "./ByteCredit.ts";
import { ConnectionOrder } from "./ConnectionOrder.ts";
import { type ResponsePiece, ResponseQueue, type ResponseSlot } from "./ResponseQueue.ts";

/** What all connections of a listener share. */
export interface ConnectionEnvironment extends ActorContext {
  readonly ports: Ports;
  readonly credit: ByteCredit;
  readonly listenerName: string;
  readonly maxFrameBytes: number;
  /** Kafka's `connections.max.idle.ms`; -1: never. */
  readonly maxIdleMs: number;
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>;
  /** One line per request when an operator turned it on. */
  readonly requestLog: () => ((line: string) => void) | undefined;
  readonly closed: (connection: Connection) => void;
}

/** More requests than this wait for their answers: the connection is not read until some have left. */
const MAX_IN_FLIGHT = 1000;
/** More answered bytes than this wait for a slow reader: likewise. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** A frame that has begun and makes no progress for so long loses its connection. */
const FRAME_PROGRESS_MS = 30_000;

/** A shorter frame cannot hold a request header. */
const MIN_REQUEST_BYTES = 8;
const API_VERSIONS = 18;
const PRINCIPAL = "User:ANONYMOUS";

export class Connection implements ConnectionContext, SocketHandlers, CreditHolder {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly sendsFiles = true;
  software = { name: "unknown", version: "unknown" };
  private readonly frames: FrameAssembler;
  private readonly responses: ResponseQueue;
  private readonly order: ConnectionOrder;
  /** Frames that wait behind a request which has to wait before it is handed over. */
  private held: Uint8Array[] = [];
  /** Bytes charged to the credit: of the frame being assembled and of requests not yet answered. */
  private charged = 0;
  private paused = false;
  private outOfCredit = false;
  private muted = false;
  private isClosed = false;
  private flushScheduled = false;
  private lastActivity: number;
  private cancelIdle: (() => void) | undefined;
  private cancelProgress: (() => void) | undefined;

  constructor(
    readonly id: number,
    private readonly socket: Socket,
    private readonly environment: ConnectionEnvironment,
  ) {
    this.local = socket.local;
    this.remote = socket.remote;
    this.frames = new FrameAssembler(environment.maxFrameBytes, MIN_REQUEST_BYTES, allocateUninitialised);
    this.responses = new ResponseQueue(socket, {
      sentLater: () => this.updateReading(),
      broken: (error) => this.close(`its answer cannot be read: ${String(error)}`),
    });
    this.order = new ConnectionOrder(
      environment.tasks,
      () => this.updateReading(),
      () => this.releaseHeld(),
    );
    this.lastActivity = environment.clock.monotonic();
    this.armIdle();
  }

  onData(_socket: Socket, chunk: Uint8Array): void {
    if (this.isClosed) return;
    this.lastActivity = this.environment.clock.monotonic();
    this.charge(chunk.length);
    try {
      const frames = this.frames.push(chunk);
      for (const frame of frames) this.handle(frame);
      if (this.frames.failure !== undefined) throw this.frames.failure;
    } catch (error) {
      // Anything but nonsense from the peer is a bug of ours: it costs this connection, never its neighbours.
      if (!(error instanceof ProtocolError)) this.environment.log("error", `connection ${this.id}: ${String(error)}`);
      this.close(String(error));
    }
    if (this.frames.bytesBuffered === 0) this.environment.credit.frameFinished(this);
    this.watchProgress();
    this.updateReading();
    this.environment.tasks.drain();
  }

  onDrain(): void {
    if (this.isClosed) return;
    this.lastActivity = this.environment.clock.monotonic();
    this.flush();
  }

  onClose(socketOrTask: Socket, error?: Error): void;
  onClose(socketOrTask: () => void): () => void;
  onClose(socketOrTask: Socket | (() => void)): (() => void) | undefined {
    if (typeof socketOrTask !== "function") {
      this.release();
      return undefined;
    }
    return this.order.onClose(socketOrTask);
  }

  beginWrite(): () => void {
    return this.order.beginWrite();
  }

  hold(): () => void {
    return this.order.hold();
  }

  private releaseHeld(): void {
    if (this.isClosed) return;
    try {
      while (!this.order.isHeld && this.held.length > 0 && !this.isClosed) this.accept(this.held.shift()!);
    } catch (error) {
      if (!(error instanceof ProtocolError)) this.environment.log("error", `connection ${this.id}: ${String(error)}`);
      this.close(String(error));
    }
    this.updateReading();
  }

  afterWrites(task: () => void): void {
    this.order.afterWrites(task);
  }

  creditAvailable(): void {
    this.outOfCredit = false;
    this.updateReading();
  }

  /** Reads no requests until `unmute`. */
  mute(): void {
    this.muted = true;
    this.updateReading();
  }

  unmute(): void {
    this.muted = false;
    this.updateReading();
  }

  /** Every request read was answered, and every answer taken by the socket. */
  get isIdle(): boolean {
    return this.responses.inFlight === 0 && this.responses.queuedBytes === 0 && this.held.length === 0;
  }

  /** Ends the connection from our side; answers already written are sent. */
  close(why: string): void {
    if (this.isClosed) return;
    this.environment.requestLog()?.(`connection ${this.id} closed: ${why}`);
    this.socket.end();
    this.release();
  }

  private handle(frame: Uint8Array): void {
    if (this.isClosed) return;
    if (this.order.isHeld || this.held.length > 0) this.held.push(frame);
    else this.accept(frame);
  }

  private accept(frame: Uint8Array): void {
    const reader = new ByteReader(frame);
    const header = decodeRequestHeader(reader);
    const { ports } = this.environment;
    const handler = ports.handlers.get(header.apiKey);
    const api = apiOf(header.apiKey);
    if (handler === undefined || api === undefined) throw new ProtocolError(`API key ${header.apiKey} is not served`);
    const slot = this.responses.reserve();
    if (header.apiVersion < handler.minVersion || header.apiVersion > handler.maxVersion) {
      if (header.apiKey !== API_VERSIONS) {
        throw new ProtocolError(`${apiName(header.apiKey)} version ${header.apiVersion} is not served`);
      }
      const response = unsupportedApiVersionsResponse(ports.handlers);
      return this.respond(slot, api, { ...header, apiVersion: 0 }, response, frame.length);
    }
    const request = api.decodeRequest(reader, header.apiVersion);
    const context: RequestContext = {
      apiKey: header.apiKey,
      version: header.apiVersion,
      principal: PRINCIPAL,
      listener: this.environment.listenerName,
      clientId: header.clientId ?? "",
      connection: this,
      ports,
    };
    const run = (): void => this.run(handler, api, request, context, header, slot, frame.length);
    if (handler.reads === true) this.afterWrites(run);
    else run();
  }

  private run(
    handler: Handler,
    api: Api,
    request: unknown,
    context: RequestContext,
    header: RequestHeader,
    slot: ResponseSlot,
    frameBytes: number,
  ): void {
    if (this.isClosed) return;
    const startedAt = this.environment.clock.monotonic();
    const fiber = this.environment.run(handler.handle(request, context));
    fiber.addObserver((exit) => {
      const log = this.environment.requestLog();
      if (log !== undefined) {
        const took = (this.environment.clock.monotonic() - startedAt).toFixed(3);
        log(`connection ${this.id} ${apiName(header.apiKey)} v${header.apiVersion} ${context.clientId} ${took} ms`);
      }
      if (this.isClosed) return;
      if (Exit.isSuccess(exit)) return this.respond(slot, api, header, exit.value, frameBytes);
      const failure = Cause.squash(exit.cause);
      const why = failure instanceof CloseConnection ? failure.reason : Cause.pretty(exit.cause);
      if (!(failure instanceof CloseConnection)) this.environment.log("error", `${apiName(header.apiKey)}: ${why}`);
      this.close(why);
    });
  }

  private respond(slot: ResponseSlot, api: Api, header: RequestHeader, response: unknown, frameBytes: number): void {
    try {
      slot.chunks = response === undefined ? [] : encodeResponse(api, header, response);
    } catch (error) {
      // A response that its own version cannot hold is a bug of ours; the client must not wait for it.
      this.environment.log("error", `${api.name} v${header.apiVersion}: ${String(error)}`);
      return this.close("its response could not be encoded");
    }
    this.discharge(frameBytes + FRAME_PREFIX_BYTES);
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    this.environment.tasks.schedule(this.flushTask);
  }

  /** Responses that become ready in one run of the task list leave in one write. */
  private readonly flushTask = (): void => {
    this.flushScheduled = false;
    if (!this.isClosed) this.flush();
  };

  private flush(): void {
    this.responses.flush();
    this.updateReading();
  }

  private charge(bytes: number): void {
    this.charged += bytes;
    if (!this.environment.credit.take(this, bytes)) this.outOfCredit = true;
  }

  private discharge(bytes: number): void {
    const given = Math.min(bytes, this.charged);
    this.charged -= given;
    this.environment.credit.give(given);
  }

  private updateReading(): void {
    if (this.isClosed) return;
    const wait =
      this.muted ||
      this.outOfCredit ||
      this.order.isHeld ||
      this.held.length > 0 ||
      this.responses.inFlight > MAX_IN_FLIGHT ||
      this.responses.queuedBytes > MAX_QUEUED_BYTES;
    if (wait === this.paused) return;
    this.paused = wait;
    if (wait) this.socket.pause();
    else this.socket.resume();
  }

  private armIdle(): void {
    const { maxIdleMs, clock, ports } = this.environment;
    if (maxIdleMs < 0) return;
    const left = this.lastActivity + maxIdleMs - clock.monotonic();
    if (left <= 0) return this.close(`idle for ${maxIdleMs} ms`);
    this.cancelIdle = ports.timers.after(left, () => this.armIdle());
  }

  /** A slow sender may take its time, but each `FRAME_PROGRESS_MS` must bring something while a frame is unfinished. */
  private watchProgress(): void {
    if (this.frames.bytesBuffered === 0 || this.isClosed) {
      this.cancelProgress?.();
      this.cancelProgress = undefined;
      return;
    }
    if (this.cancelProgress !== undefined) return;
    const check = (): void => {
      this.cancelProgress = undefined;
      if (this.isClosed || this.frames.bytesBuffered === 0) return;
      const { clock, ports } = this.environment;
      const left = this.lastActivity + FRAME_PROGRESS_MS - clock.monotonic();
      if (left <= 0 && !this.paused)
        return this.close(`an unfinished frame made no progress for ${FRAME_PROGRESS_MS} ms`);
      this.cancelProgress = ports.timers.after(left <= 0 ? FRAME_PROGRESS_MS : left, check);
    };
    this.cancelProgress = this.environment.ports.timers.after(FRAME_PROGRESS_MS, check);
  }

  /** Gives everything back; runs once, whichever side closed. */
  private release(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.cancelIdle?.();
    this.cancelProgress?.();
    this.discharge(this.charged);
    this.environment.credit.leave(this);
    this.order.close();
    this.held = [];
    this.environment.closed(this);
  }
}

const encodeResponse = (api: Api, header: RequestHeader, response: unknown): ReadonlyArray<ResponsePiece> => {
  const writer = new ByteWriter();
  writer.int32(0);
  encodeResponseHeader(writer, header.apiKey, header.apiVersion, header.correlationId);
  api.encodeResponse(writer, response as ResponseOf<KnownApiKey>, header.apiVersion);
  writer.setInt32(0, writer.length - FRAME_PREFIX_BYTES);
  return writer.finishPieces() as ResponsePiece[];
};

const FRAME_PREFIX_BYTES = 4;
