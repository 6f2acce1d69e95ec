/**
 * The HTTP port: requests and answers of the web's own types, and WebSockets as a sequence of binary messages. What must
 * stay true: messages arrive whole, in order, or not at all; `onClose` comes exactly once, whichever side ended it, and
 * nothing after it; a message given to `send` is not written into again by anyone.
 */
import type { Endpoint, Listener } from "./Network.ts";

export interface MessageSocket {
  /**
   * `sent`: on its way. `queued`: taken, but send nothing more before `onDrain`. `dropped`: not taken, the connection is
   * of no further use.
   */
  send(message: Uint8Array): "sent" | "queued" | "dropped";
  pause(): void;
  resume(): void;
  /** Ends it after what was taken has been sent; a peer that does not take it is cut off after a while. */
  close(code: number, reason: string): void;
}

export interface MessageHandlers {
  /** The message is the receiver's. */
  onMessage(message: Uint8Array): void;
  onDrain(): void;
  onClose(code: number, reason: string): void;
}

export interface Upgrade {
  /** The subprotocol chosen, when the client offered any. */
  readonly protocol?: string;
  readonly accept: (socket: MessageSocket) => MessageHandlers;
}

/** The connection a request came on. */
export interface HttpConnection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Makes it a WebSocket; false when the request is no upgrade. Nothing is answered then. */
  upgrade(upgrade: Upgrade): boolean;
  /** The answer may take its time: no silence on the connection ends it. */
  waitForAnswer(): void;
}

export type HttpHandler = (
  request: Request,
  connection: HttpConnection,
) => Promise<Response | undefined> | Response | undefined;

export interface HttpListener extends Listener {
  /** Ends it and every connection it has accepted at once. */
  abort(): void;
}

export interface HttpServer {
  /**
   * Binds `endpoint` (port 0: any) and answers each request with what `handle` says, nothing when it upgraded the
   * connection. A longer body than `maxBytes` is refused, a longer WebSocket message ends its connection with 1009.
   * Throws `NetworkError`.
   */
  listen(endpoint: Endpoint, maxBytes: number, handle: HttpHandler): HttpListener;
}
