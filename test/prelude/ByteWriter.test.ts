import { expect, test } from "bun:test";
import fc from "fast-check";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ProtocolError } from "../../src/prelude/ProtocolError.ts";

const joined = (chunks: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(chunks));

test("big byte fields are spliced in as they are, small ones copied, and the order holds", () => {
  const big = new Uint8Array(4096).fill(7);
  const small = new Uint8Array(4095).fill(8);
  const writer = new ByteWriter(16);
  writer.int32(0);
  writer.byteField(big);
  writer.int8(1);
  writer.compactByteField(small);
  writer.compactNullableByteField(big);
  const chunks = writer.finish();
  expect(chunks.filter((chunk) => chunk === big).length).toBe(2);
  expect(writer.length).toBe(joined(chunks).length);
  expect(writer.toBytes()).toEqual(joined(chunks));
  const reader = new ByteReader(writer.toBytes());
  expect(reader.int32()).toBe(0);
  expect(reader.byteField()).toEqual(big);
  expect(reader.int8()).toBe(1);
  expect(reader.compactByteField()).toEqual(small);
  expect(reader.compactNullableByteField()).toEqual(big);
  expect(reader.remaining).toBe(0);
});

test("an early int32 can be overwritten, before and after splices and growth", () => {
  const writer = new ByteWriter(16);
  writer.int32(0);
  writer.setInt32(0, 1);
  writer.splice(new Uint8Array(5000));
  writer.int32(0);
  for (let i = 0; i < 1000; i++) writer.int64(i);
  writer.setInt32(0, writer.length);
  writer.setInt32(5004, -2);
  const bytes = writer.toBytes();
  const reader = new ByteReader(bytes);
  expect(reader.int32()).toBe(5000 + 8 + 8000);
  reader.skip(5000);
  expect(reader.int32()).toBe(-2);
  for (const position of [-1, writer.length - 3, 2, 5002]) {
    expect(() => writer.setInt32(position, 0)).toThrow(ProtocolError);
  }
});

test("bytes handed out are not written again", () => {
  const writer = new ByteWriter(64);
  writer.int32(1);
  const first = writer.finish();
  const copy = joined(first);
  writer.int32(2);
  writer.string("more");
  expect(joined(first)).toEqual(copy);
  expect([...writer.toBytes().subarray(0, 8)]).toEqual([0, 0, 0, 1, 0, 0, 0, 2]);
});

test("any mixture of writes is what the parts are one after another", () => {
  const part = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(new Uint8Array(5000).fill(3), new Uint8Array(300).fill(4)),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 20 }), fc.integer({ min: 0, max: 64 }), (parts, capacity) => {
      const writer = new ByteWriter(capacity);
      for (const bytes of parts) writer.splice(bytes);
      expect(writer.length).toBe(parts.reduce((sum, bytes) => sum + bytes.length, 0));
      expect(Buffer.compare(joined(writer.finish()), Buffer.concat(parts))).toBe(0);
      const outer = new ByteWriter();
      outer.append(writer);
      expect(Buffer.compare(outer.toBytes(), Buffer.concat(parts))).toBe(0);
    }),
  );
});
