/**
 * The end of a transaction: EndTxn of either version, the timeout, and the fence by a new producer (Kafka's
 * `endTransaction`, `endTransactionWithTV1`). Answers before the markers, but after Prepare* is committed.
 *
 * Version 2 (KIP-890) gives each transaction an epoch of its own. What EndTxn gets where nothing is open, the retry
 * having the epoch before the present one (T5, T6):
 *
 * | | abort: retry | abort: present | commit: retry | commit: present |
 * |---|---|---|---|---|
 * | Empty | PRODUCER_FENCED | a bump | PRODUCER_FENCED | INVALID_TXN_STATE |
 * | CompleteAbort | the same answer | a bump | INVALID_TXN_STATE | INVALID_TXN_STATE |
 * | CompleteCommit | INVALID_TXN_STATE | a bump | the same answer | INVALID_TXN_STATE |
 *
 * Version 0/1: the epoch is the present one; Empty takes neither, CompleteX only X again. A late EndTxn can therefore
 * end the *next* transaction of the same epoch there: the hole of the old protocol, kept for old clients.
 *
 * What must stay true: an epoch that is exhausted gets another producer id here, never a wrap (T15).
 */
import type { Timestamp } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import { withoutProducer } from "./ProducerReply.ts";
import type { CoordinatorState, DecideContext, Decision, TransactionCommand } from "./TransactionCoordinator.ts";
import {
  EPOCH_BUMP_FROM,
  isEpochExhausted,
  isPrepared,
  MAX_EPOCH,
  NO_PARTITIONS,
  NO_PRODUCER_EPOCH,
  NO_PRODUCER_ID,
  type TransactionMetadata,
  TransactionState,
  transitionTo,
} from "./TransactionMetadata.ts";
import { recordOf } from "./TransactionRecords.ts";

type Outcome = Decision<"EndTxn">;

const answered = (error: number): Outcome => ({ records: [], reply: withoutProducer(error) });

export const endTransaction = (
  { journal }: CoordinatorState,
  command: TransactionCommand<"EndTxn">,
  context: DecideContext,
): Outcome => {
  if (command.transactionalId === "") return answered(Errors.INVALID_REQUEST);
  const metadata = journal.get(command.transactionalId);
  if (metadata === undefined) return answered(Errors.INVALID_PRODUCER_ID_MAPPING);
  return command.clientTransactionVersion >= EPOCH_BUMP_FROM
    ? endWithBump(metadata, command, context)
    : endWithoutBump(metadata, command, context);
};

const endWithoutBump = (
  metadata: TransactionMetadata,
  command: TransactionCommand<"EndTxn">,
  { now }: DecideContext,
): Outcome => {
  if (metadata.producerId !== command.producerId) return answered(Errors.INVALID_PRODUCER_ID_MAPPING);
  if (metadata.producerEpoch !== command.producerEpoch) return answered(Errors.PRODUCER_FENCED);
  if (isPrepared(metadata)) return answered(Errors.CONCURRENT_TRANSACTIONS);
  if (metadata.state === TransactionState.Ongoing) {
    const next = transitionTo(metadata, {
      state: preparedState(command.committed),
      nextProducerId: NO_PRODUCER_ID,
      lastUpdateTimestamp: now,
      clientTransactionVersion: 0,
    });
    return { records: [recordOf(next)], reply: withoutProducer(Errors.NONE) };
  }
  return answered(metadata.state === completeState(command.committed) ? Errors.NONE : Errors.INVALID_TXN_STATE);
};

const endWithBump = (
  metadata: TransactionMetadata,
  command: TransactionCommand<"EndTxn">,
  context: DecideContext,
): Outcome => {
  // First of all: the producer may have the next id already (KAFKA-18660).
  if (isPrepared(metadata)) return answered(Errors.CONCURRENT_TRANSACTIONS);
  const { state, producerId, producerEpoch } = metadata;
  const complete = state === TransactionState.CompleteCommit || state === TransactionState.CompleteAbort;
  const retriedOverflow =
    complete &&
    metadata.previousProducerId === command.producerId &&
    command.producerEpoch === MAX_EPOCH - 1 &&
    producerEpoch === 0;
  if (producerId !== command.producerId && !retriedOverflow) return answered(Errors.INVALID_PRODUCER_ID_MAPPING);
  const retried = retriedOverflow || (complete && producerEpoch === command.producerEpoch + 1);
  if (!retried && producerEpoch !== command.producerEpoch) return answered(Errors.PRODUCER_FENCED);
  if (retried) {
    const same = state === completeState(command.committed);
    return same
      ? { records: [], reply: { error: Errors.NONE, producerId, producerEpoch } }
      : answered(Errors.INVALID_TXN_STATE);
  }
  if (state !== TransactionState.Ongoing && command.committed) return answered(Errors.INVALID_TXN_STATE);
  return ended(metadata, command.committed, context);
};

