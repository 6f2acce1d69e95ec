/**
 * Where a partition's records begin for a reader: earliest, latest, an offset, a time or a saved position, all asked of
 * the broker by one ListOffsets, so that an unknown partition or a missing right is found whatever the client gave. The
 * leader epoch of a position is that of the record before it, as far as a client has seen one; -1 says nothing.
 */
import * as Effect from "effect/Effect";
import { ApiKey } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import { type Caller, PASSING_LOG_ERRORS, patiently, type Refused, refused, topicOf } from "./Caller.ts";
import type { From, Isolation, PartitionAt, PartitionFrom } from "./Messages.ts";
import { wireError } from "./WireError.ts";

const LATEST = -1;
const EARLIEST = -2;

export const isolationLevel = (isolation: Isolation | undefined): 0 | 1 => (isolation === "read_uncommitted" ? 0 : 1);

/** What ListOffsets is asked: for an offset that is known, whether the partition is there at all. */
const timestampOf = (from: From): number => {
  if (from === "latest") return LATEST;
  return typeof from === "object" && "timestamp" in from ? from.timestamp : EARLIEST;
};

/** Each by `topic partition`. */
type Found = ReadonlyMap<string, { readonly offset: number; readonly leaderEpoch: number; readonly error: number }>;

const keyOf = (topic: string, partition: number): string => `${partition} ${topic}`;

const listOffsets = (
  caller: Caller,
  asked: ReadonlyArray<{ readonly topic: string; readonly partition: number; readonly timestamp: number }>,
  isolation: Isolation | undefined,
): Effect.Effect<Found> => {
  const byTopic = new Map<string, Array<{ partitionIndex: number; currentLeaderEpoch: number; timestamp: number }>>();
  for (const { topic, partition, timestamp } of asked) {
    let partitions = byTopic.get(topic);
    if (partitions === undefined) byTopic.set(topic, (partitions = []));
    partitions.push({ partitionIndex: partition, currentLeaderEpoch: -1, timestamp });
  }
  const topics = Array.from(byTopic, ([name, partitions]) => ({ name, partitions }));
  const call = caller.call(ApiKey.ListOffsets, { replicaId: -1, isolationLevel: isolationLevel(isolation), topics });
  return Effect.map(call, (response) => {
    const found = new Map<string, { offset: number; leaderEpoch: number; error: number }>();
    for (const { name, partitions } of response.topics) {
      for (const { partitionIndex, offset, leaderEpoch, errorCode } of partitions) {
        found.set(keyOf(name, partitionIndex), { offset, leaderEpoch, error: errorCode });
      }
    }
    return found;
  });
};

/** The partitions with their positions; the first error of any of them refuses all. */
export const resolvePositions = (
  caller: Caller,
  partitions: ReadonlyArray<PartitionFrom>,
  isolation: Isolation | undefined,
): Effect.Effect<ReadonlyArray<PartitionAt>, Refused> =>
  patiently(caller, PASSING_LOG_ERRORS, resolveOnce(caller, partitions, isolation));

const resolveOnce = (
  caller: Caller,
  partitions: ReadonlyArray<PartitionFrom>,
  isolation: Isolation | undefined,
): Effect.Effect<ReadonlyArray<PartitionAt>, Refused> =>
  Effect.gen(function* () {
    const seen = new Set<string>();
    for (const { topic, partition } of partitions) {
      if (seen.has(keyOf(topic, partition))) {
        return yield* refused(Errors.INVALID_REQUEST, `${topic}-${partition} is named twice`);
      }
      seen.add(keyOf(topic, partition));
    }
    const asked = partitions.map(({ topic, partition, from }) => ({ topic, partition, timestamp: timestampOf(from) }));
    const found = yield* listOffsets(caller, asked, isolation);
    const resolved: PartitionAt[] = [];
    /** No record is that late: they begin at the end, which has to be asked for. */
    const late: Array<{ readonly topic: string; readonly partition: number; readonly timestamp: number }> = [];
    for (const { topic, partition, from } of partitions) {
      const answer = found.get(keyOf(topic, partition));
      const error = answer?.error ?? Errors.UNKNOWN_TOPIC_OR_PARTITION;
      if (answer === undefined || error !== Errors.NONE) {
        return yield* refused(error, `${topic}-${partition}: ${wireError(error).message}`);
      }
      const { id: topicId } = yield* topicOf(caller, topic);
      if (typeof from === "object" && "topicId" in from && from.topicId !== topicId) {
        return yield* refused(
          Errors.UNKNOWN_TOPIC_ID,
          `${topic}-${partition}: the position is of another topic of this name (id ${from.topicId}, now ${topicId})`,
          false,
        );
      }
      if (answer.offset < 0) late.push({ topic, partition, timestamp: LATEST });
      resolved.push({ topic, partition, position: { ...placeOf(from, answer), topicId } });
    }
    if (late.length === 0) return resolved;
    const ends = yield* listOffsets(caller, late, isolation);
    return resolved.map((each) => {
      const end = ends.get(keyOf(each.topic, each.partition));
      if (each.position.offset >= 0 || end === undefined || end.error !== Errors.NONE) return each;
      return { ...each, position: { ...each.position, offset: end.offset } };
    });
  });

const placeOf = (
  from: From,
  found: { readonly offset: number; readonly leaderEpoch: number },
): { readonly offset: number; readonly leaderEpoch: number } => {
  if (typeof from === "object" && "offset" in from) {
    return { offset: from.offset, leaderEpoch: "topicId" in from ? from.leaderEpoch : -1 };
  }
  return { offset: found.offset, leaderEpoch: -1 };
};
