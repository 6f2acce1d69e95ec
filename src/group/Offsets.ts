/**
 * Committed offsets by group, topic and partition: a fold of OffsetCommit records.
 */
import type { Offset } from "../prelude/Types.ts";
import type { OffsetCommitKey } from "../protocol/generated/OffsetCommitKey.ts";
import type { OffsetCommitValue } from "../protocol/generated/OffsetCommitValue.ts";

export class CommittedOffsets {
  evolve(_key: OffsetCommitKey, _value: OffsetCommitValue | null, _recordOffset: Offset): void {}
}
