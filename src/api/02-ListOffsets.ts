/**
 * ListOffsets (key 2), versions 1–11: offsets by place in the log or by time.
 *
 * - Timestamps: -1 latest (the last stable offset for read_committed, else the high watermark), -2 earliest; v7+: -3 the
 *   first record with the largest timestamp (KIP-734); v8+: -4 earliest in the local log; v9+: -5 latest tiered; v11+: -6 earliest not
 *   yet tiered. Below its version, and for any other negative number: UNSUPPORTED_VERSION for that partition.
 * - A timestamp finds the first record at or after it; none is offset -1, timestamp -1, NONE.
 * - v2+: isolation level. v4+: leader epochs, both ways. v10+: a timeout, for remote look-ups only.
 *
 * Every look-up is capped at what the client may see. (Kafka looks for the largest timestamp in the whole log and
 * answers none when it lies beyond that; here it is the largest among the visible records.)
 */
import * as Effect from "effect/Effect";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import type { PartitionView } from "../partition/PartitionView.ts";
import { DiskError } from "../platform/Disk.ts";
import type { MaybePending, Offset } from "../prelude/Types.ts";
import { isPending } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ListOffsetsRequest } from "../protocol/generated/ListOffsetsRequest.ts";
import type { ListOffsetsResponse } from "../protocol/generated/ListOffsetsResponse.ts";
import type { Codecs } from "../record/Compression.ts";
import { leaderEpochError, type ViewOf, viewByName } from "./NamedPartition.ts";
import { defineHandler } from "./Router.ts";

type Question = ListOffsetsRequest["topics"][number]["partitions"][number];
type Answer = ListOffsetsResponse["topics"][number]["partitions"][number];

const LATEST = -1;
const EARLIEST = -2;
const MAX_TIMESTAMP = -3;
const EARLIEST_LOCAL = -4;
const LATEST_TIERED = -5;
const EARLIEST_PENDING_UPLOAD = -6;

/** The version from which a special timestamp is understood. */
const SPECIAL_FROM = new Map<number, number>([
  [LATEST, 1],
  [EARLIEST, 1],
  [MAX_TIMESTAMP, 7],
  [EARLIEST_LOCAL, 8],
  [LATEST_TIERED, 9],
  [EARLIEST_PENDING_UPLOAD, 11],
]);

const READ_UNCOMMITTED = 0;
const READ_COMMITTED = 1;
/** `replicaId` of a client; brokers send their id and see the whole log, debuggers -2. */
const CONSUMER = -1;

/** Whether `timestamp` means nothing in `version`. */
export const isUnsupportedTimestamp = (timestamp: number, version: number): boolean =>
  timestamp < 0 && version < (SPECIAL_FROM.get(timestamp) ?? Number.POSITIVE_INFINITY);

const answered = (partitionIndex: number, offset = -1, timestamp = -1, leaderEpoch = -1): Answer => ({
  partitionIndex,
  errorCode: Errors.NONE,
  timestamp,
  offset,
  leaderEpoch,
});

const refused = (partitionIndex: number, errorCode: number): Answer => ({ ...answered(partitionIndex), errorCode });

/** End (exclusive) of what the asker may see. */
const visibleEnd = (view: PartitionView, request: ListOffsetsRequest): Offset => {
  if (request.replicaId !== CONSUMER) return view.logEndOffset;
  return request.isolationLevel === READ_COMMITTED ? view.lastStableOffset : view.highWatermark;
};

/** The epoch of the log's first record; of an empty log the leader's. */
const startEpoch = (view: PartitionView): number => {
  const epoch = view.state.leaderEpochs.epochForOffset(view.logStartOffset);
  return epoch === -1 && view.logStartOffset === view.logEndOffset ? view.leaderEpoch : epoch;
};

/** Answers at once, or with the look-up that has to read the log. */
const lookUp = (
  view: PartitionView,
  question: Question,
  request: ListOffsetsRequest,
  codecs: Codecs,
): Answer | (() => Promise<Answer>) => {
  const { partitionIndex, timestamp } = question;
  const end = visibleEnd(view, request);
  switch (timestamp) {
    case LATEST:
      return answered(partitionIndex, end, -1, view.leaderEpoch);
    case EARLIEST:
    case EARLIEST_LOCAL:
      return answered(partitionIndex, view.logStartOffset, -1, startEpoch(view));
    case LATEST_TIERED:
    case EARLIEST_PENDING_UPLOAD:
      return answered(partitionIndex);
  }
  if (view.logStartOffset >= end) return answered(partitionIndex);
  return async () => {
    try {
      const record =
        timestamp === MAX_TIMESTAMP
          ? await view.log.maxTimestampOffset(view.logStartOffset, end, codecs)
          : await view.log.offsetForTimestamp(timestamp, view.logStartOffset, end, codecs);
      return record === undefined
        ? answered(partitionIndex)
        : answered(partitionIndex, record.offset, record.timestamp, record.leaderEpoch);
    } catch (failure) {
      const storage = failure instanceof DiskError;
      return refused(partitionIndex, storage ? Errors.KAFKA_STORAGE_ERROR : Errors.UNKNOWN_SERVER_ERROR);
    }
  };
};

