/**
 * The example of `actors/testing/README.md` for a simulated world: a consumer that commits an order before it has
 * processed it loses orders when it is killed, and a seed shows it every time; one that commits afterwards does not.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type KafkaClient, type SimulatedMachine, simulate } from "../../actors/testing/index.ts";

// The program that is tested -------------------------------------------------------------------------------------------

/** Writes an invoice for every order, until there are `orders` of them. */
const invoice = async (machine: SimulatedMachine, orders: number, commit: "before" | "after"): Promise<void> => {
  const client = machine.kafka();
  const consumer = client.consumer({ groupId: "invoicing", autoOffsetReset: "earliest", sessionTimeoutMs: 6000 });
  const producer = client.producer();
  consumer.subscribe(["orders"]);
  for (let done = 0; done < orders; ) {
    for (const { topic, partition, records } of await consumer.poll(100)) {
      for (const { offset, value } of records) {
        const next = { topic, partition, offset: offset + 1 };
        if (commit === "before") await consumer.commit([next]);
        await producer.send("invoices", 0, [{ value }]);
        if (commit === "after") await consumer.commit([next]);
      }
    }
    done = (await client.admin.groupOffsets("invoicing"))[0]?.offset ?? 0;
  }
  await consumer.close();
};

// Its test -------------------------------------------------------------------------------------------------------------

const valuesIn = async (client: KafkaClient, topic: string): Promise<string[]> =>
  (await client.readAll(topic, 0)).map(({ value }) => new TextDecoder().decode(value!));

const ordersWithoutInvoice = async (seed: number, commit: "before" | "after"): Promise<string[]> => {
  const { value } = await simulate(
    async (world) => {
      const shop = world.machine("shop").kafka();
      const producer = shop.producer();
      for (let order = 0; order < 30; order++) {
        await producer.send("orders", 0, [{ value: new TextEncoder().encode(`order ${order}`) }]);
      }
      await world.service("invoicing", (machine) => invoice(machine, 30, commit));
      const invoices = new Set(await valuesIn(shop, "invoices"));
      return (await valuesIn(shop, "orders")).filter((order) => !invoices.has(order));
    },
    { seed, topics: ["orders", "invoices"], latencyMs: 10, faults: { kinds: ["client kill", "kill"], count: 10 } },
  );
  return value;
};

const SEEDS = Array.from({ length: 10 }, (_, seed) => seed);

test("an order that is committed first is lost when its consumer is killed before it has written the invoice", async () => {
  const lost = [];
  for (const seed of SEEDS) if ((await ordersWithoutInvoice(seed, "before")).length > 0) lost.push(seed);
  expect(lost).not.toEqual([]);
});

test("an order that is committed last has its invoice, whatever happens", async () => {
  for (const seed of SEEDS) expect([seed, await ordersWithoutInvoice(seed, "after")]).toEqual([seed, []]);
});

// The end --------------------------------------------------------------------------------------------------------------

test("the README shows this program and this test", () => {
  const here = readFileSync(import.meta.path, "utf8");
  const readme = readFileSync(join(import.meta.dir, "../../actors/testing/README.md"), "utf8");
  const [, , program, , ownTest] = here.split(/^\/\/ .* -{20,}\n/m).flatMap((part) => [part, ""]);
  for (const part of [program, ownTest]) expect(readme).toContain(part!.trim());
});
