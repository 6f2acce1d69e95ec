/**
 * The Network port: listening sockets and connections as the broker and its test clients see them. A connection's
 * bytes arrive in order through `onData`; `write` takes what the socket takes and keeps nothing of the rest.
 */
import type { MaybePending } from "../prelude/Types.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface SocketHandlers {
  /** The chunk belongs to the network again when the call returns: copy what must stay. */
  onData(socket: Socket, chunk: Uint8Array): void;
  /** The socket takes bytes again after a short `write`. */
  onDrain(socket: Socket): void;
  /** Called exactly once, whichever side ended the connection; `error` when it was not an orderly end. */
  onClose(socket: Socket, error?: Error): void;
}

export interface Socket {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /**
   * Answers how many bytes were taken, `0 … chunk.length`; the caller keeps the rest and continues at `onDrain`. What was
   * taken was copied: the chunk is the caller's again.
   */
  write(chunk: Uint8Array): number;
  /** Asks the system to take no more than about so many bytes ahead of the peer, where it can be asked. */
  limitSendBuffer?(bytes: number): void;
  /** After `pause` nothing is delivered until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends the connection after what was taken has been sent. */
  end(): void;
  /** Ends the connection at once. */
  destroy(): void;
}

export interface Listener {
  /** The address bound, with the real port when 0 was asked for. */
  readonly endpoint: Endpoint;
  /** Stops accepting; open connections stay. */
  close(): void;
}

export class NetworkError extends Error {
  readonly _tag = "NetworkError";
  override readonly name = "NetworkError";
  constructor(
    readonly code: "EADDRINUSE" | "EADDRNOTAVAIL" | "EACCES" | "ECONNREFUSED" | "ETIMEDOUT" | "ECONNRESET" | "OTHER",
    message: string,
  ) {
    super(message);
  }
}

export interface Network {
  /** Binds `endpoint` (port 0: any) and calls `accept` for each connection. Throws `NetworkError`. */
  listen(endpoint: Endpoint, accept: (socket: Socket) => SocketHandlers): Listener;
  connect(endpoint: Endpoint, handlers: SocketHandlers): MaybePending<Socket>;
}
