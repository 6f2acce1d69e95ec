/**
 * Connections of a simulated world: two queues of bytes each, delivered as tasks and timers. What must stay true: bytes
 * of one direction arrive in order, each once, or not at all; how they are cut, how long they take, how much a `write`
 * takes is the seed's choice; `onClose` comes exactly once per side and nothing after it.
 *
 * A wire can be cut without anyone being told (`partition`, a power cut): bytes then wait or vanish, as in a half-open
 * connection. A chunk handed to `onData` is overwritten after the call, because it belongs to the network again.
 */
import {
  type Endpoint,
  type Listener,
  type Network,
  NetworkError,
  type Socket,
  type SocketHandlers,
} from "../../src/platform/Network.ts";
import type { SeededRandom } from "./SeededRandom.ts";
import type { SeededTaskList, TaskOwner } from "./SeededTaskList.ts";
import type { SimulatedClock } from "./SimulatedClock.ts";
import type { Trace } from "./Trace.ts";

/** How the wires behave; each value is drawn per seed when it is not given. */
export interface NetworkNature {
  /** Longest one-way latency in virtual milliseconds. */
  readonly latencyMs: number;
  /** How often a delivery is cut at an arbitrary byte. */
  readonly splitChance: number;
  /** Bytes a socket takes before `write` falls short. */
  readonly bufferBytes: number;
  /** How often a `write` takes less than it could. */
  readonly shortWriteChance: number;
  /** How often a delivery resets the connection instead. */
  readonly resetChance: number;
}

/** A process as the network sees it. */
export interface NetworkHost extends TaskOwner {
  readonly host: string;
}

/** How long an unanswered connection attempt takes to fail. */
const CONNECT_TIMEOUT_MS = 30_000;
/** What a chunk is overwritten with after its delivery. */
const POISON = 0xdb;

interface Bound {
  readonly owner: NetworkHost;
  readonly accept: (socket: Socket) => SocketHandlers;
}

class Side implements Socket {
  peer: Side | undefined;
  handlers: SocketHandlers | undefined;
  /** Bytes written here and not yet delivered there, in order. */
  private readonly outgoing: Uint8Array[] = [];
  private outgoingBytes = 0;
  private delivering = false;
  private paused = false;
  private starved = false;
  /** No more bytes are taken from this side. */
  private ended = false;
  /** What was under way is lost: an orderly end must not come in its place. */
  private aborted = false;
  closed = false;

  constructor(
    private readonly wires: SimulatedNetwork,
    readonly owner: NetworkHost,
    readonly local: Endpoint,
    readonly remote: Endpoint,
    private readonly label: string,
  ) {}

  write(chunk: Uint8Array): number {
    if (this.ended || this.closed || !this.owner.alive || chunk.length === 0) return 0;
    const { nature, random } = this.wires;
    let taken = Math.min(chunk.length, Math.max(0, nature.bufferBytes - this.outgoingBytes));
    if (taken > 1 && random.chance(nature.shortWriteChance)) taken = random.between(1, taken);
    if (taken > 0) {
      // Not `slice`: a Buffer's is a view of the caller's bytes.
      this.outgoing.push(new Uint8Array(chunk.subarray(0, taken)));
      this.outgoingBytes += taken;
      this.deliverLater();
    }
    if (taken < chunk.length) {
      this.starved = true;
      // The buffer may be empty: then nothing but this brings the drain.
      if (this.outgoingBytes === 0) this.drainLater();
    }
    return taken;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.peer?.deliverLater();
  }

  end(): void {
    if (this.ended || this.closed || !this.owner.alive) return;
    this.ended = true;
    this.wires.trace.add(`net ${this.label} ends`);
    this.closeLater(undefined);
    this.deliverLater();
  }

  destroy(): void {
    if (this.closed || !this.owner.alive) return;
    this.abort();
    this.closeLater(undefined);
  }

  /** Nothing more leaves; the other side finds out by a reset. */
  abort(): void {
    this.ended = true;
    this.aborted = true;
    this.outgoing.length = 0;
    this.outgoingBytes = 0;
    this.wires.trace.add(`net ${this.label} aborts`);
    const peer = this.peer;
    if (peer === undefined) return;
    this.wires.carry(this.owner.host, peer.owner, () => peer.reset());
  }

  /** The other side is gone. */
  reset(): void {
    if (this.closed) return;
    this.ended = true;
    this.finish(new NetworkError("ECONNRESET", `connection with ${this.remote.host}:${this.remote.port}: reset`));
  }

