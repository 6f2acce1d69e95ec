import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  bytes,
  type Codec,
  int64,
  int64AsBigint,
  json,
  type StandardSchema,
  string,
  validated,
} from "../../src/client/Codec.ts";

const roundTrips = <T>(codec: Codec<T>, values: fc.Arbitrary<T>): void =>
  fc.assert(fc.property(values, (value) => expect(codec.decode(codec.encode(value))).toEqual(value)));

describe("codecs give back what they were given", () => {
  test("bytes, as a copy", () => {
    roundTrips(bytes, fc.uint8Array());
    const frame = new Uint8Array(1000);
    expect(bytes.decode(frame.subarray(10, 20)).buffer.byteLength).toBe(10);
    expect(() => bytes.encode("text" as never)).toThrow("string is no Uint8Array: give a codec");
  });
  test("string", () => roundTrips(string, fc.string({ unit: "grapheme" })));
  test("a byte order mark is a character, bytes that are no UTF-8 an error", () => {
    expect(string.decode(string.encode("\ufeffa"))).toBe("\ufeffa");
    expect(() => string.decode(Uint8Array.of(0xff))).toThrow();
  });
  test("json", () => {
    roundTrips(
      json(),
      fc.jsonValue({ noUnicodeString: false }).map((value) => JSON.parse(JSON.stringify(value))),
    );
    expect(() => json().encode(undefined)).toThrow("undefined is no JSON");
  });
  test("int64, exactly or not at all", () => {
    roundTrips(int64, fc.maxSafeInteger());
    roundTrips(int64AsBigint, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
    expect(int64.encode(-2)).toEqual(Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 254));
    expect(() => int64.encode(2 ** 53)).toThrow(RangeError);
    expect(() => int64.decode(int64AsBigint.encode(2n ** 53n))).toThrow("use int64AsBigint");
    expect(() => int64AsBigint.encode(2n ** 63n)).toThrow(RangeError);
    expect(() => int64.decode(new Uint8Array(7))).toThrow("an int64 has 8 bytes, not 7");
  });
});

/** Takes {"n": "<digits>"} and makes {n: number} of it. */
const schema: StandardSchema<{ n: string }, { n: number }> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate(value) {
      const { n } = value as { n: unknown };
      if (typeof n !== "string" || !/^\d+$/.test(n))
        return { issues: [{ message: "not digits", path: ["n", { key: 0 }] }] };
      return { value: { n: Number(n) } };
    },
  },
};

describe("with a schema", () => {
  test("what is decoded is validated and transformed, what is encoded is validated and left as it is", () => {
    const codec = json(schema);
    expect(codec.decode(codec.encode({ n: "12" }))).toEqual({ n: 12 });
    expect(() => codec.encode({ n: "x" })).toThrow("n.0: not digits");
    expect(() => codec.decode(json().encode({ n: 12 }))).toThrow("n.0: not digits");
  });
  test("over any codec, but not asynchronously", () => {
    const later: StandardSchema<string, string> = {
      "~standard": { version: 1, vendor: "later", validate: async (value) => ({ value: String(value) }) },
    };
    expect(() => validated(string, later).decode(string.encode("x"))).toThrow("the schema (later) is asynchronous");
  });
});
