/**
 * A producer by librdkafka's rules: idempotent unless told otherwise, at most five requests in flight per broker, a
 * batch keeps its bytes and its sequence through every retry, and after a failure a partition is drained before anything
 * of it is sent again. What must stay true: batches of a partition are sent in order; an outcome is `fail` only when no
 * attempt can have been written, `ok` only when the broker said so.
 *
 * A batch that can be neither acknowledged nor retried leaves a hole in the sequence. librdkafka's gapless mode calls
 * that fatal, and so does this producer: what was not sent fails, and a new producer must be made. With a
 * `transactionalId` it ends the transaction instead, which can then only be aborted.
 */
import type { Offset, ProducerEpoch, ProducerId, Timestamp, Uuid } from "../../src/prelude/Types.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { type ErrorName, Errors, errorName } from "../../src/protocol/Errors.ts";
import type { CodecId } from "../../src/record/Compression.ts";
import { addToSequence } from "../../src/record/RecordBatch.ts";
import { buildBatch, type NewRecord } from "../../src/record/RecordBatchBuilder.ts";
import type { KafkaClient } from "./KafkaClient.ts";
import { ConnectionLost, type KafkaConnection } from "./KafkaConnection.ts";
import { KafkaError } from "./KafkaError.ts";
import type { GroupIdentity, OffsetToCommit } from "./Offsets.ts";
import {
  type TransactionFailure,
  TransactionManager,
  type TransactionOutcome,
  type TransactionSender,
  type TransactionState,
} from "./TransactionManager.ts";

export interface ProducerOptions {
  /** Default true: sequences, retries, acks -1. */
  readonly idempotent?: boolean;
  /** Default -1 (all). */
  readonly acks?: -1 | 0 | 1;
  /** Default 5, Kafka's bound for idempotent producers. */
  readonly maxInFlight?: number;
  /** How long a batch may take with all its retries (default 300,000, `message.timeout.ms`). */
  readonly deliveryTimeoutMs?: number;
  /** What the broker is given to reach `acks` (default 30,000). */
  readonly requestTimeoutMs?: number;
  /** Pause before a retry (default 100). */
  readonly retryBackoffMs?: number;
  readonly codec?: CodecId;
  /** Whether the first record for an unknown topic may create it (default false). */
  readonly createTopics?: boolean;
  /** Makes the producer transactional: `init`, then `begin`, `send`, `sendOffsets`, and `commit` or `abort`. */
  readonly transactionalId?: string;
  readonly transactionTimeoutMs?: number;
  /** 1: the protocol before KIP-890, whatever the broker has. */
  readonly transactionVersion?: 1 | 2;
}

/** Why a batch was not acknowledged. `LOCAL_…` are the client's own. */
export type ProduceFailure =
  | ErrorName
  | "LOCAL_CONNECTION_LOST"
  | "LOCAL_TIMED_OUT"
  | "LOCAL_FATAL"
  | "LOCAL_NO_ACK"
  | "LOCAL_PURGED"
  | "LOCAL_STATE";

/**
 * `ok`: acknowledged; `baseOffset` is -1 when the broker only said that it has the batch. `fail`: not written. `info`:
 * nobody can tell (Jepsen's classes, shared by the checker).
 */
export type ProduceOutcome =
  | { readonly type: "ok"; readonly baseOffset: Offset; readonly logAppendTime: Timestamp; readonly attempts: number }
  | { readonly type: "fail" | "info"; readonly error: ProduceFailure; readonly attempts: number };

interface Batch {
  readonly topic: string;
  readonly partition: number;
  /** Its place among the partition's batches; a sequence wraps, this does not. */
  readonly order: number;
  readonly bytes: Uint8Array;
  readonly deadline: number;
  readonly resolve: (outcome: ProduceOutcome) => void;
  attempts: number;
  /** An attempt may have been written. */
  maybeWritten: boolean;
  lastError: ProduceFailure;
}

