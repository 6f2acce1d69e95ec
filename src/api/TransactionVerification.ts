/**
 * The step before transactional records are appended (KIP-890; Kafka's `maybeSendPartitionsToTransactionCoordinator` and
 * `AddPartitionsToTxnManager`): a partition in which the producer has no transaction open yet is put to the transaction
 * coordinator, which adds it or says whether it was added. What must stay true: nothing transactional is appended that
 * the coordinator does not list (T11), and an answer is good for the attempt that asked only (the guard).
 */
import type { VerificationGuard } from "../log/Verifications.ts";
import type { ProducerEpoch, ProducerId, Sequence, Uuid } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { Ports } from "./Ports.ts";
import { EPOCH_BUMP_VERSION } from "./TransactionRequest.ts";

/** Where records are to go, and with which first sequence (-1: none). */
export interface Destination {
  readonly topicId: Uuid;
  readonly topic: string;
  readonly partition: number;
  readonly baseSequence: Sequence;
}

/** What a client of some version can do and knows (Kafka's `TransactionSupportedOperation`). */
export interface TransactionSupport {
  /** Transactions version 2: its request takes partitions into the transaction. */
  readonly addsPartitions: boolean;
  readonly knowsAbortable: boolean;
}

/** By destination: NONE, and the guard its append brings along if one is needed; or why nothing may be appended. */
export interface Verified {
  readonly error: number;
  readonly guard: VerificationGuard | undefined;
}

/** Calls `done` once, at once when every partition has the transaction open. */
export const verifyTransaction = (
  transactionalId: string,
  producer: { readonly producerId: ProducerId; readonly producerEpoch: ProducerEpoch },
  destinations: ReadonlyArray<Destination>,
  { addsPartitions, knowsAbortable }: TransactionSupport,
  { replicas, transactions, config }: Ports,
  done: (verified: ReadonlyArray<Verified>) => void,
): void => {
  const { producerId, producerEpoch } = producer;
  const verified = destinations.map(({ topicId, partition, baseSequence }): Verified => {
    const request = { producerId, producerEpoch, baseSequence, supportsEpochBump: addsPartitions };
    const begun = replicas.beginVerification(topicId, partition, request);
    return typeof begun === "number" ? { error: begun, guard: undefined } : { error: Errors.NONE, guard: begun };
  });
  const asked = [...verified.keys()].filter((index) => verified[index]!.guard !== undefined);
  if (asked.length === 0 || !asksCoordinator(addsPartitions, config)) return done(verified);
  const partitions = asked.map((index) => destinations[index]!);
  const settle = (errorAt: (position: number) => number): void => {
    for (const [position, index] of asked.entries()) {
      verified[index] = { ...verified[index]!, error: producerError(errorAt(position), knowsAbortable) };
    }
    done(verified);
  };
  const command = { transactionalId, producerId, producerEpoch, partitions };
  if (addsPartitions) {
    const adding = { type: "AddPartitions", ...command, clientTransactionVersion: EPOCH_BUMP_VERSION } as const;
    transactions.tell(transactionalId, adding, (reply) =>
      settle(() => (typeof reply === "number" ? reply : reply.error)),
    );
  } else {
    transactions.tell(transactionalId, { type: "VerifyPartitions", ...command }, (reply) =>
      settle((position) => (typeof reply === "number" ? reply : reply.errors[position]!)),
    );
  }
};

/** Old clients have added their partitions; an operator may choose to believe them. */
export const asksCoordinator = (addsPartitions: boolean, config: Ports["config"]): boolean =>
  addsPartitions || config.boolean("transaction.partition.verification.enable");

/** The coordinator's word in those that producers know. */
const producerError = (error: number, knowsAbortable: boolean): number => {
  if (error === Errors.PRODUCER_FENCED) return Errors.INVALID_PRODUCER_EPOCH;
  return error === Errors.TRANSACTION_ABORTABLE && !knowsAbortable ? Errors.INVALID_TXN_STATE : error;
};
