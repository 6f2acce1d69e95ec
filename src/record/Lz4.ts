/**
 * LZ4 in its frame format (lz4_Frame_format.md 1.6.2), in plain TypeScript: exact bounds on every read, write and
 * output byte, no module to load, runs in a browser. Reads what Kafka's `KafkaLZ4BlockInputStream` reads (one frame,
 * independent blocks, block checksums verified, the content checksum not), writes what its output stream writes.
 */

import { CompressionError } from "./Compression.ts";

const MAGIC = 0x184d2204;
// Flags of a frame (the FLG byte).
const VERSION_MASK = 0xc0;
const VERSION_1 = 0x40;
const INDEPENDENT_BLOCKS = 0x20;
const BLOCK_CHECKSUM = 0x10;
const CONTENT_SIZE = 0x08;
const CONTENT_CHECKSUM = 0x04;
const RESERVED = 0x03;
/** A block's size has this bit when the block is stored as it is. */
const STORED = 0x8000_0000;
/** The BD byte of 64 KiB blocks, Kafka's. */
const BLOCK_64_KIB = 0x40;
const WRITTEN_BLOCK = 0x1_0000;
const MIN_MATCH = 4;
/** A match never covers a block's last 5 bytes and never begins in its last 12 (lz4_Block_format.md). */
const LAST_LITERALS = 5;
const MATCH_LIMIT = 12;
/** Up to this many bytes a loop beats a call. */
const SHORT_COPY = 32;

const corrupt = (what: string): CompressionError => new CompressionError("corrupt", `lz4: ${what}`);

const readUint32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;

const writeUint32 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
};

const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;
const PRIME_3 = 0xc2b2ae3d;
const PRIME_4 = 0x27d4eb2f;
const PRIME_5 = 0x165667b1;

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));
const round = (lane: number, input: number): number =>
  Math.imul(rotate((lane + Math.imul(input, PRIME_2)) | 0, 13), PRIME_1);

/** XXH32 with seed 0, unsigned. */
export const xxHash32 = (bytes: Uint8Array, start = 0, end = bytes.length): number => {
  let hash: number;
  let at = start;
  if (end - start >= 16) {
    let a = (PRIME_1 + PRIME_2) | 0;
    let b = PRIME_2 | 0;
    let c = 0;
    let d = -PRIME_1 | 0;
    for (; at <= end - 16; at += 16) {
      a = round(a, readUint32(bytes, at));
      b = round(b, readUint32(bytes, at + 4));
      c = round(c, readUint32(bytes, at + 8));
      d = round(d, readUint32(bytes, at + 12));
    }
    hash = (rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)) | 0;
  } else hash = PRIME_5;
  hash = (hash + end - start) | 0;
  for (; at <= end - 4; at += 4)
    hash = Math.imul(rotate((hash + Math.imul(readUint32(bytes, at), PRIME_3)) | 0, 17), PRIME_4);
  for (; at < end; at++) hash = Math.imul(rotate((hash + Math.imul(bytes[at]!, PRIME_5)) | 0, 11), PRIME_1);
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
  return (hash ^ (hash >>> 16)) >>> 0;
};

interface FrameHeader {
  readonly flags: number;
  readonly maxBlock: number;
  /** Where the first block's size is. */
  readonly blocksAt: number;
}

const readFrameHeader = (input: Uint8Array): FrameHeader => {
  if (input.length < 7 || readUint32(input, 0) !== MAGIC) throw corrupt("no frame");
  const flags = input[4]!;
  if ((flags & VERSION_MASK) !== VERSION_1 || (flags & RESERVED) !== 0) throw corrupt("unknown flags");
  if ((flags & INDEPENDENT_BLOCKS) === 0) throw corrupt("dependent blocks, which Kafka does not read");
  const blockSizeId = input[5]! >>> 4;
  if (blockSizeId < 4 || blockSizeId > 7 || (input[5]! & 0x0f) !== 0) throw corrupt("unknown block size");
  const at = flags & CONTENT_SIZE ? 14 : 6;
  if (at >= input.length) throw corrupt("cut in its header");
  if (input[at] !== ((xxHash32(input, 4, at) >>> 8) & 0xff)) throw corrupt("wrong header checksum");
  return { flags, maxBlock: 1 << (2 * blockSizeId + 8), blocksAt: at + 1 };
};

