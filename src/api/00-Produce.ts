/**
 * Produce (key 0), versions 3–13; 0–2 are advertised (librdkafka stops compressing otherwise, KAFKA-18659) and close
 * the connection, as in Kafka.
 *
 * - v3–6: no zstd (UNSUPPORTED_COMPRESSION_TYPE). v5+: log start offset. v8+: record errors and a message.
 * - v9+: flexible. v10+: CurrentLeader beside NOT_LEADER_OR_FOLLOWER. v12+: transactions protocol 2. v13+: topic ids.
 *
 * Owns the order of the request-level checks and the joining of the partitions' replies; each batch is judged by
 * `LogValidator` and decided by its partition. What must stay true: every batch is handed to its partition before
 * `handle` gives up the thread, or else the connection is held until it has been (order on the connection); a
 * transactional batch goes there only when its transaction includes the partition (T11, `TransactionVerification`); every
 * named partition is answered once, and `acks=0` is never answered: an error closes the connection.
 */
import * as Effect from "effect/Effect";
import {
  checkOneBatch,
  isRejection,
  peekFirstBatch,
  type Rejection,
  type ValidatedBatch,
  validateBatch,
} from "../log/LogValidator.ts";
import type { TopicImage } from "../metadata/MetadataImage.ts";
import { isInternalTopic } from "../metadata/TopicName.ts";
import type { AppendReply } from "../partition/Partition.ts";
import type { Uuid } from "../prelude/Types.ts";
import { Errors, errorName } from "../protocol/Errors.ts";
import type { ProduceRequest } from "../protocol/generated/ProduceRequest.ts";
import { emptyProduceResponse, type ProduceResponse } from "../protocol/generated/ProduceResponse.ts";
import { isTransactional } from "../record/RecordBatch.ts";
import type { AppendCommand } from "./Ports.ts";
import type { RequestContext } from "./RequestContext.ts";
import { CloseConnection, defineHandler } from "./Router.ts";
import { asksCoordinator, verifyTransaction } from "./TransactionVerification.ts";

type TopicAnswer = ProduceResponse["responses"][number];
type PartitionAnswer = TopicAnswer["partitionResponses"][number];

/** TRANSACTION_ABORTABLE is known; partitions enter the transaction with their first batch; topics have ids. */
const ABORTABLE_FROM = 11;
const ADDS_PARTITIONS_FROM = 12;
const TOPIC_IDS_FROM = 13;

export const Produce = defineHandler<ProduceRequest, ProduceResponse>({
  apiKey: 0,
  minVersion: 3,
  maxVersion: 13,
  advertisedMinVersion: 0,
  handle: (request, context) =>
    Effect.callback<ProduceResponse | undefined, CloseConnection>((resume) => {
      const produce = new ProduceInFlight(request, context, (response) => {
        if (request.acks !== 0) return resume(Effect.succeed(response));
        const failed = firstError(response);
        resume(
          failed === undefined
            ? Effect.succeed(undefined)
            : Effect.fail(new CloseConnection({ reason: `acks=0 produce failed with error ${failed}` })),
        );
      });
      produce.start();
    }),
});

const firstError = (response: ProduceResponse): number | undefined => {
  for (const topic of response.responses) {
    for (const partition of topic.partitionResponses)
      if (partition.errorCode !== Errors.NONE) return partition.errorCode;
  }
  return undefined;
};

/** One good batch: where it goes, and where its answer stands. */
interface Handover {
  readonly topicId: Uuid;
  readonly topic: string;
  readonly batch: ValidatedBatch;
  readonly answer: PartitionAnswer;
  settled: boolean;
}

/** What the appends of transactional batches bring along. */
type Verifications = ReadonlyMap<Handover, AppendCommand["verification"]>;

const NOTHING_VERIFIED: Verifications = new Map();

class ProduceInFlight {
  private readonly response: ProduceResponse = emptyProduceResponse();
  private handovers: ReadonlyArray<Handover> = [];
  private unsettled = 0;
  private unapplied = 0;
  private finished = false;
  private cancelTimeout: (() => void) | undefined;

  constructor(
    private readonly request: ProduceRequest,
    private readonly context: RequestContext,
    private readonly done: (response: ProduceResponse) => void,
  ) {}

  start(): void {
    const judged = this.judge();
    const transactional = judged.filter(({ batch }) => isTransactional(batch.info.attributes));
    if (transactional.length === 0) this.handOver(judged, NOTHING_VERIFIED);
    else this.handOverVerified(judged, transactional);
  }

