/**
 * The coordinator's events: Kafka's own records of `__consumer_offsets`. A record's key begins with an int16 that says
 * what it is, its value with an int16 version (Kafka's `CoordinatorRecordSerde`); a null value takes the key's fact
 * back. What must stay true: what is written here Kafka's tools read, and a record of another coordinator (share,
 * streams) or of a newer format is kept in the log and left alone, never half understood.
 */
import { ByteReader } from "../prelude/ByteReader.ts";
import { ByteWriter } from "../prelude/ByteWriter.ts";
import {
  type ConsumerGroupCurrentMemberAssignmentKey,
  decodeConsumerGroupCurrentMemberAssignmentKey,
  encodeConsumerGroupCurrentMemberAssignmentKey,
} from "../protocol/generated/ConsumerGroupCurrentMemberAssignmentKey.ts";
import {
  type ConsumerGroupCurrentMemberAssignmentValue,
  decodeConsumerGroupCurrentMemberAssignmentValue,
  encodeConsumerGroupCurrentMemberAssignmentValue,
} from "../protocol/generated/ConsumerGroupCurrentMemberAssignmentValue.ts";
import {
  type ConsumerGroupMemberMetadataKey,
  decodeConsumerGroupMemberMetadataKey,
  encodeConsumerGroupMemberMetadataKey,
} from "../protocol/generated/ConsumerGroupMemberMetadataKey.ts";
import {
  type ConsumerGroupMemberMetadataValue,
  decodeConsumerGroupMemberMetadataValue,
  encodeConsumerGroupMemberMetadataValue,
} from "../protocol/generated/ConsumerGroupMemberMetadataValue.ts";
import {
  type ConsumerGroupMetadataKey,
  decodeConsumerGroupMetadataKey,
  encodeConsumerGroupMetadataKey,
} from "../protocol/generated/ConsumerGroupMetadataKey.ts";
import {
  type ConsumerGroupMetadataValue,
  decodeConsumerGroupMetadataValue,
  encodeConsumerGroupMetadataValue,
} from "../protocol/generated/ConsumerGroupMetadataValue.ts";
import {
  type ConsumerGroupPartitionMetadataKey,
  decodeConsumerGroupPartitionMetadataKey,
  encodeConsumerGroupPartitionMetadataKey,
} from "../protocol/generated/ConsumerGroupPartitionMetadataKey.ts";
import {
  type ConsumerGroupPartitionMetadataValue,
  decodeConsumerGroupPartitionMetadataValue,
  encodeConsumerGroupPartitionMetadataValue,
} from "../protocol/generated/ConsumerGroupPartitionMetadataValue.ts";
import {
  type ConsumerGroupRegularExpressionKey,
  decodeConsumerGroupRegularExpressionKey,
  encodeConsumerGroupRegularExpressionKey,
} from "../protocol/generated/ConsumerGroupRegularExpressionKey.ts";
import {
  type ConsumerGroupRegularExpressionValue,
  decodeConsumerGroupRegularExpressionValue,
  encodeConsumerGroupRegularExpressionValue,
} from "../protocol/generated/ConsumerGroupRegularExpressionValue.ts";
import {
  type ConsumerGroupTargetAssignmentMemberKey,
  decodeConsumerGroupTargetAssignmentMemberKey,
  encodeConsumerGroupTargetAssignmentMemberKey,
} from "../protocol/generated/ConsumerGroupTargetAssignmentMemberKey.ts";
import {
  type ConsumerGroupTargetAssignmentMemberValue,
  decodeConsumerGroupTargetAssignmentMemberValue,
  encodeConsumerGroupTargetAssignmentMemberValue,
} from "../protocol/generated/ConsumerGroupTargetAssignmentMemberValue.ts";
import {
  type ConsumerGroupTargetAssignmentMetadataKey,
  decodeConsumerGroupTargetAssignmentMetadataKey,
  encodeConsumerGroupTargetAssignmentMetadataKey,
} from "../protocol/generated/ConsumerGroupTargetAssignmentMetadataKey.ts";
import {
  type ConsumerGroupTargetAssignmentMetadataValue,
  decodeConsumerGroupTargetAssignmentMetadataValue,
  encodeConsumerGroupTargetAssignmentMetadataValue,
} from "../protocol/generated/ConsumerGroupTargetAssignmentMetadataValue.ts";
import {
  decodeGroupMetadataKey,
  encodeGroupMetadataKey,
  type GroupMetadataKey,
} from "../protocol/generated/GroupMetadataKey.ts";
import {
  decodeGroupMetadataValue,
  encodeGroupMetadataValue,
  type GroupMetadataValue,
} from "../protocol/generated/GroupMetadataValue.ts";
import { decodeLegacyOffsetCommitKey } from "../protocol/generated/LegacyOffsetCommitKey.ts";
import {
  decodeOffsetCommitKey,
  encodeOffsetCommitKey,
  type OffsetCommitKey,
} from "../protocol/generated/OffsetCommitKey.ts";
import {
  decodeOffsetCommitValue,
  encodeOffsetCommitValue,
  type OffsetCommitValue,
} from "../protocol/generated/OffsetCommitValue.ts";

