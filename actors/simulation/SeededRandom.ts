/**
 * Random choices from a seed: xoshiro128** (Blackman and Vigna) filled by splitmix32. What must stay true: the same seed
 * gives the same numbers on every machine, and `fork` gives a stream of its own, so that one part drawing more numbers
 * shifts no other part's choices.
 */

import { uuidFromBytes } from "../../src/platform/BunRandom.ts";
import type { Random } from "../../src/platform/Random.ts";
import type { Uuid } from "../../src/prelude/Types.ts";

const textSeed = (text: string): number => {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
};

export class SeededRandom implements Random {
  private a: number;
  private b: number;
  private c: number;
  private d: number;
  private readonly root: string;

  constructor(seed: number | string) {
    this.root = String(seed);
    // Both the number's hash and its length take part, so that near seeds share nothing.
    let state = textSeed(`odradek ${this.root}`);
    const next = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let word = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
      word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
      return (word ^ (word >>> 16)) >>> 0;
    };
    this.a = next();
    this.b = next();
    this.c = next();
    this.d = next() | 1;
  }

  /** A stream that depends on this one's seed and the name only, not on what was drawn. */
  fork(name: string): SeededRandom {
    return new SeededRandom(`${this.root}/${name}`);
  }

  /** 32 random bits. */
  word(): number {
    const scrambled = Math.imul(this.b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const shifted = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= shifted;
    this.d = (this.d << 11) | (this.d >>> 21);
    return result;
  }

  below(bound: number): number {
    if (bound <= 1) return 0;
    const limit = 0x100000000 - (0x100000000 % bound);
    let value = this.word();
    while (value >= limit) value = this.word();
    return value % bound;
  }

  /** An integer, first and last inclusive. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }

  /** A number, `0 ≤ result < 1`. */
  fraction(): number {
    return this.word() / 0x100000000;
  }

  chance(probability: number): boolean {
    return probability > 0 && this.fraction() < probability;
  }

  pick<A>(choices: ReadonlyArray<A>): A {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new RangeError("nothing to pick from");
    return choice;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 4) {
      let word = this.word();
      for (let i = at; i < Math.min(length, at + 4); i++) {
        bytes[i] = word & 0xff;
        word >>>= 8;
      }
    }
    return bytes;
  }

  uuid(): Uuid {
    for (;;) {
      const text = uuidFromBytes(this.bytes(16));
      if (text !== undefined) return text;
    }
  }
}
