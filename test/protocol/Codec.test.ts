/** The generated codecs against values and bytes nobody sane sends: round trips, defaults, refusals, mutations. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ProtocolError } from "../../src/prelude/ProtocolError.ts";
import { uuidFromBytes } from "../../src/prelude/Uuid.ts";
import type { Codec } from "../../src/protocol/ApiKeys.ts";
import { codec as fetchRequest } from "../../src/protocol/generated/FetchRequest.ts";
import { emptyFetchableTopicResponse, codec as fetchResponse } from "../../src/protocol/generated/FetchResponse.ts";
import { type JoinGroupRequest, codec as joinGroup } from "../../src/protocol/generated/JoinGroupRequest.ts";
import { codec as metadataRequest } from "../../src/protocol/generated/MetadataRequest.ts";
import { type MetadataResponse, codec as metadataResponse } from "../../src/protocol/generated/MetadataResponse.ts";
import { type ProduceRequest, codec as produceRequest } from "../../src/protocol/generated/ProduceRequest.ts";
import { COMMITTED, type Message, messages, readGoldens } from "./Goldens.ts";

const all = await messages();
const goldens = readGoldens(COMMITTED);

function encode<M>(codec: Codec<M>, message: M, version: number): Uint8Array {
  const writer = new ByteWriter();
  codec.encode(writer, message, version);
  return writer.toBytes();
}

const int16 = fc.integer({ min: -32768, max: 32767 });
const int32 = fc.integer();
const text = fc.string({ unit: "grapheme", maxLength: 20 });
const maybeText = fc.option(text);
const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => uuidFromBytes(bytes));
const bytes = fc.oneof(fc.uint8Array({ maxLength: 50 }), fc.constant(new Uint8Array(5000).fill(9)));

/** W1: what is decoded is what was encoded, in the version that has every field used here. */
function roundTrips<M>(codec: Codec<M>, version: number, arbitrary: fc.Arbitrary<M>): void {
  fc.assert(
    fc.property(arbitrary, (message) => {
      const reader = new ByteReader(encode(codec, message, version));
      expect(codec.decode(reader, version)).toEqual(message);
      expect(reader.remaining).toBe(0);
    }),
  );
}

test("decode after encode is the identity: Produce", () => {
  const message = (named: boolean): fc.Arbitrary<ProduceRequest> =>
    fc.record({
      transactionalId: maybeText,
      acks: int16,
      timeoutMs: int32,
      topicData: fc.array(
        fc.record({
          name: named ? text : fc.constant(""),
          topicId: named ? fc.constant("AAAAAAAAAAAAAAAAAAAAAA") : uuid,
          partitionData: fc.array(fc.record({ index: int32, records: fc.option(bytes) }), { maxLength: 4 }),
        }),
        { maxLength: 4 },
      ),
    });
  roundTrips(produceRequest, 3, message(true));
  roundTrips(produceRequest, 12, message(true));
  roundTrips(produceRequest, 13, message(false));
});

test("decode after encode is the identity: Metadata and JoinGroup", () => {
  const ids = fc.array(int32, { maxLength: 4 });
  const response: fc.Arbitrary<MetadataResponse> = fc.record({
    throttleTimeMs: int32,
    brokers: fc.array(fc.record({ nodeId: int32, host: text, port: int32, rack: maybeText }), { maxLength: 3 }),
    clusterId: maybeText,
    controllerId: int32,
    topics: fc.array(
      fc.record({
        errorCode: int16,
        name: maybeText,
        topicId: uuid,
        isInternal: fc.boolean(),
        partitions: fc.array(
          fc.record({
            errorCode: int16,
            partitionIndex: int32,
            leaderId: int32,
            leaderEpoch: int32,
            replicaNodes: ids,
            isrNodes: ids,
            offlineReplicas: ids,
          }),
          { maxLength: 3 },
        ),
        topicAuthorizedOperations: int32,
      }),
      { maxLength: 3 },
    ),
    clusterAuthorizedOperations: fc.constant(-2147483648),
    errorCode: int16,
  });
  roundTrips(metadataResponse, 13, response);
  const join: fc.Arbitrary<JoinGroupRequest> = fc.record({
    groupId: text,
    sessionTimeoutMs: int32,
    rebalanceTimeoutMs: int32,
    memberId: text,
    groupInstanceId: maybeText,
    protocolType: text,
    protocols: fc.array(fc.record({ name: text, metadata: bytes }), { maxLength: 3 }),
    reason: maybeText,
  });
  roundTrips(joinGroup, 9, join);
});

