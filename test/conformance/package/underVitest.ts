/** The embedded broker under Vitest, with @platformatic/kafka. */
import { Consumer, Producer, stringDeserializers, stringSerializers } from "@platformatic/kafka";
import { type TestBroker, testBroker } from "odradek/testing";
import { expect, test } from "vitest";

const send = async (broker: TestBroker, ...values: string[]): Promise<void> => {
  const producer = new Producer({
    clientId: "producer",
    bootstrapBrokers: [broker.bootstrap],
    serializers: stringSerializers,
  });
  await producer.send({ messages: values.map((value) => ({ topic: "orders", key: "key", value })) });
  await producer.close();
};

test.each(["memory", "temporary"] as const)("%s", async (disk) => {
  await using broker = await testBroker({ disk, topics: [{ name: "orders", partitions: 2 }] });
  await send(broker, "one");
  await broker.crash();
  await broker.restart();
  await send(broker, "two");
  const consumer = new Consumer({
    clientId: "consumer",
    groupId: "group",
    bootstrapBrokers: [broker.bootstrap],
    deserializers: stringDeserializers,
  });
  const stream = await consumer.consume({ topics: ["orders"], mode: "earliest" });
  const values: unknown[] = [];
  for await (const { value } of stream) if (values.push(value) === 2) break;
  await consumer.close(true);
  expect(values).toEqual(["one", "two"]);
});
