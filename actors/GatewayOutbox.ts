/**
 * What one gateway connection sends: frames go to the port while it takes them, answers wait in order while it does
 * not, and records are not even read then. What must stay true: frames leave in the order they were given; nothing is
 * sent between `queued` and the drain; what waits is bounded by what its connection may have unanswered.
 */
import type { FrameDuplex } from "../src/gateway/FrameDuplex.ts";
import type { MonotonicMs } from "../src/prelude/Types.ts";

/** All connections together. */
export interface Outgoing {
  /** Of frames that were taken by ports but not yet by their sockets. */
  queuedBytes: number;
  /** Since the start. */
  sentBytes: number;
}

/** A reader that is slower than 4 KB/s does not read. */
const SLOWEST_BYTES_PER_MS = 4;

export class GatewayOutbox {
  private waiting: Uint8Array[] = [];
  /** Bytes of answers that wait for the port. */
  waitingBytes = 0;
  /** The port has taken more than it could send: bytes of that frame, 0 when it takes more. */
  private stuckBytes = 0;
  lastSent: MonotonicMs;
  /** When the port stopped taking frames. */
  private stuckSince: MonotonicMs = 0;

  constructor(
    private readonly duplex: FrameDuplex,
    private readonly now: () => MonotonicMs,
    private readonly outgoing: Outgoing,
    /** The port dropped a frame: the connection is lost. */
    private readonly lost: () => void,
  ) {
    this.lastSent = now();
  }

  get isStuck(): boolean {
    return this.stuckBytes > 0;
  }

  /** By when the port must take frames again: in `patienceMs`, and the longer the more it has to send. */
  stuckUntil(patienceMs: number): MonotonicMs {
    return this.stuckSince + patienceMs + this.stuckBytes / SLOWEST_BYTES_PER_MS;
  }

  /** Nothing waits, and the port takes a frame. */
  get isFree(): boolean {
    return this.stuckBytes === 0 && this.waiting.length === 0;
  }

  send(frame: Uint8Array): void {
    if (this.isFree) return this.give(frame);
    this.waiting.push(frame);
    this.waitingBytes += frame.length;
  }

  drained(): void {
    this.unstick();
    let sent = 0;
    while (sent < this.waiting.length && this.stuckBytes === 0) {
      const frame = this.waiting[sent++]!;
      this.waitingBytes -= frame.length;
      this.give(frame);
    }
    this.waiting.splice(0, sent);
  }

  /** The connection is gone. */
  close(): void {
    this.unstick();
    this.waiting = [];
    this.waitingBytes = 0;
  }

  private give(frame: Uint8Array): void {
    this.lastSent = this.now();
    this.outgoing.sentBytes += frame.length;
    switch (this.duplex.send(frame)) {
      case "sent":
        return;
      case "queued":
        this.stuckBytes = frame.length;
        this.outgoing.queuedBytes += frame.length;
        this.stuckSince = this.lastSent;
        return;
      case "dropped":
        return this.lost();
    }
  }

  private unstick(): void {
    this.outgoing.queuedBytes -= this.stuckBytes;
    this.stuckBytes = 0;
  }
}
