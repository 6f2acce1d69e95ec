/**
 * What a client may send over the stream protocol (PROTOCOL.md): bytes to typed frames, each checked at this door and
 * nowhere else. What must stay true: a frame that is wrong in a field is answered with a line that names the field; only
 * what leaves no request to answer ends the connection; nothing here keeps state.
 */
import { Unpackr } from "msgpackr/unpack";
import { messagePackProblem } from "./MessagePack.ts";
import {
  type ClientFrame,
  CloseCode,
  type From,
  type ProducedRecord,
  type RequestFrame,
  type RequestType,
  type WireHeaders,
} from "./Messages.ts";
import {
  binary,
  boolean,
  custom,
  INT32_MAX,
  int,
  int32,
  isMap,
  list,
  oneOf,
  optional,
  refined,
  refuse,
  type Shape,
  ShapeError,
  struct,
  text,
} from "./Shape.ts";

/** Beyond these a frame is not even decoded. Frames of this protocol are at most six deep. */
export const FRAME_LIMITS = { depth: 12, items: 262_144 } as const;

export const MAX_TOPIC_NAME = 249;
/** Of one frame. */
export const MAX_PARTITIONS = 10_000;
const MAX_OFFSET = Number.MAX_SAFE_INTEGER;

export type Incoming =
  | { readonly kind: "frame"; readonly frame: ClientFrame }
  /** To be answered with INVALID_REQUEST. */
  | { readonly kind: "refused"; readonly id: number; readonly message: string }
  /** A note of a type that this version does not know. */
  | { readonly kind: "ignored" }
  /** The connection ends. */
  | { readonly kind: "fatal"; readonly code: number; readonly reason: string };

export const topicName = text(MAX_TOPIC_NAME);
export const partitionIndex = int32();
const offset = int(0, MAX_OFFSET);
const leaderEpoch = int32(-1);
const topicPartition = struct({ topic: topicName, partition: partitionIndex });
const position = struct({ offset, leaderEpoch, topicId: text(22, 22) });

export const from: Shape<From> = custom({}, (value, at): From => {
  if (value === "earliest" || value === "latest") return value;
  const expected = `"earliest", "latest", {offset}, {timestamp} or a position`;
  if (!isMap(value)) return refuse(at, expected, value);
  if (value.topicId !== undefined) return position.parse(value, at);
  if (value.offset !== undefined) return { offset: offset.parse(value.offset, `${at}.offset`) };
  if (value.timestamp !== undefined) return { timestamp: offset.parse(value.timestamp, `${at}.timestamp`) };
  return refuse(at, expected, value);
});

const partitionFrom = struct({ topic: topicName, partition: partitionIndex, from });
const partitionAt = struct({ topic: topicName, partition: partitionIndex, position });
const credit = { records: int(0, MAX_OFFSET), bytes: int(0, MAX_OFFSET) };
const streamNumber = int32(1);
const producerIdentity = struct({ id: offset, epoch: int(0, 0x7fff) });
export const offsetToCommit = struct({
  topic: topicName,
  partition: partitionIndex,
  offset,
  leaderEpoch: optional(leaderEpoch),
  metadata: optional(text(INT32_MAX, 0)),
});
export const offsetsToCommit = list(offsetToCommit, MAX_PARTITIONS);

const memberEpochs = int32(-1);
const groupMembership = refined(
  struct({
    id: text(),
    memberId: text(255),
    memberEpoch: optional(int32()),
    instanceId: optional(text(249)),
    topics: optional(list(topicName, MAX_PARTITIONS)),
    regex: optional(text(2048)),
    assignor: optional(text(249)),
    rebalanceTimeoutMs: optional(int32(1)),
    owned: optional(list(partitionAt, MAX_PARTITIONS)),
  }),
  (group, at) =>
    group.topics === undefined && group.regex === undefined
      ? refuse(`${at}.topics`, "topics or regex", undefined)
      : group,
);

const headers = (value: unknown, at: string): WireHeaders =>
  Array.isArray(value)
    ? value.map((header: unknown, index) => {
        if (!Array.isArray(header) || header.length !== 2 || typeof header[0] !== "string") {
          return refuse(`${at}[${index}]`, "[string, bytes]", header);
        }
        return [header[0], bytesOrNull(header[1], `${at}[${index}][1]`)] as const;
      })
    : refuse(at, "an array of [string, bytes]", value);

const bytesOrNull = (value: unknown, at: string): Uint8Array | null =>
  value === null || value instanceof Uint8Array ? value : refuse(at, "bytes or nil", value);

/** Hand-made, because it runs once per record. */
const producedRecord = (value: unknown, at: string): ProducedRecord => {
  if (!Array.isArray(value) || value.length < 2 || value.length > 4) {
    return refuse(at, "[key, value], [key, value, headers] or [key, value, headers, timestamp]", value);
  }
  const key = bytesOrNull(value[0], `${at}[0]`);
  const content = bytesOrNull(value[1], `${at}[1]`);
  if (value.length === 2) return [key, content];
  const listed = value[2] === null ? null : headers(value[2], `${at}[2]`);
  if (value.length === 3) return [key, content, listed];
  return [key, content, listed, offset.parse(value[3], `${at}[3]`)];
};

