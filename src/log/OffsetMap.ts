/**
 * The cleaner's map from keys to the highest offset each was seen at (Kafka's `SkimpyOffsetMap`): 24 bytes a key, a
 * 16-byte hash and the offset, in one typed array with open addressing. Keys are not kept: two keys with one hash would
 * be one key, so the hash is one of 128 bits under a key drawn for each map, which no producer can aim at.
 *
 * Keys are staged and then looked for together: the map is larger than any cache, and places that are asked for one
 * behind the other arrive from memory at the same time.
 */
import { halfSipHash128 } from "../prelude/HalfSipHash.ts";
import { invariant } from "../prelude/Invariant.ts";
import type { Offset } from "../prelude/Types.ts";
import { Fate, type RecordFates } from "./RecordFates.ts";

const WORDS = 6;
export const BYTES_PER_KEY = WORDS * 4;
const HIGH = 0x1_0000_0000;
/** Keys staged at a time: their places fit into the first cache. */
const STAGED = 256;

export class OffsetMap {
  private readonly words: Uint32Array;
  private readonly slots: number;
  private readonly most: number;
  private readonly hashes = new Uint32Array(4 * STAGED);
  private readonly places = new Float64Array(STAGED);
  private readonly offsets = new Float64Array(STAGED);
  private staged = 0;
  private entries = 0;
  /** Every record below was taken in; -1 before the first. Inclusive. */
  latestOffset: Offset = -1;
  /** So that fetching the places is not for nothing. */
  protected fetched = 0;

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

  /** Hashes the key `bytes[start, end)` of the record at `offset`; answers whether no more may be staged. */
  stage(bytes: Uint8Array, start: number, end: number, offset: Offset): boolean {
    const at = this.staged++;
    invariant(at < STAGED, "no more keys than there is room for are staged");
    halfSipHash128(this.key, bytes, start, end, this.hashes, 4 * at);
    // The hash as a fraction: a product where a remainder would be a division.
    this.places[at] = WORDS * Math.floor((this.hashes[4 * at]! / HIGH) * this.slots);
    this.offsets[at] = offset;
    return this.staged === STAGED;
  }

  /**
   * Notes the staged keys, whose offsets are above all noted before, and which older records they supersede. False when
   * the map was full before all were in.
   */
  takeStaged(fates: RecordFates): boolean {
    const { words, hashes, offsets, staged } = this;
    this.fetch();
    for (let index = 0; index < staged; index++) {
      if (this.isFull) return false;
      const at = this.find(index);
      const before = words[at + 4]! * HIGH + words[at + 5]! - 1;
      if (before >= 0) fates.mark(before, Fate.superseded);
      else {
        this.entries++;
        words[at] = hashes[4 * index]!;
        words[at + 1] = hashes[4 * index + 1]!;
        words[at + 2] = hashes[4 * index + 2]!;
        words[at + 3] = hashes[4 * index + 3]!;
      }
      // One more than the offset: zero means free.
      const after = offsets[index]! + 1;
      words[at + 4] = Math.floor(after / HIGH);
      words[at + 5] = after;
    }
    return true;
  }

  /** Marks which of the staged records were seen at a higher offset, that is superseded. */
  judgeStaged(fates: RecordFates): void {
    const { words, offsets, staged } = this;
    this.fetch();
    for (let index = 0; index < staged; index++) {
      const at = this.find(index);
      if (words[at + 4]! * HIGH + words[at + 5]! - 1 > offsets[index]!) fates.mark(offsets[index]!, Fate.superseded);
    }
  }

  /** Nothing is staged any more; the places of what was are asked for all at once. */
  private fetch(): void {
    const { words, places, staged } = this;
    let fetched = 0;
    for (let index = 0; index < staged; index++) fetched ^= words[places[index]! + 4]!;
    this.fetched = fetched;
    this.staged = 0;
  }

  /** Where the staged key is, or the free slot where it would be. */
  private find(index: number): number {
    const { words, hashes } = this;
    const first = hashes[4 * index]!;
    const second = hashes[4 * index + 1]!;
    for (let at = this.places[index]!; ; at = at + WORDS === words.length ? 0 : at + WORDS) {
      if (words[at + 4] === 0 && words[at + 5] === 0) return at;
      if (
        words[at] === first &&
        words[at + 1] === second &&
        words[at + 2] === hashes[4 * index + 2] &&
        words[at + 3] === hashes[4 * index + 3]
      ) {
        return at;
      }
    }
  }
}
