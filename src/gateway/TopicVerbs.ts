/** The verbs about topics and their offsets: Metadata, CreateTopics, DeleteTopics and ListOffsets. */
import * as Effect from "effect/Effect";
import { ZERO_UUID } from "../prelude/Types.ts";
import { ApiKey } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ListOffsetsResponse } from "../protocol/generated/ListOffsetsResponse.ts";
import { error, orError, someEpoch, someOffset } from "./AnswerShapes.ts";
import { PASSING_LOG_ERRORS, settled } from "./Caller.ts";
import { MAX_PARTITIONS, partitionIndex, topicName } from "./ClientFrames.ts";
import type { NewTopic, OffsetQuery, TopicDescription } from "./Messages.ts";
import { isolationLevel } from "./Positions.ts";
import {
  boolean,
  custom,
  described,
  INT32_MAX,
  int,
  int32,
  isMap,
  list,
  oneOf,
  optional,
  refuse,
  type Shape,
  struct,
  text,
} from "./Shape.ts";
import { type AnyVerb, defineVerb, inOrder } from "./Verb.ts";
import { wireError } from "./WireError.ts";

const MAX_TOPICS = 1000;
const REQUEST_TIMEOUT_MS = 30_000;

const names = described("Names of topics.", list(topicName, MAX_TOPICS));

export const isolation = optional(oneOf("read_committed", "read_uncommitted"));

const configs: Shape<Readonly<Record<string, string>>> = custom(
  { type: "object", additionalProperties: { type: "string" } },
  (value, at) => {
    if (!isMap(value)) return refuse(at, "a map of strings", value);
    const parsed: Record<string, string> = {};
    for (const [key, each] of Object.entries(value)) parsed[key] = text(INT32_MAX, 0).parse(each, `${at}.${key}`);
    return parsed;
  },
);

const newTopic: Shape<NewTopic> = struct({
  name: topicName,
  partitions: optional(described("Default: the broker's num.partitions.", int32(1))),
  replicationFactor: optional(described("Default: the broker's default.replication.factor.", int(1, 0x7fff))),
  configs: optional(configs),
});

const topicIdText = text(22, 22);
const topicNamed = struct({ name: topicName });

const at: Shape<OffsetQuery> = custom(
  {
    anyOf: [
      { enum: ["earliest", "latest", "maxTimestamp"] },
      { type: "object", properties: { timestamp: { type: "integer" } }, required: ["timestamp"] },
    ],
  },
  (value, path): OffsetQuery => {
    if (value === "earliest" || value === "latest" || value === "maxTimestamp") return value;
    if (!isMap(value)) return refuse(path, '"earliest", "latest", "maxTimestamp" or {timestamp}', value);
    return { timestamp: int(0).parse(value.timestamp, `${path}.timestamp`) };
  },
);

const timestampOf = (query: OffsetQuery): number => {
  switch (query) {
    case "latest":
      return -1;
    case "earliest":
      return -2;
    case "maxTimestamp":
      return -3;
    default:
      return query.timestamp;
  }
};

const listTopics = defineVerb({
  name: "topics.list",
  method: "GET",
  path: "/v1/topics",
  summary: "Every topic, internal ones marked.",
  body: struct({}),
  answer: struct({
    topics: list(struct({ name: topicName, topicId: topicIdText, internal: boolean, partitions: int32() })),
  }),
  run: (_body, { caller }) =>
    Effect.map(caller.call(ApiKey.Metadata, { topics: null, allowAutoTopicCreation: false }), ({ topics }) => ({
      topics: topics.map(({ name, topicId, isInternal, partitions }) => ({
        name: name ?? "",
        topicId,
        internal: isInternal,
        partitions: partitions.length,
      })),
    })),
});

const describeTopics = defineVerb({
  name: "topics.describe",
  method: "GET",
  path: "/v1/topics/{topics}",
  summary: "Topics with their partitions.",
  // Missing ones are made as for Kafka's producers, where auto.create.topics.enable allows it.
  body: struct({ topics: names, create: optional(boolean) }),
  writes: ["create"],
  answer: struct({
    topics: list(
      orError(
        struct({ name: text(INT32_MAX, 0) }),
        struct({
          name: topicName,
          topicId: topicIdText,
          internal: boolean,
          partitions: list(
            struct({
              partition: partitionIndex,
              leader: int32(-1),
              leaderEpoch: someEpoch,
              replicas: list(int32()),
              isr: list(int32()),
            }),
          ),
        }),
      ),
    ),
  }),
  run: ({ topics, create }, { caller }) =>
    Effect.map(
      caller.call(ApiKey.Metadata, {
        topics: topics.map((name) => ({ topicId: ZERO_UUID, name })),
        allowAutoTopicCreation: create === true,
      }),
      (response) => ({
        topics: response.topics.map(({ name, topicId, isInternal, partitions, errorCode }): TopicDescription => {
          if (errorCode !== Errors.NONE) return { name: name ?? "", error: wireError(errorCode) };
          return {
            name: name ?? "",
            topicId,
            internal: isInternal,
            partitions: partitions.map(
              ({ partitionIndex: partition, leaderId, leaderEpoch, replicaNodes, isrNodes }) => ({
                partition,
                leader: leaderId,
                leaderEpoch,
                replicas: replicaNodes,
                isr: isrNodes,
              }),
            ),
          };
        }),
      }),
    ),
});