/** Visits the blocks up to the end mark, whose checksums are verified. */
const forEachBlock = (
  input: Uint8Array,
  visit: (start: number, end: number, stored: boolean, maxBlock: number) => void,
): void => {
  const { flags, maxBlock, blocksAt } = readFrameHeader(input);
  for (let at = blocksAt; ; ) {
    if (at + 4 > input.length) throw corrupt("no end mark");
    const field = readUint32(input, at);
    if (field === 0) {
      if (flags & CONTENT_CHECKSUM && at + 8 > input.length) throw corrupt("no content checksum");
      return;
    }
    const stored = field >= STORED;
    const start = at + 4;
    const end = start + (stored ? field - STORED : field);
    at = flags & BLOCK_CHECKSUM ? end + 4 : end;
    if (end - start > maxBlock) throw corrupt("a block is too large");
    if (at > input.length) throw corrupt("cut in a block");
    if (flags & BLOCK_CHECKSUM && readUint32(input, end) !== xxHash32(input, start, end))
      throw corrupt("wrong block checksum");
    visit(start, end, stored, maxBlock);
  }
};

/**
 * How many bytes the frame holds, by walking every sequence without copying one. A frame that passes can be decoded
 * without a further check. Throws `CompressionError`: `too-large` as soon as the sum passes `maxOutput`.
 */
export const lz4Size = (input: Uint8Array, maxOutput: number): number => {
  let total = 0;
  forEachBlock(input, (start, end, stored, maxBlock) => {
    total += stored ? end - start : blockSize(input, start, end, maxBlock);
    if (total > maxOutput) throw new CompressionError("too-large", "lz4: more output than allowed");
  });
  return total;
};

let lengthEnd = 0;

/** A length whose four bits in the token were all ones; leaves its end in `lengthEnd`. */
const readLength = (input: Uint8Array, at: number, end: number): number => {
  let length = 15;
  for (;;) {
    if (at >= end) throw corrupt("cut in a length");
    const more = input[at++]!;
    length += more;
    if (more < 255) {
      lengthEnd = at;
      return length;
    }
  }
};

const blockSize = (input: Uint8Array, start: number, end: number, maxBlock: number): number => {
  let at = start;
  let size = 0;
  while (at < end) {
    const token = input[at++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      literals = readLength(input, at, end);
      at = lengthEnd;
    }
    at += literals;
    size += literals;
    if (at > end) throw corrupt("literals behind the block");
    if (at === end) {
      if (size > maxBlock) throw corrupt("a block holds more than its frame allows");
      return size; // the last sequence has no match
    }
    if (at + 2 > end) throw corrupt("cut in an offset");
    const distance = input[at]! | (input[at + 1]! << 8);
    at += 2;
    if (distance === 0 || distance > size) throw corrupt("an offset before the block");
    let length = token & 15;
    if (length === 15) {
      length = readLength(input, at, end);
      at = lengthEnd;
    }
    size += length + MIN_MATCH;
  }
  throw corrupt("a block ends with a match");
};

/**
 * The content of the frame that `input` begins with; what follows its end mark is ignored, as Java does. Throws
 * `CompressionError`. Nothing is allocated by a declared size.
 */
export const decompressLz4 = (input: Uint8Array, maxOutput: number): Uint8Array => {
  const output = new Uint8Array(lz4Size(input, maxOutput));
  let to = 0;
  forEachBlock(input, (start, end, stored) => {
    if (stored) {
      output.set(input.subarray(start, end), to);
      to += end - start;
    } else to = decodeBlock(input, start, end, output, to);
  });
  return output;
};

