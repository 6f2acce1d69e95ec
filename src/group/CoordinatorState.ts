/** Looking a group up: what is live beside the journal comes first, then what the journal says. */
import { type ClassicGroup, classicGroupOf, newClassicGroup } from "./ClassicGroup.ts";
import type { ConsumerGroup } from "./ConsumerGroup.ts";
import type { CoordinatorState } from "./GroupCoordinator.ts";

/** A group without a record has no time of its own. */
const NO_TIMESTAMP = -1;

/** The group, or undefined. Offsets without a group are a simple group's: classic, and empty. */
export const groupOf = (state: CoordinatorState, groupId: string): ClassicGroup | ConsumerGroup | undefined => {
  const live = state.volatile.get(groupId);
  if (live?.kind === "classic") return live;
  const { groups, offsets } = state.journal;
  const journaled = groups.get(groupId);
  if (journaled?.kind === "consumer") return journaled;
  const toldGeneration = state.told.get(groupId) ?? 0;
  if (journaled !== undefined) return { ...classicGroupOf(journaled), toldGeneration };
  return offsets.has(groupId) ? { ...newClassicGroup(groupId, NO_TIMESTAMP), toldGeneration } : undefined;
};

export const classicGroup = (state: CoordinatorState, groupId: string): ClassicGroup | undefined => {
  const group = groupOf(state, groupId);
  return group?.kind === "classic" ? group : undefined;
};

/** Every group there is, each once. */
export function* groupIds({ journal, volatile }: CoordinatorState): Iterable<string> {
  yield* journal.groups.keys();
  for (const groupId of volatile.keys()) if (!journal.groups.has(groupId)) yield groupId;
  for (const groupId of journal.offsets.groupIds()) {
    if (!journal.groups.has(groupId) && !volatile.has(groupId)) yield groupId;
  }
}
