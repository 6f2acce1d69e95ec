/** Transactions over real sockets and files: what a client of each version is told, and what a restart keeps. */
import { describe, expect, test } from "bun:test";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { emptyFetchRequestFetchPartition } from "../../src/protocol/generated/FetchRequest.ts";
import { forEachBatch, isControl, readBatchInfo, timestampTypeOf } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { OLD_CLIENT, TransactionalClient } from "../simulation/support/TransactionalClient.ts";
import { type RealBroker, startRealBroker, temporaryDirectory } from "../support/RealBroker.ts";

const ID = "tx";
const SETTINGS = {
  "transaction.state.log.num.partitions": "2",
  "offsets.topic.num.partitions": "2",
  "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",
};

const clientOf = ({ broker }: RealBroker, maxVersions: Readonly<Record<number, number>> = {}): KafkaClient =>
  new KafkaClient(makeBunPlatform(), { bootstrap: [broker.listeners[0]!.endpoint], maxVersions });

const producerOf = (client: KafkaClient, version: 1 | 2, timeoutMs = 60_000): TransactionalClient =>
  new TransactionalClient(client, ID, version, timeoutMs, 5000, () => Date.now());

const call = <K extends KnownApiKey>(
  client: KafkaClient,
  key: K,
  message: Partial<RequestOf<K>>,
): Promise<ResponseOf<K>> => client.request("any", key, { ...Apis[key].request.empty(), ...message });

interface Batch {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence?: number;
  readonly transactionalId?: string | null;
}

/** The error of one transactional batch to t-0, in a version that names topics. */
const produce = async (client: KafkaClient, batch: Batch): Promise<number> => {
  const { producerId, producerEpoch, baseSequence = 0, transactionalId = ID } = batch;
  const records = buildBatch([{ value: Buffer.from("x") }], {
    timestamp: Date.now(),
    producerId,
    producerEpoch,
    baseSequence,
    transactional: true,
  });
  const { responses } = await call(client, ApiKey.Produce, {
    transactionalId,
    acks: -1,
    timeoutMs: 5000,
    topicData: [{ name: "t", topicId: ZERO_UUID, partitionData: [{ index: 0, records }] }],
  });
  return responses[0]!.partitionResponses[0]!.errorCode;
};

const withBroker = async (run: (real: RealBroker) => Promise<void>): Promise<void> => {
  using directory = temporaryDirectory();
  await using real = await startRealBroker(directory.path, SETTINGS);
  await real.client.createTopic("t", { partitions: 2 });
  await run(real);
};

const valuesOf = async (client: KafkaClient, isolation: "read_committed" | "read_uncommitted"): Promise<string[]> =>
  (await client.readAll("t", 0, { isolation })).map(({ value }) => Buffer.from(value ?? []).toString());

describe("Produce within transactions (#53)", () => {
  const notAdded: ReadonlyArray<[version: number, error: number]> = [
    [3, Errors.INVALID_TXN_STATE],
    [10, Errors.INVALID_TXN_STATE],
    [11, Errors.TRANSACTION_ABORTABLE],
    [12, Errors.NONE],
  ];
  test("a partition that was not added: refused up to v11 in words the client knows, added by v12", () =>
    withBroker(async (real) => {
      for (const [version, error] of notAdded) {
        const client = clientOf(real, { [ApiKey.Produce]: version });
        const producer = producerOf(client, 2);
        await producer.findCoordinators("g");
        await producer.init();
        expect([version, await produce(client, producer)]).toEqual([version, error]);
        client.close();
      }
    }));

  test("no transactional id in the request: refused; another id, or one nobody has begun: no mapping", () =>
    withBroker(async (real) => {
      const client = clientOf(real, { [ApiKey.Produce]: 12 });
      const producer = producerOf(client, 2);
      await producer.findCoordinators("g");
      await producer.init();
      const { producerId, producerEpoch } = producer;
      expect(await produce(client, { producerId, producerEpoch, transactionalId: null })).toBe(
        Errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
      );
      expect(await produce(client, { producerId, producerEpoch, transactionalId: "other" })).toBe(
        Errors.INVALID_PRODUCER_ID_MAPPING,
      );
      // A new producer begins at sequence 0 (KIP-890).
      expect(await produce(client, { producerId, producerEpoch, baseSequence: 4 })).toBe(
        Errors.OUT_OF_ORDER_SEQUENCE_NUMBER,
      );
      expect(await produce(client, { producerId, producerEpoch })).toBe(Errors.NONE);
      expect(await produce(client, { producerId, producerEpoch })).toBe(Errors.NONE);
      expect(await valuesOf(client, "read_uncommitted")).toEqual(["x"]);
      client.close();
    }));

  test("a transaction that is out of time is aborted: its producer is fenced, readers go on (#54)", () =>
    withBroker(async (real) => {
      const client = clientOf(real, { [ApiKey.Produce]: 12 });
      const producer = producerOf(client, 2, 150);
      await producer.findCoordinators("g");
      await producer.init();
      const { producerId, producerEpoch } = producer;
      expect(await produce(client, { producerId, producerEpoch })).toBe(Errors.NONE);
      const stable = async (): Promise<number> => (await client.listOffset("t", 0, -1, "read_committed")).offset;
      expect(await stable()).toBe(0);
      for (let waited = 0; waited < 100 && (await stable()) === 0; waited++) await client.sleep(20);
      expect(await stable()).toBe(2);
      expect(await produce(client, { producerId, producerEpoch, baseSequence: 1 })).toBe(Errors.INVALID_PRODUCER_EPOCH);
      const end = { transactionalId: ID, producerId, producerEpoch, committed: true };
      expect((await call(client, ApiKey.EndTxn, end)).errorCode).toBe(Errors.INVALID_TXN_STATE);
      const recovered = await call(client, ApiKey.InitProducerId, {
        transactionalId: ID,
        transactionTimeoutMs: 1000,
        producerId,
        producerEpoch,
      });
      expect(recovered).toMatchObject({ errorCode: Errors.NONE, producerId, producerEpoch: producerEpoch + 1 });
      expect(await valuesOf(client, "read_committed")).toEqual([]);
      client.close();
    }));
});

