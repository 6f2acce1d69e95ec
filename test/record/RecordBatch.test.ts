/**
 * Record batches against Kafka's own: `fixtures/batches.jsonl` was written by `fixtures/GenerateBatches.java` with
 * kafka-clients 4.3.1. Then what the functions promise of any bytes.
 */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { CompressionError } from "../../src/record/Compression.ts";
import {
  ATTRIBUTES_AT,
  addToSequence,
  batchAt,
  batchSize,
  checkCrc,
  codecOf,
  forEachBatch,
  HEADER_SIZE,
  isControl,
  isTransactional,
  lastOffsetOf,
  readBatchInfo,
  records,
  setMaxTimestamp,
  stampBatch,
  storedCrc,
  TimestampType,
  timestampTypeOf,
} from "../../src/record/RecordBatch.ts";
import { buildBatch, buildEndTransactionMarker, type NewRecord } from "../../src/record/RecordBatchBuilder.ts";
import { RecordFormatError } from "../../src/record/RecordFormatError.ts";

const codecs = makeBunCodecs();

interface KafkaBatch {
  name: string;
  bytes: string;
  codec: number;
  baseOffset: number;
  lastOffset: number;
  leaderEpoch: number;
  maxTimestamp: number;
  producerId: number;
  producerEpoch: number;
  baseSequence: number;
  lastSequence: number;
  transactional: boolean;
  control: boolean;
  logAppendTime: boolean;
  records: {
    offset: number;
    timestamp: number;
    key: string | null;
    value: string | null;
    headers: { key: string; value: string | null }[];
  }[];
}

