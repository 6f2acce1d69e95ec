/**
 * The broker's second door: it binds `http.listeners`, judges every request before anything else sees it (host, origin,
 * content type), and hands on what is let in: WebSockets to the gateway and to Kafka connections, requests to the API.
 * Those are loaded by the first that needs them, so that a broker nobody visits this way pays for a listening socket.
 * What must stay true: nothing is loaded, allocated or answered for a page of a foreign origin; connections and requests
 * in flight are counted and bounded.
 */
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import { resolveHttpListeners } from "../src/config/HttpListeners.ts";
import type { WireError } from "../src/gateway/Messages.ts";
import { CloseCode } from "../src/gateway/Messages.ts";
import { streamUpgrade } from "../src/gateway/StreamUpgrade.ts";
import {
  corsHeaders,
  isForeign,
  preflightHeaders,
  type WebRules,
  webRefusal,
  webRules,
} from "../src/gateway/WebOrigin.ts";
import { wireError } from "../src/gateway/WireError.ts";
import type { HttpConnection, HttpServer, MessageHandlers, MessageSocket } from "../src/platform/HttpServer.ts";
import { type Endpoint, type Listener, type Network, NetworkError } from "../src/platform/Network.ts";
import { Errors } from "../src/protocol/Errors.ts";
import type { Door, DoorEnvironment } from "./Broker.ts";
import { Connection } from "./Connection.ts";
import type { Gateway } from "./Gateway.ts";
import type { GatewayApi } from "./GatewayApi.ts";
import { UNSERVED } from "./KafkaListener.ts";
import { tunnelSocket } from "./KafkaTunnel.ts";
import { StartupError } from "./StartupError.ts";

/** How many ports after the built-in one are tried. */
const PORTS_TRIED = 100;

const where = ({ host, port }: Endpoint): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;

const inUse = (error: unknown): boolean => error instanceof NetworkError && error.code === "EADDRINUSE";

const cannotBind = (endpoint: Endpoint, error: unknown): StartupError => {
  const why = inUse(error) ? "the port is in use" : error instanceof Error ? error.message : String(error);
  return new StartupError(`http.listeners: ${where(endpoint)} cannot be bound: ${why}`);
};

/** Before the data is touched: a configured address that cannot be had ends the start with a `StartupError`. */
export const probeHttpListeners = (network: Network, config: BrokerConfig): void => {
  const { endpoints, configured, errors } = resolveHttpListeners(config);
  if (errors.length > 0) throw new StartupError(errors.join("; "));
  for (const endpoint of configured ? endpoints : []) {
    if (endpoint.port === 0) continue;
    try {
      network.listen(endpoint, () => UNSERVED).close();
    } catch (error) {
      throw cannotBind(endpoint, error);
    }
  }
};

/** Opens the door; undefined when `http.listeners` is empty. Throws a `StartupError` when an address cannot be bound. */
export const openHttpDoor = (
  { server, sha256 }: HttpPlatform,
  config: BrokerConfig,
  environment: DoorEnvironment,
): HttpDoor | undefined => {
  const { endpoints, configured } = resolveHttpListeners(config);
  if (endpoints.length === 0) return undefined;
  const door = new HttpDoor(config, environment, sha256);
  for (const endpoint of endpoints) {
    const bound = configured ? door.bind(server, endpoint) : door.bindNextFree(server, endpoint);
    if (bound.port !== endpoint.port && endpoint.port !== 0) {
      environment.log("warn", `http.listeners: port ${endpoint.port} is in use, the gateway is on ${where(bound)}`);
    }
  }
  return door;
};

/** What the second door needs from outside. */
export interface HttpPlatform {
  readonly server: HttpServer;
  readonly sha256: (bytes: Uint8Array) => Uint8Array;
}

/** Requests of the API that are being answered, long polls and event streams among them. */
const MAX_REQUESTS = 1024;

export class HttpDoor implements Door {
  private readonly listeners: Listener[] = [];
  private readonly rules: WebRules;
  private readonly maxBytes: number;
  private gateway: Promise<Gateway> | undefined;
  /** The same, when it is there. */
  private openGateway: Gateway | undefined;
  private api: Promise<GatewayApi> | undefined;
  private openApi: GatewayApi | undefined;
  private readonly tunnels = new Set<Connection>();
  private nextTunnelId = 1;
  private readonly perHost = new Map<string, number>();
  private sockets = 0;
  private requests = 0;
  private stopping = false;