test("what a version does not have gets Kafka's default", () => {
  const request = fetchRequest.decode(new ByteReader(encode(fetchRequest, fetchRequest.empty(), 4)), 4);
  expect(request).toEqual(fetchRequest.empty());
  expect(request.maxBytes).toBe(0x7fffffff);
  expect(request.replicaId).toBe(-1);
  expect(request.replicaState).toEqual({ replicaId: -1, replicaEpoch: -1 });
  expect(request.clusterId).toBeNull();
  const metadata = metadataRequest.decode(new ByteReader(encode(metadataRequest, metadataRequest.empty(), 0)), 0);
  expect(metadata.allowAutoTopicCreation).toBe(true);
});

test("a value in a field the version lacks is refused, or left out when Kafka ignores it", () => {
  const request = { ...metadataRequest.empty(), includeTopicAuthorizedOperations: true };
  expect(() => encode(metadataRequest, request, 7)).toThrow(ProtocolError);
  expect(metadataRequest.decode(new ByteReader(encode(metadataRequest, request, 8)), 8)).toEqual(request);
  // throttleTimeMs is ignorable.
  const response = { ...metadataResponse.empty(), throttleTimeMs: 5 };
  expect(metadataResponse.decode(new ByteReader(encode(metadataResponse, response, 2)), 2).throttleTimeMs).toBe(0);
});

test("null where a version has none is refused both ways", () => {
  const request = { ...metadataRequest.empty(), topics: null };
  expect(() => encode(metadataRequest, request, 0)).toThrow(ProtocolError);
  const nulled = encode(metadataRequest, request, 1);
  expect([...nulled]).toEqual([255, 255, 255, 255]);
  expect(metadataRequest.decode(new ByteReader(nulled), 1).topics).toBeNull();
  expect(() => metadataRequest.decode(new ByteReader(nulled), 0)).toThrow(ProtocolError);
});

test("record bytes are views of the frame, and go out without a copy", () => {
  const records = new Uint8Array(8192).fill(5);
  const request: ProduceRequest = {
    ...produceRequest.empty(),
    topicData: [{ name: "t", topicId: "AAAAAAAAAAAAAAAAAAAAAA", partitionData: [{ index: 0, records }] }],
  };
  const frame = encode(produceRequest, request, 9);
  expect(produceRequest.decode(new ByteReader(frame), 9).topicData[0]!.partitionData[0]!.records!.buffer).toBe(
    frame.buffer,
  );
  const writer = new ByteWriter();
  produceRequest.encode(writer, request, 9);
  expect(writer.finish()).toContain(records);
});

test("tagged fields are written only when set, in the order of tags, and unknown ones are passed over", () => {
  const response = { ...fetchResponse.empty(), responses: [emptyFetchableTopicResponse()] };
  const plain = encode(fetchResponse, response, 16);
  // throttle 4, error 2, session 4, one topic: id 16, no partitions 1, no tags 1; no tags 1.
  expect(plain.length).toBe(4 + 2 + 4 + 1 + 18 + 1);
  expect(plain.at(-1)).toBe(0);
  const tagged = new Uint8Array([...plain.subarray(0, -1), 2, 5, 1, 0xaa, 0xff, 0x7f, 3, 1, 2, 3]);
  const reader = new ByteReader(tagged);
  expect(fetchResponse.decode(reader, 16)).toEqual(response);
  expect(reader.remaining).toBe(0);
  const withNode = { ...response, nodeEndpoints: [{ nodeId: 1, host: "h", port: 2, rack: null }] };
  const bytesWithNode = encode(fetchResponse, withNode, 16);
  expect([...bytesWithNode.subarray(plain.length - 1)]).toEqual([1, 0, 13, 2, 0, 0, 0, 1, 2, 104, 0, 0, 0, 2, 0, 0]);
  expect(fetchResponse.decode(new ByteReader(bytesWithNode), 16)).toEqual(withNode);
  // A known tag whose size is a lie.
  const lie = bytesWithNode.slice();
  lie[plain.length + 1] = 12;
  expect(() => fetchResponse.decode(new ByteReader(lie), 16)).toThrow(ProtocolError);
});

