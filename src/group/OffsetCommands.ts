/**
 * Commits, fetches, deletions and expiry of offsets (Kafka's `OffsetMetadataManager`). What must stay true: a commit is
 * taken only from a member of the current generation, or while nobody is a member (G2, G6); what a group subscribes to
 * is neither deleted nor expired, and nothing is while it rebalances (O5).
 */
import { type Timestamp, type Uuid, ZERO_UUID } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { OffsetCommitRequest } from "../protocol/generated/OffsetCommitRequest.ts";
import type { OffsetCommitResponse } from "../protocol/generated/OffsetCommitResponse.ts";
import type { OffsetDeleteResponse } from "../protocol/generated/OffsetDeleteResponse.ts";
import type {
  OffsetFetchResponseGroup,
  OffsetFetchResponsePartitions,
} from "../protocol/generated/OffsetFetchResponse.ts";
import type { TxnOffsetCommitResponsePartition } from "../protocol/generated/TxnOffsetCommitResponse.ts";
import { touchMember } from "./ClassicCommands.ts";
import { type AskId, type ClassicGroup, CONSUMER_PROTOCOL_TYPE, isSubscribedTo, memberError } from "./ClassicGroup.ts";
import type { ConsumerGroup } from "./ConsumerGroup.ts";
import { type CommitVerdict, consumerGroupProtocol, type Deciding } from "./ConsumerGroupProtocol.ts";
import { groupIds, groupOf } from "./CoordinatorState.ts";
import type { CoordinatorState, DecideContext, GroupCommand } from "./GroupCoordinator.ts";
import type { GroupRecord } from "./GroupRecords.ts";
import type { CommittedOffset, TopicOffsets } from "./Offsets.ts";
import { EXPIRY_TIMER, type Outcome } from "./Outcome.ts";

/** From this version on a generation of a group that is not there is GROUP_ID_NOT_FOUND (KIP-848). */
const GROUP_ID_NOT_FOUND_FROM = 9;
/** `retention_time_ms` of versions 2–4 that leaves it to the broker. */
const DEFAULT_RETENTION = -1;
const MINUTE_MS = 60_000;

type Group = ClassicGroup | ConsumerGroup;

/** Whether the request may commit at all, or what each partition is asked. */
const verdictOf = (
  group: Group | undefined,
  request: OffsetCommitRequest,
  version: number,
  deciding: Deciding,
): CommitVerdict => {
  const { generationIdOrMemberEpoch: generation, memberId, groupInstanceId } = request;
  if (group === undefined) {
    if (generation < 0) return Errors.NONE;
    return version >= GROUP_ID_NOT_FOUND_FROM ? Errors.GROUP_ID_NOT_FOUND : Errors.ILLEGAL_GENERATION;
  }
  if (group.kind === "consumer") return consumerGroupProtocol.commit(group, request, version, deciding);
  const isEmpty = group.state === "Empty";
  // An administrator's commit, or one of a consumer that manages its partitions itself.
  if (generation < 0 && isEmpty) return Errors.NONE;
  if (generation >= 0 || memberId !== "" || groupInstanceId !== null) {
    const error = memberError(group, memberId, groupInstanceId);
    if (error !== Errors.NONE) return error;
    if (generation !== group.generation) return Errors.ILLEGAL_GENERATION;
  } else if (!isEmpty) return Errors.UNKNOWN_MEMBER_ID;
  if (group.state === "CompletingRebalance") return Errors.REBALANCE_IN_PROGRESS;
  touchMember(group, memberId, deciding.outcome);
  return Errors.NONE;
};

export const commitOffsets = (command: GroupCommand<"OffsetCommit">, deciding: Deciding): void => {
  const { request, version } = command;
  const { state, context, ask, outcome } = deciding;
  const { now, config } = context;
  const verdict = verdictOf(groupOf(state, request.groupId), request, version, deciding);
  const maxMetadata = config.number("offset.metadata.max.bytes");
  const expireTimestamp = request.retentionTimeMs === DEFAULT_RETENTION ? -1 : now + request.retentionTimeMs;
  const topics = request.topics.map(({ name, topicId, partitions }) => ({
    name,
    topicId,
    partitions: partitions.map((partition): OffsetCommitResponse["topics"][number]["partitions"][number] => {
      const { partitionIndex, committedMetadata } = partition;
      const refuse = (errorCode: number) => ({ partitionIndex, errorCode });
      if (typeof verdict === "number" && verdict !== Errors.NONE) return refuse(verdict);
      if ((committedMetadata?.length ?? 0) > maxMetadata) return refuse(Errors.OFFSET_METADATA_TOO_LARGE);
      const error = typeof verdict === "number" ? verdict : verdict(topicId, name, partitionIndex);
      if (error !== Errors.NONE) return refuse(error);
      outcome.records.push({
        kind: "OffsetCommit",
        key: { group: request.groupId, topic: name, partition: partitionIndex },
        value: {
          offset: partition.committedOffset,
          leaderEpoch: partition.committedLeaderEpoch,
          // Null is stored and answered as "".
          metadata: committedMetadata ?? "",
          commitTimestamp: now,
          expireTimestamp,
          topicId,
        },
      });
      return refuse(Errors.NONE);
    }),
  }));
  outcome.answer<"OffsetCommit">(ask, { throttleTimeMs: 0, topics });
};