  constructor(
    config: BrokerConfig,
    private readonly environment: DoorEnvironment,
    private readonly sha256: HttpPlatform["sha256"],
  ) {
    this.rules = webRules(config.list("http.allowed.origins"), config.list("http.allowed.hosts"));
    this.maxBytes = config.number("http.request.max.bytes");
  }

  get endpoints(): ReadonlyArray<Endpoint> {
    return this.listeners.map(({ endpoint }) => endpoint);
  }

  bind(server: HttpServer, endpoint: Endpoint): Endpoint {
    try {
      return this.listen(server, endpoint);
    } catch (error) {
      throw cannotBind(endpoint, error);
    }
  }

  bindNextFree(server: HttpServer, endpoint: Endpoint): Endpoint {
    for (let port = endpoint.port; ; port += 1) {
      try {
        return this.listen(server, { ...endpoint, port });
      } catch (error) {
        if (!inUse(error) || port >= endpoint.port + PORTS_TRIED) throw cannotBind({ ...endpoint, port }, error);
      }
    }
  }

  private listen(server: HttpServer, endpoint: Endpoint): Endpoint {
    const listener = server.listen(endpoint, this.maxBytes, (request, connection) => this.handle(request, connection));
    this.listeners.push(listener);
    return listener.endpoint;
  }

  // — the stop

  mute(): void {
    this.stopping = true;
    for (const listener of this.listeners) listener.close();
    this.openGateway?.mute();
    this.openApi?.mute();
    for (const tunnel of this.tunnels) tunnel.mute();
  }

  get isIdle(): boolean {
    for (const tunnel of this.tunnels) if (!tunnel.isIdle) return false;
    return this.requests === 0 && (this.openGateway?.isIdle ?? true);
  }

  closeConnections(why: string): void {
    this.openGateway?.closeConnections(why);
    for (const tunnel of [...this.tunnels]) tunnel.close(why);
  }

  // — requests

  private handle(request: Request, connection: HttpConnection): Promise<Response | undefined> | Response | undefined {
    const { method, headers } = request;
    const origin = headers.get("origin");
    const host = headers.get("host");
    const refusal = webRefusal(
      {
        method,
        host,
        origin,
        contentType: headers.get("content-type"),
        site: headers.get("sec-fetch-site"),
        mode: headers.get("sec-fetch-mode"),
      },
      connection.local,
      this.rules,
    );
    if (refusal !== undefined) {
      const code = refusal.status === 403 ? Errors.CLUSTER_AUTHORIZATION_FAILED : Errors.INVALID_REQUEST;
      return errorResponse(refusal.status, wireError(code, refusal.message));
    }
    const cors = isForeign(origin, host) ? corsHeaders(origin!) : [];
    if (method === "OPTIONS")
      return new Response(null, { status: 204, headers: [...cors, ...preflightHeaders] as [string, string][] });
    const answer = this.route(request, connection);
    if (cors.length === 0) return answer;
    return answer instanceof Promise
      ? answer.then((response) => withHeaders(response, cors))
      : withHeaders(answer, cors);
  }

