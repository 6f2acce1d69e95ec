/** A group of the KIP-848 protocol, as its records say it. */
import type { GroupJournal } from "./GroupJournal.ts";
import type { GroupRecord } from "./GroupRecords.ts";

export interface ConsumerGroup {
  readonly kind: "consumer";
  readonly groupId: string;
}

export type ConsumerGroupRecord = Exclude<GroupRecord, { kind: "OffsetCommit" | "GroupMetadata" }>;

/** Folds one record of a consumer group in. */
export const evolveConsumerGroup = (_journal: GroupJournal, _record: ConsumerGroupRecord): void => {};
