import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { type Delivery, deliveryOf } from "../../src/gateway/Delivery.ts";
import { encodeRecords } from "../../src/gateway/ServerFrames.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import type { CodecId } from "../../src/record/Compression.ts";
import { forEachBatch, readBatchInfo } from "../../src/record/RecordBatch.ts";
import { buildBatch, buildEndTransactionMarker, type NewRecord } from "../../src/record/RecordBatchBuilder.ts";
import { emptied } from "../support/EmptyBatch.ts";

const codecs = makeBunCodecs();
const packr = new Packr({ useRecords: false, int64AsType: "number" });
const bytes = (text: string) => new TextEncoder().encode(text);
const place = { topic: "t", partition: 3, highWatermark: 100, lastStableOffset: 90, logStartOffset: 2 };

const join = (...batches: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(batches));

const one = (offset: number, options: { readonly producerId?: number; readonly epoch?: number } = {}): Uint8Array =>
  buildBatch([{ value: bytes(`v${offset}`), timestamp: 1000 + offset }], {
    baseOffset: offset,
    leaderEpoch: options.epoch ?? 0,
    ...(options.producerId === undefined
      ? {}
      : { producerId: options.producerId, producerEpoch: 0, baseSequence: 0, transactional: true }),
  });

const marker = (type: "abort" | "commit", offset: number, producerId: number): Uint8Array =>
  buildEndTransactionMarker(type, {
    producerId,
    producerEpoch: 0,
    coordinatorEpoch: 0,
    timestamp: 0,
    baseOffset: offset,
    leaderEpoch: 0,
  });

const committed = (records: Uint8Array, abortedTransactions: Array<{ producerId: number; firstOffset: number }>) => ({
  records,
  abortedTransactions,
});
const uncommitted = (records: Uint8Array) => ({ records, abortedTransactions: null });

/** A frame of the pieces as a client reads it. */
const frameOf = (delivery: Delivery, from: number, to: number) =>
  packr.unpack(encodeRecords(5, place, delivery, from, to, [to, 0])) as {
    t: string;
    stream: number;
    batches: Array<{ records: unknown[]; raw: Uint8Array; next: number[] }>;
  };

const record: fc.Arbitrary<NewRecord> = fc.record(
  {
    key: fc.option(fc.uint8Array({ maxLength: 40 })),
    value: fc.option(fc.uint8Array({ maxLength: 300 })),
    headers: fc.array(
      fc.record({ key: fc.string({ maxLength: 40 }), value: fc.option(fc.uint8Array({ maxLength: 60 })) }),
      {
        maxLength: 20,
      },
    ),
    timestamp: fc.integer({ min: 0, max: 2 ** 42 }),
  },
  { requiredKeys: ["headers", "timestamp"] },
);

describe("records", () => {
  test("what was built comes out of a frame, with its costs, whatever the codec", () => {
    const batch = fc.record({
      records: fc.array(record, { minLength: 1, maxLength: 20 }),
      codec: fc.constantFrom(0, 1, 2, 3, 4),
    });
    fc.assert(
      fc.property(fc.array(batch, { minLength: 1, maxLength: 4 }), (batches) => {
        let offset = 2 ** 33;
        const expected: unknown[] = [];
        const costs: number[] = [];
        const built = batches.map(({ records, codec }) => {
          const bytes = buildBatch(records, { baseOffset: offset, codec: codec as CodecId, codecs, leaderEpoch: 4 });
          for (const { key = null, value = null, headers = [], timestamp } of records) {
            const listed = headers.map((header) => [header.key, header.value]);
            expected.push([offset++, timestamp, key, value, ...(listed.length === 0 ? [] : [listed])]);
            const headerBytes = headers.map((header) => Buffer.byteLength(header.key) + (header.value?.length ?? 0));
            costs.push(
              (key?.length ?? 0) + (value?.length ?? 0) + 16 + headerBytes.reduce((sum, size) => sum + size, 0),
            );
          }
          return bytes;
        });
        const delivery = deliveryOf(uncommitted(join(...built)), false, codecs)!;
        expect(delivery.count).toBe(expected.length);
        expect([delivery.firstOffset, delivery.endOffset, delivery.endEpoch]).toEqual([2 ** 33, offset, 4]);
        expect(costs.map((_, piece) => delivery.cost(piece, piece + 1))).toEqual(costs);
        const [from, to] = [Math.floor(delivery.count / 3), delivery.count];
        expect(JSON.stringify(frameOf(delivery, from, to).batches[0]!.records)).toBe(
          JSON.stringify(expected.slice(from).map((each) => packr.unpack(new Uint8Array(packr.pack(each))))),
        );
      }),
    );
  });

  test("LogAppendTime is every record's timestamp", () => {
    const batch = buildBatch([{ timestamp: 1 }, { timestamp: 2 }], { logAppendTime: 77 });
    const delivery = deliveryOf(uncommitted(batch), false, codecs)!;
    expect(frameOf(delivery, 0, 2).batches[0]!.records).toEqual([
      [0, 77, null, null],
      [1, 77, null, null],
    ]);
  });

  test("markers are never there, aborted records only under read_uncommitted; the end lies behind all", () => {
    const log = join(
      one(0, { producerId: 7 }),
      one(1),
      one(2, { producerId: 8 }),
      marker("abort", 3, 7),
      marker("commit", 4, 8),
      one(5, { producerId: 7 }),
      marker("commit", 6, 7),
    );
    const offsets = (delivery: Delivery | undefined) => delivery?.lastOffsets;
    expect(offsets(deliveryOf(uncommitted(log), false, codecs))).toEqual([0, 1, 2, 5]);
    const seen = deliveryOf(committed(log, [{ producerId: 7, firstOffset: 0 }]), false, codecs)!;
    expect(offsets(seen)).toEqual([1, 2, 5]);
    expect(seen.endOffset).toBe(7);
  });

  test("an answer of nothing but an aborted transaction has an end and no pieces", () => {
    const log = join(one(0, { producerId: 7 }), marker("abort", 1, 7));
    const delivery = deliveryOf(committed(log, [{ producerId: 7, firstOffset: 0 }]), false, codecs)!;
    expect([delivery.count, delivery.firstOffset, delivery.endOffset]).toEqual([0, 0, 2]);
    expect(frameOf(delivery, 0, 0).batches[0]!.records).toEqual([]);
  });

  test("a cut batch at the end of an answer is not delivered; none at all is no delivery", () => {
    const whole = join(one(0), one(1));
    expect(deliveryOf(uncommitted(whole.subarray(0, whole.length - 1)), false, codecs)!.endOffset).toBe(1);
    expect(deliveryOf(uncommitted(new Uint8Array(0)), false, codecs)).toBeUndefined();
  });
});

