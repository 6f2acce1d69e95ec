/**
 * One connection from its opening to its end: `hello`, requests and their answers, heartbeats both ways. What must stay
 * true: every request is settled exactly once and in the turn its frame arrives, so that an answer and the records behind
 * it are seen in order; after the end nothing is called any more; a connection without signs of life is given up.
 */
import type { FrameDuplex } from "../gateway/FrameDuplex.ts";
import {
  type ClientFrame,
  type ClientNote,
  CloseCode,
  type ErrorFrame,
  type Requests,
  type RequestType,
  type ServerFrame,
  type StreamPush,
  SUBPROTOCOL,
} from "../gateway/Messages.ts";
import { ClientError, ConnectionError, KafkaError } from "./ClientError.ts";
import type { ClientPlatform } from "./ClientPlatform.ts";
import { decodeFrame, encodeFrame } from "./Frames.ts";

export type Answer<T extends RequestType> = Requests[T]["answer"];
export type RequestBody<T extends RequestType> = Requests[T]["request"];
/** The answer, or why there is none; a `RequestLost` when the connection ended. */
export type Settle<T extends RequestType> = (outcome: Answer<T> | ClientError) => void;

/** The connection ended before the answer came. */
export class RequestLost extends ConnectionError {
  override readonly name = "RequestLost";

  constructor(
    end: ConnectionEnd,
    /** False: it never left this side. */
    readonly sent: boolean,
  ) {
    super(end.reason, end.code);
  }
}

export interface ConnectionEnd {
  /** Close code, 1006 when it broke or was never made. */
  readonly code: number;
  readonly reason: string;
  /** Answer to `hello`, when that was the trouble. */
  readonly refusal?: ClientError;
}

export interface ConnectionOptions {
  readonly url: string;
  readonly hello: RequestBody<"hello">;
  /** From the beginning to the answer to `hello`. */
  readonly openTimeoutMs: number;
}

export interface ConnectionEvents {
  onReady(connection: Connection, hello: Answer<"hello">): void;
  onPush(push: StreamPush): void;
  onGoaway(goaway: Extract<ServerFrame, { t: "goaway" }>): void;
  onEnd(end: ConnectionEnd): void;
}

interface Waiting {
  readonly settle: (outcome: never) => void;
  sent: boolean;
}

/** Codes a client may close with are 1000 and 4000–4999: this one says that a frame made no sense. */
const NOT_UNDERSTOOD = 4400;
const NOT_OPENED =
  "no WebSocket could be opened: nothing listens there, it is no gateway of this version, or it does not let this origin in";

export class Connection {
  /** The answer to `hello`, once it is there. */
  hello: Answer<"hello"> | undefined;
  private readonly duplex: FrameDuplex;
  private readonly waiting = new Map<number, Waiting>();
  /** Frames that must wait until the socket has drained. */
  private readonly undrained: Uint8Array[] = [];
  /** Requests beyond what the server answers at once. */
  private readonly queued: Array<{ readonly id: number; readonly frame: ClientFrame }> = [];
  private inFlight = 0;
  private draining = false;
  private opened = false;
  private ended = false;
  private nextId = 1;
  private nextPing = 1;
  private lastSent = 0;
  private lastSeen = 0;
  private cancelTimer: () => void;

  constructor(
    private readonly platform: ClientPlatform,
    options: ConnectionOptions,
    private readonly events: ConnectionEvents,
  ) {
    const { clock } = platform;
    this.cancelTimer = clock.after(options.openTimeoutMs, () =>
      this.close(CloseCode.NO_SIGN_OF_LIFE, `no answer to hello in ${options.openTimeoutMs} ms`),
    );
    this.duplex = platform.open(options.url, [SUBPROTOCOL], {
      onOpen: () => this.sayHello(options.hello),
      onFrame: (bytes) => this.receive(bytes),
      onDrain: () => this.drained(),
      onClose: (code, reason) => {
        // A page is not told more, lest it looks around in its user's network.
        const untold = this.opened ? `the connection ended (${code})` : NOT_OPENED;
        this.finish({ code, reason: reason === "" ? untold : reason });
      },
    });
  }

  get isOpen(): boolean {
    return !this.ended;
  }

  /** Sends a request. `settle` is called once, never inside this call unless the connection is over. */
  request<T extends RequestType>(type: T, body: RequestBody<T>, settle: Settle<T>): void {
    if (this.ended) {
      settle(new RequestLost({ code: CloseCode.ABNORMAL, reason: "the connection is over" }, false));
      return;
    }
    const id = this.nextId++;
    const entry: Waiting = { settle, sent: false };
    this.waiting.set(id, entry);
    const frame = { ...body, t: type, id } as ClientFrame;
    if (this.inFlight >= (this.hello?.limits.requests ?? 1)) this.queued.push({ id, frame });
    else this.sendRequest(entry, frame);
  }

