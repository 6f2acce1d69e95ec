import { describe, expect, test } from "bun:test";
import { makeBunRandom, uuidFromBytes } from "../../src/platform/BunRandom.ts";

const random = makeBunRandom();

describe("BunRandom", () => {
  test("below: every value of a small range comes, none outside it", () => {
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 7000; i++) counts[random.below(7)]! += 1;
    expect(counts.reduce((a, b) => a + b)).toBe(7000);
    for (const count of counts) expect(count).toBeGreaterThan(700);
    expect(random.below(1)).toBe(0);
    for (let i = 0; i < 100; i++) expect(random.below(2 ** 32)).toBeLessThan(2 ** 32);
  });

  test("uuid: version 4 in Kafka's text form, never with a leading '-', never twice", () => {
    const seen = new Set<string>();
    for (let i = 0; i < 3000; i++) {
      const text = random.uuid();
      expect(text).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/);
      const bytes = Uint8Array.fromBase64(text, { alphabet: "base64url" });
      expect([bytes[6]! >> 4, bytes[8]! >> 6]).toEqual([4, 2]);
      seen.add(text);
    }
    expect(seen.size).toBe(3000);
  });

  test("uuidFromBytes refuses what would begin with '-' and does not touch its argument", () => {
    const bytes = new Uint8Array(16).fill(0xfb);
    expect(uuidFromBytes(bytes)).toBeUndefined();
    expect(bytes.every((byte) => byte === 0xfb)).toBe(true);
  });
});
