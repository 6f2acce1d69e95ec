/**
 * Whether the client of a gateway connection is still there: its `hello` in time, a sign of life now and then, and that it
 * takes what is sent. What must stay true: one timer for the next thing that may be due; a client that is not read is not
 * held to be silent; a client that only answers pings is pinged, though it is sent other things.
 */

import type { Ports } from "../src/api/Ports.ts";
import { CloseCode } from "../src/gateway/Messages.ts";
import { encodeFrame } from "../src/gateway/ServerFrames.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { GatewayOutbox } from "./GatewayOutbox.ts";

export interface LifeEnvironment {
  readonly clock: Pick<Clock, "monotonic">;
  readonly timers: Ports["timers"];
  readonly heartbeatMs: number;
  readonly outbox: GatewayOutbox;
}

const HELLO_WITHIN_MS = 10_000;

export class SignsOfLife {
  private lastSeen: number;
  private lastPing: number;
  private isGreeted = false;
  private isReading = true;
  private isOver = false;
  private cancel: (() => void) | undefined;
  private readonly cancelHello: () => void;

  constructor(
    private readonly environment: LifeEnvironment,
    /** The connection is to be given up. */
    private readonly end: (code: number, reason: string) => void,
  ) {
    this.lastSeen = environment.clock.monotonic();
    this.lastPing = this.lastSeen;
    this.cancelHello = environment.timers.after(HELLO_WITHIN_MS, () => end(CloseCode.PROTOCOL_ERROR, "no hello"));
    this.watch();
  }

  /** Something came. */
  seen(): void {
    this.lastSeen = this.environment.clock.monotonic();
  }

  /** The hello was said and taken. */
  greeted(): void {
    this.isGreeted = true;
    this.cancelHello();
  }

  reading(isReading: boolean): void {
    // What the client said meanwhile has not been read: its silence begins now.
    if (isReading) this.seen();
    this.isReading = isReading;
  }

  stop(): void {
    this.isOver = true;
    this.cancel?.();
    this.cancelHello();
  }

  private watch(): void {
    // A ping that could not be sent may have ended it.
    if (this.isOver) return;
    const { clock, timers, heartbeatMs, outbox } = this.environment;
    const now = clock.monotonic();
    const silence = 2 * heartbeatMs;
    if (this.isReading && now - this.lastSeen >= silence) {
      return this.end(CloseCode.NO_SIGN_OF_LIFE, `nothing heard for ${silence} ms`);
    }
    if (outbox.isStuck && now >= outbox.stuckUntil(silence)) {
      return this.end(CloseCode.SLOW_READER, `nothing read for ${silence} ms`);
    }
    if (this.isGreeted && outbox.isFree && now - this.quietSince >= heartbeatMs) {
      this.lastPing = now;
      outbox.send(encodeFrame({ t: "ping", n: Math.floor(now) }));
    }
    const due = [now + heartbeatMs];
    if (this.isReading) due.push(this.lastSeen + silence);
    if (outbox.isStuck) due.push(outbox.stuckUntil(silence));
    if (outbox.isFree) due.push(this.quietSince + heartbeatMs);
    this.cancel = timers.after(Math.max(1, Math.min(...due) - now), () => this.watch());
  }

  private get quietSince(): number {
    return Math.min(this.environment.outbox.lastSent, Math.max(this.lastSeen, this.lastPing));
  }
}
