/**
 * The example of `actors/testing/README.md`: a consumer that commits an order before it has processed it loses orders,
 * and injected faults show it; one that commits afterwards does not.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type KafkaClient, type TestBroker, testBroker } from "../../actors/testing/index.ts";

// The program that is tested -------------------------------------------------------------------------------------------

/** Writes an invoice for every order, until there are `orders` of them. Throws when an invoice cannot be written. */
const invoice = async (client: KafkaClient, orders: number, commit: "before" | "after"): Promise<void> => {
  const consumer = client.consumer({
    groupId: "invoicing",
    autoOffsetReset: "earliest",
    heartbeatIntervalMs: 50,
    sessionTimeoutMs: 6000,
  });
  const producer = client.producer({ deliveryTimeoutMs: 50 });
  consumer.subscribe(["orders"]);
  try {
    for (let done = 0; done < orders; ) {
      for (const { topic, partition, records } of await consumer.poll(100)) {
        for (const { offset, value } of records) {
          const next = { topic, partition, offset: offset + 1 };
          if (commit === "before") await consumer.commit([next]);
          const sent = await producer.send("invoices", 0, [{ value }]);
          if (sent.type !== "ok") throw new Error(`no invoice for order ${offset}: ${sent.error}`);
          if (commit === "after") await consumer.commit([next]);
        }
      }
      done = (await client.admin.groupOffsets("invoicing"))[0]?.offset ?? 0;
    }
  } finally {
    await consumer.close();
  }
};

/** Runs it as a process manager does: again when it has failed. */
const run = async (...program: Parameters<typeof invoice>): Promise<void> => {
  for (;;) {
    try {
      return await invoice(...program);
    } catch {}
  }
};

// Its test -------------------------------------------------------------------------------------------------------------

const valuesIn = async (broker: TestBroker, topic: string): Promise<string[]> =>
  (await broker.client().readAll(topic, 0)).map(({ value }) => new TextDecoder().decode(value!));

const ordersWithoutInvoice = async (seed: number, commit: "before" | "after"): Promise<string[]> => {
  await using broker = await testBroker({
    topics: ["orders", "invoices"],
    faults: { seed, kinds: { retriableError: 0.2, connectionCut: 0.02, rebalance: 0.05, crash: 0.01 } },
  });
  const client = broker.client({ retryBackoffMs: 10 });
  const producer = client.producer({ retryBackoffMs: 10 });
  for (let order = 0; order < 30; order++) {
    await producer.send("orders", 0, [{ value: new TextEncoder().encode(`order ${order}`) }]);
  }
  await run(client, 30, commit);
  await broker.heal();
  const invoices = new Set(await valuesIn(broker, "invoices"));
  return (await valuesIn(broker, "orders")).filter((order) => !invoices.has(order));
};

test.each([1, 2])("seed %d: an order that is committed first is lost when its invoice fails", async (seed) => {
  expect(await ordersWithoutInvoice(seed, "before")).not.toEqual([]);
});

test.each([1, 2])("seed %d: an order that is committed last has its invoice", async (seed) => {
  expect(await ordersWithoutInvoice(seed, "after")).toEqual([]);
});

// The end --------------------------------------------------------------------------------------------------------------

test("the README shows this program and this test", () => {
  const here = readFileSync(import.meta.path, "utf8");
  const readme = readFileSync(join(import.meta.dir, "../../actors/testing/README.md"), "utf8");
  const [, , program, , ownTest] = here.split(/^\/\/ .* -{20,}\n/m).flatMap((part) => [part, ""]);
  for (const part of [program, ownTest]) expect(readme).toContain(part!.trim());
});
