/**
 * The client's tie to the server over all its connections: connects, comes back as the close codes say, and tells its
 * members (streams, producers) when there is a connection and when there is none. What must stay true: members hear
 * `onConnected` in the order they were attached, `onDisconnected` exactly once for each; after the end `onEnded`, once.
 */
import { CloseCode, type RequestType, type StreamPush, type Verb, type Verbs } from "../gateway/Messages.ts";
import { Errors } from "../protocol/Errors.ts";
import { Backoff, type BackoffOptions } from "./Backoff.ts";
import {
  type ClientError,
  ClosedError,
  ConnectionError,
  KafkaError,
  OutcomeUnknownError,
  TimeoutError,
} from "./ClientError.ts";
import type { ClientPlatform } from "./ClientPlatform.ts";
import { type Answer, Connection, type ConnectionEnd, type RequestBody, RequestLost } from "./Connection.ts";
import { Emitter } from "./Emitter.ts";

/** Something that lives on the connection and outlives it. */
export interface SessionMember {
  onConnected(connection: Connection): void;
  onDisconnected(): void;
  /** There will be no connection any more. */
  onEnded(error: ClientError): void;
  /** Frames of a stream with this number. */
  readonly stream?: number;
  onPush?(push: StreamPush): void;
}

/** A consumer or producer: `close` takes no longer than `timeoutMs` and never rejects. */
export interface SessionPart {
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

export type SessionState = "connecting" | "connected" | "disconnected" | "closed";

export interface StateEvent {
  readonly state: SessionState;
  /** Why, when it is not what was asked for. */
  readonly error?: ClientError;
  /** Milliseconds to the next attempt, when `disconnected`. */
  readonly retryInMs?: number;
}

export interface SessionEvents {
  state: StateEvent;
  /** The server is going to close and asks to come back. */
  goaway: { readonly reason: string; readonly afterMs: number };
  /** Something went wrong that no caller is there for: a listener that threw, an automatic commit. */
  error: unknown;
}

/** A token, or how to get one; asked for at every connection, with `expired` when the last one was refused. */
export type TokenSource = string | ((request: { readonly expired: boolean }) => string | Promise<string>);

export interface SessionOptions {
  readonly url: string;
  readonly client: { readonly name: string; readonly version: string };
  readonly token?: TokenSource;
  readonly backoff?: BackoffOptions;
  /** For a token to be given, and from the opening of a connection to the answer to `hello`, in milliseconds. */
  readonly openTimeoutMs: number;
}

/** How a request is carried out over connections that come and go. */
export interface AskOptions {
  /**
   * What may be done when its answer was lost. `read`: it is sent again, nothing was changed; `again`: it is sent again,
   * and when that is not possible the outcome is unknown; `once`: the outcome is unknown at once.
   */
  readonly kind: "read" | "again" | "once";
  /** For all of it, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Errors that are not final although Kafka does not call them retriable, or the other way round. */
  readonly retriable?: (error: KafkaError) => boolean;
  /** Told before it is sent again because its answer was lost. */
  readonly onResent?: () => void;
}

/** Codes after which coming back would end the same way. */
const FINAL_CODES: ReadonlySet<number> = new Set([
  CloseCode.PROTOCOL_ERROR,
  CloseCode.TEXT,
  CloseCode.MALFORMED,
  CloseCode.REFUSED,
  CloseCode.TOO_LARGE,
  4400,
]);
/** A connection that lived so long was a good one: the next attempt begins with short waits again. */
const STABLE_MS = 5000;
const ASK_BACKOFF: BackoffOptions = { initialMs: 50, maxMs: 1000 };

export class Session {
  readonly events: Emitter<SessionEvents>;
  state: SessionState = "disconnected";
  connection: Connection | undefined;
  /** What was made with the client and is to be closed with it. */
  readonly parts = new Set<SessionPart>();
  /** Why it is closed. */
  closedBy: ClientError | undefined;
  private attempt: Connection | undefined;
  private readonly members = new Set<SessionMember>();
  private readonly streams = new Map<number, SessionMember>();
  private readonly backoff: Backoff;
  private cancelRetry = (): void => {};
  private cancelToken = (): void => {};
  private cancelStable = (): void => {};
  private stopListening = (): void => {};
  private tokenExpired = false;
  private comeBackAfterMs = 0;
  private nextStream = 1;

  constructor(
    readonly platform: ClientPlatform,
    private readonly options: SessionOptions,
  ) {
    this.events = new Emitter((error) => this.report(error));
    this.backoff = new Backoff(platform.random, options.backoff);
  }

