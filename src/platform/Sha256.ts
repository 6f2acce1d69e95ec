/** SHA-256 by the runtime: for names that others must not be able to make collide. */
export const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(new Bun.CryptoHasher("sha256").update(bytes).digest());
