/**
 * The ports through which handlers reach actors. The interfaces live here, their implementations in `actors`; a
 * handler sees neither mailbox nor fiber.
 */
import type * as Effect from "effect/Effect";
import type { BrokerConfig } from "../config/BrokerConfig.ts";
import type { GroupCommand, GroupReply } from "../group/GroupCoordinator.ts";
import type { ValidatedBatch, ValidationRules } from "../log/LogValidator.ts";
import type { VerificationGuard, VerificationRequest } from "../log/Verifications.ts";
import type { ControllerCommand, ControllerReply } from "../metadata/Controller.ts";
import type { MetadataImage, TopicImage } from "../metadata/MetadataImage.ts";
import type { AppendReply } from "../partition/Partition.ts";
import type { PartitionView } from "../partition/PartitionView.ts";
import type { Clock } from "../platform/Clock.ts";
import type { Random } from "../platform/Random.ts";
import type { MaybePending, Offset, ProducerEpoch, ProducerId, Uuid } from "../prelude/Types.ts";
import type { Codecs } from "../record/Compression.ts";
import type { TransactionCommand, TransactionReply } from "../transaction/TransactionCoordinator.ts";
import type { DelayedFetches } from "./DelayedFetch.ts";
import type { FetchSessions } from "./FetchSession.ts";
import type { HandlerTable } from "./Router.ts";

export interface Ports {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly config: BrokerConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly codecs: Codecs;
  readonly metadata: { image(): MetadataImage };
  readonly controller: ControllerPort;
  readonly replicas: ReplicaManagerPort;
  readonly groups: GroupCoordinatorPort;
  readonly transactions: TransactionCoordinatorPort;
  readonly delayedFetches: DelayedFetches;
  readonly fetchSessions: FetchSessions;
  readonly timers: Timers;
  /** The table the ApiVersions answer is derived from. */
  readonly handlers: HandlerTable;
}

/** Deadlines without a fiber each; the one timing wheel fills it. */
export interface Timers {
  /** Calls `task` once, no earlier than `delayMs` from now; answers the function that cancels it. */
  after(delayMs: number, task: () => void): () => void;
}

export interface ControllerPort {
  /** Answers when what was decided is durable, in the image and hosted (a created topic can be produced to). */
  ask<C extends ControllerCommand>(command: C): Effect.Effect<ControllerReply<C>>;
  /** A producer id that no one has had or will have, from this broker's durable block. */
  nextProducerId(): Effect.Effect<ProducerIdAndEpoch>;
}

export interface GroupCoordinatorPort {
  /** The partition of `__consumer_offsets` that keeps the group; undefined while the topic does not exist. */
  partitionOf(groupId: string): number | undefined;
  /**
   * Asks the group's coordinator: a synchronous tell. A number instead of a reply is an error code: 16 when the group is
   * not coordinated here, 14 while its log is read, 15 or -1 when a write failed.
   */
  ask<C extends GroupCommand>(groupId: string, command: C): Effect.Effect<GroupReply<C["type"]> | number>;
  /**
   * Ends a transaction that committed offsets into a partition of `__consumer_offsets`; `settle` is called once, with
   * NONE when the marker is committed.
   */
  completeTransaction(partition: number, end: EndOfTransaction, settle: (error: number) => void): void;
  /** Asks every coordinator of this broker. */
  askAll<C extends GroupCommand>(command: C): Effect.Effect<ReadonlyArray<GroupReply<C["type"]> | number>>;
}

export interface TransactionCoordinatorPort {
  /** The partition of `__transaction_state` that keeps the id; undefined while the topic does not exist. */
  partitionOf(transactionalId: string): number | undefined;
  /**
   * Tells the id's coordinator: synchronous. `settle` is called once, with the reply or an error code: 16 when the id is
   * not coordinated here, 15 or -1 when a write failed.
   */
  tell<C extends TransactionCommand>(
    transactionalId: string,
    command: C,
    settle: (reply: TransactionReply<C["type"]> | number) => void,
  ): void;
  ask<C extends TransactionCommand>(
    transactionalId: string,
    command: C,
  ): Effect.Effect<TransactionReply<C["type"]> | number>;
  /** Asks every coordinator of this broker. */
  askAll<C extends TransactionCommand>(command: C): Effect.Effect<ReadonlyArray<TransactionReply<C["type"]> | number>>;
}

