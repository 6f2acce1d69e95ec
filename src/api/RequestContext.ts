/**
 * Who asks, through which door, with which version: everything a handler knows beside the request itself. Both doors
 * (TCP and, later, HTTP/WebSocket) fill the same fields, so that authorisation, quota and limits are one path.
 */
import type { Endpoint } from "../platform/Network.ts";
import type { Ports } from "./Ports.ts";

export interface RequestContext {
  readonly apiKey: number;
  readonly version: number;
  /** `User:ANONYMOUS` until security is configured. */
  readonly principal: string;
  /** Kafka's listener name, such as `PLAINTEXT`. */
  readonly listener: string;
  /** "" when the client gave none. */
  readonly clientId: string;
  readonly connection: ConnectionContext;
  readonly ports: Ports;
}

/** What a handler may know and do about the connection its request came in on. */
export interface ConnectionContext {
  readonly id: number;
  /** The accepted socket's own address: what is answered when `advertised.listeners` is unset. */
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Name and version a client gave in ApiVersions v3+; "unknown" before. */
  software: { name: string; version: string };
  /**
   * A write of this connection was handed to its actor; call the answer when it is applied (written). Reads that come
   * after it on the same connection wait for that (architecture, Order on a connection).
   */
  beginWrite(): () => void;
  /**
   * What comes after this request on its connection is not handled until the answer is called: for a request that has
   * to wait before it can be handed to its actor.
   */
  hold(): () => void;
  /** Calls `task` at once, or when every earlier write of this connection is applied. */
  afterWrites(task: () => void): void;
  /** An answer's records may still be in their files (`FileRecords`): they are read when the connection sends them. */
  readonly sendsFiles?: boolean;
  /** Calls `task` when the connection closes; answers the function that takes it back. */
  onClose(task: () => void): () => void;
}
