/**
 * A handler's ports gone wrong, for the faults that FaultInjector.ts injects: what stands behind them is never asked, or
 * is asked and its answer lost. What must stay true: what a port refuses has not happened; a handler finds nothing in a
 * broken port that it could not find in a whole one.
 */
import * as Effect from "effect/Effect";
import type { Ports } from "../../src/api/Ports.ts";
import type { ApiKey, ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { replaced } from "./Replaced.ts";

/** Partitions that are led elsewhere or lack replicas, coordinators that do not answer: nothing gets through to them. */
export const refusing = (ports: Ports, code: number): Ports =>
  replaced(ports, {
    replicas: replaced(ports.replicas, {
      view: () => code,
      beginVerification: () => code,
      append: (_topicId, _partition, { settle, applied }) => {
        applied();
        settle({ error: code, baseOffset: -1, logAppendTime: -1, logStartOffset: -1, message: null });
      },
    }),
    groups: replaced(ports.groups, { ask: () => Effect.succeed(code) }),
    transactions: replaced(ports.transactions, { ask: () => Effect.succeed(code) }),
  });

export const withoutCoordinators = (ports: Ports): Ports =>
  replaced(ports, {
    groups: replaced(ports.groups, { partitionOf: () => undefined }),
    transactions: replaced(ports.transactions, { partitionOf: () => undefined }),
  });

/** What is appended is appended, and answered with a code that leaves it open. */
export const appendingWith = (ports: Ports, code: number): Ports =>
  replaced(ports, {
    replicas: replaced(ports.replicas, {
      append: (topicId, partition, command) =>
        ports.replicas.append(topicId, partition, {
          ...command,
          settle: (reply) =>
            command.settle(
              reply.error === Errors.NONE ? { ...reply, error: code, baseOffset: -1, logAppendTime: -1 } : reply,
            ),
        }),
    }),
  });

/** What is committed is committed, and answered as when the coordinator's own append took too long. */
export const committingWith = (ports: Ports): Ports =>
  replaced(ports, {
    groups: replaced(ports.groups, {
      ask: (groupId, command) => Effect.map(ports.groups.ask(groupId, command), () => Errors.COORDINATOR_NOT_AVAILABLE),
    }),
  });

/** Partitions that are between two leaders. */
export const leaderless = (response: ResponseOf<typeof ApiKey.Metadata>): ResponseOf<typeof ApiKey.Metadata> => ({
  ...response,
  topics: response.topics.map((topic) => ({
    ...topic,
    partitions: topic.partitions.map((partition) => ({
      ...partition,
      errorCode: Errors.LEADER_NOT_AVAILABLE,
      leaderId: -1,
    })),
  })),
});
