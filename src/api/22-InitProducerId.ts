/**
 * InitProducerId (key 22), versions 0–5: a producer's id and epoch.
 *
 * - v3+: the producer's present id and epoch, both or neither (KIP-360); without a transactional id they are ignored, as
 *   is the transaction timeout: the producer gets a fresh id and epoch 0.
 * - v4+: PRODUCER_FENCED may be answered; before, INVALID_PRODUCER_EPOCH. v5+: TRANSACTION_ABORTABLE may be answered.
 * - v6, two-phase commit, is unstable in Kafka 4.3.1 and not served.
 *
 * What must stay true: an id is given to one producer only, restarts included (the controller's durable blocks).
 */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { InitProducerIdRequest } from "../protocol/generated/InitProducerIdRequest.ts";
import type { InitProducerIdResponse } from "../protocol/generated/InitProducerIdResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";
import { fencedErrorOf } from "./TransactionRequest.ts";

const FENCED_FROM = 4;

/** Why the request gets no id, or NONE when it is well formed. */
export const initProducerIdError = (request: InitProducerIdRequest, maxTimeoutMs: number): number => {
  const { transactionalId, transactionTimeoutMs, producerId, producerEpoch } = request;
  if ((producerId === -1) !== (producerEpoch === -1)) return Errors.INVALID_REQUEST;
  if (transactionalId === null) return Errors.NONE;
  if (transactionalId === "") return Errors.INVALID_REQUEST;
  if (transactionTimeoutMs <= 0 || transactionTimeoutMs > maxTimeoutMs) return Errors.INVALID_TRANSACTION_TIMEOUT;
  return Errors.NONE;
};

const answer = (errorCode: number, producerId: number, producerEpoch: number): InitProducerIdResponse => ({
  throttleTimeMs: 0,
  errorCode,
  producerId,
  producerEpoch,
  ongoingTxnProducerId: -1,
  ongoingTxnProducerEpoch: -1,
});

export const InitProducerId = defineHandler<InitProducerIdRequest, InitProducerIdResponse>({
  apiKey: 22,
  minVersion: 0,
  maxVersion: 5,
  handle: (request, { ports, version }) =>
    Effect.suspend(() => {
      const error = initProducerIdError(request, ports.config.number("transaction.max.timeout.ms"));
      if (error !== Errors.NONE) return Effect.succeed(answer(error, -1, -1));
      const { transactionalId, transactionTimeoutMs: timeoutMs, producerId, producerEpoch } = request;
      if (transactionalId === null) {
        return Effect.map(ports.controller.nextProducerId(), (fresh) =>
          answer(Errors.NONE, fresh.producerId, fresh.producerEpoch),
        );
      }
      const expected = producerId === -1 ? undefined : { producerId, producerEpoch };
      const asked = ports.transactions.ask(transactionalId, {
        type: "InitProducerId",
        transactionalId,
        timeoutMs,
        expected,
      });
      return Effect.map(asked, (reply) => {
        if (isRefused(reply)) return answer(reply, -1, -1);
        return answer(fencedErrorOf(reply.error, version, FENCED_FROM), reply.producerId, reply.producerEpoch);
      });
    }),
});
