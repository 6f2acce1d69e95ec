/**
 * Producer ids and transactions as the gateway's clients say them, protocol 2 of Kafka's (KIP-890): partitions and groups
 * enter a transaction by being written, every end gives a new epoch. Each is one request to its handler.
 */
import * as Effect from "effect/Effect";
import { ApiKey } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import {
  type Caller,
  CoordinatorType,
  PASSING_COORDINATOR_ERRORS,
  patiently,
  Refused,
  refused,
  withCoordinator,
} from "./Caller.ts";
import type { GroupIdentity, OffsetToCommit, PartitionOutcome, Requests } from "./Messages.ts";
import { wireError } from "./WireError.ts";

/** `transaction.timeout.ms` of Kafka's producers. */
const DEFAULT_TRANSACTION_TIMEOUT_MS = 60_000;

const passed = (errorCode: number): Effect.Effect<void, Refused> =>
  errorCode === Errors.NONE ? Effect.void : Effect.fail(new Refused({ error: wireError(errorCode) }));

export const initProducer = (
  caller: Caller,
  { transactionalId, transactionTimeoutMs, producer }: Requests["initProducer"]["request"],
): Effect.Effect<Requests["initProducer"]["answer"], Refused> => {
  const asked = Effect.flatMap(
    caller.call(ApiKey.InitProducerId, {
      transactionalId: transactionalId ?? null,
      transactionTimeoutMs: transactionTimeoutMs ?? DEFAULT_TRANSACTION_TIMEOUT_MS,
      producerId: producer?.id ?? -1,
      producerEpoch: producer?.epoch ?? -1,
    }),
    ({ errorCode, producerId: id, producerEpoch: epoch }) => Effect.as(passed(errorCode), { producer: { id, epoch } }),
  );
  if (transactionalId === undefined) return asked;
  const coordinated = withCoordinator(caller, CoordinatorType.TRANSACTION, transactionalId);
  return Effect.andThen(coordinated, patiently(caller, PASSING_COORDINATOR_ERRORS, asked));
};

export const endTransaction = (
  caller: Caller,
  { transactionalId, producer, commit }: Requests["endTxn"]["request"],
): Effect.Effect<Requests["endTxn"]["answer"], Refused> => {
  const asked = Effect.flatMap(
    caller.call(ApiKey.EndTxn, {
      transactionalId,
      producerId: producer.id,
      producerEpoch: producer.epoch,
      committed: commit,
    }),
    ({ errorCode, producerId: id, producerEpoch: epoch }) => Effect.as(passed(errorCode), { producer: { id, epoch } }),
  );
  return patiently(caller, PASSING_COORDINATOR_ERRORS, asked);
};

/** Offsets by topic, in the order in which topics are first named; each partition once. */
export const byTopic = <T extends { readonly topic: string; readonly partition: number }>(
  named: ReadonlyArray<T>,
): Effect.Effect<ReadonlyArray<readonly [topic: string, ReadonlyArray<T>]>, Refused> => {
  const topics = new Map<string, Map<number, T>>();
  for (const each of named) {
    let partitions = topics.get(each.topic);
    if (partitions === undefined) topics.set(each.topic, (partitions = new Map()));
    if (partitions.has(each.partition)) {
      return refused(Errors.INVALID_REQUEST, `offsets: ${each.topic}-${each.partition} is named twice`);
    }
    partitions.set(each.partition, each);
  }
  return Effect.succeed(Array.from(topics, ([topic, partitions]) => [topic, [...partitions.values()]] as const));
};

export const outcome = (topic: string, partition: number, errorCode: number): PartitionOutcome =>
  errorCode === Errors.NONE ? { topic, partition } : { topic, partition, error: wireError(errorCode) };

const committedPartition = ({ partition, offset, leaderEpoch, metadata }: OffsetToCommit) => ({
  partitionIndex: partition,
  committedOffset: offset,
  committedLeaderEpoch: leaderEpoch ?? -1,
  committedMetadata: metadata ?? "",
});

export const commitInTransaction = (
  caller: Caller,
  { transactionalId, producer, group, offsets }: Requests["txnOffsets"]["request"],
): Effect.Effect<Requests["txnOffsets"]["answer"], Refused> =>
  Effect.gen(function* () {
    const topics = yield* byTopic(offsets);
    yield* withCoordinator(caller, CoordinatorType.GROUP, group.id);
    const response = yield* caller.call(ApiKey.TxnOffsetCommit, {
      transactionalId,
      groupId: group.id,
      producerId: producer.id,
      producerEpoch: producer.epoch,
      ...memberOf(group),
      topics: topics.map(([name, partitions]) => ({ name, partitions: partitions.map(committedPartition) })),
    });
    const partitions = response.topics.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex, errorCode }) => outcome(name, partitionIndex, errorCode)),
    );
    return { partitions };
  });

/** KIP-447: what fences a commit of a consumer that has lost its partitions. */
const memberOf = ({ memberId, memberEpoch, instanceId }: GroupIdentity) => ({
  memberId: memberId ?? "",
  generationId: memberEpoch ?? -1,
  groupInstanceId: instanceId ?? null,
});
