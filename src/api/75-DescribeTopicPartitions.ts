/**
 * DescribeTopicPartitions (key 75), version 0: topics in the order of their names, a page of partitions at a time
 * (KIP-966). No topic named means every topic; a page ends with a cursor to the first partition it has no room for.
 */
import * as Effect from "effect/Effect";
import { type MetadataImage, NO_LEADER, type TopicImage, topicNames } from "../metadata/MetadataImage.ts";
import { invalidTopicName, isInternalTopic } from "../metadata/TopicName.ts";
import { ZERO_UUID } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { DescribeTopicPartitionsRequest } from "../protocol/generated/DescribeTopicPartitionsRequest.ts";
import type { DescribeTopicPartitionsResponse } from "../protocol/generated/DescribeTopicPartitionsResponse.ts";
import { ALL_TOPIC_OPERATIONS, OPERATIONS_OMITTED } from "./AuthorizedOperations.ts";
import { defineHandler } from "./Router.ts";
import { aliveNodes, nodeOf, type Viewer, viewerOf } from "./Viewer.ts";

type TopicAnswer = DescribeTopicPartitionsResponse["topics"][number];
type PartitionAnswer = TopicAnswer["partitions"][number];

export const describeTopicPartitionsResponse = (
  request: DescribeTopicPartitionsRequest,
  image: MetadataImage,
  viewer: Viewer,
  /** `max.request.partition.size.limit`. */
  maxPartitions: number,
): DescribeTopicPartitionsResponse => {
  const { cursor } = request;
  const all = request.topics.length === 0;
  const asked = all ? topicNames(image) : [...new Set(request.topics.map((topic) => topic.name))].sort();
  const names = cursor === null ? asked : asked.filter((name) => name >= cursor.topicName);
  if (cursor !== null && (cursor.partitionIndex < 0 || (!all && !names.includes(cursor.topicName)))) {
    return { throttleTimeMs: 0, topics: request.topics.map(({ name }) => invalidRequest(name)), nextCursor: null };
  }
  const alive = new Set(aliveNodes(image, viewer).map((node) => node.id));
  let room = Math.max(1, Math.min(maxPartitions, request.responsePartitionLimit));
  const topics: TopicAnswer[] = [];
  for (const name of names) {
    if (room === 0) return { throttleTimeMs: 0, topics, nextCursor: { topicName: name, partitionIndex: 0 } };
    const topic = image.topicsByName.get(name);
    if (topic === undefined) {
      if (!all) topics.push(missing(name));
      continue;
    }
    const first = name === cursor?.topicName ? cursor.partitionIndex : 0;
    const end = Math.min(topic.partitions.length, first + room);
    const partitions: PartitionAnswer[] = [];
    for (let index = first; index < end; index++) partitions.push(partitionAnswer(image, topic, index, viewer, alive));
    topics.push({ ...emptyTopic(name), topicId: topic.id, partitions });
    if (end < topic.partitions.length) {
      return { throttleTimeMs: 0, topics, nextCursor: { topicName: name, partitionIndex: end } };
    }
    room -= partitions.length;
  }
  return { throttleTimeMs: 0, topics, nextCursor: null };
};

const emptyTopic = (name: string): TopicAnswer => ({
  errorCode: Errors.NONE,
  name,
  topicId: ZERO_UUID,
  isInternal: isInternalTopic(name),
  partitions: [],
  topicAuthorizedOperations: ALL_TOPIC_OPERATIONS,
});

const missing = (name: string): TopicAnswer => ({
  ...emptyTopic(name),
  errorCode: invalidTopicName(name) === null ? Errors.UNKNOWN_TOPIC_OR_PARTITION : Errors.INVALID_TOPIC_EXCEPTION,
});

/** Kafka refuses the whole request topic by topic. */
const invalidRequest = (name: string): TopicAnswer => ({
  ...emptyTopic(name),
  errorCode: Errors.INVALID_REQUEST,
  isInternal: false,
  topicAuthorizedOperations: OPERATIONS_OMITTED,
});

const partitionAnswer = (
  image: MetadataImage,
  topic: TopicImage,
  partitionIndex: number,
  viewer: Viewer,
  alive: ReadonlySet<number>,
): PartitionAnswer => {
  const partition = topic.partitions[partitionIndex];
  const leader = image.brokers.get(partition?.leader ?? NO_LEADER);
  return {
    errorCode: Errors.NONE,
    partitionIndex,
    leaderId: leader !== undefined && nodeOf(leader, viewer) !== undefined ? leader.brokerId : NO_LEADER,
    leaderEpoch: partition?.leaderEpoch ?? -1,
    replicaNodes: [...(partition?.replicas ?? [])],
    isrNodes: [...(partition?.isr ?? [])],
    eligibleLeaderReplicas: [...(partition?.elr ?? [])],
    lastKnownElr: [...(partition?.lastKnownElr ?? [])],
    offlineReplicas: (partition?.replicas ?? []).filter((id) => !alive.has(id)),
  };
};

export const DescribeTopicPartitions = defineHandler<DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse>({
  apiKey: 75,
  minVersion: 0,
  maxVersion: 0,
  reads: true,
  handle: (request, context) =>
    Effect.sync(() => {
      const { config, metadata } = context.ports;
      const maxPartitions = config.number("max.request.partition.size.limit");
      return describeTopicPartitionsResponse(request, metadata.image(), viewerOf(context), maxPartitions);
    }),
});
