import { describe, expect, test } from "bun:test";
import { Verifications } from "../../src/log/Verifications.ts";
import { readBatchInfo } from "../../src/record/RecordBatch.ts";
import { buildEndTransactionMarker } from "../../src/record/RecordBatchBuilder.ts";

const EXPIRATION_MS = 1000;

const request = (baseSequence: number, producerEpoch = 0, producerId = 1) => ({
  producerId,
  producerEpoch,
  baseSequence,
  supportsEpochBump: true,
});

describe("the verification of a producer", () => {
  test("only the guard of its own attempt shows it (KAFKA-14884)", () => {
    const verifications = new Verifications();
    const first = verifications.begin(request(0), 0, EXPIRATION_MS);
    expect(verifications.begin(request(3), 0, EXPIRATION_MS)).toBe(first);
    expect(verifications.of(1, first, true).verified).toBe(true);
    expect(verifications.of(1, undefined, true).verified).toBe(false);
    expect(verifications.of(2, first, true).verified).toBe(false);
    // The transaction ended; the next one, of the same producer and epoch, is verified under another guard.
    verifications.written(
      readBatchInfo(
        buildEndTransactionMarker("abort", { producerId: 1, producerEpoch: 1, coordinatorEpoch: 0, timestamp: 0 }),
        0,
      ),
    );
    const second = verifications.begin(request(0), 0, EXPIRATION_MS);
    expect(verifications.of(1, first, true).verified).toBe(false);
    expect(verifications.of(1, second, true).verified).toBe(true);
  });

  test("remembers the lowest sequence of the newest epoch", () => {
    const verifications = new Verifications();
    const lowest = (): number => verifications.of(1, undefined, true).lowestSequence;
    verifications.begin(request(5), 0, EXPIRATION_MS);
    verifications.begin(request(7), 0, EXPIRATION_MS);
    expect(lowest()).toBe(5);
    verifications.begin(request(2), 0, EXPIRATION_MS);
    expect(lowest()).toBe(2);
    verifications.begin(request(9, 1), 0, EXPIRATION_MS);
    expect(lowest()).toBe(9);
    verifications.begin(request(0, 0), 0, EXPIRATION_MS);
    expect(lowest()).toBe(9);
  });

  test("those that never came back are forgotten, so that they do not pile up", () => {
    const verifications = new Verifications();
    for (let producerId = 0; producerId < 5000; producerId++) {
      verifications.begin(request(0, 0, producerId), producerId, EXPIRATION_MS);
    }
    expect(verifications.size).toBeLessThan(3000);
    expect(verifications.of(4999, undefined, true).lowestSequence).toBe(0);
  });
});
