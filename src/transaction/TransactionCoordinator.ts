/**
 * One transaction coordinator's behaviour: a command and what the log says lead to records, a reply and the transactions
 * whose markers may now be written. `decide` reads and changes nothing: the actor folds the records into the journal,
 * appends them as one batch and releases the reply when everything decided so far is committed (T1). Time and a fresh
 * producer id come with the command.
 *
 * What must stay true: a decision is made from everything decided before it, committed or not, so that no transition
 * waits for another one and none is lost; in Prepare* nothing is decided but its completion, and every other command is
 * answered CONCURRENT_TRANSACTIONS.
 */
import type { ProducerEpoch, ProducerId, Timestamp, TopicPartition } from "../prelude/Types.ts";
import { addPartitions, verifyPartitions } from "./AddPartitions.ts";
import { complete, endTransaction, timeOut } from "./EndTransaction.ts";
import { initProducerId } from "./InitProducerId.ts";
import type { ProducerIdAndEpoch, ProducerReply } from "./ProducerReply.ts";
import { type DescribedTransaction, describe, type ListedTransactions, list } from "./TransactionAdmin.ts";
import type { TransactionJournal } from "./TransactionJournal.ts";
import { isPrepared, type TransactionMetadata, TransactionState } from "./TransactionMetadata.ts";
import type { TransactionRecord } from "./TransactionRecords.ts";

/** What each command carries, and what answers it. */
export interface TransactionCommandTypes {
  InitProducerId: {
    command: {
      readonly transactionalId: string;
      readonly timeoutMs: number;
      /** What the producer has now (KIP-360); undefined: it begins. */
      readonly expected: ProducerIdAndEpoch | undefined;
    };
    reply: ProducerReply;
  };
  /** The partitions exist; `clientTransactionVersion` is 2 when Produce or TxnOffsetCommit adds them by itself. */
  AddPartitions: {
    command: ProducerIdAndEpoch & {
      readonly transactionalId: string;
      readonly partitions: ReadonlyArray<TopicPartition>;
      readonly clientTransactionVersion: number;
    };
    reply: { readonly error: number };
  };
  VerifyPartitions: {
    command: ProducerIdAndEpoch & {
      readonly transactionalId: string;
      readonly partitions: ReadonlyArray<TopicPartition>;
    };
    /** By partition, in the command's order. */
    reply: { readonly errors: ReadonlyArray<number> };
  };
  EndTxn: {
    command: ProducerIdAndEpoch & {
      readonly transactionalId: string;
      readonly committed: boolean;
      readonly clientTransactionVersion: number;
    };
    reply: ProducerReply;
  };
  /** Every partition of a prepared transaction has its marker. */
  MarkersWritten: { command: ProducerIdAndEpoch & { readonly transactionalId: string }; reply: undefined };
  /** The transaction was open for too long when it was looked at. */
  TimeOut: { command: ProducerIdAndEpoch & { readonly transactionalId: string }; reply: undefined };
  /** Ids that nobody used since `before` are forgotten. */
  ExpireIds: { command: { readonly before: Timestamp }; reply: undefined };
  Describe: { command: { readonly transactionalId: string }; reply: DescribedTransaction };
  List: {
    command: {
      /** Null or empty: every one. */
      readonly states: ReadonlyArray<string>;
      readonly producerIds: ReadonlyArray<ProducerId>;
      /** Only those open for longer; negative: every one. */
      readonly durationMs: number;
      readonly matches: (transactionalId: string) => boolean;
    };
    reply: ListedTransactions;
  };
}

export type TransactionCommandType = keyof TransactionCommandTypes;
export type TransactionCommand<Type extends TransactionCommandType = TransactionCommandType> = {
  [T in Type]: { readonly type: T } & TransactionCommandTypes[T]["command"];
}[Type];
export type TransactionReply<Type extends TransactionCommandType> = TransactionCommandTypes[Type]["reply"];

export interface Decision<Type extends TransactionCommandType = TransactionCommandType> {
  /** In order; they become one record batch. */
  readonly records: ReadonlyArray<TransactionRecord>;
  /** The records may be spread over several batches: each stands for itself. */
  readonly divisible?: boolean;
  readonly reply: TransactionReply<Type>;
  /** The last epoch a client had of an id, for its retry (KIP-360): not in the log, so a restart forgets it. */
  readonly lastProducerEpoch?: ProducerEpoch;
  /** The context's fresh producer id is in use now. */
  readonly tookProducerId?: boolean;
}

/** What `decide` reads. */
export interface CoordinatorState {
  readonly journal: TransactionJournal;
  /** Volatile, by transactional id: the epoch its client had before the present one, where that is known. */
  readonly lastProducerEpochs: ReadonlyMap<string, ProducerEpoch>;
}

export interface DecideContext {
  /** Wall clock. */
  readonly now: Timestamp;
  /** An id no one has had; taken by the decision that says so. */
  readonly freshProducerId: ProducerId;
  /** The finalized `transaction.version`: how the broker itself ends a transaction. */
  readonly transactionVersion: number;
}

/** Decides one command. */
export const decide = (state: CoordinatorState, command: TransactionCommand, context: DecideContext): Decision => {
  switch (command.type) {
    case "InitProducerId":
      return initProducerId(state, command, context);
    case "AddPartitions":
      return addPartitions(state, command, context);
    case "VerifyPartitions":
      return verifyPartitions(state, command);
    case "EndTxn":
      return endTransaction(state, command, context);
    case "MarkersWritten":
      return complete(state, command, context);
    case "TimeOut":
      return timeOut(state, command, context);
    case "ExpireIds":
      return expireIds(state, command);
    case "Describe":
      return { records: [], reply: describe(state.journal, command.transactionalId) };
    case "List":
      return { records: [], reply: list(state.journal, command, context.now) };
  }
};

/** The open transactions whose time is up (Kafka's `timedOutTransactions`), to be told as `TimeOut` each. */
export const timedOut = (journal: TransactionJournal, now: Timestamp): TransactionMetadata[] =>
  [...journal.values()].filter(
    ({ state, startTimestamp, timeoutMs }) => state === TransactionState.Ongoing && startTimestamp + timeoutMs < now,
  );

/** T14: never an id with a transaction open or under completion. */
const expireIds = (
  { journal }: CoordinatorState,
  { before }: TransactionCommand<"ExpireIds">,
): Decision<"ExpireIds"> => {
  const records: TransactionRecord[] = [];
  for (const metadata of journal.values()) {
    const { transactionalId, state, lastUpdateTimestamp } = metadata;
    if (state === TransactionState.Ongoing || isPrepared(metadata) || lastUpdateTimestamp > before) continue;
    records.push({ transactionalId, metadata: null });
  }
  return { records, divisible: true, reply: undefined };
};
