/**
 * Committed offsets of consumer groups, as consumers and administrators commit and read them (with the retry rules of
 * librdkafka and of Kafka's own client). What must stay true: a commit is `fail` only when it certainly has no effect.
 */
import type { LeaderEpoch, MonotonicMs, Offset, TopicPartition } from "../../src/prelude/Types.ts";
import { type Uuid, ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { type ErrorName, Errors, errorName } from "../../src/protocol/Errors.ts";
import { type CoordinatorAnswer, Unanswered } from "./Coordinators.ts";
import type { KafkaClient } from "./KafkaClient.ts";
import { KafkaError } from "./KafkaError.ts";

/** Who commits: a member, or nobody in particular (generation -1, no member). */
export interface GroupIdentity {
  readonly groupId: string;
  /** The classic protocol's generation or KIP-848's member epoch; -1 outside of a group's membership. */
  readonly generationId: number;
  readonly memberId: string;
  readonly groupInstanceId: string | null;
}

/** The next offset to read. */
export interface OffsetToCommit extends TopicPartition {
  readonly offset: Offset;
  /** Of the last record read; default -1. */
  readonly leaderEpoch?: LeaderEpoch;
  readonly metadata?: string;
}

export interface CommittedOffset extends TopicPartition {
  /** -1: nothing is committed. */
  readonly offset: Offset;
  readonly leaderEpoch: LeaderEpoch;
  readonly metadata: string | null;
}

export type CommitOutcome =
  /** `repeated`: an earlier attempt got no answer, and may still arrive. */
  | { readonly type: "ok"; readonly repeated?: true }
  | { readonly type: "fail" | "info"; readonly error: ErrorName | "LOCAL_TIMED_OUT" };

export interface OffsetsCall {
  readonly deadline: MonotonicMs;
  readonly purpose: string;
  readonly cancelled?: () => boolean;
}

/** Worth another attempt; whatever else comes is the commit's end. */
const PASSING_COMMIT: ReadonlySet<number> = new Set([
  Errors.REQUEST_TIMED_OUT,
  Errors.UNKNOWN_TOPIC_OR_PARTITION,
  Errors.UNKNOWN_TOPIC_ID,
]);

/** An answer that does not say whether the commit took effect. */
const UNKNOWN_COMMIT: ReadonlySet<number> = new Set([Errors.UNKNOWN_SERVER_ERROR, Errors.REQUEST_TIMED_OUT]);

export const outsideOfGroup = (groupId: string): GroupIdentity => ({
  groupId,
  generationId: -1,
  memberId: "",
  groupInstanceId: null,
});

/** Never rejects for what the broker says or for lost connections. `identity` is asked before every attempt. */
export const commitOffsets = async (
  client: KafkaClient,
  identity: () => GroupIdentity,
  offsets: ReadonlyArray<OffsetToCommit>,
  call: OffsetsCall,
): Promise<CommitOutcome> => {
  if (offsets.length === 0) return { type: "ok" };
  const { groupId } = identity();
  let epoch = identity().generationId;
  let answered: CoordinatorAnswer<typeof ApiKey.OffsetCommit>;
  try {
    await nameTopics(client, offsets);
    answered = await client.coordinators.call({
      kind: "group",
      key: groupId,
      apiKey: ApiKey.OffsetCommit,
      message: (version) => {
        const { generationId, memberId, groupInstanceId } = identity();
        epoch = generationId;
        return {
          groupId,
          generationIdOrMemberEpoch: generationId,
          memberId,
          groupInstanceId,
          topics: [...Map.groupBy(offsets, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
            ...topicName(client, topic, version >= 10),
            partitions: ofTopic.map(({ partition, offset, leaderEpoch, metadata }) => ({
              partitionIndex: partition,
              committedOffset: offset,
              committedLeaderEpoch: leaderEpoch ?? -1,
              committedMetadata: metadata ?? "",
            })),
          })),
        };
      },
      errorOf: ({ topics }) =>
        topics.flatMap(({ partitions }) => partitions).find(({ errorCode }) => errorCode !== Errors.NONE)?.errorCode ??
        Errors.NONE,
      retriable: (code) => {
        if (code === Errors.UNKNOWN_TOPIC_ID) client.refresh(offsets[0]!.topic).catch(() => {});
        // The epoch has moved meanwhile: the same commit may be made in the new one (KIP-848).
        if (code === Errors.STALE_MEMBER_EPOCH) return identity().generationId > epoch;
        return PASSING_COMMIT.has(code);
      },
      ...call,
    });
  } catch (error) {
    if (error instanceof Unanswered) return { type: error.maybeDone ? "info" : "fail", error: "LOCAL_TIMED_OUT" };
    if (error instanceof KafkaError) return { type: "fail", error: errorName(error.code) };
    return { type: "info", error: "LOCAL_TIMED_OUT" };
  }
  const { code, unknownBefore } = answered;
  if (code === Errors.NONE) return unknownBefore ? { type: "ok", repeated: true } : { type: "ok" };
  const unknown = unknownBefore || UNKNOWN_COMMIT.has(code);
  return { type: unknown ? "info" : "fail", error: errorName(code) };
};

