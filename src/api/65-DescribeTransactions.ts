/** DescribeTransactions (key 65), version 0: where the transactions of given ids stand; each is answered by itself. */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { DescribeTransactionsRequest } from "../protocol/generated/DescribeTransactionsRequest.ts";
import type { DescribeTransactionsResponse } from "../protocol/generated/DescribeTransactionsResponse.ts";
import { undescribed } from "../transaction/TransactionAdmin.ts";
import { isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";

export const DescribeTransactions = defineHandler<DescribeTransactionsRequest, DescribeTransactionsResponse>({
  apiKey: 65,
  minVersion: 0,
  maxVersion: 0,
  handle: ({ transactionalIds }, { ports }) => {
    const describe = (transactionalId: string) => {
      if (transactionalId === "") return Effect.succeed(undescribed("", Errors.INVALID_REQUEST));
      const described = ports.transactions.ask(transactionalId, { type: "Describe", transactionalId });
      return Effect.map(described, (reply) => (isRefused(reply) ? undescribed(transactionalId, reply) : reply));
    };
    return Effect.map(
      Effect.all(transactionalIds.map(describe), { concurrency: "unbounded" }),
      (transactionStates) => ({
        throttleTimeMs: 0,
        transactionStates,
      }),
    );
  },
});
