/**
 * Fetch (key 1), versions 4–18.
 *
 * - v4: isolation level. v5+: log start offset. v7+: fetch sessions (KIP-227). v9+: current leader epoch. v11+: rack.
 * - v12+: flexible; last fetched epoch and diverging epoch (KIP-595). v13+: topic ids. v15+: replica state. v16+: CurrentLeader.
 * - v17+: replica directory id. v18+: high watermark in the request (KIP-1166), of interest to replicas only.
 *
 * Owns the reading of many partitions under one byte limit and the decision to wait. What must stay true: no byte at or
 * above the bound (high watermark, or last stable offset for read_committed) leaves; the first partition with data
 * gives at least one whole batch, whatever the limits (KIP-74); a waiting fetch holds no bytes; records that stay in their
 * file are held until they are sent or the connection is gone.
 */
import * as Effect from "effect/Effect";
import type { FileRecords } from "../log/FileRecords.ts";
import type { PartitionView } from "../partition/PartitionView.ts";
import { buggify } from "../prelude/Buggify.ts";
import { isPending, type MaybePending, ZERO_UUID } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { FetchRequest } from "../protocol/generated/FetchRequest.ts";
import { emptyFetchResponse, type FetchResponse } from "../protocol/generated/FetchResponse.ts";
import { WaitingFetch } from "./DelayedFetch.ts";
import { checkLeaderEpoch, divergingEpoch, type PartitionRead, readPartition } from "./FetchRead.ts";
import type { FetchPartition, FetchSession, SessionChoice } from "./FetchSession.ts";
import type { RequestContext } from "./RequestContext.ts";
import { type CloseConnection, defineHandler } from "./Router.ts";

/** The response, with records in memory or in their files: the encoder takes either. */
type FetchAnswer = Omit<FetchResponse, "responses"> & { responses: FetchTopicAnswer[] };
export type FetchTopicAnswer = Omit<FetchResponse["responses"][number], "partitions"> & {
  partitions: FetchPartitionAnswer[];
};
export type FetchPartitionAnswer = Omit<FetchResponse["responses"][number]["partitions"][number], "records"> & {
  records: Uint8Array | FileRecords;
};

const TOPIC_IDS_FROM = 13;
const READ_UNCOMMITTED = 0;
const READ_COMMITTED = 1;

export const Fetch = defineHandler<FetchRequest, FetchAnswer>({
  apiKey: 1,
  minVersion: 4,
  maxVersion: 18,
  reads: true,
  handle: (request, context) =>
    Effect.callback<FetchAnswer, CloseConnection>((resume) => {
      const fetch = new FetchInFlight(request, context, (response) => resume(response));
      fetch.start();
    }),
});

interface Entry {
  readonly request: FetchPartition;
  readonly answer: FetchPartitionAnswer;
}

/** The outcome of one pass over the partitions. */
interface Reading {
  readonly entries: Entry[];
  readonly views: PartitionView[];
  bytes: number;
  /** A read error, an epoch that diverges: the client must hear at once. */
  urgent: boolean;
}

class FetchInFlight {
  private readonly wanted: ReadonlyArray<FetchPartition>;
  private readonly choice: SessionChoice;
  private readonly readCommitted: boolean;
  private readonly startedAt: number;
  private readonly takeBackOnClose: () => void;
  private waiting: WaitingFetch | undefined;
  private cancelDeadline: (() => void) | undefined;
  private closed = false;
  /** Records in their files that were read for the answer and are not sent yet. */
  private readonly files = new Set<FileRecords>();

  constructor(
    private readonly request: FetchRequest,
    private readonly context: RequestContext,
    private readonly answer: (response: Effect.Effect<FetchAnswer>) => void,
  ) {
    const { ports, version, connection } = context;
    const usesTopicIds = version >= TOPIC_IDS_FROM;
    const asked = partitionsOf(request);
    const forgotten = request.forgottenTopicsData.flatMap((topic) =>
      topic.partitions.map((partition) => ({ topic: topic.topic, topicId: topic.topicId, partition })),
    );
    this.choice = ports.fetchSessions.choose(request.sessionId, request.sessionEpoch, usesTopicIds, asked, forgotten);
    const wanted = this.choice.kind === "incremental" ? this.choice.session.requested() : asked;
    this.wanted = wanted.map((partition) => resolveTopic(partition, context));
    this.readCommitted = request.isolationLevel === READ_COMMITTED;
    this.startedAt = ports.clock.monotonic();
    this.takeBackOnClose = connection.onClose(() => this.abandon());
  }

  start(): void {
    if (this.choice.kind === "error") {
      const response = emptyFetchResponse() as FetchAnswer;
      response.errorCode = this.choice.error;
      return this.finish(response);
    }
    this.attempt();
  }

