/**
 * One connection of the stream protocol (src/gateway/PROTOCOL.md): frames to typed requests of the same handlers that
 * serve TCP, answers and pushed records back. It owns the connection's streams, the byte credit of its unanswered
 * requests, and its signs of life; it knows no socket and no timer but the ports. What must stay true: each request is
 * answered once; requests are handed over in the order they came; a client that sends nonsense or does not read loses
 * this connection and disturbs no other; when it ends everything it held is given back.
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import type { Ports } from "../src/api/Ports.ts";
import { type Caller, Refused } from "../src/gateway/Caller.ts";
import { decodeClientFrame } from "../src/gateway/ClientFrames.ts";
import type { FrameDuplex, FrameHandlers } from "../src/gateway/FrameDuplex.ts";
import {
  type ClientFrame,
  type ClientNote,
  CloseCode,
  type Limits,
  type RequestFrame,
  type Requests,
  type RequestType,
  type WireError,
} from "../src/gateway/Messages.ts";
import { produce } from "../src/gateway/Producing.ts";
import { encodeError, encodeFrame, encodeOk, encodeRecords } from "../src/gateway/ServerFrames.ts";
import { commitInTransaction, endTransaction, initProducer } from "../src/gateway/Transactions.ts";
import type { VerbContext } from "../src/gateway/Verb.ts";
import { runVerb } from "../src/gateway/Verbs.ts";
import { invalidRequest, wireError } from "../src/gateway/WireError.ts";
import type { Endpoint } from "../src/platform/Network.ts";
import { isPending, type MaybePending } from "../src/prelude/Types.ts";
import { Errors } from "../src/protocol/Errors.ts";
import type { ActorContext } from "./Actor.ts";
import type { ByteCredit, CreditHolder } from "./ByteCredit.ts";
import type { ConnectionEnvironment } from "./Connection.ts";
import type { TurnTaker } from "./Gateway.ts";
import { GatewayCaller, GatewayConnection } from "./GatewayCaller.ts";
import type { GatewayMembers } from "./GatewayMembers.ts";
import { GatewayOutbox, type Outgoing } from "./GatewayOutbox.ts";
import type { GatewayReads } from "./GatewayReads.ts";
import type { GatewayStream, Push, PushedRecords, StreamOwner } from "./GatewayStream.ts";
import { GatewayStreams } from "./GatewayStreams.ts";
import { SignsOfLife } from "./SignsOfLife.ts";

/** Who is at the other end, as far as the door knows before the first frame. */
export interface GatewayPeer {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Given at the upgrade; the hello may bring one too. */
  readonly token?: string;
}

/** The security hook: the principal, or undefined when the token is missing, wrong or has expired. */
export type Authenticate = (token: string | undefined, peer: GatewayPeer) => MaybePending<string | undefined>;

/** What all sessions share. */
export interface GatewayEnvironment extends ActorContext {
  readonly ports: Ports;
  readonly credit: ByteCredit;
  /** The broker's listener whose addresses are told. */
  readonly listenerName: string;
  readonly run: ConnectionEnvironment["run"];
  readonly requestLog: ConnectionEnvironment["requestLog"];
  readonly limits: Required<Limits>;
  readonly heartbeatMs: number;
  readonly authenticate: Authenticate;
  readonly server: { readonly name: string; readonly version: string };
  readonly reads: GatewayReads;
  readonly outgoing: Outgoing;
  readonly members: GatewayMembers;
  /** A connection wants a turn to push records. */
  readonly offer: (taker: TurnTaker) => void;
  readonly closed: (session: GatewaySession) => void;
}

/** Nobody is known before the hello, and nothing large is looked at. */
const MAX_HELLO_BYTES = 32 * 1024;
/** More bytes of answers than this wait for a slow reader: its requests are not read. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** A frame of records; smaller while much is queued in sockets already, so that slow readers stay cheap. */
const ANSWER_SLACK_BYTES = 8 * 1024;
const FRAME_BYTES = 256 * 1024;
const SMALL_FRAME_BYTES = 16 * 1024;
const MUCH_QUEUED_BYTES = 64 * 1024 * 1024;

