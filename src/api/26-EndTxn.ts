/**
 * EndTxn (key 26), versions 0–5: a transaction is committed or aborted. Answered when that is durably decided; its
 * markers follow.
 *
 * - v2+: PRODUCER_FENCED. v3+: flexible. v4+: TRANSACTION_ABORTABLE may be answered.
 * - v5+: transactions version 2 (KIP-890): the producer goes on with the id and the epoch of the answer.
 */
import * as Effect from "effect/Effect";
import type { EndTxnRequest } from "../protocol/generated/EndTxnRequest.ts";
import type { EndTxnResponse } from "../protocol/generated/EndTxnResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";
import { EPOCH_BUMP_VERSION, FENCED_FROM, fencedErrorOf, OLD_VERSION } from "./TransactionRequest.ts";

const EPOCH_BUMP_FROM = 5;

export const EndTxn = defineHandler<EndTxnRequest, EndTxnResponse>({
  apiKey: 26,
  minVersion: 0,
  maxVersion: 5,
  handle: ({ transactionalId, producerId, producerEpoch, committed }, { ports, version }) => {
    const ended = ports.transactions.ask(transactionalId, {
      type: "EndTxn",
      transactionalId,
      producerId,
      producerEpoch,
      committed,
      clientTransactionVersion: version >= EPOCH_BUMP_FROM ? EPOCH_BUMP_VERSION : OLD_VERSION,
    });
    return Effect.map(ended, (reply) => {
      if (isRefused(reply)) return { throttleTimeMs: 0, errorCode: reply, producerId: -1, producerEpoch: -1 };
      return {
        throttleTimeMs: 0,
        errorCode: fencedErrorOf(reply.error, version, FENCED_FROM),
        producerId: reply.producerId,
        producerEpoch: reply.producerEpoch,
      };
    });
  },
});
