/** What `consume` and `produce` ask of a cluster, through whichever door. */
import type { LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition } from "../prelude/Types.ts";
import type { CodecId } from "../record/Compression.ts";
import type { NewRecord } from "../record/RecordBatchBuilder.ts";
import type { ConsumedRecord, PartitionBounds } from "./ConsumedRecord.ts";
import type { Isolation, TopicDoor } from "./TopicDoor.ts";

/** What came of one partition, in order. */
export interface Delivery extends TopicPartition {
  readonly records: ReadonlyArray<ConsumedRecord>;
  /** Where the partition goes on: behind markers and aborted records too. */
  readonly nextOffset: Offset;
  readonly bounds: PartitionBounds;
}

export interface OffsetToWrite extends TopicPartition {
  readonly offset: Offset;
  /** Of the last record before it; -1 unknown. */
  readonly leaderEpoch: LeaderEpoch;
}

/** Partitions that are read one after the other, as the caller names them. */
export interface RecordSource {
  /** Reads exactly these from now on; those it reads already go on where they are. */
  assign(places: ReadonlyArray<TopicPartition & { readonly offset: Offset }>): void;
  /** What there is, or nothing after so many milliseconds. Rejects when a partition refuses for good. */
  poll(maxWaitMs: number): Promise<ReadonlyArray<Delivery>>;
  close(): Promise<void>;
}

export interface SourceOptions {
  readonly isolation: Isolation;
  /** Something went wrong and was dealt with: a line for the user. */
  readonly onTrouble: (line: string) => void;
}

export interface MemberOptions extends SourceOptions {
  readonly groupId: string;
  readonly protocol: "classic" | "consumer";
  readonly topics: ReadonlyArray<string> | RegExp;
  /** Where a partition begins for which the group has committed nothing. */
  readonly reset: "earliest" | "latest";
  readonly onAssigned: (partitions: ReadonlyArray<TopicPartition>) => void;
  /** Called before partitions are given up, while their offsets can still be committed. */
  readonly onRevoked: (partitions: ReadonlyArray<TopicPartition>) => Promise<void>;
  /** Called when they were taken away: nothing can be committed for them. */
  readonly onLost: (partitions: ReadonlyArray<TopicPartition>) => void;
}

/** A member of a group, which gives it partitions. */
export interface GroupMember {
  readonly owned: ReadonlyArray<TopicPartition>;
  poll(maxWaitMs: number): Promise<ReadonlyArray<Delivery>>;
  /** Where it goes on reading; undefined when that is not known yet. */
  position(partition: TopicPartition): Offset | undefined;
  /** Undefined: committed; else why not. */
  commit(offsets: ReadonlyArray<OffsetToWrite>): Promise<string | undefined>;
  /** Leaves the group. */
  close(): Promise<void>;
}

/** `ok`: acknowledged; `fail`: certainly not written; `info`: nobody can tell. */
export type Sent =
  | {
      readonly type: "ok";
      /** Of the record so far behind the first one; -1: it was not told. */
      readonly offsetOf: (index: number) => Offset;
      /** The log's own time, or -1 when records keep theirs. */
      readonly timestampOf: (index: number) => Timestamp;
    }
  | { readonly type: "fail" | "info"; readonly error: string };

export interface SinkOptions {
  readonly acks: -1 | 0 | 1;
  readonly codec: CodecId;
  /** How long a batch may take with all its retries. */
  readonly deliveryTimeoutMs: number;
  readonly transaction: { readonly id: string; readonly timeoutMs: number } | undefined;
}

export interface RecordSink {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  /** Gets a producer id and, with a transaction, begins it. */
  begin(): Promise<void>;
  /** Batches of a partition are written in the order of the calls. Never rejects. */
  send(topic: string, partition: number, records: ReadonlyArray<NewRecord>): Promise<Sent>;
  /** Ends the transaction when everything sent is acknowledged. Undefined: it is committed; else why not. */
  commit(): Promise<string | undefined>;
  /** Undefined: it is aborted. */
  abort(): Promise<string | undefined>;
}

export interface RecordDoor {
  readonly topics: TopicDoor;
  /** Made if it does not exist and the broker makes topics. Rejects when there is none. */
  partitionsOf(topic: string): Promise<number>;
  read(options: SourceOptions): RecordSource;
  join(options: MemberOptions): GroupMember;
  write(options: SinkOptions): RecordSink;
  close(): Promise<void>;
}