export class GatewaySession implements FrameHandlers, CreditHolder, StreamOwner, TurnTaker {
  principal = "";
  readonly ports: Ports;
  readonly reads: GatewayReads;
  readonly run: StreamOwner["run"];
  readonly caller: Caller;
  private readonly connection: GatewayConnection;
  private readonly outbox: GatewayOutbox;
  private readonly streams: GatewayStreams;
  private readonly verbContext: VerbContext;
  /** Streams that have something to push, in the order of their turns. */
  private turns: GatewayStream[] = [];
  /** Unanswered requests: the bytes of their frames, by id. */
  private readonly inFlight = new Map<number, number>();
  /** Frames that wait behind a request which has to wait before it is handed over. */
  private held: Uint8Array[] = [];
  private charged = 0;
  private outOfCredit = false;
  private muted = false;
  private paused = false;
  isClosed = false;
  private greeted = false;
  private readonly life: SignsOfLife;
  /** The gateway has it in its queue. */
  offered = false;

  constructor(
    readonly id: number,
    private readonly duplex: FrameDuplex,
    private readonly peer: GatewayPeer,
    private readonly environment: GatewayEnvironment,
  ) {
    const { clock, ports, tasks } = environment;
    this.ports = ports;
    this.reads = environment.reads;
    this.run = environment.run;
    this.connection = new GatewayConnection(
      id,
      peer.local,
      peer.remote,
      tasks,
      () => this.updateReading(),
      () => this.releaseHeld(),
    );
    this.caller = new GatewayCaller(ports, this.connection, environment.listenerName, () => this.principal);
    this.outbox = new GatewayOutbox(
      duplex,
      () => clock.monotonic(),
      environment.outgoing,
      () => this.end(CloseCode.SLOW_READER, "a frame was dropped"),
    );
    this.streams = new GatewayStreams(this, environment);
    const maxAnswerBytes = environment.limits.frameBytes - ANSWER_SLACK_BYTES;
    this.verbContext = { caller: this.caller, codecs: ports.codecs, maxAnswerBytes };
    const { heartbeatMs } = environment;
    this.life = new SignsOfLife({ clock, timers: ports.timers, heartbeatMs, outbox: this.outbox }, (code, reason) =>
      this.end(code, reason),
    );
  }

  // — the port's side

  onFrame(frame: Uint8Array): void {
    if (this.isClosed) return;
    this.life.seen();
    this.charge(frame.length);
    if (this.connection.isHeld || this.held.length > 0) this.held.push(frame);
    else this.accept(frame);
    this.environment.credit.frameFinished(this);
    this.updateReading();
    this.environment.tasks.drain();
  }

  onDrain(): void {
    if (this.isClosed) return;
    this.outbox.drained();
    this.updateReading();
    this.offerTurn();
    this.environment.tasks.drain();
  }

  onClose(code: number, _reason: string): void {
    if (this.isClosed) return;
    this.release(code === CloseCode.NORMAL || code === CloseCode.GOING_AWAY);
    this.environment.tasks.drain();
  }

  creditAvailable(): void {
    this.outOfCredit = false;
    this.updateReading();
  }

  // — the gateway's side

  /** Every request read was answered, and every answer taken. */
  get isIdle(): boolean {
    return this.inFlight.size === 0 && this.held.length === 0 && this.outbox.isFree;
  }

  /** The broker stops: no request is read any more, what is unanswered still is. */
  mute(reason: string, afterMs: number): void {
    if (this.isClosed) return;
    if (this.greeted) this.outbox.send(encodeFrame({ t: "goaway", reason, afterMs }));
    this.muted = true;
    this.updateReading();
  }

  /** Ends the connection from our side; what was sent still arrives. */
  end(code: number, reason: string): void {
    if (this.isClosed) return;
    this.environment.requestLog()?.(`gateway connection ${this.id} closed: ${code} ${reason}`);
    // A close frame carries at most 123 bytes of reason.
    this.duplex.close(code, reason.slice(0, 120));
    this.release(false);
  }

  get wantsTurn(): boolean {
    return !this.isClosed && this.turns.length > 0 && this.outbox.isFree;
  }

