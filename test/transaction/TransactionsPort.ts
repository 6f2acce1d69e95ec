/** The transactions' port over the rules alone (`Coordinator`), every answer given at once. */
import * as Effect from "effect/Effect";
import type { TransactionCoordinatorPort } from "../../src/api/Ports.ts";
import type { TransactionCommand, TransactionReply } from "../../src/transaction/TransactionCoordinator.ts";
import { Coordinator } from "./Coordinator.ts";

export interface CoordinatedTransactions extends TransactionCoordinatorPort {
  readonly coordinator: Coordinator;
  /** What was told, in order. */
  readonly told: TransactionCommand[];
  /** Answered instead of a reply. */
  refusal: number | undefined;
}

export const coordinatedTransactions = (coordinator = new Coordinator()): CoordinatedTransactions => {
  const told: TransactionCommand[] = [];
  const port: CoordinatedTransactions = {
    coordinator,
    told,
    refusal: undefined,
    partitionOf: () => 0,
    tell: (_id, command, settle) => {
      told.push(command);
      settle(port.refusal ?? (coordinator.ask(command) as TransactionReply<(typeof command)["type"]>));
    },
    ask: (id, command) => Effect.callback((resume) => port.tell(id, command, (reply) => resume(Effect.succeed(reply)))),
    askAll: (command) => Effect.map(port.ask("", command), (reply) => [reply]),
  };
  return port;
};
