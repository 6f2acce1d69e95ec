/**
 * JavaScript consumers in groups: `groups.mjs kafkajs|platformatic HOST:PORT TOPIC GROUP COUNT [PROTOCOL]` consumes from the beginning
 * in a group (of the classic protocol, or of PROTOCOL), prints `partition offset value` a line, commits, leaves, and checks what is committed where the client can.
 * COUNT 0: a member that prints each record when it has it, commits it after that, and stays until SIGTERM.
 */
import { writeSync } from "node:fs";

const [library, broker, topic, group, count, protocol = "classic"] = process.argv.slice(2);
const total = Number(count);
const lines = [];
const stays = total === 0;
const leaves = new Promise((resolve) => process.once("SIGTERM", resolve));
const took = (line) => {
  if (stays) writeSync(1, `${line}\n`);
  else lines.push(line);
};

if (library === "kafkajs") {
  const { Kafka, logLevel } = await import("kafkajs");
  const kafka = new Kafka({ clientId: "kafkajs", brokers: [broker], logLevel: logLevel.ERROR });
  const sessions = stays ? { sessionTimeout: 6000, heartbeatInterval: 500 } : { sessionTimeout: 10_000 };
  const consumer = kafka.consumer({ groupId: group, ...sessions, maxWaitTimeInMs: 500 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer
      .run({
        eachMessage: async ({ partition, message }) => {
          took(`${partition} ${message.offset} ${message.value}`);
          if (!stays && lines.length === total) resolve();
        },
      })
      .catch(reject);
    leaves.then(resolve);
  });
  await consumer.stop();
  await consumer.disconnect();
  if (stays) process.exit(0);
  const admin = kafka.admin();
  await admin.connect();
  const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
  const committed = offsets.partitions.reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0);
  if (committed !== total) throw new Error(`${committed} are committed, ${total} were consumed`);
  const { groups } = await admin.describeGroups([group]);
  if (groups[0].state !== "Empty") throw new Error(`the group is ${groups[0].state}`);
  await admin.disconnect();
} else {
  const { Consumer, stringDeserializers } = await import("@platformatic/kafka");
  const consumer = new Consumer({
    clientId: "platformatic",
    groupId: group,
    bootstrapBrokers: [broker],
    deserializers: stringDeserializers,
    // The broker sets both in the consumer protocol.
    ...(protocol === "consumer"
      ? { groupProtocol: "consumer" }
      : { sessionTimeout: stays ? 6000 : 10_000, heartbeatInterval: 500 }),
    maxWaitTime: 500,
  });
  const stream = await consumer.consume({
    topics: [topic],
    mode: "committed",
    fallbackMode: "earliest",
    autocommit: false,
  });
  if (stays) leaves.then(() => consumer.close(true)).then(() => process.exit(0));
  for await (const message of stream) {
    took(`${message.partition} ${message.offset} ${message.value}`);
    // One request each, which it does not wait for.
    if (!stays || message.offset % 100n === 0n) await message.commit();
    if (!stays && lines.length === total) break;
  }
  // The library may drop the last commit of a partition when the stream ends (with Kafka too: 1,997 of 2,000 there); the
  // others are at most on their way, because its commit() does not wait for the answer.
  const expected = total - 4;
  let sum = 0;
  for (const deadline = Date.now() + 5_000; sum < expected && Date.now() < deadline; ) {
    const committed = await consumer.listCommittedOffsets({ topics: [{ topic, partitions: [0, 1, 2, 3] }] });
    sum = committed.get(topic).reduce((all, offset) => all + Number(offset), 0);
  }
  if (sum < expected) throw new Error(`${sum} are committed, ${total} were consumed`);
  await consumer.close(true);
}
process.stdout.write(`${lines.join("\n")}\n`);