  private handOver(handovers: ReadonlyArray<Handover>, verifications: Verifications): void {
    this.handovers = handovers;
    if (this.handovers.length === 0) return this.finish();
    this.unsettled = this.handovers.length;
    this.unapplied = this.handovers.length;
    const { connection, ports } = this.context;
    const acks = this.request.acks as -1 | 0 | 1;
    const allApplied = connection.beginWrite();
    const applied = (): void => {
      this.unapplied -= 1;
      if (this.unapplied === 0) allApplied();
    };
    for (const handover of this.handovers) {
      const { batch, topicId, answer } = handover;
      const settle = (reply: AppendReply): void => this.settle(handover, reply);
      const command = { batch, acks, settle, applied };
      const verification = verifications.get(handover);
      ports.replicas.append(topicId, answer.index, verification === undefined ? command : { ...command, verification });
    }
    if (!this.finished && acks === -1) {
      this.cancelTimeout = ports.timers.after(this.request.timeoutMs, () => this.finish());
    }
  }

  /** Partitions that may not be written to are answered; the others' batches follow when that is known. */
  private handOverVerified(judged: ReadonlyArray<Handover>, transactional: ReadonlyArray<Handover>): void {
    const { connection, ports, version } = this.context;
    const producer = transactional[0]!.batch.info;
    const { producerId, producerEpoch } = producer;
    if (
      transactional.some(
        ({ batch: { info } }) => info.producerId !== producerId || info.producerEpoch !== producerEpoch,
      )
    ) {
      for (const { answer } of judged) fillRejection(answer, refusal(Errors.INVALID_PRODUCER_ID_MAPPING));
      return this.finish();
    }
    const support = {
      addsPartitions: version >= ADDS_PARTITIONS_FROM,
      knowsAbortable: version >= ABORTABLE_FROM,
    };
    const destinations = transactional.map(({ topicId, topic, answer, batch }) => ({
      topicId,
      topic,
      partition: answer.index,
      baseSequence: batch.info.baseSequence,
    }));
    let release: (() => void) | undefined;
    let done = false;
    verifyTransaction(this.request.transactionalId ?? "", producer, destinations, support, ports, (verified) => {
      done = true;
      const refused = new Set<Handover>();
      const verifications = new Map<Handover, AppendCommand["verification"]>();
      const asks = asksCoordinator(support.addsPartitions, ports.config);
      for (const [index, { error, guard }] of verified.entries()) {
        const handover = transactional[index]!;
        if (error !== Errors.NONE) {
          fillRejection(handover.answer, unverified(error, support.addsPartitions));
          refused.add(handover);
        } else if (asks) verifications.set(handover, { guard, supportsEpochBump: support.addsPartitions });
      }
      this.handOver(
        judged.filter((handover) => !refused.has(handover)),
        verifications,
      );
      release?.();
    });
    if (!done) release = connection.hold();
  }

  /** Fills an answer for every named partition and returns the good batches. */
  private judge(): ReadonlyArray<Handover> {
    const wholeRequest = this.judgeRequest();
    const handovers = new Map<PartitionAnswer, Handover>();
    for (const topicData of this.request.topicData) {
      const topicAnswer: TopicAnswer = { name: topicData.name, topicId: topicData.topicId, partitionResponses: [] };
      this.response.responses.push(topicAnswer);
      const topic = this.topicOf(topicData);
      for (const { index, records } of topicData.partitionData) {
        // Named twice, a partition is answered once and the later batch is the one that counts (§6).
        let answer = topicAnswer.partitionResponses.find((other) => other.index === index);
        if (answer === undefined) topicAnswer.partitionResponses.push((answer = emptyAnswer(index)));
        handovers.delete(answer);
        const judged =
          wholeRequest ?? (typeof topic === "number" ? refusal(topic) : this.judgeBatch(topic, index, records));
        if (isRejection(judged)) {
          fillRejection(answer, judged);
          if (typeof topic !== "number") answer.logStartOffset = this.logStartBeside(judged, topic, index);
        } else {
          const { id: topicId, name } = topic as TopicImage;
          handovers.set(answer, { topicId, topic: name, batch: judged, answer, settled: false });
        }
      }
    }
    return [...handovers.values()];
  }

  /** What is wrong with any first batch is, for some errors, the answer of every partition. */
  private judgeRequest(): Rejection | undefined {
    let transactional = false;
    for (const { partitionData } of this.request.topicData) {
      for (const { records } of partitionData) {
        const first = peekFirstBatch(records);
        if (first.wholeRequest !== undefined) return first.wholeRequest;
        transactional ||= first.transactional;
      }
    }
    if (!transactional) return undefined;
    return this.request.transactionalId === null ? refusal(Errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED) : undefined;
  }

  /** The topic, or the error that all its partitions get. */
  private topicOf({ name, topicId }: ProduceRequest["topicData"][number]): TopicImage | number {
    const image = this.context.ports.metadata.image();
    if (this.context.version >= TOPIC_IDS_FROM) return image.topicsById.get(topicId) ?? Errors.UNKNOWN_TOPIC_ID;
    return image.topicsByName.get(name) ?? Errors.UNKNOWN_TOPIC_OR_PARTITION;
  }