/** Whether the request may commit at all: like a plain commit's verdict, but old clients need not say who they are. */
const transactionalVerdictOf = (
  group: Group | undefined,
  command: GroupCommand<"TxnOffsetCommit">,
  deciding: Deciding,
): CommitVerdict => {
  const { generationId, memberId, groupInstanceId } = command.request;
  const anonymous = generationId < 0 && memberId === "" && groupInstanceId === null;
  if (group === undefined) return generationId < 0 ? Errors.NONE : Errors.ILLEGAL_GENERATION;
  if (anonymous) return Errors.NONE;
  if (group.kind === "classic") {
    if (generationId < 0 && group.state === "Empty") return Errors.NONE;
    const error = memberError(group, memberId, groupInstanceId);
    if (error !== Errors.NONE) return error;
    return generationId === group.generation ? Errors.NONE : Errors.ILLEGAL_GENERATION;
  }
  const asCommit: OffsetCommitRequest = {
    groupId: group.groupId,
    generationIdOrMemberEpoch: generationId,
    memberId,
    groupInstanceId,
    retentionTimeMs: DEFAULT_RETENTION,
    topics: command.topics.map(({ name, topicId, partitions }) => ({ name, topicId, partitions: [...partitions] })),
  };
  const verdict = consumerGroupProtocol.commit(group, asCommit, GROUP_ID_NOT_FOUND_FROM, deciding);
  return verdict === Errors.STALE_MEMBER_EPOCH ? Errors.ILLEGAL_GENERATION : verdict;
};

/** A transaction's commit: the offsets wait for its end (O2, KIP-447). */
export const commitTransactionalOffsets = (command: GroupCommand<"TxnOffsetCommit">, deciding: Deciding): void => {
  const { request, guard, supportsEpochBump } = command;
  const { groupId, producerId, producerEpoch } = request;
  const { state, context, ask, outcome } = deciding;
  const verdict = transactionalVerdictOf(groupOf(state, groupId), command, deciding);
  const maxMetadata = context.config.number("offset.metadata.max.bytes");
  outcome.transaction = { producerId, producerEpoch, verification: { guard, supportsEpochBump } };
  const topics = command.topics.map(({ name, topicId, partitions }) => ({
    name,
    partitions: partitions.map((partition): TxnOffsetCommitResponsePartition => {
      const { partitionIndex, committedMetadata } = partition;
      const refuse = (errorCode: number) => ({ partitionIndex, errorCode });
      const error = typeof verdict === "number" ? verdict : verdict(topicId, name, partitionIndex);
      if (error !== Errors.NONE) return refuse(error);
      if ((committedMetadata?.length ?? 0) > maxMetadata) return refuse(Errors.OFFSET_METADATA_TOO_LARGE);
      outcome.records.push({
        kind: "OffsetCommit",
        key: { group: groupId, topic: name, partition: partitionIndex },
        value: {
          offset: partition.committedOffset,
          leaderEpoch: partition.committedLeaderEpoch,
          metadata: committedMetadata ?? "",
          commitTimestamp: context.now,
          expireTimestamp: -1,
          topicId,
        },
      });
      return refuse(Errors.NONE);
    }),
  }));
  outcome.answer<"TxnOffsetCommit">(ask, { throttleTimeMs: 0, topics });
};

const NOTHING_COMMITTED = { committedOffset: -1, committedLeaderEpoch: -1, metadata: "", errorCode: Errors.NONE };

const fetched = (partitionIndex: number, committed: CommittedOffset | undefined): OffsetFetchResponsePartitions =>
  committed === undefined
    ? { partitionIndex, ...NOTHING_COMMITTED }
    : {
        partitionIndex,
        committedOffset: committed.offset,
        committedLeaderEpoch: committed.leaderEpoch,
        metadata: committed.metadata,
        errorCode: Errors.NONE,
      };

/** A commit to an earlier topic of the same name is not this topic's. */
const isOfTopic = (committed: CommittedOffset, topicId: Uuid): boolean =>
  committed.topicId === ZERO_UUID || topicId === ZERO_UUID || committed.topicId === topicId;