  /** Reads, then answers or waits. */
  private attempt(): void {
    if (this.closed) return;
    // A fetch that waited is a task of its own: what it throws would be nobody's.
    const broken = (defect: unknown): void => this.answer(Effect.die(defect));
    try {
      const reading = this.readAll();
      if (isPending(reading)) reading.then((read) => this.decide(read)).catch(broken);
      else this.decide(reading);
    } catch (defect) {
      broken(defect);
    }
  }

  private decide(reading: Reading): void {
    if (this.closed) return;
    const { minBytes, maxWaitMs } = this.request;
    const left = maxWaitMs - (this.context.ports.clock.monotonic() - this.startedAt);
    const { delayedFetches, timers } = this.context.ports;
    const nothingToWaitFor = reading.views.length === 0 || left <= 0 || delayedFetches.stopping;
    const enough = reading.bytes >= minBytes || reading.urgent || nothingToWaitFor;
    if (enough || buggify("a fetch does not wait", 0.3)) return this.finish(this.respond(reading));
    this.releaseFiles();
    this.waiting = new WaitingFetch(minBytes - reading.bytes, this.readCommitted, () => this.attempt());
    delayedFetches.wait(this.waiting, reading.views);
    this.cancelDeadline ??= timers.after(left, () => this.onDeadline());
  }

  private onDeadline(): void {
    if (this.waiting === undefined || this.waiting.done) return;
    this.context.ports.delayedFetches.cancel(this.waiting);
    this.attempt();
  }

  private abandon(): void {
    this.closed = true;
    this.cancelDeadline?.();
    if (this.waiting !== undefined) this.context.ports.delayedFetches.cancel(this.waiting);
    this.releaseFiles();
  }

  private finish(response: FetchAnswer): void {
    this.cancelDeadline?.();
    this.closed = true;
    if (this.files.size === 0) this.takeBackOnClose();
    this.answer(Effect.succeed(response));
  }

  private hold(records: FileRecords): void {
    // It closed while this was looked up.
    if (this.closed) return records.release();
    this.files.add(records);
    records.released = () => {
      this.files.delete(records);
      if (this.closed && this.files.size === 0) this.takeBackOnClose();
    };
  }

  private releaseFiles(): void {
    for (const records of this.files) records.release();
  }

  private readAll(): MaybePending<Reading> {
    const reading: Reading = { entries: [], views: [], bytes: 0, urgent: false };
    return this.readFrom(0, reading);
  }

  private readFrom(start: number, reading: Reading): MaybePending<Reading> {
    const limit = Math.min(this.request.maxBytes, this.context.ports.config.number("fetch.max.bytes"));
    for (let index = start; index < this.wanted.length; index += 1) {
      const wanted = this.wanted[index]!;
      const answer = emptyAnswer(wanted.partition);
      reading.entries.push({ request: wanted, answer });
      const pending = this.readOne(wanted, answer, reading, limit - reading.bytes);
      if (isPending(pending)) return pending.then(() => this.readFrom(index + 1, reading));
    }
    return reading;
  }

  private readOne(
    wanted: FetchPartition,
    answer: FetchPartitionAnswer,
    reading: Reading,
    room: number,
  ): MaybePending<void> {
    const { version, ports } = this.context;
    if (wanted.topic === "" || wanted.topicId === ZERO_UUID) {
      // Beside a good partition an unknown topic does not end the wait (#31).
      answer.errorCode = version >= TOPIC_IDS_FROM ? Errors.UNKNOWN_TOPIC_ID : Errors.UNKNOWN_TOPIC_OR_PARTITION;
      return;
    }
    const view = ports.replicas.view(wanted.topicId, wanted.partition);
    if (typeof view === "number") {
      // The topic was there when the request came: a fetch that waited hears at once that it has gone, by its name.
      const gone = view === Errors.UNKNOWN_TOPIC_ID || view === Errors.UNKNOWN_TOPIC_OR_PARTITION;
      answer.errorCode = gone ? Errors.UNKNOWN_TOPIC_OR_PARTITION : view;
      answer.abortedTransactions = this.waiting === undefined ? [] : null;
      reading.urgent ||= !gone || this.waiting !== undefined;
      return;
    }
    const error = this.requestError() ?? checkLeaderEpoch(view, wanted.currentLeaderEpoch);
    if (error !== undefined) {
      answer.errorCode = error;
      answer.abortedTransactions = null;
      reading.urgent = true;
      return;
    }
    reading.views.push(view);
    const diverging = divergingEpoch(view, wanted);
    if (typeof diverging === "number") {
      answer.errorCode = diverging;
      answer.abortedTransactions = null;
      reading.urgent = true;
      return;
    }
    if (diverging !== undefined) {
      answer.divergingEpoch = diverging;
      reading.urgent = true;
      fillOffsets(answer, view, this.readCommitted);
      return;
    }
    const read = readPartition(view, {
      offset: wanted.fetchOffset,
      maxBytes: buggify("a fetch has little room", 0.5) ? 1 : Math.min(wanted.maxBytes, room),
      minOneBatch: reading.bytes === 0,
      readCommitted: this.readCommitted,
      fromFile: this.context.connection.sendsFiles === true,
    });
    return isPending(read)
      ? read.then((done) => this.take(reading, answer, view, done))
      : this.take(reading, answer, view, read);
  }

