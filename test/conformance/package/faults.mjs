/**
 * Clients of JavaScript through injected faults: `faults.mjs kafkajs|platformatic SEED`. An idempotent producer sends values
 * one by one, two consumers of one group commit after they processed. The log must hold every value once and in order,
 * and no value may go unprocessed. Prints how many faults of each kind there were.
 */
import { testBroker } from "odradek/testing";

const [library, seed] = process.argv.slice(2);
const COUNT = 150;
const values = Array.from({ length: COUNT }, (_, index) => `v${index}`);

/** Who has died is missed soon: a test does not wait for half a minute. */
const TIMES = { sessionTimeout: 2000, rebalanceTimeout: 3000, heartbeatInterval: 200 };

let over = false;
const persistently = async (attempt) => {
  while (!over) {
    try {
      return await attempt();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
};

const clients = {
  async kafkajs(broker) {
    const { Kafka, logLevel } = await import("kafkajs");
    const kafka = new Kafka({
      brokers: [broker.bootstrap],
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 20, maxRetryTime: 200, retries: 50 },
    });
    return {
      async produce() {
        const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
        // It repeats what fails while it is connected, and gives up at once when connecting fails.
        await persistently(() => producer.connect());
        for (const value of values) {
          await producer.send({ topic: "orders", acks: -1, messages: [{ value, partition: 0 }] });
        }
        await producer.disconnect();
      },
      async consume(note) {
        const consumer = kafka.consumer({ groupId: "group", ...TIMES, maxWaitTimeInMs: 50 });
        let going = true;
        const begin = () =>
          persistently(async () => {
            await consumer.connect();
            await consumer.subscribe({ topic: "orders", fromBeginning: true });
            await consumer.run({
              autoCommit: false,
              eachMessage: async ({ topic, partition, message }) => {
                note(`${message.value}`);
                const offset = `${Number(message.offset) + 1}`;
                await consumer.commitOffsets([{ topic, partition, offset }]);
              },
            });
          });
        // A member that its group has lost stops for good when it hears so from a commit.
        consumer.on(consumer.events.CRASH, async ({ payload }) => {
          if (going && !payload.restart) await begin();
        });
        await begin();
        return () => {
          going = false;
          return consumer.disconnect();
        };
      },
    };
  },

  async platformatic(broker) {
    const { Consumer, Producer, stringDeserializers, stringSerializers } = await import("@platformatic/kafka");
    const common = { bootstrapBrokers: [broker.bootstrap], retries: 50, retryDelay: 20 };
    return {
      async produce() {
        const producer = new Producer({
          ...common,
          clientId: "producer",
          idempotent: true,
          serializers: stringSerializers,
        });
        for (const value of values) await producer.send({ messages: [{ topic: "orders", partition: 0, value }] });
        await producer.close();
      },
      async consume(note) {
        const consumer = new Consumer({
          ...common,
          clientId: "consumer",
          groupId: "group",
          ...TIMES,
          maxWaitTime: 50,
          deserializers: stringDeserializers,
        });
        let going = true;
        const run = async () => {
          while (going) {
            try {
              const stream = await consumer.consume({
                topics: ["orders"],
                mode: "committed",
                fallbackMode: "earliest",
                autocommit: false,
              });
              for await (const message of stream) {
                note(message.value);
                await message.commit();
                if (!going) break;
              }
            } catch {
              await new Promise((resolve) => setTimeout(resolve, 50));
            }
          }
        };
        const running = run();
        return async () => {
          going = false;
          await consumer.close(true);
          await running;
        };
      },
    };
  },
};

const broker = await testBroker({
  topics: [{ name: "orders", partitions: 2 }],
  config: { "group.min.session.timeout.ms": 1000 },
  faults: { seed, rate: 2, maxDelayMs: 100 },
});
try {
  const client = await clients[library](broker);
  const processed = new Set();
  let done;
  const all = new Promise((resolve) => {
    done = resolve;
  });
  const note = (value) => {
    processed.add(value);
    if (processed.size === COUNT) done();
  };
  const leave = [await client.consume(note), await client.consume(note)];
  await client.produce();
  await broker.heal();
  const late = setTimeout(() => done("late"), 30_000);
  const how = await all.then((late) => late);
  clearTimeout(late);
  if (how === "late") throw new Error(`${COUNT - processed.size} values were never processed`);
  over = true;
  await Promise.all(leave.map((each) => each()));
  const records = await broker.client().readAll("orders", 0);
  const stored = records.map(({ value }) => new TextDecoder().decode(value));
  if (stored.join() !== values.join()) throw new Error(`the log holds ${stored.length} values: ${stored.join()}`);
  const counts = {};
  for (const { kind } of broker.faultLog) counts[kind] = (counts[kind] ?? 0) + 1;
  console.log(JSON.stringify(counts));
} catch (error) {
  console.error(broker.faultReport());
  throw error;
} finally {
  await broker[Symbol.asyncDispose]();
}
// kafkajs may start a consumer again that was disconnected, and then looks for its broker for ever.
process.exit(0);
