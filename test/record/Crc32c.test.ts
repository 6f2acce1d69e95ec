/** The checksum of record batches: published vectors, and the portable and the native implementation agree. */
import { afterEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { crc32c, installNativeCrc32c, portableCrc32c } from "../../src/record/Crc32c.ts";

/** One bit at a time, from the definition. */
const slowCrc32c = (bytes: Uint8Array): number => {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
};

afterEach(() => installNativeCrc32c(undefined, 0));

describe("crc32c", () => {
  test("the vectors of RFC 3720 B.4", () => {
    expect(portableCrc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(portableCrc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(portableCrc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd794e);
    expect(portableCrc32c(Uint8Array.from({ length: 32 }, (_, index) => 31 - index))).toBe(0x113fdb5c);
    expect(portableCrc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  });

  test("any bytes, any bounds: as the definition says", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(200), (bytes, a, b) => {
        const start = Math.min(a, b, bytes.length);
        const end = Math.min(Math.max(a, b), bytes.length);
        expect(crc32c(bytes, start, end)).toBe(slowCrc32c(bytes.subarray(start, end)));
      }),
    );
  });

  test("in pieces: continued from what came before", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, cut) => {
        const at = Math.min(cut, bytes.length);
        expect(crc32c(bytes, at, bytes.length, crc32c(bytes, 0, at))).toBe(slowCrc32c(bytes));
      }),
    );
  });

  test("an installed implementation is asked from its threshold on, with the bounds applied", () => {
    const asked: Uint8Array[] = [];
    installNativeCrc32c((bytes) => asked.push(bytes), 4);
    const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5);
    expect(crc32c(bytes, 1, 4)).toBe(slowCrc32c(bytes.subarray(1, 4)));
    expect(crc32c(bytes, 1, 5)).toBe(1);
    expect(asked).toEqual([Uint8Array.of(1, 2, 3, 4)]);
  });
});
