/**
 * The Network port on TCP sockets (`Bun.listen`, `Bun.connect`). What must stay true: `onClose` comes exactly once per
 * connection and nothing after it; a short `write` is always followed by `onDrain` or `onClose`; a peer that ends its
 * side ends the connection (as Kafka's selector does on end of stream).
 */
import type { Socket as BunSocket, SocketHandler as BunSocketHandler } from "bun";
import { libc } from "./Libc.ts";
import {
  type Endpoint,
  type Listener,
  type Network,
  NetworkError,
  type Socket,
  type SocketHandlers,
} from "./Network.ts";

const CODES = new Set(["EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET"]);

export const networkErrorOf = (cause: unknown, what: string): NetworkError => {
  if (cause instanceof NetworkError) return cause;
  const error = cause instanceof Error ? cause : new Error(String(cause));
  const code = "code" in error ? String(error.code) : "";
  const known = CODES.has(code) ? (code as NetworkError["code"]) : "OTHER";
  return new NetworkError(
    known,
    `${what}: ${code === "" || error.message.includes(code) ? "" : `${code} `}${error.message}`,
  );
};

/** An IPv4 address that a dual-stack socket shows as IPv6 is shown as IPv4, as Java does. */
export const plainAddress = (address: string | undefined): string =>
  address === undefined ? "" : address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;

class Connection implements Socket {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  handlers: SocketHandlers | undefined;
  private starved = false;
  private closed = false;

  constructor(private readonly socket: BunSocket<Slot>) {
    // Kept: the runtime forgets both addresses when the connection ends.
    this.local = { host: plainAddress(socket.localAddress), port: socket.localPort };
    this.remote = { host: plainAddress(socket.remoteAddress), port: socket.remotePort };
  }

  write(chunk: Uint8Array): number {
    if (this.closed || chunk.length === 0) return 0;
    const taken = Math.max(0, this.socket.write(chunk));
    if (taken < chunk.length) this.starved = true;
    return taken;
  }

  limitSendBuffer(bytes: number): void {
    // The descriptor is there, though the runtime's types do not say so.
    const { fd }: { readonly fd?: unknown } = this.socket as object;
    if (!this.closed && typeof fd === "number" && fd >= 0) libc()?.setSendBuffer(fd, bytes);
  }

  pause(): void {
    if (!this.closed) this.socket.pause();
  }

  resume(): void {
    if (!this.closed) this.socket.resume();
  }

  end(): void {
    if (!this.closed) this.socket.end();
  }

  destroy(): void {
    if (!this.closed) this.socket.terminate();
  }

  data(chunk: Uint8Array): void {
    if (!this.closed) this.handlers?.onData(this, chunk);
  }

  drained(): void {
    if (this.closed || !this.starved) return;
    this.starved = false;
    this.handlers?.onDrain(this);
  }

  finish(error: Error | undefined): void {
    if (this.closed) return;
    this.closed = true;
    const handlers = this.handlers;
    this.handlers = undefined;
    if (error === undefined) handlers?.onClose(this);
    else handlers?.onClose(this, networkErrorOf(error, `connection with ${this.remote.host}:${this.remote.port}`));
  }
}

/** What the runtime carries per socket; filled when the connection opens. */
interface Slot {
  connection: Connection | undefined;
}

const socketHandlers = (
  accept: (socket: Socket) => SocketHandlers,
  opened: (connection: Connection) => void = () => {},
): BunSocketHandler<Slot> => ({
  binaryType: "uint8array",
  open(socket) {
    socket.setNoDelay(true);
    const connection = new Connection(socket);
    socket.data = { connection };
    connection.handlers = accept(connection);
    opened(connection);
  },
  data: (socket, chunk) => socket.data?.connection?.data(chunk),
  drain: (socket) => socket.data?.connection?.drained(),
  end: (socket) => {
    // Without this a peer that only ended its sending side would hold the connection open for ever.
    socket.end();
  },
  close: (socket, error) => socket.data?.connection?.finish(error),
  error: (socket, error) => {
    const connection = socket.data?.connection;
    if (connection === undefined) return;
    connection.finish(error);
    socket.terminate();
  },
});

export const makeBunNetwork = (): Network => ({
  listen(endpoint, accept): Listener {
    const bind = (hostname: string) =>
      Bun.listen<Slot>({
        hostname,
        port: endpoint.port,
        data: { connection: undefined },
        socket: socketHandlers(accept),
      });
    try {
      let server: ReturnType<typeof bind>;
      if (endpoint.host !== "") server = bind(endpoint.host);
      else {
        // Kafka's empty host is every interface: both families where the machine has IPv6.
        try {
          server = bind("::");
        } catch (error) {
          if (networkErrorOf(error, "").code === "EADDRINUSE") throw error;
          server = bind("0.0.0.0");
        }
      }
      const bound = { host: endpoint.host === "" ? server.hostname : endpoint.host, port: server.port };
      let open = true;
      return {
        endpoint: bound,
        close() {
          if (!open) return;
          open = false;
          server.stop(false);
        },
      };
    } catch (error) {
      throw networkErrorOf(error, `listen ${endpoint.host}:${endpoint.port}`);
    }
  },

  async connect(endpoint, handlers): Promise<Socket> {
    let connected: Connection | undefined;
    try {
      await Bun.connect<Slot>({
        hostname: endpoint.host,
        port: endpoint.port,
        data: { connection: undefined },
        socket: socketHandlers(
          () => handlers,
          (connection) => {
            connected = connection;
          },
        ),
      });
    } catch (error) {
      throw networkErrorOf(error, `connect ${endpoint.host}:${endpoint.port}`);
    }
    if (connected === undefined)
      throw new NetworkError("OTHER", `connect ${endpoint.host}:${endpoint.port}: not opened`);
    return connected;
  },
});