  private judgeBatch(topic: TopicImage, index: number, records: Uint8Array | null): ValidatedBatch | Refusal {
    const { ports, version } = this.context;
    if (topic.partitions[index] === undefined) return refusal(Errors.UNKNOWN_TOPIC_OR_PARTITION);
    const malformed = checkOneBatch(records, version);
    if (malformed !== undefined) return malformed;
    const { acks } = this.request;
    if (acks < -1 || acks > 1) return refusal(Errors.INVALID_REQUIRED_ACKS);
    if (isInternalTopic(topic.name)) return refusal(Errors.INVALID_TOPIC_EXCEPTION);
    const rules = ports.replicas.validationRules(topic, index, version);
    return rules === undefined ? refusal(Errors.UNKNOWN_TOPIC_OR_PARTITION) : foundInLog(validateBatch(records, rules));
  }

  /** Beside an error found inside the log Kafka answers where the log starts; beside these and earlier ones -1. */
  private logStartBeside({ error, inLog }: Refusal, topic: TopicImage, index: number): number {
    if (inLog !== true || WITHOUT_LOG_START.has(error)) return -1;
    const view = this.context.ports.replicas.view(topic.id, index);
    return typeof view === "number" ? -1 : view.logStartOffset;
  }

  private settle(handover: Handover, reply: AppendReply): void {
    if (this.finished) return;
    const { answer } = handover;
    handover.settled = true;
    answer.errorCode = reply.error;
    answer.baseOffset = reply.baseOffset;
    answer.logAppendTimeMs = reply.logAppendTime;
    answer.logStartOffset = reply.logStartOffset;
    answer.errorMessage = reply.message;
    this.unsettled -= 1;
    if (this.unsettled === 0) this.finish();
  }

  /** All settled, or the time is up: what is not settled then is written but not known to be committed. */
  private finish(): void {
    if (this.finished) return;
    this.finished = true;
    this.cancelTimeout?.();
    for (const { settled, answer } of this.handovers) if (!settled) answer.errorCode = Errors.REQUEST_TIMED_OUT;
    this.done(this.response);
  }
}

/** `inLog`: Kafka finds it when it appends, not before. */
type Refusal = Rejection & { readonly inLog?: true };

const foundInLog = (judged: ValidatedBatch | Rejection): ValidatedBatch | Refusal =>
  isRejection(judged) ? { ...judged, inLog: true } : judged;

/** Kafka's `ReplicaManager.appendToLocalLog`: the errors it answers without looking into the log. */
const WITHOUT_LOG_START: ReadonlySet<number> = new Set([
  Errors.CORRUPT_MESSAGE,
  Errors.MESSAGE_TOO_LARGE,
  Errors.RECORD_LIST_TOO_LARGE,
  Errors.KAFKA_STORAGE_ERROR,
]);

const refusal = (error: number): Rejection => ({ error, message: null, recordErrors: [] });

/** Why a batch is not appended, from what the transaction coordinator has said (`handleProduceAppend`). */
const unverified = (error: number, addsPartitions: boolean): Rejection => {
  switch (error) {
    case Errors.INVALID_TXN_STATE:
      return { ...refusal(error), message: "Partition was not added to the transaction" };
    case Errors.CONCURRENT_TRANSACTIONS:
      // Frequent while the last transaction is being completed, and known to these clients.
      if (addsPartitions) return refusal(error);
      return tryAgain(error);
    case Errors.COORDINATOR_LOAD_IN_PROGRESS:
    case Errors.COORDINATOR_NOT_AVAILABLE:
    case Errors.NOT_COORDINATOR:
      return tryAgain(error);
    default:
      return refusal(error);
  }
};

/** An error every producer retries without asking for metadata again. */
const tryAgain = (error: number): Rejection => ({
  error: Errors.NOT_ENOUGH_REPLICAS,
  message: `Unable to verify the partition has been added to the transaction. Underlying error: ${errorName(error)}`,
  recordErrors: [],
});

const fillRejection = (answer: PartitionAnswer, { error, message, recordErrors }: Rejection): void => {
  answer.errorCode = error;
  answer.errorMessage = message;
  answer.recordErrors = recordErrors.map(({ batchIndex, message }) => ({
    batchIndex,
    batchIndexErrorMessage: message,
  }));
};

const emptyAnswer = (index: number): PartitionAnswer => ({
  index,
  errorCode: Errors.NONE,
  baseOffset: -1,
  logAppendTimeMs: -1,
  logStartOffset: -1,
  recordErrors: [],
  errorMessage: null,
  currentLeader: { leaderId: -1, leaderEpoch: -1 },
});
