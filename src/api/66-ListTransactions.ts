/**
 * ListTransactions (key 66), versions 0–2: the transactional ids this broker coordinates.
 *
 * - v0: by state and producer id. v1+: open for longer than so many milliseconds. v2+: by a regular expression for the
 *   whole id; Kafka takes Java's, here it is RE2's, whose time no pattern can blow up.
 */
import * as Effect from "effect/Effect";
import { regexMatcher } from "../group/SubscribedRegex.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ListTransactionsRequest } from "../protocol/generated/ListTransactionsRequest.ts";
import type { ListTransactionsResponse } from "../protocol/generated/ListTransactionsResponse.ts";
import { isStateName } from "../transaction/TransactionMetadata.ts";
import { isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";

const refused = (errorCode: number): ListTransactionsResponse => ({
  throttleTimeMs: 0,
  errorCode,
  unknownStateFilters: [],
  transactionStates: [],
});

export const ListTransactions = defineHandler<ListTransactionsRequest, ListTransactionsResponse>({
  apiKey: 66,
  minVersion: 0,
  maxVersion: 2,
  handle: ({ stateFilters, producerIdFilters, durationFilter, transactionalIdPattern }, { ports }) =>
    Effect.suspend(() => {
      const everyId = transactionalIdPattern === null || transactionalIdPattern === "";
      const matches = everyId ? () => true : regexMatcher(transactionalIdPattern);
      if (matches === undefined) return Effect.succeed(refused(Errors.INVALID_REGULAR_EXPRESSION));
      const listed = ports.transactions.askAll({
        type: "List",
        states: stateFilters,
        producerIds: producerIdFilters,
        durationMs: durationFilter,
        matches,
      });
      return Effect.map(listed, (replies) => {
        const response = refused(Errors.NONE);
        response.unknownStateFilters = stateFilters.filter((name) => !isStateName(name));
        for (const reply of replies) {
          if (isRefused(reply)) return refused(reply);
          response.transactionStates.push(...reply);
        }
        return response;
      });
    }),
});
