import { expect, test } from "bun:test";
import fc from "fast-check";
import { ProtocolError } from "../../src/prelude/ProtocolError.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { isUuid, uuidFromBytes, uuidToBytes } from "../../src/prelude/Uuid.ts";

test("the text form is unpadded base64url, and both ways are inverse", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const text = uuidFromBytes(bytes);
      expect(text).toBe(Buffer.from(bytes).toString("base64url"));
      expect(uuidToBytes(text)).toEqual(bytes);
      expect(isUuid(text)).toBe(true);
    }),
  );
});

test("ids that differ in one byte stay apart, however often they come", () => {
  const bytes = new Uint8Array(18).fill(9);
  for (let round = 0; round < 3; round++) {
    for (let at = 0; at < 16; at++) {
      for (const value of [0, 1, 255]) {
        const other = bytes.slice();
        other[at + 1] = value;
        expect(uuidFromBytes(other, 1)).toBe(Buffer.from(other.subarray(1, 17)).toString("base64url"));
      }
    }
  }
});

test("sixteen zero bytes are Kafka's zero UUID", () => {
  expect(uuidFromBytes(new Uint8Array(16))).toBe(ZERO_UUID);
  expect(uuidToBytes(ZERO_UUID)).toEqual(new Uint8Array(16));
});

test("what is no UUID is refused", () => {
  for (const text of [
    "",
    "A",
    "A".repeat(21),
    "A".repeat(23),
    `${"A".repeat(21)}B`,
    `é${"A".repeat(21)}`,
    "A".repeat(21).concat("="),
  ]) {
    expect(isUuid(text)).toBe(false);
    expect(() => uuidToBytes(text)).toThrow(ProtocolError);
  }
});