export const fetchOffsets = (
  state: CoordinatorState,
  { group: request, requireStable }: GroupCommand<"OffsetFetch">,
  ask: AskId,
  outcome: Outcome,
): void => {
  const { groupId, memberId, memberEpoch } = request;
  const answer = (topics: OffsetFetchResponseGroup["topics"], errorCode: number): void =>
    outcome.answer<"OffsetFetch">(ask, { groupId, topics, errorCode });
  const group = groupOf(state, groupId);
  if (group?.kind === "consumer") {
    const error = consumerGroupProtocol.fetchError(group, memberId, memberEpoch);
    if (error !== Errors.NONE) return answer([], error);
  }
  /** A transaction may yet change it, and the client wants to know it only when it is settled (KIP-447). */
  const told = (topic: string, index: number, committed: CommittedOffset | undefined): OffsetFetchResponsePartitions =>
    requireStable && state.journal.offsets.isUnstable(groupId, topic, index)
      ? { ...fetched(index, undefined), errorCode: Errors.UNSTABLE_OFFSET_COMMIT }
      : fetched(index, committed);
  const offsets: TopicOffsets = group === undefined ? new Map() : (state.journal.offsets.of(groupId) ?? new Map());
  if (request.topics === null) {
    const topics = [...offsets].map(([name, partitions]) => ({
      name,
      topicId: ZERO_UUID,
      partitions: [...partitions].map(([index, committed]) => told(name, index, committed)),
    }));
    return answer(topics, Errors.NONE);
  }
  const topics = request.topics.map(({ name, topicId, partitionIndexes }) => ({
    name,
    topicId,
    partitions: partitionIndexes.map((index) => {
      const committed = offsets.get(name)?.get(index);
      return told(name, index, committed !== undefined && isOfTopic(committed, topicId) ? committed : undefined);
    }),
  }));
  answer(topics, Errors.NONE);
};

/** A commit taken back. */
const tombstone = (group: string, topic: string, partition: number): GroupRecord => ({
  kind: "OffsetCommit",
  key: { group, topic, partition },
  value: null,
});

const isSubscribed = (group: Group, topic: string): boolean =>
  group.kind === "consumer" ? group.isSubscribedToTopic(topic) : isSubscribedTo(group, topic);

export const deleteOffsets = (
  state: CoordinatorState,
  { request }: GroupCommand<"OffsetDelete">,
  ask: AskId,
  outcome: Outcome,
): void => {
  const { groupId } = request;
  const answer = (errorCode: number, topics: OffsetDeleteResponse["topics"]): void =>
    outcome.answer<"OffsetDelete">(ask, { errorCode, throttleTimeMs: 0, topics });
  const group = groupOf(state, groupId);
  if (group === undefined) return answer(Errors.GROUP_ID_NOT_FOUND, []);
  const isForeign = group.kind === "classic" && group.protocolType !== CONSUMER_PROTOCOL_TYPE;
  if (isForeign && group.state !== "Empty") return answer(Errors.NON_EMPTY_GROUP, []);
  const topics = request.topics.map(({ name, partitions }) => {
    const errorCode = isSubscribed(group, name) ? Errors.GROUP_SUBSCRIBED_TO_TOPIC : Errors.NONE;
    for (const { partitionIndex } of partitions) {
      const { offsets } = state.journal;
      const known =
        offsets.get(groupId, name, partitionIndex) !== undefined || offsets.isUnstable(groupId, name, partitionIndex);
      if (errorCode !== Errors.NONE || !known) continue;
      outcome.records.push(tombstone(groupId, name, partitionIndex));
    }
    return { name, partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })) };
  });
  answer(Errors.NONE, topics);
};

/** Tombstones of everything a group has committed, in open transactions too. */
export const offsetTombstones = ({ journal: { offsets } }: CoordinatorState, groupId: string): GroupRecord[] => {
  const records: GroupRecord[] = [];
  for (const [topic, partitions] of offsets.of(groupId) ?? []) {
    for (const partition of partitions.keys()) records.push(tombstone(groupId, topic, partition));
  }
  for (const { topic, partition } of offsets.openOf(groupId)) {
    if (offsets.get(groupId, topic, partition) === undefined) records.push(tombstone(groupId, topic, partition));
  }
  return records;
};

/** Topics are gone: so are their offsets, but not those of a new topic with an old name. */
export const topicsDeleted = (
  { journal }: CoordinatorState,
  { topics }: GroupCommand<"TopicsDeleted">,
  outcome: Outcome,
): void => {
  outcome.divisible = true;
  for (const groupId of journal.offsets.groupIds()) {
    const offsets = journal.offsets.of(groupId);
    for (const { name, id } of topics) {
      for (const [partition, committed] of offsets?.get(name) ?? []) {
        if (isOfTopic(committed, id)) outcome.records.push(tombstone(groupId, name, partition));
      }
    }
    for (const { topic, partition, topicId } of journal.offsets.openOf(groupId)) {
      const gone = topics.some(({ name, id }) => name === topic && id === topicId);
      if (gone && offsets?.get(topic)?.has(partition) !== true)
        outcome.records.push(tombstone(groupId, topic, partition));
    }
  }
};

