/**
 * The connecting half of the Network port on `node:net`, for a client that runs on Node. Nothing listens here: a broker
 * runs on Bun. What must stay true is what BunNetwork.ts says: `onClose` comes exactly once and nothing after it.
 */
import net from "node:net";
import { type Endpoint, type Network, NetworkError, type Socket, type SocketHandlers } from "./Network.ts";

const CODES: ReadonlySet<string> = new Set<NetworkError["code"]>(["ECONNREFUSED", "ETIMEDOUT", "ECONNRESET"]);

const networkError = (cause: NodeJS.ErrnoException, what: string): NetworkError => {
  const code = CODES.has(cause.code ?? "") ? (cause.code as NetworkError["code"]) : "OTHER";
  return new NetworkError(code, `${what}: ${cause.message}`);
};

class Connection implements Socket {
  readonly local: Endpoint;
  readonly remote: Endpoint;

  constructor(private readonly socket: net.Socket) {
    this.local = { host: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    this.remote = { host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
  }

  /** Node keeps what the system does not take: nothing more is taken until that is gone. */
  write(chunk: Uint8Array): number {
    if (this.socket.destroyed || this.socket.writableNeedDrain) return 0;
    this.socket.write(Uint8Array.from(chunk));
    return chunk.length;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }
}

const connect = (endpoint: Endpoint, handlers: SocketHandlers): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const where = `${endpoint.host}:${endpoint.port}`;
    const socket = net.connect({ ...endpoint, noDelay: true });
    let connection: Connection | undefined;
    let failure: NodeJS.ErrnoException | undefined;
    socket.on("connect", () => {
      connection = new Connection(socket);
      resolve(connection);
    });
    socket.on("data", (chunk: Uint8Array) => handlers.onData(connection!, chunk));
    socket.on("drain", () => handlers.onDrain(connection!));
    socket.on("error", (error) => {
      failure = error;
    });
    socket.on("close", () => {
      if (connection === undefined) reject(networkError(failure ?? new Error("closed"), `connect ${where}`));
      else if (failure === undefined) handlers.onClose(connection);
      else handlers.onClose(connection, networkError(failure, `connection with ${where}`));
    });
  });

export const makeNodeNetwork = (): Network => ({
  listen: (endpoint) => {
    throw new NetworkError("OTHER", `listen ${endpoint.host}:${endpoint.port}: only a client runs on Node`);
  },
  connect,
});