interface PartitionQueue {
  readonly topic: string;
  readonly partition: number;
  nextSequence: number;
  nextOrder: number;
  /** In order, and so are those in flight. */
  pending: Batch[];
  inFlight: Batch[];
  /** A batch failed: nothing is sent before everything in flight is back. */
  draining: boolean;
  retryAt: number;
}

/** Refused before anything was written: sending it again is safe whatever the producer. */
const NOT_WRITTEN_RETRY: ReadonlySet<number> = new Set([
  Errors.UNKNOWN_TOPIC_OR_PARTITION,
  Errors.UNKNOWN_TOPIC_ID,
  Errors.LEADER_NOT_AVAILABLE,
  Errors.NOT_ENOUGH_REPLICAS,
  Errors.THROTTLING_QUOTA_EXCEEDED,
  Errors.CONCURRENT_TRANSACTIONS,
  Errors.BROKER_NOT_AVAILABLE,
  Errors.REPLICA_NOT_AVAILABLE,
  Errors.CORRUPT_MESSAGE,
  // What the partition was told by the transaction coordinator that it asked.
  Errors.NOT_COORDINATOR,
  Errors.COORDINATOR_NOT_AVAILABLE,
  Errors.COORDINATOR_LOAD_IN_PROGRESS,
]);

/** May have been written; an idempotent producer sends it again, its sequence makes that safe. */
const MAYBE_WRITTEN_RETRY: ReadonlySet<number> = new Set([
  Errors.NOT_LEADER_OR_FOLLOWER,
  Errors.FENCED_LEADER_EPOCH,
  Errors.UNKNOWN_LEADER_EPOCH,
  Errors.REQUEST_TIMED_OUT,
  Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  Errors.KAFKA_STORAGE_ERROR,
  Errors.NETWORK_EXCEPTION,
]);

/** Final, and nobody can tell. Every other error is a definite failure (correctness.md 1.2). */
const UNKNOWN_FINAL: ReadonlySet<number> = new Set([Errors.UNKNOWN_SERVER_ERROR]);

const REFRESH: ReadonlySet<number> = new Set([
  Errors.UNKNOWN_TOPIC_OR_PARTITION,
  Errors.UNKNOWN_TOPIC_ID,
  Errors.LEADER_NOT_AVAILABLE,
  Errors.NOT_LEADER_OR_FOLLOWER,
  Errors.FENCED_LEADER_EPOCH,
  Errors.UNKNOWN_LEADER_EPOCH,
  Errors.KAFKA_STORAGE_ERROR,
  Errors.REPLICA_NOT_AVAILABLE,
  Errors.INCONSISTENT_TOPIC_ID,
]);

export class KafkaProducer implements TransactionSender {
  producerId = -1;
  producerEpoch = -1;
  /** Set when the producer can do nothing more. */
  fatal: ProduceFailure | undefined;

  private readonly queues = new Map<string, PartitionQueue>();
  private readonly busy = new Map<number, number>();
  private readonly connecting = new Set<number>();
  private initializing: Promise<void> | undefined;
  private idlers: Array<() => void> = [];
  private readonly transactions: TransactionManager | undefined;
  private waking: (() => void) | undefined;
  private wakeAt = Number.POSITIVE_INFINITY;

  constructor(
    private readonly client: KafkaClient,
    private readonly options: ProducerOptions,
  ) {
    const { transactionalId } = options;
    if (transactionalId !== undefined) {
      this.transactions = new TransactionManager(client, { ...options, transactionalId }, this, "transactions");
    }
  }

  private get idempotent(): boolean {
    return this.options.idempotent ?? true;
  }

  private get acks(): -1 | 0 | 1 {
    return this.options.acks ?? -1;
  }

  /** Gets the producer id; `send` does it by itself. Rejects when the broker refuses. */
  init(): Promise<void> {
    this.initializing ??= this.initialize();
    return this.initializing;
  }

