/**
 * What an application says when it consumes, and what it gets: the shapes of `consume`. Nothing here runs.
 */
import type { From, Isolation, PartitionAt, PartitionFrom, TopicPartition, WireHeaders } from "../gateway/Messages.ts";
import type { LogTruncationError, OffsetOutOfRangeError, PartitionError } from "./ClientError.ts";
import type { Codec } from "./Codec.ts";
import type { ResetPolicy, StreamState } from "./Stream.ts";

/** Where partitions were; JSON, to be kept anywhere and given back to `consume`. */
export type SavedPosition = ReadonlyArray<PartitionAt>;

export interface ConsumerRecord<Key, Value, Int64 = number> {
  readonly topic: string;
  readonly partition: number;
  readonly offset: Int64;
  /** Milliseconds since 1970; -1: none. */
  readonly timestamp: Int64;
  readonly key: Key | null;
  readonly value: Value | null;
  /** In order; a name may come twice. */
  readonly headers: WireHeaders;
}

export interface ConsumerBatch<Key, Value, Int64 = number> {
  readonly topic: string;
  readonly partition: number;
  /** At least one, in order. */
  readonly records: ReadonlyArray<ConsumerRecord<Key, Value, Int64>>;
  /** Behind the batch. */
  readonly position: PartitionAt;
}

/** How 64-bit integers of records are given: as numbers (within ±(2^53 − 1), always) or as bigints. */
export type Int64Mode = "number" | "bigint";
export type Int64Of<Mode extends Int64Mode> = Mode extends "bigint" ? bigint : number;

export interface ConsumeCommon<Key, Value, Mode extends Int64Mode = "number"> {
  /** Default `bytes`. */
  readonly key?: Codec<Key, never>;
  readonly value?: Codec<Value, never>;
  /** Of offsets and timestamps; default `"number"`. */
  readonly int64?: Mode;
  /** Default `read_committed`. */
  readonly isolation?: Isolation;
  /**
   * How records travel: `"batches"` (default) as the log holds them, compressed where producers compressed them, and
   * decoded here; `"records"` decoded by the server.
   */
  readonly encoding?: "batches" | "records";
  /** The most that is on its way or waiting here: default 10,000 records and 4 MiB. The server's limits cut it. */
  readonly window?: { readonly records?: number; readonly bytes?: number };
  /**
   * When a place is not in the log any more, or the log was cut below it: `"error"` (default) makes the iteration throw
   * `OffsetOutOfRangeError` or `LogTruncationError`, after which `seek` goes on elsewhere; `"earliest"` and `"latest"`
   * go there, after a cut to where both histories part, and say so by a `reset` event. Or a function that decides.
   */
  readonly onOutOfRange?: ResetPolicy | ((error: OffsetOutOfRangeError | LogTruncationError) => ResetPolicy);
  /** Closes the consumer; what waits for a record rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** Partitions of one's own choice, without a group. One of `topics`, `partitions`, `position` at least. */
export interface ConsumeAssigned {
  readonly group?: undefined;
  /** Every partition of these topics, also those that are added later (which are read from their beginning). */
  readonly topics?: string | ReadonlyArray<string>;
  /** Where partitions of `topics` begin that `position` does not name: default `"latest"`. */
  readonly from?: From;
  readonly partitions?: ReadonlyArray<PartitionFrom>;
  /** What `position()` gave earlier: goes on from there. */
  readonly position?: SavedPosition;
  /** How often topics are looked at for new partitions, in milliseconds (default 300,000; Kafka's metadata.max.age.ms). */
  readonly metadataMaxAgeMs?: number;
}

/** As a member of a consumer group. `topics` or `regex`, or both. */
export interface ConsumeGroup {
  readonly group: string;
  readonly topics?: string | ReadonlyArray<string>;
  /** RE2, matched against whole topic names by the broker. */
  readonly regex?: string;
  /** Where a partition begins that the group has no committed offset for: default `"latest"`, as in Kafka. */
  readonly from?: "earliest" | "latest" | "none";
  /** Static membership (`group.instance.id`). */
  readonly instanceId?: string;
  /** `group.remote.assignor`, as `uniform` or `range`. */
  readonly assignor?: string;
  readonly rebalanceTimeoutMs?: number;
  /**
   * Milliseconds between automatic commits of what the application has finished (default 5000); false: only `commit`
   * commits. A record is finished when the loop asks for the next one.
   */
  readonly autoCommit?: number | false;
  /** Before any record of these partitions is handed out; `seek` works here. */
  readonly onAssigned?: (partitions: ReadonlyArray<TopicPartition>) => void | Promise<void>;
  /** Everything handed out of them is finished and they are still ours: the last moment to commit. */
  readonly onRevoked?: (partitions: ReadonlyArray<TopicPartition>) => void | Promise<void>;
  /** They belong to somebody else by now. */
  readonly onLost?: (partitions: ReadonlyArray<TopicPartition>) => void | Promise<void>;
}

export type ConsumeOptions<Key, Value, Mode extends Int64Mode = "number"> = ConsumeCommon<Key, Value, Mode> &
  (ConsumeAssigned | ConsumeGroup);

export interface ConsumerEvents {
  state: { readonly state: StreamState };
  /** A policy moved a partition: what lies between `error.offset` and `to` was not delivered. */
  reset: {
    readonly error: OffsetOutOfRangeError | LogTruncationError;
    readonly to: "earliest" | "latest" | number;
  };
  /** A partition has trouble that the server hopes to be over soon. */
  trouble: PartitionError;
}

/** How far behind a partition is; `undefined` until the server has said where the end is. */
export interface PartitionLag extends TopicPartition {
  /** Records (or rather offsets) from what was handed out to what may be read. */
  readonly lag: number | undefined;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
}
