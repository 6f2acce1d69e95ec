/**
 * What a coordinator's log says: groups as last written and committed offsets. Only `evolve` changes it, live and in
 * replay alike. What must stay true: `replay(log) == journal`, also after compaction (the last value of each key, in
 * the order of the log); a record never fails the fold, whatever came before it was compacted away.
 */
import type { Offset, ProducerId } from "../prelude/Types.ts";
import type { GroupMetadataValue } from "../protocol/generated/GroupMetadataValue.ts";
import { type ConsumerGroup, evolveConsumerGroup } from "./ConsumerGroup.ts";
import type { GroupRecord } from "./GroupRecords.ts";
import { CommittedOffsets } from "./Offsets.ts";

/** The last completed generation of a classic group, as its record says it. */
export interface ClassicGeneration {
  readonly kind: "classic";
  readonly groupId: string;
  readonly value: Readonly<GroupMetadataValue>;
}

export type JournaledGroup = ClassicGeneration | ConsumerGroup;

export interface GroupJournal {
  readonly groups: Map<string, JournaledGroup>;
  readonly offsets: CommittedOffsets;
}

export const emptyJournal = (): GroupJournal => ({ groups: new Map(), offsets: new CommittedOffsets() });

/**
 * Folds one record in; `offset` is the record's place in the log, `producerId` the producer whose open transaction it
 * belongs to (offsets only), -1 for none.
 */
export const evolve = (
  journal: GroupJournal,
  record: GroupRecord,
  offset: Offset,
  producerId: ProducerId = -1,
): void => {
  switch (record.kind) {
    case "OffsetCommit":
      return journal.offsets.evolve(record.key, record.value, offset, producerId);
    case "GroupMetadata":
      return evolveClassicGroup(journal, record);
    default:
      return evolveConsumerGroup(journal, record);
  }
};

/** A tombstone takes back a classic group only: a group that changed its protocol has records of the other kind. */
const evolveClassicGroup = ({ groups }: GroupJournal, record: GroupRecord<"GroupMetadata">): void => {
  const groupId = record.key.group;
  if (record.value !== null) groups.set(groupId, { kind: "classic", groupId, value: record.value });
  else if (groups.get(groupId)?.kind === "classic") groups.delete(groupId);
};
