import { expect, test } from "bun:test";
import fc from "fast-check";
import { ParkedReplies } from "../../src/partition/ParkedReplies.ts";

test("each reply is settled once, at the first high watermark that reaches it", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("park" as const), offset: fc.integer({ min: 0, max: 50 }) }),
    fc.record({ kind: fc.constant("release" as const), by: fc.integer({ min: 0, max: 10 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const parked = new ParkedReplies();
      const waiting = new Map<number, number>();
      const settled = new Set<number>();
      let highWatermark = 0;
      steps.forEach((one, id) => {
        if (one.kind === "park") {
          const offset = Math.max(one.offset, highWatermark + 1);
          waiting.set(id, offset);
          parked.park(
            offset,
            () => {
              expect(settled.has(id)).toBe(false);
              settled.add(id);
            },
            () => undefined,
          );
        } else {
          highWatermark += one.by;
          parked.release(highWatermark);
        }
        for (const [parkedId, offset] of waiting) expect(settled.has(parkedId)).toBe(offset <= highWatermark);
      });
      expect(parked.size).toBe(waiting.size - settled.size);
    }),
  );
});

test("failing settles what is left, once, with the error", () => {
  const parked = new ParkedReplies();
  const seen: Array<string | number> = [];
  parked.park(
    3,
    () => seen.push("first"),
    (error) => seen.push(error),
  );
  parked.park(
    9,
    () => seen.push("second"),
    (error) => seen.push(error),
  );
  parked.release(5);
  parked.fail(56);
  parked.release(100);
  expect(seen).toEqual(["first", 56]);
});
