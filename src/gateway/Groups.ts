/**
 * A consumer group's requests as the gateway makes them for its members (KIP-848): the heartbeat in its three forms, the
 * offsets a partition begins at, and the commit. Each is one request to its handler; what a member has and is to have is
 * the session's.
 */
import * as Effect from "effect/Effect";
import type { LeaderEpoch, Offset, Uuid } from "../prelude/Types.ts";
import { ApiKey, type RequestOf } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import {
  type Caller,
  CoordinatorType,
  PASSING_COORDINATOR_ERRORS,
  patiently,
  Refused,
  refused,
  topicOf,
  withCoordinator,
} from "./Caller.ts";
import type { GroupMembership, OffsetToCommit, PartitionOutcome, TopicPartition } from "./Messages.ts";
import { byTopic, outcome } from "./Transactions.ts";
import { wireError } from "./WireError.ts";

type HeartbeatRequest = RequestOf<68>;

/** A partition as a member owns it. */
export interface OwnedPartition extends TopicPartition {
  readonly topicId: Uuid;
}

export const JOIN_EPOCH = 0;
const LEAVE_EPOCH = -1;
/** A static member's: its assignment waits for the session timeout. */
const LEAVE_STATIC_EPOCH = -2;
/** `max.poll.interval.ms` of Kafka's consumers, which is their rebalance timeout. */
const DEFAULT_REBALANCE_TIMEOUT_MS = 300_000;

export const rebalanceTimeoutOf = (member: GroupMembership): number =>
  member.rebalanceTimeoutMs ?? DEFAULT_REBALANCE_TIMEOUT_MS;

/**
 * `full` says everything (joining, and after any trouble), `owned` what it has (after a change of that), `light` that it
 * is there.
 */
export type HeartbeatForm = "full" | "owned" | "light";

const reported = (owned: Iterable<OwnedPartition>): NonNullable<HeartbeatRequest["topicPartitions"]> => {
  const byId = new Map<Uuid, number[]>();
  for (const { topicId, partition } of owned) {
    const partitions = byId.get(topicId);
    if (partitions === undefined) byId.set(topicId, [partition]);
    else partitions.push(partition);
  }
  return Array.from(byId, ([topicId, partitions]) => ({ topicId, partitions }));
};

export const heartbeatRequest = (
  member: GroupMembership,
  memberEpoch: number,
  owned: Iterable<OwnedPartition>,
  form: HeartbeatForm,
): Partial<HeartbeatRequest> => {
  const { id: groupId, memberId, instanceId } = member;
  const identity = { groupId, memberId, memberEpoch, instanceId: instanceId ?? null };
  if (form === "light") return identity;
  if (form === "owned") return { ...identity, topicPartitions: reported(owned) };
  return {
    ...identity,
    rebalanceTimeoutMs: rebalanceTimeoutOf(member),
    subscribedTopicNames: member.topics === undefined ? null : [...member.topics],
    subscribedTopicRegex: member.regex ?? null,
    serverAssignor: member.assignor ?? null,
    topicPartitions: memberEpoch === JOIN_EPOCH ? [] : reported(owned),
  };
};

export const leaveRequest = ({ id: groupId, memberId, instanceId }: GroupMembership): Partial<HeartbeatRequest> => ({
  groupId,
  memberId,
  memberEpoch: instanceId === undefined ? LEAVE_EPOCH : LEAVE_STATIC_EPOCH,
  instanceId: instanceId ?? null,
});

export interface CommittedOffset {
  /** -1: none. */
  readonly offset: Offset;
  readonly leaderEpoch: LeaderEpoch;
}

/** Beside what passes for any coordinator: a transaction that is being completed. */
const PASSING_FETCH_ERRORS: ReadonlySet<number> = new Set([
  ...PASSING_COORDINATOR_ERRORS,
  Errors.UNSTABLE_OFFSET_COMMIT,
]);

