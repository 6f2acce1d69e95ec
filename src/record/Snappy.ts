/**
 * Snappy (google/snappy format_description.txt) in plain TypeScript, bare and in xerial's framing: Java clients frame,
 * librdkafka and others do not, so both are read; what is written is framed as Java does it. Exact bounds on every
 * read, write and output byte; nothing to load, runs in a browser.
 */

import { CompressionError } from "./Compression.ts";
import { copyWithin } from "./Lz4.ts";

/** snappy-java's `SnappyCodec.MAGIC_HEADER`. */
const XERIAL_MAGIC = Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0);
/** Magic, version and oldest compatible version. */
const XERIAL_HEADER = 16;
/** snappy-java's default block. */
const WRITTEN_BLOCK = 0x8000;
/** No element makes more than 64 bytes of 3. */
const MAX_RATIO = 22;
const SHORT_COPY = 32;

const corrupt = (what: string): CompressionError => new CompressionError("corrupt", `snappy: ${what}`);

const readInt32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;

const hasXerialMagic = (bytes: Uint8Array, at: number): boolean => {
  if (at + XERIAL_HEADER > bytes.length) return false;
  for (let index = 0; index < XERIAL_MAGIC.length; index++) if (bytes[at + index] !== XERIAL_MAGIC[index]) return false;
  return true;
};

let preambleEnd = 0;

/** The length a block says it has; its elements begin at `preambleEnd`. */
const readPreamble = (input: Uint8Array, start: number, end: number): number => {
  let length = 0;
  for (let shift = 0, at = start; shift < 35 && at < end; shift += 7) {
    const byte = input[at++]!;
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) {
      preambleEnd = at;
      if (length > MAX_RATIO * (end - at)) throw corrupt("a block cannot be as long as it says");
      return length;
    }
  }
  throw corrupt("no length");
};

/**
 * Decodes one block, which is well-formed and stands for `end - start` bytes, into `output[start, end)`.
 */
export type SnappyBlockDecoder = (block: Uint8Array, output: Uint8Array, start: number, end: number) => void;

/** The decoder in TypeScript. */
export const decodeSnappyBlock: SnappyBlockDecoder = (block, output, start) => {
  readPreamble(block, 0, block.length);
  decodeElements(block, preambleEnd, output, start);
};

/** What `input` stands for, in either framing, by `decode`. Throws `CompressionError`. */
export const decompressSnappy = (input: Uint8Array, maxOutput: number, decode = decodeSnappyBlock): Uint8Array => {
  // Every element is walked before one is copied: a single allocation, and none for a stream that is not whole.
  let total = 0;
  forEachBlock(input, (start, end) => {
    total += readPreamble(input, start, end);
    if (total > maxOutput) throw new CompressionError("too-large", "snappy: more output than allowed");
    checkElements(input, start, end);
  });
  const output = new Uint8Array(total);
  let to = 0;
  forEachBlock(input, (start, end) => {
    const next = to + readPreamble(input, start, end);
    decode(input.subarray(start, end), output, to, next);
    to = next;
  });
  return output;
};

/** Visits the blocks of a xerial stream (a header in its midst begins another one), or the one that `input` is. */
const forEachBlock = (input: Uint8Array, visit: (start: number, end: number) => void): void => {
  if (!hasXerialMagic(input, 0)) {
    visit(0, input.length);
    return;
  }
  let at = XERIAL_HEADER;
  while (at < input.length) {
    if (hasXerialMagic(input, at)) {
      at += XERIAL_HEADER;
      continue;
    }
    if (at + 4 > input.length) throw corrupt("cut in a chunk's length");
    const start = at + 4;
    const end = start + readInt32(input, at);
    if (end <= start || end > input.length) throw corrupt("cut in a chunk");
    visit(start, end);
    at = end;
  }
};

/** The length of a literal whose tag has no room for it: 1–4 bytes, least significant first. */
const longLiteral = (input: Uint8Array, at: number, bytes: number): number => {
  let length = 1;
  for (let index = 0; index < bytes; index++) length += input[at + index]! * 2 ** (8 * index);
  return length;
};

/** Walks the elements of a block: they stay inside it, copy only what is there and make what the preamble says. */
const checkElements = (input: Uint8Array, start: number, end: number): void => {
  const total = readPreamble(input, start, end);
  let at = preambleEnd;
  let made = 0;
  while (at < end) {
    const tag = input[at++]!;
    const kind = tag & 3;
    if (kind === 0) {
      let length = (tag >>> 2) + 1;
      if (length > 60) {
        const bytes = length - 60;
        if (at + bytes > end) throw corrupt("cut in a length");
        length = longLiteral(input, at, bytes);
        at += bytes;
      }
      at += length;
      made += length;
      if (at > end) throw corrupt("literals behind the block");
      continue;
    }
    const bytes = kind === 3 ? 4 : kind;
    if (at + bytes > end) throw corrupt("cut in a copy");
    const distance = copyDistance(input, at, tag);
    if (distance === 0 || distance > made) throw corrupt("a copy from before the block");
    made += kind === 1 ? 4 + ((tag >>> 2) & 7) : 1 + (tag >>> 2);
    at += bytes;
  }
  if (made !== total) throw corrupt("not as long as the block says");
};

