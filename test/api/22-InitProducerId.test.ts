import { describe, expect, test } from "bun:test";
import { InitProducerId } from "../../src/api/22-InitProducerId.ts";
import { Handling } from "./Handling.ts";

describe("InitProducerId", () => {
  test("#50 without a transactional id: fresh id, epoch 0; timeout, id and epoch are ignored", async () => {
    const handling = new Handling();
    const ids: number[] = [];
    for (let version = 0; version <= 5; version++) {
      const given = version >= 3 ? { producerId: 7, producerEpoch: 3 } : {};
      const request = { transactionalId: null, transactionTimeoutMs: -5, ...given };
      const { errorCode, producerId, producerEpoch } = await handling.call(22, InitProducerId, version, request);
      expect([errorCode, producerEpoch]).toEqual([0, 0]);
      ids.push(producerId);
    }
    expect(new Set(ids).size).toBe(6);
  });

  const refusals: ReadonlyArray<[string, Record<string, unknown>, number]> = [
    ["an empty transactional id", { transactionalId: "", transactionTimeoutMs: 1000 }, 42],
    ["an id without an epoch", { transactionalId: null, producerId: 7, producerEpoch: -1 }, 42],
    ["an epoch without an id", { transactionalId: null, producerId: -1, producerEpoch: 7 }, 42],
    ["a timeout of 0", { transactionalId: "t", transactionTimeoutMs: 0 }, 50],
    ["a timeout above transaction.max.timeout.ms", { transactionalId: "t", transactionTimeoutMs: 900_001 }, 50],
    ["a transactional id that is not coordinated here", { transactionalId: "t", transactionTimeoutMs: 900_000 }, 16],
  ];
  for (const [what, request, code] of refusals) {
    test(`#50 ${what}: ${code}`, async () => {
      const { errorCode, producerId, producerEpoch } = await new Handling().call(22, InitProducerId, 5, request);
      expect([errorCode, producerId, producerEpoch]).toEqual([code, -1, -1]);
    });
  }
});
