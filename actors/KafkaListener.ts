/**
 * One Kafka listener: it accepts sockets, makes a Connection of each, and bounds their number as Kafka does
 * (`max.connections`, `max.connections.per.ip`): beyond the bound a new connection is closed at once. What must stay
 * true: every open connection is in `connections`, so that a stop ends all of them.
 */
import type { Endpoint, Listener, Network, Socket, SocketHandlers } from "../src/platform/Network.ts";
import { Connection, type ConnectionEnvironment } from "./Connection.ts";

export interface ConnectionLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerIp: number;
  /**
   * Kafka's `socket.send.buffer.bytes`; -1: the system's. With little in the kernel, an answer's bytes are still in the
   * processor's cache when the peer takes them.
   */
  readonly sendBufferBytes: number;
}

/** For a socket that nobody serves. */
export const UNSERVED: SocketHandlers = { onData: () => undefined, onDrain: () => undefined, onClose: () => undefined };

export class KafkaListener {
  readonly endpoint: Endpoint;
  private readonly connections = new Set<Connection>();
  private readonly perHost = new Map<string, number>();
  private readonly listener: Listener;
  private nextConnectionId = 1;
  private isOpen = false;

  /** Throws `NetworkError` when the address cannot be bound. */
  constructor(
    network: Network,
    endpoint: Endpoint,
    private readonly limits: ConnectionLimits,
    private readonly environment: Omit<ConnectionEnvironment, "closed">,
  ) {
    this.listener = network.listen(endpoint, (socket) => this.accept(socket));
    this.endpoint = this.listener.endpoint;
  }

  /** Connections accepted before this wait: nobody is served by a broker that is not registered. */
  open(): void {
    this.isOpen = true;
    for (const connection of this.connections) connection.unmute();
  }

  /** No connection is accepted and no request read any more; what is in flight goes on. */
  mute(): void {
    this.isOpen = false;
    this.listener.close();
    for (const connection of this.connections) connection.mute();
  }

  /** Nothing is in flight on any connection. */
  get isIdle(): boolean {
    for (const connection of this.connections) if (!connection.isIdle) return false;
    return true;
  }

  closeConnections(why: string): void {
    for (const connection of [...this.connections]) connection.close(why);
  }

  private accept(socket: Socket): SocketHandlers {
    const host = socket.remote.host;
    const fromHost = this.perHost.get(host) ?? 0;
    if (this.connections.size >= this.limits.maxConnections || fromHost >= this.limits.maxConnectionsPerIp) {
      this.environment.log("warn", `connection from ${host} refused: the connection limit is reached`);
      // As Kafka closes it: in order, so that the peer is connected first and then finds it closed.
      socket.end();
      return UNSERVED;
    }
    this.perHost.set(host, fromHost + 1);
    if (this.limits.sendBufferBytes > 0) socket.limitSendBuffer?.(this.limits.sendBufferBytes);
    const connection = new Connection(this.nextConnectionId++, socket, {
      ...this.environment,
      closed: (closed) => {
        this.connections.delete(closed);
        const left = (this.perHost.get(host) ?? 1) - 1;
        if (left === 0) this.perHost.delete(host);
        else this.perHost.set(host, left);
      },
    });
    this.connections.add(connection);
    if (!this.isOpen) connection.mute();
    return connection;
  }
}