/** Key and value types by kind; the kind is the name of Kafka's message without `Key` and `Value`. */
export interface GroupRecordTypes {
  OffsetCommit: { key: OffsetCommitKey; value: OffsetCommitValue };
  GroupMetadata: { key: GroupMetadataKey; value: GroupMetadataValue };
  ConsumerGroupMetadata: { key: ConsumerGroupMetadataKey; value: ConsumerGroupMetadataValue };
  ConsumerGroupPartitionMetadata: {
    key: ConsumerGroupPartitionMetadataKey;
    value: ConsumerGroupPartitionMetadataValue;
  };
  ConsumerGroupMemberMetadata: { key: ConsumerGroupMemberMetadataKey; value: ConsumerGroupMemberMetadataValue };
  ConsumerGroupTargetAssignmentMetadata: {
    key: ConsumerGroupTargetAssignmentMetadataKey;
    value: ConsumerGroupTargetAssignmentMetadataValue;
  };
  ConsumerGroupTargetAssignmentMember: {
    key: ConsumerGroupTargetAssignmentMemberKey;
    value: ConsumerGroupTargetAssignmentMemberValue;
  };
  ConsumerGroupCurrentMemberAssignment: {
    key: ConsumerGroupCurrentMemberAssignmentKey;
    value: ConsumerGroupCurrentMemberAssignmentValue;
  };
  ConsumerGroupRegularExpression: {
    key: ConsumerGroupRegularExpressionKey;
    value: ConsumerGroupRegularExpressionValue;
  };
}

export type GroupRecordKind = keyof GroupRecordTypes;

/** One event. `value: null` is a tombstone. */
export type GroupRecord<Kind extends GroupRecordKind = GroupRecordKind> = {
  [K in Kind]: {
    readonly kind: K;
    readonly key: Readonly<GroupRecordTypes[K]["key"]>;
    readonly value: Readonly<GroupRecordTypes[K]["value"]> | null;
  };
}[Kind];

interface RecordCodec<K extends GroupRecordKind> {
  readonly kind: K;
  /** The int16 a key begins with. */
  readonly keyType: number;
  /** The version values are written in: the one Kafka 4.3 writes. */
  readonly valueVersion: number;
  /** The newest version that is read. */
  readonly maxValueVersion: number;
  decodeKey(reader: ByteReader, version: number): GroupRecordTypes[K]["key"];
  encodeKey(writer: ByteWriter, key: GroupRecordTypes[K]["key"], version: number): void;
  decodeValue(reader: ByteReader, version: number): GroupRecordTypes[K]["value"];
  encodeValue(writer: ByteWriter, value: GroupRecordTypes[K]["value"], version: number): void;
}

const codecs: { readonly [K in GroupRecordKind]: RecordCodec<K> } = {
  OffsetCommit: {
    kind: "OffsetCommit",
    keyType: 1,
    valueVersion: 4,
    maxValueVersion: 4,
    decodeKey: decodeOffsetCommitKey,
    encodeKey: encodeOffsetCommitKey,
    decodeValue: decodeOffsetCommitValue,
    encodeValue: encodeOffsetCommitValue,
  },
  GroupMetadata: {
    kind: "GroupMetadata",
    keyType: 2,
    valueVersion: 3,
    maxValueVersion: 4,
    decodeKey: decodeGroupMetadataKey,
    encodeKey: encodeGroupMetadataKey,
    decodeValue: decodeGroupMetadataValue,
    encodeValue: encodeGroupMetadataValue,
  },
  ConsumerGroupMetadata: {
    kind: "ConsumerGroupMetadata",
    keyType: 3,
    valueVersion: 0,
    maxValueVersion: 0,
    decodeKey: decodeConsumerGroupMetadataKey,
    encodeKey: encodeConsumerGroupMetadataKey,
    decodeValue: decodeConsumerGroupMetadataValue,
    encodeValue: encodeConsumerGroupMetadataValue,
  },
  ConsumerGroupPartitionMetadata: {
    kind: "ConsumerGroupPartitionMetadata",
    keyType: 4,
    valueVersion: 0,
    maxValueVersion: 0,
    decodeKey: decodeConsumerGroupPartitionMetadataKey,
    encodeKey: encodeConsumerGroupPartitionMetadataKey,
    decodeValue: decodeConsumerGroupPartitionMetadataValue,
    encodeValue: encodeConsumerGroupPartitionMetadataValue,
  },
  ConsumerGroupMemberMetadata: {
    kind: "ConsumerGroupMemberMetadata",
    keyType: 5,
    valueVersion: 0,
    maxValueVersion: 0,
    decodeKey: decodeConsumerGroupMemberMetadataKey,
    encodeKey: encodeConsumerGroupMemberMetadataKey,
    decodeValue: decodeConsumerGroupMemberMetadataValue,
    encodeValue: encodeConsumerGroupMemberMetadataValue,
  },
  ConsumerGroupTargetAssignmentMetadata: {
    kind: "ConsumerGroupTargetAssignmentMetadata",
    keyType: 6,
    valueVersion: 0,
    maxValueVersion: 0,
    decodeKey: decodeConsumerGroupTargetAssignmentMetadataKey,
    encodeKey: encodeConsumerGroupTargetAssignmentMetadataKey,
    decodeValue: decodeConsumerGroupTargetAssignmentMetadataValue,
    encodeValue: encodeConsumerGroupTargetAssignmentMetadataValue,
  },
  ConsumerGroupTargetAssignmentMember: {
    kind: "ConsumerGroupTargetAssignmentMember",
    keyType: 7,
    valueVersion: 0,
    maxValueVersion: 0,
    decodeKey: decodeConsumerGroupTargetAssignmentMemberKey,
    encodeKey: encodeConsumerGroupTargetAssignmentMemberKey,
    decodeValue: decodeConsumerGroupTargetAssignmentMemberValue,
    encodeValue: encodeConsumerGroupTargetAssignmentMemberValue,
  },
  ConsumerGroupCurrentMemberAssignment: {
    kind: "ConsumerGroupCurrentMemberAssignment",
    keyType: 8,
    valueVersion: 0,
    maxValueVersion: 0,
    decodeKey: decodeConsumerGroupCurrentMemberAssignmentKey,
    encodeKey: encodeConsumerGroupCurrentMemberAssignmentKey,
    decodeValue: decodeConsumerGroupCurrentMemberAssignmentValue,
    encodeValue: encodeConsumerGroupCurrentMemberAssignmentValue,
  },
  ConsumerGroupRegularExpression: {
    kind: "ConsumerGroupRegularExpression",
    keyType: 16,
    valueVersion: 0,
    maxValueVersion: 0,
    decodeKey: decodeConsumerGroupRegularExpressionKey,
    encodeKey: encodeConsumerGroupRegularExpressionKey,
    decodeValue: decodeConsumerGroupRegularExpressionValue,
    encodeValue: encodeConsumerGroupRegularExpressionValue,
  },
};

