/**
 * CRC-32C by `@node-rs/crc32` (SSE 4.2 or ARM instructions). It owns the decision from which length on it beats
 * JavaScript; where the addon is missing for a platform the portable implementation simply stays.
 */

import { installNativeCrc32c, portableCrc32c } from "../record/Crc32c.ts";

/** Below this many bytes the call into native code costs more than slicing-by-16 (2026-11: equal at about 700, Linux x64). */
export const NATIVE_CRC32C_FROM = 704;

/** Loads the addon now (6–20 ms, synchronously) and answers whether there is one. */
export const loadNativeCrc32c = (): boolean => {
  try {
    const { crc32c }: typeof import("@node-rs/crc32") = require("@node-rs/crc32");
    installNativeCrc32c(crc32c, NATIVE_CRC32C_FROM);
    return true;
  } catch {
    installNativeCrc32c(undefined, 0);
    return false;
  }
};

/** Lets the first long checksum load the addon: start-up pays nothing, and a broker that is only asked for metadata never does. */
export const useNativeCrc32c = (): void =>
  installNativeCrc32c((bytes, previous) => {
    loadNativeCrc32c();
    return portableCrc32c(bytes, 0, bytes.length, previous);
  }, NATIVE_CRC32C_FROM);