  /** The connection is over on this side: the handlers are told, once. */
  finish(error: Error | undefined): void {
    if (this.closed) return;
    this.closed = true;
    this.wires.forget(this);
    const handlers = this.handlers;
    this.handlers = undefined;
    if (!this.owner.alive) return;
    this.wires.trace.add(`net ${this.label} closed${error === undefined ? "" : " by an error"}`);
    if (error === undefined) handlers?.onClose(this);
    else handlers?.onClose(this, error);
  }

  deliverLater(): void {
    if (this.delivering || this.peer === undefined) return;
    if (this.outgoing.length === 0 && !this.ended) return;
    this.delivering = true;
    this.wires.carry(
      this.owner.host,
      this.peer.owner,
      () => {
        this.delivering = false;
        this.deliver();
      },
      () => this.reset(),
    );
  }

  private deliver(): void {
    const peer = this.peer;
    // What a side had sent before its end still arrives; nothing arrives where the connection is over.
    if (this.aborted || peer === undefined || peer.closed || peer.paused) return;
    const { nature, random, trace } = this.wires;
    if (this.outgoing.length === 0) {
      if (this.ended) peer.finishOrderly();
      return;
    }
    if (random.chance(nature.resetChance)) {
      trace.add(`net ${this.label} is reset by the wire`);
      this.reset();
      peer.reset();
      return;
    }
    let chunk = this.outgoing.length > 1 && random.chance(0.5) ? Buffer.concat(this.outgoing) : this.outgoing[0]!;
    if (chunk === this.outgoing[0]) this.outgoing.shift();
    else this.outgoing.length = 0;
    if (chunk.length > 1 && random.chance(nature.splitChance)) {
      // Small cuts are the interesting ones: they fall inside length fields and headers.
      const cut = random.chance(0.5)
        ? random.between(1, Math.min(8, chunk.length - 1))
        : random.between(1, chunk.length - 1);
      this.outgoing.unshift(chunk.subarray(cut));
      chunk = chunk.subarray(0, cut);
    }
    this.outgoingBytes -= chunk.length;
    trace.add(`net ${this.label} delivers ${chunk.length}`);
    const delivered = new Uint8Array(chunk);
    peer.handlers?.onData(peer, delivered);
    delivered.fill(POISON);
    if (this.starved) this.drainLater();
    this.deliverLater();
  }

  private finishOrderly(): void {
    this.ended = true;
    this.finish(undefined);
  }

  private drainLater(): void {
    this.wires.tasks.schedule(this.owner, () => {
      if (!this.starved || this.closed || this.ended) return;
      if (this.outgoingBytes >= this.wires.nature.bufferBytes) return;
      this.starved = false;
      this.handlers?.onDrain(this);
    });
  }

  private closeLater(error: Error | undefined): void {
    this.wires.tasks.schedule(this.owner, () => this.finish(error));
  }
}

export class SimulatedNetwork {
  readonly nature: NetworkNature;
  private readonly listeners = new Map<string, Bound>();
  private readonly sides = new Set<Side>();
  private readonly cuts = new Set<string>();
  private readonly owners: NetworkHost[] = [];
  private readonly stalled: Array<{ from: string; to: NetworkHost; task: () => void; refused: () => void }> = [];
  private nextPort = 30_000;
  private nextConnection = 0;

  /** Owner of what no process does: bytes on their way. */
  private readonly wire: TaskOwner = { name: "wire", alive: true };

  constructor(
    readonly tasks: SeededTaskList,
    private readonly clock: SimulatedClock,
    readonly random: SeededRandom,
    readonly trace: Trace,
    nature: Partial<NetworkNature> = {},
  ) {
    this.nature = {
      latencyMs: random.pick([0, 0.5, 5, 50]),
      splitChance: random.pick([0, 0.1, 0.5]),
      bufferBytes: random.pick([4 * 1024, 16 * 1024, 256 * 1024]),
      shortWriteChance: random.pick([0, 0.2]),
      resetChance: 0,
      ...nature,
    };
  }

  portOf(owner: NetworkHost): Network {
    this.owners.push(owner);
    return {
      listen: (endpoint, accept) => this.listen(owner, endpoint, accept),
      connect: (endpoint, handlers) => this.connect(owner, endpoint, handlers),
    };
  }

  /** Bytes from one host to another wait until `heal`; call twice for both directions. */
  partition(from: string, to: string): void {
    this.trace.add(`net partition ${from} > ${to}`);
    this.cuts.add(`${from} > ${to}`);
  }

  heal(): void {
    this.trace.add("net heal");
    this.cuts.clear();
    for (const { from, to, task, refused } of this.stalled.splice(0)) this.carry(from, to, task, refused);
  }

