/**
 * The verbs about groups: ListGroups, ConsumerGroupDescribe with DescribeGroups for classic ones, DeleteGroups,
 * OffsetFetch and OffsetCommit.
 */
import * as Effect from "effect/Effect";
import { readAssignment } from "../group/EmbeddedProtocol.ts";
import { ApiKey, type RequestOf, type ResponseOf } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import { anyText, error, orError, outcome, someEpoch, someOffset } from "./AnswerShapes.ts";
import {
  type Caller,
  CoordinatorType,
  PASSING_COORDINATOR_ERRORS,
  refused,
  settled,
  withCoordinator,
} from "./Caller.ts";
import { MAX_PARTITIONS, offsetsToCommit, partitionIndex, topicName } from "./ClientFrames.ts";
import { commitOffsets } from "./Groups.ts";
import type { GroupDescription, TopicPartition, WireError } from "./Messages.ts";
import { described, int32, list, nullable, optional, struct, text } from "./Shape.ts";
import { byTopic } from "./Transactions.ts";
import { type AnyVerb, defineVerb, inOrder } from "./Verb.ts";
import { wireError } from "./WireError.ts";

const MAX_GROUPS = 1000;
const groupId = text();
const groupNamed = struct({ id: groupId });
const placeNamed = struct({ topic: topicName, partition: partitionIndex });
const groupIds = described("Ids of groups.", list(text(), MAX_GROUPS));

const listGroups = defineVerb({
  name: "groups.list",
  method: "GET",
  path: "/v1/groups",
  summary: "Every group, or those in one of the states and of one of the types.",
  body: struct({ states: optional(list(text(), 100)), types: optional(list(text(), 100)) }),
  answer: struct({ groups: list(struct({ id: groupId, state: text(), type: text() })) }),
  run: ({ states, types }, { caller }) =>
    Effect.flatMap(
      settled(
        caller,
        PASSING_COORDINATOR_ERRORS,
        caller.call(ApiKey.ListGroups, { statesFilter: [...(states ?? [])], typesFilter: [...(types ?? [])] }),
        ({ errorCode }) => [errorCode],
      ),
      ({ errorCode, groups }) => {
        if (errorCode !== Errors.NONE) return refused(errorCode);
        return Effect.succeed({
          groups: groups.map(({ groupId, groupState, groupType }) => ({
            id: groupId,
            state: groupState,
            type: groupType,
          })),
        });
      },
    ),
});

/** Describing asks the coordinator, which is made by the first who looks for it. */
const coordinated = (caller: Caller, groups: ReadonlyArray<string>): Effect.Effect<void> =>
  groups.length === 0 ? Effect.void : withCoordinator(caller, CoordinatorType.GROUP, groups[0]!);

type Described = GroupDescription | { readonly id: string; readonly error: WireError };

