/**
 * WriteTxnMarkers (key 27), versions 1–2: the markers that end transactions, from another broker's coordinator or from
 * an operator (`kafka-transactions --abort`).
 *
 * - v1: flexible. v2+: the transaction's version, which says how the marker's epoch is judged.
 */
import * as Effect from "effect/Effect";
import { GROUP_METADATA_TOPIC } from "../metadata/TopicName.ts";
import { Errors } from "../protocol/Errors.ts";
import type { WritableTxnMarker, WriteTxnMarkersRequest } from "../protocol/generated/WriteTxnMarkersRequest.ts";
import type {
  WritableTxnMarkerResult,
  WriteTxnMarkersResponse,
} from "../protocol/generated/WriteTxnMarkersResponse.ts";
import { readBatchInfo } from "../record/RecordBatch.ts";
import { buildEndTransactionMarker } from "../record/RecordBatchBuilder.ts";
import { ANY_PRODUCE_VERSION, type Ports } from "./Ports.ts";
import { defineHandler } from "./Router.ts";

/** Writes one marker to one partition; the error code of its append. */
const writeMarker = (
  marker: WritableTxnMarker,
  topic: string,
  partition: number,
  ports: Ports,
): Effect.Effect<number> =>
  Effect.callback<number>((resume) => {
    const settle = (error: number): void => resume(Effect.succeed(error));
    const found = ports.metadata.image().topicsByName.get(topic);
    if (found?.partitions[partition] === undefined) return settle(Errors.UNKNOWN_TOPIC_OR_PARTITION);
    const { producerId, producerEpoch, coordinatorEpoch, transactionVersion, transactionResult: committed } = marker;
    // Kafka fails at building such a marker, and says so with UNKNOWN_SERVER_ERROR.
    if (producerId < 0 || producerEpoch < 0) return settle(Errors.INVALID_REQUEST);
    const end = { producerId, producerEpoch, coordinatorEpoch, transactionVersion, committed };
    if (topic === GROUP_METADATA_TOPIC) return ports.groups.completeTransaction(partition, end, settle);
    const timestampType = ports.replicas.validationRules(found, partition, ANY_PRODUCE_VERSION)?.timestampType;
    const stamp = { timestamp: ports.clock.wall(), timestampType };
    const bytes = buildEndTransactionMarker(committed ? "commit" : "abort", { ...end, ...stamp });
    ports.replicas.append(found.id, partition, {
      batch: { bytes, info: readBatchInfo(bytes, 0), logAppendTime: -1 },
      acks: -1,
      origin: "coordinator",
      transactionVersion,
      applied: () => undefined,
      settle: ({ error }) => settle(error),
    });
  });

const writeAll = (marker: WritableTxnMarker, ports: Ports): Effect.Effect<WritableTxnMarkerResult> => {
  const topics = marker.topics.map(({ name, partitionIndexes }) => {
    const partitions = partitionIndexes.map((partitionIndex) =>
      Effect.map(writeMarker(marker, name, partitionIndex, ports), (errorCode) => ({ partitionIndex, errorCode })),
    );
    return Effect.map(Effect.all(partitions, { concurrency: "unbounded" }), (written) => ({
      name,
      partitions: written,
    }));
  });
  return Effect.map(Effect.all(topics, { concurrency: "unbounded" }), (written) => ({
    producerId: marker.producerId,
    topics: written,
  }));
};

export const WriteTxnMarkers = defineHandler<WriteTxnMarkersRequest, WriteTxnMarkersResponse>({
  apiKey: 27,
  minVersion: 1,
  maxVersion: 2,
  handle: ({ markers }, { ports }) =>
    Effect.map(
      Effect.all(
        markers.map((marker) => writeAll(marker, ports)),
        { concurrency: "unbounded" },
      ),
      (results) => ({ markers: results }),
    ),
});