const kafkaBatches: KafkaBatch[] = readFileSync(new URL("fixtures/batches.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));

const kafkaBatch = (name: string): { bytes: Uint8Array; said: KafkaBatch } => {
  const said = kafkaBatches.find((batch) => batch.name === name)!;
  return { bytes: bytesOf(said), said };
};
const bytesOf = (batch: KafkaBatch): Uint8Array => new Uint8Array(Buffer.from(batch.bytes, "base64"));
const base64 = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString("base64");
const summary = (bytes: Uint8Array | null): string | null =>
  bytes === null || bytes.length <= 64
    ? base64(bytes)
    : `#${bytes.length}:${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`;
const read = (bytes: Uint8Array, start = 0) =>
  [...records(bytes, start, codecs)].map((record) => ({
    offset: record.offset,
    timestamp: record.timestamp,
    key: base64(record.key),
    value: summary(record.value),
    headers: record.headers.map((header) => ({ key: header.key, value: base64(header.value) })),
  }));

describe("batches that Kafka's Java code wrote", () => {
  test("cover every codec", () => {
    expect(new Set(kafkaBatches.map((batch) => batch.codec))).toEqual(new Set([0, 1, 2, 3, 4]));
  });

  for (const said of kafkaBatches) {
    test(said.name, () => {
      // At an odd position, with bytes on both sides: nothing may depend on where a batch lies.
      const start = 7;
      const batch = bytesOf(said);
      const bytes = new Uint8Array(start + batch.length + 5).fill(0xee);
      bytes.set(batch, start);
      expect(checkCrc(bytes, start)).toBe(true);
      expect(batchSize(bytes, start)).toBe(batch.length);
      const info = readBatchInfo(bytes, start);
      expect(info).toMatchObject({
        baseOffset: said.baseOffset,
        lastOffset: said.lastOffset,
        leaderEpoch: said.leaderEpoch,
        sizeInBytes: batch.length,
        maxTimestamp: said.maxTimestamp,
        producerId: said.producerId,
        producerEpoch: said.producerEpoch,
        baseSequence: said.baseSequence,
        lastSequence: said.lastSequence,
        recordCount: said.records.length,
      });
      expect(codecOf(info.attributes)).toBe(said.codec);
      expect(isTransactional(info.attributes)).toBe(said.transactional);
      expect(isControl(info.attributes)).toBe(said.control);
      expect(timestampTypeOf(info.attributes)).toBe(said.logAppendTime ? 1 : 0);
      expect(read(bytes, start)).toEqual(said.records);
    });
  }

  test("control batches say what they are", () => {
    expect(readBatchInfo(kafkaBatch("commit").bytes, 0).control).toEqual({ type: "commit", coordinatorEpoch: 9 });
    expect(readBatchInfo(kafkaBatch("abort").bytes, 0).control).toEqual({ type: "abort", coordinatorEpoch: 10 });
    expect(readBatchInfo(kafkaBatch("none").bytes, 0).control).toBeUndefined();
  });
});

describe("ours are Kafka's, byte by byte", () => {
  const T = 1_700_000_000_000;
  const utf8 = (text: string) => new TextEncoder().encode(text);
  const sample: NewRecord[] = [
    { timestamp: T, key: utf8("key"), value: utf8("value") },
    { timestamp: T - 5, key: null, value: utf8("no key") },
    { timestamp: T + 100_000, key: utf8("tombstone") },
    { timestamp: T + 1, key: new Uint8Array(0), value: new Uint8Array(0) },
    {
      timestamp: T + 2,
      key: utf8("h"),
      value: utf8("v"),
      headers: [
        { key: "trace", value: utf8("abc") },
        { key: "trace", value: null },
        { key: "", value: new Uint8Array(0) },
        { key: "größe", value: Uint8Array.of(1, 2, 3) },
      ],
    },
    { timestamp: T + 3, key: utf8("long"), value: utf8("abcdefghij".repeat(100)) },
  ];

  test("plain, idempotent, transactional", () => {
    expect(buildBatch(sample)).toEqual(kafkaBatch("none").bytes);
    const idempotent = { producerId: 4_000_000_001, producerEpoch: 2, baseSequence: 77, leaderEpoch: 3 };
    expect(buildBatch(sample, idempotent)).toEqual(kafkaBatch("none idempotent").bytes);
    expect(
      buildBatch(sample, {
        baseOffset: 9_000_000_000,
        producerId: 12,
        producerEpoch: 0,
        baseSequence: 0x7fffffff - 2,
        transactional: true,
        leaderEpoch: 3,
      }),
    ).toEqual(kafkaBatch("none transactional").bytes);
  });

  test("log append time, no timestamp", () => {
    expect(buildBatch(sample, { baseOffset: 5, logAppendTime: T + 7 })).toEqual(
      kafkaBatch("none log append time").bytes,
    );
    expect(buildBatch([{ value: utf8("v") }])).toEqual(kafkaBatch("no timestamp").bytes);
  });

  test("markers", () => {
    const marker = { producerId: 12, producerEpoch: 1, timestamp: T, leaderEpoch: 6 };
    expect(buildEndTransactionMarker("commit", { ...marker, baseOffset: 42, coordinatorEpoch: 9 })).toEqual(
      kafkaBatch("commit").bytes,
    );
    expect(buildEndTransactionMarker("abort", { ...marker, baseOffset: 43, coordinatorEpoch: 10 })).toEqual(
      kafkaBatch("abort").bytes,
    );
  });
});

describe("what a broker may change", () => {
  test("stamping changes base offset and leader epoch, and the CRC stays right", () => {
    const bytes = kafkaBatch("gzip idempotent").bytes;
    const before = readBatchInfo(bytes, 0);
    stampBatch(bytes, 0, 2 ** 40 + 3, 17);
    expect(readBatchInfo(bytes, 0)).toEqual({
      ...before,
      baseOffset: 2 ** 40 + 3,
      lastOffset: 2 ** 40 + 3 + before.recordCount - 1,
      leaderEpoch: 17,
    });
    expect(lastOffsetOf(bytes, 0)).toBe(2 ** 40 + 3 + before.recordCount - 1);
    expect(checkCrc(bytes, 0)).toBe(true);
  });

  test("log append time: every record has the max timestamp, the base timestamp stays, the CRC is new", () => {
    const bytes = kafkaBatch("zstd").bytes;
    const before = readBatchInfo(bytes, 0);
    const crc = storedCrc(bytes, 0);
    setMaxTimestamp(bytes, 0, TimestampType.LOG_APPEND_TIME, 1_800_000_000_000);
    expect(readBatchInfo(bytes, 0)).toEqual({
      ...before,
      attributes: before.attributes | 8,
      maxTimestamp: 1_800_000_000_000,
    });
    expect(checkCrc(bytes, 0)).toBe(true);
    expect(storedCrc(bytes, 0)).not.toBe(crc);
    expect(new Set(read(bytes).map((record) => record.timestamp))).toEqual(new Set([1_800_000_000_000]));
    setMaxTimestamp(bytes, 0, TimestampType.CREATE_TIME, before.maxTimestamp);
    expect(bytes).toEqual(kafkaBatch("zstd").bytes);
  });

  test("sequences wrap from 2^31 - 1 to 0", () => {
    expect(addToSequence(0x7fffffff, 1)).toBe(0);
    expect(addToSequence(0x7ffffffe, 3)).toBe(1);
    expect(addToSequence(5, 0)).toBe(5);
  });
});

describe("the batches of a chunk", () => {
  const one = kafkaBatch("none").bytes;
  const two = kafkaBatch("lz4").bytes;
  const scan = (tail: Uint8Array) => {
    const bytes = Buffer.concat([one, two, tail]);
    const seen: [number, number][] = [];
    const result = forEachBatch(bytes, 0, bytes.length, (start, size) => {
      seen.push([start, size]);
      return undefined;
    });
    expect(seen).toEqual([
      [0, one.length],
      [one.length, two.length],
    ]);
    expect(result.position).toBe(one.length + two.length);
    return result.stop;
  };

  test("end where they end, or say why not", () => {
    expect(scan(new Uint8Array(0))).toBe("end");
    expect(scan(one.subarray(0, 5))).toBe("cut");
    expect(scan(one.subarray(0, 14))).toBe("cut");
    expect(scan(one.subarray(0, one.length - 1))).toBe("cut");
    expect(scan(new Uint8Array(100))).toBe("size");
    const unknown = one.slice();
    unknown[16] = 3;
    expect(scan(unknown)).toBe("magic");
    unknown[16] = 0xff;
    expect(scan(unknown)).toBe("magic");
  });

  test("a visitor stops them", () => {
    const bytes = Buffer.concat([one, two]);
    expect(forEachBatch(bytes, 0, bytes.length, () => false)).toEqual({ position: 0, stop: "stopped" });
  });
});

const fieldArbitrary = fc.option(fc.uint8Array({ maxLength: 200 }), { nil: null });
const timestampArbitrary = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 41 }),
  fc.constantFrom(-1, 0, 2 ** 52, Number.MAX_SAFE_INTEGER - 2 ** 42),
);
const recordsArbitrary = fc.array(
  fc.record({
    key: fieldArbitrary,
    value: fieldArbitrary,
    timestamp: timestampArbitrary,
    headers: fc.array(fc.record({ key: fc.string({ unit: "binary", maxLength: 8 }), value: fieldArbitrary }), {
      maxLength: 3,
    }),
  }),
  { minLength: 1, maxLength: 70 },
);

