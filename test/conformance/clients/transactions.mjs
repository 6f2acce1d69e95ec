/**
 * kafkajs copies a topic to another one, exactly once: `transactions.mjs HOST:PORT INPUT OUTPUT GROUP COUNT` reads COUNT records
 * as a member of GROUP and writes each to the same partition of OUTPUT, up to 100 a transaction, with the group's offsets; every
 * third transaction is aborted and its records are read again.
 */
import { Kafka, logLevel } from "kafkajs";

const [broker, input, output, group, count] = process.argv.slice(2);
const total = Number(count);
const SIZE = 100;

const kafka = new Kafka({ clientId: "kafkajs", brokers: [broker], logLevel: logLevel.ERROR });
const producer = kafka.producer({ transactionalId: `${group}-copier`, maxInFlightRequests: 1, idempotent: true });
const consumer = kafka.consumer({ groupId: group, readUncommitted: false, maxWaitTimeInMs: 200 });
await producer.connect();
await consumer.connect();
await consumer.subscribe({ topic: input, fromBeginning: true });

let transactions = 0;
let aborted = 0;
let copied = 0;
await new Promise((resolve, reject) => {
  consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
  const eachBatch = async ({ batch: { partition, messages }, resolveOffset, heartbeat }) => {
    for (let first = 0; first < messages.length; first += SIZE) {
      const part = messages.slice(first, first + SIZE);
      const offset = String(Number(part.at(-1).offset) + 1);
      const transaction = await producer.transaction();
      await transaction.send({ topic: output, messages: part.map(({ value }) => ({ value, partition })) });
      const topics = [{ topic: input, partitions: [{ partition, offset }] }];
      await transaction.sendOffsets({ consumerGroupId: group, topics });
      await heartbeat();
      if (transactions++ % 3 === 0) {
        aborted++;
        await transaction.abort();
        consumer.seek({ topic: input, partition, offset: part[0].offset });
        return;
      }
      await transaction.commit();
      resolveOffset(part.at(-1).offset);
      copied += part.length;
    }
    if (copied >= total) resolve();
  };
  consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch }).catch(reject);
});
await consumer.disconnect();
await producer.disconnect();
process.stdout.write(`${transactions} transactions, ${aborted} aborted\n`);
