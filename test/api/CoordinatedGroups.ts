/** The groups' port over one coordinator without an actor: answers are given when virtual time has brought them. */
import * as Effect from "effect/Effect";
import type { GroupCoordinatorPort } from "../../src/api/Ports.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import type { CoordinatorWorld } from "../group/CoordinatorWorld.ts";

/** Virtual time an answer may take. */
const PATIENCE_MS = 5000;

export const groupsOf = (world: CoordinatorWorld, refusal?: number): GroupCoordinatorPort => {
  const ask: GroupCoordinatorPort["ask"] = (_groupId, command) =>
    Effect.sync(() => {
      if (refusal !== undefined) return refusal;
      const asked = world.ask(command);
      for (let waited = 0; waited < PATIENCE_MS && !world.replies.has(asked); waited += 1) world.advance(1);
      if (!world.replies.has(asked)) throw new Error(`${command.type} is not answered`);
      return world.reply<(typeof command)["type"]>(asked)!;
    });
  return {
    partitionOf: () => 0,
    ask,
    completeTransaction: (_partition, _end, settle) => settle(Errors.NOT_LEADER_OR_FOLLOWER),
    askAll: (command) => Effect.map(ask("", command), (reply) => [reply]),
  };
};