  /** Pushes at most one frame. */
  turn(): void {
    const stream = this.turns.shift();
    if (stream === undefined) return;
    stream.offered = false;
    if (!stream.wantsTurn) return;
    stream.turn();
    if (stream.wantsTurn) this.offer(stream);
  }

  // — the streams' side

  get canPush(): boolean {
    return !this.isClosed && this.outbox.isFree;
  }

  get frameBytes(): number {
    return this.environment.outgoing.queuedBytes > MUCH_QUEUED_BYTES ? SMALL_FRAME_BYTES : FRAME_BYTES;
  }

  push(stream: GatewayStream, push: Push): void {
    if (!this.isClosed) this.outbox.send(encodeFrame({ ...push, stream: stream.number }));
  }

  pushRecords(stream: GatewayStream, { view, delivery, from, to, next }: PushedRecords): void {
    this.outbox.send(encodeRecords(stream.number, view, delivery, from, to, next));
  }

  offer(stream: GatewayStream): void {
    if (stream.offered || this.isClosed) return;
    stream.offered = true;
    this.turns.push(stream);
    this.offerTurn();
  }

  private offerTurn(): void {
    if (this.wantsTurn) this.environment.offer(this);
  }

  // — frames

  private releaseHeld(): void {
    while (!this.connection.isHeld && this.held.length > 0 && !this.isClosed) this.accept(this.held.shift()!);
    this.updateReading();
  }

  private accept(bytes: Uint8Array): void {
    if (this.isClosed) return;
    if (!this.greeted && bytes.length > MAX_HELLO_BYTES) return this.end(CloseCode.TOO_LARGE, "a hello is smaller");
    const incoming = decodeClientFrame(bytes);
    if (incoming.kind === "fatal") return this.end(incoming.code, incoming.reason);
    if (incoming.kind === "ignored") return this.discharge(bytes.length);
    if (incoming.kind === "frame" && !("id" in incoming.frame)) {
      if (!this.greeted) return this.end(CloseCode.PROTOCOL_ERROR, "the first frame is a hello");
      this.discharge(bytes.length);
      return this.note(incoming.frame);
    }
    const id = incoming.kind === "refused" ? incoming.id : (incoming.frame as RequestFrame).id;
    if (this.inFlight.has(id)) return this.end(CloseCode.PROTOCOL_ERROR, `id ${id} is in use`);
    this.inFlight.set(id, bytes.length);
    const isHello = incoming.kind === "frame" && incoming.frame.t === "hello";
    if (isHello === this.greeted) {
      const reason = isHello ? "hello was said already" : "the first frame is a hello";
      return this.end(CloseCode.PROTOCOL_ERROR, incoming.kind === "refused" ? incoming.message : reason);
    }
    if (incoming.kind === "refused") this.answerError(id, invalidRequest(incoming.message));
    else this.request(incoming.frame as RequestFrame);
  }

  private note(frame: Exclude<ClientFrame, RequestFrame>): void {
    switch (frame.t) {
      case "ping":
        return this.outbox.send(encodeFrame({ t: "pong", n: frame.n }));
      case "pong":
        return;
      default:
        return this.streams.note(frame as Exclude<ClientNote, { t: "ping" | "pong" }>);
    }
  }

  private request(frame: RequestFrame): void {
    switch (frame.t) {
      case "hello":
        return this.hello(frame);
      case "produce":
        return this.start(frame, produce(this.caller, frame));
      case "initProducer":
        return this.start(frame, initProducer(this.caller, frame));
      case "commit":
        return this.start(frame, this.streams.commit(frame));
      case "txnOffsets":
        return this.start(frame, this.commitInTransaction(frame));
      case "endTxn":
        return this.start(frame, endTransaction(this.caller, frame));
      case "open":
        if (this.streams.has(frame.stream)) {
          return this.end(CloseCode.PROTOCOL_ERROR, `stream number ${frame.stream} is in use`);
        }
        return this.start(frame, this.streams.open(frame));
      case "assign":
        return this.start(frame, this.streams.assign(frame));
      case "seek":
        return this.start(frame, this.streams.seek(frame));
      case "close":
        return this.start(frame, this.streams.close(frame));
      case "call":
        return this.start(
          frame,
          Effect.map(runVerb(frame.verb, frame.body, this.verbContext), (body) => ({ body })),
        );
    }
  }

