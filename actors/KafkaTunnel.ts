/**
 * The Kafka protocol over a WebSocket: binary messages are pieces of the byte stream that a TCP connection would carry, in
 * both directions, cut anywhere. Behind it is a Connection like any other. What must stay true: a message that could not
 * be taken ends the connection, because the bytes behind it would be taken for something else.
 */
import type { MessageHandlers, MessageSocket } from "../src/platform/HttpServer.ts";
import type { Endpoint, Socket, SocketHandlers } from "../src/platform/Network.ts";

const NORMAL = 1000;
const BROKEN = 1011;
/** Larger answers leave in pieces: a socket that is full is noticed in between. */
const PIECE_BYTES = 256 * 1024;

export const tunnelSocket = (
  socket: MessageSocket,
  local: Endpoint,
  remote: Endpoint,
  accept: (socket: Socket) => SocketHandlers,
): MessageHandlers => {
  const tunnel = new TunnelSocket(socket, local, remote);
  tunnel.handlers = accept(tunnel);
  return tunnel;
};

class TunnelSocket implements Socket, MessageHandlers {
  handlers: SocketHandlers | undefined;
  private isFull = false;
  /** A write was cut short: a drain is awaited. */
  private starved = false;
  private closed = false;

  constructor(
    private readonly socket: MessageSocket,
    readonly local: Endpoint,
    readonly remote: Endpoint,
  ) {}

  write(chunk: Uint8Array): number {
    let taken = 0;
    while (taken < chunk.length && !this.isFull && !this.closed) {
      const piece = chunk.subarray(taken, taken + PIECE_BYTES);
      const outcome = this.socket.send(piece);
      if (outcome === "dropped") {
        this.destroy();
        break;
      }
      taken += piece.length;
      this.isFull = outcome === "queued";
    }
    if (taken < chunk.length) this.starved = true;
    return taken;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    this.socket.close(NORMAL, "");
  }

  destroy(): void {
    this.socket.close(BROKEN, "the connection is broken");
  }

  onMessage(message: Uint8Array): void {
    if (!this.closed) this.handlers?.onData(this, message);
  }

  onDrain(): void {
    this.isFull = false;
    if (!this.starved || this.closed) return;
    this.starved = false;
    this.handlers?.onDrain(this);
  }

  onClose(code: number, reason: string): void {
    if (this.closed) return;
    this.closed = true;
    const inOrder = code === NORMAL || code === 1001;
    this.handlers?.onClose(this, inOrder ? undefined : new Error(`WebSocket closed: ${code} ${reason}`));
  }
}