test("batches sent at once are written in their order, though the first ones wait for the coordinator (rule 4)", () =>
  withBroker(async (real) => {
    const client = clientOf(real);
    await client.topic("t");
    const producer = producerOf(client, 2);
    await producer.findCoordinators("g");
    await producer.init();
    for (let transaction = 0; transaction < 5; transaction++) {
      const values = Array.from({ length: 5 }, (_, index) => `${transaction}.${index}`);
      const offsets = await Promise.all(values.map((value) => producer.send("t", 0, [value])));
      expect(offsets).toEqual(values.map((_, index) => transaction * 6 + index));
      // The next transaction begins while this one's marker is being written.
      await producer.end(true);
    }
    client.close();
  }));

test.each([1, 2, 3, 4] as const)(
  "KAFKA-15653: batches of codec %d that wait for the coordinator are written as they came, in every partition",
  (codec) =>
    withBroker(async (real) => {
      const client = clientOf(real, { [ApiKey.Produce]: 12 });
      const producer = producerOf(client, 2);
      await producer.findCoordinators("g");
      await producer.init();
      const { producerId, producerEpoch } = producer;
      const compressed = (partition: number, baseSequence: number): Uint8Array =>
        buildBatch(
          Array.from({ length: 20 }, (_, index) => ({
            value: Buffer.from(`${partition} ${baseSequence + index} ${"x".repeat(50)}`),
          })),
          {
            timestamp: 1,
            producerId,
            producerEpoch,
            baseSequence,
            transactional: true,
            codec,
            codecs: makeBunCodecs(),
          },
        );
      // One request each, both partitions in it; the second one comes while the first one is being verified.
      const send = (baseSequence: number) =>
        call(client, ApiKey.Produce, {
          transactionalId: ID,
          acks: -1,
          timeoutMs: 5000,
          topicData: [
            {
              name: "t",
              topicId: ZERO_UUID,
              partitionData: [0, 1].map((index) => ({ index, records: compressed(index, baseSequence) })),
            },
          ],
        });
      const answers = await Promise.all([send(0), send(20)]);
      for (const { responses } of answers) {
        expect(responses[0]!.partitionResponses.map(({ errorCode }) => errorCode)).toEqual([0, 0]);
      }
      await producer.end(true);
      for (const partition of [0, 1]) {
        let values: string[] = [];
        for (let waited = 0; waited < 100 && values.length < 40; waited++) {
          const seen = await client.readAll("t", partition, { isolation: "read_committed" });
          values = seen.map(({ value }) => Buffer.from(value ?? []).toString());
          await client.sleep(10);
        }
        expect(values).toEqual(Array.from({ length: 40 }, (_, index) => `${partition} ${index} ${"x".repeat(50)}`));
      }
      client.close();
    }),
);

