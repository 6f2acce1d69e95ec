/**
 * The coordinator's events: Kafka's own records of `__transaction_state` (`TransactionLogKey`, `TransactionLogValue`,
 * each behind an int16 version). One event is the whole metadata of one transactional id after a transition, or a
 * tombstone. What must stay true: what is written here Kafka's tools read; what was written in a newer format is left
 * alone, never half understood.
 */
import { ByteReader } from "../prelude/ByteReader.ts";
import { ByteWriter } from "../prelude/ByteWriter.ts";
import { decodeTransactionLogKey, encodeTransactionLogKey } from "../protocol/generated/TransactionLogKey.ts";
import {
  decodeTransactionLogValue,
  encodeTransactionLogValue,
  type TransactionLogValue,
} from "../protocol/generated/TransactionLogValue.ts";
import { NO_PARTITIONS, stateOfId, type TransactionMetadata, TransactionState } from "./TransactionMetadata.ts";

/** `metadata: null` is a tombstone: the id is forgotten. */
export interface TransactionRecord {
  readonly transactionalId: string;
  readonly metadata: TransactionMetadata | null;
}

/** The record of an id's next metadata. */
export const recordOf = (metadata: TransactionMetadata): TransactionRecord => ({
  transactionalId: metadata.transactionalId,
  metadata,
});

const KEY_VERSION = 0;
/** Version 0 has no place for previous and next producer id nor for the client's transactions version. */
const VALUE_VERSION = 1;
const MAX_VALUE_VERSION = 1;

export interface EncodedTransactionRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

export const encodeTransactionRecord = ({ transactionalId, metadata }: TransactionRecord): EncodedTransactionRecord => {
  const key = new ByteWriter(64);
  key.int16(KEY_VERSION);
  encodeTransactionLogKey(key, { transactionalId }, KEY_VERSION);
  if (metadata === null) return { key: key.toBytes(), value: null };
  const value = new ByteWriter(128);
  value.int16(VALUE_VERSION);
  encodeTransactionLogValue(value, storedForm(metadata), VALUE_VERSION);
  return { key: key.toBytes(), value: value.toBytes() };
};

const storedForm = (metadata: TransactionMetadata): TransactionLogValue => ({
  producerId: metadata.producerId,
  previousProducerId: metadata.previousProducerId,
  nextProducerId: metadata.nextProducerId,
  producerEpoch: metadata.producerEpoch,
  nextProducerEpoch: -1,
  transactionTimeoutMs: metadata.timeoutMs,
  transactionStatus: metadata.state,
  transactionPartitions:
    metadata.state === TransactionState.Empty
      ? null
      : Array.from(metadata.partitions, ([topic, partitions]) => ({ topic, partitionIds: [...partitions] })),
  transactionLastUpdateTimestampMs: metadata.lastUpdateTimestamp,
  transactionStartTimestampMs: metadata.startTimestamp,
  clientTransactionVersion: metadata.clientTransactionVersion,
});

/** Why a record is left alone: `foreign` is no transaction's, `newer` has a format or a state nobody here knows. */
export type Unreadable = "foreign" | "newer";

/** The event a stored record is. Throws `ProtocolError` when its bytes are not what its version says. */
export const decodeTransactionRecord = (key: Uint8Array, value: Uint8Array | null): TransactionRecord | Unreadable => {
  const keys = new ByteReader(key);
  if (keys.int16() !== KEY_VERSION) return "foreign";
  const { transactionalId } = decodeTransactionLogKey(keys, KEY_VERSION);
  if (value === null) return { transactionalId, metadata: null };
  const values = new ByteReader(value);
  const version = values.int16();
  if (version < 0 || version > MAX_VALUE_VERSION) return "newer";
  const stored = decodeTransactionLogValue(values, version);
  const state = stateOfId(stored.transactionStatus);
  if (state === undefined) return "newer";
  const metadata = {
    transactionalId,
    producerId: stored.producerId,
    previousProducerId: stored.previousProducerId,
    nextProducerId: stored.nextProducerId,
    producerEpoch: stored.producerEpoch,
    timeoutMs: stored.transactionTimeoutMs,
    state,
    partitions:
      stored.transactionPartitions === null || state === TransactionState.Empty
        ? NO_PARTITIONS
        : new Map(stored.transactionPartitions.map(({ topic, partitionIds }) => [topic, new Set(partitionIds)])),
    startTimestamp: stored.transactionStartTimestampMs,
    lastUpdateTimestamp: stored.transactionLastUpdateTimestampMs,
    clientTransactionVersion: stored.clientTransactionVersion,
  };
  return { transactionalId, metadata };
};
