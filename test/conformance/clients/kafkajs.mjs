/**
 * kafkajs against a broker: `kafkajs.mjs produce HOST:PORT TOPIC COUNT none|gzip` sends values `v0 … v(COUNT-1)` with keys and
 * headers to partition 0; `kafkajs.mjs admin HOST:PORT TOPIC` creates, describes, grows, lists and deletes a topic.
 */
import { CompressionTypes, Kafka, logLevel } from "kafkajs";

const [verb, broker, topic, count, codec] = process.argv.slice(2);
const kafka = new Kafka({ clientId: "kafkajs", brokers: [broker], logLevel: logLevel.ERROR, retry: { retries: 3 } });

const same = (actual, expected, what) => {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
  }
};

if (verb === "produce") {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const compression = codec === "gzip" ? CompressionTypes.GZIP : CompressionTypes.None;
  const total = Number(count);
  for (let first = 0; first < total; first += 500) {
    const messages = [];
    for (let index = first; index < Math.min(first + 500, total); index++) {
      messages.push({ key: `k${index}`, value: `v${index}`, partition: 0, headers: { source: "kafkajs" } });
    }
    const [answer] = await producer.send({ topic, acks: -1, compression, messages });
    same(
      [answer.topicName, answer.partition, answer.errorCode, answer.baseOffset],
      [topic, 0, 0, String(first)],
      "send",
    );
  }
  await producer.disconnect();
} else if (verb === "admin") {
  const admin = kafka.admin();
  await admin.connect();
  same(
    await admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1 }], waitForLeaders: true }),
    true,
    "create",
  );
  same(await admin.createTopics({ topics: [{ topic, numPartitions: 2 }] }), false, "create again");
  same((await admin.listTopics()).includes(topic), true, "list");
  const cluster = await admin.describeCluster();
  same(
    cluster.brokers.some((node) => node.nodeId === cluster.controller),
    true,
    "the controller is one of the brokers",
  );
  await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  same(topics[0].partitions.map((partition) => partition.partitionId).sort(), [0, 1, 2], "partitions");
  const offsets = await admin.fetchTopicOffsets(topic);
  same(
    offsets.map((entry) => entry.offset),
    ["0", "0", "0"],
    "offsets",
  );
  const { resources } = await admin.describeConfigs({ resources: [{ type: 2, name: topic }] });
  same(
    resources[0].configEntries.some((entry) => entry.configName === "retention.ms"),
    true,
    "configs",
  );
  await admin.deleteTopics({ topics: [topic] });
  const end = Date.now() + 5000;
  while ((await admin.listTopics()).includes(topic)) {
    if (Date.now() > end) throw new Error("the deleted topic is still listed");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await admin.disconnect();
} else throw new Error(`unknown verb ${verb}`);
