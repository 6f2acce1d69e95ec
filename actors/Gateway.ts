/**
 * The gateway: every connection of the stream protocol, and the turns in which they push records. It knows no socket and
 * no HTTP; a door (the Bun shell, a simulated network) hands it frame duplexes. What must stay true: connections take
 * turns of one frame, and between rounds of bounded size the event loop gets to everybody else; every open session is in
 * `sessions`, so that a stop ends all of them.
 */
import { VERSION } from "../src/cli/Version.ts";
import type { FrameDuplex, FrameHandlers } from "../src/gateway/FrameDuplex.ts";
import { CloseCode, type Limits } from "../src/gateway/Messages.ts";
import type { DoorEnvironment } from "./Broker.ts";
import { GatewayCaller, GatewayConnection } from "./GatewayCaller.ts";
import { GatewayMembers } from "./GatewayMembers.ts";
import type { Outgoing } from "./GatewayOutbox.ts";
import { GatewayReads } from "./GatewayReads.ts";
import { type Authenticate, type GatewayEnvironment, type GatewayPeer, GatewaySession } from "./GatewaySession.ts";

export interface GatewayOptions {
  /** The largest frame either side sends. */
  readonly frameBytes: number;
  /** Default 25 s. */
  readonly heartbeatMs?: number;
  /** Default: everyone is User:ANONYMOUS. */
  readonly authenticate?: Authenticate;
  /** Other limits than the default ones; for tests. */
  readonly limits?: Partial<Limits>;
}

const DEFAULT_HEARTBEAT_MS = 25_000;
const DEFAULT_LIMITS = {
  streams: 64,
  partitions: 10_000,
  requests: 1000,
  creditRecords: 1_000_000,
  creditBytes: 256 * 1024 * 1024,
};
/** Frames of one round of turns. At 256 KiB a frame and 1 GB/s of packing and copying a round takes milliseconds. */
const FRAMES_PER_ROUND = 256;
const BYTES_PER_ROUND = 4 * 1024 * 1024;
/** What clients wait at least before they come back to a broker that restarts. */
const COME_BACK_AFTER_MS = 500;

/** What is read for several connections is read for none of them. */
const NOWHERE = { host: "127.0.0.1", port: 0 };
const noop = (): void => undefined;

const anonymous: Authenticate = () => "User:ANONYMOUS";

/** Whoever pushes records, a frame a turn. */
export interface TurnTaker {
  /** It is in the queue. */
  offered: boolean;
  readonly wantsTurn: boolean;
  turn(): void;
}

export class Gateway {
  private readonly sessions = new Set<GatewaySession>();
  readonly environment: GatewayEnvironment;
  private turns: TurnTaker[] = [];
  private scheduled = false;
  private nextId = 1;
  private stopping = false;

  constructor(
    private readonly door: DoorEnvironment,
    options: GatewayOptions,
  ) {
    const { ports, tasks, listenerName } = door;
    const nobody = new GatewayConnection(0, NOWHERE, NOWHERE, tasks, noop, noop);
    const callerOf = (principal: string) => new GatewayCaller(ports, nobody, listenerName, () => principal);
    const outgoing: Outgoing = { queuedBytes: 0, sentBytes: 0 };
    this.environment = {
      ...door,
      limits: { ...DEFAULT_LIMITS, frameBytes: options.frameBytes, ...options.limits },
      heartbeatMs: options.heartbeatMs ?? DEFAULT_HEARTBEAT_MS,
      authenticate: options.authenticate ?? anonymous,
      server: { name: "odradek", version: VERSION },
      reads: new GatewayReads(ports.codecs, door.run, callerOf),
      outgoing,
      members: new GatewayMembers(ports.timers, () => ports.config.number("group.consumer.max.session.timeout.ms")),
      offer: (taker) => this.offer(taker),
      closed: (session) => this.sessions.delete(session),
    };
  }

  get connectionCount(): number {
    return this.sessions.size;
  }

  /** A connection of the stream protocol; what the port hears goes to the answer. */
  accept(duplex: FrameDuplex, peer: GatewayPeer): FrameHandlers {
    const session = new GatewaySession(this.nextId++, duplex, peer, this.environment);
    this.sessions.add(session);
    if (this.stopping) session.mute("the broker is stopping", COME_BACK_AFTER_MS);
    return session;
  }

  /** No request is read any more; what is in flight goes on. */
  mute(): void {
    this.stopping = true;
    for (const session of this.sessions) session.mute("the broker is stopping", COME_BACK_AFTER_MS);
  }

  /** Nothing is in flight on any connection. */
  get isIdle(): boolean {
    for (const session of this.sessions) if (!session.isIdle) return false;
    return true;
  }

  closeConnections(why: string): void {
    for (const session of [...this.sessions]) session.end(CloseCode.RESTART, why);
  }

  private offer(taker: TurnTaker): void {
    if (taker.offered) return;
    taker.offered = true;
    this.turns.push(taker);
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled || this.turns.length === 0) return;
    this.scheduled = true;
    this.door.tasks.schedule(this.round);
  }

  private readonly round = (): void => {
    const { outgoing } = this.environment;
    const bytesBefore = outgoing.sentBytes;
    for (let frames = 0; this.turns.length > 0; frames += 1) {
      if (frames >= FRAMES_PER_ROUND || outgoing.sentBytes - bytesBefore > BYTES_PER_ROUND) {
        // A task would run in this turn of the event loop; sockets and timers come first.
        this.door.clock.after(0, this.nextRound);
        return;
      }
      const taker = this.turns.shift()!;
      taker.offered = false;
      if (!taker.wantsTurn) continue;
      taker.turn();
      if (taker.wantsTurn) this.offer(taker);
    }
    this.scheduled = false;
  };

  private readonly nextRound = (): void => {
    this.round();
    this.door.tasks.drain();
  };
}
