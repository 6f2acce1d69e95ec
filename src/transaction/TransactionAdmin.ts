/** What operators see of transactions: DescribeTransactions and ListTransactions. */
import type { ProducerId, Timestamp } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { DescribeTransactionsResponseTransactionState } from "../protocol/generated/DescribeTransactionsResponse.ts";
import type { ListTransactionsResponseTransactionState } from "../protocol/generated/ListTransactionsResponse.ts";
import type { TransactionCommand } from "./TransactionCoordinator.ts";
import type { TransactionJournal } from "./TransactionJournal.ts";
import { stateName } from "./TransactionMetadata.ts";

export type DescribedTransaction = DescribeTransactionsResponseTransactionState;

export type ListedTransactions = ReadonlyArray<ListTransactionsResponseTransactionState>;

/** A description that says only why there is none. */
export const undescribed = (transactionalId: string, errorCode: number): DescribedTransaction => ({
  errorCode,
  transactionalId,
  transactionState: "",
  transactionTimeoutMs: 0,
  transactionStartTimeMs: 0,
  producerId: 0,
  producerEpoch: 0,
  topics: [],
});

export const describe = (journal: TransactionJournal, transactionalId: string): DescribedTransaction => {
  if (transactionalId === "") return undescribed(transactionalId, Errors.INVALID_REQUEST);
  const metadata = journal.get(transactionalId);
  if (metadata === undefined) return undescribed(transactionalId, Errors.TRANSACTIONAL_ID_NOT_FOUND);
  return {
    errorCode: Errors.NONE,
    transactionalId,
    transactionState: stateName(metadata.state),
    transactionTimeoutMs: metadata.timeoutMs,
    transactionStartTimeMs: metadata.startTimestamp,
    producerId: metadata.producerId,
    producerEpoch: metadata.producerEpoch,
    topics: Array.from(metadata.partitions, ([topic, partitions]) => ({ topic, partitions: [...partitions] })),
  };
};

export const list = (
  journal: TransactionJournal,
  { states, producerIds, durationMs, matches }: TransactionCommand<"List">,
  now: Timestamp,
): ListedTransactions => {
  const wantedStates = new Set(states);
  const wantedProducers = new Set<ProducerId>(producerIds);
  const transactions: ListTransactionsResponseTransactionState[] = [];
  for (const { transactionalId, producerId, state, startTimestamp } of journal.values()) {
    const transactionState = stateName(state);
    if (wantedProducers.size > 0 && !wantedProducers.has(producerId)) continue;
    if (wantedStates.size > 0 && !wantedStates.has(transactionState)) continue;
    // As in Kafka, what was never begun is older than any duration.
    if (durationMs >= 0 && now - startTimestamp <= durationMs) continue;
    if (matches(transactionalId)) transactions.push({ transactionalId, producerId, transactionState });
  }
  return transactions;
};
