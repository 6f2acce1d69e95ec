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