const createTopics = defineVerb({
  name: "topics.create",
  method: "POST",
  path: "/v1/topics",
  summary: "Makes topics; answered when they can be produced to.",
  body: struct({ topics: list(newTopic, MAX_TOPICS), validateOnly: optional(boolean) }),
  answer: struct({
    topics: list(orError(topicNamed, struct({ name: topicName, topicId: topicIdText, partitions: int32(-1) }))),
  }),
  run: ({ topics, validateOnly }, { caller }) =>
    Effect.map(
      caller.call(ApiKey.CreateTopics, {
        timeoutMs: REQUEST_TIMEOUT_MS,
        validateOnly: validateOnly === true,
        topics: topics.map(({ name, partitions, replicationFactor, configs: settings }) => ({
          name,
          numPartitions: partitions ?? -1,
          replicationFactor: replicationFactor ?? -1,
          assignments: [],
          configs: Object.entries(settings ?? {}).map(([key, value]) => ({ name: key, value })),
        })),
      }),
      (response) => ({
        topics: inOrder(
          topics.map(({ name }) => name),
          response.topics,
          ({ name }) => name,
        ).map(({ name, topicId, numPartitions, errorCode, errorMessage }) =>
          errorCode === Errors.NONE
            ? { name, topicId, partitions: numPartitions }
            : { name, error: wireError(errorCode, errorMessage) },
        ),
      }),
    ),
});

const deleteTopics = defineVerb({
  name: "topics.delete",
  method: "DELETE",
  path: "/v1/topics/{topics}",
  summary: "Deletes topics with their records.",
  body: struct({ topics: names }),
  answer: struct({ topics: list(struct({ name: topicName, error: optional(error) })) }),
  run: ({ topics }, { caller }) =>
    Effect.map(
      caller.call(ApiKey.DeleteTopics, {
        topics: topics.map((name) => ({ name, topicId: ZERO_UUID })),
        timeoutMs: REQUEST_TIMEOUT_MS,
      }),
      (response) => ({
        topics: inOrder(topics, response.responses, ({ name }) => name ?? "").map(
          ({ name, errorCode, errorMessage }) =>
            errorCode === Errors.NONE
              ? { name: name ?? "" }
              : { name: name ?? "", error: wireError(errorCode, errorMessage) },
        ),
      }),
    ),
});

const listOffsets = defineVerb({
  name: "offsets.list",
  method: "POST",
  path: "/v1/offsets",
  summary: "Offsets by place in the log or by time; -1 when no record is that late.",
  body: struct({
    partitions: list(struct({ topic: topicName, partition: partitionIndex, at }), MAX_PARTITIONS),
    isolation,
  }),
  answer: struct({
    partitions: list(
      orError(
        struct({ topic: topicName, partition: partitionIndex }),
        struct({
          topic: topicName,
          partition: partitionIndex,
          offset: someOffset,
          timestamp: someOffset,
          leaderEpoch: someEpoch,
        }),
      ),
    ),
  }),
  run: ({ partitions, isolation: level }, { caller }) => {
    const topics = new Map<string, Array<{ partitionIndex: number; currentLeaderEpoch: number; timestamp: number }>>();
    for (const { topic, partition, at: query } of partitions) {
      const asked = { partitionIndex: partition, currentLeaderEpoch: -1, timestamp: timestampOf(query) };
      const known = topics.get(topic);
      if (known === undefined) topics.set(topic, [asked]);
      else known.push(asked);
    }
    const asked = caller.call(ApiKey.ListOffsets, {
      replicaId: -1,
      isolationLevel: isolationLevel(level),
      topics: Array.from(topics, ([name, each]) => ({ name, partitions: each })),
    });
    const errorsOf = (response: ListOffsetsResponse): number[] =>
      response.topics.flatMap(({ partitions: answers }) => answers.map(({ errorCode }) => errorCode));
    return Effect.map(settled(caller, PASSING_LOG_ERRORS, asked, errorsOf), (response) => ({
      partitions: response.topics.flatMap(({ name: topic, partitions: answers }) =>
        answers.map(({ partitionIndex: partition, offset, timestamp, leaderEpoch, errorCode }) =>
          errorCode === Errors.NONE
            ? { topic, partition, offset, timestamp, leaderEpoch }
            : { topic, partition, error: wireError(errorCode) },
        ),
      ),
    }));
  },
});

export const topicVerbs: ReadonlyArray<AnyVerb> = [listTopics, describeTopics, createTopics, deleteTopics, listOffsets];
