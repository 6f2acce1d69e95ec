/**
 * What exactly once costs: transactions a second with Kafka's Java client (transactions version 2), one producer and ten; records a
 * second of an idempotent producer; and how long a coordinator with 100,000 transactional ids needs after a kill and a stop.
 */
import { KafkaClient } from "../../../actors/testing/KafkaClient.ts";
import { makeBunPlatform } from "../../../src/platform/BunPlatform.ts";
import { ApiKey, Apis } from "../../../src/protocol/ApiKeys.ts";
import { Errors } from "../../../src/protocol/Errors.ts";
import type { Broker } from "../../../test/conformance/support/Brokers.ts";
import { createTopic } from "../../../test/conformance/support/Requests.ts";
import { Wire } from "../../../test/conformance/support/Wire.ts";
import { figure, javaLoad, load, type MeasureGroup } from "../Measures.ts";

const shapes = [
  { key: "transactions1x1", producers: 1, records: 1 },
  { key: "transactions1x100", producers: 1, records: 100 },
  { key: "transactions10x1", producers: 10, records: 1 },
  { key: "transactions10x100", producers: 10, records: 100 },
] as const;

const topicOn = async (broker: Broker, name: string): Promise<string> => {
  const wire = await Wire.open(broker);
  await createTopic(wire, name);
  wire.close();
  return name;
};

export const transactions: MeasureGroup = {
  name: "transactions",
  measures: {
    ...Object.fromEntries(
      shapes.map(({ key, producers, records }) => [
        key,
        {
          name: `transactions of ${records === 1 ? "1 record" : `${records} records`}, ${producers === 1 ? "1 producer" : `${producers} producers`}`,
          unit: "transactions/s",
          better: "more" as const,
        },
      ]),
    ),
    plain: { name: "produce 100 B, plain", unit: "records/s", better: "more" },
    idempotent: { name: "produce 100 B, idempotent", unit: "records/s", better: "more" },
  },
  async measure({ kind, broker, program, scale, add, say }) {
    for (const { key, producers, records } of shapes) {
      const topic = await topicOn(broker, key);
      const args = [broker.address, topic, `${producers}`, `${records}`, scale === 1 ? "10" : "3"];
      const rate = figure(await javaLoad("Transactions.java", args), "transactionsPerSecond");
      add(key, rate);
      say(`${kind} ${key}: ${rate.toFixed(0)} transactions/s`);
    }
    for (const [key, idempotent] of [
      ["plain", false],
      ["idempotent", true],
    ] as const) {
      const topic = await topicOn(broker, key);
      const produce = (count: number): Promise<unknown> => {
        const args = [broker.address, topic, "1", "100", `${count}`, `enable.idempotence=${idempotent}`];
        return load(program, ["produce", ...args]);
      };
      await produce(150_000 / scale);
      add(key, figure(await produce(3_000_000 / scale), "recordsPerSecond"));
    }
  },
};

const IDS = 100_000;
/** In flight at once while the ids are made. */
const CONNECTIONS = 8;
const DEPTH = 50;

const idOf = (index: number): string => `transactional-id-${index}`;

/** Begins a producer for each id, many at once. */
const beginAll = async (broker: Broker, count: number): Promise<void> => {
  const client = new KafkaClient(makeBunPlatform(), { bootstrap: [{ host: broker.host, port: broker.port }] });
  const empty = Apis[ApiKey.InitProducerId].request.empty();
  const begin = async (index: number): Promise<void> => {
    const transactionalId = idOf(index);
    for (;;) {
      const request = { ...empty, transactionalId, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 };
      const purpose = `ids-${index % CONNECTIONS}`;
      const { errorCode } = await client.request("any", ApiKey.InitProducerId, request, purpose);
      if (errorCode === Errors.NONE) return;
      const find = { ...Apis[ApiKey.FindCoordinator].request.empty(), keyType: 1, coordinatorKeys: [transactionalId] };
      await client.request("any", ApiKey.FindCoordinator, find, purpose);
      await client.sleep(20);
    }
  };
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await begin(next++);
  };
  await Promise.all(Array.from({ length: CONNECTIONS * DEPTH }, worker));
  client.close();
};

/** Waits until the last of the ids is described; the answer is how long that took, in milliseconds. */
const untilDescribed = async (broker: Broker, last: string): Promise<number> => {
  const began = performance.now();
  const client = new KafkaClient(makeBunPlatform(), { bootstrap: [{ host: broker.host, port: broker.port }] });
  for (;;) {
    const request = { transactionalIds: [last] };
    const { transactionStates } = await client.request("any", ApiKey.DescribeTransactions, request);
    if (transactionStates[0]?.errorCode === Errors.NONE) break;
    await client.sleep(5);
  }
  client.close();
  return performance.now() - began;
};

const COORDINATOR = `a coordinator with ${IDS.toLocaleString("en-US")} transactional ids`;

export const recovery: MeasureGroup = {
  name: "recovery",
  measures: {
    afterKill: { name: `start after kill -9 to an answer of ${COORDINATOR}`, unit: "ms", better: "less" },
    afterStop: { name: `start after a stop to an answer of ${COORDINATOR}`, unit: "ms", better: "less" },
  },
  // What is loaded is the same whatever a write waits for, and making the ids with a flush each takes Kafka minutes.
  pairs: ["page-cache"],
  own: { "transaction.state.log.num.partitions": "1" },
  async measure({ kind, broker, scale, add, say }) {
    const count = IDS / scale;
    await beginAll(broker, count);
    for (const [key, end] of [
      ["afterKill", () => broker.kill()],
      ["afterStop", () => broker.stop()],
    ] as const) {
      await end();
      await broker.start();
      const loading = await untilDescribed(broker, idOf(count - 1));
      say(`${kind} ${key}: up after ${broker.startMs.toFixed(0)} ms, an answer ${loading.toFixed(0)} ms later`);
      add(key, broker.startMs + loading);
    }
  },
};
