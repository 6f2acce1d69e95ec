/** The requests about transactions, each in every version it is served in, over the coordinator's rules. */
import { describe, expect, test } from "bun:test";
import * as Effect from "effect/Effect";
import { FindCoordinator } from "../../src/api/10-FindCoordinator.ts";
import { InitProducerId } from "../../src/api/22-InitProducerId.ts";
import { AddPartitionsToTxn } from "../../src/api/24-AddPartitionsToTxn.ts";
import { AddOffsetsToTxn } from "../../src/api/25-AddOffsetsToTxn.ts";
import { EndTxn } from "../../src/api/26-EndTxn.ts";
import { WriteTxnMarkers } from "../../src/api/27-WriteTxnMarkers.ts";
import { DescribeTransactions } from "../../src/api/65-DescribeTransactions.ts";
import { ListTransactions } from "../../src/api/66-ListTransactions.ts";
import type { EndOfTransaction } from "../../src/api/Ports.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { TransactionState } from "../../src/transaction/TransactionMetadata.ts";
import { oneBroker } from "../metadata/Cluster.ts";
import { type CoordinatedTransactions, coordinatedTransactions } from "../transaction/TransactionsPort.ts";
import { Handling, type HandlingOptions } from "./Handling.ts";

const ID = "copier";

const world = (options: HandlingOptions = {}): { handling: Handling; transactions: CoordinatedTransactions } => {
  const cluster = oneBroker();
  cluster.create({ name: "t", numPartitions: 2 });
  const transactions = coordinatedTransactions();
  return { handling: new Handling({ cluster, transactions, ...options }), transactions };
};

const versions = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe("FindCoordinator", () => {
  test.each(versions(1, 6))(
    "v%p makes __transaction_state and answers the broker that leads the id's partition",
    async (version) => {
      const { handling } = world();
      const keys = version >= 4 ? { coordinatorKeys: [ID] } : { key: ID };
      const response = await handling.call(10, FindCoordinator, version, { keyType: 1, ...keys });
      const [answer] = version >= 4 ? response.coordinators : [response];
      expect(answer).toMatchObject({ errorCode: Errors.NONE, nodeId: 1, host: "10.0.0.7", port: 19092 });
      expect(handling.cluster.image.topicsByName.get("__transaction_state")?.partitions).toHaveLength(50);
    },
  );
});

describe("InitProducerId", () => {
  test.each(versions(0, 5))("v%p begins an id, and fences its last producer in words it knows", async (version) => {
    const { handling, transactions } = world();
    const request = { transactionalId: ID, transactionTimeoutMs: 1000 };
    const first = await handling.call(22, InitProducerId, version, request);
    expect(first).toMatchObject({ errorCode: Errors.NONE, producerEpoch: 0 });
    expect(await handling.call(22, InitProducerId, version, request)).toMatchObject({
      producerId: first.producerId,
      producerEpoch: 1,
    });
    expect(transactions.coordinator.of(ID)?.timeoutMs).toBe(1000);
    if (version < 3) return;
    const stale = { ...request, producerId: first.producerId, producerEpoch: 0 };
    const { errorCode } = await handling.call(22, InitProducerId, version, stale);
    expect(errorCode).toBe(version >= 4 ? Errors.PRODUCER_FENCED : Errors.INVALID_PRODUCER_EPOCH);
  });

  test("no coordinator, no id", async () => {
    const { handling, transactions } = world();
    transactions.refusal = Errors.COORDINATOR_NOT_AVAILABLE;
    const answer = await handling.call(22, InitProducerId, 5, { transactionalId: ID, transactionTimeoutMs: 1000 });
    expect(answer).toMatchObject({ errorCode: 15, producerId: -1, producerEpoch: -1 });
  });
});

