import { describe, expect, test } from "bun:test";
import { groupPartition, hashMapOrder, javaHashCode } from "../../src/group/JavaHash.ts";

/** What Java's `String.hashCode` and Kafka's `Utils.abs` make of them: hash, partition of 50 and of 7. */
const VECTORS: ReadonlyArray<readonly [text: string, hash: number, of50: number, of7: number]> = [
  ["", 0, 0, 0],
  ["g", 103, 3, 5],
  ["group", 98_629_247, 47, 3],
  ["my-group-1", 1_806_687_554, 4, 0],
  ["console-consumer-61233", 163_042_326, 26, 6],
  ["polygenelubricants", -2_147_483_648, 0, 0],
  ["Grüße 🌍", 412_023_450, 0, 6],
  ["\0", 0, 0, 0],
  ["a".repeat(65), -395_936_671, 21, 4],
];

describe("the partition of a group", () => {
  for (const [text, hash, of50, of7] of VECTORS) {
    test(`${JSON.stringify(text.slice(0, 24))} as Java has it`, () => {
      expect(javaHashCode(text)).toBe(hash);
      expect([groupPartition(text, 50), groupPartition(text, 7)]).toEqual([of50, of7]);
    });
  }
});

/** What `new HashMap` lists in Java. */
const ORDERS: ReadonlyArray<ReadonlyArray<string>> = [
  ["sticky", "range", "roundrobin", "cooperative-sticky"],
  ["rr", "range"],
  ["uniform", "range", "RoundRobinAssigner"],
  ["Aa", "BB", "a", "b"],
];

test("a few texts in the order of a HashMap", () => {
  for (const order of ORDERS) {
    const inserted = order.toSorted();
    expect(hashMapOrder(inserted)).toEqual([...order]);
  }
});