/** How far back a copy reaches; its tag is before `at`. */
const copyDistance = (input: Uint8Array, at: number, tag: number): number => {
  const kind = tag & 3;
  if (kind === 1) return ((tag >>> 5) << 8) | input[at]!;
  const low = input[at]! | (input[at + 1]! << 8);
  return kind === 2 ? low : low + (input[at + 2]! << 16) + input[at + 3]! * 0x100_0000;
};

/** Decodes elements that `checkElements` has passed, from `at` to the end of `input`, behind `to`. */
const decodeElements = (input: Uint8Array, at: number, output: Uint8Array, to: number): void => {
  while (at < input.length) {
    const tag = input[at++]!;
    const kind = tag & 3;
    if (kind === 0) {
      let length = (tag >>> 2) + 1;
      if (length > 60) {
        const bytes = length - 60;
        length = longLiteral(input, at, bytes);
        at += bytes;
      }
      if (length > SHORT_COPY) {
        output.set(input.subarray(at, at + length), to);
        to += length;
        at += length;
      } else for (let left = length; left > 0; left--) output[to++] = input[at++]!;
      continue;
    }
    const distance = copyDistance(input, at, tag);
    at += kind === 3 ? 4 : kind;
    to = copyWithin(output, to, distance, kind === 1 ? 4 + ((tag >>> 2) & 7) : 1 + (tag >>> 2));
  }
};

const HASH_BITS = 14;
/** Where a hash of four bytes was seen last, plus one. */
const seen = new Int32Array(1 << HASH_BITS);

/** A xerial stream of 32 KiB blocks, as Kafka's Java clients write it. */
export const compressSnappy = (input: Uint8Array): Uint8Array => {
  const blocks = Math.ceil(input.length / WRITTEN_BLOCK);
  const output = new Uint8Array(XERIAL_HEADER + input.length + Math.ceil(input.length / 6) + blocks * 40);
  output.set(XERIAL_MAGIC);
  output[11] = 1; // version
  output[15] = 1; // oldest version that can read it
  let to = XERIAL_HEADER;
  seen.fill(0);
  for (let start = 0; start < input.length; start += WRITTEN_BLOCK) {
    const end = Math.min(start + WRITTEN_BLOCK, input.length);
    const blockEnd = encodeBlock(input, start, end, output, to + 4);
    const size = blockEnd - to - 4;
    output[to] = size >>> 24;
    output[to + 1] = size >>> 16;
    output[to + 2] = size >>> 8;
    output[to + 3] = size;
    to = blockEnd;
  }
  return output.subarray(0, to);
};

const encodeBlock = (input: Uint8Array, start: number, end: number, output: Uint8Array, to: number): number => {
  let length = end - start;
  for (; length >= 0x80; length >>>= 7) output[to++] = length | 0x80;
  output[to++] = length;
  let anchor = start;
  let at = start;
  let misses = 0;
  while (at + 4 <= end) {
    const four = readInt32(input, at);
    const hash = Math.imul(four, 0x1e35a7bd) >>> (32 - HASH_BITS);
    const candidate = seen[hash]! - 1;
    seen[hash] = at + 1;
    if (candidate < start || readInt32(input, candidate) !== four) {
      at += 1 + (misses++ >>> 5);
      continue;
    }
    misses = 0;
    let match = 4;
    while (at + match < end && input[candidate + match] === input[at + match]) match++;
    to = writeLiterals(input, anchor, at, output, to);
    to = writeCopies(output, to, at - candidate, match);
    at += match;
    anchor = at;
  }
  return writeLiterals(input, anchor, end, output, to);
};

const writeLiterals = (input: Uint8Array, from: number, end: number, output: Uint8Array, to: number): number => {
  const length = end - from;
  if (length === 0) return to;
  const code = length - 1;
  if (code < 60) output[to++] = code << 2;
  else if (code < 0x100) {
    output[to++] = 60 << 2;
    output[to++] = code;
  } else {
    output[to++] = 61 << 2;
    output[to++] = code;
    output[to++] = code >>> 8;
  }
  if (length > SHORT_COPY) output.set(input.subarray(from, end), to);
  else for (let index = 0; index < length; index++) output[to + index] = input[from + index]!;
  return to + length;
};

/** A match as copies with 2-byte offsets, each of at most 64 bytes and none too short to be worth it. */
const writeCopies = (output: Uint8Array, to: number, distance: number, match: number): number => {
  for (let left = match; left > 0; ) {
    const length = left > 64 ? (left < 68 ? 60 : 64) : left;
    output[to++] = ((length - 1) << 2) | 2;
    output[to++] = distance;
    output[to++] = distance >>> 8;
    left -= length;
  }
  return to;
};
