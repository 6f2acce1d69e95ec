/**
 * A record of a coordinator's log in the words of Kafka's DumpLogSegments: its key and value as JSON, with the fields that
 * the value's version has. What must stay true: tagged fields are left out at their default, as Kafka's are.
 */
import { decodeGroupRecord } from "../group/GroupRecords.ts";
import { ByteReader } from "../prelude/ByteReader.ts";
import type { Offset } from "../prelude/Types.ts";
import { ZERO_UUID } from "../prelude/Types.ts";
import { decodeConsumerProtocolAssignment } from "../protocol/generated/ConsumerProtocolAssignment.ts";
import { decodeConsumerProtocolSubscription } from "../protocol/generated/ConsumerProtocolSubscription.ts";
import { decodeTransactionLogKey } from "../protocol/generated/TransactionLogKey.ts";
import { decodeTransactionLogValue } from "../protocol/generated/TransactionLogValue.ts";
import { readInt16 } from "../record/Wire.ts";

export interface DecodedText {
  readonly key?: string;
  readonly payload?: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Which fields a message does not always have, by their name: those of later versions, and tagged ones. */
interface Optional {
  /** First and last version with the field. */
  readonly versions?: Readonly<Record<string, readonly [first: number, last?: number]>>;
  /** The value at which it is left out. */
  readonly defaults?: Fields;
}

const OPTIONAL: Readonly<Record<string, Optional>> = {
  OffsetCommit: { versions: { leaderEpoch: [3], expireTimestamp: [1, 1] }, defaults: { topicId: ZERO_UUID } },
  GroupMetadata: { versions: { currentStateTimestamp: [2], groupInstanceId: [3], rebalanceTimeout: [1] } },
  ConsumerGroupMetadata: { defaults: { metadataHash: 0 } },
  ConsumerGroupTargetAssignmentMetadata: { defaults: { assignmentTimestamp: 0 } },
  ConsumerGroupCurrentMemberAssignment: { defaults: { assignmentEpochs: null } },
  TransactionLog: {
    defaults: { previousProducerId: -1, nextProducerId: -1, nextProducerEpoch: -1, clientTransactionVersion: 0 },
  },
  Subscription: { versions: { ownedPartitions: [1], generationId: [2], rackId: [3] } },
};

/** Jackson writes bytes in base 64, and so do we. */
export const jsonText = (value: unknown): string =>
  JSON.stringify(value, function (this: Fields, name: string, each: unknown) {
    // A Buffer would have become an object by now.
    const bytes = this[name];
    return bytes instanceof Uint8Array ? Buffer.from(bytes).toString("base64") : each;
  });

/** The message without the fields that its version does not have, or that need not be said. */
const withoutAbsent = (value: unknown, version: number, kind: string): unknown => {
  if (Array.isArray(value)) return value.map((each) => withoutAbsent(each, version, kind));
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const { versions = {}, defaults = {} } = OPTIONAL[kind] ?? {};
  const present = Object.entries(value).filter(([name, each]) => {
    const [first, last = version] = versions[name] ?? [0];
    return version >= first && version <= last && !(name in defaults && defaults[name] === each);
  });
  return Object.fromEntries(present.map(([name, each]) => [name, withoutAbsent(each, version, kind)]));
};

/** What a consumer put into a field of bytes; the bytes when they are not that. */
const embedded = (
  bytes: Uint8Array,
  decode: (reader: ByteReader, version: number) => unknown,
  kind: string,
): unknown => {
  try {
    const reader = new ByteReader(bytes);
    const version = reader.int16();
    return withoutAbsent(decode(reader, version), version, kind);
  } catch {
    return bytes;
  }
};

interface ClassicGroup {
  readonly protocolType: string;
  readonly members: ReadonlyArray<{ readonly subscription: Uint8Array; readonly assignment: Uint8Array }>;
}

const withMembers = (group: ClassicGroup): unknown =>
  group.protocolType !== "consumer"
    ? group
    : {
        ...group,
        members: group.members.map((member) => ({
          ...member,
          subscription: embedded(member.subscription, decodeConsumerProtocolSubscription, "Subscription"),
          assignment: embedded(member.assignment, decodeConsumerProtocolAssignment, "Assignment"),
        })),
      };

const transactionRecord = (key: Uint8Array, value: Uint8Array | null) => {
  const keys = new ByteReader(key);
  if (keys.int16() !== 0) return "foreign";
  const kind = "TransactionLog";
  const decoded = decodeTransactionLogKey(keys, 0);
  if (value === null) return { kind, key: decoded, value: null };
  const reader = new ByteReader(value);
  return { kind, key: decoded, value: decodeTransactionLogValue(reader, reader.int16()) };
};

/** Throws when the bytes are not what they say. */
export const coordinatorRecordText = (
  key: Uint8Array,
  value: Uint8Array | null,
  offset: Offset,
  log: "offsets" | "transactions",
): DecodedText => {
  const type = readInt16(key, 0);
  const record = log === "offsets" ? decodeGroupRecord(key, value) : transactionRecord(key, value);
  if (typeof record === "string") return { key: `Unknown record type ${type} at offset ${offset}, skipping.` };
  const named = jsonText({ type: String(type), data: record.key });
  if (value === null) return { key: named, payload: "<DELETE>" };
  const version = readInt16(value, 0);
  const message = record.kind === "GroupMetadata" ? withMembers(record.value as ClassicGroup) : record.value;
  return {
    key: named,
    payload: jsonText({ version: String(version), data: withoutAbsent(message, version, record.kind) }),
  };
};
