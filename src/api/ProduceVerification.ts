/**
 * The step before a transactional batch's append (KIP-890; Kafka's `ReplicaManager.handleProduceAppend` and
 * `AddPartitionsToTxnManager`): a partition in which the producer has no transaction open yet is put to the transaction
 * coordinator, which adds it (Produce 12 and later) or says whether it was added. What must stay true: nothing
 * transactional is appended that the coordinator does not list (T11), and an answer is good for the attempt that asked
 * only (the guard).
 */
import type { Rejection, ValidatedBatch } from "../log/LogValidator.ts";
import type { VerificationGuard } from "../partition/Verifications.ts";
import type { Uuid } from "../prelude/Types.ts";
import { Errors, errorName } from "../protocol/Errors.ts";
import { isTransactional } from "../record/RecordBatch.ts";
import type { AppendCommand } from "./Ports.ts";
import type { RequestContext } from "./RequestContext.ts";
import { EPOCH_BUMP_VERSION } from "./TransactionRequest.ts";

/** Where a batch is to go. */
export interface Destination {
  readonly topicId: Uuid;
  readonly topic: string;
  readonly batch: ValidatedBatch;
  readonly answer: { readonly index: number };
}

/** What is known of a request's batches before they are appended. */
export interface VerifiedProduce {
  /** Why a batch must not be appended, or undefined. */
  errorOf(destination: Destination): Rejection | undefined;
  /** What its append brings along. */
  verificationOf(destination: Destination): Pick<AppendCommand, "verification">;
}

/** From here on Produce takes partitions into the transaction, and knows TRANSACTION_ABORTABLE, respectively. */
const ADDS_PARTITIONS_FROM = 12;
const ABORTABLE_FROM = 11;

/**
 * Calls `done` once, at once when every partition has the transaction open (or none of the batches is transactional);
 * the destinations are those of one request with a transactional id.
 */
export const verifyProduce = (
  transactionalId: string,
  destinations: ReadonlyArray<Destination>,
  { ports, version }: RequestContext,
  done: (verified: VerifiedProduce) => void,
): void => {
  const addsPartitions = version >= ADDS_PARTITIONS_FROM;
  const errors = new Map<Destination, number>();
  const guards = new Map<Destination, VerificationGuard>();
  const transactional = destinations.filter(({ batch }) => isTransactional(batch.info.attributes));
  const supportsEpochBump = addsPartitions;
  const asksForIt = addsPartitions || ports.config.boolean("transaction.partition.verification.enable");
  const finish = (): void =>
    done({
      errorOf: (destination) => {
        const error = errors.get(destination);
        return error === undefined || error === Errors.NONE ? undefined : rejectionOf(error, version);
      },
      verificationOf: (destination) => {
        if (!asksForIt || !isTransactional(destination.batch.info.attributes)) return {};
        return { verification: { guard: guards.get(destination), supportsEpochBump } };
      },
    });
  if (!asksForIt) return finish();
  const { producerId, producerEpoch } = transactional[0]!.batch.info;
  if (
    transactional.some(({ batch: { info } }) => info.producerId !== producerId || info.producerEpoch !== producerEpoch)
  ) {
    for (const destination of destinations) errors.set(destination, Errors.INVALID_PRODUCER_ID_MAPPING);
    return finish();
  }
  for (const destination of transactional) {
    const { topicId, answer, batch } = destination;
    const { baseSequence } = batch.info;
    const request = { producerId, producerEpoch, baseSequence, supportsEpochBump };
    const begun = ports.replicas.beginVerification(topicId, answer.index, request);
    if (typeof begun === "number") errors.set(destination, begun);
    else if (begun !== undefined) guards.set(destination, begun);
  }
  if (guards.size === 0) return finish();
  const asked = [...guards.keys()];
  const partitions = asked.map(({ topic, answer }) => ({ topic, partition: answer.index }));
  const settle = (errorAt: (index: number) => number): void => {
    for (const [index, destination] of asked.entries()) errors.set(destination, errorAt(index));
    finish();
  };
  const command = { transactionalId, producerId, producerEpoch, partitions };
  if (addsPartitions) {
    const adding = { type: "AddPartitions", ...command, clientTransactionVersion: EPOCH_BUMP_VERSION } as const;
    ports.transactions.tell(transactionalId, adding, (reply) =>
      settle(() => (typeof reply === "number" ? reply : reply.error)),
    );
  } else {
    ports.transactions.tell(transactionalId, { type: "VerifyPartitions", ...command }, (reply) =>
      settle((index) => (typeof reply === "number" ? reply : reply.errors[index]!)),
    );
  }
};

/** The coordinator's word in those that producers know. */
const rejectionOf = (error: number, version: number): Rejection => {
  const rejected = (code: number, message: string | null): Rejection => ({ error: code, message, recordErrors: [] });
  const tryAgain = (): Rejection => {
    const why = errorName(error);
    const message = `Unable to verify the partition has been added to the transaction. Underlying error: ${why}`;
    return rejected(Errors.NOT_ENOUGH_REPLICAS, message);
  };
  switch (error) {
    case Errors.PRODUCER_FENCED:
      return rejected(Errors.INVALID_PRODUCER_EPOCH, null);
    case Errors.TRANSACTION_ABORTABLE:
      if (version >= ABORTABLE_FROM) return rejected(error, null);
      return rejected(Errors.INVALID_TXN_STATE, NOT_ADDED);
    case Errors.INVALID_TXN_STATE:
      return rejected(error, NOT_ADDED);
    case Errors.COORDINATOR_LOAD_IN_PROGRESS:
    case Errors.COORDINATOR_NOT_AVAILABLE:
    case Errors.NOT_COORDINATOR:
      return tryAgain();
    case Errors.CONCURRENT_TRANSACTIONS:
      return version >= ADDS_PARTITIONS_FROM ? rejected(error, null) : tryAgain();
    default:
      return rejected(error, null);
  }
};

const NOT_ADDED = "Partition was not added to the transaction";
