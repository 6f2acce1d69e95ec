import { expect, test } from "bun:test";
import fc from "fast-check";
import { FRAME_LIMITS } from "../../src/gateway/ClientFrames.ts";
import { idempotentRequest } from "../../src/gateway/HttpProduce.ts";

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });

test("an idempotency key is a producer that nobody else is, and its body a place that no other body has", () => {
  fc.assert(
    fc.property(digest, digest, digest, (key, body, other) => {
      const { producer, choice } = idempotentRequest(key, body);
      expect(producer.id).toBeWithin(2 ** 52, 2 ** 53);
      expect(Number.isSafeInteger(producer.id)).toBe(true);
      expect(producer.epoch).toBeWithin(0, 2 ** 15);
      // 0 begins a producer anew, and a batch that wraps would be two places.
      expect(producer.sequence).toBeWithin(1, 2 ** 31 - FRAME_LIMITS.items);
      expect(choice).toBeWithin(0, 2 ** 32);
      expect(idempotentRequest(key, body)).toEqual({ producer, choice });
      const misused = idempotentRequest(key, other);
      expect(misused.producer.id).toBe(producer.id);
      expect(misused.choice).toBe(choice);
      const differs = body.slice(4, 8).some((byte, at) => byte !== other[4 + at]);
      // 31 bits of sequence: random digests that differ there give another one, but for one pair in two thousand million.
      if (differs) expect(misused.producer.sequence).not.toBe(producer.sequence);
    }),
  );
  const [one, two] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  expect(idempotentRequest(one, one).producer.id).not.toBe(idempotentRequest(two, one).producer.id);
});
