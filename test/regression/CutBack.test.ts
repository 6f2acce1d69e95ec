/**
 * Found by `bun run simulate` (stream-groups, seed 1004181) and by the power cuts of `test/log/LogPowerCut.test.ts`: a log
 * that was cut back after a failed flush went on before the cut was durable. A power cut could bring back a part of what
 * had been cut off beside what had taken its place, or an empty folder whose snapshot said that it began at offset 4.
 */
import { expect, test } from "bun:test";
import type { DiskOperation } from "../../actors/simulation/DiskFault.ts";
import { startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";

const codecs = makeBunCodecs();
const FLUSH_MS = 20;

/** Produces records, one a millisecond, while so many flushes fail, then one more; answers, and what the disk did. */
const produceThrough = (failures: number) =>
  new Simulation({ seed: 1 }).run(async (world) => {
    const disk = world.makeDisk("disk");
    const machine = world.process("broker", { disk });
    const operations: Array<{ kind: DiskOperation["kind"]; name: string; at: number }> = [];
    let left = failures;
    disk.beforeOperation = ({ kind, path }) => {
      const name = path.slice(path.indexOf("/t-0") + 1);
      if (!path.includes("/t-0") || kind === "read") return undefined;
      operations.push({ kind, name, at: machine.clock.monotonic() });
      if (kind !== "flushDirectory") return undefined;
      return left-- > 0 ? { error: "EIO" } : { delayMs: FLUSH_MS };
    };
    const { endpoint } = await startSimulatedBroker(machine, { codecs });
    const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
    const client = new KafkaClient({ network, clock, random, codecs }, { bootstrap: [endpoint] });
    const { id } = await client.createTopic("t");
    const send = async (): Promise<number> => {
      const answer = await client.request("any", ApiKey.Produce, {
        transactionalId: null,
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: "", topicId: id, partitionData: [{ index: 0, records: buildBatch([{ value: null }]) }] }],
      });
      return answer.responses[0]!.partitionResponses[0]!.errorCode;
    };
    const soon = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));
    const sendAt = (ms: number): Promise<number> => soon(ms).then(send);
    const pipelined = await Promise.all(Array.from({ length: 40 }, (_, ms) => sendAt(ms)));
    return { pipelined, last: await sendAt(5000), operations };
  });

test("nothing takes the place of what a failed flush has cut off before the cut is durable", () => {
  const { pipelined, last, operations } = produceThrough(1);
  expect(pipelined).toContain(Errors.KAFKA_STORAGE_ERROR);
  expect(last).toBe(Errors.NONE);
  const cut = operations.findIndex(({ kind, name }) => kind === "remove" && name.endsWith(".log"));
  const next = operations.findIndex(({ kind, name }, at) => at > cut && kind === "create" && name.endsWith(".log"));
  const flushed = operations.findIndex(({ kind }, at) => at > cut && kind === "flushDirectory");
  expect(flushed).toBeLessThan(next);
  expect(operations[next]!.at - operations[flushed]!.at).toBeGreaterThanOrEqual(FLUSH_MS);
});

test("a cut that cannot be made durable is tried again while a passing fault lasts, and no longer", () => {
  expect(produceThrough(4).last).toBe(Errors.NONE);
  expect(produceThrough(20).last).toBe(Errors.KAFKA_STORAGE_ERROR);
});