const byKeyType: ReadonlyArray<RecordCodec<GroupRecordKind> | undefined> = (() => {
  const table: Array<RecordCodec<GroupRecordKind> | undefined> = [];
  for (const codec of Object.values(codecs)) table[codec.keyType] = codec as RecordCodec<GroupRecordKind>;
  return table;
})();

/** Keys written before Kafka 0.9 had a version of their own. */
const LEGACY_OFFSET_COMMIT = 0;
/** `OffsetCommitValue` with an expire timestamp of its own exists in this version only. */
const OFFSET_COMMIT_WITH_EXPIRY = 1;

export interface EncodedRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

export const encodeGroupRecord = (record: GroupRecord): EncodedRecord => {
  const codec = codecs[record.kind] as RecordCodec<GroupRecordKind>;
  const key = new ByteWriter(64);
  key.int16(codec.keyType);
  codec.encodeKey(key, record.key as never, 0);
  if (record.value === null) return { key: key.toBytes(), value: null };
  const version = valueVersion(record, codec);
  const value = new ByteWriter();
  value.int16(version);
  codec.encodeValue(value, record.value as never, version);
  return { key: key.toBytes(), value: value.toBytes() };
};

const valueVersion = (record: GroupRecord, codec: RecordCodec<GroupRecordKind>): number =>
  record.kind === "OffsetCommit" && record.value !== null && record.value.expireTimestamp !== -1
    ? OFFSET_COMMIT_WITH_EXPIRY
    : codec.valueVersion;

/** Why a record is left alone: `foreign` belongs to another coordinator, `newer` has a value of a newer format. */
export type Unreadable = "foreign" | "newer";

/** The event a stored record is. Throws `ProtocolError` when its bytes are not what its version says. */
export const decodeGroupRecord = (key: Uint8Array, value: Uint8Array | null): GroupRecord | Unreadable => {
  const keys = new ByteReader(key);
  const keyType = keys.int16();
  if (keyType === LEGACY_OFFSET_COMMIT) {
    return decodeValueOf(codecs.OffsetCommit, decodeLegacyOffsetCommitKey(keys, 0), value);
  }
  const codec = byKeyType[keyType];
  return codec === undefined ? "foreign" : decodeValueOf(codec, codec.decodeKey(keys, 0), value);
};

const decodeValueOf = <K extends GroupRecordKind>(
  codec: RecordCodec<K>,
  key: GroupRecordTypes[K]["key"],
  value: Uint8Array | null,
): GroupRecord | Unreadable => {
  const event = (decoded: GroupRecordTypes[K]["value"] | null): GroupRecord =>
    ({ kind: codec.kind, key, value: decoded }) as unknown as GroupRecord;
  if (value === null) return event(null);
  const reader = new ByteReader(value);
  const version = reader.int16();
  if (version > codec.maxValueVersion) return "newer";
  return event(codec.decodeValue(reader, version));
};
