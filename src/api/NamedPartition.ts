/** Finds the view of a partition that a request names by topic name, with the checks every such request shares. */
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import type { PartitionView } from "../partition/PartitionView.ts";
import type { Uuid } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";

/** The view of a partition hosted here, or the error code that says why there is none. */
export type ViewOf = (topicId: Uuid, partition: number) => PartitionView | number;

/** The view of `topic`-`partition`; UNKNOWN_TOPIC_OR_PARTITION when the cluster has no such partition. */
export const viewByName = (
  image: MetadataImage,
  viewOf: ViewOf,
  topic: string,
  partition: number,
): PartitionView | number => {
  const found = image.topicsByName.get(topic);
  if (found?.partitions[partition] === undefined) return Errors.UNKNOWN_TOPIC_OR_PARTITION;
  return viewOf(found.id, partition);
};

/** What a client's idea of the current leader epoch deserves; -1 is no idea and always passes. */
export const leaderEpochError = ({ leaderEpoch }: Pick<PartitionView, "leaderEpoch">, current: number): number => {
  if (current === -1 || current === leaderEpoch) return Errors.NONE;
  return current < leaderEpoch ? Errors.FENCED_LEADER_EPOCH : Errors.UNKNOWN_LEADER_EPOCH;
};
