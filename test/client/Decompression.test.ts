import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decompress } from "../../src/client/Decompression.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { Codec, CompressionError } from "../../src/record/Compression.ts";
import { seeded } from "./support/FakeNetwork.ts";

const native = makeBunCodecs();
const MAX = 64 * 1024 * 1024;
const codecs = [
  ["gzip", Codec.gzip],
  ["snappy", Codec.snappy],
  ["lz4", Codec.lz4],
  ["zstd", Codec.zstd],
] as const;

/** Text that compresses, longer than any codec's block. */
const text = (length: number): Uint8Array => {
  const random = seeded(length);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = 97 + random(3 + (at % 23));
  return bytes;
};

describe.each(codecs)("%s", (_, codec) => {
  test("what the broker's codecs compress comes back", async () => {
    for (const length of [0, 1, 100, 70_000, 1_000_000]) {
      const plain = text(length);
      expect(Buffer.compare(await decompress(codec, native.compress(codec, plain), MAX), plain)).toBe(0);
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (plain) => {
        expect(Buffer.compare(await decompress(codec, native.compress(codec, plain), MAX), plain)).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test("no more than it was allowed, and an error for what is cut or damaged", async () => {
    const compressed = native.compress(codec, text(100_000));
    const failing = async (bytes: Uint8Array, max: number): Promise<unknown> => {
      try {
        return await decompress(codec, bytes, max);
      } catch (error) {
        return error;
      }
    };
    const tooLarge = await failing(compressed, 50_000);
    expect(tooLarge).toBeInstanceOf(CompressionError);
    expect((tooLarge as CompressionError).reason).toBe("too-large");
    expect(await failing(compressed.subarray(0, compressed.length - 9), MAX)).toBeInstanceOf(CompressionError);
    expect(await failing(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), MAX)).toBeInstanceOf(CompressionError);
  });
});

test("a zstd frame that claims a huge window is refused before anything is allocated", () => {
  const claims = (...header: number[]): Uint8Array => Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, ...header, 1, 0, 0);
  // No single segment, exponent 20: a window of 1 GiB; a single segment of 2^32 − 1 bytes; one of eight bytes of size.
  expect(() => decompress(Codec.zstd, claims(0x00, 20 << 3), MAX)).toThrow("zstd: a window of 1073741824 bytes");
  expect(() => decompress(Codec.zstd, claims(0xa0, 255, 255, 255, 255), MAX)).toThrow("window of 4294967295");
  expect(() => decompress(Codec.zstd, claims(0xe0, 1, 0, 0, 0, 0, 0, 0, 0), MAX)).toThrow("window of Infinity");
});