  /** Goes on as the idempotent producer of this id, whose next batch of a partition has the sequence that is given for it. */
  resume(
    producerId: ProducerId,
    producerEpoch: ProducerEpoch,
    next: ReadonlyArray<{ readonly topic: string; readonly partition: number; readonly sequence: number }>,
  ): void {
    this.identify(producerId, producerEpoch);
    for (const { topic, partition, sequence } of next) this.queueOf(topic, partition).nextSequence = sequence;
  }

  /** Begins a transaction. Throws unless the producer is initialized and no other is open. */
  begin(): void {
    this.transactional().begin();
  }

  /** A consumer group's offsets, committed with the transaction or not at all. */
  sendOffsets(offsets: ReadonlyArray<OffsetToCommit>, group: GroupIdentity): Promise<TransactionOutcome> {
    return this.transactional().sendOffsets(offsets, group);
  }

  /**
   * Commits when everything sent is acknowledged. After `fail` abort; after `info` nobody can tell, and this producer is
   * at its end: another one with the same id finds out what the coordinator made of it.
   */
  commit(): Promise<TransactionOutcome> {
    return this.transactional().commit();
  }

  abort(): Promise<TransactionOutcome> {
    return this.transactional().abort();
  }

  /** Where the transactions are: `fatal` when a new producer must be made. */
  get transactionState(): TransactionState {
    return this.transactional().state;
  }

  /** Why the transaction, or the producer, is broken. */
  get transactionFailure(): TransactionFailure | undefined {
    return this.transactional().failure;
  }

  private transactional(): TransactionManager {
    if (this.transactions === undefined) throw new Error("the producer has no transactionalId");
    return this.transactions;
  }

  /** Sends the records as one batch; the promise never rejects. */
  async send(topic: string, partition: number, records: ReadonlyArray<NewRecord>): Promise<ProduceOutcome> {
    const { clock } = this.client.platform;
    const started = clock.monotonic();
    if (this.idempotent && this.producerId < 0) {
      try {
        await this.init();
      } catch {
        return { type: "fail", error: "LOCAL_FATAL", attempts: 0 };
      }
    }
    if (this.fatal !== undefined) return { type: "fail", error: "LOCAL_FATAL", attempts: 0 };
    if (this.transactions !== undefined && this.transactions.state !== "open")
      return { type: "fail", error: "LOCAL_STATE", attempts: 0 };
    return new Promise((resolve) => {
      const queue = this.queueOf(topic, partition);
      const sequence = queue.nextSequence;
      queue.nextSequence = addToSequence(sequence, records.length);
      queue.pending.push({
        topic,
        partition,
        order: queue.nextOrder++,
        bytes: this.build(records, sequence),
        deadline: started + (this.options.deliveryTimeoutMs ?? 300_000),
        resolve,
        attempts: 0,
        maybeWritten: false,
        lastError: "LOCAL_TIMED_OUT",
      });
      this.pump();
    });
  }

  private async initialize(): Promise<void> {
    try {
      if (this.transactions !== undefined) return await this.transactions.init();
      const answer = await this.client.retried("InitProducerId", async () => {
        const response = await this.client.request("any", ApiKey.InitProducerId, {
          transactionalId: null,
          transactionTimeoutMs: 0x7fffffff,
          producerId: -1,
          producerEpoch: -1,
          enable2Pc: false,
          keepPreparedTxn: false,
        });
        if (response.errorCode !== Errors.NONE) throw new KafkaError(response.errorCode, "InitProducerId");
        return response;
      });
      this.identify(answer.producerId, answer.producerEpoch);
    } catch (error) {
      // The next `send` tries anew.
      this.initializing = undefined;
      throw error;
    }
  }

  identify(producerId: ProducerId, producerEpoch: ProducerEpoch): void {
    this.producerId = producerId;
    this.producerEpoch = producerEpoch;
    for (const queue of this.queues.values()) queue.nextSequence = 0;
  }

  idle(): Promise<void> {
    const busy = [...this.queues.values()].some(({ pending, inFlight }) => pending.length + inFlight.length > 0);
    return busy ? new Promise((resolve) => this.idlers.push(resolve)) : Promise.resolve();
  }

