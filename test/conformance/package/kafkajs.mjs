/**
 * What a test of a user's program does with an embedded broker, by kafkajs: the same on every runtime. Rejects when
 * something is not as it should be; answers how long each start took, in milliseconds.
 */
import { Kafka, logLevel } from "kafkajs";
import { testBroker } from "odradek/testing";

const same = (actual, expected, what) => {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
  }
};

const send = async (kafka, ...values) => {
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: "orders", messages: values.map((value) => ({ value })) });
  await producer.disconnect();
};

const read = async (kafka, groupId, count) => {
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topic: "orders", fromBeginning: true });
  const values = [];
  await new Promise((enough) => {
    void consumer.run({
      eachMessage: async ({ message }) => {
        values.push(String(message.value));
        if (values.length === count) enough();
      },
    });
  });
  await consumer.disconnect();
  return values;
};

const kafkaOf = (broker) =>
  new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 10 } });

/** Produce, consume in a group, and go on after a crash and after an orderly stop. */
export const survives = async (disk) => {
  const broker = await testBroker({ disk, topics: ["orders"] });
  try {
    const kafka = kafkaOf(broker);
    await send(kafka, "one", "two");
    await broker.crash();
    await broker.restart();
    await send(kafka, "three");
    await broker.stop();
    await broker.restart();
    same(await read(kafka, "group", 3), ["one", "two", "three"], "what a group read");
  } finally {
    await broker[Symbol.asyncDispose]();
  }
};

/** What is flushed before it is acknowledged is there after a power cut. */
export const outlivesPower = async () => {
  const broker = await testBroker({ topics: ["orders"] });
  try {
    await send(kafkaOf(broker), "durable");
    await broker.powerCut();
    await broker.restart();
    const records = await broker.client().readAll("orders", 0);
    same(
      records.map(({ value }) => new TextDecoder().decode(value)),
      ["durable"],
      "what a power cut left",
    );
  } finally {
    await broker[Symbol.asyncDispose]();
  }
};

/** Wrong settings are one clear line, whatever process found them. */
export const complains = async () => {
  const message = await testBroker({ config: { "num.partitions": "many" } }).catch((error) => error.message);
  same(/many.*num\.partitions.*allowed/.test(message), true, `the message about a wrong value, ${message},`);
};

/** Milliseconds to a broker that answers, by start: the first one pays for what is loaded. */
export const starts = async (count) => {
  const times = [];
  for (let index = 0; index < count; index++) {
    const began = performance.now();
    const broker = await testBroker({ topics: ["orders"] });
    times.push(performance.now() - began);
    await broker[Symbol.asyncDispose]();
  }
  return times;
};
