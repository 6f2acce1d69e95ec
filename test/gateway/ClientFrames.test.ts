import { describe, expect, test } from "bun:test";
import { Packr } from "msgpackr";
import { decodeClientFrame } from "../../src/gateway/ClientFrames.ts";
import { type Packable, pack } from "../../src/gateway/MessagePack.ts";

const msgpackr = new Packr({ useRecords: false, variableMapSize: true });
const decode = (frame: Packable) => decodeClientFrame(pack(frame));
const topicId = "AAAAAAAAAAAAAAAAAAAAAA";
const credit = { records: 10, bytes: 1000 };

describe("a good frame", () => {
  test.each<[string, { readonly [key: string]: Packable }]>([
    ["hello", { t: "hello", id: 1, client: { name: "c", version: "1" } }],
    ["open", { t: "open", id: 1, stream: 1, partitions: [{ topic: "t", partition: 0, from: "earliest" }], credit }],
    [
      "open from places",
      {
        t: "open",
        id: 2 ** 40,
        stream: 0x7fff_ffff,
        isolation: "read_uncommitted",
        raw: true,
        partitions: [
          { topic: "t", partition: 0, from: { offset: 2 ** 40 } },
          { topic: "t", partition: 1, from: { timestamp: 1_700_000_000_000 } },
          { topic: "t", partition: 2, from: { offset: 5, leaderEpoch: -1, topicId } },
        ],
        credit,
      },
    ],
    [
      "open in a group",
      { t: "open", id: 1, stream: 1, group: { id: "g", memberId: "m", topics: ["t"] }, from: "none", credit },
    ],
    ["produce", { t: "produce", id: 1, topic: "t", partition: 0, records: [[null, new Uint8Array(3)]] }],
    [
      "produce in full",
      {
        t: "produce",
        id: 1,
        topic: "t",
        partition: 0,
        records: [
          [new Uint8Array(1), null, [["h", null]], 1_700_000_000_000],
          [null, null, null, 5],
        ],
        acks: 0,
        timeoutMs: 5,
        producer: { id: 2 ** 52, epoch: 0, sequence: 0x7fff_ffff },
        transactionalId: "x",
      },
    ],
    ["produce of a batch", { t: "produce", id: 1, topic: "t", partition: 0, batch: new Uint8Array(61) }],
    ["a credit", { t: "credit", stream: 1, records: 0, bytes: 5 }],
    ["a ping", { t: "ping", n: -1 }],
    ["a call", { t: "call", id: 1, verb: "topics.list", body: {} }],
  ])("%s comes out as it went in, from either packer", (_what, frame) => {
    expect(decode(frame)).toEqual({ kind: "frame", frame } as never);
    expect(JSON.stringify(decodeClientFrame(new Uint8Array(msgpackr.pack(frame))))).toBe(JSON.stringify(decode(frame)));
  });

  test("unknown keys are ignored, null stands for a field that is not there", () => {
    expect(decode({ t: "close", id: 1, stream: 2, colour: "red" })).toEqual({
      kind: "frame",
      frame: { t: "close", id: 1, stream: 2 },
    });
    const initProducer = { t: "initProducer", id: 1, transactionalId: null, producer: null };
    expect(decode(initProducer)).toEqual({ kind: "frame", frame: { t: "initProducer", id: 1 } } as never);
  });
});

describe("a request that is wrong in a field is refused by a line that names it", () => {
  const open = { t: "open", id: 7, stream: 1, partitions: [], credit };
  const produce = { t: "produce", id: 7, topic: "t", partition: 0 };
  test.each<[{ readonly [key: string]: Packable }, string]>([
    [{ t: "open", id: 7, stream: 0, partitions: [], credit }, "stream: expected an integer of 1 … 2147483647, got 0"],
    [
      { ...open, credit: { records: -1, bytes: 0 } },
      "credit.records: expected an integer of 0 … 9007199254740991, got -1",
    ],
    [{ ...open, credit: null }, "credit: expected a map, got null"],
    [
      { ...open, isolation: "serializable" },
      'isolation: expected "read_committed" or "read_uncommitted", got "serializable"',
    ],
    [
      { ...open, partitions: [{ topic: "t", partition: 0, from: "start" }] },
      'partitions[0].from: expected "earliest", "latest", {offset}, {timestamp} or a position, got "start"',
    ],
    [
      { ...open, partitions: [{ topic: "t", partition: 0, from: { offset: 1.5 } }] },
      "partitions[0].from.offset: expected an integer of 0 … 9007199254740991, got 1.5",
    ],
    [
      { ...open, partitions: [{ topic: "", partition: 0, from: "latest" }] },
      'partitions[0].topic: expected a string of 1 … 249 characters, got ""',
    ],
    [{ ...open, partitions: {} }, "partitions: expected an array, got a map"],
    [{ ...open, partitions: new Array(10_001).fill({}) }, "partitions: at most 10000 entries are allowed, got 10001"],
    [
      { t: "open", id: 7, stream: 1, group: { id: "g", memberId: "m" }, from: "latest", credit },
      "group.topics: expected topics or regex, got missing",
    ],
    [{ ...produce, records: [] }, "records: expected at least one record, got an array"],
    [{ ...produce, records: [[null, "text"]] }, 'records[0][1]: expected bytes or nil, got "text"'],
    [{ ...produce, records: [[null, null, [["h"]]]] }, "records[0][2][0]: expected [string, bytes], got an array"],
    [
      { ...produce, records: [[null]] },
      "records[0]: expected [key, value], [key, value, headers] or [key, value, headers, timestamp], got an array",
    ],
    [{ ...produce, acks: 2, records: [[null, null]] }, "acks: expected -1 or 0 or 1, got 2"],
    [{ ...produce, batch: "x" }, 'batch: expected bytes, got "x"'],
    [{ ...produce }, "records: expected an array, got missing"],
    [{ t: "subscribe", id: 7 }, 't: unknown type "subscribe"'],
  ])("%j", (frame, message) => {
    expect(decode(frame)).toEqual({ kind: "refused", id: 7, message });
  });
});

describe("what leaves nothing to answer", () => {
  test.each<[string, Packable, number, string]>([
    ["a request without an id", { t: "close", stream: 1 }, 1002, "close: id: expected an integer of at least 1"],
    ["an id of 0", { t: "close", id: 0, stream: 1 }, 1002, "close: id: expected an integer of at least 1"],
    ["no type", { id: 1 }, 1002, "t: expected a frame's type"],
    [
      "a bad note",
      { t: "credit", stream: 1, records: -1, bytes: 0 },
      1002,
      "credit: records: expected an integer of 0 … 9007199254740991, got -1",
    ],
    ["an array", [1], 1007, "not a MessagePack map"],
  ])("%s ends the connection", (_what, frame, code, reason) => {
    expect(decode(frame)).toEqual({ kind: "fatal", code, reason });
  });

  test("a note of a later version is ignored", () => {
    expect(decode({ t: "hint", stream: 1 })).toEqual({ kind: "ignored" });
  });
});