/**
 * After a load: a topic that went while nobody read this log took its offsets along. (The metadata that made this broker
 * the coordinator is newer than any topic whose offsets are in the log.)
 */
export const forgetLostTopics = ({ journal }: CoordinatorState, context: DecideContext, outcome: Outcome): void => {
  const { topicsById } = context.image;
  outcome.divisible = true;
  for (const groupId of journal.offsets.groupIds()) {
    for (const [topic, partitions] of journal.offsets.of(groupId) ?? []) {
      for (const [partition, { topicId }] of partitions) {
        if (topicId === ZERO_UUID || topicsById.get(topicId) !== undefined) continue;
        outcome.records.push(tombstone(groupId, topic, partition));
      }
    }
  }
};

/** From when an offset's retention counts; undefined: nothing of this group expires now. */
const retentionStart = (group: Group): ((committed: CommittedOffset) => Timestamp) | undefined => {
  const sinceCommit = (committed: CommittedOffset): Timestamp => committed.commitTimestamp;
  if (group.kind === "consumer" || group.protocolType === undefined) return sinceCommit;
  if (group.state === "Empty") {
    const { stateTimestamp } = group;
    return stateTimestamp === -1 ? sinceCommit : () => stateTimestamp;
  }
  const knowsTopics = group.protocolType === CONSUMER_PROTOCOL_TYPE && group.subscribedTopics !== undefined;
  return knowsTopics && group.state === "Stable" ? sinceCommit : undefined;
};

/**
 * What has outlived its retention is taken back, and with its last offset an empty group. A decision stops after a good
 * many records and the next one follows at once, so that requests come in between.
 */
export const expireOffsets = (state: CoordinatorState, context: DecideContext, outcome: Outcome): void => {
  const { config, now } = context;
  const retentionMs = config.number("offsets.retention.minutes") * MINUTE_MS;
  const isExpired = (committed: CommittedOffset, start: Timestamp): boolean =>
    committed.expireTimestamp === -1 ? now - start >= retentionMs : now >= committed.expireTimestamp;
  let more = false;
  for (const groupId of groupIds(state)) {
    if (outcome.records.length >= MAX_EXPIRED_AT_ONCE) {
      more = true;
      break;
    }
    const group = groupOf(state, groupId)!;
    if (expireGroup(state, groupId, group, isExpired, outcome))
      outcome.records.push(...groupTombstones(group, outcome));
  }
  outcome.divisible = true;
  const wait = more ? 0 : config.number("offsets.retention.check.interval.ms");
  outcome.arm(EXPIRY_TIMER, wait, { type: "ExpireOffsets" });
};

const MAX_EXPIRED_AT_ONCE = 1000;

/** Takes back a group's expired offsets; true when the group itself may go. */
const expireGroup = (
  { journal }: CoordinatorState,
  groupId: string,
  group: Group,
  isExpired: (committed: CommittedOffset, start: Timestamp) => boolean,
  outcome: Outcome,
): boolean => {
  const isEmpty = group.kind === "consumer" ? group.members.size === 0 : isEmptyClassic(group);
  const offsets = journal.offsets.of(groupId);
  const inTransaction = journal.offsets.isOpen(groupId);
  if (offsets === undefined) return isEmpty && !inTransaction;
  const start = retentionStart(group);
  if (start === undefined) return false;
  let allExpired = !inTransaction;
  for (const [topic, partitions] of offsets) {
    const subscribed = isSubscribed(group, topic);
    for (const [partition, committed] of partitions) {
      const unstable = inTransaction && journal.offsets.isUnstable(groupId, topic, partition);
      if (!subscribed && !unstable && isExpired(committed, start(committed))) {
        outcome.records.push(tombstone(groupId, topic, partition));
      } else allExpired = false;
    }
  }
  return allExpired && isEmpty;
};

const isEmptyClassic = (group: ClassicGroup): boolean => group.state === "Empty" && group.pendingJoin.size === 0;

/** Takes an empty group back, timers and all. */
export const groupTombstones = (group: Group, outcome: Outcome): ReadonlyArray<GroupRecord> => {
  outcome.keep(group.groupId, undefined);
  if (group.kind === "consumer") {
    consumerGroupProtocol.cancelTimers(group, outcome);
    return consumerGroupProtocol.tombstones(group);
  }
  return [{ kind: "GroupMetadata", key: { group: group.groupId }, value: null }];
};
