/**
 * The transactional half of a producer, by the rules of librdkafka (and, for version 2 of the protocol, of Kafka's own
 * client): an id and epoch from the transaction coordinator, partitions and offsets added to the transaction, its end.
 * What must stay true: a commit is `fail` only when it certainly did not happen; after an error that a transaction does
 * not survive nothing is sent until it has been aborted; after one that the producer does not survive, nothing at all.
 *
 * Version 1 adds partitions and groups by requests of their own and keeps its epoch; version 2 (KIP-890) has the broker
 * add them and takes a new epoch from every end of a transaction.
 */
import type { MonotonicMs, ProducerEpoch, ProducerId } from "../../src/prelude/Types.ts";
import { ApiKey, type KnownApiKey, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { type ErrorName, Errors, errorName } from "../../src/protocol/Errors.ts";
import { type CoordinatorAnswer, type CoordinatorCall, Unanswered } from "./Coordinators.ts";
import type { KafkaClient } from "./KafkaClient.ts";
import { KafkaError } from "./KafkaError.ts";
import type { GroupIdentity, OffsetToCommit } from "./Offsets.ts";

export interface TransactionOptions {
  readonly transactionalId: string;
  /** After so long the coordinator aborts (default 60,000). */
  readonly transactionTimeoutMs?: number;
  /** 1 speaks the old protocol to every broker; default: the newest the broker has. */
  readonly transactionVersion?: 1 | 2;
}

/** Why a transaction did not end well; `LOCAL_…` are the client's own. */
export type TransactionFailure = ErrorName | "LOCAL_TIMED_OUT" | "LOCAL_STATE" | "LOCAL_PRODUCE_FAILED" | "LOCAL_FATAL";

export type TransactionOutcome =
  | { readonly type: "ok" }
  | { readonly type: "fail" | "info"; readonly error: TransactionFailure };

export type TransactionState = "uninitialized" | "ready" | "open" | "abortable" | "ending" | "fatal";

/** What the manager needs of the producer whose batches make up the transaction. */
export interface TransactionSender {
  /** An id and epoch: sequences begin at zero again. */
  identify(producerId: ProducerId, producerEpoch: ProducerEpoch): void;
  /** Resolves when nothing waits and nothing is in flight. */
  idle(): Promise<void>;
  /** What was not sent yet fails; whether there was anything, which leaves a hole in the sequence. */
  purge(): boolean;
  /** Partitions were added: what waited for that may be sent. */
  wake(): void;
}

const FATAL_INIT: ReadonlySet<number> = new Set([
  Errors.INVALID_TRANSACTION_TIMEOUT,
  Errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
  Errors.CLUSTER_AUTHORIZATION_FAILED,
  Errors.INVALID_PRODUCER_EPOCH,
  Errors.PRODUCER_FENCED,
  Errors.INVALID_REQUEST,
  Errors.UNSUPPORTED_VERSION,
]);

/** The producer does not survive these, whichever request they answer. */
const FATAL: ReadonlySet<number> = new Set([
  Errors.INVALID_PRODUCER_EPOCH,
  Errors.PRODUCER_FENCED,
  Errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
  Errors.CLUSTER_AUTHORIZATION_FAILED,
  Errors.INVALID_TXN_STATE,
  Errors.UNSUPPORTED_FOR_MESSAGE_FORMAT,
]);

const PASSING: ReadonlySet<number> = new Set([
  Errors.CONCURRENT_TRANSACTIONS,
  Errors.UNKNOWN_TOPIC_OR_PARTITION,
  Errors.REQUEST_TIMED_OUT,
  Errors.NOT_ENOUGH_REPLICAS,
  Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
]);
const isPassing = (code: number): boolean => PASSING.has(code);

/** After these the coordinator knows nothing of the producer: a new epoch must be asked for. */
const NEEDS_BUMP: ReadonlySet<number> = new Set([Errors.UNKNOWN_PRODUCER_ID, Errors.INVALID_PRODUCER_ID_MAPPING]);

/** A version-1 client's newest versions (version 2 begins behind them). */
const OLD_VERSIONS: Readonly<Partial<Record<KnownApiKey, number>>> = {
  [ApiKey.Produce]: 11,
  [ApiKey.AddPartitionsToTxn]: 3,
  [ApiKey.AddOffsetsToTxn]: 4,
  [ApiKey.TxnOffsetCommit]: 4,
  [ApiKey.EndTxn]: 4,
};

const OK: TransactionOutcome = { type: "ok" };

export class TransactionManager {
  state: TransactionState = "uninitialized";
  /** Why the transaction, or the producer, is broken. */
  failure: TransactionFailure | undefined;
  /** Spoken with this broker; known after `init`. */
  version: 1 | 2 = 1;

  private producerId: ProducerId = -1;
  private producerEpoch: ProducerEpoch = -1;
  /** Something of the transaction may be known to the broker. */
  private started = false;
  private readonly added = new Set<string>();
  private readonly toAdd = new Map<string, { readonly topic: string; readonly partition: number }>();
  /** AddPartitionsToTxn under way. */
  private adding: Promise<void> | undefined;
  private needsBump = false;

  constructor(
    private readonly client: KafkaClient,
    private readonly options: TransactionOptions,
    private readonly sender: TransactionSender,
    private readonly purpose: string,
  ) {}

  get transactionalId(): string {
    return this.options.transactionalId;
  }

  /** The newest Produce version this transaction's protocol speaks. */
  get newestProduce(): number | undefined {
    return this.newest(ApiKey.Produce);
  }

  /** Takes the id over from any earlier instance, whose open transaction is aborted. Rejects when it may not. */
  async init(): Promise<void> {
    this.version = (await this.speaksVersion2()) ? 2 : 1;
    await this.initProducerId(-1, -1);
  }

  begin(): void {
    if (this.state !== "ready") throw new Error(`a transaction cannot begin: the producer is ${this.state}`);
    this.state = "open";
    this.failure = undefined;
    this.started = false;
    this.added.clear();
    this.toAdd.clear();
  }

  /** Whether batches of the partition may be sent; if not, it is being added and the sender will be woken. */
  includes(topic: string, partition: number): boolean {
    const name = `${topic}-${partition}`;
    if (this.version === 2) {
      this.started = true;
      return true;
    }
    if (this.added.has(name)) return true;
    this.toAdd.set(name, { topic, partition });
    this.adding ??= this.addPartitions().finally(() => {
      this.adding = undefined;
      this.sender.wake();
    });
    return false;
  }

  /** A batch failed for good: the transaction can only be aborted, or the producer is at its end. */
  produceFailed(code: number): void {
    if (code === Errors.INVALID_PRODUCER_EPOCH || code === Errors.PRODUCER_FENCED) this.fail(errorName(code), true);
    else {
      // The sequence has a hole now, or the broker does not know the producer.
      this.needsBump = true;
      this.fail(code === Errors.NONE ? "LOCAL_PRODUCE_FAILED" : errorName(code), false);
    }
  }

  /** The consumer group's offsets become part of the transaction. */
  async sendOffsets(offsets: ReadonlyArray<OffsetToCommit>, group: GroupIdentity): Promise<TransactionOutcome> {
    if (this.state !== "open") return this.refusal();
    try {
      if (this.version === 1) {
        this.started = true;
        const { code } = await this.call(
          ApiKey.AddOffsetsToTxn,
          () => ({ ...this.identity(), groupId: group.groupId }),
          ({ errorCode }) => errorCode,
        );
        if (code !== Errors.NONE) return this.refused(code);
      }
      this.started = true;
      const { code } = await this.client.coordinators.call({
        kind: "group",
        key: group.groupId,
        apiKey: ApiKey.TxnOffsetCommit,
        ...this.capped(ApiKey.TxnOffsetCommit),
        message: () => ({
          ...this.identity(),
          groupId: group.groupId,
          generationId: group.generationId,
          memberId: group.memberId,
          groupInstanceId: group.groupInstanceId,
          topics: topicsOf(offsets),
        }),
        errorOf: ({ topics }) => worstOf(topics.flatMap(({ partitions }) => partitions.map((one) => one.errorCode))),
        retriable: isPassing,
        deadline: this.deadline(),
        purpose: this.purpose,
        cancelled: this.cancelled,
      });
      return code === Errors.NONE ? OK : this.refused(code);
    } catch (error) {
      return this.gaveUp(error);
    }
  }

  /** Commits once every batch is acknowledged; with one that is not, nothing is committed and the answer is `fail`. */
  async commit(): Promise<TransactionOutcome> {
    if (this.state !== "open" && this.state !== "abortable") return this.refusal();
    await this.sender.idle();
    if (this.state !== "open") return this.refusal();
    if (!this.started) {
      this.state = "ready";
      return OK;
    }
    return this.end(true);
  }

  /** `info` means that the coordinator will abort when the transaction's time is over, if it has not yet. */
  async abort(): Promise<TransactionOutcome> {
    if (this.state !== "open" && this.state !== "abortable") return this.refusal();
    if (this.state === "open") this.fail("LOCAL_STATE", false);
    await this.sender.idle();
    // Nor may a partition be added behind the end: it would be the next transaction's, or fence the producer's next epoch.
    await this.adding;
    if (this.state !== "abortable") return this.refusal();
    const outcome = this.started ? await this.end(false) : OK;
    if (outcome.type !== "ok") return outcome;
    if (!this.needsBump) {
      this.state = "ready";
      return OK;
    }
    try {
      await this.initProducerId(this.producerId, this.producerEpoch);
      return OK;
    } catch (error) {
      return this.gaveUp(error, true);
    }
  }

  private async end(committed: boolean): Promise<TransactionOutcome> {
    this.state = "ending";
    let ended: CoordinatorAnswer<typeof ApiKey.EndTxn>;
    try {
      ended = await this.call(
        ApiKey.EndTxn,
        () => ({ ...this.identity(), committed }),
        ({ errorCode }) => errorCode,
      );
    } catch (error) {
      return this.gaveUp(error, true);
    }
    const { answer, code, unknownBefore } = ended;
    if (code === Errors.NONE) {
      if (this.version === 2 && answer.producerId >= 0) this.identify(answer.producerId, answer.producerEpoch);
      this.state = "ready";
      return OK;
    }
    this.fail(errorName(code), FATAL.has(code));
    if (NEEDS_BUMP.has(code)) {
      this.needsBump = true;
      // What the coordinator knows nothing of needs no abort.
      if (!committed) return OK;
    }
    const unknown = unknownBefore || code === Errors.UNKNOWN_SERVER_ERROR;
    return { type: unknown ? "info" : "fail", error: errorName(code) };
  }

  private identity(): { transactionalId: string; producerId: ProducerId; producerEpoch: ProducerEpoch } {
    const { producerId, producerEpoch } = this;
    return { transactionalId: this.transactionalId, producerId, producerEpoch };
  }

  private identify(producerId: ProducerId, producerEpoch: ProducerEpoch): void {
    this.producerId = producerId;
    this.producerEpoch = producerEpoch;
    this.needsBump = false;
    this.sender.identify(producerId, producerEpoch);
  }

  private async initProducerId(producerId: ProducerId, producerEpoch: ProducerEpoch): Promise<void> {
    const { answer, code } = await this.call(
      ApiKey.InitProducerId,
      () => ({
        transactionalId: this.transactionalId,
        transactionTimeoutMs: this.options.transactionTimeoutMs ?? 60_000,
        producerId,
        producerEpoch,
      }),
      ({ errorCode }) => errorCode,
      // librdkafka asks again whatever the answer, unless it is one of these.
      (refusal) => refusal !== Errors.NONE && !FATAL_INIT.has(refusal),
    );
    if (code !== Errors.NONE) {
      this.fail(errorName(code), true);
      throw new KafkaError(code, `InitProducerId of ${this.transactionalId}`);
    }
    this.identify(answer.producerId, answer.producerEpoch);
    this.state = "ready";
  }

  /** One request for all partitions that wait. */
  private async addPartitions(): Promise<void> {
    while (this.toAdd.size > 0 && this.state === "open") {
      const batch = [...this.toAdd];
      const topics = [...Map.groupBy(batch, ([, { topic }]) => topic)].map(([name, entries]) => ({
        name,
        partitions: entries.map(([, { partition }]) => partition),
      }));
      this.started = true;
      try {
        const { code } = await this.call(
          ApiKey.AddPartitionsToTxn,
          () => ({
            v3AndBelowTransactionalId: this.transactionalId,
            v3AndBelowProducerId: this.producerId,
            v3AndBelowProducerEpoch: this.producerEpoch,
            v3AndBelowTopics: topics,
          }),
          ({ resultsByTopicV3AndBelow }) =>
            worstOf(
              resultsByTopicV3AndBelow.flatMap(({ resultsByPartition }) =>
                resultsByPartition.map(({ partitionErrorCode }) => partitionErrorCode),
              ),
            ),
        );
        if (code === Errors.NONE) {
          for (const [name] of batch) {
            this.toAdd.delete(name);
            this.added.add(name);
          }
        } else {
          this.refused(code);
        }
      } catch (error) {
        this.gaveUp(error);
      }
    }
  }

  private call<K extends KnownApiKey>(
    apiKey: K,
    message: CoordinatorCall<K>["message"],
    errorOf: (answer: ResponseOf<K>) => number,
    retriable: (code: number) => boolean = isPassing,
  ): Promise<CoordinatorAnswer<K>> {
    return this.client.coordinators.call({
      kind: "transaction",
      key: this.transactionalId,
      apiKey,
      ...this.capped(apiKey),
      message,
      errorOf,
      retriable,
      deadline: this.deadline(),
      purpose: this.purpose,
      cancelled: this.cancelled,
    });
  }

  private readonly cancelled = (): boolean => this.state === "fatal";

  private newest(apiKey: KnownApiKey): number | undefined {
    return this.version === 1 ? OLD_VERSIONS[apiKey] : undefined;
  }

  private capped(apiKey: KnownApiKey): { readonly newest?: number } {
    const newest = this.newest(apiKey);
    return newest === undefined ? {} : { newest };
  }

  private deadline(): MonotonicMs {
    return this.client.platform.clock.monotonic() + (this.client.options.callTimeoutMs ?? 60_000);
  }

  /** A refusal by the broker ends the transaction, or the producer. */
  private refused(code: number): TransactionOutcome {
    const error = errorName(code);
    if (NEEDS_BUMP.has(code)) this.needsBump = true;
    this.fail(error, FATAL.has(code));
    return { type: "fail", error };
  }

  private gaveUp(error: unknown, fatal = false): TransactionOutcome {
    const reason = error instanceof KafkaError ? errorName(error.code) : "LOCAL_TIMED_OUT";
    this.fail(reason, fatal);
    const maybeDone = error instanceof Unanswered ? error.maybeDone : !(error instanceof KafkaError);
    return { type: maybeDone ? "info" : "fail", error: reason };
  }

  /** The first reason counts, unless a later one is worse. */
  private fail(failure: TransactionFailure, fatal: boolean): void {
    if (this.state === "fatal" || (this.state === "abortable" && !fatal)) return;
    this.failure = failure;
    this.state = fatal ? "fatal" : "abortable";
    this.toAdd.clear();
    if (this.sender.purge()) this.needsBump = true;
  }

  private refusal(): TransactionOutcome {
    return { type: "fail", error: this.failure ?? (this.state === "fatal" ? "LOCAL_FATAL" : "LOCAL_STATE") };
  }

  private async speaksVersion2(): Promise<boolean> {
    if (this.options.transactionVersion === 1) return false;
    return this.client.retried(`versions for ${this.transactionalId}`, async () => {
      const connection = await this.client.connection("any");
      const has = (apiKey: KnownApiKey, version: number): boolean => (connection.versionOf(apiKey) ?? -1) >= version;
      return (
        (connection.features.get("transaction.version") ?? 0) >= 2 &&
        has(ApiKey.Produce, 12) &&
        has(ApiKey.TxnOffsetCommit, 5) &&
        has(ApiKey.EndTxn, 5)
      );
    });
  }
}

const worstOf = (codes: ReadonlyArray<number>): number => {
  const refused = codes.filter((code) => code !== Errors.NONE && code !== Errors.OPERATION_NOT_ATTEMPTED);
  return refused.find((code) => !isPassing(code)) ?? refused[0] ?? codes.find((code) => code !== 0) ?? Errors.NONE;
};

const topicsOf = (offsets: ReadonlyArray<OffsetToCommit>) =>
  [...Map.groupBy(offsets, ({ topic }) => topic)].map(([name, ofTopic]) => ({
    name,
    partitions: ofTopic.map(({ partition, offset, leaderEpoch, metadata }) => ({
      partitionIndex: partition,
      committedOffset: offset,
      committedLeaderEpoch: leaderEpoch ?? -1,
      committedMetadata: metadata ?? "",
    })),
  }));
