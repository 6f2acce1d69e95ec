/**
 * `http.listeners` turned into endpoints. The built-in one is a convenience: when its port is taken the next free one
 * does; one that somebody configured is meant and must be had.
 */
import type { Endpoint } from "../platform/Network.ts";
import type { BrokerConfig } from "./BrokerConfig.ts";

export interface HttpListeners {
  readonly endpoints: ReadonlyArray<Endpoint>;
  readonly configured: boolean;
  readonly errors: ReadonlyArray<string>;
}

export function resolveHttpListeners(config: BrokerConfig): HttpListeners {
  const errors: string[] = [];
  const endpoints: Endpoint[] = [];
  for (const text of config.list("http.listeners")) {
    const [, host, port] = /^http:\/\/(\[[0-9a-fA-F:.]*\]|[^:[\]/]*):(\d{1,5})\/?$/.exec(text) ?? [];
    if (host === undefined || Number(port) > 65535) {
      errors.push(`Invalid value ${text} for configuration http.listeners: expected http://host:port`);
    } else endpoints.push({ host: host === "" ? "0.0.0.0" : host.replace(/^\[|\]$/g, ""), port: Number(port) });
  }
  return { endpoints: errors.length > 0 ? [] : endpoints, configured: config.isSet("http.listeners"), errors };
}
