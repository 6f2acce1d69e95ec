/**
 * The way to each transactional id's coordinator, by partition of `__transaction_state`. What must stay true: a
 * coordinator whose log holds anything is at work from the broker's start on, asked or not, because its open
 * transactions must time out and its prepared ones must be completed (T12).
 */
import * as Effect from "effect/Effect";
import type { TransactionCoordinatorPort } from "../src/api/Ports.ts";
import { TRANSACTION_STATE_TOPIC } from "../src/metadata/TopicName.ts";
import { Errors } from "../src/protocol/Errors.ts";
import type { TransactionCommand, TransactionReply } from "../src/transaction/TransactionCoordinator.ts";
import { CoordinatorsByPartition, type CoordinatorsEnvironment } from "./CoordinatorsByPartition.ts";
import { TransactionCoordinator, type TransactionCoordinatorEnvironment } from "./TransactionCoordinator.ts";

export type TransactionCoordinatorsEnvironment = CoordinatorsEnvironment &
  Omit<TransactionCoordinatorEnvironment, "view" | "append" | "maxBatchBytes">;

export class TransactionCoordinators implements TransactionCoordinatorPort {
  private readonly coordinators: CoordinatorsByPartition<TransactionCoordinator>;

  constructor(private readonly environment: TransactionCoordinatorsEnvironment) {
    this.coordinators = new CoordinatorsByPartition(
      TRANSACTION_STATE_TOPIC,
      environment,
      (partition, journal) =>
        new TransactionCoordinator(`transaction coordinator ${partition}`, { ...environment, ...journal }),
    );
  }

  /** Puts every coordinator to work whose log is not empty. */
  resume(): void {
    const topics = new Map([[TRANSACTION_STATE_TOPIC, new Set(this.coordinators.local())]]);
    for (const directory of this.environment.replicas.describeLogDirs(topics)) {
      for (const topic of directory.topics) {
        for (const { partition, size } of topic.partitions) {
          if (size > 0) this.coordinators.at(partition)?.actor.tell({ kind: "load" });
        }
      }
    }
  }

  /** Ends the coordinators' work, before their logs are closed; a start puts them to work again. */
  stop(): void {
    this.coordinators.stop();
  }

  /** The id's coordinator forgets everything and reads its log again. */
  reload(transactionalId: string, why: string): void {
    this.coordinators.at(this.partitionOf(transactionalId) ?? -1)?.actor.tell({ kind: "reload", why });
  }

  partitionOf(transactionalId: string): number | undefined {
    return this.coordinators.partitionOf(transactionalId);
  }

  tell<C extends TransactionCommand>(
    transactionalId: string,
    command: C,
    settle: (reply: TransactionReply<C["type"]> | number) => void,
  ): void {
    const coordinator = this.coordinators.at(this.partitionOf(transactionalId) ?? -1);
    if (coordinator === undefined) return settle(Errors.NOT_COORDINATOR);
    tellCoordinator(coordinator, command, settle);
  }

  ask<C extends TransactionCommand>(
    transactionalId: string,
    command: C,
  ): Effect.Effect<TransactionReply<C["type"]> | number> {
    return Effect.callback<TransactionReply<C["type"]> | number>((resume) =>
      this.tell(transactionalId, command, (reply) => resume(Effect.succeed(reply))),
    );
  }

  askAll<C extends TransactionCommand>(command: C): Effect.Effect<ReadonlyArray<TransactionReply<C["type"]> | number>> {
    return Effect.suspend(() =>
      Effect.all(
        // Any other has nothing in its log.
        Array.from(this.coordinators.started(), (coordinator) =>
          Effect.callback<TransactionReply<C["type"]> | number>((resume) =>
            tellCoordinator<C>(coordinator, command, (reply) => resume(Effect.succeed(reply))),
          ),
        ),
        { concurrency: "unbounded" },
      ),
    );
  }
}

const tellCoordinator = <C extends TransactionCommand>(
  { actor }: TransactionCoordinator,
  command: C,
  settle: (reply: TransactionReply<C["type"]> | number) => void,
): void =>
  actor.tell({
    kind: "command",
    command,
    settle: (reply) => settle(reply as TransactionReply<C["type"]> | number),
  });