  /** Sends what is not answered. */
  note(note: ClientNote): void {
    if (!this.ended) this.send(note);
  }

  /** Ends it. With 1000 members leave their groups; requests are settled before this returns. */
  close(code: number, reason: string): void {
    if (this.ended) return;
    this.duplex.close(code, reason);
    this.finish({ code, reason });
  }

  private sayHello(hello: RequestBody<"hello">): void {
    if (this.ended) return;
    this.opened = true;
    this.request("hello", hello, (outcome) => {
      if (outcome instanceof RequestLost) return;
      if (outcome instanceof ClientError) {
        this.duplex.close(CloseCode.NORMAL, "");
        this.finish({ code: CloseCode.REFUSED, reason: outcome.message, refusal: outcome });
        return;
      }
      this.hello = outcome;
      this.cancelTimer();
      this.beatLater();
      this.events.onReady(this, outcome);
    });
  }

  private sendRequest(entry: Waiting, frame: ClientFrame): void {
    entry.sent = true;
    this.inFlight += 1;
    this.send(frame);
  }

  private send(frame: ClientFrame): void {
    const bytes = encodeFrame(frame);
    this.lastSent = this.platform.clock.monotonic();
    if (this.draining) this.undrained.push(bytes);
    else if (this.duplex.send(bytes) === "queued") this.draining = true;
  }

  private drained(): void {
    this.draining = false;
    while (!this.draining && !this.ended) {
      const bytes = this.undrained.shift();
      if (bytes === undefined) return;
      if (this.duplex.send(bytes) === "queued") this.draining = true;
    }
  }

  private receive(bytes: Uint8Array): void {
    if (this.ended) return;
    this.lastSeen = this.platform.clock.monotonic();
    let frame: ServerFrame;
    try {
      frame = decodeFrame(bytes);
    } catch (error) {
      this.close(NOT_UNDERSTOOD, error instanceof Error ? error.message : String(error));
      return;
    }
    switch (frame.t) {
      case "ok":
        return this.answered(frame.id, frame);
      case "error":
        return this.answered(frame.id, errorIn(frame));
      case "ping":
        return this.note({ t: "pong", n: frame.n });
      case "pong":
        return;
      case "goaway":
        return this.events.onGoaway(frame);
      default:
        // A type this version does not know has no stream number, and nobody listens to it.
        if ("stream" in frame) this.events.onPush(frame);
    }
  }

  private answered(id: number, outcome: object): void {
    const entry = this.waiting.get(id);
    if (entry === undefined) return;
    this.waiting.delete(id);
    this.inFlight -= 1;
    (entry.settle as (outcome: object) => void)(outcome);
    const next = this.ended ? undefined : this.queued.shift();
    const waiting = next === undefined ? undefined : this.waiting.get(next.id);
    if (next !== undefined && waiting !== undefined) this.sendRequest(waiting, next.frame);
  }

  /** Sets the timer for whichever is due first: our sign of life, or the end of theirs. */
  private beatLater(): void {
    const { clock } = this.platform;
    const every = this.hello!.heartbeatMs;
    const now = clock.monotonic();
    const due = Math.max(1, Math.min(this.lastSent + every, this.lastSeen + 2 * every) - now);
    this.cancelTimer = clock.after(due, () => this.beat(now + due));
  }

  private beat(dueAt: number): void {
    const every = this.hello!.heartbeatMs;
    const now = this.platform.clock.monotonic();
    // A late timer says that this side stood still (a machine asleep, a tab in the background): what has come
    // meanwhile may not have been looked at yet.
    if (now - dueAt > every / 2) this.lastSeen = Math.max(this.lastSeen, now - every);
    if (now - this.lastSeen >= 2 * every) {
      this.close(CloseCode.NO_SIGN_OF_LIFE, `nothing heard for ${2 * every} ms`);
      return;
    }
    if (now - this.lastSent >= every) this.note({ t: "ping", n: this.nextPing++ });
    this.beatLater();
  }

  private finish(end: ConnectionEnd): void {
    if (this.ended) return;
    this.ended = true;
    this.cancelTimer();
    this.undrained.length = 0;
    this.queued.length = 0;
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const { settle, sent } of waiting) (settle as (outcome: ClientError) => void)(new RequestLost(end, sent));
    this.events.onEnd(end);
  }
}

const errorIn = (frame: ErrorFrame): KafkaError =>
  new KafkaError(frame.error, undefined, frame.recordErrors === undefined ? {} : { recordErrors: frame.recordErrors });
