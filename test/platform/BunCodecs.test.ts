/** The four codecs on Bun: what other writers frame differently, and that no input makes more output than allowed. */
import { describe, expect, test } from "bun:test";
import zlib from "node:zlib";
import fc from "fast-check";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { Codec, type CompressionCodec, CompressionError, codecName } from "../../src/record/Compression.ts";
import { decompressLz4, xxHash32 } from "../../src/record/Lz4.ts";
import { decompressSnappy } from "../../src/record/Snappy.ts";

const codecs = makeBunCodecs();
const all: readonly CompressionCodec[] = [Codec.gzip, Codec.snappy, Codec.lz4, Codec.zstd];
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const concat = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const plain = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

/** The reason it is refused for, or what it decompresses to. */
const outcome = (decompress: () => Uint8Array): string | Uint8Array => {
  try {
    return plain(decompress());
  } catch (error) {
    if (error instanceof CompressionError) return error.reason;
    throw error;
  }
};
const decompress = (codec: CompressionCodec, bytes: Uint8Array, maxOutput = 1 << 24) =>
  outcome(() => codecs.decompress(codec, bytes, maxOutput));

/** Runs of bytes, so that there is something to compress; up to a few 64 KiB blocks. */
const content = fc
  .array(
    fc.tuple(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.oneof({ weight: 9, arbitrary: fc.nat(30) }, fc.nat(9000)),
    ),
    { maxLength: 20 },
  )
  .map((runs) => concat(...runs.flatMap(([bytes, times]) => Array.from({ length: times }, () => bytes))));

for (const codec of all) {
  describe(`${codecName(codec)}`, () => {
    test("any content comes back, with exactly its length allowed and not with a byte less", () => {
      fc.assert(
        fc.property(content, (bytes) => {
          const compressed = codecs.compress(codec, bytes);
          expect(decompress(codec, compressed, bytes.length)).toEqual(bytes);
          if (bytes.length > 0) expect(decompress(codec, compressed, bytes.length - 1)).toBe("too-large");
        }),
        { numRuns: 60 },
      );
    });

    test("any content comes back from every level", () => {
      const levels = { [Codec.gzip]: [1, 9], [Codec.snappy]: [], [Codec.lz4]: [1, 3, 8, 17], [Codec.zstd]: [-100, 19] };
      fc.assert(
        fc.property(content, fc.constantFrom(...levels[codec], undefined), (bytes, level) => {
          expect(decompress(codec, codecs.compress(codec, bytes, level), bytes.length)).toEqual(bytes);
        }),
        { numRuns: 30 },
      );
    });

    test("noise comes back too", () => {
      const noise = new Uint8Array(200_001);
      for (let index = 0, seed = 1; index < noise.length; index++) {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        noise[index] = seed >>> 16;
      }
      const compressed = codecs.compress(codec, noise);
      expect(compressed.length).toBeLessThan(noise.length * 1.01 + 100);
      expect(decompress(codec, compressed)).toEqual(noise);
    });

    test("the input is only read", () => {
      const bytes = utf8("abc".repeat(500));
      const compressed = plain(codecs.compress(codec, bytes));
      const copy = compressed.slice();
      codecs.decompress(codec, compressed, 10_000);
      expect(compressed).toEqual(copy);
      expect(bytes).toEqual(utf8("abc".repeat(500)));
    });

    test("a bomb stops at the limit", () => {
      const bomb = codecs.compress(codec, new Uint8Array(64 << 20));
      expect(decompress(codec, bomb, 1 << 20)).toBe("too-large");
    });

    test("nothing, garbage, every cut: corrupt", () => {
      const compressed = codecs.compress(codec, utf8("a stream that is cut ".repeat(20)));
      expect(decompress(codec, new Uint8Array(0))).toBe("corrupt");
      expect(decompress(codec, utf8("certainly not compressed"))).toBe("corrupt");
      // A xerial stream that is cut between its header and the first block is an empty one.
      for (let length = 1; length < compressed.length; length++)
        if (codec !== Codec.snappy || length !== 16)
          expect(decompress(codec, compressed.subarray(0, length))).toBe("corrupt");
    });

    test("changed bytes: an error of ours or some bytes, never more than allowed, and good input still works", () => {
      const bytes = utf8('{"user":"u17","event":"click"},'.repeat(30));
      const compressed = plain(codecs.compress(codec, bytes));
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }), (changes) => {
          const changed = compressed.slice();
          for (const [at, value] of changed.length > 0 ? changes : []) changed[at % changed.length] = value;
          const seen = decompress(codec, changed, 5000);
          if (typeof seen !== "string") expect(seen.length).toBeLessThanOrEqual(5000);
          // What the WASM answers is what the TypeScript would have.
          if (codec === Codec.lz4) expect(seen).toEqual(outcome(() => decompressLz4(changed, 5000)));
          if (codec === Codec.snappy) expect(seen).toEqual(outcome(() => decompressSnappy(changed, 5000)));
        }),
        { numRuns: 150 },
      );
      expect(decompress(codec, compressed)).toEqual(bytes);
    });
  });
}

describe("snappy of other writers", () => {
  test("without framing (librdkafka, Go)", () => {
    // "hello " as literals, then a copy of 12 bytes from 6 back.
    const raw = Uint8Array.of(18, 5 << 2, ...utf8("hello "), (11 << 2) | 2, 6, 0);
    expect(decompress(Codec.snappy, raw)).toEqual(utf8("hello hello hello "));
    expect(decompress(Codec.snappy, raw, 17)).toBe("too-large");
  });

  test("two xerial streams, one behind the other", () => {
    const stream = codecs.compress(Codec.snappy, utf8("hello hello hello "));
    expect(decompress(Codec.snappy, concat(stream, stream))).toEqual(utf8("hello hello hello ".repeat(2)));
  });

  test("a declared length is not believed", () => {
    expect(decompress(Codec.snappy, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 0, 65), 2 ** 32)).toBe("corrupt");
    expect(decompress(Codec.snappy, Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01), 2 ** 32)).toBe("corrupt");
  });
});

