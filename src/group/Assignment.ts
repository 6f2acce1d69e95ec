/**
 * Which partitions belong to a member: the two shapes of an assignment and what is computed with them. A *target* is
 * what an assignor wants (topic id → partitions), an *owned* assignment what a member has (topic id → partition → the
 * epoch it was given in). What must stay true: both are values; nothing here changes a map it was given, a partition
 * list is ascending, and no topic is kept without a partition.
 */
import type { Uuid } from "../prelude/Types.ts";

/** Topic id → partitions, ascending, at least one. */
export type TargetAssignment = ReadonlyMap<Uuid, ReadonlyArray<number>>;
/** Topic id → partition → the member epoch in which the member got it (0 when that is not known). */
export type OwnedPartitions = ReadonlyMap<Uuid, ReadonlyMap<number, number>>;

export const NO_TARGET: TargetAssignment = new Map();
export const NO_PARTITIONS: OwnedPartitions = new Map();

/** What a member says it owns, as heartbeats carry it. */
export interface ReportedPartitions {
  readonly topicId: Uuid;
  readonly partitions: ReadonlyArray<number>;
}

export const sameTarget = (a: TargetAssignment, b: TargetAssignment): boolean => {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [topicId, partitions] of a) {
    const others = b.get(topicId);
    if (others === undefined || others.length !== partitions.length) return false;
    for (let i = 0; i < partitions.length; i++) if (partitions[i] !== others[i]) return false;
  }
  return true;
};

export const sameOwned = (a: OwnedPartitions, b: OwnedPartitions): boolean => {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [topicId, partitions] of a) {
    const others = b.get(topicId);
    if (others === undefined || others.size !== partitions.size) return false;
    for (const [partition, epoch] of partitions) if (others.get(partition) !== epoch) return false;
  }
  return true;
};

/** Every partition of a target with one epoch. */
export const ownedAt = (target: TargetAssignment, epoch: number): OwnedPartitions => {
  const owned = new Map<Uuid, ReadonlyMap<number, number>>();
  for (const [topicId, partitions] of target) owned.set(topicId, new Map(partitions.map((p) => [p, epoch])));
  return owned;
};

/** The same partitions, all with epoch 0: what a static member leaves behind for its next incarnation. */
export const withoutEpochs = (owned: OwnedPartitions): OwnedPartitions => {
  const reset = new Map<Uuid, ReadonlyMap<number, number>>();
  for (const [topicId, partitions] of owned) {
    reset.set(topicId, new Map([...partitions.keys()].map((partition) => [partition, 0])));
  }
  return reset;
};

/** The partitions of an owned assignment as a target. */
export const targetOf = (owned: OwnedPartitions): TargetAssignment => {
  const target = new Map<Uuid, ReadonlyArray<number>>();
  for (const [topicId, partitions] of owned) target.set(topicId, ascending(partitions.keys()));
  return target;
};

export const ascending = (partitions: Iterable<number>): number[] => [...partitions].sort((a, b) => a - b);

/** Both together; a partition in both keeps the epoch of `b`. */
export const union = (a: OwnedPartitions, b: OwnedPartitions): OwnedPartitions => {
  if (a.size === 0) return b;
  if (b.size === 0) return a;
  const both = new Map(a);
  for (const [topicId, partitions] of b) {
    const present = both.get(topicId);
    both.set(topicId, present === undefined ? partitions : new Map([...present, ...partitions]));
  }
  return both;
};

/** Whether everything the member reports is in `owned`; not when it reports nothing at all. */
export const isSubset = (reported: ReadonlyArray<ReportedPartitions> | null, owned: OwnedPartitions): boolean => {
  if (reported === null) return false;
  for (const { topicId, partitions } of reported) {
    const mine = owned.get(topicId);
    if (mine === undefined) return false;
    for (const partition of partitions) if (!mine.has(partition)) return false;
  }
  return true;
};

/** Whether the member still has any of `revoked`; a keep-alive (nothing reported) confirms no revocation. */
export const stillOwns = (reported: ReadonlyArray<ReportedPartitions> | null, revoked: OwnedPartitions): boolean => {
  if (reported === null) return true;
  for (const { topicId, partitions } of reported) {
    const pending = revoked.get(topicId);
    if (pending === undefined) continue;
    for (const partition of partitions) if (pending.has(partition)) return true;
  }
  return false;
};