  /** Begins; never called twice. */
  start(): void {
    this.stopListening = this.platform.onOnline?.(() => this.retryNow()) ?? this.stopListening;
    this.connect();
  }

  /** A number for a stream, unique in this session. */
  streamNumber(): number {
    return this.nextStream++;
  }

  /** Joins; hears of the connection at once when there is one. */
  attach(member: SessionMember): void {
    if (this.closedBy !== undefined) {
      member.onEnded(this.closedBy);
      return;
    }
    this.members.add(member);
    if (member.stream !== undefined) this.streams.set(member.stream, member);
    if (this.connection !== undefined) member.onConnected(this.connection);
  }

  detach(member: SessionMember): void {
    this.members.delete(member);
    if (member.stream !== undefined) this.streams.delete(member.stream);
  }

  /** Ends for good. With 1000 (the default) members leave their groups. */
  close(error: ClientError = new ClosedError("the client"), code: number = CloseCode.NORMAL): void {
    if (this.closedBy !== undefined) return;
    this.closedBy = error;
    this.cancelRetry();
    this.cancelToken();
    this.cancelStable();
    this.stopListening();
    const { connection, attempt } = this;
    this.connection = undefined;
    this.attempt = undefined;
    (connection ?? attempt)?.close(code, "");
    const members = [...this.members];
    this.members.clear();
    this.streams.clear();
    for (const member of members) member.onEnded(error);
    this.become({ state: "closed", ...(error instanceof ClosedError ? {} : { error }) });
  }

  /** Tells whoever listens for errors that have no caller. */
  report(error: unknown): void {
    this.events.emit("error", error);
  }

  /**
   * A request as a promise, over as many connections as it takes. Rejects with `TimeoutError` when it was never sent in
   * time, `OutcomeUnknownError` when its answer is lost and it may not be sent again, or what the server answered.
   */
  ask<T extends RequestType>(type: T, body: RequestBody<T>, options: AskOptions): Promise<Answer<T>> {
    return new Promise((resolve, reject) => new Asking(this, type, body, options, resolve, reject).begin());
  }

  /** One of the verbs. */
  async call<V extends Verb>(verb: V, body: Verbs[V]["body"], options: AskOptions): Promise<Verbs[V]["answer"]> {
    const answer = await this.ask("call", { verb, body }, options);
    return answer.body as Verbs[V]["answer"];
  }

  private connect(): void {
    this.cancelRetry();
    this.become({ state: "connecting" });
    const { token } = this.options;
    if (typeof token !== "function") {
      this.open(token);
      return;
    }
    const expired = this.tokenExpired;
    let over = false;
    const once = (act: () => void): void => {
      if (over) return;
      over = true;
      this.cancelToken();
      act();
    };
    const none = (text: string, cause?: unknown): void =>
      once(() => this.lost(new ConnectionError(`no token: ${text}`, CloseCode.UNAUTHENTICATED, { cause })));
    const { openTimeoutMs } = this.options;
    this.cancelToken = this.platform.clock.after(openTimeoutMs, () => none(`not given in ${openTimeoutMs} ms`));
    const asking = async () => token({ expired });
    asking().then(
      (fresh) => once(() => this.open(fresh)),
      (cause: unknown) => none(cause instanceof Error ? cause.message : String(cause), cause),
    );
  }

  private open(token: string | undefined): void {
    if (this.closedBy !== undefined) return;
    const { url, client, openTimeoutMs } = this.options;
    const hello = token === undefined ? { client } : { client, token };
    this.attempt = new Connection(
      this.platform,
      { url, hello, openTimeoutMs },
      {
        onReady: (connection) => this.ready(connection),
        onPush: (push) => this.streams.get(push.stream)?.onPush?.(push),
        onGoaway: ({ reason, afterMs }) => {
          this.comeBackAfterMs = afterMs;
          this.events.emit("goaway", { reason, afterMs });
        },
        onEnd: (end) => this.ended(end),
      },
    );
  }

  private ready(connection: Connection): void {
    this.connection = connection;
    this.attempt = undefined;
    this.tokenExpired = false;
    this.comeBackAfterMs = 0;
    this.cancelStable = this.platform.clock.after(STABLE_MS, () => this.backoff.reset());
    this.become({ state: "connected" });
    for (const member of [...this.members]) {
      if (this.connection !== connection) return;
      if (this.members.has(member)) member.onConnected(connection);
    }
  }

