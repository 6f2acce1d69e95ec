/**
 * Found by `bun run simulate` (idempotent, seeds 29 and 73): a new producer's first batch was cut after a failed flush,
 * the batch pipelined behind it arrived next and was taken as the first, and the retry was refused for good.
 */
import { expect, test } from "bun:test";
import { startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";

test("what is pipelined behind a new producer's first batch waits when a failed flush has cut that one", () => {
  const codecs = makeBunCodecs();
  const errors = new Simulation({ seed: 1 }).run(async (world) => {
    const disk = world.makeDisk("disk");
    const machine = world.process("broker", { disk });
    let failing = false;
    disk.beforeOperation = ({ kind, path }) => {
      if (!failing || kind !== "flush" || !path.endsWith("/t-0/00000000000000000000.log")) return undefined;
      failing = false;
      return { error: "EIO" };
    };
    const { endpoint } = await startSimulatedBroker(machine, { codecs });
    const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
    const client = new KafkaClient({ network, clock, random, codecs }, { bootstrap: [endpoint] });
    const { id } = await client.createTopic("t");
    const send = async (producerId: number, baseSequence: number): Promise<number> => {
      const records = buildBatch([{ value: null }], { producerId, producerEpoch: 0, baseSequence });
      const answer = await client.request("any", ApiKey.Produce, {
        transactionalId: null,
        acks: -1,
        timeoutMs: 1000,
        topicData: [{ name: "", topicId: id, partitionData: [{ index: 0, records }] }],
      });
      return answer.responses[0]!.partitionResponses[0]!.errorCode;
    };
    // Another producer's batch makes the folder.
    const seen = [await send(7, 0)];
    failing = true;
    for (const sequence of [0, 1, 0, 1]) seen.push(await send(8, sequence));
    return seen;
  });
  expect(errors).toEqual([
    Errors.NONE,
    Errors.KAFKA_STORAGE_ERROR,
    Errors.KAFKA_STORAGE_ERROR,
    Errors.NONE,
    Errors.NONE,
  ]);
});

/** Found by `bun run simulate` (transactions, seed 3000550). */
test("it waits, too, when the log of a transaction's first batch could not be opened to verify it", () => {
  const codecs = makeBunCodecs();
  const errors = new Simulation({ seed: 1 }).run(async (world) => {
    const disk = world.makeDisk("disk");
    const machine = world.process("broker", { disk });
    const { endpoint } = await startSimulatedBroker(machine, { codecs });
    const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
    const client = new KafkaClient({ network, clock, random, codecs }, { bootstrap: [endpoint] });
    const { id } = await client.createTopic("t");
    const producer = client.producer({ transactionalId: "x", transactionVersion: 1 });
    await producer.init();
    const { producerId, producerEpoch } = producer;
    const connection = await client.connection("any");
    const v3AndBelowTopics = [{ name: "t", partitions: [0] }];
    const transaction = { v3AndBelowTransactionalId: "x", v3AndBelowProducerId: producerId, v3AndBelowTopics };
    const added = { transactions: [], v3AndBelowProducerEpoch: producerEpoch, ...transaction };
    const seen: number[] = [];
    const answer = await connection.request(ApiKey.AddPartitionsToTxn, added, 3);
    seen.push(answer.resultsByTopicV3AndBelow[0]!.resultsByPartition[0]!.partitionErrorCode);
    const send = async (baseSequence: number): Promise<void> => {
      const about = { producerId, producerEpoch, baseSequence, transactional: true };
      const partitionData = [{ index: 0, records: buildBatch([{ value: null }], about) }];
      const topicData = [{ name: "t", topicId: id, partitionData }];
      // Before transactions version 2: what an unknown producer begins with may be any sequence.
      const request = { transactionalId: "x", acks: -1, timeoutMs: 1000, topicData };
      const { responses } = await connection.request(ApiKey.Produce, request, 11);
      seen.push(responses[0]!.partitionResponses[0]!.errorCode);
    };
    disk.beforeOperation = ({ kind, path }) =>
      kind === "write" && path.includes("/t-0/") ? { error: "ENOSPC" } : undefined;
    await send(0);
    disk.beforeOperation = undefined;
    // A log that could not be opened is tried again.
    await client.sleep(1500);
    for (const sequence of [1, 0, 1]) await send(sequence);
    return seen;
  });
  const { NONE, KAFKA_STORAGE_ERROR } = Errors;
  expect(errors).toEqual([NONE, KAFKA_STORAGE_ERROR, KAFKA_STORAGE_ERROR, NONE, NONE]);
});
