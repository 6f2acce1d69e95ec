/**
 * Which requests of the web a listener lets in (correctness §5.3): a page of another origin must not reach a broker on
 * the same machine, whether it asks by its own name (Origin), by a name that it makes point here (DNS rebinding), or with
 * a form that a browser sends without asking first. What must stay true: names are compared whole, never by a part.
 */
import type { Endpoint } from "../platform/Network.ts";

export interface WebRules {
  /** `scheme://host:port` as browsers send it, lower case; `none` lets in requests without an Origin. */
  readonly origins: ReadonlySet<string>;
  /** Host names, or `host:port`, lower case. */
  readonly hosts: ReadonlySet<string>;
}

export const webRules = (origins: ReadonlyArray<string>, hosts: ReadonlyArray<string>): WebRules => ({
  origins: new Set(origins.map((origin) => origin.toLowerCase().replace(/\/$/, ""))),
  hosts: new Set(hosts.map((host) => host.toLowerCase())),
});

/** In the rules: requests without an Origin, whatever the listener. */
export const WITHOUT_ORIGIN = "none";

/** The parts of a request that are judged. */
export interface WebRequest {
  readonly method: string;
  readonly host: string | null;
  readonly origin: string | null;
  readonly contentType: string | null;
  /** Fetch metadata, which a page cannot forge. */
  readonly site: string | null;
  readonly mode: string | null;
}

export interface WebRefusal {
  readonly status: 400 | 403 | 415 | 421;
  readonly message: string;
}

/** The name in a Host header, without its port, lower case; undefined when it is none. */
export const hostName = (host: string): string | undefined => {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i.exec(host);
  return match?.[1]?.toLowerCase().replace(/^\[|\]$/g, "");
};

const isIpv4 = (name: string): boolean => /^\d{1,3}(\.\d{1,3}){3}$/.test(name);
const isAddress = (name: string): boolean => isIpv4(name) || name.includes(":");

export const isLoopback = (name: string): boolean =>
  name === "localhost" || name === "::1" || (isIpv4(name) && name.startsWith("127."));

const isWildcard = (name: string): boolean => name === "" || name === "0.0.0.0" || name === "::";

const hostAllowed = (host: string, listener: Endpoint, rules: WebRules): boolean => {
  const name = hostName(host);
  if (name === undefined) return false;
  if (rules.hosts.has(host.toLowerCase()) || rules.hosts.has(name)) return true;
  if (isLoopback(name) || name === listener.host.toLowerCase()) return true;
  // An address cannot be made to point elsewhere, as a name can.
  return isWildcard(listener.host) && isAddress(name);
};

const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
/** What a form cannot send: a browser asks first. */
const BODY_TYPES: ReadonlySet<string> = new Set([
  "application/json",
  "application/msgpack",
  "application/x-msgpack",
  "application/vnd.msgpack",
]);

export const mediaType = (contentType: string | null): string =>
  (contentType ?? "").split(";", 1)[0]!.trim().toLowerCase();

/** Whether answers to this origin carry CORS headers: it is allowed and not the listener's own. */
export const isForeign = (origin: string | null, host: string | null): boolean =>
  origin !== null && origin.toLowerCase() !== `http://${(host ?? "").toLowerCase()}`;

/** Why a request is not let in; undefined when it is. */
export const webRefusal = (request: WebRequest, listener: Endpoint, rules: WebRules): WebRefusal | undefined => {
  const { method, host, origin, contentType, site, mode } = request;
  if (host === null || !hostAllowed(host, listener, rules)) {
    return {
      status: 421,
      message: `Host ${JSON.stringify(host)} is none of this listener's names; add it to http.allowed.hosts if it is meant`,
    };
  }
  if (origin === null) {
    if (!isLoopback(listener.host) && !rules.origins.has(WITHOUT_ORIGIN)) {
      return {
        status: 403,
        message: `a request without an Origin is accepted on loopback listeners only; add ${WITHOUT_ORIGIN} to http.allowed.origins if it is meant`,
      };
    }
    // A page of another site that asks without an Origin (an image, a form): only links are followed.
    const foreign = site !== null && site !== "same-origin" && site !== "none";
    if (foreign && !(mode === "navigate" && method === "GET")) {
      return { status: 403, message: "a request of another site" };
    }
  } else if (isForeign(origin, host) && !rules.origins.has(origin.toLowerCase())) {
    return {
      status: 403,
      message: `Origin ${JSON.stringify(origin)} is not this listener's own and not in http.allowed.origins`,
    };
  }
  if (!SAFE_METHODS.has(method) && !BODY_TYPES.has(mediaType(contentType))) {
    return { status: 415, message: "Content-Type must be application/json or application/msgpack" };
  }
  return undefined;
};

const ALLOWED_HEADERS = "content-type, authorization, idempotency-key, last-event-id";

/** The headers an answer to a page of an allowed foreign origin carries. */
export const corsHeaders = (origin: string): ReadonlyArray<readonly [string, string]> => [
  ["access-control-allow-origin", origin],
  ["vary", "Origin"],
];

export const preflightHeaders: ReadonlyArray<readonly [string, string]> = [
  ["access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"],
  ["access-control-allow-headers", ALLOWED_HEADERS],
  ["access-control-max-age", "600"],
];