  private route(request: Request, connection: HttpConnection): Promise<Response | undefined> | Response | undefined {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/health/live":
        return healthy("live");
      case "/health/ready":
        return this.stopping
          ? errorResponse(503, wireError(Errors.BROKER_NOT_AVAILABLE, "stopping"))
          : healthy("ready");
      case "/v1/stream":
        return this.stream(request, connection);
      case "/kafka":
        return this.tunnel(connection);
      default:
        return this.answer(request, connection);
    }
  }

  private async answer(request: Request, connection: HttpConnection): Promise<Response> {
    if (this.requests >= MAX_REQUESTS || this.stopping) {
      const why = this.stopping ? "the broker is stopping" : `${MAX_REQUESTS} requests are being answered`;
      const busy = errorResponse(503, wireError(Errors.BROKER_NOT_AVAILABLE, why, true));
      busy.headers.set("retry-after", "1");
      return busy;
    }
    this.requests += 1;
    try {
      return await (await this.loadApi()).handle(request, connection);
    } catch (error) {
      // A bug of ours costs this request.
      this.environment.log("error", `gateway ${request.method} ${request.url}: ${String(error)}`);
      return errorResponse(500, wireError(Errors.UNKNOWN_SERVER_ERROR));
    } finally {
      this.requests -= 1;
    }
  }

  private tunnel(connection: HttpConnection): Response | undefined {
    const { environment } = this;
    const { config } = environment.ports;
    const { local, remote } = connection;
    const upgraded = connection.upgrade({
      accept: (socket) =>
        this.counted(remote.host, socket, () =>
          tunnelSocket(socket, local, remote, (tunnel) => {
            const opened: Connection = new Connection(this.nextTunnelId++, tunnel, {
              ...environment,
              maxFrameBytes: config.number("socket.request.max.bytes"),
              maxIdleMs: config.number("connections.max.idle.ms"),
              closed: () => this.tunnels.delete(opened),
            });
            this.tunnels.add(opened);
            if (this.stopping) opened.mute();
            return opened;
          }),
        ),
    });
    return upgraded ? undefined : notAnUpgrade();
  }

  private async stream(request: Request, connection: HttpConnection): Promise<Response | undefined> {
    const { headers } = request;
    const upgrade = streamUpgrade(headers.get("sec-websocket-protocol"), headers.get("authorization"));
    if (!upgrade.ok) return errorResponse(400, wireError(Errors.INVALID_REQUEST, upgrade.message));
    const gateway = await this.loadGateway();
    const { local, remote } = connection;
    const peer = { local, remote, ...(upgrade.token === undefined ? {} : { token: upgrade.token }) };
    const upgraded = connection.upgrade({
      ...(upgrade.protocol === undefined ? {} : { protocol: upgrade.protocol }),
      accept: (socket) =>
        this.counted(remote.host, socket, () => {
          const handlers = gateway.accept(socket, peer);
          return {
            onMessage: (message) => handlers.onFrame(message),
            onDrain: () => handlers.onDrain(),
            onClose: (code, reason) => handlers.onClose(code, reason),
          };
        }),
    });
    return upgraded ? undefined : notAnUpgrade();
  }

  private loadGateway(): Promise<Gateway> {
    this.gateway ??= import("./Gateway.ts").then((loaded) => {
      const gateway = new loaded.Gateway(this.environment, { frameBytes: this.maxBytes });
      if (this.stopping) gateway.mute();
      this.openGateway = gateway;
      return gateway;
    });
    return this.gateway;
  }

  private loadApi(): Promise<GatewayApi> {
    this.api ??= Promise.all([import("./GatewayApi.ts"), this.loadGateway()]).then(([loaded, gateway]) => {
      const admit = (host: string): (() => void) | undefined => this.admit(host);
      this.openApi = new loaded.GatewayApi(gateway, { sha256: this.sha256, admit });
      return this.openApi;
    });
    return this.api;
  }

  /**
   * Kafka's connection limits hold for WebSockets and streams of events as well. Answers what gives the place back, or
   * undefined when there is none.
   */
  private admit(host: string): (() => void) | undefined {
    const { config } = this.environment.ports;
    const fromHost = this.perHost.get(host) ?? 0;
    if (this.sockets >= config.number("max.connections") || fromHost >= config.number("max.connections.per.ip")) {
      this.environment.log("warn", `HTTP connection from ${host} refused: the connection limit is reached`);
      return undefined;
    }
    this.sockets += 1;
    this.perHost.set(host, fromHost + 1);
    return () => {
      this.sockets -= 1;
      const left = (this.perHost.get(host) ?? 1) - 1;
      if (left === 0) this.perHost.delete(host);
      else this.perHost.set(host, left);
    };
  }

  /** Beyond the limits a WebSocket is told to come back later. */
  private counted(host: string, socket: MessageSocket, accept: () => MessageHandlers): MessageHandlers {
    const release = this.admit(host);
    if (release === undefined) {
      socket.close(CloseCode.OVERLOADED, "too many connections");
      return UNHEARD;
    }
    const handlers = accept();
    return {
      onMessage: (message) => handlers.onMessage(message),
      onDrain: () => handlers.onDrain(),
      onClose: (code, reason) => {
        release();
        handlers.onClose(code, reason);
      },
    };
  }
}

const UNHEARD: MessageHandlers = { onMessage: () => undefined, onDrain: () => undefined, onClose: () => undefined };

const healthy = (status: "live" | "ready"): Response => Response.json({ status });

/** Every refusal has one form, whoever refuses. */
export const errorResponse = (status: number, error: WireError): Response => Response.json({ error }, { status });

const notAnUpgrade = (): Response =>
  errorResponse(426, wireError(Errors.INVALID_REQUEST, "this path speaks WebSocket (Upgrade: websocket)"));

const withHeaders = (
  response: Response | undefined,
  headers: ReadonlyArray<readonly [string, string]>,
): Response | undefined => {
  for (const [name, value] of headers) response?.headers.append(name, value);
  return response;
};
