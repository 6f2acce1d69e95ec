/** Builds a PartitionChangeRecord from the fields that change; everything else says "as before". */
import type { Uuid } from "../prelude/Types.ts";
import type { PartitionChangeRecord } from "../protocol/generated/PartitionChangeRecord.ts";
import type { MetadataRecord } from "./MetadataRecords.ts";

type Change = Partial<Omit<PartitionChangeRecord, "topicId" | "partitionId">>;

/** A named leader begins a new leader epoch, also when it is the same one as before. */
export const partitionChange = (topicId: Uuid, partitionId: number, change: Change): MetadataRecord => ({
  type: "PartitionChangeRecord",
  message: {
    partitionId,
    topicId,
    isr: null,
    leader: -2,
    replicas: null,
    removingReplicas: null,
    addingReplicas: null,
    leaderRecoveryState: -1,
    directories: null,
    eligibleLeaderReplicas: null,
    lastKnownElr: null,
    ...change,
  },
});
