import { describe, expect, test } from "bun:test";
import { decodeSnapshot, encodeSnapshot, placeSnapshot } from "../../src/log/LogSnapshot.ts";
import { crc32c } from "../../src/record/Crc32c.ts";

const batch = (at: number) => ({
  firstSequence: at,
  lastSequence: at + 1,
  firstOffset: at + 100,
  lastOffset: at + 101,
  timestamp: at + 1000,
});
const producers = [
  {
    producerId: 9,
    epoch: 2,
    coordinatorEpoch: 4,
    lastTimestamp: 1500,
    transactionFirstOffset: 33,
    batches: [batch(0), batch(2)],
  },
  { producerId: 3, epoch: 0, coordinatorEpoch: -1, lastTimestamp: 20, transactionFirstOffset: -1, batches: [] },
];
const epochs = [{ epoch: 1, startOffset: 0 }];
const end = {
  baseOffset: 40,
  size: 12345,
  firstTimestamp: 5,
  maxTimestamp: 9,
  maxTimestampOffset: 44,
  bytesSinceIndexEntry: 77,
  abortedTransactions: 1,
  offsetIndexCrc: 0xffff_fff0,
  timeIndexCrc: 7,
  transactionIndexCrc: 8,
};

describe("LogSnapshot", () => {
  test("what is encoded is decoded, whatever the order it came in", () => {
    const bytes = encodeSnapshot(50, producers, epochs);
    expect(decodeSnapshot(bytes)).toEqual({
      producers: [producers[1]!, producers[0]!],
      addition: { offset: 50, epochs, end: undefined },
    });
    expect(encodeSnapshot(50, [...producers].reverse(), epochs)).toEqual(bytes);
    placeSnapshot(bytes, end);
    expect(decodeSnapshot(bytes)!.addition!.end).toEqual(end);
  });

  test("the front is Kafka's producer snapshot, version 1", () => {
    const bytes = encodeSnapshot(50, producers, epochs);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect([view.getInt16(0), view.getInt32(6)]).toEqual([1, 2]);
    expect(view.getUint32(2)).toBe(crc32c(bytes, 6));
    const second = 10 + 46;
    expect([view.getBigInt64(second), view.getInt16(second + 8)]).toEqual([9n, 2]);
    // Last sequence, last offset, offset delta, timestamp, coordinator epoch, first offset of the transaction.
    expect([view.getInt32(second + 10), view.getBigInt64(second + 14), view.getInt32(second + 22)]).toEqual([
      3,
      103n,
      1,
    ]);
    expect([view.getBigInt64(second + 26), view.getInt32(second + 34), view.getBigInt64(second + 38)]).toEqual([
      1500n,
      4,
      33n,
    ]);
    expect([view.getInt32(10 + 10), view.getBigInt64(10 + 14)]).toEqual([-1, -1n]);
  });

  test("Kafka's own, which ends there, gives the last batch of each producer", () => {
    const kafka = encodeSnapshot(50, producers, epochs).slice(0, 10 + 2 * 46);
    new DataView(kafka.buffer).setUint32(2, crc32c(kafka, 6));
    expect(decodeSnapshot(kafka)).toEqual({
      producers: [producers[1]!, { ...producers[0]!, batches: [{ ...batch(2), timestamp: 1500 }] }],
      addition: undefined,
    });
  });

  test("any flipped bit, and any cut, is found", () => {
    const bytes = encodeSnapshot(50, producers, epochs);
    for (let at = 0; at < bytes.length; at++) {
      const flipped = bytes.slice();
      flipped[at]! ^= 1 << (at % 8);
      expect(decodeSnapshot(flipped)).toBeUndefined();
      expect(decodeSnapshot(bytes.subarray(0, at))).toBeUndefined();
    }
  });
});
