/**
 * DescribeProducers (key 61), version 0: what partitions know of their producers, for finding transactions that hang
 * (`kafka-transactions find-hanging`).
 */
import * as Effect from "effect/Effect";
import { UNKNOWN_TOPIC } from "../metadata/ApiError.ts";
import { invalidTopicName } from "../metadata/TopicName.ts";
import { Errors } from "../protocol/Errors.ts";
import type { DescribeProducersRequest } from "../protocol/generated/DescribeProducersRequest.ts";
import type {
  DescribeProducersResponse,
  PartitionResponse,
  ProducerState,
} from "../protocol/generated/DescribeProducersResponse.ts";
import { viewByName } from "./NamedPartition.ts";
import type { Ports } from "./Ports.ts";
import { defineHandler } from "./Router.ts";

const describePartition = (topic: string, partitionIndex: number, ports: Ports): PartitionResponse => {
  const failed = (errorCode: number, errorMessage: string | null): PartitionResponse => ({
    partitionIndex,
    errorCode,
    errorMessage,
    activeProducers: [],
  });
  const invalid = invalidTopicName(topic);
  if (invalid !== null) return failed(Errors.INVALID_TOPIC_EXCEPTION, invalid);
  const image = ports.metadata.image();
  // Kafka says so of a topic only, not of a partition.
  if (image.topicsByName.get(topic) === undefined) return failed(UNKNOWN_TOPIC.code, UNKNOWN_TOPIC.message);
  const viewOf = (id: string, partition: number) => ports.replicas.view(id, partition);
  const view = viewByName(image, viewOf, topic, partitionIndex);
  if (typeof view === "number") return failed(view, null);
  const activeProducers: ProducerState[] = [];
  for (const entry of view.state.producers.entries()) {
    activeProducers.push({
      producerId: entry.producerId,
      producerEpoch: entry.epoch,
      lastSequence: entry.batches.at(-1)?.lastSequence ?? -1,
      lastTimestamp: entry.lastTimestamp,
      coordinatorEpoch: entry.coordinatorEpoch,
      currentTxnStartOffset: entry.transactionFirstOffset,
    });
  }
  return { partitionIndex, errorCode: Errors.NONE, errorMessage: null, activeProducers };
};

export const DescribeProducers = defineHandler<DescribeProducersRequest, DescribeProducersResponse>({
  apiKey: 61,
  minVersion: 0,
  maxVersion: 0,
  reads: true,
  handle: ({ topics }, { ports }) =>
    Effect.sync(() => ({
      throttleTimeMs: 0,
      topics: topics.map(({ name, partitionIndexes }) => ({
        name,
        partitions: partitionIndexes.map((index) => describePartition(name, index, ports)),
      })),
    })),
});
