/**
 * `listeners`, `advertised.listeners` and `listener.security.protocol.map` turned into endpoints (Kafka's
 * `SocketServerConfigs` and `AbstractKafkaConfig`). Listener names are upper case, each name and each port is there
 * once. Only PLAINTEXT is served so far; a controller's listeners are recognised and left alone, because here the
 * controller lives in the broker's process. So the settings of compose files and Testcontainers work unchanged.
 */
import type { Endpoint } from "../platform/Network.ts";
import type { BrokerConfig } from "./BrokerConfig.ts";

export type SecurityProtocol = "PLAINTEXT" | "SSL" | "SASL_PLAINTEXT" | "SASL_SSL";

export interface BrokerListener {
  /** The listener's name, upper case. */
  readonly name: string;
  readonly protocol: SecurityProtocol;
  /** What to bind; an empty host in the setting is every interface, "0.0.0.0". Port 0: any. */
  readonly bind: Endpoint;
  /** What clients are told; undefined: the address they connected to. Port 0: the port bound. */
  readonly advertised: Endpoint | undefined;
}

export interface ResolvedListeners {
  /** In the order of `listeners`; empty when there are errors. */
  readonly listeners: ReadonlyArray<BrokerListener>;
  /** Names of `listeners` that belong to the controller and are not opened. */
  readonly controllerListeners: ReadonlyArray<string>;
  readonly notes: ReadonlyArray<string>;
  readonly errors: ReadonlyArray<string>;
}

interface NamedEndpoint {
  readonly name: string;
  readonly endpoint: Endpoint;
}

const protocols: ReadonlySet<string> = new Set(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]);
const isProtocol = (text: string | undefined): text is SecurityProtocol => text !== undefined && protocols.has(text);

/** `NAME://host:port`, `NAME://:port`, `NAME://[::1]:port`. */
function parseListener(key: string, text: string, errors: string[]): NamedEndpoint | undefined {
  const match = /^([A-Za-z0-9_.-]+):\/\/(\[[0-9a-fA-F:.%\w]*\]|[^:[\]/]*):(\d{1,5})$/.exec(text);
  const [, name, host, port] = match ?? [];
  if (name === undefined || host === undefined || Number(port) > 65535) {
    errors.push(
      `Invalid value ${text} for configuration ${key}: Unable to parse it to a broker endpoint (allowed: NAME://host:port)`,
    );
    return undefined;
  }
  return { name: name.toUpperCase(), endpoint: { host: host.replace(/^\[|\]$/g, ""), port: Number(port) } };
}

function parseMap(text: string, errors: string[]): Map<string, string> {
  const map = new Map<string, string>();
  for (const pair of text.split(/\s*,\s*/).filter((each) => each !== "")) {
    const colon = pair.lastIndexOf(":");
    const [name, protocol] = [
      pair.slice(0, colon).trim().toUpperCase(),
      pair
        .slice(colon + 1)
        .trim()
        .toUpperCase(),
    ];
    if (colon > 0 && isProtocol(protocol)) map.set(name, protocol);
    else
      errors.push(
        `Invalid value ${pair} for configuration listener.security.protocol.map: expected NAME:PROTOCOL (allowed protocols: ${[...protocols].join(", ")})`,
      );
  }
  return map;
}

/** The element that comes twice, or undefined. */
const repeated = <A>(all: ReadonlyArray<A>): A | undefined => all.find((each, index) => all.indexOf(each) !== index);

export function resolveListeners(config: BrokerConfig): ResolvedListeners {
  const errors: string[] = [];
  const notes: string[] = [];
  const parse = (key: "listeners" | "advertised.listeners") =>
    config.list(key).flatMap((text) => parseListener(key, text, errors) ?? []);
  const named = parse("listeners");
  const advertised = parse("advertised.listeners");
  const protocolOf = parseMap(config.string("listener.security.protocol.map"), errors);

  const controllerNames = new Set(config.list("controller.listener.names").map((name) => name.toUpperCase()));
  const controllers = named.filter(({ name }) => controllerNames.has(name));
  const brokers = named.filter(({ name }) => !controllerNames.has(name));
  if (controllers.length > 0)
    notes.push(
      `listener ${controllers.map(({ name }) => name).join(", ")} is the controller's and not opened: the controller lives in this process`,
    );

  const twice = repeated(named.map(({ name }) => name));
  if (twice !== undefined)
    errors.push(`Invalid value for configuration listeners: each name only once, ${twice} is there twice`);
  const where = ({ endpoint }: NamedEndpoint) => `${endpoint.host}:${endpoint.port}`;
  const clash = repeated(brokers.filter(({ endpoint }) => endpoint.port !== 0).map(where));
  if (clash !== undefined)
    errors.push(`Invalid value for configuration listeners: each address only once, ${clash} is there twice`);
  if (brokers.length === 0 && errors.length === 0)
    errors.push(
      "Invalid value for configuration listeners: at least one listener that is not the controller's is needed",
    );

  const told = new Map<string, Endpoint>();
  for (const { name, endpoint } of advertised) {
    if (controllerNames.has(name)) continue;
    if (!brokers.some((listener) => listener.name === name))
      errors.push(
        `Invalid value for configuration advertised.listeners: ${name} is none of listeners (${brokers.map((each) => each.name).join(", ")})`,
      );
    if (endpoint.host === "0.0.0.0" || endpoint.host === "::")
      errors.push(
        "Invalid value for configuration advertised.listeners: a client cannot connect to 0.0.0.0; give an address that it can reach",
      );
    if (told.has(name))
      errors.push(`Invalid value for configuration advertised.listeners: each name only once, ${name} is there twice`);
    // An empty host tells nothing: the client gets the address it connected to.
    if (endpoint.host !== "") told.set(name, endpoint);
  }

  const listeners: BrokerListener[] = [];
  for (const { name, endpoint } of brokers) {
    const protocol = protocolOf.get(name);
    if (!isProtocol(protocol))
      errors.push(
        `No security protocol defined for listener ${name}: add ${name}:PLAINTEXT to listener.security.protocol.map`,
      );
    else if (protocol !== "PLAINTEXT")
      errors.push(`listener ${name} asks for ${protocol}, which Odradek does not speak yet (allowed: PLAINTEXT)`);
    else
      listeners.push({
        name,
        protocol,
        bind: { host: endpoint.host === "" ? "0.0.0.0" : endpoint.host, port: endpoint.port },
        advertised: told.get(name),
      });
  }
  const between = config.optionalString("inter.broker.listener.name")?.toUpperCase();
  if (between !== undefined && !brokers.some(({ name }) => name === between))
    errors.push(`Invalid value ${between} for configuration inter.broker.listener.name: it is none of listeners`);
  return {
    listeners: errors.length > 0 ? [] : listeners,
    controllerListeners: controllers.map(({ name }) => name),
    notes,
    errors,
  };
}
