/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of a record batch. It owns the tables of a slicing-by-16
 * implementation that runs anywhere, a browser included, and one optional native implementation for long inputs; both
 * must give the same number for the same bytes.
 */

/** The reflected form of the Castagnoli polynomial. */
const POLYNOMIAL = 0x82f63b78;

/** Sixteen tables of 256 entries: entry `256 * k + b` is byte `b` followed by `k` zero bytes. */
const TABLES = (() => {
  const tables = new Int32Array(16 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[byte] = crc;
  }
  for (let index = 256; index < tables.length; index++) {
    const shorter = tables[index - 256]!;
    tables[index] = (shorter >>> 8) ^ tables[shorter & 0xff]!;
  }
  return tables;
})();

/** A checksum of a whole view, as an unsigned 32-bit number; `previous` is that of the bytes before it. */
export type NativeCrc32c = (bytes: Uint8Array, previous: number) => number;

let native: NativeCrc32c | undefined;
let nativeFrom = Number.POSITIVE_INFINITY;

/**
 * Lets `implementation` compute every checksum of at least `minimumLength` bytes. Calling into native code costs more
 * than a short checksum in JavaScript, so the threshold belongs to whoever measured the implementation.
 */
export const installNativeCrc32c = (implementation: NativeCrc32c | undefined, minimumLength: number): void => {
  native = implementation;
  nativeFrom = implementation === undefined ? Number.POSITIVE_INFINITY : minimumLength;
};

/** The checksum in JavaScript, whatever is installed. Unsigned 32 bits. */
export const portableCrc32c = (bytes: Uint8Array, start = 0, end = bytes.length, previous = 0): number => {
  const t = TABLES;
  let crc = ~previous;
  let at = start;
  for (const last = end - 15; at < last; at += 16) {
    const a = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t[0xf00 + (a & 0xff)]! ^
      t[0xe00 + ((a >>> 8) & 0xff)]! ^
      t[0xd00 + ((a >>> 16) & 0xff)]! ^
      t[0xc00 + (a >>> 24)]! ^
      t[0xb00 + bytes[at + 4]!]! ^
      t[0xa00 + bytes[at + 5]!]! ^
      t[0x900 + bytes[at + 6]!]! ^
      t[0x800 + bytes[at + 7]!]! ^
      t[0x700 + bytes[at + 8]!]! ^
      t[0x600 + bytes[at + 9]!]! ^
      t[0x500 + bytes[at + 10]!]! ^
      t[0x400 + bytes[at + 11]!]! ^
      t[0x300 + bytes[at + 12]!]! ^
      t[0x200 + bytes[at + 13]!]! ^
      t[0x100 + bytes[at + 14]!]! ^
      t[bytes[at + 15]!]!;
  }
  for (const last = end - 7; at < last; at += 8) {
    const a = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t[0x700 + (a & 0xff)]! ^
      t[0x600 + ((a >>> 8) & 0xff)]! ^
      t[0x500 + ((a >>> 16) & 0xff)]! ^
      t[0x400 + (a >>> 24)]! ^
      t[0x300 + bytes[at + 4]!]! ^
      t[0x200 + bytes[at + 5]!]! ^
      t[0x100 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!;
  return ~crc >>> 0;
};

/**
 * The checksum of `bytes[start, end)`, as an unsigned 32-bit number; continued from `previous`, that of what comes before
 * them. The bounds are the caller's to respect.
 */
export const crc32c = (bytes: Uint8Array, start = 0, end = bytes.length, previous = 0): number =>
  native !== undefined && end - start >= nativeFrom
    ? native(bytes.subarray(start, end), previous)
    : portableCrc32c(bytes, start, end, previous);
