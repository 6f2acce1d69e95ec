/**
 * OffsetForLeaderEpoch (key 23), versions 2–4: where a leader epoch ended in a partition, so that a client or follower
 * finds out whether what it has seen is still there (KIP-101, KIP-320).
 *
 * - v2+: the client's current leader epoch is checked (FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH). v3+: replica id.
 */
import * as Effect from "effect/Effect";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import type { PartitionView } from "../partition/PartitionView.ts";
import { Errors } from "../protocol/Errors.ts";
import type { OffsetForLeaderEpochRequest } from "../protocol/generated/OffsetForLeaderEpochRequest.ts";
import type { OffsetForLeaderEpochResponse } from "../protocol/generated/OffsetForLeaderEpochResponse.ts";
import { leaderEpochError, type ViewOf, viewByName } from "./NamedPartition.ts";
import { defineHandler } from "./Router.ts";

type Answer = OffsetForLeaderEpochResponse["topics"][number]["partitions"][number];

/** What the end of an epoch needs of a partition. */
export type EpochView = Pick<PartitionView, "leaderEpoch" | "logEndOffset"> & {
  readonly state: {
    readonly leaderEpochs: Pick<PartitionView["state"]["leaderEpochs"], "latestEpoch" | "endOffsetFor">;
  };
};

/**
 * The largest known epoch up to `epoch` and its end offset (exclusive); of an epoch older than every known one the
 * start of the first known; (-1, -1) for one that is newer than the leader's or negative. The leader's own epoch is
 * known before its first batch, and ends at the log's end.
 */
export const epochEndOffset = (view: EpochView, epoch: number): { leaderEpoch: number; endOffset: number } => {
  const { leaderEpoch, logEndOffset: endOffset } = view;
  const { leaderEpochs } = view.state;
  if (epoch < 0 || epoch > leaderEpoch) return { leaderEpoch: -1, endOffset: -1 };
  if (epoch === leaderEpoch) return { leaderEpoch, endOffset };
  const latest = leaderEpochs.latestEpoch;
  if (epoch >= latest) return { leaderEpoch: latest === -1 ? epoch : latest, endOffset };
  const found = leaderEpochs.endOffsetFor(epoch, endOffset);
  return { leaderEpoch: found.epoch, endOffset: found.endOffset };
};

export const offsetForLeaderEpochResponse = (
  request: OffsetForLeaderEpochRequest,
  image: MetadataImage,
  viewOf: ViewOf,
): OffsetForLeaderEpochResponse => ({
  throttleTimeMs: 0,
  topics: request.topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(({ partition, currentLeaderEpoch, leaderEpoch }): Answer => {
      const refused = (errorCode: number): Answer => ({ errorCode, partition, leaderEpoch: -1, endOffset: -1 });
      const view = viewByName(image, viewOf, topic, partition);
      if (typeof view === "number") return refused(view);
      const error = leaderEpochError(view, currentLeaderEpoch);
      return error === Errors.NONE
        ? { errorCode: error, partition, ...epochEndOffset(view, leaderEpoch) }
        : refused(error);
    }),
  })),
});

export const OffsetForLeaderEpoch = defineHandler<OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse>({
  apiKey: 23,
  minVersion: 2,
  maxVersion: 4,
  reads: true,
  handle: (request, { ports }) =>
    Effect.sync(() =>
      offsetForLeaderEpochResponse(request, ports.metadata.image(), (id, partition) =>
        ports.replicas.view(id, partition),
      ),
    ),
});
