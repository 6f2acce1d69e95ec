import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeEventPosition, encodeEventPosition } from "../../src/gateway/EventPosition.ts";

const topicIds = ["AAAAAAAAAAAAAAAAAAAAAQ", "yv-91ZiqS8OIAY1QE3ObGw", "___________________-8w"];

test("what an id says is what it was made of, and it needs no quoting anywhere", () => {
  const placed = fc.record({
    partition: fc.nat(0x7fff_ffff),
    position: fc.record({
      offset: fc.maxSafeNat(),
      leaderEpoch: fc.integer({ min: -1, max: 0x7fff_ffff }),
      topicId: fc.constantFrom(...topicIds),
    }),
  });
  fc.assert(
    fc.property(fc.array(placed, { minLength: 1 }), (partitions) => {
      const id = encodeEventPosition(partitions);
      expect(id).toMatch(/^[\w:.,;-]+$/);
      const byTopic = (list: typeof partitions) =>
        topicIds.map((id) => list.filter(({ position }) => position.topicId === id));
      expect(byTopic([...decodeEventPosition(id)!])).toEqual(byTopic(partitions));
    }),
  );
});

test.each([
  "",
  "x",
  "AAAAAAAAAAAAAAAAAAAAAQ",
  "AAAAAAAAAAAAAAAAAAAAAQ:",
  "AAAAAAAAAAAAAAAAAAAAAQ:0.1",
  "AAAAAAAAAAAAAAAAAAAAAQ:0.1.-2",
  "AAAAAAAAAAAAAAAAAAAAAQ:-1.1.0",
  "AAAAAAAAAAAAAAAAAAAAAQ:0.9999999999999999.0",
  "AAAAAAAAAAAAAAAAAAAAA:0.1.0",
  "AAAAAAAAAAAAAAAAAAAAAQ:0.1.0;",
  "AAAAAAAAAAAAAAAAAAAAAQ:0.1.0,",
])("%p is no id of ours", (text) => {
  expect(decodeEventPosition(text)).toBeUndefined();
});
