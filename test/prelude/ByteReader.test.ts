import { expect, test } from "bun:test";
import fc from "fast-check";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ProtocolError } from "../../src/prelude/ProtocolError.ts";

const reader = (...bytes: number[]): ByteReader => new ByteReader(Uint8Array.from(bytes));

function written(write: (writer: ByteWriter) => void): ByteReader {
  const writer = new ByteWriter(16);
  write(writer);
  return new ByteReader(writer.toBytes());
}

const ff = (count: number): number[] => new Array<number>(count).fill(255);

test("fixed widths are big-endian and signed as named", () => {
  const bytes = [0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8];
  expect(reader(...bytes).int8()).toBe(-1);
  expect(reader(...bytes).uint8()).toBe(255);
  expect(reader(...bytes).int16()).toBe(-2);
  expect(reader(...bytes).uint16()).toBe(0xfffe);
  expect(reader(...bytes).int32()).toBe(-66052);
  expect(reader(...bytes).uint32()).toBe(0xfffefdfc);
  expect(reader(0x40, 9, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18).float64()).toBe(Math.PI);
});

test("a reader on a part of an array reads that part only", () => {
  const bytes = Uint8Array.from([9, 9, 0, 0, 0, 7, 9, 9]);
  const part = new ByteReader(bytes.subarray(1), 1, 5);
  expect(part.int32()).toBe(7);
  expect(part.remaining).toBe(0);
  expect(() => part.int8()).toThrow(ProtocolError);
  expect(() => new ByteReader(bytes, 0, 9)).toThrow(ProtocolError);
});

test("int64 saturates at the safe integers on reading and clamps at int64 on writing", () => {
  const read = (value: bigint): number => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigInt64(0, value);
    return new ByteReader(bytes).int64();
  };
  expect(read(2n ** 63n - 1n)).toBe(Number.MAX_SAFE_INTEGER);
  expect(read(2n ** 53n)).toBe(Number.MAX_SAFE_INTEGER);
  expect(read(-(2n ** 53n))).toBe(Number.MIN_SAFE_INTEGER);
  expect(read(-(2n ** 63n))).toBe(Number.MIN_SAFE_INTEGER);
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      expect(read(BigInt(value))).toBe(value);
      expect(written((writer) => writer.int64(value)).int64()).toBe(value);
    }),
  );
  const clamped = (value: number): bigint => {
    const bytes = written((writer) => writer.int64(value)).bytes;
    return new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(0);
  };
  expect(clamped(2 ** 63)).toBe(2n ** 63n - 1n);
  expect(clamped(Number.POSITIVE_INFINITY)).toBe(2n ** 63n - 1n);
  expect(clamped(-(2 ** 63))).toBe(-(2n ** 63n));
  expect(clamped(-(2 ** 70))).toBe(-(2n ** 63n));
  expect(clamped(2 ** 62)).toBe(2n ** 62n);
});

/** The bytes of a zigzag varint, by BigInt. */
function zigzag(value: number): number[] {
  let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
  const bytes: number[] = [];
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest === 0n ? low : low | 128);
  } while (rest !== 0n);
  return bytes;
}

test("varints and varlongs are zigzag, as protobuf's", () => {
  fc.assert(
    fc.property(fc.integer(), (value) => {
      const back = written((writer) => writer.varint(value));
      expect([...back.bytes]).toEqual(zigzag(value));
      expect(back.varint()).toBe(value);
    }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeInteger(), fc.integer()), (value) => {
      const back = written((writer) => writer.varlong(value));
      expect([...back.bytes]).toEqual(zigzag(value));
      expect(back.varlong()).toBe(value);
    }),
  );
  for (const value of [0, -1, 2 ** 30 - 1, 2 ** 30, -(2 ** 30), -(2 ** 30) - 1, 2 ** 31, 2 ** 35, 2 ** 42, 2 ** 49]) {
    expect([...written((writer) => writer.varlong(value)).bytes]).toEqual(zigzag(value));
    expect(written((writer) => writer.varlong(value)).varlong()).toBe(value);
  }
});

test("varints of 32 and 64 bits end there", () => {
  expect(reader(...ff(4), 0x0f).uvarint()).toBe(0xffffffff);
  expect(() => reader(...ff(4), 0x1f).uvarint()).toThrow(ProtocolError);
  expect(() => reader(...ff(5), 0).uvarint()).toThrow(ProtocolError);
  expect(reader(...ff(9), 1).varlong()).toBe(Number.MIN_SAFE_INTEGER);
  expect(reader(0xfe, ...ff(8), 1).varlong()).toBe(Number.MAX_SAFE_INTEGER);
  expect(() => reader(...ff(9), 2).varlong()).toThrow(ProtocolError);
  expect(() => reader(...ff(10), 0).varlong()).toThrow(ProtocolError);
  expect(() => reader(0x80).uvarint()).toThrow(ProtocolError);
  expect(() => reader(0x80).varlong()).toThrow(ProtocolError);
});

test("strings come back as they were, in both forms and at every length", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "grapheme", maxLength: 300 }), fc.string({ maxLength: 90 })), (text) => {
      const back = written((writer) => {
        writer.string(text);
        writer.compactString(text);
        writer.nullableString(text);
        writer.compactNullableString(text);
      });
      const utf8 = new TextEncoder().encode(text);
      expect([...back.bytes.subarray(2, 2 + utf8.length)]).toEqual([...utf8]);
      expect([back.string(), back.compactString(), back.nullableString(), back.compactNullableString()]).toEqual([
        text,
        text,
        text,
        text,
      ]);
      expect(back.remaining).toBe(0);
    }),
  );
  expect(written((writer) => writer.string("\ufeffa")).string()).toBe("\ufeffa");
});

