/**
 * A WebSocket between two simulated processes, as the frame-duplex port sees it: frames arrive whole and in order, after
 * a delay drawn per frame, and the sender is told when the receiver does not keep up. What must stay true: `onClose`
 * comes once per end, after every frame that was delivered; what Bun's sockets promise (RFC 6455, `sendBinary`) is
 * promised here and no more: a broken connection may lose what was on its way.
 */
import type { FrameDuplex, FrameHandlers, SendOutcome } from "../../src/gateway/FrameDuplex.ts";
import type { Clock } from "../../src/platform/Clock.ts";
import type { Random } from "../../src/platform/Random.ts";
import type { TaskList } from "../../src/platform/TaskList.ts";

/** The ports of the process at one end. */
export interface FrameHost {
  readonly tasks: TaskList;
  readonly clock: Clock;
  readonly random: Random;
}

export interface FrameNature {
  /** Delay of a frame, `0 … maxDelayMs` (default 2). */
  readonly maxDelayMs?: number;
  /** Bytes on their way beyond which a frame is `queued` (default 256 KiB). */
  readonly windowBytes?: number;
  /** Bytes on their way beyond which a frame is `dropped` (default 1 MiB). */
  readonly limitBytes?: number;
}

/** One connection: `client` and `server` are what each side sends through. */
export interface FrameLink {
  readonly client: FrameDuplex;
  readonly server: FrameDuplex;
  /** Both sides learn of it (a reset), or neither does (`silent`: half-open). */
  cut(how: "reset" | "silent"): void;
  readonly isOpen: boolean;
}

const ABNORMAL = 1006;

class End implements FrameDuplex {
  handlers: FrameHandlers | undefined;
  peer!: End;
  closed = false;
  private inbox: Uint8Array[] = [];
  private inboxBytes = 0;
  private paused = false;
  private senderWaits = false;
  private lastArrival = 0;
  /** The other side's close, behind the frames it sent before. */
  private ending: { readonly code: number; readonly reason: string } | undefined;
  private silent = false;

  constructor(
    private readonly host: FrameHost,
    private readonly nature: Required<FrameNature>,
  ) {}

  send(frame: Uint8Array): SendOutcome {
    const { peer, nature } = this;
    if (this.closed || peer.inboxBytes > nature.limitBytes) return "dropped";
    peer.inbox.push(frame);
    peer.inboxBytes += frame.length;
    peer.arrive();
    if (peer.inboxBytes <= nature.windowBytes) return "sent";
    peer.senderWaits = true;
    return "queued";
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    for (let index = 0; index <= this.inbox.length; index++) this.arrive();
  }

  close(code: number, reason: string): void {
    if (this.closed) return;
    this.closed = true;
    const { peer } = this;
    peer.ending = { code, reason };
    peer.arrive();
    this.host.tasks.schedule(() => this.handlers?.onClose(code, reason));
  }

  fail(how: "reset" | "silent"): void {
    if (how === "silent") {
      this.silent = true;
      return;
    }
    if (this.closed) return;
    this.closed = true;
    this.inbox = [];
    this.host.tasks.schedule(() => this.handlers?.onClose(ABNORMAL, ""));
  }

  /** Something is on its way here: one task per arrival, so that the seed decides what else happens before it. */
  private arrive(): void {
    const { clock, random, tasks } = this.host;
    const now = clock.monotonic();
    const delay = random.below(1000) / 1000;
    this.lastArrival = Math.max(this.lastArrival, now + delay * this.nature.maxDelayMs);
    if (this.lastArrival <= now) tasks.schedule(this.deliver);
    else clock.after(this.lastArrival - now, this.deliver);
  }

  private readonly deliver = (): void => {
    if (this.closed || this.paused || this.silent) return;
    const frame = this.inbox.shift();
    if (frame === undefined) {
      if (this.ending === undefined) return;
      this.closed = true;
      this.handlers?.onClose(this.ending.code, this.ending.reason);
      return;
    }
    this.inboxBytes -= frame.length;
    this.handlers?.onFrame(frame);
    if (!this.senderWaits || this.inboxBytes > this.nature.windowBytes) return;
    this.senderWaits = false;
    const { peer } = this;
    peer.host.tasks.schedule(() => {
      if (!peer.closed && !peer.silent) peer.handlers?.onDrain();
    });
  };
}

/** Connects two processes; each side's handlers are asked for once, the server's first. */
export const linkFrames = (
  client: FrameHost,
  server: FrameHost,
  accept: (duplex: FrameDuplex) => FrameHandlers,
  handlersOf: (duplex: FrameDuplex) => FrameHandlers,
  nature: FrameNature = {},
): FrameLink => {
  const whole = { maxDelayMs: 2, windowBytes: 256 * 1024, limitBytes: 1024 * 1024, ...nature };
  const clientEnd = new End(client, whole);
  const serverEnd = new End(server, whole);
  clientEnd.peer = serverEnd;
  serverEnd.peer = clientEnd;
  serverEnd.handlers = accept(serverEnd);
  clientEnd.handlers = handlersOf(clientEnd);
  return {
    client: clientEnd,
    server: serverEnd,
    cut(how) {
      clientEnd.fail(how);
      serverEnd.fail(how);
    },
    get isOpen() {
      return !clientEnd.closed && !serverEnd.closed;
    },
  };
};
