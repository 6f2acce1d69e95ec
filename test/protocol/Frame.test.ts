import { expect, test } from "bun:test";
import fc from "fast-check";
import { ProtocolError } from "../../src/prelude/ProtocolError.ts";
import { FrameAssembler } from "../../src/protocol/Frame.ts";

function framed(frames: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(
    Buffer.concat(
      frames.flatMap((frame) => {
        const size = Buffer.alloc(4);
        size.writeInt32BE(frame.length);
        return [size, frame];
      }),
    ),
  );
}

const sizeOf = (size: number): Uint8Array => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(size);
  return new Uint8Array(bytes);
};

test("however the stream is cut, the frames are the same", () => {
  const frame = fc.uint8Array({ minLength: 8, maxLength: 100 });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(70), { maxLength: 60 }), (frames, cuts) => {
      const assembler = new FrameAssembler(1000);
      const stream = framed(frames);
      const got: Uint8Array[] = [];
      for (let at = 0, i = 0; at < stream.length; i++) {
        const length = Math.max(1, cuts[i % Math.max(1, cuts.length)] ?? 13);
        // The chunk belongs to the network: it is overwritten after the call.
        const chunk = stream.slice(at, at + length);
        got.push(...assembler.push(chunk));
        chunk.fill(0xee);
        at += length;
      }
      expect(got).toEqual(frames);
      expect(assembler.bytesBuffered).toBe(0);
    }),
  );
});

test("bytesBuffered counts what is held of the unfinished frame, its size included", () => {
  const assembler = new FrameAssembler(1000);
  expect(assembler.push(Uint8Array.from([0, 0]))).toEqual([]);
  expect(assembler.bytesBuffered).toBe(2);
  assembler.push(Uint8Array.from([0, 9, 1, 2, 3]));
  expect(assembler.bytesBuffered).toBe(7);
  expect(assembler.push(new Uint8Array(6)).length).toBe(1);
  expect(assembler.bytesBuffered).toBe(0);
});

test("memory follows the bytes that came, not the size that was declared", () => {
  const assembler = new FrameAssembler(100 << 20);
  assembler.push(sizeOf(100 << 20));
  expect(assembler.bytesReserved).toBe(0);
  for (let received = 0; received < 4 << 20; ) {
    assembler.push(new Uint8Array(50_000));
    received += 50_000;
    expect(assembler.bytesReserved).toBeLessThanOrEqual(Math.max(65536, 2 * received));
    expect(assembler.bytesReserved).toBeGreaterThanOrEqual(received);
  }
  const small = new FrameAssembler(100 << 20);
  small.push(sizeOf(100));
  small.push(new Uint8Array(1));
  expect(small.bytesReserved).toBe(100);
});

test("a large frame in many chunks comes whole and owns exactly its bytes", () => {
  const frame = new Uint8Array(1_000_003).map((_, i) => i * 31);
  const stream = framed([frame]);
  const assembler = new FrameAssembler(100 << 20);
  const got: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += 65536) got.push(...assembler.push(stream.subarray(at, at + 65536)));
  expect(got.length).toBe(1);
  expect(Buffer.compare(got[0]!, frame)).toBe(0);
  expect(got[0]!.buffer.byteLength).toBe(frame.length);
});

test("oversized, negative and too small sizes are refused, and nothing is read afterwards", () => {
  for (const size of [1001, 0x7fffffff, -1, -0x80000000, 0, 7]) {
    const assembler = new FrameAssembler(1000);
    expect(() => assembler.push(sizeOf(size))).toThrow(ProtocolError);
    expect(assembler.failure).toBeInstanceOf(ProtocolError);
    expect(() => assembler.push(framed([new Uint8Array(8)]))).toThrow(ProtocolError);
  }
  expect(new FrameAssembler(1000).push(framed([new Uint8Array(1000)])).length).toBe(1);
  expect(new FrameAssembler(1000, 4).push(framed([new Uint8Array(4)])).length).toBe(1);
});

test("frames before a bad size in the same chunk are still answered", () => {
  const assembler = new FrameAssembler(1000);
  const chunk = new Uint8Array(Buffer.concat([framed([new Uint8Array(8).fill(1)]), sizeOf(-5)]));
  expect(assembler.push(chunk)).toEqual([new Uint8Array(8).fill(1)]);
  expect(assembler.failure).toBeInstanceOf(ProtocolError);
  expect(() => assembler.push(new Uint8Array(1))).toThrow(ProtocolError);
});