/** Decodes a block that `blockSize` has passed, behind `to`, and answers the new length. */
const decodeBlock = (input: Uint8Array, start: number, end: number, output: Uint8Array, to: number): number => {
  let at = start;
  for (;;) {
    const token = input[at++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      literals = readLength(input, at, end);
      at = lengthEnd;
    }
    if (literals > SHORT_COPY) {
      output.set(input.subarray(at, at + literals), to);
      to += literals;
      at += literals;
    } else for (let left = literals; left > 0; left--) output[to++] = input[at++]!;
    if (at === end) return to;
    const distance = input[at]! | (input[at + 1]! << 8);
    at += 2;
    let length = token & 15;
    if (length === 15) {
      length = readLength(input, at, end);
      at = lengthEnd;
    }
    to = copyWithin(output, to, distance, length + MIN_MATCH);
  }
};

/** Repeats `length` bytes from `distance` back, overlapping as LZ77 wants it; answers where they end. */
export const copyWithin = (output: Uint8Array, to: number, distance: number, length: number): number => {
  const end = to + length;
  if (length <= SHORT_COPY) {
    for (let from = to - distance; to < end; ) output[to++] = output[from++]!;
    return end;
  }
  // Double what can be copied until the rest fits.
  const from = to - distance;
  for (let run = distance; to < end; run *= 2) {
    const count = Math.min(run, end - to);
    output.copyWithin(to, from, from + count);
    to += count;
  }
  return end;
};

const HASH_BITS = 14;
/** Where a hash of four bytes was seen last, plus one. */
const seen = new Int32Array(1 << HASH_BITS);
/** By the low bits of a position: how far back its hash was seen before; 0: not in reach. */
const earlier = new Uint16Array(WRITTEN_BLOCK);

/** Kafka's default: its clients' fast encoder, which looks at one candidate. */
const FAST_LEVEL = 9;
/** Candidates that the highest levels look at: more would make a block cost seconds and hardly one byte less. */
const MOST_CANDIDATES = 4096;

/**
 * One frame of independent 64 KiB blocks without checksums, as Kafka's Java clients write it. `level` is that of
 * `compression.lz4.level`, 1 to 17: any but the default looks at 2^(level − 1) earlier places for the longest match.
 */
export const compressLz4 = (input: Uint8Array, level = FAST_LEVEL): Uint8Array => {
  const candidates = level === FAST_LEVEL ? 0 : Math.min(MOST_CANDIDATES, 2 ** (level - 1));
  const blocks = Math.ceil(input.length / WRITTEN_BLOCK);
  const output = new Uint8Array(7 + input.length + 4 * blocks + 4);
  writeUint32(output, 0, MAGIC);
  output[4] = VERSION_1 | INDEPENDENT_BLOCKS;
  output[5] = BLOCK_64_KIB;
  output[6] = xxHash32(output, 4, 6) >>> 8;
  let to = 7;
  seen.fill(0);
  for (let start = 0; start < input.length; start += WRITTEN_BLOCK) {
    const end = Math.min(start + WRITTEN_BLOCK, input.length);
    const limit = to + 4 + end - start - 1;
    const compressedEnd =
      candidates === 0
        ? encodeBlock(input, start, end, output, to + 4, limit)
        : encodeBlockSearching(input, start, end, output, to + 4, limit, candidates);
    if (compressedEnd < 0) {
      writeUint32(output, to, (end - start) | STORED);
      output.set(input.subarray(start, end), to + 4);
      to += 4 + end - start;
    } else {
      writeUint32(output, to, compressedEnd - to - 4);
      to = compressedEnd;
    }
  }
  writeUint32(output, to, 0);
  return output.subarray(0, to + 4);
};

const hashOf = (four: number): number => Math.imul(four, PRIME_1) >>> (32 - HASH_BITS);