/** What the group has committed, stable offsets only; in the order of `partitions`. */
export const committedOffsets = (
  caller: Caller,
  member: GroupMembership,
  memberEpoch: () => number,
  partitions: ReadonlyArray<OwnedPartition>,
): Effect.Effect<ReadonlyArray<CommittedOffset>, Refused> => {
  const ask = Effect.gen(function* () {
    const { id: groupId, memberId } = member;
    const topics = reported(partitions).map(({ topicId, partitions: partitionIndexes }) => ({
      name: "",
      topicId,
      partitionIndexes,
    }));
    const response = yield* caller.call(ApiKey.OffsetFetch, {
      groups: [{ groupId, memberId, memberEpoch: memberEpoch(), topics }],
      requireStable: true,
    });
    const group = response.groups[0]!;
    if (group.errorCode !== Errors.NONE) return yield* refused(group.errorCode);
    const found = new Map<string, CommittedOffset>();
    for (const { topicId, partitions: answers } of group.topics) {
      for (const { partitionIndex, committedOffset, committedLeaderEpoch, errorCode } of answers) {
        if (errorCode !== Errors.NONE) return yield* refused(errorCode);
        found.set(`${partitionIndex} ${topicId}`, { offset: committedOffset, leaderEpoch: committedLeaderEpoch });
      }
    }
    return partitions.map(
      ({ topicId, partition }) => found.get(`${partition} ${topicId}`) ?? { offset: -1, leaderEpoch: -1 },
    );
  });
  return patiently(caller, PASSING_FETCH_ERRORS, ask);
};

/** Who commits. A group without members, or whose members do not matter, is committed for with epoch -1. */
export interface Committer {
  readonly groupId: string;
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  memberEpoch(): number;
}

/** The coordinator has moved the member on, and its answer to the heartbeat is on its way here. */
const PASSING_COMMIT_ERRORS: ReadonlySet<number> = new Set([...PASSING_COORDINATOR_ERRORS, Errors.STALE_MEMBER_EPOCH]);

/** Each partition with its outcome; refused as a whole when all fail in the same, passing way. */
export const commitOffsets = (
  caller: Caller,
  { groupId, memberId, instanceId, memberEpoch }: Committer,
  offsets: ReadonlyArray<OffsetToCommit>,
): Effect.Effect<ReadonlyArray<PartitionOutcome>, Refused> => {
  const ask = Effect.gen(function* () {
    const outcomes: PartitionOutcome[] = [];
    const topics: RequestOf<8>["topics"] = [];
    for (const [name, partitions] of yield* byTopic(offsets)) {
      const topic = yield* Effect.option(topicOf(caller, name));
      if (topic._tag === "None") {
        outcomes.push(
          ...partitions.map(({ partition }) => outcome(name, partition, Errors.UNKNOWN_TOPIC_OR_PARTITION)),
        );
        continue;
      }
      topics.push({
        name,
        topicId: topic.value.id,
        partitions: partitions.map(({ partition, offset, leaderEpoch, metadata }) => ({
          partitionIndex: partition,
          committedOffset: offset,
          committedLeaderEpoch: leaderEpoch ?? -1,
          committedMetadata: metadata ?? "",
        })),
      });
    }
    if (topics.length === 0) return outcomes;
    const response = yield* caller.call(ApiKey.OffsetCommit, {
      groupId,
      generationIdOrMemberEpoch: memberEpoch(),
      memberId,
      groupInstanceId: instanceId ?? null,
      topics,
    });
    const names = new Map(topics.map(({ topicId, name }) => [topicId, name] as const));
    let passing: number | undefined;
    for (const { topicId, partitions } of response.topics) {
      for (const { partitionIndex, errorCode } of partitions) {
        if (PASSING_COMMIT_ERRORS.has(errorCode)) passing = errorCode;
        outcomes.push(outcome(names.get(topicId) ?? "", partitionIndex, errorCode));
      }
    }
    // A commit may be sent again as it is: it says where to go on, not by how much.
    if (passing !== undefined) return yield* Effect.fail(new Refused({ error: wireError(passing) }));
    return outcomes;
  });
  const coordinated = withCoordinator(caller, CoordinatorType.GROUP, groupId);
  return Effect.andThen(coordinated, patiently(caller, PASSING_COMMIT_ERRORS, ask));
};