describe("AddPartitionsToTxn", () => {
  test.each(versions(0, 3))("v%p: a client's partitions; one that is not there refuses them all", async (version) => {
    const { handling, transactions } = world();
    const { producerId } = transactions.coordinator.init(ID);
    const add = async (partitions: number[], producerEpoch = 0) => {
      const { resultsByTopicV3AndBelow } = await handling.call(24, AddPartitionsToTxn, version, {
        v3AndBelowTransactionalId: ID,
        v3AndBelowProducerId: producerId,
        v3AndBelowProducerEpoch: producerEpoch,
        v3AndBelowTopics: [{ name: "t", partitions }],
      });
      return resultsByTopicV3AndBelow[0]!.resultsByPartition.map((one) => one.partitionErrorCode);
    };
    expect(await add([0, 7])).toEqual([Errors.OPERATION_NOT_ATTEMPTED, Errors.UNKNOWN_TOPIC_OR_PARTITION]);
    expect(transactions.coordinator.of(ID)?.state).toBe(TransactionState.Empty);
    expect(await add([0, 1])).toEqual([0, 0]);
    expect(transactions.coordinator.of(ID)).toMatchObject({
      state: TransactionState.Ongoing,
      clientTransactionVersion: 0,
    });
    const fenced = version >= 2 ? Errors.PRODUCER_FENCED : Errors.INVALID_PRODUCER_EPOCH;
    expect(await add([0], 9)).toEqual([fenced]);
  });

  test.each([4, 5])("v%p: several transactions of a broker, to add or only to verify", async (version) => {
    const { handling, transactions } = world();
    const { producerId } = transactions.coordinator.init(ID);
    const of = (verifyOnly: boolean, partitions: number[], transactionalId = ID) => ({
      transactionalId,
      producerId,
      producerEpoch: 0,
      verifyOnly,
      topics: [{ name: "t", partitions }],
    });
    const { resultsByTransaction } = await handling.call(24, AddPartitionsToTxn, version, {
      transactions: [of(false, [1]), of(true, [0, 1], "other")],
    });
    const codes = resultsByTransaction.map(({ topicResults }) =>
      topicResults.flatMap(({ resultsByPartition }) => resultsByPartition.map((one) => one.partitionErrorCode)),
    );
    expect(codes).toEqual([[0], [Errors.INVALID_PRODUCER_ID_MAPPING, Errors.INVALID_PRODUCER_ID_MAPPING]]);
    expect(transactions.coordinator.of(ID)?.clientTransactionVersion).toBe(2);
    const verified = await handling.call(24, AddPartitionsToTxn, version, { transactions: [of(true, [0, 1])] });
    expect(
      verified.resultsByTransaction[0]!.topicResults[0]!.resultsByPartition.map((one) => one.partitionErrorCode),
    ).toEqual([Errors.TRANSACTION_ABORTABLE, Errors.NONE]);
  });
});

describe("AddOffsetsToTxn", () => {
  const groups = (partition: number | undefined): HandlingOptions => ({
    groups: {
      partitionOf: () => partition,
      ask: () => Effect.succeed(Errors.NOT_COORDINATOR),
      askAll: () => Effect.succeed([]),
      completeTransaction: (_partition, _end, settle) => settle(0),
    },
  });

  test.each(versions(0, 4))("v%p: the group's partition enters the transaction", async (version) => {
    const { handling, transactions } = world(groups(3));
    const { producerId } = transactions.coordinator.init(ID);
    const add = async (producerEpoch: number) =>
      (
        await handling.call(25, AddOffsetsToTxn, version, {
          transactionalId: ID,
          producerId,
          producerEpoch,
          groupId: "g",
        })
      ).errorCode;
    expect(await add(0)).toBe(Errors.NONE);
    expect(transactions.coordinator.of(ID)?.partitions).toEqual(new Map([["__consumer_offsets", new Set([3])]]));
    expect(await add(4)).toBe(version >= 2 ? Errors.PRODUCER_FENCED : Errors.INVALID_PRODUCER_EPOCH);
  });

  test("a group without a coordinator", async () => {
    const { handling } = world(groups(undefined));
    const request = { transactionalId: ID, producerId: 1, producerEpoch: 0, groupId: "g" };
    expect((await handling.call(25, AddOffsetsToTxn, 4, request)).errorCode).toBe(Errors.COORDINATOR_NOT_AVAILABLE);
  });
});

describe("EndTxn", () => {
  test.each(versions(0, 5))("v%p: the producer's next epoch is answered from version 5 on", async (version) => {
    const { handling, transactions } = world();
    const { producerId } = transactions.coordinator.init(ID);
    const end = (producerEpoch: number, committed = true) =>
      handling.call(26, EndTxn, version, { transactionalId: ID, producerId, producerEpoch, committed });
    expect((await end(0)).errorCode).toBe(Errors.INVALID_TXN_STATE);
    transactions.coordinator.add(ID, producerId, 0, version >= 5 ? 2 : 0);
    const answer = await end(0);
    expect(answer).toMatchObject({
      errorCode: Errors.NONE,
      producerId: version >= 5 ? producerId : -1,
      producerEpoch: version >= 5 ? 1 : -1,
    });
    transactions.coordinator.finish(ID);
    // #52: the answer again; the opposite end is refused.
    expect((await end(0)).errorCode).toBe(Errors.NONE);
    expect((await end(0, false)).errorCode).toBe(Errors.INVALID_TXN_STATE);
    expect((await end(9)).errorCode).toBe(version >= 2 ? Errors.PRODUCER_FENCED : Errors.INVALID_PRODUCER_EPOCH);
  });
});