  purge(): boolean {
    let purged = false;
    for (const queue of this.queues.values()) {
      for (const batch of queue.pending.splice(0)) {
        const type = batch.maybeWritten ? "info" : "fail";
        batch.resolve({ type, error: "LOCAL_PURGED", attempts: batch.attempts });
        purged = true;
      }
    }
    this.tellIdlers();
    return purged;
  }

  wake(): void {
    this.pump();
  }

  private tellIdlers(): void {
    if (this.idlers.length === 0) return;
    for (const { pending, inFlight } of this.queues.values()) if (pending.length + inFlight.length > 0) return;
    for (const idler of this.idlers.splice(0)) idler();
  }

  private build(records: ReadonlyArray<NewRecord>, sequence: number): Uint8Array {
    const { clock, codecs } = this.client.platform;
    return buildBatch(records, {
      codec: this.options.codec ?? 0,
      codecs,
      timestamp: clock.wall(),
      ...(this.idempotent
        ? { producerId: this.producerId, producerEpoch: this.producerEpoch, baseSequence: sequence }
        : {}),
      transactional: this.transactions !== undefined,
    });
  }

  private queueOf(topic: string, partition: number): PartitionQueue {
    const key = `${topic}-${partition}`;
    let queue = this.queues.get(key);
    if (queue === undefined) {
      queue = {
        topic,
        partition,
        nextSequence: 0,
        nextOrder: 0,
        pending: [],
        inFlight: [],
        draining: false,
        retryAt: 0,
      };
      this.queues.set(key, queue);
    }
    return queue;
  }

  /** Sends whatever may be sent now. */
  private pump(): void {
    if (this.client.isClosed) {
      this.waking?.();
      this.purge();
      return;
    }
    const now = this.client.platform.clock.monotonic();
    const ready = new Map<number, PartitionQueue[]>();
    for (const queue of this.queues.values()) {
      this.expire(queue, now);
      if (queue.draining && queue.inFlight.length === 0) queue.draining = false;
      const head = queue.pending[0];
      if (head === undefined) continue;
      this.wakeUp(head.deadline);
      if (queue.draining) continue;
      if (queue.retryAt > now) {
        this.wakeUp(queue.retryAt);
        continue;
      }
      if (this.transactions?.includes(queue.topic, queue.partition) === false) continue;
      const leader = this.client.knownLeader(queue.topic, queue.partition);
      if (leader < 0) {
        this.findLeader(queue);
        continue;
      }
      const others = ready.get(leader);
      if (others === undefined) ready.set(leader, [queue]);
      else others.push(queue);
    }
    for (const [node, queues] of ready) this.sendTo(node, queues);
  }

  private wakeUp(at: number): void {
    if (at >= this.wakeAt) return;
    this.waking?.();
    this.wakeAt = at;
    const { clock } = this.client.platform;
    this.waking = clock.after(at - clock.monotonic(), () => {
      this.wakeAt = Number.POSITIVE_INFINITY;
      this.waking = undefined;
      this.pump();
    });
  }

  private expire(queue: PartitionQueue, now: number): void {
    if (queue.pending.length === 0 || queue.pending[0]!.deadline > now) return;
    for (const batch of queue.pending) {
      if (batch.deadline <= now) {
        this.giveUp(batch, batch.attempts === 0 ? "LOCAL_TIMED_OUT" : batch.lastError);
        return;
      }
    }
  }

  private findLeader(queue: PartitionQueue): void {
    queue.retryAt = this.client.platform.clock.monotonic() + (this.options.retryBackoffMs ?? 100);
    const asked =
      this.options.createTopics === true
        ? this.client.topic(queue.topic, { create: true })
        : this.client.refresh(queue.topic);
    asked.then(
      () => {
        if (this.client.knownLeader(queue.topic, queue.partition) >= 0) queue.retryAt = 0;
        this.pump();
      },
      () => this.pump(),
    );
  }

