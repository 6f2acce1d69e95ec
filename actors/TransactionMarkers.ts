/**
 * Writes the markers of prepared transactions (Kafka's `TransactionMarkerChannelManager`): one control batch to each
 * partition of the transaction, again and again until it is there. What must stay true: a transaction's markers all say
 * the same and begin only when its Prepare record is committed; `written` is called once, when every partition that
 * still exists has its marker (T3).
 */
import { ANY_PRODUCE_VERSION, type GroupCoordinatorPort, type ReplicaManagerPort } from "../src/api/Ports.ts";
import type { MetadataImage } from "../src/metadata/MetadataImage.ts";
import { GROUP_METADATA_TOPIC } from "../src/metadata/TopicName.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { LeaderEpoch, TopicPartition } from "../src/prelude/Types.ts";
import { Errors, errorName } from "../src/protocol/Errors.ts";
import { readBatchInfo } from "../src/record/RecordBatch.ts";
import { buildEndTransactionMarker } from "../src/record/RecordBatchBuilder.ts";
import { eachPartition, type TransactionMetadata, TransactionState } from "../src/transaction/TransactionMetadata.ts";
import type { ActorContext } from "./Actor.ts";

export interface TransactionMarkersEnvironment {
  readonly clock: Clock;
  readonly log: ActorContext["log"];
  readonly replicas: ReplicaManagerPort;
  readonly groups: GroupCoordinatorPort;
  readonly image: () => MetadataImage;
}

/** Before a marker that could not be written is tried again. */
const RETRY_MS = 100;

interface Completion {
  readonly metadata: TransactionMetadata;
  remaining: number;
}

export class TransactionMarkers {
  /** By transactional id; an id has one transaction under completion at most. */
  private readonly completions = new Map<string, Completion>();
  private coordinatorEpoch: LeaderEpoch = 0;

  constructor(
    private readonly environment: TransactionMarkersEnvironment,
    private readonly written: (metadata: TransactionMetadata) => void,
    /** A newer coordinator of the same ids has been at work. */
    private readonly fenced: () => void,
  ) {}

  /** Forgets what is under way: markers already handed over may still be written, which a retry repeats. */
  begin(coordinatorEpoch: LeaderEpoch): void {
    this.completions.clear();
    this.coordinatorEpoch = coordinatorEpoch;
  }

  /** The transaction's Prepare record is committed. */
  write(metadata: TransactionMetadata): void {
    const partitions = [...eachPartition(metadata.partitions)];
    const completion = { metadata, remaining: partitions.length };
    this.completions.set(metadata.transactionalId, completion);
    if (partitions.length === 0) return this.finish(completion);
    for (const partition of partitions) this.attempt(completion, partition);
  }

  private attempt(completion: Completion, at: TopicPartition): void {
    const { replicas, groups, image, clock } = this.environment;
    const { producerId, producerEpoch, state, clientTransactionVersion } = completion.metadata;
    const topic = image().topicsByName.get(at.topic);
    // Deleted meanwhile: nobody is left to be told.
    if (topic?.partitions[at.partition] === undefined) return this.finishPartition(completion);
    const settle = (error: number): void => this.settled(completion, at, error);
    const marker = {
      producerId,
      producerEpoch,
      coordinatorEpoch: this.coordinatorEpoch,
      committed: state === TransactionState.PrepareCommit,
      transactionVersion: clientTransactionVersion,
    };
    if (at.topic === GROUP_METADATA_TOPIC) return groups.completeTransaction(at.partition, marker, settle);
    const bytes = buildEndTransactionMarker(marker.committed ? "commit" : "abort", {
      ...marker,
      timestamp: clock.wall(),
      timestampType: replicas.validationRules(topic, at.partition, ANY_PRODUCE_VERSION)?.timestampType,
    });
    replicas.append(topic.id, at.partition, {
      batch: { bytes, info: readBatchInfo(bytes, 0), logAppendTime: -1 },
      acks: -1,
      origin: "coordinator",
      transactionVersion: clientTransactionVersion,
      applied: () => undefined,
      settle: ({ error }) => settle(error),
    });
  }

  private settled(completion: Completion, at: TopicPartition, error: number): void {
    const { transactionalId } = completion.metadata;
    if (this.completions.get(transactionalId) !== completion) return;
    const say = (what: string): void =>
      this.environment.log("warn", `marker of ${transactionalId} to ${at.topic}-${at.partition}: ${what}`);
    switch (error) {
      case Errors.NONE:
        return this.finishPartition(completion);
      case Errors.INVALID_PRODUCER_EPOCH:
        // The partition knows a later epoch of this producer, so nothing of this transaction is open there. Waiting
        // for it would wait for ever (KAFKA-19999).
        say("a later epoch has written there");
        return this.finishPartition(completion);
      case Errors.TRANSACTION_COORDINATOR_FENCED:
        say("another coordinator has written there");
        this.completions.delete(transactionalId);
        return this.fenced();
      default:
        say(`${errorName(error)}, again in ${RETRY_MS} ms`);
        this.environment.clock.after(RETRY_MS, () => {
          if (this.completions.get(transactionalId) === completion) this.attempt(completion, at);
        });
    }
  }

  private finishPartition(completion: Completion): void {
    completion.remaining -= 1;
    if (completion.remaining === 0) this.finish(completion);
  }

  private finish(completion: Completion): void {
    this.completions.delete(completion.metadata.transactionalId);
    this.written(completion.metadata);
  }
}
