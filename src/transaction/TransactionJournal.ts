/**
 * What a coordinator's log says: the metadata of each transactional id as last written. Only `evolve` changes it, live
 * and in replay alike; `replay(log) == journal`, also after compaction.
 */
import type { TransactionMetadata } from "./TransactionMetadata.ts";
import type { TransactionRecord } from "./TransactionRecords.ts";

export type TransactionJournal = Map<string, TransactionMetadata>;

/** Folds one record in. */
export const evolve = (journal: TransactionJournal, { transactionalId, metadata }: TransactionRecord): void => {
  if (metadata === null) journal.delete(transactionalId);
  else journal.set(transactionalId, metadata);
};