  private ended(end: ConnectionEnd): void {
    this.attempt = undefined;
    this.cancelStable();
    const had = this.connection !== undefined;
    this.connection = undefined;
    if (this.closedBy !== undefined) return;
    if (had) for (const member of [...this.members]) member.onDisconnected();
    const { refusal } = end;
    const message = `${this.options.url}: ${end.reason}`;
    const unauthenticated =
      end.code === CloseCode.UNAUTHENTICATED ||
      (refusal instanceof KafkaError && refusal.code === Errors.SASL_AUTHENTICATION_FAILED);
    if (unauthenticated) {
      this.tokenExpired = true;
      // Without a way to get another token the next attempt would end the same way.
      if (typeof this.options.token !== "function")
        return this.close(new ConnectionError(message, end.code, { retriable: false, fatal: true }));
    } else if (FINAL_CODES.has(end.code) && refusal?.retriable !== true) {
      return this.close(new ConnectionError(message, end.code, { retriable: false, fatal: true, cause: refusal }));
    }
    this.lost(new ConnectionError(message, end.code, { cause: refusal }));
  }

  private lost(error: ConnectionError): void {
    if (this.closedBy !== undefined) return;
    const retryInMs = this.comeBackAfterMs + this.backoff.next();
    this.comeBackAfterMs = 0;
    this.cancelRetry = this.platform.clock.after(retryInMs, () => this.connect());
    this.become({ state: "disconnected", error, retryInMs });
  }

  private retryNow(): void {
    if (this.state !== "disconnected") return;
    this.backoff.reset();
    this.connect();
  }

  private become(event: StateEvent): void {
    this.state = event.state;
    this.events.emit("state", event);
  }
}

/** One request over as many connections as it takes. */
class Asking<T extends RequestType> implements SessionMember {
  private readonly backoff: Backoff;
  private cancelTimers: Array<() => void> = [];
  private outstanding = false;
  /** An answer was lost. */
  private unanswered = false;
  private lastError: KafkaError | undefined;
  private over = false;

  constructor(
    private readonly session: Session,
    private readonly type: T,
    private readonly body: RequestBody<T>,
    private readonly options: AskOptions,
    private readonly resolve: (answer: Answer<T>) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    this.backoff = new Backoff(session.platform.random, ASK_BACKOFF);
  }

  begin(): void {
    const { signal, timeoutMs } = this.options;
    if (signal?.aborted === true) {
      this.reject(signal.reason);
      return;
    }
    if (signal !== undefined) {
      const abort = () => this.fail(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      this.cancelTimers.push(() => signal.removeEventListener("abort", abort));
    }
    this.cancelTimers.push(this.session.platform.clock.after(timeoutMs, () => this.expired()));
    this.session.attach(this);
  }

  onConnected(connection: Connection): void {
    if (this.unanswered) this.options.onResent?.();
    this.unanswered = false;
    this.outstanding = true;
    connection.request(this.type, this.body, (outcome) => {
      if (this.over) return;
      if (outcome instanceof RequestLost) {
        this.outstanding = outcome.sent;
        this.unanswered ||= outcome.sent;
        // Sent again at the next connection, or never sent at all.
        if (outcome.sent && this.options.kind === "once")
          this.fail(
            new OutcomeUnknownError(`${this.type}: the connection ended before the answer`, { cause: outcome }),
          );
        return;
      }
      this.outstanding = false;
      if (!(outcome instanceof KafkaError)) {
        this.finish();
        this.resolve(outcome as Answer<T>);
        return;
      }
      const { retriable } = this.options;
      if (!(retriable?.(outcome) ?? (this.options.kind !== "once" && outcome.retriable))) {
        this.fail(outcome);
        return;
      }
      this.lastError = outcome;
      this.cancelTimers.push(
        this.session.platform.clock.after(this.backoff.next(), () => {
          if (!this.over && this.session.connection === connection) this.onConnected(connection);
        }),
      );
    });
  }

  onDisconnected(): void {}

  onEnded(error: ClientError): void {
    this.fail(this.mayBeDone ? new OutcomeUnknownError(`${this.type}: ${error.message}`, { cause: error }) : error);
  }

  private get mayBeDone(): boolean {
    return this.outstanding && this.options.kind !== "read";
  }

  private expired(): void {
    const what = `${this.type}: not answered in ${this.options.timeoutMs} ms`;
    if (this.mayBeDone) this.fail(new OutcomeUnknownError(what));
    else this.fail(this.lastError ?? new TimeoutError(what));
  }

  private fail(error: unknown): void {
    if (this.over) return;
    this.finish();
    this.reject(error);
  }

  private finish(): void {
    this.over = true;
    this.session.detach(this);
    for (const cancel of this.cancelTimers.splice(0)) cancel();
  }
}
