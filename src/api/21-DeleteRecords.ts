/**
 * DeleteRecords (key 21), versions 0–2: moves the log start of partitions, each by itself; consumers see it at once, the
 * files go with the next round of retention. Offset -1 means everything up to the high watermark.
 *
 * - Below the log start: nothing happens, the answer holds the log start. Above the high watermark, or below -1:
 *   OFFSET_OUT_OF_RANGE. A topic that is only compacted: POLICY_VIOLATION. An internal topic: INVALID_TOPIC_EXCEPTION.
 * - With one replica there is nobody to wait for: the timeout is not used.
 *
 * As in Kafka the new log start is written with the next checkpoint: a crash before that brings records back.
 */
import * as Effect from "effect/Effect";
import { isInternalTopic } from "../metadata/TopicName.ts";
import { Errors } from "../protocol/Errors.ts";
import type { DeleteRecordsRequest, DeleteRecordsTopic } from "../protocol/generated/DeleteRecordsRequest.ts";
import type {
  DeleteRecordsPartitionResult,
  DeleteRecordsResponse,
} from "../protocol/generated/DeleteRecordsResponse.ts";
import { asWrite } from "./ConnectionWrite.ts";
import type { DeleteRecordsReply, Ports } from "./Ports.ts";
import { defineHandler } from "./Router.ts";

const refused = (error: number): Effect.Effect<DeleteRecordsReply> => Effect.succeed({ error, lowWatermark: -1 });

const deleteRecords = (
  ports: Ports,
  topic: string,
  partition: number,
  offset: number,
): Effect.Effect<DeleteRecordsReply> => {
  const found = ports.metadata.image().topicsByName.get(topic);
  if (found?.partitions[partition] === undefined) return refused(Errors.UNKNOWN_TOPIC_OR_PARTITION);
  if (isInternalTopic(topic)) return refused(Errors.INVALID_TOPIC_EXCEPTION);
  return Effect.callback((resume) => {
    ports.replicas.deleteRecords(found.id, partition, offset, (reply) => resume(Effect.succeed(reply)));
  });
};

const partitionsOf = (ports: Ports, { name, partitions }: DeleteRecordsTopic) =>
  // Kafka keeps the last of a partition's offsets when it is named twice.
  Effect.forEach(
    new Map(partitions.map(({ partitionIndex, offset }) => [partitionIndex, offset])),
    ([partitionIndex, offset]) =>
      Effect.map(
        deleteRecords(ports, name, partitionIndex, offset),
        ({ error, lowWatermark }): DeleteRecordsPartitionResult => ({ partitionIndex, lowWatermark, errorCode: error }),
      ),
  );

/** One entry per topic: a topic named twice is one. */
const merged = (topics: ReadonlyArray<DeleteRecordsTopic>): DeleteRecordsTopic[] => {
  const byName = new Map<string, DeleteRecordsTopic>();
  for (const { name, partitions } of topics) {
    byName.set(name, { name, partitions: [...(byName.get(name)?.partitions ?? []), ...partitions] });
  }
  return [...byName.values()];
};

export const DeleteRecords = defineHandler<DeleteRecordsRequest, DeleteRecordsResponse>({
  apiKey: 21,
  minVersion: 0,
  maxVersion: 2,
  handle: ({ topics }, context) =>
    asWrite(
      context,
      Effect.map(
        Effect.forEach(merged(topics), (topic) =>
          Effect.map(partitionsOf(context.ports, topic), (partitions) => ({ name: topic.name, partitions })),
        ),
        (results) => ({ throttleTimeMs: 0, topics: results }),
      ),
    ),
});
