/**
 * The `Codecs` port on Bun: gzip and zstd by `node:zlib`, bounded by `maxOutputLength`; LZ4 and snappy by the WASM of
 * `@platformatic/wasm-utils`, which is three times as fast as ours in TypeScript but knows no limit, takes some
 * malformed blocks, traps on others and can answer bad LZ4 with nothing. So it only sees input that was walked, its
 * answer must have the length the walk found, after a trap its instance is replaced, and whatever it does not give is
 * decoded in TypeScript. Both are loaded on first use: `node:zlib` alone takes 20 ms, which no start-up should pay.
 */

import { Codec, type Codecs, type CompressionCodec, CompressionError } from "../record/Compression.ts";
import { compressLz4, decompressLz4, lz4Size } from "../record/Lz4.ts";
import { compressSnappy, decodeSnappyBlock, decompressSnappy } from "../record/Snappy.ts";
import { isWholeZstd } from "../record/Zstd.ts";

/** WASM memory never shrinks: whatever needs more of it than this (in or out) goes through TypeScript. */
const MAX_WASM_BYTES = 16 * 1024 * 1024;
/** What `node:zlib` accepts as a limit. */
const MAX_ZLIB_OUTPUT = 0xffff_ffff;

/** zlib's own, too small for a large batch: putting the pieces together takes as long as decompressing. */
const SMALL_CHUNK = 16 * 1024;
const LARGE_CHUNK = 512 * 1024;
const gzipChunk = (compressed: number): number => Math.min(LARGE_CHUNK, Math.max(SMALL_CHUNK, 4 * compressed));

const zlib = (): typeof import("node:zlib") => require("node:zlib");

interface Wasm {
  readonly lz4Decompress: (bytes: Uint8Array) => Uint8Array;
  readonly snappyDecompress: (bytes: Uint8Array) => Uint8Array;
}

/** One set of codecs; its WASM instance is its own. */
export const makeBunCodecs = (): Codecs => {
  const wasm = new WasmDecoders();
  return {
    decompress: (codec, bytes, maxOutput) => {
      switch (codec) {
        case Codec.gzip:
          return bounded("gzip", maxOutput, (maxOutputLength) =>
            zlib().gunzipSync(bytes, { maxOutputLength, chunkSize: gzipChunk(bytes.length) }),
          );
        case Codec.zstd:
          if (!isWholeZstd(bytes)) throw new CompressionError("corrupt", "zstd: not made of whole frames");
          return bounded("zstd", maxOutput, (maxOutputLength) => zlib().zstdDecompressSync(bytes, { maxOutputLength }));
        case Codec.lz4:
          return wasm.lz4(bytes, maxOutput);
        case Codec.snappy:
          return wasm.snappy(bytes, maxOutput);
      }
    },
    compress,
  };
};

const compress = (codec: CompressionCodec, bytes: Uint8Array, level?: number): Uint8Array => {
  switch (codec) {
    case Codec.gzip:
      return gzip(bytes, level);
    case Codec.zstd:
      return zlib().zstdCompressSync(
        bytes,
        level === undefined ? {} : { params: { [zlib().constants.ZSTD_c_compressionLevel]: level } },
      );
    case Codec.lz4:
      return compressLz4(bytes, level);
    case Codec.snappy:
      return compressSnappy(bytes);
  }
};

/** Kafka's default, −1, leaves the level to the library. */
const LIBRARY_LEVEL = -1;

/**
 * An asked level is zlib's. Where it is ours to choose and Bun is there it is 5 of libdeflate: as small as zlib's own
 * default, in less than half of the time.
 */
const gzip = (bytes: Uint8Array, level = LIBRARY_LEVEL): Uint8Array =>
  level === LIBRARY_LEVEL && typeof Bun !== "undefined"
    ? Bun.gzipSync(bytes as Uint8Array<ArrayBuffer>, { library: "libdeflate", level: 5 })
    : zlib().gzipSync(bytes, { level });

/** Runs a zlib decoder and gives its errors the port's names. */
const bounded = (name: string, maxOutput: number, decode: (maxOutputLength: number) => Uint8Array): Uint8Array => {
  let output: Uint8Array;
  try {
    output = decode(Math.min(Math.max(maxOutput, 1), MAX_ZLIB_OUTPUT));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ERR_BUFFER_TOO_LARGE")
      throw new CompressionError("too-large", `${name}: more output than the ${maxOutput} bytes allowed`);
    throw new CompressionError("corrupt", `${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (output.length > maxOutput) throw new CompressionError("too-large", `${name}: more output than allowed`);
  return output;
};

class WasmDecoders {
  #wasm: Wasm | undefined;

  lz4(bytes: Uint8Array, maxOutput: number): Uint8Array {
    const size = lz4Size(bytes, maxOutput);
    if (size > 0 && size <= MAX_WASM_BYTES && bytes.length <= MAX_WASM_BYTES) {
      const output = this.#run((wasm) => wasm.lz4Decompress(bytes));
      if (output?.length === size) return output;
    }
    return decompressLz4(bytes, maxOutput);
  }

  snappy(bytes: Uint8Array, maxOutput: number): Uint8Array {
    return decompressSnappy(bytes, maxOutput, (block, output, start, end) => {
      if (end - start <= MAX_WASM_BYTES && block.length <= MAX_WASM_BYTES && end > start) {
        const decoded = this.#run((wasm) => wasm.snappyDecompress(block));
        if (decoded?.length === end - start) return output.set(decoded, start);
      }
      decodeSnappyBlock(block, output, start, end);
    });
  }

  /** Undefined when it trapped or there is no WASM here: the TypeScript implementation then has the last word. */
  #run(decode: (wasm: Wasm) => Uint8Array): Uint8Array | undefined {
    try {
      return decode((this.#wasm ??= this.#load()));
    } catch {
      this.#wasm = undefined;
      return undefined;
    }
  }

  /** A new instance: the module makes one when it is evaluated, so it must not come from the cache. */
  #load(): Wasm {
    delete require.cache[require.resolve("@platformatic/wasm-utils/bundled")];
    return require("@platformatic/wasm-utils/bundled");
  }
}