/** The answer, there at once unless a timestamp has to be looked up in a log. */
export const listOffsetsResponse = (
  request: ListOffsetsRequest,
  version: number,
  image: MetadataImage,
  viewOf: ViewOf,
  codecs: Codecs,
): MaybePending<ListOffsetsResponse> => {
  const badIsolation = request.isolationLevel !== READ_UNCOMMITTED && request.isolationLevel !== READ_COMMITTED;
  const twice = partitionsGivenTwice(request);
  const topics: ListOffsetsResponse["topics"] = [];
  const lookUps: Array<() => Promise<void>> = [];

  const answerTo = (topic: string, question: Question): ReturnType<typeof lookUp> => {
    const { partitionIndex, timestamp, currentLeaderEpoch } = question;
    if (twice.has(`${topic}-${partitionIndex}`)) return refused(partitionIndex, Errors.INVALID_REQUEST);
    if (badIsolation) return refused(partitionIndex, Errors.UNKNOWN_SERVER_ERROR);
    if (isUnsupportedTimestamp(timestamp, version)) return refused(partitionIndex, Errors.UNSUPPORTED_VERSION);
    const view = viewByName(image, viewOf, topic, partitionIndex);
    if (typeof view === "number") return refused(partitionIndex, view);
    const error = leaderEpochError(view, currentLeaderEpoch);
    return error === Errors.NONE ? lookUp(view, question, request, codecs) : refused(partitionIndex, error);
  };

  for (const [name, questions] of questionsByTopic(request)) {
    const partitions: Answer[] = [];
    topics.push({ name, partitions });
    for (const question of questions) {
      const answer = answerTo(name, question);
      if (typeof answer !== "function") {
        partitions.push(inVersion(answer, version));
        continue;
      }
      const place = partitions.push(refused(question.partitionIndex, Errors.UNKNOWN_SERVER_ERROR)) - 1;
      lookUps.push(async () => {
        partitions[place] = inVersion(await answer(), version);
      });
    }
  }
  const response = { throttleTimeMs: 0, topics };
  return lookUps.length === 0 ? response : inTurn(lookUps).then(() => response);
};

/** Before v4 there is no field for the epoch. */
const inVersion = (answer: Answer, version: number): Answer => (version >= 4 ? answer : { ...answer, leaderEpoch: -1 });

/** One look-up at a time: a request may name every partition there is, and each reads through a buffer of its own. */
const inTurn = async (lookUps: ReadonlyArray<() => Promise<void>>): Promise<void> => {
  for (const lookUp of lookUps) await lookUp();
};

/** Each topic once, each of its partitions once. */
const questionsByTopic = (request: ListOffsetsRequest): Map<string, Iterable<Question>> => {
  const byTopic = new Map<string, Map<number, Question>>();
  for (const { name, partitions } of request.topics) {
    let questions = byTopic.get(name);
    if (questions === undefined) byTopic.set(name, (questions = new Map()));
    for (const question of partitions) questions.set(question.partitionIndex, question);
  }
  const questions = new Map<string, Iterable<Question>>();
  for (const [name, once] of byTopic) questions.set(name, once.values());
  return questions;
};

/** Partitions asked for more than once, as `topic-partition`: each is answered once, with INVALID_REQUEST. */
const partitionsGivenTwice = (request: ListOffsetsRequest): Set<string> => {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const { name, partitions } of request.topics) {
    for (const { partitionIndex } of partitions) {
      const key = `${name}-${partitionIndex}`;
      if (seen.has(key)) twice.add(key);
      seen.add(key);
    }
  }
  return twice;
};

export const ListOffsets = defineHandler<ListOffsetsRequest, ListOffsetsResponse>({
  apiKey: 2,
  minVersion: 1,
  maxVersion: 11,
  reads: true,
  handle: (request, { version, ports }) =>
    Effect.suspend(() => {
      const viewOf: ViewOf = (id, partition) => ports.replicas.view(id, partition);
      const response = listOffsetsResponse(request, version, ports.metadata.image(), viewOf, ports.codecs);
      return isPending(response) ? Effect.promise(() => response) : Effect.succeed(response);
    }),
});
