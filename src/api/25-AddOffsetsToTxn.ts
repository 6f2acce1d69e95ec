/**
 * AddOffsetsToTxn (key 25), versions 0–4: a group's offsets enter a transaction of version 0/1, as the partition of
 * `__consumer_offsets` that keeps them.
 *
 * A client asks for the group's coordinator only after this: the internal topic is made here too.
 *
 * - v2+: PRODUCER_FENCED. v3+: flexible. v4+: TRANSACTION_ABORTABLE may be answered.
 */
import * as Effect from "effect/Effect";
import { GROUP_METADATA_TOPIC } from "../metadata/TopicName.ts";
import { Errors } from "../protocol/Errors.ts";
import type { AddOffsetsToTxnRequest } from "../protocol/generated/AddOffsetsToTxnRequest.ts";
import type { AddOffsetsToTxnResponse } from "../protocol/generated/AddOffsetsToTxnResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import { withInternalTopic } from "./InternalTopic.ts";
import { defineHandler } from "./Router.ts";
import { FENCED_FROM, fencedErrorOf, OLD_VERSION } from "./TransactionRequest.ts";

const answer = (errorCode: number): AddOffsetsToTxnResponse => ({ throttleTimeMs: 0, errorCode });

export const AddOffsetsToTxn = defineHandler<AddOffsetsToTxnRequest, AddOffsetsToTxnResponse>({
  apiKey: 25,
  minVersion: 0,
  maxVersion: 4,
  handle: ({ transactionalId, producerId, producerEpoch, groupId }, context) =>
    Effect.flatMap(withInternalTopic(GROUP_METADATA_TOPIC, context), () => {
      const { ports, version } = context;
      const partition = ports.groups.partitionOf(groupId);
      if (partition === undefined) return Effect.succeed(answer(Errors.COORDINATOR_NOT_AVAILABLE));
      const added = ports.transactions.ask(transactionalId, {
        type: "AddPartitions",
        transactionalId,
        producerId,
        producerEpoch,
        partitions: [{ topic: GROUP_METADATA_TOPIC, partition }],
        clientTransactionVersion: OLD_VERSION,
      });
      return Effect.map(added, (reply) =>
        answer(isRefused(reply) ? reply : fencedErrorOf(reply.error, version, FENCED_FROM)),
      );
    }),
});
