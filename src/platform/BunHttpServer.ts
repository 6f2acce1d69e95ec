/**
 * The HTTP port on `Bun.serve`. What must stay true: only binary messages pass; a message that the socket did not take
 * at once is followed by a drain or the end, never by silence; nothing is compressed; what is queued on one socket is
 * bounded, and a message beyond that is `dropped`, which ends the connection.
 */
import type { Server, ServerWebSocket } from "bun";
import { networkErrorOf, plainAddress } from "./BunNetwork.ts";
import type { HttpConnection, HttpServer, MessageHandlers, MessageSocket, Upgrade } from "./HttpServer.ts";
import type { Endpoint } from "./Network.ts";

/** What one socket may queue; a single message may be larger when nothing is queued. */
const BACKPRESSURE_BYTES = 1024 * 1024;
/** The sender goes on when this little is left. */
const DRAINED_BYTES = 64 * 1024;
/** A request that is not complete, or a connection without one, is closed after so long. */
const IDLE_SECONDS = 30;
/** A peer that does not finish the closing handshake is cut off after so long. */
const CLOSE_WITHIN_MS = 5000;
const TEXT_MESSAGE = 1003;

/** What the runtime carries per WebSocket. */
interface Slot {
  readonly accept: Upgrade["accept"];
  socket: BunMessageSocket | undefined;
}

class BunMessageSocket implements MessageSocket {
  handlers: MessageHandlers | undefined;
  private waiting = false;
  private closed = false;
  private cutOff: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly socket: ServerWebSocket<Slot>) {}

  send(message: Uint8Array): "sent" | "queued" | "dropped" {
    if (this.closed) return "dropped";
    const status = this.socket.sendBinary(message as Uint8Array<ArrayBuffer>);
    if (status > 0) return "sent";
    if (status === 0) return "dropped";
    this.waiting = true;
    return "queued";
  }

  pause(): void {
    if (!this.closed) this.socket.pause();
  }

  resume(): void {
    if (!this.closed) this.socket.resume();
  }

  close(code: number, reason: string): void {
    if (this.closed) return;
    // A paused socket would not hear the peer's part of the closing handshake.
    this.socket.resume();
    this.cutOff = setTimeout(() => this.socket.terminate(), CLOSE_WITHIN_MS);
    this.cutOff.unref();
    this.socket.close(code, reason);
  }

  message(message: string | Buffer): void {
    if (this.closed) return;
    if (typeof message === "string") return this.close(TEXT_MESSAGE, "only binary messages");
    this.handlers?.onMessage(message);
  }

  drained(): void {
    if (this.closed || !this.waiting || this.socket.getBufferedAmount() > DRAINED_BYTES) return;
    this.waiting = false;
    this.handlers?.onDrain();
  }

  finish(code: number, reason: string): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.cutOff);
    this.handlers?.onClose(code, reason);
    this.handlers = undefined;
  }
}

const connectionOf = (request: Request, server: Server<Slot>, local: Endpoint): HttpConnection => {
  const address = server.requestIP(request);
  return {
    local,
    remote: { host: plainAddress(address?.address), port: address?.port ?? 0 },
    upgrade: ({ protocol, accept }) => {
      const data: Slot = { accept, socket: undefined };
      if (protocol === undefined) return server.upgrade(request, { data });
      return server.upgrade(request, { data, headers: { "sec-websocket-protocol": protocol } });
    },
    waitForAnswer: () => server.timeout(request, 0),
  };
};

export const makeBunHttpServer = (): HttpServer => ({
  listen(endpoint, maxBytes, handle) {
    let local = endpoint;
    try {
      const server = Bun.serve<Slot>({
        hostname: endpoint.host === "" ? "0.0.0.0" : endpoint.host,
        port: endpoint.port,
        idleTimeout: IDLE_SECONDS,
        maxRequestBodySize: maxBytes,
        fetch: (request, serving) => handle(request, connectionOf(request, serving, local)),
        error: () => new Response("internal error\n", { status: 500 }),
        websocket: {
          maxPayloadLength: maxBytes,
          backpressureLimit: BACKPRESSURE_BYTES,
          perMessageDeflate: false,
          // Whoever has the socket decides what silence means.
          idleTimeout: 0,
          sendPings: false,
          open(socket) {
            socket.binaryType = "uint8array";
            const opened = new BunMessageSocket(socket);
            socket.data.socket = opened;
            opened.handlers = socket.data.accept(opened);
          },
          message: (socket, message) => socket.data.socket?.message(message),
          drain: (socket) => socket.data.socket?.drained(),
          close: (socket, code, reason) => socket.data.socket?.finish(code, reason),
        },
      });
      local = { host: endpoint.host, port: server.port ?? endpoint.port };
      let open = true;
      return {
        endpoint: local,
        close() {
          if (!open) return;
          open = false;
          void server.stop(false);
        },
        abort() {
          open = false;
          void server.stop(true);
        },
      };
    } catch (error) {
      throw networkErrorOf(error, `listen ${endpoint.host}:${endpoint.port}`);
    }
  },
});
