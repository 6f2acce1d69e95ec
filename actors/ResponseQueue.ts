/**
 * A connection's outgoing side: responses leave in request order, whatever order they are ready in, and a socket that
 * takes only part of them continues when it drains. What must stay true: no byte is sent twice or skipped; what is
 * ready together leaves in one write when it is small.
 */
import type { Socket } from "../src/platform/Network.ts";

/** A place in the order of responses. */
export interface ResponseSlot {
  /** The encoded response; an empty list for a request that gets none; undefined while it is not ready. */
  chunks: ReadonlyArray<Uint8Array> | undefined;
}

/** Below this, chunks are joined: one write instead of several (Bun does not cork). */
const JOIN_BELOW = 64 * 1024;

export class ResponseQueue {
  private slots: ResponseSlot[] = [];
  private outgoing: Uint8Array[] = [];
  /** Bytes ready but not yet taken by the socket. */
  queuedBytes = 0;

  constructor(private readonly socket: Socket) {}

  /** Requests without a response yet, and responses that wait for them. */
  get inFlight(): number {
    return this.slots.length;
  }

  reserve(): ResponseSlot {
    const slot: ResponseSlot = { chunks: undefined };
    this.slots.push(slot);
    return slot;
  }

  /** Sends what is ready and first in line, as far as the socket takes it. */
  flush(): void {
    let ready = 0;
    while (ready < this.slots.length && this.slots[ready]!.chunks !== undefined) {
      for (const chunk of this.slots[ready]!.chunks!) {
        if (chunk.length === 0) continue;
        this.outgoing.push(chunk);
        this.queuedBytes += chunk.length;
      }
      ready += 1;
    }
    if (ready > 0) this.slots.splice(0, ready);
    this.send();
  }

  private send(): void {
    let sent = 0;
    while (sent < this.outgoing.length) {
      const { chunk, count } = this.nextWrite(sent);
      const taken = this.socket.write(chunk);
      this.queuedBytes -= taken;
      if (taken < chunk.length) {
        this.outgoing.splice(0, sent + count, chunk.subarray(taken));
        return;
      }
      sent += count;
    }
    this.outgoing = [];
  }

  /** As many small chunks as one write should carry, joined; or one large chunk as it is. */
  private nextWrite(from: number): { chunk: Uint8Array; count: number } {
    const first = this.outgoing[from]!;
    let count = 1;
    let length = first.length;
    while (from + count < this.outgoing.length && length + this.outgoing[from + count]!.length <= JOIN_BELOW) {
      length += this.outgoing[from + count]!.length;
      count += 1;
    }
    if (count === 1) return { chunk: first, count };
    const joined = new Uint8Array(length);
    let position = 0;
    for (let index = from; index < from + count; index += 1) {
      joined.set(this.outgoing[index]!, position);
      position += this.outgoing[index]!.length;
    }
    return { chunk: joined, count };
  }
}