describe("LZ4 frames of other writers", () => {
  const uint32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
  const hello = utf8("hello hello hello ");
  // Literals "hello ", a match of 7 from 6 back, and the last five bytes as literals.
  const block = Uint8Array.of((6 << 4) | 3, ...utf8("hello "), 6, 0, 5 << 4, ...utf8("ello "));
  interface Frame {
    readonly flags: number;
    readonly blocks: Uint8Array[];
    readonly contentSize?: number;
    readonly stored?: boolean;
    readonly tail?: Uint8Array;
  }
  const frame = ({ flags, blocks, contentSize, stored, tail }: Frame): Uint8Array => {
    const sized = contentSize === undefined ? new Uint8Array(0) : concat(uint32(contentSize), uint32(0));
    const descriptor = concat(Uint8Array.of(0x40 | flags | (contentSize === undefined ? 0 : 8), 0x70), sized);
    return concat(
      uint32(0x184d2204),
      descriptor,
      Uint8Array.of(xxHash32(descriptor) >>> 8),
      ...blocks.flatMap((bytes) => [
        uint32((bytes.length | (stored ? 0x80000000 : 0)) >>> 0),
        bytes,
        flags & 0x10 ? uint32(xxHash32(bytes)) : new Uint8Array(0),
      ]),
      uint32(0),
      flags & 4 ? uint32(xxHash32(hello)) : new Uint8Array(0),
      tail ?? new Uint8Array(0),
    );
  };

  test("xxHash32 as its specification says", () => {
    expect(xxHash32(new Uint8Array(0))).toBe(0x02cc5d05);
    expect(xxHash32(utf8("abc"))).toBe(0x32d153ff);
    expect(xxHash32(utf8("Nobody inspects the spammish repetition"))).toBe(0xe2293b2f);
  });

  test("with and without content size, block checksums, content checksum, stored blocks, bytes behind the end", () => {
    for (const flags of [0x20, 0x30, 0x24, 0x34]) {
      for (const contentSize of [undefined, hello.length]) {
        const sized = contentSize === undefined ? {} : { contentSize };
        expect(decompress(Codec.lz4, frame({ flags, blocks: [block], ...sized }))).toEqual(hello);
        expect(decompress(Codec.lz4, frame({ flags, blocks: [hello], stored: true, ...sized }))).toEqual(hello);
        expect(decompress(Codec.lz4, frame({ flags, blocks: [block, block], ...sized }))).toEqual(concat(hello, hello));
      }
    }
    expect(decompress(Codec.lz4, frame({ flags: 0x20, blocks: [block], tail: utf8("behind") }))).toEqual(hello);
    expect(decompress(Codec.lz4, frame({ flags: 0x20, blocks: [] }))).toEqual(new Uint8Array(0));
  });

  test("refused as Java does: dependent blocks, a wrong header or block checksum, other versions", () => {
    expect(decompress(Codec.lz4, frame({ flags: 0, blocks: [block] }))).toBe("corrupt");
    const wrongHeader = frame({ flags: 0x20, blocks: [block] });
    wrongHeader[6] = wrongHeader[6]! ^ 1;
    expect(decompress(Codec.lz4, wrongHeader)).toBe("corrupt");
    const wrongBlock = frame({ flags: 0x30, blocks: [block] });
    wrongBlock[11 + block.length] = wrongBlock[11 + block.length]! ^ 1;
    expect(decompress(Codec.lz4, wrongBlock)).toBe("corrupt");
    expect(decompress(Codec.lz4, frame({ flags: 0xa0, blocks: [block] }))).toBe("corrupt");
  });

  test("an offset before its block is corrupt even when the frame has earlier bytes", () => {
    const backwards = Uint8Array.of(0x10, 65, 9, 0, 5 << 4, ...utf8("ello "));
    expect(decompress(Codec.lz4, frame({ flags: 0x20, blocks: [block, backwards] }))).toBe("corrupt");
  });
});

describe("several frames in a row, as Java's streams read them", () => {
  test("gzip members, zstd frames, a skippable frame between", () => {
    const member = zlib.gzipSync("hello ");
    expect(decompress(Codec.gzip, concat(member, member))).toEqual(utf8("hello hello "));
    const frame = zlib.zstdCompressSync("hello ");
    const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2);
    expect(decompress(Codec.zstd, concat(frame, skippable, frame))).toEqual(utf8("hello hello "));
    expect(decompress(Codec.zstd, concat(frame, frame), 11)).toBe("too-large");
    expect(decompress(Codec.zstd, concat(frame, utf8("behind!!")))).toBe("corrupt");
    expect(decompress(Codec.zstd, skippable)).toBe("corrupt");
  });

  test("a level is taken", () => {
    const bytes = utf8(Array.from({ length: 3000 }, (_, index) => `line ${index * 7919}`).join("\n"));
    for (const codec of [Codec.gzip, Codec.zstd] as const) {
      const fast = codecs.compress(codec, bytes, 1);
      const small = codecs.compress(codec, bytes, 9);
      expect(small.length).not.toBe(fast.length);
      expect(decompress(codec, small)).toEqual(bytes);
    }
  });
});