const recordList = refined(
  list(
    custom<ProducedRecord>({}, (value, at) => producedRecord(value, at)),
    FRAME_LIMITS.items,
  ),
  (records, at) => (records.length === 0 ? refuse(at, "at least one record", records) : records),
);

const streamOptions = {
  stream: streamNumber,
  isolation: optional(oneOf("read_committed", "read_uncommitted")),
  raw: optional(boolean),
  credit: struct(credit),
};
const openPartitions = struct({ ...streamOptions, partitions: list(partitionFrom, MAX_PARTITIONS) });
const openGroup = struct({ ...streamOptions, group: groupMembership, from: oneOf("earliest", "latest", "none") });

const produceOptions = {
  topic: topicName,
  partition: partitionIndex,
  acks: optional(oneOf(-1, 0, 1)),
  timeoutMs: optional(int32()),
  transactionalId: optional(text()),
};
const produceRecords = struct({
  ...produceOptions,
  records: recordList,
  producer: optional(struct({ id: offset, epoch: int(0, 0x7fff), sequence: int32() })),
});
const produceBatch = struct({ ...produceOptions, batch: binary });

const either = <A, B>(key: string, has: Shape<A>, hasNot: Shape<B>): Shape<A | B> =>
  custom({}, (value, at): A | B => (isMap(value) && value[key] !== undefined ? has : hasNot).parse(value, at));

type RequestShapes = { readonly [T in RequestType]: Shape<unknown> };

const requests: RequestShapes = {
  hello: struct({ client: struct({ name: text(255), version: text(255, 0) }), token: optional(text(16_384)) }),
  open: either("group", openGroup, openPartitions),
  assign: struct({
    stream: streamNumber,
    add: list(partitionFrom, MAX_PARTITIONS),
    remove: list(topicPartition, MAX_PARTITIONS),
  }),
  seek: struct({ stream: streamNumber, partitions: list(partitionFrom, MAX_PARTITIONS) }),
  close: struct({ stream: streamNumber }),
  commit: struct({ stream: streamNumber, offsets: offsetsToCommit }),
  produce: either("batch", produceBatch, produceRecords),
  initProducer: struct({
    transactionalId: optional(text()),
    transactionTimeoutMs: optional(int32(1)),
    producer: optional(producerIdentity),
  }),
  txnOffsets: struct({
    transactionalId: text(),
    producer: producerIdentity,
    group: struct({
      id: text(),
      memberId: optional(text(INT32_MAX, 0)),
      memberEpoch: optional(memberEpochs),
      instanceId: optional(text(249)),
    }),
    offsets: offsetsToCommit,
  }),
  endTxn: struct({ transactionalId: text(), producer: producerIdentity, commit: boolean }),
  call: struct({
    verb: text(64),
    body: custom({ type: "object" }, (value, at) => (isMap(value) ? value : refuse(at, "a map", value))),
  }),
};

const heartbeat = struct({ n: int() });
const notes: ReadonlyMap<string, Shape<unknown>> = new Map<string, Shape<unknown>>([
  ["credit", struct({ stream: streamNumber, ...credit })],
  ["release", struct({ stream: streamNumber, partitions: list(topicPartition, MAX_PARTITIONS) })],
  ["ping", heartbeat],
  ["pong", heartbeat],
]);

const requestId = int(1);
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });

const fatal = (code: number, reason: string): Incoming => ({ kind: "fatal", code, reason });

/** One message of a client. */
export const decodeClientFrame = (bytes: Uint8Array): Incoming => {
  const problem = messagePackProblem(bytes, FRAME_LIMITS);
  if (problem !== undefined) return fatal(CloseCode.MALFORMED, problem);
  const map: unknown = unpackr.unpack(bytes);
  if (!isMap(map)) return fatal(CloseCode.MALFORMED, "not a MessagePack map");
  const type = map.t;
  if (typeof type !== "string") return fatal(CloseCode.PROTOCOL_ERROR, "t: expected a frame's type");
  const note = notes.get(type);
  const request = Object.hasOwn(requests, type) ? requests[type as RequestType] : undefined;
  if (note !== undefined) return decodeNote(type, note, map);
  if (map.id === undefined && request === undefined) return { kind: "ignored" };
  if (!Number.isSafeInteger(map.id) || Number(map.id) < 1) {
    return fatal(CloseCode.PROTOCOL_ERROR, `${type}: id: expected an integer of at least 1`);
  }
  const id = requestId.parse(map.id, "id");
  if (request === undefined)
    return { kind: "refused", id, message: `t: unknown type ${JSON.stringify(type.slice(0, 64))}` };
  try {
    const body = request.parse(map, "") as object;
    return { kind: "frame", frame: { t: type, id, ...body } as RequestFrame };
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    return { kind: "refused", id, message: error.message };
  }
};

const decodeNote = (type: string, note: Shape<unknown>, map: Readonly<Record<string, unknown>>): Incoming => {
  try {
    const body = note.parse(map, "") as object;
    return { kind: "frame", frame: { t: type, ...body } as ClientFrame };
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    return fatal(CloseCode.PROTOCOL_ERROR, `${type}: ${error.message}`);
  }
};
