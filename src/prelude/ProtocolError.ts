/**
 * The one error that reading or writing bytes of a peer throws. It means "these bytes (or this message at this version)
 * are not valid", is always the peer's or the caller's mistake, and never escapes a connection's or a loader's boundary.
 */
export class ProtocolError extends Error {
  readonly _tag = "ProtocolError";
  override readonly name = "ProtocolError";
}
