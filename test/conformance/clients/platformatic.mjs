/**
 * @platformatic/kafka against a broker: `platformatic.mjs produce HOST:PORT TOPIC COUNT CODEC` sends values `v0 … v(COUNT-1)` to
 * partition 0; `platformatic.mjs consume HOST:PORT TOPIC COUNT` reads partition 0 without a group and prints one value a line.
 */
import { Admin, Consumer, Producer, stringSerializers } from "@platformatic/kafka";

const [verb, broker, topic, count, codec] = process.argv.slice(2);
const total = Number(count);

if (verb === "produce") {
  const producer = new Producer({
    clientId: "platformatic",
    bootstrapBrokers: [broker],
    serializers: stringSerializers,
    idempotent: true,
    autocreateTopics: true,
    ...(codec === "none" ? {} : { compression: codec }),
  });
  for (let first = 0; first < total; first += 500) {
    const messages = [];
    for (let index = first; index < Math.min(first + 500, total); index++) {
      messages.push({ topic, partition: 0, key: `k${index}`, value: `v${index}`, headers: { source: "platformatic" } });
    }
    const { offsets } = await producer.send({ messages, acks: -1 });
    if (Number(offsets[0].offset) !== first) throw new Error(`offset ${offsets[0].offset}, expected ${first}`);
  }
  await producer.close();
} else if (verb === "consume") {
  const consumer = new Consumer({ clientId: "platformatic", groupId: "unused", bootstrapBrokers: [broker] });
  const metadata = await consumer.metadata({ topics: [topic] });
  const { id, partitions } = metadata.topics.get(topic);
  let offset = 0n;
  while (offset < BigInt(total)) {
    const answer = await consumer.fetch({
      node: partitions[0].leader,
      minBytes: 1,
      maxBytes: 1 << 20,
      maxWaitTime: 500,
      topics: [
        {
          topicId: id,
          partitions: [
            {
              partition: 0,
              currentLeaderEpoch: -1,
              fetchOffset: offset,
              lastFetchedEpoch: -1,
              partitionMaxBytes: 1 << 20,
            },
          ],
        },
      ],
    });
    for (const batch of answer.responses[0]?.partitions[0]?.records ?? []) {
      for (const record of batch.records) {
        const at = batch.firstOffset + BigInt(record.offsetDelta);
        if (at < offset) continue;
        if (at !== offset) throw new Error(`offset ${at}, expected ${offset}`);
        process.stdout.write(`${record.value.toString()}\n`);
        offset = at + 1n;
      }
    }
  }
  await consumer.close(true);
} else if (verb === "admin") {
  const admin = new Admin({ clientId: "platformatic", bootstrapBrokers: [broker] });
  const [created] = await admin.createTopics({ topics: [topic], partitions: 3, replicas: 1 });
  if (created.name !== topic || created.partitions !== 3) throw new Error(`created ${JSON.stringify(created)}`);
  if (!(await admin.listTopics()).includes(topic)) throw new Error("the new topic is not listed");
  await admin.deleteTopics({ topics: [topic] });
  await admin.close();
} else throw new Error(`unknown verb ${verb}`);