const describeConsumer = (group: ResponseOf<69>["groups"][number]): GroupDescription => ({
  id: group.groupId,
  state: group.groupState,
  type: "consumer",
  epoch: group.groupEpoch,
  assignor: group.assignorName,
  members: group.members.map(({ memberId, instanceId, clientId, clientHost, assignment }) => ({
    memberId,
    instanceId,
    clientId,
    host: clientHost,
    assignment: assignment.topicPartitions.flatMap(({ topicName: topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    ),
  })),
});

const describeClassic = (group: ResponseOf<15>["groups"][number]): Described => {
  if (group.errorCode !== Errors.NONE) {
    return { id: group.groupId, error: wireError(group.errorCode, group.errorMessage) };
  }
  return {
    id: group.groupId,
    state: group.groupState,
    type: "classic",
    epoch: -1,
    assignor: group.protocolData,
    members: group.members.map(({ memberId, groupInstanceId, clientId, clientHost, memberAssignment }) => ({
      memberId,
      instanceId: groupInstanceId,
      clientId,
      host: clientHost,
      assignment:
        readAssignment(memberAssignment)?.assignedPartitions.flatMap(({ topic, partitions }): TopicPartition[] =>
          partitions.map((partition) => ({ topic, partition })),
        ) ?? [],
    })),
  };
};

const describeGroups = defineVerb({
  name: "groups.describe",
  method: "GET",
  path: "/v1/groups/{groups}",
  summary: "Groups with their members and what each of them is assigned.",
  body: struct({ groups: groupIds }),
  answer: struct({
    groups: list(
      orError(
        groupNamed,
        struct({
          id: groupId,
          state: text(),
          type: text(),
          epoch: described("Of a classic group: -1.", int32(-1)),
          assignor: anyText,
          members: list(
            struct({
              memberId: text(),
              instanceId: nullable(text()),
              clientId: anyText,
              host: anyText,
              assignment: list(placeNamed),
            }),
          ),
        }),
      ),
    ),
  }),
  run: ({ groups }, { caller }) =>
    Effect.gen(function* () {
      yield* coordinated(caller, groups);
      const asConsumer = yield* settled(
        caller,
        PASSING_COORDINATOR_ERRORS,
        caller.call(ApiKey.ConsumerGroupDescribe, { groupIds: [...groups] }),
        (response) => response.groups.map(({ errorCode }) => errorCode),
      );
      const found = new Map<string, Described>();
      const classic: string[] = [];
      for (const group of asConsumer.groups) {
        if (group.errorCode === Errors.NONE) found.set(group.groupId, describeConsumer(group));
        else classic.push(group.groupId);
      }
      if (classic.length > 0) {
        const asClassic = yield* caller.call(ApiKey.DescribeGroups, { groups: classic });
        for (const group of asClassic.groups) found.set(group.groupId, describeClassic(group));
      }
      return { groups: inOrder(groups, [...found.values()], ({ id }) => id) };
    }),
});

const deleteGroups = defineVerb({
  name: "groups.delete",
  method: "DELETE",
  path: "/v1/groups/{groups}",
  summary: "Deletes groups without members, and what they have committed.",
  body: struct({ groups: groupIds }),
  answer: struct({ groups: list(struct({ id: groupId, error: optional(error) })) }),
  run: ({ groups }, { caller }) =>
    Effect.gen(function* () {
      yield* coordinated(caller, groups);
      const { results } = yield* settled(
        caller,
        PASSING_COORDINATOR_ERRORS,
        caller.call(ApiKey.DeleteGroups, { groupsNames: [...groups] }),
        (response) => response.results.map(({ errorCode }) => errorCode),
      );
      return {
        groups: inOrder(groups, results, ({ groupId }) => groupId).map(({ groupId: id, errorCode }) =>
          errorCode === Errors.NONE ? { id } : { id, error: wireError(errorCode) },
        ),
      };
    }),
});

const groupOffsets = defineVerb({
  name: "groups.offsets",
  method: "GET",
  path: "/v1/groups/{group}/offsets",
  summary: "What a group has committed, of the partitions named or of all; -1: nothing.",
  body: struct({
    group: text(),
    partitions: optional(list(placeNamed, MAX_PARTITIONS)),
  }),
  answer: struct({
    partitions: list(
      orError(
        placeNamed,
        struct({
          topic: topicName,
          partition: partitionIndex,
          offset: someOffset,
          leaderEpoch: someEpoch,
          metadata: nullable(anyText),
        }),
      ),
    ),
  }),
  run: ({ group, partitions }, { caller }) =>
    Effect.gen(function* () {
      yield* coordinated(caller, [group]);
      const image = caller.image();
      const unknown: Array<TopicPartition & { readonly error: WireError }> = [];
      let topics: NonNullable<RequestOf<9>["groups"][number]["topics"]> | null = null;
      if (partitions !== undefined) {
        topics = [];
        for (const [topic, asked] of yield* byTopic(partitions)) {
          const topicId = image.topicsByName.get(topic)?.id;
          if (topicId !== undefined) {
            topics.push({ name: topic, topicId, partitionIndexes: asked.map(({ partition }) => partition) });
            continue;
          }
          const error = wireError(Errors.UNKNOWN_TOPIC_OR_PARTITION);
          unknown.push(...asked.map(({ partition }) => ({ topic, partition, error })));
        }
      }
      const request = { groupId: group, memberId: null, memberEpoch: -1, topics };
      const response = yield* settled(
        caller,
        PASSING_COORDINATOR_ERRORS,
        caller.call(ApiKey.OffsetFetch, { groups: [request], requireStable: false }),
        (answered) => answered.groups.map(({ errorCode }) => errorCode),
      );
      const answer = response.groups[0]!;
      if (answer.errorCode !== Errors.NONE) return yield* refused(answer.errorCode);
      const found = answer.topics.flatMap(({ topicId, partitions: each }) => {
        const topic = image.topicsById.get(topicId)?.name ?? "";
        return each.map(({ partitionIndex: partition, committedOffset, committedLeaderEpoch, metadata, errorCode }) =>
          errorCode === Errors.NONE
            ? { topic, partition, offset: committedOffset, leaderEpoch: committedLeaderEpoch, metadata }
            : { topic, partition, error: wireError(errorCode) },
        );
      });
      return { partitions: [...found, ...unknown] };
    }),
});

const commitGroup = defineVerb({
  name: "groups.commit",
  method: "POST",
  path: "/v1/groups/{group}/offsets",
  summary: "Commits offsets for a group without members, as an administrator does.",
  body: struct({ group: text(), offsets: offsetsToCommit }),
  answer: struct({ partitions: list(outcome) }),
  run: ({ group, offsets }, { caller }) => {
    const committer = { groupId: group, memberId: "", memberEpoch: () => -1 };
    return Effect.map(commitOffsets(caller, committer, offsets), (partitions) => ({ partitions }));
  },
});

export const groupVerbs: ReadonlyArray<AnyVerb> = [listGroups, describeGroups, deleteGroups, groupOffsets, commitGroup];
