/**
 * The step before transactional records are appended (KIP-890; Kafka's `maybeSendPartitionsToTransactionCoordinator` and
 * `AddPartitionsToTxnManager`): a partition in which the producer has no transaction open yet is put to the transaction
 * coordinator, which adds it or says whether it was added. What must stay true: nothing transactional is appended that
 * the coordinator does not list (T11), and an answer is good for the attempt that asked only (the guard).
 */
import type { VerificationGuard } from "../log/Verifications.ts";
import { isPending, type ProducerEpoch, type ProducerId, type Sequence, type Uuid } from "../prelude/Types.ts";
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
  support: TransactionSupport,
  ports: Ports,
  done: (verified: ReadonlyArray<Verified>) => void,
): void => {
  const begun = destinations.map(({ topicId, partition, baseSequence }) =>
    ports.replicas.beginVerification(topicId, partition, {
      ...{ producerId: producer.producerId, producerEpoch: producer.producerEpoch },
      ...{ baseSequence, supportsEpochBump: support.addsPartitions },
    }),
  );
  const ask = (guards: ReadonlyArray<VerificationGuard | undefined | number>): void => {
    const verified = guards.map(
      (guard): Verified =>
        typeof guard === "number" ? { error: guard, guard: undefined } : { error: Errors.NONE, guard },
    );
    askCoordinator(transactionalId, producer, destinations, support, ports, verified, done);
  };
  if (begun.some(isPending)) void Promise.all(begun).then(ask);
  else ask(begun as ReadonlyArray<VerificationGuard | undefined | number>);
};

/** Puts what has a guard to the coordinator. */
const askCoordinator = (
  transactionalId: string,
  { producerId, producerEpoch }: Parameters<typeof verifyTransaction>[1],
  destinations: ReadonlyArray<Destination>,
  { addsPartitions, knowsAbortable }: TransactionSupport,
  { transactions, config }: Ports,
  verified: Verified[],
  done: (verified: ReadonlyArray<Verified>) => void,
): void => {
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
