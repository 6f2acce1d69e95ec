/** The addon gives what the portable checksum gives, from the first long input on. */
import { afterAll, expect, test } from "bun:test";
import { loadNativeCrc32c, NATIVE_CRC32C_FROM, useNativeCrc32c } from "../../src/platform/NativeCrc32c.ts";
import { crc32c, installNativeCrc32c, portableCrc32c } from "../../src/record/Crc32c.ts";

afterAll(() => installNativeCrc32c(undefined, 0));

const bytes = Uint8Array.from({ length: 4 * NATIVE_CRC32C_FROM }, (_, index) => (index * 7919) >>> 3);
const same = () => {
  for (const length of [0, 1, NATIVE_CRC32C_FROM - 1, NATIVE_CRC32C_FROM, NATIVE_CRC32C_FROM + 1, bytes.length - 3])
    for (const previous of [0, 0x1234_5678, 0xffff_ffff])
      expect(crc32c(bytes, 3, 3 + length, previous)).toBe(portableCrc32c(bytes, 3, 3 + length, previous));
};

test("loaded at once", () => {
  expect(loadNativeCrc32c()).toBe(true);
  same();
});

test("loaded by the first long checksum, and asked from then on", () => {
  useNativeCrc32c();
  same();
  same();
});