  private take(
    reading: Reading,
    answer: FetchPartitionAnswer,
    view: PartitionView,
    read: PartitionRead | number,
  ): void {
    if (typeof read === "number") {
      answer.errorCode = read;
      answer.abortedTransactions = null;
      reading.urgent = true;
      return;
    }
    fillOffsets(answer, view, read.abortedTransactions !== null);
    answer.records = read.records;
    answer.abortedTransactions = read.abortedTransactions;
    reading.bytes += read.records.length;
    if (!(read.records instanceof Uint8Array)) this.hold(read.records);
  }

  /** What is wrong with the request as a whole is answered per partition. */
  private requestError(): number | undefined {
    const { isolationLevel, replicaId, replicaState } = this.request;
    if (isolationLevel !== READ_UNCOMMITTED && isolationLevel !== READ_COMMITTED) return Errors.UNKNOWN_SERVER_ERROR;
    // No replica is assigned beside this broker's own: whoever claims to be one is not a follower of ours.
    const replica = this.context.version >= 15 ? replicaState.replicaId : replicaId;
    return replica >= 0 ? Errors.NOT_LEADER_OR_FOLLOWER : undefined;
  }

  private respond(reading: Reading): FetchAnswer {
    const response = emptyFetchResponse() as FetchAnswer;
    const session = this.sessionForAnswer();
    response.sessionId = session?.id ?? 0;
    const incremental = this.choice.kind === "incremental";
    let topic: FetchTopicAnswer | undefined;
    for (const { request, answer } of reading.entries) {
      const named =
        session?.mustAnswer(request, {
          errorCode: answer.errorCode,
          highWatermark: answer.highWatermark,
          logStartOffset: answer.logStartOffset,
          hasRecords: answer.records.length > 0,
          diverging: answer.divergingEpoch.epoch !== -1,
        }) ?? true;
      if (incremental && !named) continue;
      if (topic === undefined || topic.topic !== request.topic || topic.topicId !== request.topicId) {
        topic = { topic: request.topic, topicId: request.topicId, partitions: [] };
        response.responses.push(topic);
      }
      topic.partitions.push(answer);
    }
    return response;
  }

  private sessionForAnswer(): FetchSession | undefined {
    if (this.choice.kind === "incremental") return this.choice.session;
    if (this.choice.kind !== "full" || this.context.version < 7) return undefined;
    return this.context.ports.fetchSessions.create(this.context.version >= TOPIC_IDS_FROM, this.wanted);
  }
}

/** The request's partitions in its order, as the client named them. */
const partitionsOf = (request: FetchRequest): FetchPartition[] =>
  request.topics.flatMap(({ topic, topicId, partitions }) =>
    partitions.map((partition) => ({
      topic,
      topicId,
      partition: partition.partition,
      fetchOffset: partition.fetchOffset,
      maxBytes: partition.partitionMaxBytes,
      currentLeaderEpoch: partition.currentLeaderEpoch,
      lastFetchedEpoch: partition.lastFetchedEpoch,
    })),
  );

/** Adds the name to the id or the id to the name, as the image has them now: a session outlives a topic. */
const resolveTopic = (partition: FetchPartition, { ports, version }: RequestContext): FetchPartition => {
  const image = ports.metadata.image();
  if (version >= TOPIC_IDS_FROM) {
    return { ...partition, topic: image.topicsById.get(partition.topicId)?.name ?? "" };
  }
  return { ...partition, topicId: image.topicsByName.get(partition.topic)?.id ?? ZERO_UUID };
};

const fillOffsets = (answer: FetchPartitionAnswer, view: PartitionView, readCommitted: boolean): void => {
  answer.highWatermark = view.highWatermark;
  answer.lastStableOffset = view.lastStableOffset;
  answer.logStartOffset = view.logStartOffset;
  answer.abortedTransactions = readCommitted ? [] : null;
};

const NO_RECORDS = new Uint8Array(0);

const emptyAnswer = (partition: number): FetchPartitionAnswer => ({
  partitionIndex: partition,
  errorCode: Errors.NONE,
  highWatermark: -1,
  lastStableOffset: -1,
  logStartOffset: -1,
  divergingEpoch: { epoch: -1, endOffset: -1 },
  currentLeader: { leaderId: -1, leaderEpoch: -1 },
  snapshotId: { endOffset: -1, epoch: -1 },
  abortedTransactions: [],
  preferredReadReplica: -1,
  records: NO_RECORDS,
});
