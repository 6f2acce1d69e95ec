/**
 * InitProducerId for a transactional id (Kafka's `prepareInitProducerIdTransit`), with KIP-360's recovery. What must stay
 * true (T4, T13): once it has answered an epoch, no earlier epoch of the id commits anything; an open transaction is
 * aborted first, under an epoch above its own, and that epoch is given to nobody; an epoch goes up once per fence.
 */
import { Errors } from "../protocol/Errors.ts";
import { fence } from "./EndTransaction.ts";
import { type ProducerIdAndEpoch, withoutProducer } from "./ProducerReply.ts";
import type { CoordinatorState, DecideContext, Decision, TransactionCommand } from "./TransactionCoordinator.ts";
import {
  isEpochExhausted,
  isPrepared,
  NO_PARTITIONS,
  NO_PRODUCER_EPOCH,
  NO_PRODUCER_ID,
  type TransactionMetadata,
  TransactionState,
  type Transition,
  transitionTo,
} from "./TransactionMetadata.ts";
import { recordOf } from "./TransactionRecords.ts";

export const initProducerId = (
  state: CoordinatorState,
  command: TransactionCommand<"InitProducerId">,
  context: DecideContext,
): Decision<"InitProducerId"> => {
  const { transactionalId, timeoutMs, expected } = command;
  const known = state.journal.get(transactionalId);
  const metadata = known ?? unknownId(transactionalId, timeoutMs, context);
  if (isPrepared(metadata)) return { records: [], reply: withoutProducer(Errors.CONCURRENT_TRANSACTIONS) };
  if (expected !== undefined && !mayBe(metadata, expected)) return fencedOff();
  if (metadata.state === TransactionState.Ongoing) {
    // The client asks again, and then gets an epoch above the fence's.
    return { ...fence(metadata, context), reply: withoutProducer(Errors.CONCURRENT_TRANSACTIONS) };
  }
  const empty = {
    state: TransactionState.Empty,
    nextProducerId: NO_PRODUCER_ID,
    timeoutMs,
    partitions: NO_PARTITIONS,
    startTimestamp: -1,
    lastUpdateTimestamp: context.now,
  } as const;
  const tookProducerId = known === undefined;
  const { producerEpoch } = metadata;
  if (isEpochExhausted(producerEpoch) && (expected === undefined || expected.producerEpoch === producerEpoch)) {
    const lastProducerEpoch = expected === undefined ? NO_PRODUCER_EPOCH : producerEpoch;
    const renewed: Transition = { ...empty, producerId: context.freshProducerId, producerEpoch: 0 };
    return granted(metadata, renewed, lastProducerEpoch, true);
  }
  const bumped: Transition = { ...empty, producerEpoch: producerEpoch + 1 };
  if (expected === undefined) return granted(metadata, bumped, NO_PRODUCER_EPOCH, tookProducerId);
  // A new id, or a producer that goes on after an error while nobody else has begun.
  if (producerEpoch === NO_PRODUCER_EPOCH || expected.producerEpoch === producerEpoch) {
    return granted(metadata, bumped, producerEpoch, tookProducerId);
  }
  // The answer to its bump was lost. Another producer's InitProducerId would have set the last epoch to -1.
  const lastProducerEpoch = state.lastProducerEpochs.get(transactionalId) ?? NO_PRODUCER_EPOCH;
  if (expected.producerEpoch === lastProducerEpoch) return granted(metadata, empty, lastProducerEpoch, tookProducerId);
  return fencedOff();
};

/** What an id is before its first record. */
const unknownId = (transactionalId: string, timeoutMs: number, context: DecideContext): TransactionMetadata => ({
  transactionalId,
  producerId: context.freshProducerId,
  previousProducerId: NO_PRODUCER_ID,
  nextProducerId: NO_PRODUCER_ID,
  producerEpoch: NO_PRODUCER_EPOCH,
  timeoutMs,
  state: TransactionState.Empty,
  partitions: NO_PARTITIONS,
  startTimestamp: -1,
  lastUpdateTimestamp: context.now,
  clientTransactionVersion: 0,
});

/** Whether the producer may be this id's; its epoch is looked at when it is bumped. */
const mayBe = (metadata: TransactionMetadata, expected: ProducerIdAndEpoch): boolean =>
  metadata.producerEpoch === NO_PRODUCER_EPOCH ||
  expected.producerId === metadata.producerId ||
  // A retry of the bump that exhausted its id.
  (expected.producerId === metadata.previousProducerId && isEpochExhausted(expected.producerEpoch));

const fencedOff = (): Decision<"InitProducerId"> => ({ records: [], reply: withoutProducer(Errors.PRODUCER_FENCED) });

const granted = (
  metadata: TransactionMetadata,
  transition: Transition,
  lastProducerEpoch: number,
  tookProducerId: boolean,
): Decision<"InitProducerId"> => {
  const next = transitionTo(metadata, transition);
  const { producerId, producerEpoch } = next;
  return {
    records: [recordOf(next)],
    reply: { error: Errors.NONE, producerId, producerEpoch },
    lastProducerEpoch,
    tookProducerId,
  };
};