/** Into Prepare* with an epoch of its own; the answer is what the producer goes on with. */
const ended = (metadata: TransactionMetadata, committed: boolean, context: DecideContext): Outcome => {
  const { now, freshProducerId } = context;
  const exhausted = isEpochExhausted(metadata.producerEpoch);
  const next = transitionTo(metadata, {
    state: preparedState(committed),
    producerEpoch: Math.min(metadata.producerEpoch + 1, MAX_EPOCH),
    nextProducerId: exhausted ? freshProducerId : NO_PRODUCER_ID,
    startTimestamp: startOf(metadata, now),
    lastUpdateTimestamp: now,
    clientTransactionVersion: EPOCH_BUMP_FROM,
  });
  const { producerId, producerEpoch } = completed(next, now);
  return {
    records: [recordOf(next)],
    reply: { error: Errors.NONE, producerId, producerEpoch },
    lastProducerEpoch: metadata.producerEpoch,
    tookProducerId: exhausted,
  };
};

/** An abort of nothing has no start; it counts as begun now. */
const startOf = ({ state, startTimestamp }: TransactionMetadata, now: Timestamp): Timestamp =>
  state === TransactionState.Ongoing ? startTimestamp : now;

/**
 * Aborts an open transaction in the broker's name, under an epoch above its producer's: whatever that producer still
 * sends is fenced. The epoch is bumped once, whichever version (KAFKA-19367).
 */
export const fence = (metadata: TransactionMetadata, context: DecideContext): Omit<Outcome, "reply"> => {
  if (context.transactionVersion >= EPOCH_BUMP_FROM) return ended(metadata, false, context);
  const next = transitionTo(metadata, {
    state: TransactionState.PrepareAbort,
    producerEpoch: Math.min(metadata.producerEpoch + 1, MAX_EPOCH),
    nextProducerId: NO_PRODUCER_ID,
    lastUpdateTimestamp: context.now,
    clientTransactionVersion: 0,
  });
  return { records: [recordOf(next)], lastProducerEpoch: NO_PRODUCER_EPOCH };
};

/** The transaction is still the one that was open for too long. */
export const timeOut = (
  { journal }: CoordinatorState,
  { transactionalId, producerId, producerEpoch }: TransactionCommand<"TimeOut">,
  context: DecideContext,
): Decision<"TimeOut"> => {
  const metadata = journal.get(transactionalId);
  const isIt =
    metadata?.state === TransactionState.Ongoing &&
    metadata.producerId === producerId &&
    metadata.producerEpoch === producerEpoch &&
    metadata.startTimestamp + metadata.timeoutMs < context.now;
  return isIt ? { ...fence(metadata, context), reply: undefined } : { records: [], reply: undefined };
};

/**
 * Kafka's `prepareComplete`, also what EndTxn answers: an exhausted producer id gives way to the next one, whose epoch
 * begins at 0.
 */
const completed = (prepared: TransactionMetadata, now: Timestamp): TransactionMetadata => {
  const renewed = prepared.nextProducerId !== NO_PRODUCER_ID;
  return transitionTo(prepared, {
    state:
      prepared.state === TransactionState.PrepareCommit
        ? TransactionState.CompleteCommit
        : TransactionState.CompleteAbort,
    producerId: renewed ? prepared.nextProducerId : prepared.producerId,
    producerEpoch: renewed ? 0 : prepared.producerEpoch,
    nextProducerId: NO_PRODUCER_ID,
    partitions: NO_PARTITIONS,
    lastUpdateTimestamp: now,
  });
};

/** Every partition has its marker: the transaction is over, if it still is that one. */
export const complete = (
  { journal }: CoordinatorState,
  { transactionalId, producerId, producerEpoch }: TransactionCommand<"MarkersWritten">,
  { now }: DecideContext,
): Decision<"MarkersWritten"> => {
  const metadata = journal.get(transactionalId);
  const isIt =
    metadata !== undefined &&
    isPrepared(metadata) &&
    metadata.producerId === producerId &&
    metadata.producerEpoch === producerEpoch;
  return { records: isIt ? [recordOf(completed(metadata, now))] : [], reply: undefined };
};

const preparedState = (committed: boolean): TransactionState =>
  committed ? TransactionState.PrepareCommit : TransactionState.PrepareAbort;

const completeState = (committed: boolean): TransactionState =>
  committed ? TransactionState.CompleteCommit : TransactionState.CompleteAbort;
