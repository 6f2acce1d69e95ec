import { expect, test } from "bun:test";
import { concatenated } from "../../src/prelude/Concatenated.ts";

test("pieces follow one another in memory of their own, of the kind that was asked for", () => {
  const one = Uint8Array.of(1, 2);
  expect(concatenated([one, new Uint8Array(0), Uint8Array.of(3)])).toEqual(Uint8Array.of(1, 2, 3));
  expect(concatenated([])).toEqual(new Uint8Array(0));
  const alone = concatenated([one]);
  one.fill(9);
  expect(alone).toEqual(Uint8Array.of(1, 2));
  const memory = new Uint8Array(2);
  expect(concatenated([one], () => memory)).toBe(memory);
  expect(memory).toEqual(one);
});