describe("a transaction's end", () => {
  for (const version of [1, 2] as const) {
    test(`version ${version}: committed is seen, aborted is not; offsets with it`, () =>
      withBroker(async (real) => {
        const client = clientOf(real, version === 1 ? OLD_CLIENT : {});
        await client.topic("t");
        const producer = producerOf(client, version);
        await producer.findCoordinators("g");
        await producer.init();
        const committedOffset = async (requireStable: boolean) => {
          const { groups } = await call(client, ApiKey.OffsetFetch, {
            requireStable,
            groups: [
              {
                groupId: "g",
                memberId: null,
                memberEpoch: -1,
                topics: [{ name: "t", topicId: client.knownTopicId("t"), partitionIndexes: [0] }],
              },
            ],
          });
          const { committedOffset: offset, errorCode } = groups[0]!.topics[0]!.partitions[0]!;
          return errorCode === Errors.NONE ? offset : -errorCode;
        };
        for (const [value, offset, committed] of [
          ["first", 10, true],
          ["second", 20, false],
          ["third", 30, true],
        ] as const) {
          expect(await producer.send("t", 0, [value])).toBeGreaterThanOrEqual(0);
          await producer.sendOffset("g", "t", 0, offset);
          expect(await committedOffset(true)).toBe(-Errors.UNSTABLE_OFFSET_COMMIT);
          await producer.end(committed);
        }
        // EndTxn is answered before the markers are written, each partition's by itself.
        const isSettled = async (): Promise<boolean> => {
          const [stable, end] = await Promise.all(
            (["read_committed", "read_uncommitted"] as const).map((isolation) =>
              client.listOffset("t", 0, -1, isolation),
            ),
          );
          return stable!.offset === end!.offset && (await committedOffset(true)) >= 0;
        };
        for (let waited = 0; waited < 200 && !(await isSettled()); waited++) await client.sleep(10);
        expect(await committedOffset(true)).toBe(30);
        expect(await valuesOf(client, "read_committed")).toEqual(["first", "third"]);
        expect(await valuesOf(client, "read_uncommitted")).toEqual(["first", "second", "third"]);
        client.close();
      }));
  }

  test("a marker in a topic of LogAppendTime says so, as every batch there does", () =>
    withBroker(async (real) => {
      const client = clientOf(real);
      await client.createTopic("timed", { configs: { "message.timestamp.type": "LogAppendTime" } });
      const producer = producerOf(client, 2);
      await producer.findCoordinators("g");
      await producer.init();
      for (const end of ["coordinator", "operator"]) {
        await producer.send("timed", 0, [end]);
        if (end === "coordinator") await producer.end(true);
        else {
          const { producerId, producerEpoch } = producer;
          const topics = [{ name: "timed", partitionIndexes: [0] }];
          const rest = { coordinatorEpoch: 9, transactionVersion: 0, transactionResult: false, topics };
          await call(client, ApiKey.WriteTxnMarkers, { markers: [{ producerId, producerEpoch, ...rest }] });
        }
        const isStable = async (): Promise<boolean> => {
          const [stable, last] = await Promise.all(
            (["read_committed", "read_uncommitted"] as const).map((isolation) =>
              client.listOffset("timed", 0, -1, isolation),
            ),
          );
          return stable!.offset === last!.offset;
        };
        while (!(await isStable())) await client.sleep(10);
      }
      const { responses } = await call(client, ApiKey.Fetch, {
        maxBytes: 1 << 20,
        topics: [
          {
            topic: "timed",
            topicId: client.knownTopicId("timed"),
            partitions: [
              {
                ...emptyFetchRequestFetchPartition(),
                currentLeaderEpoch: -1,
                fetchOffset: 0,
                partitionMaxBytes: 1 << 20,
              },
            ],
          },
        ],
      });
      const chunk = responses[0]!.partitions[0]!.records!;
      const found: string[] = [];
      forEachBatch(chunk, 0, chunk.length, (at) => {
        const { attributes, baseTimestamp, maxTimestamp } = readBatchInfo(chunk, at);
        if (isControl(attributes)) expect(maxTimestamp).toBe(baseTimestamp);
        found.push(`${isControl(attributes) ? "marker" : "data"} ${timestampTypeOf(attributes)}`);
        return true;
      });
      expect(found).toEqual(["data 1", "marker 1", "data 1", "marker 1"]);
      client.close();
    }));

  test("a restart keeps it: open ones go on or time out, answers of the last one are given again", async () => {
    using directory = temporaryDirectory();
    let given = { producerId: -1, producerEpoch: -1 };
    {
      await using real = await startRealBroker(directory.path, SETTINGS);
      await real.client.createTopic("t", { partitions: 2 });
      const client = clientOf(real);
      await client.topic("t");
      const producer = producerOf(client, 2);
      await producer.findCoordinators("g");
      await producer.init();
      await producer.send("t", 0, ["before"]);
      given = { producerId: producer.producerId, producerEpoch: producer.producerEpoch };
      client.close();
    }
    await using real = await startRealBroker(directory.path, SETTINGS);
    const client = clientOf(real);
    await client.topic("t");
    const described = await call(client, ApiKey.DescribeTransactions, { transactionalIds: [ID] });
    expect(described.transactionStates[0]).toMatchObject({ errorCode: 0, transactionState: "Ongoing", ...given });
    const end = { transactionalId: ID, ...given, committed: true };
    const ended = await call(client, ApiKey.EndTxn, end);
    expect(ended).toMatchObject({ errorCode: 0, ...given, producerEpoch: given.producerEpoch + 1 });
    for (let waited = 0; waited < 100; waited++) {
      const again = await call(client, ApiKey.EndTxn, end);
      if (again.errorCode !== Errors.CONCURRENT_TRANSACTIONS) {
        expect(again).toEqual(ended);
        break;
      }
      await client.sleep(10);
    }
    expect(await valuesOf(client, "read_committed")).toEqual(["before"]);
    client.close();
  });
});