describe("WriteTxnMarkers", () => {
  test("a marker of nobody is written nowhere", async () => {
    const { handling } = world({});
    handling.cluster.create({ name: "t" });
    const topics = [{ name: "t", partitionIndexes: [0] }];
    const marker = { transactionResult: true, coordinatorEpoch: 0, transactionVersion: 0, topics };
    for (const [producerId, producerEpoch] of [
      [-1, 0],
      [7, -1],
    ] as const) {
      const { markers } = await handling.call(27, WriteTxnMarkers, 1, {
        markers: [{ ...marker, producerId, producerEpoch }],
      });
      expect(markers[0]!.topics[0]!.partitions).toEqual([{ partitionIndex: 0, errorCode: Errors.INVALID_REQUEST }]);
    }
  });

  test.each([1, 2])("v%p: each partition by itself; the groups' own go through their coordinator", async (version) => {
    const ended: EndOfTransaction[] = [];
    const { handling } = world({
      groups: {
        partitionOf: () => 0,
        ask: () => Effect.succeed(Errors.NOT_COORDINATOR),
        askAll: () => Effect.succeed([]),
        completeTransaction: (_partition, end, settle) => {
          ended.push(end);
          settle(Errors.NONE);
        },
      },
    });
    handling.cluster.create({ name: "__consumer_offsets" });
    const marker = { producerId: 7, producerEpoch: 2, transactionResult: true, coordinatorEpoch: 5 };
    const { markers } = await handling.call(27, WriteTxnMarkers, version, {
      markers: [
        {
          ...marker,
          transactionVersion: version === 2 ? 2 : 0,
          topics: [
            { name: "__consumer_offsets", partitionIndexes: [0] },
            { name: "nowhere", partitionIndexes: [3] },
          ],
        },
      ],
    });
    expect(markers).toEqual([
      {
        producerId: 7,
        topics: [
          { name: "__consumer_offsets", partitions: [{ partitionIndex: 0, errorCode: 0 }] },
          { name: "nowhere", partitions: [{ partitionIndex: 3, errorCode: Errors.UNKNOWN_TOPIC_OR_PARTITION }] },
        ],
      },
    ]);
    expect(ended).toEqual([
      {
        producerId: 7,
        producerEpoch: 2,
        coordinatorEpoch: 5,
        committed: true,
        transactionVersion: version === 2 ? 2 : 0,
      },
    ]);
  });
});

describe("DescribeTransactions", () => {
  test("each id by itself", async () => {
    const { handling, transactions } = world();
    const { producerId } = transactions.coordinator.init(ID);
    transactions.coordinator.add(ID, producerId, 0);
    const { transactionStates } = await handling.call(65, DescribeTransactions, 0, {
      transactionalIds: [ID, "nobody", ""],
    });
    expect(transactionStates.map((one) => one.errorCode)).toEqual([0, 105, Errors.INVALID_REQUEST]);
    expect(transactionStates[0]).toMatchObject({
      transactionState: "Ongoing",
      transactionTimeoutMs: 60_000,
      transactionStartTimeMs: 1000,
      producerId,
      producerEpoch: 0,
      topics: [{ topic: "t", partitions: [0] }],
    });
  });
});

describe("ListTransactions", () => {
  test.each([0, 1, 2])("v%p: filters, and states nobody knows", async (version) => {
    const { handling, transactions } = world();
    for (const id of ["a1", "a2", "b1"]) transactions.coordinator.init(id);
    const list = (filter: object) => handling.call(66, ListTransactions, version, filter);
    const all = await list({ stateFilters: ["Empty", "Foo"] });
    expect([all.errorCode, all.unknownStateFilters, all.transactionStates.length]).toEqual([0, ["Foo"], 3]);
    if (version < 2) return;
    const named = await list({ transactionalIdPattern: "a." });
    expect(named.transactionStates.map((one) => one.transactionalId)).toEqual(["a1", "a2"]);
    expect((await list({ transactionalIdPattern: "a(" })).errorCode).toBe(Errors.INVALID_REGULAR_EXPRESSION);
  });

  test("a coordinator that cannot answer", async () => {
    const { handling, transactions } = world();
    transactions.refusal = Errors.NOT_COORDINATOR;
    expect((await handling.call(66, ListTransactions, 2, {})).errorCode).toBe(Errors.NOT_COORDINATOR);
  });
});