describe("any batch", () => {
  test("reads as it was built", () => {
    fc.assert(
      fc.property(
        recordsArbitrary,
        fc.constantFrom(0, 1, 2, 3, 4),
        fc.nat(Number.MAX_SAFE_INTEGER - 1000),
        (written, codec, baseOffset) => {
          const bytes = buildBatch(written, { codec: codec as 0 | 1 | 2 | 3 | 4, codecs, baseOffset });
          expect(checkCrc(bytes, 0)).toBe(true);
          expect(batchAt(bytes, 0, bytes.length)).toBe(bytes.length);
          const info = readBatchInfo(bytes, 0);
          expect(info.recordCount).toBe(written.length);
          expect(info.lastOffset).toBe(baseOffset + written.length - 1);
          expect(info.maxTimestamp).toBe(Math.max(...written.map((record) => record.timestamp)));
          const seen = [...records(bytes, 0, codecs)].map((record) => ({
            offset: record.offset,
            timestamp: record.timestamp,
            key: base64(record.key),
            value: base64(record.value),
            headers: record.headers.map((header) => ({ key: header.key, value: base64(header.value) })),
          }));
          expect(seen).toEqual(
            written.map((record, index) => ({
              offset: baseOffset + index,
              timestamp: record.timestamp,
              key: base64(record.key),
              value: base64(record.value),
              headers: record.headers.map((header) => ({
                key: new TextDecoder().decode(new TextEncoder().encode(header.key)),
                value: base64(header.value),
              })),
            })),
          );
        },
      ),
      { numRuns: 150 },
    );
  });

  test("keeps a byte order mark at the beginning of a header's key", () => {
    const bytes = buildBatch([{ value: null, headers: [{ key: "\ufeffa", value: null }] }]);
    expect([...records(bytes, 0, codecs)].map(({ headers }) => headers)).toEqual([[{ key: "\ufeffa", value: null }]]);
  });

  test("with changed bytes: read with an error of ours or not at all, and its CRC tells", () => {
    const byteChange = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(
        recordsArbitrary,
        fc.constantFrom(0, 1, 2, 3, 4),
        fc.array(byteChange, { minLength: 1, maxLength: 4 }),
        (written, codec, changes) => {
          const bytes = buildBatch(written, { codec: codec as 0 | 1 | 2 | 3 | 4, codecs });
          const original = bytes.slice();
          for (const [at, by] of changes) {
            const position = ATTRIBUTES_AT + (at % (bytes.length - ATTRIBUTES_AT));
            bytes[position] = bytes[position]! ^ by;
          }
          if (!Buffer.from(bytes).equals(original)) expect(checkCrc(bytes, 0)).toBe(false);
          try {
            readBatchInfo(bytes, 0);
            for (const record of records(bytes, 0, codecs, 1 << 20)) void record.headers;
          } catch (error) {
            expect(error instanceof RecordFormatError || error instanceof CompressionError).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("cut anywhere: no whole batch, and nothing throws but what is promised", () => {
    const bytes = kafkaBatch("none transactional").bytes;
    for (let end = 0; end < bytes.length; end++) {
      const cut = bytes.slice(0, end);
      expect(batchAt(cut, 0, end)).toBe(end === 0 ? "end" : "cut");
      if (end >= HEADER_SIZE) expect(() => [...records(cut, 0, codecs)]).toThrow(RecordFormatError);
    }
  });
});