test("short strings seen before are not confused with others of their length", () => {
  const names = Array.from({ length: 5000 }, (_, i) => `t${(i * 7919) % 5000}`.padEnd(6, "x"));
  const back = written((writer) => {
    for (let round = 0; round < 2; round++) for (const name of names) writer.string(name);
  });
  for (let round = 0; round < 2; round++) for (const name of names) expect(back.string()).toBe(name);
});

test("bytes of 128 and more are never taken for the characters of those codes", () => {
  const decoder = new TextDecoder();
  for (let i = 0; i < 20_000; i++) {
    const text = `é${i}`;
    expect(written((writer) => writer.string(text)).string()).toBe(text);
    const latin1 = Uint8Array.from(text, (character) => character.charCodeAt(0));
    expect(new ByteReader(latin1).text(latin1.length)).toBe(decoder.decode(latin1));
  }
});

test("null is answered where it may be and refused where it may not", () => {
  expect(reader(0xff, 0xff).nullableString()).toBeNull();
  expect(reader(0).compactNullableString()).toBeNull();
  expect(reader(...ff(4)).nullableByteField()).toBeNull();
  expect(reader(0).compactNullableByteField()).toBeNull();
  expect(reader(...ff(4)).arrayLength(false, 1)).toBe(-1);
  expect(reader(0).arrayLength(true, 1)).toBe(-1);
  const refused: ((bytes: ByteReader) => unknown)[] = [
    (bytes) => bytes.string(),
    (bytes) => bytes.byteField(),
    (bytes) => bytes.skip(bytes.int32()),
    (bytes) => bytes.subarray(bytes.int32()),
  ];
  for (const read of refused) expect(() => read(reader(...ff(8)))).toThrow(ProtocolError);
  for (const read of [(bytes: ByteReader) => bytes.compactString(), (bytes: ByteReader) => bytes.compactByteField()]) {
    expect(() => read(reader(0, 0))).toThrow(ProtocolError);
  }
  expect(() => reader(0xff, 0xfe, 0, 0).nullableString()).toThrow(ProtocolError);
  expect(() => reader(...ff(3), 0xfe, 0).nullableByteField()).toThrow(ProtocolError);
  expect(() => reader(...ff(3), 0xfe, 0).arrayLength(false, 1)).toThrow(ProtocolError);
});

test("byte fields are views, not copies", () => {
  const bytes = Uint8Array.from([0, 0, 0, 2, 5, 6]);
  const view = new ByteReader(bytes).byteField();
  expect([...view]).toEqual([5, 6]);
  expect(view.buffer).toBe(bytes.buffer);
});

test("declared lengths beyond what is left are refused before anything is made", () => {
  const huge = [0x7f, 0xff, 0xff, 0xff];
  const hugeVarint = [0xff, 0xff, 0xff, 0xff, 0x07];
  expect(() => reader(...huge, 1, 2).byteField()).toThrow(ProtocolError);
  expect(() => reader(...hugeVarint, 1, 2).compactByteField()).toThrow(ProtocolError);
  expect(() => reader(...hugeVarint, 1, 2).compactString()).toThrow(ProtocolError);
  expect(() => reader(0x7f, 0xff, 1, 2).string()).toThrow(ProtocolError);
  expect(() => reader(...huge, 1, 2).arrayLength(false, 1)).toThrow(ProtocolError);
  expect(() => reader(...hugeVarint, 1, 2).arrayLength(true, 1)).toThrow(ProtocolError);
  expect(() => reader(0, 0, 0, 2, 1, 2, 3).arrayLength(false, 2)).toThrow(ProtocolError);
  expect(reader(0, 0, 0, 2, 1, 2, 3, 4).arrayLength(false, 2)).toBe(2);
  expect(() => reader(...hugeVarint, 0, 0).skipTags()).toThrow(ProtocolError);
});

test("a compact string is held to the classic limit of 32,767 bytes", () => {
  const bytes = new Uint8Array(40000);
  bytes.set([0x81, 0x80, 0x02]); // 32769 - 1
  expect(() => new ByteReader(bytes).compactString()).toThrow(ProtocolError);
  bytes.set([0x80, 0x80, 0x02]);
  expect(new ByteReader(bytes).compactString().length).toBe(32767);
  expect(() => new ByteWriter().compactString("x".repeat(32768))).toThrow(ProtocolError);
  expect(() => new ByteWriter().string("é".repeat(16384))).toThrow(ProtocolError);
});

test("all arrays of a reader together are held to its element budget", () => {
  const bytes = new Uint8Array(6_000_000);
  new DataView(bytes.buffer).setInt32(0, 4_000_000);
  new DataView(bytes.buffer).setInt32(4, 200_000);
  const counting = new ByteReader(bytes);
  expect(counting.arrayLength(false, 1)).toBe(4_000_000);
  expect(() => counting.arrayLength(false, 1)).toThrow("array elements");
  const ours = new ByteReader(bytes);
  ours.elementsLeft = Number.POSITIVE_INFINITY;
  expect(ours.arrayLength(false, 1) + ours.arrayLength(false, 1)).toBe(4_200_000);
});
