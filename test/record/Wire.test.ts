/** The integers of a record batch against their definition in 64-bit arithmetic. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RecordFormatError } from "../../src/record/RecordFormatError.ts";
import {
  readInt64,
  readVarint,
  readVarlong,
  sizeOfVarint,
  sizeOfVarlong,
  varintEnd,
  writeInt64,
  writeVarint,
  writeVarlong,
} from "../../src/record/Wire.ts";

const MAX = Number.MAX_SAFE_INTEGER;
/** What a number can hold of an int64. */
const saturated = (value: bigint): number => (value > BigInt(MAX) ? MAX : value < -BigInt(MAX) ? -MAX : Number(value));
/** Zigzag and seven bits a byte, from the definition. */
const varintBytes = (value: bigint): number[] => {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  const bytes: number[] = [];
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return [...bytes, Number(rest)];
};

const safe = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer(),
  fc.integer({ min: -300, max: 300 }),
  fc.constantFrom(
    0,
    -1,
    MAX,
    -MAX,
    2 ** 31,
    -(2 ** 31),
    2 ** 32,
    -(2 ** 32),
    2 ** 52,
    2 ** 28 - 1,
    2 ** 27,
    -(2 ** 27),
  ),
);
const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n, -(2n ** 53n), 2n ** 53n - 1n, 1n - 2n ** 53n),
);

describe("int64", () => {
  test("written and read", () => {
    fc.assert(
      fc.property(safe, (value) => {
        const bytes = new Uint8Array(9);
        writeInt64(bytes, 1, value);
        expect(new DataView(bytes.buffer).getBigInt64(1)).toBe(BigInt(value));
        expect(readInt64(bytes, 1)).toBe(value);
      }),
    );
  });

  test("saturated beyond 2^53 - 1", () => {
    fc.assert(
      fc.property(int64, (value) => {
        const bytes = new Uint8Array(8);
        new DataView(bytes.buffer).setBigInt64(0, value);
        expect(readInt64(bytes, 0)).toBe(saturated(value));
      }),
    );
  });
});

describe("varints", () => {
  test("int32: written, measured and read as defined", () => {
    fc.assert(
      fc.property(fc.oneof(fc.integer(), fc.integer({ min: -20_000, max: 20_000 })), (value) => {
        const bytes = new Uint8Array(6);
        const end = writeVarint(bytes, 0, value);
        expect([...bytes.subarray(0, end)]).toEqual(varintBytes(BigInt(value)));
        expect(sizeOfVarint(value)).toBe(end);
        expect(readVarint(bytes, 0, end)).toBe(value);
        expect(varintEnd()).toBe(end);
        expect(() => readVarint(bytes, 0, end - 1)).toThrow(RecordFormatError);
      }),
    );
  });

  test("int64: written, measured and read as defined", () => {
    fc.assert(
      fc.property(safe, (value) => {
        const bytes = new Uint8Array(11);
        const end = writeVarlong(bytes, 0, value);
        expect([...bytes.subarray(0, end)]).toEqual(varintBytes(BigInt(value)));
        expect(sizeOfVarlong(value)).toBe(end);
        expect(readVarlong(bytes, 0, end)).toBe(value);
        expect(varintEnd()).toBe(end);
        expect(() => readVarlong(bytes, 0, end - 1)).toThrow(RecordFormatError);
      }),
    );
  });

  test("any int64 is read, saturated", () => {
    fc.assert(
      fc.property(int64, (value) => {
        const bytes = Uint8Array.from(varintBytes(value));
        expect(readVarlong(bytes, 0, bytes.length)).toBe(saturated(value));
      }),
    );
  });

  test("one byte too many is refused", () => {
    const endless = new Uint8Array(20).fill(0x80);
    expect(() => readVarint(endless, 0, 20)).toThrow("longer than five bytes");
    expect(() => readVarlong(endless, 0, 20)).toThrow("longer than ten bytes");
  });
});
