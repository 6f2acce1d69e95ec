/** The keyed hash of the cleaner's map, against the published vectors of HalfSipHash-2-4 with 64 bits. */
import { describe, expect, test } from "bun:test";
import { halfSipHash128 } from "../../src/prelude/HalfSipHash.ts";

/** Of the messages of no byte, 0; 0, 1; …, under the key 0 … 7 (vectors.h of the reference implementation). */
const VECTORS = [
  "218d1f59b9b83cc8",
  "be552412f8387315",
  "064f39ef7c50eb57",
  "ce0f1a45f7060679",
  "d5e78a175be52ea1",
  "cb9d7c3f2f3db580",
  "ce3e91358aa2bc25",
];
const KEY = [0x03020100, 0x07060504];

const hash = (key: readonly number[], bytes: Uint8Array, start = 0, end = bytes.length): string[] => {
  const target = new Uint32Array(6);
  halfSipHash128(key, bytes, start, end, target, 1);
  const { buffer } = target;
  return [4, 12].map((at) => Buffer.from(buffer, at, 8).toString("hex"));
};

describe("HalfSipHash, twice", () => {
  test("gives the published vectors, wherever the bytes lie", () => {
    const bytes = Uint8Array.from({ length: 9 }, (_, index) => index - 2);
    for (const [length, vector] of VECTORS.entries())
      expect(hash([...KEY, ...KEY], bytes, 2, 2 + length)).toEqual([vector, vector]);
  });

  test("each half has a key of its own", () => {
    const bytes = Uint8Array.of(0, 1, 2, 3, 4);
    const [first, second] = hash([...KEY, KEY[0]! ^ 1, KEY[1]!], bytes);
    expect(first).toBe(VECTORS[5]!);
    expect(second).not.toBe(first!);
    expect(hash([KEY[0]! ^ 1, KEY[1]!, ...KEY], bytes)).toEqual([second!, first!]);
  });
});
