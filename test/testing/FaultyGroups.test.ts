/** Consumers in groups and transactions through injected faults, on real sockets: at least once, and exactly once. */
import { describe, expect, test } from "bun:test";
import { type KafkaClient, type TestBroker, testBroker } from "../../actors/testing/index.ts";

const RECORDS = 40;
const MEMBER = { autoOffsetReset: "earliest", heartbeatIntervalMs: 50, sessionTimeoutMs: 1000 } as const;

const faulty = (seed: number): Promise<TestBroker> =>
  testBroker({
    topics: [{ name: "in", partitions: 2 }, "out"],
    config: {
      "group.min.session.timeout.ms": 500,
      "group.consumer.heartbeat.interval.ms": 50,
      "group.consumer.min.heartbeat.interval.ms": 50,
      "group.consumer.session.timeout.ms": 1000,
      "group.consumer.min.session.timeout.ms": 500,
    },
    faults: { seed, rate: 2, maxDelayMs: 40, atMost: { crash: 2, coordinatorMove: 5, rebalance: 10 } },
  });

/** Fills both partitions of `in` with numbered values. */
const fill = async (client: KafkaClient): Promise<string[]> => {
  const producer = client.producer({ retryBackoffMs: 10 });
  const values = Array.from({ length: RECORDS }, (_, index) => `v${index}`);
  for (const [index, value] of values.entries()) {
    const sent = await producer.send("in", index % 2, [{ value: new TextEncoder().encode(value) }]);
    expect(sent.type).toBe("ok");
  }
  return values;
};

const textOf = (value: Uint8Array | null): string => new TextDecoder().decode(value!);
const inOrder = (values: Iterable<string>): string[] =>
  [...values].sort((left, right) => Number(left.slice(1)) - Number(right.slice(1)));

/** Whether the group has committed everything. */
const isDone = async (client: KafkaClient, group: string): Promise<boolean> => {
  const offsets = await client.admin.groupOffsets(group);
  return offsets.reduce((sum, { offset }) => sum + Math.max(0, offset), 0) === RECORDS;
};

describe.each(["classic", "consumer"] as const)("a group of the %s protocol", (groupProtocol) => {
  test.each([1, 2, 3])("that commits what it has processed processes everything: seed %d", async (seed) => {
    await using broker = await faulty(seed);
    const client = broker.client({ retryBackoffMs: 10 });
    const values = await fill(client);
    const processed = new Set<string>();
    const work = async (): Promise<void> => {
      const consumer = client.consumer({ groupId: "g", groupProtocol, ...MEMBER });
      consumer.subscribe(["in"]);
      while (!(await isDone(client, "g"))) {
        for (const { topic, partition, records, nextOffset } of await consumer.poll(50)) {
          for (const { value } of records) processed.add(textOf(value));
          if (records.length > 0) await consumer.commit([{ topic, partition, offset: nextOffset }]);
        }
      }
      await consumer.close();
    };
    await Promise.all([work(), work()]);
    await broker.heal();
    expect([broker.faultReport(), inOrder(processed)]).toEqual([broker.faultReport(), values]);
    expect(broker.faultLog.length).toBeGreaterThan(0);
  });
});

test.each([1, 2, 3])("consume, produce and commit in one transaction is exactly once: seed %d", async (seed) => {
  await using broker = await faulty(seed);
  const client = broker.client({ retryBackoffMs: 10 });
  const values = await fill(client);
  /** Ends when everything is copied, or with what went wrong. */
  const copy = async (): Promise<void> => {
    const producer = client.producer({ transactionalId: "copier", transactionTimeoutMs: 5000, retryBackoffMs: 10 });
    const consumer = client.consumer({ groupId: "copiers", isolation: "read_committed", ...MEMBER });
    try {
      await producer.init();
      consumer.subscribe(["in"]);
      while (!(await isDone(client, "copiers"))) {
        for (const { topic, partition, records, nextOffset } of await consumer.poll(50)) {
          if (records.length === 0) continue;
          producer.begin();
          const sent = records.map(({ value }) => producer.send("out", 0, [{ value }]));
          const added = await producer.sendOffsets([{ topic, partition, offset: nextOffset }], consumer.group);
          const outcomes = [added, ...(await Promise.all(sent)), await producer.commit()];
          const failed = outcomes.find(({ type }) => type !== "ok");
          if (failed !== undefined) throw new Error(JSON.stringify(failed));
        }
      }
    } finally {
      await consumer.close();
    }
  };
  for (let copied = false; !copied; ) {
    copied = await copy().then(
      () => true,
      () => false,
    );
  }
  await broker.heal();
  const copies = await broker.client().readAll("out", 0, { isolation: "read_committed" });
  const found = copies.map(({ value }) => textOf(value));
  expect([broker.faultReport(), inOrder(found)]).toEqual([broker.faultReport(), values]);
});
