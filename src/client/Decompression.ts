/**
 * Decoders of compressed record batches for every runtime, in a chunk of their own that is loaded with the first such
 * batch. What must stay true: no WebAssembly and no `eval`, so that any page may run it; no more than `maxOutput` bytes
 * are ever made, whatever the input claims.
 */
import { Decompress as ZstdStream } from "fzstd";
import { concatenated } from "../prelude/Concatenated.ts";
import { Codec, CompressionError } from "../record/Compression.ts";
import { decompressLz4 } from "../record/Lz4.ts";
import { decompressSnappy } from "../record/Snappy.ts";
import { zstdFrames } from "../record/Zstd.ts";
import type { Decompress } from "./ClientPlatform.ts";

/** What the zstd library itself refuses beyond unless told otherwise (its window log of 27). */
const MAX_WINDOW = 2 ** 27;

/** Throws (or rejects with) `CompressionError`. */
export const decompress: Decompress = (codec, bytes, maxOutput) => {
  switch (codec) {
    case Codec.lz4:
      return decompressLz4(bytes, maxOutput);
    case Codec.snappy:
      return decompressSnappy(bytes, maxOutput);
    case Codec.gzip:
      return gunzip(bytes, maxOutput);
    case Codec.zstd:
      return unzstd(bytes, maxOutput);
  }
};

/** Pieces of output, as long as they are not too many. */
class Output {
  private readonly pieces: Uint8Array[] = [];
  private length = 0;

  constructor(
    private readonly name: string,
    private readonly max: number,
  ) {}

  add(piece: Uint8Array): void {
    this.length += piece.length;
    if (this.length > this.max)
      throw new CompressionError("too-large", `${this.name}: more output than the ${this.max} bytes allowed`);
    this.pieces.push(piece);
  }

  join(): Uint8Array {
    const [first] = this.pieces;
    if (first !== undefined && this.pieces.length === 1) return first;
    return concatenated(this.pieces);
  }
}

const corrupt = (name: string, error: unknown): CompressionError =>
  error instanceof CompressionError
    ? error
    : new CompressionError("corrupt", `${name}: ${error instanceof Error ? error.message : String(error)}`);

const gunzip = async (bytes: Uint8Array, maxOutput: number): Promise<Uint8Array> => {
  const output = new Output("gzip", maxOutput);
  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  // What goes wrong is told by the readable side as well.
  const written = writer.write(bytes as Uint8Array<ArrayBuffer>).then(() => writer.close());
  written.catch(() => {});
  const reader = stream.readable.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return output.join();
      output.add(value);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw corrupt("gzip", error);
  }
};

/** A frame's window, which a decoder allocates before it has seen anything of the content. */
const windowOf = (bytes: Uint8Array, start: number): { readonly size: number; readonly isContent: boolean } => {
  const descriptor = bytes[start + 4]!;
  const byte = bytes[start + 5]!;
  if ((descriptor & 0x20) === 0) return { size: 2 ** (7 + (byte >>> 3)) * (8 + (byte & 7)), isContent: false };
  // A frame of one segment is its own window. Eight bytes of size are more than any batch has.
  const at = start + 5 + [0, 1, 2, 4][descriptor & 3]!;
  const flag = descriptor >>> 6;
  let size = flag === 1 ? 256 : flag === 3 ? Number.POSITIVE_INFINITY : 0;
  for (let index = 0; index < 1 << flag && flag < 3; index++) size += bytes[at + index]! * 2 ** (8 * index);
  return { size, isContent: true };
};

const unzstd = (bytes: Uint8Array, maxOutput: number): Uint8Array => {
  const frames = zstdFrames(bytes);
  if (frames === undefined) throw new CompressionError("corrupt", "zstd: not made of whole frames");
  for (const start of frames) {
    const { size, isContent } = windowOf(bytes, start);
    if (size > (isContent ? maxOutput : MAX_WINDOW))
      throw new CompressionError("too-large", `zstd: a window of ${size} bytes`);
  }
  const output = new Output("zstd", maxOutput);
  try {
    new ZstdStream((piece) => output.add(piece)).push(bytes, true);
    return output.join();
  } catch (error) {
    throw corrupt("zstd", error);
  }
};
