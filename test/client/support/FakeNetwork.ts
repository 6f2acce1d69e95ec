/**
 * Connections in memory for the stream client, with virtual time: what either side sends lies in a lane of its own until
 * it is delivered, so that a test decides what arrives when, and what never does because the connection was cut before.
 */
import { Unpackr } from "msgpackr";
import type { ClientPlatform, OpeningHandlers } from "../../../src/client/ClientPlatform.ts";
import { decompress } from "../../../src/client/Decompression.ts";
import { encodeFrame } from "../../../src/client/Frames.ts";
import type { FrameDuplex, SendOutcome } from "../../../src/gateway/FrameDuplex.ts";
import type { ClientFrame, ServerFrame } from "../../../src/gateway/Messages.ts";
import { ManualClock } from "../../support/ManualClock.ts";

/** mulberry32: enough chance for a test, the same in every run. */
export const seeded = (seed: number): ((bound: number) => number) => {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return Math.floor((((word ^ (word >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
};

const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });

/** Lets every promise that is settled have its say. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The server's side of one connection. */
export class ServerLink {
  readonly frames: ClientFrame[] = [];
  /** Set when either side ended it: the code the server sees. */
  closed: { readonly code: number; readonly reason: string } | undefined;
  onFrame: (frame: ClientFrame) => void = () => {};
  onClose: (code: number) => void = () => {};

  constructor(
    private readonly network: FakeNetwork,
    readonly url: string,
    readonly protocols: ReadonlyArray<string>,
    readonly handlers: OpeningHandlers,
    readonly number: number,
  ) {}

  send(frame: ServerFrame): void {
    const bytes = encodeFrame(frame as unknown as ClientFrame);
    this.sendBytes(bytes);
  }

  sendBytes(bytes: Uint8Array): void {
    if (this.closed !== undefined) return;
    this.network.carry(this, "client", () => this.handlers.onFrame(bytes.slice()));
  }

  ok(request: ClientFrame | { readonly id: number }, answer: object = {}): void {
    this.send({ ...answer, t: "ok", id: (request as { id: number }).id } as ServerFrame);
  }

  refuse(request: ClientFrame | { readonly id: number }, code: number, name: string, retriable = false): void {
    const error = { code, name, message: `${name} by the test`, retriable };
    this.send({ t: "error", id: (request as { id: number }).id, error });
  }

  /** The server closes in order, behind what it has sent. */
  close(code: number, reason = ""): void {
    if (this.closed !== undefined) return;
    this.closed = { code, reason };
    this.network.carry(this, "client", () => this.end(code, reason));
  }

  /** The network is gone: nothing that is on its way arrives. */
  cut(): void {
    if (this.closed !== undefined) return;
    this.closed = { code: 1006, reason: "" };
    this.network.drop(this);
    this.network.carry(this, "client", () => this.end(1006, ""));
    this.onClose(1006);
  }

  private ended = false;

  private end(code: number, reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.network.drop(this);
    this.handlers.onClose(code, reason);
  }

  /** What the client's side calls. */
  readonly duplex: FrameDuplex = {
    send: (bytes): SendOutcome => {
      if (this.closed !== undefined || this.ended) return "dropped";
      this.network.carry(this, "server", () => {
        const frame = unpackr.unpack(bytes) as ClientFrame;
        this.frames.push(frame);
        this.onFrame(frame);
      });
      return "sent";
    },
    pause: () => {},
    resume: () => {},
    close: (code, reason) => {
      if (this.ended) return;
      this.network.carry(this, "server", () => {
        if (this.closed !== undefined) return;
        this.closed = { code, reason };
        this.onClose(code);
        this.network.carry(this, "client", () => this.end(code, reason));
      });
    },
  };

  /** The last frame of a type, which must be there. */
  last<T extends ClientFrame["t"]>(type: T): ClientFrame & { readonly t: T } {
    const found = this.frames.findLast(({ t }) => t === type);
    if (found === undefined)
      throw new Error(`no ${type} among ${this.frames.map(({ t }) => t).join(", ") || "no frames"}`);
    return found as ClientFrame & { readonly t: T };
  }

  all<T extends ClientFrame["t"]>(type: T): Array<ClientFrame & { readonly t: T }> {
    return this.frames.filter(({ t }) => t === type) as Array<ClientFrame & { readonly t: T }>;
  }
}

type Side = "client" | "server";

export class FakeNetwork {
  readonly clock = new ManualClock();
  readonly random: (bound: number) => number;
  readonly links: ServerLink[] = [];
  /** Whether connections can be made. */
  reachable = true;
  onAccept: (link: ServerLink) => void = () => {};
  readonly platform: ClientPlatform;
  private readonly lanes = new Map<string, { readonly link: ServerLink; readonly tasks: Array<() => void> }>();
  private onlineTasks: Array<() => void> = [];

  /** `manual`: nothing arrives before `step`. */
  constructor(private readonly options: { readonly seed?: number; readonly manual?: boolean } = {}) {
    this.random = seeded(options.seed ?? 1);
    let ids = 0;
    this.platform = {
      clock: this.clock,
      random: { below: this.random, uuid: () => `member-${++ids}`.padEnd(22, "A") },
      open: (url, protocols, handlers) => this.open(url, protocols, handlers),
      decompressor: async () => decompress,
      onOnline: (task) => {
        this.onlineTasks.push(task);
        return () => {
          this.onlineTasks = this.onlineTasks.filter((other) => other !== task);
        };
      },
    };
  }

  /** The newest connection, which must be there. */
  get link(): ServerLink {
    const last = this.links.at(-1);
    if (last === undefined) throw new Error("nobody has connected");
    return last;
  }

  goOnline(): void {
    this.reachable = true;
    for (const task of [...this.onlineTasks]) task();
  }

  carry(link: ServerLink, to: Side, task: () => void): void {
    if (this.options.manual !== true) {
      const lane = this.lane(link, to);
      lane.push(task);
      queueMicrotask(() => lane.shift()?.());
    } else this.lane(link, to).push(task);
  }

  drop(link: ServerLink): void {
    for (const side of ["client", "server"] as const) this.lane(link, side).length = 0;
  }

  /** Delivers one thing of a lane that chance picks; answers whether there was any. */
  step(): boolean {
    const ready = [...this.lanes.values()].filter(({ tasks }) => tasks.length > 0);
    const picked = ready[this.random(Math.max(1, ready.length))];
    picked?.tasks.shift()?.();
    return picked !== undefined;
  }

  private lane(link: ServerLink, to: Side): Array<() => void> {
    const key = `${link.number} ${to}`;
    let lane = this.lanes.get(key);
    if (lane === undefined) this.lanes.set(key, (lane = { link, tasks: [] }));
    return lane.tasks;
  }

  private open(url: string, protocols: ReadonlyArray<string>, handlers: OpeningHandlers): FrameDuplex {
    const link = new ServerLink(this, url, protocols, handlers, this.links.length);
    if (!this.reachable) {
      this.carry(link, "client", () => handlers.onClose(1006, ""));
      return link.duplex;
    }
    this.links.push(link);
    this.carry(link, "client", () => {
      handlers.onOpen();
      this.onAccept(link);
    });
    return link.duplex;
  }
}

export const LIMITS = {
  frameBytes: 1024 * 1024,
  streams: 100,
  requests: 1000,
  creditRecords: 1_000_000,
  creditBytes: 64 * 1024 * 1024,
};

export const HELLO = {
  server: { name: "test", version: "1" },
  clusterId: "cluster",
  nodeId: 1,
  heartbeatMs: 10_000,
  limits: LIMITS,
};
