/**
 * A transaction takes partitions in (AddPartitionsToTxn, AddOffsetsToTxn and, in version 2, Produce and TxnOffsetCommit
 * themselves), or is asked whether it has them. What must stay true: a partition is answered as added only when the
 * record that says so is committed; nothing is added to a transaction that is being completed.
 */
import type { TopicPartition } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ProducerIdAndEpoch } from "./ProducerReply.ts";
import type { CoordinatorState, DecideContext, Decision, TransactionCommand } from "./TransactionCoordinator.ts";
import {
  containsAll,
  isPrepared,
  type TransactionMetadata,
  TransactionState,
  transitionTo,
  withPartitions,
} from "./TransactionMetadata.ts";
import { recordOf } from "./TransactionRecords.ts";

const answered = (error: number): Decision<"AddPartitions"> => ({ records: [], reply: { error } });

/** Whose transaction it is, and whether anything may be added to it now. */
const producerError = (metadata: TransactionMetadata, { producerId, producerEpoch }: ProducerIdAndEpoch): number => {
  if (metadata.producerId !== producerId) return Errors.INVALID_PRODUCER_ID_MAPPING;
  if (metadata.producerEpoch !== producerEpoch) return Errors.PRODUCER_FENCED;
  return Errors.NONE;
};

export const addPartitions = (
  { journal }: CoordinatorState,
  command: TransactionCommand<"AddPartitions">,
  { now }: DecideContext,
): Decision<"AddPartitions"> => {
  const { transactionalId, partitions, clientTransactionVersion } = command;
  if (transactionalId === "") return answered(Errors.INVALID_REQUEST);
  const metadata = journal.get(transactionalId);
  if (metadata === undefined) return answered(Errors.INVALID_PRODUCER_ID_MAPPING);
  // First of all: the producer may have the next id already, which its exhausted one gives way to at the completion
  // (KAFKA-18575).
  if (isPrepared(metadata)) return answered(Errors.CONCURRENT_TRANSACTIONS);
  const error = producerError(metadata, command);
  if (error !== Errors.NONE) return answered(error);
  const ongoing = metadata.state === TransactionState.Ongoing;
  if (ongoing && containsAll(metadata, partitions)) return answered(Errors.NONE);
  const next = transitionTo(metadata, {
    state: TransactionState.Ongoing,
    partitions: withPartitions(metadata.partitions, partitions),
    startTimestamp: ongoing ? metadata.startTimestamp : now,
    lastUpdateTimestamp: now,
    clientTransactionVersion,
  });
  return { records: [recordOf(next)], reply: { error: Errors.NONE } };
};

/** Whether each partition is in the transaction (KIP-890); clients that add partitions themselves have them verified. */
export const verifyPartitions = (
  { journal }: CoordinatorState,
  command: TransactionCommand<"VerifyPartitions">,
): Decision<"VerifyPartitions"> => {
  const { transactionalId, partitions } = command;
  const metadata = journal.get(transactionalId);
  const all = (error: number): Decision<"VerifyPartitions"> => ({
    records: [],
    reply: { errors: partitions.map(() => error) },
  });
  if (transactionalId === "") return all(Errors.INVALID_REQUEST);
  if (metadata === undefined) return all(Errors.INVALID_PRODUCER_ID_MAPPING);
  const error = producerError(metadata, command);
  if (error !== Errors.NONE) return all(error);
  if (isPrepared(metadata)) return all(Errors.CONCURRENT_TRANSACTIONS);
  const errorOf = ({ topic, partition }: TopicPartition): number =>
    metadata.partitions.get(topic)?.has(partition) === true ? Errors.NONE : Errors.TRANSACTION_ABORTABLE;
  return { records: [], reply: { errors: partitions.map(errorOf) } };
};
