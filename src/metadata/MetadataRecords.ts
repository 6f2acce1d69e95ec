/**
 * The controller's events: Kafka's metadata records, framed as in `__cluster_metadata` (frame version 1, API key and
 * version as unsigned varints, then the message; Kafka's `MetadataRecordSerde`). What must stay true: a record of a
 * newer format is refused by name, and one of Kafka's that we do not act on yet is kept byte for byte, so that no
 * snapshot of ours loses it.
 */
import { ByteReader } from "../prelude/ByteReader.ts";
import { ByteWriter } from "../prelude/ByteWriter.ts";
import { ProtocolError } from "../prelude/ProtocolError.ts";
import {
  type AbortTransactionRecord,
  decodeAbortTransactionRecord,
  encodeAbortTransactionRecord,
} from "../protocol/generated/AbortTransactionRecord.ts";
import {
  type BeginTransactionRecord,
  decodeBeginTransactionRecord,
  encodeBeginTransactionRecord,
} from "../protocol/generated/BeginTransactionRecord.ts";
import {
  type BrokerRegistrationChangeRecord,
  decodeBrokerRegistrationChangeRecord,
  encodeBrokerRegistrationChangeRecord,
} from "../protocol/generated/BrokerRegistrationChangeRecord.ts";
import { type ConfigRecord, decodeConfigRecord, encodeConfigRecord } from "../protocol/generated/ConfigRecord.ts";
import {
  decodeEndTransactionRecord,
  type EndTransactionRecord,
  encodeEndTransactionRecord,
} from "../protocol/generated/EndTransactionRecord.ts";
import {
  decodeFeatureLevelRecord,
  encodeFeatureLevelRecord,
  type FeatureLevelRecord,
} from "../protocol/generated/FeatureLevelRecord.ts";
import { decodeNoOpRecord, encodeNoOpRecord, type NoOpRecord } from "../protocol/generated/NoOpRecord.ts";
import {
  decodePartitionChangeRecord,
  encodePartitionChangeRecord,
  type PartitionChangeRecord,
} from "../protocol/generated/PartitionChangeRecord.ts";
import {
  decodePartitionRecord,
  encodePartitionRecord,
  type PartitionRecord,
} from "../protocol/generated/PartitionRecord.ts";
import {
  decodeProducerIdsRecord,
  encodeProducerIdsRecord,
  type ProducerIdsRecord,
} from "../protocol/generated/ProducerIdsRecord.ts";
import {
  decodeRegisterBrokerRecord,
  encodeRegisterBrokerRecord,
  type RegisterBrokerRecord,
} from "../protocol/generated/RegisterBrokerRecord.ts";
import {
  decodeRemoveTopicRecord,
  encodeRemoveTopicRecord,
  type RemoveTopicRecord,
} from "../protocol/generated/RemoveTopicRecord.ts";
import { decodeTopicRecord, encodeTopicRecord, type TopicRecord } from "../protocol/generated/TopicRecord.ts";
import {
  decodeUnregisterBrokerRecord,
  encodeUnregisterBrokerRecord,
  type UnregisterBrokerRecord,
} from "../protocol/generated/UnregisterBrokerRecord.ts";

/** A record of Kafka's that we do not act on yet (ACLs, quotas, SCRAM…): kept as it is. */
export interface OtherRecord {
  readonly apiKey: number;
  readonly version: number;
  readonly body: Uint8Array;
}

interface Messages {
  RegisterBrokerRecord: RegisterBrokerRecord;
  UnregisterBrokerRecord: UnregisterBrokerRecord;
  TopicRecord: TopicRecord;
  PartitionRecord: PartitionRecord;
  ConfigRecord: ConfigRecord;
  PartitionChangeRecord: PartitionChangeRecord;
  RemoveTopicRecord: RemoveTopicRecord;
  FeatureLevelRecord: FeatureLevelRecord;
  ProducerIdsRecord: ProducerIdsRecord;
  BrokerRegistrationChangeRecord: BrokerRegistrationChangeRecord;
  NoOpRecord: NoOpRecord;
  BeginTransactionRecord: BeginTransactionRecord;
  EndTransactionRecord: EndTransactionRecord;
  AbortTransactionRecord: AbortTransactionRecord;
}

type RecordOf<M> = { [T in keyof M]: { readonly type: T; readonly message: M[T] } }[keyof M];

/** One event of the controller. */
export type MetadataRecord = RecordOf<Messages> | { readonly type: "OtherRecord"; readonly message: OtherRecord };

/** The log holds something this build cannot read: damage, or a newer version wrote it. Starting must fail. */
export class MetadataRecordError extends Error {
  readonly _tag = "MetadataRecordError";
  override readonly name = "MetadataRecordError";
}

interface RecordCodec<M> {
  readonly apiKey: number;
  /** The version written at metadata.version 4.3-IV0, which is also the highest one read. */
  readonly version: number;
  readonly encode: (writer: ByteWriter, message: M, version: number) => void;
}