/** Writes one block at `to`, or answers -1 when it would pass `limit`: then it is not worth it. */
const encodeBlock = (
  input: Uint8Array,
  start: number,
  end: number,
  output: Uint8Array,
  to: number,
  limit: number,
): number => {
  let anchor = start;
  let at = start;
  const lastMatch = end - MATCH_LIMIT;
  const matchEnd = end - LAST_LITERALS;
  let misses = 0;
  while (at < lastMatch) {
    const four = readUint32(input, at);
    const hash = hashOf(four);
    const candidate = seen[hash]! - 1;
    seen[hash] = at + 1;
    if (candidate < start || at - candidate > 0xffff || readUint32(input, candidate) !== four) {
      at += 1 + (misses++ >>> 6);
      continue;
    }
    misses = 0;
    let length = MIN_MATCH;
    while (at + length < matchEnd && input[candidate + length] === input[at + length]) length++;
    to = writeMatch(input, anchor, at, at - candidate, length, output, to, limit);
    if (to < 0) return -1;
    at += length;
    anchor = at;
  }
  return writeLast(input, anchor, end, output, to, limit);
};

/** As `encodeBlock`, but every position is known and the longest of so many `candidates` is taken. */
const encodeBlockSearching = (
  input: Uint8Array,
  start: number,
  end: number,
  output: Uint8Array,
  to: number,
  limit: number,
  candidates: number,
): number => {
  let anchor = start;
  let at = start;
  let known = start;
  const lastMatch = end - MATCH_LIMIT;
  const matchEnd = end - LAST_LITERALS;
  while (at < lastMatch) {
    for (; known <= at; known++) {
      const hash = hashOf(readUint32(input, known));
      const before = seen[hash]! - 1;
      earlier[known & (WRITTEN_BLOCK - 1)] = before < start ? 0 : known - before;
      seen[hash] = known + 1;
    }
    let longest = MIN_MATCH - 1;
    let distance = 0;
    let candidate = at;
    for (let left = candidates; left > 0 && at + longest < matchEnd; left--) {
      const back = earlier[candidate & (WRITTEN_BLOCK - 1)]!;
      if (back === 0) break;
      candidate -= back;
      if (input[candidate + longest] !== input[at + longest]) continue;
      let length = 0;
      while (at + length < matchEnd && input[candidate + length] === input[at + length]) length++;
      if (length <= longest) continue;
      longest = length;
      distance = at - candidate;
    }
    if (distance === 0) {
      at++;
      continue;
    }
    to = writeMatch(input, anchor, at, distance, longest, output, to, limit);
    if (to < 0) return -1;
    at += longest;
    anchor = at;
  }
  return writeLast(input, anchor, end, output, to, limit);
};

/** The literals before a match, and the match; -1 when that would pass the limit. */
const writeMatch = (
  input: Uint8Array,
  anchor: number,
  at: number,
  distance: number,
  length: number,
  output: Uint8Array,
  to: number,
  limit: number,
): number => {
  const literals = at - anchor;
  if (to + literals + 8 + (((literals + length) / 255) | 0) > limit) return -1;
  let behind = writeSequence(input, anchor, literals, output, to, length - MIN_MATCH);
  output[behind++] = distance;
  output[behind++] = distance >>> 8;
  return writeLength(output, behind, length - MIN_MATCH);
};

/** The literals that end a block; -1 when they would pass the limit. */
const writeLast = (
  input: Uint8Array,
  anchor: number,
  end: number,
  output: Uint8Array,
  to: number,
  limit: number,
): number => {
  const literals = end - anchor;
  if (to + literals + 2 + ((literals / 255) | 0) > limit) return -1;
  return writeSequence(input, anchor, literals, output, to, 0);
};

/** A sequence's token and its literals. */
const writeSequence = (
  input: Uint8Array,
  from: number,
  literals: number,
  output: Uint8Array,
  to: number,
  match: number,
): number => {
  output[to++] = (Math.min(literals, 15) << 4) | Math.min(match, 15);
  to = writeLength(output, to, literals);
  if (literals > SHORT_COPY) output.set(input.subarray(from, from + literals), to);
  else for (let index = 0; index < literals; index++) output[to + index] = input[from + index]!;
  return to + literals;
};

/** What of a length did not fit into its four bits of the token. */
const writeLength = (output: Uint8Array, to: number, length: number): number => {
  if (length < 15) return to;
  let rest = length - 15;
  for (; rest >= 255; rest -= 255) output[to++] = 255;
  output[to++] = rest;
  return to;
};