  private sendTo(node: number, queues: PartitionQueue[]): void {
    const limit = this.options.maxInFlight ?? 5;
    if (this.connecting.has(node)) return;
    if ((this.busy.get(node) ?? 0) >= limit) return;
    this.connecting.add(node);
    this.client.connection(node, "produce").then(
      (connection) => {
        this.connecting.delete(node);
        // Between the question and the answer other partitions may have become ready, or these no longer be.
        let left = queues.filter((queue) => this.isReady(queue, node));
        while (left.length > 0 && (this.busy.get(node) ?? 0) < limit) {
          const batches = left.map((queue) => {
            const batch = queue.pending.shift()!;
            queue.inFlight.push(batch);
            return batch;
          });
          void this.exchange(node, connection, batches);
          left = left.filter((queue) => this.isReady(queue, node));
        }
        if (left.length === 0) this.pump();
      },
      () => {
        this.connecting.delete(node);
        const retryAt = this.client.platform.clock.monotonic() + (this.options.retryBackoffMs ?? 100);
        for (const queue of queues) {
          const head = queue.pending[0];
          if (head !== undefined && head.attempts === 0) head.lastError = "LOCAL_CONNECTION_LOST";
          queue.retryAt = retryAt;
          // Another broker may lead by now.
          this.client.refresh(queue.topic).catch(() => {});
        }
        this.pump();
      },
    );
  }

  private isReady(queue: PartitionQueue, node: number): boolean {
    return (
      queue.pending.length > 0 &&
      !queue.draining &&
      queue.retryAt <= this.client.platform.clock.monotonic() &&
      this.client.knownLeader(queue.topic, queue.partition) === node
    );
  }

  private async exchange(node: number, connection: KafkaConnection, batches: ReadonlyArray<Batch>): Promise<void> {
    this.busy.set(node, (this.busy.get(node) ?? 0) + 1);
    for (const batch of batches) batch.attempts += 1;
    try {
      const newest = this.transactions?.newestProduce ?? Number.POSITIVE_INFINITY;
      const version = Math.min(connection.versionOf(ApiKey.Produce) ?? 0, newest);
      const byId = version >= 13;
      // As it is asked: by the time of the answer the client may have forgotten them.
      const ids = new Map(batches.map(({ topic }) => [topic, byId ? this.client.knownTopicId(topic) : ZERO_UUID]));
      const topics = new Map<string, Array<{ index: number; records: Uint8Array }>>();
      for (const { topic, partition, bytes } of batches) {
        const list = topics.get(topic);
        if (list === undefined) topics.set(topic, [{ index: partition, records: bytes }]);
        else list.push({ index: partition, records: bytes });
      }
      const request = {
        transactionalId: this.transactions?.transactionalId ?? null,
        acks: this.acks,
        timeoutMs: this.options.requestTimeoutMs ?? 30_000,
        topicData: [...topics].map(([name, partitionData]) => ({
          name: byId ? "" : name,
          topicId: ids.get(name)!,
          partitionData,
        })),
      };
      if (this.acks === 0) {
        connection.send(ApiKey.Produce, request, version);
        for (const batch of batches) {
          this.leaveFlight(batch);
          batch.resolve({ type: "info", error: "LOCAL_NO_ACK", attempts: batch.attempts });
        }
        return;
      }
      const answer = await connection.request(ApiKey.Produce, request, version);
      for (const batch of batches) this.settle(batch, answer, byId ? ids.get(batch.topic) : undefined);
    } catch (error) {
      const sent = !(error instanceof ConnectionLost) || error.sent;
      for (const batch of batches) this.retry(batch, "LOCAL_CONNECTION_LOST", sent, false);
      for (const batch of batches) this.client.refresh(batch.topic).catch(() => {});
    } finally {
      this.busy.set(node, (this.busy.get(node) ?? 1) - 1);
      this.pump();
      this.tellIdlers();
    }
  }