/** How a producer's transaction has ended, as its marker says it. */
export interface EndOfTransaction extends ProducerIdAndEpoch {
  readonly coordinatorEpoch: number;
  readonly committed: boolean;
  /** Of the transaction: how the marker's epoch is judged. */
  readonly transactionVersion: number;
}

export interface ProducerIdAndEpoch {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
}

export interface AppendCommand {
  readonly batch: ValidatedBatch;
  /** -1: answered when committed; 0 and 1: when written. */
  readonly acks: -1 | 0 | 1;
  /** Default `client`; a coordinator appends its own records, and transaction markers. */
  readonly origin?: "client" | "coordinator";
  /**
   * A coordinator's: where its journal ends. It decided without what else the log may have there by now (or has lost),
   * so anywhere else the batch is refused with NOT_LEADER_OR_FOLLOWER.
   */
  readonly expectedOffset?: Offset;
  /** Of a marker: its transaction's version. */
  readonly transactionVersion?: number;
  /** A transactional batch gets in only with its partition in the transaction: verified under `guard`, or open already. */
  readonly verification?: { readonly guard: VerificationGuard | undefined; readonly supportsEpochBump: boolean };
  /** Called exactly once: with the reply, when its release is reached or the partition gives up. */
  readonly settle: (reply: AppendReply) => void;
  /** Called exactly once, when the append is written or refused (before or with `settle`). */
  readonly applied: () => void;
}

export interface DeleteRecordsReply {
  readonly error: number;
  /** The log start afterwards; -1 with an error. */
  readonly lowWatermark: Offset;
}

export interface LogDirDescription {
  readonly path: string;
  readonly totalBytes: number;
  readonly usableBytes: number;
  readonly topics: ReadonlyArray<{
    readonly name: string;
    readonly partitions: ReadonlyArray<{ readonly partition: number; readonly size: number }>;
  }>;
}

/** For what the rules of every version say alike. */
export const ANY_PRODUCE_VERSION = 13;

export interface ReplicaManagerPort {
  /** The view of a partition hosted here, or the error code that says why there is none (3, 6, 56, 100). */
  view(topicId: Uuid, partition: number): PartitionView | number;
  /**
   * A synchronous tell: enqueues in the partition's mailbox before it returns. An unknown, removed or offline
   * partition is answered through `settle` too.
   */
  append(topicId: Uuid, partition: number, command: AppendCommand): void;
  /**
   * Before the coordinator is asked whether a transaction includes a partition (KIP-890): the guard that the append
   * has to bring, undefined when the transaction is open here already, or the error code that refuses the batch at once.
   * Pending while the partition's log is being opened.
   */
  beginVerification(
    topicId: Uuid,
    partition: number,
    request: VerificationRequest,
  ): MaybePending<VerificationGuard | undefined | number>;
  /**
   * Moves the log start of a partition to `before` (-1: the high watermark), as DeleteRecords asks; `settle` is called
   * exactly once.
   */
  deleteRecords(topicId: Uuid, partition: number, before: Offset, settle: (reply: DeleteRecordsReply) => void): void;
  /** What lies in this broker's log directories, in the order of `log.dirs`; null: of every topic. */
  describeLogDirs(topics: ReadonlyMap<string, ReadonlySet<number>> | null): LogDirDescription[];
  /** What a client's batch is judged by, from the topic's configuration; undefined when the topic is not hosted here. */
  validationRules(topic: TopicImage, partition: number, produceVersion: number): ValidationRules | undefined;
}