test("batches that compaction has emptied have a place and nothing else, in either form", () => {
  const log = join(emptied(one(3)), one(4), emptied(one(5)), emptied(one(6)));
  const decoded = deliveryOf(uncommitted(log), false, codecs)!;
  expect([decoded.count, decoded.firstOffset, decoded.endOffset, decoded.lastOffsets]).toEqual([1, 3, 7, [4]]);
  const nothing = deliveryOf(uncommitted(emptied(one(6))), false, codecs)!;
  expect([nothing.count, nothing.endOffset]).toEqual([0, 7]);
  const raw = deliveryOf(uncommitted(log), true, codecs)!;
  expect([raw.count, raw.records(0, 4), raw.endOffset]).toEqual([4, 1, 7]);
});

describe("raw", () => {
  test("whole batches as they lie there, without markers and aborted ones, each costing its records and bytes", () => {
    const three = buildBatch([{}, {}, {}], { baseOffset: 10, leaderEpoch: 2 });
    const log = join(one(7, { producerId: 7 }), marker("abort", 8, 7), one(9), three);
    const delivery = deliveryOf(committed(log, [{ producerId: 7, firstOffset: 7 }]), true, codecs)!;
    expect(delivery.count).toBe(2);
    expect([delivery.records(0, 1), delivery.records(1, 2), delivery.records(0, 2)]).toEqual([1, 3, 4]);
    expect([delivery.cost(0, 1), delivery.cost(1, 2)]).toEqual([one(9).length, three.length]);
    const { raw } = frameOf(delivery, 0, 2).batches[0]!;
    const read: number[] = [];
    forEachBatch(raw, 0, raw.length, (start) => void read.push(readBatchInfo(raw, start).baseOffset));
    expect(read).toEqual([9, 10]);
  });
});

describe("how much of it fits", () => {
  const delivery = deliveryOf(uncommitted(join(one(0), one(2), one(4))), false, codecs)!;
  const cost = delivery.cost(0, 1);
  const plenty = { records: 100, bytes: 10_000 };

  test("as far as the credit reaches in records and in bytes", () => {
    expect(delivery.fitting(0, plenty, 10_000)).toBe(3);
    expect(delivery.fitting(0, { ...plenty, records: 2 }, 10_000)).toBe(2);
    expect(delivery.fitting(0, { ...plenty, bytes: 2 * cost }, 10_000)).toBe(2);
    expect(delivery.fitting(0, { ...plenty, bytes: 2 * cost - 1 }, 10_000)).toBe(1);
    expect(delivery.fitting(0, { ...plenty, bytes: cost - 1 }, 10_000)).toBe(0);
    expect(delivery.fitting(2, plenty, 10_000)).toBe(1);
  });

  test("as far as the frame reaches, but one record always", () => {
    expect(delivery.fitting(0, plenty, delivery.ends[1]!)).toBe(2);
    expect(delivery.fitting(0, plenty, 1)).toBe(1);
  });

  test("a place between the records begins at the next one", () => {
    expect([0, 1, 2, 3, 4, 5].map((offset) => delivery.pieceAt(offset))).toEqual([0, 1, 1, 2, 2, 3]);
  });
});