const codecs: { readonly [T in keyof Messages]: RecordCodec<Messages[T]> } = {
  RegisterBrokerRecord: { apiKey: 0, version: 4, encode: encodeRegisterBrokerRecord },
  UnregisterBrokerRecord: { apiKey: 1, version: 0, encode: encodeUnregisterBrokerRecord },
  TopicRecord: { apiKey: 2, version: 0, encode: encodeTopicRecord },
  PartitionRecord: { apiKey: 3, version: 2, encode: encodePartitionRecord },
  ConfigRecord: { apiKey: 4, version: 0, encode: encodeConfigRecord },
  PartitionChangeRecord: { apiKey: 5, version: 2, encode: encodePartitionChangeRecord },
  RemoveTopicRecord: { apiKey: 9, version: 0, encode: encodeRemoveTopicRecord },
  FeatureLevelRecord: { apiKey: 12, version: 0, encode: encodeFeatureLevelRecord },
  ProducerIdsRecord: { apiKey: 15, version: 0, encode: encodeProducerIdsRecord },
  BrokerRegistrationChangeRecord: { apiKey: 17, version: 3, encode: encodeBrokerRegistrationChangeRecord },
  NoOpRecord: { apiKey: 20, version: 0, encode: encodeNoOpRecord },
  BeginTransactionRecord: { apiKey: 23, version: 0, encode: encodeBeginTransactionRecord },
  EndTransactionRecord: { apiKey: 24, version: 0, encode: encodeEndTransactionRecord },
  AbortTransactionRecord: { apiKey: 25, version: 0, encode: encodeAbortTransactionRecord },
};

const maxVersionByKey = new Map<number, number>();
for (const codec of Object.values(codecs)) maxVersionByKey.set(codec.apiKey, codec.version);

/** The highest API key Kafka 4.3.1 gives to a metadata record (ClearElrRecord). */
const MAX_API_KEY = 28;
const FRAME_VERSION = 1;

/** A record's value as it stands in the metadata log. */
export const encodeMetadataRecord = (record: MetadataRecord): Uint8Array => {
  const writer = new ByteWriter();
  writer.uvarint(FRAME_VERSION);
  if (record.type === "OtherRecord") {
    writer.uvarint(record.message.apiKey);
    writer.uvarint(record.message.version);
    writer.raw(record.message.body);
  } else {
    encodeModelled(writer, record);
  }
  return writer.toBytes();
};

const encodeModelled = <T extends keyof Messages>(
  writer: ByteWriter,
  record: { readonly type: T; readonly message: Messages[T] },
): void => {
  const codec: RecordCodec<Messages[T]> = codecs[record.type];
  writer.uvarint(codec.apiKey);
  writer.uvarint(codec.version);
  codec.encode(writer, record.message, codec.version);
};

/** Reads a record's value. Throws `MetadataRecordError`. */
export const decodeMetadataRecord = (value: Uint8Array): MetadataRecord => {
  const reader = new ByteReader(value);
  try {
    const frame = reader.uvarint();
    if (frame !== FRAME_VERSION) {
      throw new MetadataRecordError(`Metadata record has frame version ${frame}; only ${FRAME_VERSION} can be read`);
    }
    const apiKey = reader.uvarint();
    const version = reader.uvarint();
    const record = decodeMessage(reader, apiKey, version);
    if (reader.remaining > 0) {
      throw new MetadataRecordError(`${reader.remaining} bytes of garbage after a metadata record of type ${apiKey}`);
    }
    return record;
  } catch (failure) {
    if (failure instanceof ProtocolError) {
      throw new MetadataRecordError(`Metadata record cannot be read: ${failure.message}`);
    }
    throw failure;
  }
};

const decodeMessage = (reader: ByteReader, apiKey: number, version: number): MetadataRecord => {
  const maxVersion = maxVersionByKey.get(apiKey);
  if (apiKey > MAX_API_KEY || (maxVersion !== undefined && version > maxVersion)) {
    throw new MetadataRecordError(
      `Metadata record of type ${apiKey} and version ${version} needs a newer version of Odradek than this one`,
    );
  }
  switch (apiKey) {
    case 0:
      return { type: "RegisterBrokerRecord", message: decodeRegisterBrokerRecord(reader, version) };
    case 1:
      return { type: "UnregisterBrokerRecord", message: decodeUnregisterBrokerRecord(reader, version) };
    case 2:
      return { type: "TopicRecord", message: decodeTopicRecord(reader, version) };
    case 3:
      return { type: "PartitionRecord", message: decodePartitionRecord(reader, version) };
    case 4:
      return { type: "ConfigRecord", message: decodeConfigRecord(reader, version) };
    case 5:
      return { type: "PartitionChangeRecord", message: decodePartitionChangeRecord(reader, version) };
    case 9:
      return { type: "RemoveTopicRecord", message: decodeRemoveTopicRecord(reader, version) };
    case 12:
      return { type: "FeatureLevelRecord", message: decodeFeatureLevelRecord(reader, version) };
    case 15:
      return { type: "ProducerIdsRecord", message: decodeProducerIdsRecord(reader, version) };
    case 17:
      return { type: "BrokerRegistrationChangeRecord", message: decodeBrokerRegistrationChangeRecord(reader, version) };
    case 20:
      return { type: "NoOpRecord", message: decodeNoOpRecord(reader, version) };
    case 23:
      return { type: "BeginTransactionRecord", message: decodeBeginTransactionRecord(reader, version) };
    case 24:
      return { type: "EndTransactionRecord", message: decodeEndTransactionRecord(reader, version) };
    case 25:
      return { type: "AbortTransactionRecord", message: decodeAbortTransactionRecord(reader, version) };
    default: {
      const body = reader.subarray(reader.remaining).slice();
      return { type: "OtherRecord", message: { apiKey, version, body } };
    }
  }
};