  /** Resets every connection of a host, or all. */
  resetConnections(host?: string): void {
    for (const side of [...this.sides]) {
      if (host === undefined || side.owner.host === host) {
        side.abort();
        side.reset();
      }
    }
  }

  /**
   * A process is gone: its listeners with it. `"reset"`: its machine tells the peers (kill -9); `"silent"`: nobody tells
   * them (a power cut), they find out when they write or by their time-outs.
   */
  drop(owner: NetworkHost, peers: "reset" | "silent"): void {
    for (const [key, bound] of [...this.listeners]) if (bound.owner === owner) this.listeners.delete(key);
    for (const side of [...this.sides]) {
      if (side.owner !== owner) continue;
      if (peers === "reset") side.abort();
      side.closed = true;
      this.sides.delete(side);
    }
  }

  forget(side: Side): void {
    this.sides.delete(side);
  }

  /**
   * Does `task` after the wire's latency, for a receiver that still lives then; `refused` when the receiver is gone and
   * its machine runs again and says so.
   */
  carry(from: string, to: NetworkHost, task: () => void, refused: () => void = () => {}): void {
    if (this.cuts.has(`${from} > ${to.host}`)) {
      this.stalled.push({ from, to, task, refused });
      return;
    }
    const arrive = (): void => {
      // The machine takes bytes for a stopped process; the process finds them when it goes on.
      if (to.alive && to.paused === true) this.tasks.schedule(to, task);
      else if (to.alive) task();
      else if (this.owners.some((owner) => owner.alive && owner.host === to.host)) refused();
    };
    const latency = this.nature.latencyMs * this.random.fraction();
    if (latency === 0 || this.random.chance(0.2)) this.tasks.schedule(this.wire, arrive);
    else this.clock.after(this.wire, latency, arrive);
  }

  private listen(owner: NetworkHost, endpoint: Endpoint, accept: (socket: Socket) => SocketHandlers): Listener {
    const port = endpoint.port === 0 ? this.nextPort++ : endpoint.port;
    const host =
      endpoint.host === "" || endpoint.host === "0.0.0.0" || endpoint.host === "::" ? owner.host : endpoint.host;
    const key = `${host}:${port}`;
    const bound: Bound = { owner, accept };
    if (owner.alive) {
      if (this.listeners.has(key)) throw new NetworkError("EADDRINUSE", `listen ${key}: EADDRINUSE`);
      this.trace.add(`net ${owner.name} listens on ${key}`);
      this.listeners.set(key, bound);
    }
    return {
      endpoint: { host: endpoint.host === "" ? host : endpoint.host, port },
      close: () => {
        if (this.listeners.get(key) === bound) this.listeners.delete(key);
      },
    };
  }

  private connect(owner: NetworkHost, endpoint: Endpoint, handlers: SocketHandlers): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const key = `${endpoint.host}:${endpoint.port}`;
      let decided = false;
      const refuse = (code: "ECONNREFUSED" | "ETIMEDOUT"): void => {
        if (decided) return;
        decided = true;
        reject(new NetworkError(code, `connect ${key}: ${code}`));
      };
      const timeout = this.clock.after(owner, CONNECT_TIMEOUT_MS, () => refuse("ETIMEDOUT"));
      const target = this.listeners.get(key);
      const name = `${owner.name}-${this.nextConnection++}`;
      if (target === undefined) {
        // The machine is there (or nobody can tell) and says no.
        this.clock.after(owner, this.nature.latencyMs * this.random.fraction(), () => {
          timeout();
          refuse("ECONNREFUSED");
        });
        return;
      }
      this.carry(owner.host, target.owner, () => {
        if (decided) return;
        if (this.listeners.get(key) !== target) {
          this.carry(target.owner.host, owner, () => refuse("ECONNREFUSED"));
          return;
        }
        const from: Endpoint = { host: owner.host, port: this.nextPort++ };
        const near = new Side(this, owner, from, endpoint, `${name}>`);
        const far = new Side(this, target.owner, endpoint, from, `${name}<`);
        near.peer = far;
        far.peer = near;
        this.sides.add(near).add(far);
        near.handlers = handlers;
        this.trace.add(`net ${name} accepted by ${target.owner.name}`);
        // Bytes of the acceptor wait until the other side knows that it is connected.
        near.pause();
        far.handlers = target.accept(far);
        this.carry(target.owner.host, owner, () => {
          timeout();
          if (decided) {
            near.destroy();
            return;
          }
          decided = true;
          near.resume();
          // Reset before it was known to be open: the caller gets a socket that is closed, as on a real machine.
          resolve(near);
        });
      });
    });
  }
}