  /** `id`: of the topic, where the answer names topics by their ids. */
  private settle(batch: Batch, answer: ResponseOf<0>, id: Uuid | undefined): void {
    const topic = answer.responses.find((entry) =>
      id === undefined ? entry.name === batch.topic : entry.topicId === id,
    );
    const found = topic?.partitionResponses.find((entry) => entry.index === batch.partition);
    if (found === undefined) {
      // An answer without our partition: the broker is broken.
      this.retry(batch, "UNKNOWN_SERVER_ERROR", true, true);
      return;
    }
    const code = found.errorCode;
    const name = errorName(code);
    if (code === Errors.NONE) {
      this.acknowledge(batch, found.baseOffset, found.logAppendTimeMs);
    } else if (code === Errors.DUPLICATE_SEQUENCE_NUMBER) {
      this.acknowledge(batch, -1, -1);
    } else if (code === Errors.OUT_OF_ORDER_SEQUENCE_NUMBER && this.idempotent && !this.isFirst(batch)) {
      // The one before it failed, so this one had to: it goes again behind it.
      this.retry(batch, name, false, false);
    } else if (NOT_WRITTEN_RETRY.has(code)) {
      this.retry(batch, name, false, REFRESH.has(code));
    } else if (MAYBE_WRITTEN_RETRY.has(code)) {
      this.retry(batch, name, true, REFRESH.has(code));
    } else {
      if (UNKNOWN_FINAL.has(code)) batch.maybeWritten = true;
      this.giveUp(batch, name);
    }
  }

  private isFirst(batch: Batch): boolean {
    const queue = this.queueOf(batch.topic, batch.partition);
    return queue.inFlight[0] === batch && (queue.pending.length === 0 || queue.pending[0]!.order > batch.order);
  }

  private acknowledge(batch: Batch, baseOffset: Offset, logAppendTime: Timestamp): void {
    this.leaveFlight(batch);
    batch.resolve({ type: "ok", baseOffset, logAppendTime, attempts: batch.attempts });
  }

  private retry(batch: Batch, error: ProduceFailure, maybeWritten: boolean, refresh: boolean): void {
    batch.lastError = error;
    if (maybeWritten) batch.maybeWritten = true;
    const queue = this.queueOf(batch.topic, batch.partition);
    this.leaveFlight(batch);
    if (refresh) this.client.refresh(batch.topic).catch(() => {});
    const { clock } = this.client.platform;
    const over = this.fatal !== undefined || (this.transactions !== undefined && this.transactions.state !== "open");
    if (over || (maybeWritten && !this.idempotent) || batch.deadline <= clock.monotonic()) {
      this.giveUp(batch, error);
      return;
    }
    const at = queue.pending.findIndex((other) => batch.order < other.order);
    if (at < 0) queue.pending.push(batch);
    else queue.pending.splice(at, 0, batch);
    queue.draining = true;
    queue.retryAt = clock.monotonic() + (this.options.retryBackoffMs ?? 100);
  }

  /** The batch will not be sent again. With sequences that ends the producer: what follows would never be taken. */
  private giveUp(batch: Batch, error: ProduceFailure): void {
    this.leaveFlight(batch);
    const queue = this.queueOf(batch.topic, batch.partition);
    queue.pending = queue.pending.filter((other) => other !== batch);
    batch.resolve({ type: batch.maybeWritten ? "info" : "fail", error, attempts: batch.attempts });
    if (this.transactions !== undefined) {
      this.transactions.produceFailed(error in Errors ? Errors[error as ErrorName] : Errors.NONE);
      this.tellIdlers();
      return;
    }
    if (!this.idempotent || this.fatal !== undefined) return;
    this.fatal = error;
    for (const other of this.queues.values()) {
      for (const waiting of other.pending.splice(0)) {
        const type = waiting.maybeWritten ? "info" : "fail";
        waiting.resolve({ type, error: "LOCAL_FATAL", attempts: waiting.attempts });
      }
    }
  }

  private leaveFlight(batch: Batch): void {
    const queue = this.queueOf(batch.topic, batch.partition);
    queue.inFlight = queue.inFlight.filter((other) => other !== batch);
  }
}
