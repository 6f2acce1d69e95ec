import { describe, expect, test } from "bun:test";
import type { ConsumedRecord } from "../../src/cli/ConsumedRecord.ts";
import { envelopeOf, recordOfEnvelope } from "../../src/cli/RecordEnvelope.ts";

const record: ConsumedRecord = {
  topic: "t",
  partition: 2,
  offset: 7,
  timestamp: 1_700_000_000_123,
  key: new TextEncoder().encode("k"),
  value: Uint8Array.of(0xff),
  headers: [
    { key: "a", value: new TextEncoder().encode("1") },
    { key: "a", value: null },
  ],
  leaderEpoch: 0,
  producerId: -1,
  producerEpoch: -1,
  attributes: 0,
  broker: 1,
};

describe("the envelope", () => {
  test("has kcat's fields in kcat's order", () => {
    expect(JSON.stringify(envelopeOf(record, false))).toBe(
      '{"topic":"t","partition":2,"offset":7,"tstype":"create","ts":1700000000123,"broker":1,"headers":[["a","1"],["a",null]],"key":"k","payload":{"base64":"/w=="}}',
    );
    expect(envelopeOf({ ...record, attributes: 8 }, true)).toMatchObject({ tstype: "logappend", payload_size: 1 });
    expect(envelopeOf({ ...record, timestamp: -1, value: null }, true)).toMatchObject({
      tstype: "unknown",
      payload_size: null,
    });
    expect(envelopeOf(record, true)).not.toHaveProperty("payload");
  });

  test("a byte order mark is text like any other", () => {
    const key = Uint8Array.of(0xef, 0xbb, 0xbf, 0x61);
    expect(envelopeOf({ ...record, key }, false)).toMatchObject({ key: "\ufeffa" });
  });

  test("headers may be kcat's flat array", () => {
    const { headers } = recordOfEnvelope({ payload: null, headers: ["a", "1", "a", null] });
    expect(headers).toEqual(record.headers as typeof headers);
  });

  test.each([
    [[], "expected an object"],
    [{}, "payload is missing"],
    [envelopeOf(record, true), "payload is missing"],
    [{ payload: { a: 1 } }, 'payload: expected a string, null or {"base64": "…"}'],
    [{ payload: { base64: "?" } }, 'payload: "?" is not base64'],
    [{ payload: "\ud800" }, "payload: half a surrogate pair"],
    [{ payload: "", key: 1 }, "key: expected a string"],
    [{ payload: "", topic: 1 }, "topic: expected a string"],
    [{ payload: "", partition: -1 }, "partition: expected a whole number from 0"],
    [{ payload: "", ts: 1.5 }, "ts: expected a whole number"],
    [{ payload: "", headers: "a" }, "headers: expected an array"],
    [{ payload: "", headers: ["a"] }, "headers: a key without a value"],
    [{ payload: "", headers: [["a"]] }, "headers: expected [key, value] pairs"],
    [{ payload: "", headers: [[1, "a"]] }, "headers: a key is not text"],
  ])("%j is refused", (envelope, says) => {
    expect(() => recordOfEnvelope(envelope)).toThrow(says);
  });
});
