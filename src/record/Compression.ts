/**
 * The codecs of a record batch: their ids and the port through which record batches are (de)compressed. Whatever fills
 * the port (native code in the broker, WASM in a browser) must be synchronous, pure and bounded: it never makes more
 * output than it was allowed.
 */

/** Kafka's `CompressionType` ids: bits 0–2 of a batch's attributes. */
export const Codec = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;

/** One of the four that compress. */
export type CompressionCodec = 1 | 2 | 3 | 4;
/** One of the four that compress, or none. */
export type CodecId = 0 | CompressionCodec;

const NAMES = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
export type CodecName = (typeof NAMES)[number];

/** Kafka's name of a codec, as in `compression.type`; undefined for the ids 5–7, which mean nothing. */
export const codecName = (codec: number): CodecName | undefined => NAMES[codec];

export const isCompressionCodec = (codec: number): codec is CompressionCodec => codec >= 1 && codec <= 4;

/** `corrupt`: not of this codec, or cut, or its own checksum is wrong. `too-large`: the output would pass its limit. */
export type CompressionErrorReason = "corrupt" | "too-large";

export class CompressionError extends Error {
  override readonly name = "CompressionError";
  readonly reason: CompressionErrorReason;

  constructor(reason: CompressionErrorReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

export interface Codecs {
  /**
   * The bytes that `bytes` stand for, at most `maxOutput` of them; `bytes` is only read. The output is the caller's.
   * Throws `CompressionError` and nothing else, after at most about `maxOutput` bytes of work.
   */
  readonly decompress: (codec: CompressionCodec, bytes: Uint8Array, maxOutput: number) => Uint8Array;
  /**
   * `bytes` compressed in the framing Kafka's Java clients write. `level` as in `compression.gzip.level`,
   * `compression.lz4.level` and `compression.zstd.level`; the default is Kafka's, snappy has none.
   */
  readonly compress: (codec: CompressionCodec, bytes: Uint8Array, level?: number) => Uint8Array;
}