/** What is committed for these partitions, or (null) for all that have something. Rejects when it cannot be had. */
export const fetchOffsets = async (
  client: KafkaClient,
  group: { readonly groupId: string; readonly memberId?: string | null; readonly memberEpoch?: number },
  partitions: ReadonlyArray<TopicPartition> | null,
  call: OffsetsCall & { readonly requireStable?: boolean },
): Promise<CommittedOffset[]> => {
  if (partitions !== null) await nameTopics(client, partitions);
  const topics = partitions === null ? null : [...Map.groupBy(partitions, ({ topic }) => topic)];
  // As they were asked: by the time of the answer the client may have forgotten which topic has which id.
  const names = new Map<Uuid, string>();
  const { answer, code } = await client.coordinators.call({
    kind: "group",
    key: group.groupId,
    apiKey: ApiKey.OffsetFetch,
    // Without names there is nothing to make topic ids from.
    ...(partitions === null ? { newest: 9 } : {}),
    message: (version) => {
      const ofTopics = (byId: boolean) =>
        topics?.map(([topic, ofTopic]) => {
          const named = topicName(client, topic, byId);
          names.set(named.topicId, topic);
          return { ...named, partitionIndexes: ofTopic.map(({ partition }) => partition) };
        }) ?? null;
      return {
        requireStable: call.requireStable ?? false,
        ...(version < 8
          ? { groupId: group.groupId, topics: ofTopics(false) }
          : {
              groups: [
                {
                  groupId: group.groupId,
                  memberId: group.memberId ?? null,
                  memberEpoch: group.memberEpoch ?? -1,
                  topics: ofTopics(version >= 10),
                },
              ],
            }),
      };
    },
    errorOf: ({ errorCode, topics: old, groups }) => {
      const [found] = groups;
      const ofPartitions = (found?.topics ?? old).flatMap(
        (topic) => topic.partitions as ReadonlyArray<{ errorCode: number }>,
      );
      const wrong = [errorCode, found?.errorCode ?? Errors.NONE, ...ofPartitions.map((one) => one.errorCode)];
      return wrong.find((each) => each !== Errors.NONE) ?? Errors.NONE;
    },
    retriable: (refusal) => {
      const [first] = partitions ?? [];
      if (refusal === Errors.UNKNOWN_TOPIC_ID && first !== undefined) client.refresh(first.topic).catch(() => {});
      return (
        refusal === Errors.UNSTABLE_OFFSET_COMMIT ||
        refusal === Errors.REQUEST_TIMED_OUT ||
        refusal === Errors.UNKNOWN_TOPIC_ID ||
        refusal === Errors.UNKNOWN_TOPIC_OR_PARTITION
      );
    },
    ...call,
  });
  if (code !== Errors.NONE) throw new KafkaError(code, `OffsetFetch of ${group.groupId}`);
  const found: CommittedOffset[] = [];
  const [ofGroup] = answer.groups;
  for (const topic of ofGroup?.topics ?? []) {
    const name = topic.name === "" ? names.get(topic.topicId) : topic.name;
    if (name === undefined) continue;
    for (const { partitionIndex, committedOffset, committedLeaderEpoch, metadata } of topic.partitions) {
      const leaderEpoch = committedLeaderEpoch;
      found.push({ topic: name, partition: partitionIndex, offset: committedOffset, leaderEpoch, metadata });
    }
  }
  for (const { name, partitions: old } of answer.topics) {
    for (const { partitionIndex, committedOffset, committedLeaderEpoch, metadata } of old) {
      const leaderEpoch = committedLeaderEpoch;
      found.push({ topic: name, partition: partitionIndex, offset: committedOffset, leaderEpoch, metadata });
    }
  }
  // What is missing is not what was never committed.
  const missing = partitions?.find(
    (one) => !found.some((it) => it.topic === one.topic && it.partition === one.partition),
  );
  if (missing !== undefined) {
    throw new Error(`the answer to OffsetFetch of ${group.groupId} leaves out ${missing.topic}-${missing.partition}`);
  }
  return found;
};

/** Newer versions name topics by their ids. */
const nameTopics = async (client: KafkaClient, partitions: ReadonlyArray<TopicPartition>): Promise<void> => {
  for (const topic of new Set(partitions.map((one) => one.topic))) await client.topic(topic);
};

const topicName = (client: KafkaClient, topic: string, byId: boolean) =>
  byId ? { name: "", topicId: client.knownTopicId(topic) } : { name: topic, topicId: ZERO_UUID };
