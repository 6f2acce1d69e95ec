/**
 * AddPartitionsToTxn (key 24), versions 0–5: partitions enter a transaction.
 *
 * - v0–3: from clients of transactions version 0/1, one transaction. v2+: PRODUCER_FENCED. v3+: flexible.
 * - v4+: from brokers, several transactions, to add (version 2) or only to verify (KIP-890).
 *
 * One partition that does not exist refuses its whole transaction: the others are answered OPERATION_NOT_ATTEMPTED.
 * What must stay true: partitions are answered as added when that is committed.
 */
import * as Effect from "effect/Effect";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import type { TopicPartition } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type {
  AddPartitionsToTxnRequest,
  AddPartitionsToTxnTopic,
  AddPartitionsToTxnTransaction,
} from "../protocol/generated/AddPartitionsToTxnRequest.ts";
import type {
  AddPartitionsToTxnResponse,
  AddPartitionsToTxnResult,
} from "../protocol/generated/AddPartitionsToTxnResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import type { RequestContext } from "./RequestContext.ts";
import { defineHandler } from "./Router.ts";
import { EPOCH_BUMP_VERSION, FENCED_FROM, fencedErrorOf, OLD_VERSION } from "./TransactionRequest.ts";

const BROKERS_FROM = 4;

/** The one transaction of a client's request. */
const clientTransaction = (request: AddPartitionsToTxnRequest): AddPartitionsToTxnTransaction => ({
  transactionalId: request.v3AndBelowTransactionalId,
  producerId: request.v3AndBelowProducerId,
  producerEpoch: request.v3AndBelowProducerEpoch,
  topics: request.v3AndBelowTopics,
  verifyOnly: false,
});

type ErrorOf = (topic: string, partition: number) => number;

const resultOf = (
  { transactionalId, topics }: AddPartitionsToTxnTransaction,
  errorOf: ErrorOf,
): AddPartitionsToTxnResult => ({
  transactionalId,
  topicResults: topics.map(({ name, partitions }) => ({
    name,
    resultsByPartition: partitions.map((partitionIndex) => ({
      partitionIndex,
      partitionErrorCode: errorOf(name, partitionIndex),
    })),
  })),
});

const named = (topics: ReadonlyArray<AddPartitionsToTxnTopic>): TopicPartition[] =>
  topics.flatMap(({ name, partitions }) => partitions.map((partition) => ({ topic: name, partition })));

const exists = (image: MetadataImage, { topic, partition }: TopicPartition): boolean =>
  image.topicsByName.get(topic)?.partitions[partition] !== undefined;

const addOrVerify = (
  transaction: AddPartitionsToTxnTransaction,
  { ports, version }: RequestContext,
): Effect.Effect<AddPartitionsToTxnResult> => {
  const { transactionalId, producerId, producerEpoch, verifyOnly } = transaction;
  const partitions = named(transaction.topics);
  const image = ports.metadata.image();
  if (!partitions.every((partition) => exists(image, partition))) {
    const errorOf: ErrorOf = (topic, partition) =>
      exists(image, { topic, partition }) ? Errors.OPERATION_NOT_ATTEMPTED : Errors.UNKNOWN_TOPIC_OR_PARTITION;
    return Effect.succeed(resultOf(transaction, errorOf));
  }
  const asked = { transactionalId, producerId, producerEpoch, partitions };
  if (verifyOnly) {
    const verified = ports.transactions.ask(transactionalId, { type: "VerifyPartitions", ...asked });
    return Effect.map(verified, (reply) => {
      let next = 0;
      return resultOf(transaction, () => (isRefused(reply) ? reply : reply.errors[next++]!));
    });
  }
  const clientTransactionVersion = version >= BROKERS_FROM ? EPOCH_BUMP_VERSION : OLD_VERSION;
  const added = ports.transactions.ask(transactionalId, { type: "AddPartitions", ...asked, clientTransactionVersion });
  return Effect.map(added, (reply) => {
    const error = isRefused(reply) ? reply : fencedErrorOf(reply.error, version, FENCED_FROM);
    return resultOf(transaction, () => error);
  });
};

export const AddPartitionsToTxn = defineHandler<AddPartitionsToTxnRequest, AddPartitionsToTxnResponse>({
  apiKey: 24,
  minVersion: 0,
  maxVersion: 5,
  handle: (request, context) =>
    Effect.suspend(() => {
      const fromClient = context.version < BROKERS_FROM;
      const transactions = fromClient ? [clientTransaction(request)] : request.transactions;
      const results = Effect.all(
        transactions.map((transaction) => addOrVerify(transaction, context)),
        { concurrency: "unbounded" },
      );
      return Effect.map(results, (resultsByTransaction) => ({
        throttleTimeMs: 0,
        errorCode: Errors.NONE,
        resultsByTransaction: fromClient ? [] : resultsByTransaction,
        resultsByTopicV3AndBelow: fromClient ? resultsByTransaction[0]!.topicResults : [],
      }));
    }),
});
