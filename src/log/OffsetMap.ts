/**
 * The cleaner's map from keys to the highest offset each was seen at (Kafka's `SkimpyOffsetMap`): 24 bytes a key, a
 * 16-byte hash and the offset, in one typed array with open addressing. Keys are not kept: two keys with one hash would
 * be one key, so the hash is SipHash-1-3 with 128 bits under a key drawn for each map, which no producer can aim at.
 */
import { invariant } from "../prelude/Invariant.ts";
import type { Offset } from "../prelude/Types.ts";

const WORDS = 6;
export const BYTES_PER_KEY = WORDS * 4;
const HIGH = 0x1_0000_0000;

/** SipHash-1-3 of `bytes[start, end)`, 128 bits, into `target[at, at + 4)`. `key` is four words. */
export const sipHash128 = (
  key: ArrayLike<number>,
  bytes: Uint8Array,
  start: number,
  end: number,
  target: Uint32Array,
  at: number,
): void => {
  // Halves of four 64-bit words, in locals: one function, because calls and shared variables made it four times slower.
  let h0 = key[1]! ^ 0x736f6d65;
  let l0 = key[0]! ^ 0x70736575;
  let h1 = key[3]! ^ 0x646f7261;
  let l1 = key[2]! ^ 0x6e646f6d ^ 0xee;
  let h2 = key[1]! ^ 0x6c796765;
  let l2 = key[0]! ^ 0x6e657261;
  let h3 = key[3]! ^ 0x74656462;
  let l3 = key[2]! ^ 0x79746573;
  const length = end - start;
  const blocks = (length >>> 3) + 1;
  let position = start;
  // One round a block, then three for each half of the result.
  for (let step = 0; step < blocks + 6; step++) {
    let low = 0;
    let high = 0;
    if (step < blocks - 1) {
      low =
        bytes[position]! | (bytes[position + 1]! << 8) | (bytes[position + 2]! << 16) | (bytes[position + 3]! << 24);
      high =
        bytes[position + 4]! |
        (bytes[position + 5]! << 8) |
        (bytes[position + 6]! << 16) |
        (bytes[position + 7]! << 24);
      position += 8;
    } else if (step === blocks - 1) {
      high = (length & 0xff) << 24;
      for (let shift = 0; position < end; position++, shift += 8) {
        if (shift < 32) low |= bytes[position]! << shift;
        else high |= bytes[position]! << (shift - 32);
      }
    }
    h3 ^= high;
    l3 ^= low;
    let sum = (l0 + l1) | 0;
    h0 = (h0 + h1 + (sum >>> 0 < l0 >>> 0 ? 1 : 0)) | 0;
    l0 = sum;
    let turned = (h1 << 13) | (l1 >>> 19);
    l1 = ((l1 << 13) | (h1 >>> 19)) ^ l0;
    h1 = turned ^ h0;
    turned = h0;
    h0 = l0;
    l0 = turned;
    sum = (l2 + l3) | 0;
    h2 = (h2 + h3 + (sum >>> 0 < l2 >>> 0 ? 1 : 0)) | 0;
    l2 = sum;
    turned = (h3 << 16) | (l3 >>> 16);
    l3 = ((l3 << 16) | (h3 >>> 16)) ^ l2;
    h3 = turned ^ h2;
    sum = (l0 + l3) | 0;
    h0 = (h0 + h3 + (sum >>> 0 < l0 >>> 0 ? 1 : 0)) | 0;
    l0 = sum;
    turned = (h3 << 21) | (l3 >>> 11);
    l3 = ((l3 << 21) | (h3 >>> 11)) ^ l0;
    h3 = turned ^ h0;
    sum = (l2 + l1) | 0;
    h2 = (h2 + h1 + (sum >>> 0 < l2 >>> 0 ? 1 : 0)) | 0;
    l2 = sum;
    turned = (h1 << 17) | (l1 >>> 15);
    l1 = ((l1 << 17) | (h1 >>> 15)) ^ l2;
    h1 = turned ^ h2;
    turned = h2;
    h2 = l2;
    l2 = turned;
    h0 ^= high;
    l0 ^= low;
    if (step === blocks - 1) l2 ^= 0xee;
    else if (step === blocks + 2) {
      target[at] = l0 ^ l1 ^ l2 ^ l3;
      target[at + 1] = h0 ^ h1 ^ h2 ^ h3;
      l1 ^= 0xdd;
    }
  }
  target[at + 2] = l0 ^ l1 ^ l2 ^ l3;
  target[at + 3] = h0 ^ h1 ^ h2 ^ h3;
};

export class OffsetMap {
  private readonly words: Uint32Array;
  private readonly slots: number;
  private readonly most: number;
  private readonly hash = new Uint32Array(4);
  private entries = 0;
  /** Every record below was taken in; -1 before the first. Inclusive. */
  latestOffset: Offset = -1;

  /** `bytes`: memory to use; `loadFactor`: how full it may get (`log.cleaner.io.buffer.load.factor`). */
  constructor(
    bytes: number,
    loadFactor: number,
    private readonly key: ArrayLike<number>,
  ) {
    this.slots = Math.max(2, Math.floor(bytes / BYTES_PER_KEY));
    this.most = Math.max(1, Math.min(this.slots - 1, Math.floor(this.slots * loadFactor)));
    this.words = new Uint32Array(this.slots * WORDS);
  }

  get size(): number {
    return this.entries;
  }

  get isFull(): boolean {
    return this.entries >= this.most;
  }

  /** Notes that the key `bytes[start, end)` was seen at `offset`, which is above all noted before. Not when full. */
  put(bytes: Uint8Array, start: number, end: number, offset: Offset): void {
    const at = this.find(bytes, start, end);
    const { words, hash } = this;
    if (words[at + 4] === 0 && words[at + 5] === 0) {
      invariant(!this.isFull, "the offset map is full");
      this.entries++;
      words[at] = hash[0]!;
      words[at + 1] = hash[1]!;
      words[at + 2] = hash[2]!;
      words[at + 3] = hash[3]!;
    }
    // One more than the offset: zero means free.
    words[at + 4] = Math.floor((offset + 1) / HIGH);
    words[at + 5] = offset + 1;
  }

  /** The highest offset the key was seen at; -1 when it was not. */
  get(bytes: Uint8Array, start: number, end: number): Offset {
    const at = this.find(bytes, start, end);
    return this.words[at + 4]! * HIGH + this.words[at + 5]! - 1;
  }

  /** Where the key is, or the free slot where it would be. */
  private find(bytes: Uint8Array, start: number, end: number): number {
    const { words, hash, slots } = this;
    sipHash128(this.key, bytes, start, end, hash, 0);
    // The hash as a fraction: a product where a remainder would be a division.
    let slot = Math.floor((hash[0]! / HIGH) * slots);
    for (;;) {
      const at = slot * WORDS;
      if (words[at + 4] === 0 && words[at + 5] === 0) return at;
      if (
        words[at] === hash[0] &&
        words[at + 1] === hash[1] &&
        words[at + 2] === hash[2] &&
        words[at + 3] === hash[3]
      ) {
        return at;
      }
      slot = slot + 1 === slots ? 0 : slot + 1;
    }
  }
}