/** mulberry32: the mutations of one seed are always the same. */
function seeded(seed: number): (bound: number) => number {
  let state = seed | 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * bound);
  };
}

/** Values in a decoded message: what decoding allocated, in units of a few dozen bytes. */
function weigh(value: unknown): number {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return 1;
  let sum = 1;
  for (const part of Object.values(value)) sum += weigh(part);
  return sum;
}

/** Decodes; answers the weight of the message, or 0 when it was refused with a `ProtocolError`. */
function attempt(message: Message, bytes: Uint8Array, version: number): number {
  try {
    return weigh(message.codec.decode(new ByteReader(bytes), version));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return 0;
  }
}

test("every prefix of every golden decodes or is refused with a ProtocolError", () => {
  let refused = 0;
  for (const { name, version, bytes: whole } of goldens) {
    const message = all.get(name)!;
    const step = Math.max(1, whole.length >> 4);
    for (let length = 0; length < whole.length; length += step) {
      if (attempt(message, whole.subarray(0, length), version) === 0) refused++;
    }
  }
  expect(refused).toBeGreaterThan(10_000);
});

const ABSURD = [
  [0x7f, 0xff, 0xff, 0xff],
  [0xff, 0xff, 0xff, 0xff, 0x07],
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0x80, 0, 0, 0],
  [0xff, 0xff, 0xff, 0xff],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
  [0, 0xff, 0xff, 0xff],
];

test("120,000 mutated messages decode or are refused, and what they allocate follows their length", () => {
  const below = seeded(20261123);
  let refused = 0;
  let decoded = 0;
  for (let round = 0; round < 120_000; round++) {
    const golden = goldens[below(goldens.length)]!;
    const message = all.get(golden.name)!;
    let bytes = golden.bytes.slice();
    for (let times = 1 + below(4); times > 0 && bytes.length > 0; times--) {
      const at = below(bytes.length);
      switch (below(5)) {
        case 0:
          bytes[at] = below(256);
          break;
        case 1:
          bytes[at]! ^= 1 << below(8);
          break;
        case 2:
          bytes.set(ABSURD[below(ABSURD.length)]!.slice(0, bytes.length - at), at);
          break;
        case 3:
          bytes = bytes.slice(0, at);
          break;
        default: {
          const from = below(bytes.length);
          bytes.copyWithin(at, from, from + below(16));
        }
      }
    }
    const { minVersion, maxVersion } = message.info;
    const version = below(8) === 0 ? minVersion - 1 + below(maxVersion - minVersion + 3) : golden.version;
    const weight = attempt(message, bytes, version);
    if (weight === 0) refused++;
    else decoded++;
    // A byte can stand for at most one element, and no struct has more than a few dozen fields.
    if (weight > 100 + 60 * bytes.length) throw new Error(`${golden.name} v${version}: ${weight} from ${bytes.length}`);
  }
  expect(refused).toBeGreaterThan(20_000);
  expect(decoded).toBeGreaterThan(20_000);
});

test("random bytes decode or are refused, for every message and version", () => {
  const below = seeded(7);
  for (const message of all.values()) {
    for (let version = message.info.minVersion; version <= message.info.maxVersion; version++) {
      for (let round = 0; round < 20; round++) {
        const bytes = new Uint8Array(below(200)).map(() => (below(3) === 0 ? below(256) : below(3)));
        expect(attempt(message, bytes, version)).toBeLessThan(100 + 60 * bytes.length);
      }
    }
  }
});
