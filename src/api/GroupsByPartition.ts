/** Asks that name several groups: one per coordinator, all at once. */
import * as Effect from "effect/Effect";
import type { RequestContext } from "./RequestContext.ts";

/**
 * Calls `ask` once for each set of groups that one coordinator keeps and joins the answers. While the internal topic is
 * not there all groups are one set: `ask` finds no coordinator then.
 */
export const askByPartition = <Answer>(
  groupIds: ReadonlyArray<string>,
  { ports }: RequestContext,
  ask: (groupIds: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Answer>>,
): Effect.Effect<Answer[]> =>
  Effect.suspend(() => {
    const sets = new Map<number, string[]>();
    for (const groupId of groupIds) {
      const partition = ports.groups.partitionOf(groupId) ?? -1;
      const set = sets.get(partition);
      if (set === undefined) sets.set(partition, [groupId]);
      else set.push(groupId);
    }
    const asked = Effect.all([...sets.values()].map(ask), { concurrency: "unbounded" });
    return Effect.map(asked, (answers) => answers.flat());
  });
