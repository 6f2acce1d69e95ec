import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { messagePackProblem, type Packable, pack } from "../../src/gateway/MessagePack.ts";

const packr = new Packr({ useRecords: false, int64AsType: "number", variableMapSize: true });
const limits = { depth: 8, items: 1000 };

const packable: fc.Arbitrary<Packable> = fc.letrec<{ value: Packable }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0)),
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => new Uint8Array(bytes)),
    fc.array(tie("value"), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ minLength: 1, maxLength: 40 }).filter((key) => key !== "__proto__"),
      tie("value"),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
})).value;

const plain = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return { bin: [...value] };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  return value;
};

describe("the writer", () => {
  test("what it writes, msgpackr reads as it was", () => {
    fc.assert(fc.property(packable, (value) => expect(plain(packr.unpack(pack(value)))).toEqual(plain(value))));
  });

  test("integers beyond 32 bits leave as integers, lengths in each of their forms", () => {
    expect([...pack(2 ** 40)]).toEqual([0xcf, 0, 0, 1, 0, 0, 0, 0, 0]);
    expect([...pack(-(2 ** 40))]).toEqual([0xd3, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0]);
    for (const length of [0, 31, 32, 255, 256, 65_535, 65_536]) {
      const value = { text: "é".repeat(length), bin: new Uint8Array(length).fill(7), list: new Array(length).fill(1) };
      expect(plain(packr.unpack(pack(value)))).toEqual(plain(value));
    }
  });

  test("undefined fields of a map are left out", () => {
    expect(packr.unpack(pack({ a: 1, b: undefined }))).toEqual({ a: 1 });
  });
});

describe("what may come in", () => {
  test("every map of either packer within the limits", () => {
    const map = fc.dictionary(fc.constantFrom("a", "b", "c"), packable, { noNullPrototype: true });
    fc.assert(
      fc.property(map, (value) => {
        const deep = { depth: 100, items: 1_000_000 };
        expect(messagePackProblem(pack(value), deep)).toBeUndefined();
        expect(messagePackProblem(packr.pack(value), deep)).toBeUndefined();
      }),
    );
  });

  test("nothing cut, nothing behind, whatever it was", () => {
    const map = fc.dictionary(fc.constantFrom("a", "b"), packable, { minKeys: 1, noNullPrototype: true });
    fc.assert(
      fc.property(map, fc.nat(), (value, cut) => {
        const bytes = pack(value);
        const deep = { depth: 100, items: 1_000_000 };
        expect(messagePackProblem(bytes.subarray(0, cut % bytes.length), deep)).toBeDefined();
        expect(messagePackProblem(Uint8Array.of(...bytes, 0xc0), deep)).toBe("bytes behind the MessagePack map");
      }),
    );
  });

  test("bytes at random never throw and never pass what msgpackr refuses", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (tail) => {
        const bytes = Uint8Array.of(0x81, 0xa1, 0x61, ...tail);
        if (messagePackProblem(bytes, limits) === undefined) packr.unpack(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  test.each<[string, number[], string]>([
    ["no bytes", [], "not a MessagePack map"],
    ["an array", [0x90], "not a MessagePack map"],
    ["an extension", [0x81, 0xa1, 0x61, 0xd4, 1, 2], "a MessagePack extension"],
    ["msgpackr's records", [0x81, 0xa1, 0x61, 0xd4, 0x72, 0x40, 0x90], "a MessagePack extension"],
    ["the unused byte", [0x81, 0xa1, 0x61, 0xc1], "a byte that MessagePack does not have"],
    ["a number as key", [0x81, 0x01, 0x01], "a map key that is not a string"],
    ["an array of 2^32 − 1", [0x81, 0xa1, 0x61, 0xdd, 255, 255, 255, 255], "cut short"],
    ["a map of 2^32 − 1", [0xdf, 255, 255, 255, 255], "cut short"],
    ["a string of 2^32 − 1", [0x81, 0xa1, 0x61, 0xdb, 255, 255, 255, 255, 1], "cut short"],
  ])("%s is refused", (_what, bytes, problem) => {
    expect(messagePackProblem(Uint8Array.from(bytes), limits)).toBe(problem);
  });

  test("__proto__ as a key is refused in every form of a string, at any depth; as a value it is text", () => {
    const name = new TextEncoder().encode("__proto__");
    const forms = [[0xa9], [0xd9, 9], [0xda, 0, 9], [0xdb, 0, 0, 0, 9]];
    for (const form of forms) {
      const map = [0x81, ...form, ...name, 0x80];
      expect(messagePackProblem(Uint8Array.from(map), limits)).toBe("a map key __proto__");
      expect(messagePackProblem(Uint8Array.from([0x81, 0xa1, 0x61, ...map]), limits)).toBe("a map key __proto__");
    }
    expect(messagePackProblem(pack({ a: "__proto__" }), limits)).toBeUndefined();
  });

  test("depth and number of values are bounded", () => {
    const nested = (depth: number): Uint8Array => {
      let value: Packable = 1;
      for (let level = 1; level < depth; level++) value = [value];
      return pack({ a: value });
    };
    expect(messagePackProblem(nested(8), limits)).toBeUndefined();
    expect(messagePackProblem(nested(9), limits)).toBe("nested deeper than 8");
    expect(messagePackProblem(pack({ a: new Array(997).fill(null) }), limits)).toBeUndefined();
    expect(messagePackProblem(pack({ a: new Array(998).fill(null) }), limits)).toBe("more than 1000 values");
  });
});
