/**
 * Reading one partition for a fetch: epoch checks (KIP-320, KIP-595), bounds by isolation level, and the aborted
 * transactions that a read_committed client must know. Pure but for the log's own reads; an error is a Kafka code.
 */
import { CorruptLog } from "../log/CorruptLog.ts";
import type { FileRecords } from "../log/FileRecords.ts";
import type { PromisedData } from "../log/LogReader.ts";
import type { AbortedTransaction } from "../log/TransactionIndex.ts";
import type { PartitionView } from "../partition/PartitionView.ts";
import { DiskError } from "../platform/Disk.ts";
import { isPending, type LeaderEpoch, type MaybePending, type Offset } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { FetchPartition } from "./FetchSession.ts";

export interface PartitionRead {
  /** In the file only where `fromFile` allows it; then the caller releases it. */
  readonly records: Uint8Array | FileRecords;
  /** null for read_uncommitted. */
  readonly abortedTransactions: Array<{ producerId: number; firstOffset: Offset }> | null;
}

export interface ReadBounds {
  readonly offset: Offset;
  readonly maxBytes: number;
  /** The first partition with data gives one whole batch even when that is more than `maxBytes`. */
  readonly minOneBatch: boolean;
  readonly readCommitted: boolean;
  readonly fromFile: boolean;
}

/** The client's idea of the leader epoch (-1: none) against ours: FENCED (74), UNKNOWN (75) or undefined. */
export const checkLeaderEpoch = (view: PartitionView, currentLeaderEpoch: LeaderEpoch): number | undefined => {
  if (currentLeaderEpoch === -1 || currentLeaderEpoch === view.leaderEpoch) return undefined;
  return currentLeaderEpoch < view.leaderEpoch ? Errors.FENCED_LEADER_EPOCH : Errors.UNKNOWN_LEADER_EPOCH;
};

/** Where the client's log and ours part (KIP-595), an error code, or undefined when they do not. */
export const divergingEpoch = (
  view: PartitionView,
  wanted: FetchPartition,
): { epoch: LeaderEpoch; endOffset: Offset } | number | undefined => {
  if (wanted.lastFetchedEpoch < 0) return undefined;
  const end = view.state.leaderEpochs.endOffsetFor(wanted.lastFetchedEpoch, view.logEndOffset);
  if (end.endOffset < 0 || end.epoch < 0) return Errors.OFFSET_OUT_OF_RANGE;
  if (end.epoch < wanted.lastFetchedEpoch || end.endOffset < wanted.fetchOffset) {
    return { epoch: end.epoch, endOffset: end.endOffset };
  }
  return undefined;
};

const NOTHING = new Uint8Array(0);

/**
 * Reads below the bound of the isolation level. OFFSET_OUT_OF_RANGE outside [log start, log end]; KAFKA_STORAGE_ERROR
 * where the disk refuses or the log contradicts itself: that partition's fetch fails, and no other's.
 */
export const readPartition = (view: PartitionView, bounds: ReadBounds): MaybePending<PartitionRead | number> => {
  try {
    const read = readWithin(view, bounds);
    return isPending(read) ? read.catch(storageError) : read;
  } catch (error) {
    return storageError(error);
  }
};

const storageError = (error: unknown): number => {
  if (error instanceof DiskError || error instanceof CorruptLog) return Errors.KAFKA_STORAGE_ERROR;
  throw error;
};

const readWithin = (view: PartitionView, bounds: ReadBounds): MaybePending<PartitionRead | number> => {
  const { offset, maxBytes, minOneBatch, readCommitted, fromFile } = bounds;
  if (offset < view.logStartOffset || offset > view.logEndOffset) return Errors.OFFSET_OUT_OF_RANGE;
  const bound = readCommitted ? view.lastStableOffset : view.highWatermark;
  if (offset >= bound || (maxBytes <= 0 && !minOneBatch)) {
    return { records: NOTHING, abortedTransactions: readCommitted ? [] : null };
  }
  const { swaps } = view.log;
  const answer = ({ records, endOffset }: PromisedData): MaybePending<PartitionRead | number> => {
    if (!readCommitted) return { records, abortedTransactions: null };
    const finish = (abortedTransactions: AbortedTransaction[]): MaybePending<PartitionRead | number> => {
      if (view.log.swaps === swaps) return { records, abortedTransactions };
      // Compaction took aborted records, and with them what tells them from others, while these were read.
      release(records);
      return readWithin(view, bounds);
    };
    try {
      const aborted = view.log.abortedTransactions(offset, endOffset);
      return isPending(aborted) ? aborted.then(finish, (error: unknown) => giveUp(records, error)) : finish(aborted);
    } catch (error) {
      return giveUp(records, error);
    }
  };
  try {
    const read = view.log[fromFile ? "promise" : "read"](offset, Math.max(0, maxBytes), bound, minOneBatch);
    const answered = isPending(read) ? read.then(answer) : answer(read);
    return isPending(answered) ? answered.catch(unreadable) : answered;
  } catch (error) {
    return unreadable(error);
  }
};

const release = (records: PromisedData["records"]): void => {
  if (!(records instanceof Uint8Array)) records.release();
};

const giveUp = (records: PromisedData["records"], error: unknown): never => {
  release(records);
  throw error;
};

/** Bytes that cannot be read are this partition's trouble, and the client's to try again: the log has told the operator. */
const unreadable = (error: unknown): number => {
  if (error instanceof CorruptLog || error instanceof DiskError) return Errors.KAFKA_STORAGE_ERROR;
  throw error;
};
