import { expect, test } from "bun:test";
import fc from "fast-check";
import { StickyPartitions } from "../../src/client/Partitioner.ts";
import { murmur2, partitionForKey } from "../../src/record/Murmur2.ts";
import { seeded } from "./support/FakeNetwork.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** From Kafka's own `UtilsTest.testMurmur2`. */
test.each([
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
  ["abc", 479470107],
])("murmur2 of %s is %i", (text, hash) => {
  expect(murmur2(utf8(text))).toBe(hash);
});

/** Bun has the same function with a seed: keys of any length and any bytes. */
test("murmur2 is the native one, of long keys and of bytes that are no ASCII too", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (key) => {
      expect(murmur2(key)).toBe(Bun.hash.murmur32v2(key, 0x9747b28c) | 0);
    }),
  );
  expect(murmur2(utf8("Größe: 测试 ключ 🎉"))).toBe(Bun.hash.murmur32v2(utf8("Größe: 测试 ключ 🎉"), 0x9747b28c) | 0);
});

test("keys are spread evenly, always to the same partition", () => {
  const counts = new Array<number>(12).fill(0);
  for (let key = 0; key < 12_000; key++) {
    const partition = partitionForKey(utf8(`key-${key}`), 12);
    expect(partitionForKey(utf8(`key-${key}`), 12)).toBe(partition);
    counts[partition]! += 1;
  }
  expect(Math.min(...counts)).toBeGreaterThan(850);
  expect(Math.max(...counts)).toBeLessThan(1150);
});

test("without keys a partition has its batch, then any other", () => {
  const sticky = new StickyPartitions({ below: seeded(7), uuid: () => "" }, 1000);
  const chosen = Array.from({ length: 6000 }, () => sticky.next("t", 5, 100));
  for (let batch = 0; batch < chosen.length; batch += 10) {
    expect(new Set(chosen.slice(batch, batch + 10)).size).toBe(1);
    expect(chosen[batch + 10]).not.toBe(chosen[batch]!);
  }
  const counts = [0, 1, 2, 3, 4].map((partition) => chosen.filter((one) => one === partition).length);
  expect(Math.min(...counts)).toBeGreaterThan(900);
  expect(Array.from({ length: 50 }, () => sticky.next("one", 1, 900))).toEqual(new Array(50).fill(0));
});
