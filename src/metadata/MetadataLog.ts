/**
 * The port to the log of metadata records. One controller writes at a time; who it is, and whether there are several,
 * is the implementation's business (a local log by default, etcd for several controllers). What must stay true: an
 * append is there as a whole or not at all, and nothing is answered before it is durable.
 */
import type { LeaderEpoch, MaybePending, Offset } from "../prelude/Types.ts";
import type { MetadataRecord } from "./MetadataRecords.ts";

/** Records of one append, in order. */
export interface MetadataAppend {
  readonly records: ReadonlyArray<MetadataRecord>;
  readonly baseOffset: Offset;
  /** Exclusive. */
  readonly endOffset: Offset;
  readonly epoch: LeaderEpoch;
}

/** A point of the log: everything before `endOffset`, the last of it written in `epoch`. */
export interface SnapshotId {
  readonly endOffset: Offset;
  readonly epoch: LeaderEpoch;
}

export type AppendOutcome =
  | { readonly kind: "appended"; readonly baseOffset: Offset; readonly endOffset: Offset }
  /** Someone else has written, or a later epoch has begun: the decision was made from an old image. */
  | { readonly kind: "fenced" };

export interface MetadataLog {
  /** The reign of this controller, at least 1 more than any epoch found in the log. */
  readonly epoch: LeaderEpoch;
  /** Appends all records or none, if the log ends at `expectedEndOffset` and `epoch` still reigns. Durable when done. */
  append(
    records: ReadonlyArray<MetadataRecord>,
    expectedEndOffset: Offset,
    epoch: LeaderEpoch,
  ): MaybePending<AppendOutcome>;
  /** Calls `listener` with every append from `fromOffset` on, in order; answers the function that ends it. */
  watch(fromOffset: Offset, listener: (append: MetadataAppend) => void): () => void;
  /** The newest snapshot's records, or undefined when there is none. */
  latestSnapshot(): MaybePending<{ readonly id: SnapshotId; readonly bytes: Uint8Array } | undefined>;
  /** Keeps a snapshot (`MetadataSnapshot.encodeSnapshot`); the log before it may go afterwards. */
  writeSnapshot(id: SnapshotId, bytes: Uint8Array): MaybePending<void>;
}
