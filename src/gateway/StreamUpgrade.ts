/** What a client offers when it upgrades to the stream protocol: versions as subprotocols, and perhaps a token. */
import { BEARER_SUBPROTOCOL, SUBPROTOCOL } from "./Messages.ts";

export type StreamUpgrade =
  | { readonly ok: true; readonly protocol?: string; readonly token?: string }
  | { readonly ok: false; readonly message: string };

/** Newest first. */
const KNOWN = [SUBPROTOCOL];

export const bearerOf = (authorization: string | null): string | undefined =>
  /^Bearer +([^\s]+)$/i.exec(authorization ?? "")?.[1];

/** `offered` is the Sec-WebSocket-Protocol header, `authorization` the Authorization header. */
export const streamUpgrade = (offered: string | null, authorization: string | null): StreamUpgrade => {
  const names = (offered ?? "").split(",").map((name) => name.trim());
  const versions = names.filter((name) => name !== "" && !name.startsWith(BEARER_SUBPROTOCOL));
  const encoded = names.find((name) => name.startsWith(BEARER_SUBPROTOCOL))?.slice(BEARER_SUBPROTOCOL.length);
  const fromProtocol = encoded === undefined ? undefined : decodeToken(encoded);
  if (encoded !== undefined && fromProtocol === undefined) {
    return { ok: false, message: `${BEARER_SUBPROTOCOL} must be followed by a token in base64url` };
  }
  const token = bearerOf(authorization) ?? fromProtocol;
  const withToken = token === undefined ? {} : { token };
  if (versions.length === 0) {
    // A client that offers only a token speaks version 1, and must be told one of the names it offered.
    const only = encoded === undefined ? {} : { protocol: `${BEARER_SUBPROTOCOL}${encoded}` };
    return { ok: true, ...only, ...withToken };
  }
  const protocol = KNOWN.find((name) => versions.includes(name));
  if (protocol === undefined) return { ok: false, message: `no known subprotocol offered; known: ${KNOWN.join(", ")}` };
  return { ok: true, protocol, ...withToken };
};

const decodeToken = (encoded: string): string | undefined => {
  if (!/^[A-Za-z0-9_-]+$/.test(encoded)) return undefined;
  const standard = encoded.replaceAll("-", "+").replaceAll("_", "/");
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(standard), (char) => char.charCodeAt(0)));
  } catch {
    return undefined;
  }
};