  /** Of a member of this connection the gateway knows the epoch better than the client can. */
  private commitInTransaction(frame: RequestFrame<"txnOffsets">): ReturnType<typeof commitInTransaction> {
    const memberEpoch = this.streams.memberEpoch(frame.group, frame.offsets);
    if (memberEpoch === undefined) return commitInTransaction(this.caller, frame);
    return commitInTransaction(this.caller, { ...frame, group: { ...frame.group, memberEpoch } });
  }

  private hello({ id, client, token }: RequestFrame<"hello">): void {
    const greet = (principal: string | undefined): void => {
      if (this.isClosed) return;
      if (principal === undefined)
        return this.end(CloseCode.UNAUTHENTICATED, "the token is missing, wrong or has expired");
      this.principal = principal;
      this.connection.software = client;
      this.greeted = true;
      this.life.greeted();
      const { ports, server, heartbeatMs, limits } = this.environment;
      const { clusterId, nodeId } = ports;
      this.answer<"hello">(id, { server, clusterId, nodeId, heartbeatMs, limits });
    };
    const authenticated = this.environment.authenticate(token ?? this.peer.token, this.peer);
    if (!isPending(authenticated)) return greet(authenticated);
    const release = this.connection.hold();
    authenticated.then(greet, () => greet(undefined)).finally(release);
  }

  /** Runs what a request asks for and answers it. */
  private start<T extends RequestType>(
    { id, t }: { readonly id: number; readonly t: T },
    effect: Effect.Effect<Requests[T]["answer"], Refused>,
  ): void {
    const startedAt = this.environment.clock.monotonic();
    this.environment.run(effect).addObserver((exit) => {
      const log = this.environment.requestLog();
      if (log !== undefined) {
        const took = (this.environment.clock.monotonic() - startedAt).toFixed(3);
        log(`gateway connection ${this.id} ${t} ${this.connection.software.name} ${took} ms`);
      }
      if (this.isClosed) return;
      if (Exit.isSuccess(exit)) return this.answer<T>(id, exit.value);
      const failure = Cause.squash(exit.cause);
      if (failure instanceof Refused) return this.answerError(id, failure.error, failure.recordErrors);
      // A bug of ours costs this request, never its neighbours.
      this.environment.log("error", `gateway ${t}: ${Cause.pretty(exit.cause)}`);
      this.answerError(id, wireError(Errors.UNKNOWN_SERVER_ERROR));
    });
  }

  private answer<T extends RequestType>(id: number, answer: Requests[T]["answer"]): void {
    this.answered(id, encodeOk<T>(id, answer));
  }

  private answerError(id: number, error: WireError, recordErrors?: Refused["recordErrors"]): void {
    this.answered(id, encodeError(id, error, recordErrors));
  }

  private answered(id: number, frame: Uint8Array): void {
    if (this.isClosed) return;
    this.discharge(this.inFlight.get(id) ?? 0);
    this.inFlight.delete(id);
    this.outbox.send(frame);
    this.updateReading();
    this.offerTurn();
  }

  // — credit, reading

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
      this.connection.isHeld ||
      this.held.length > 0 ||
      this.inFlight.size >= this.environment.limits.requests ||
      this.outbox.waitingBytes > MAX_WAITING_BYTES;
    if (wait === this.paused) return;
    this.paused = wait;
    this.life.reading(!wait);
    if (wait) this.duplex.pause();
    else this.duplex.resume();
  }

  /** Gives everything back; runs once, whichever side closed. */
  private release(leaves: boolean): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.life.stop();
    this.streams.release(leaves);
    this.turns = [];
    this.outbox.close();
    this.held = [];
    this.inFlight.clear();
    this.discharge(this.charged);
    this.environment.credit.leave(this);
    this.connection.close();
    this.environment.closed(this);
  }
}
