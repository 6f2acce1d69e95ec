/** Today's broker on the recorded data directory of earlier builds: what its list says is what clients find. */
import { describe, expect, test } from "bun:test";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { valueIn } from "../../actors/testing/Stage.ts";
import { decodeMetadataBatch } from "../../src/metadata/MetadataBatch.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { batchSize } from "../../src/record/RecordBatch.ts";
import { directoryOf } from "./support/OldDirectory.ts";

const codecs = makeBunCodecs();
const { files, data } = directoryOf("upgrade");
const METADATA = "__cluster_metadata-0/00000000000000000000.log";
const SETTINGS = {
  "offsets.topic.num.partitions": "1",
  "transaction.state.log.num.partitions": "1",
  "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
};

/** Feature levels as they follow each other in a metadata log. */
const featureLevels = (log: Uint8Array): Array<readonly [name: string, level: number]> => {
  const levels: Array<readonly [string, number]> = [];
  for (let at = 0; at < log.length; at += batchSize(log, at)) {
    for (const record of decodeMetadataBatch(log, at, codecs))
      if (record.type === "FeatureLevelRecord") levels.push([record.message.name, record.message.featureLevel]);
  }
  return levels;
};

/** Starts the broker so many times, each after a kill; `work` has the last one, and the disk is as that one left it. */
const onOldData = (starts: number, work: (client: KafkaClient) => Promise<void>): ReadonlyMap<string, Uint8Array> => {
  const world = new Simulation({ seed: "upgrade", buggify: false });
  const platter = world.makeDisk("disk");
  platter.restore(new Map([...files].map(([path, bytes]) => [`${DATA}/${path}`, bytes])), 0);
  world.run(async () => {
    const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
    for (let start = 1; start <= starts; start++) {
      const machine = world.process(`broker-${start}`, { disk: platter });
      const { endpoint } = await startSimulatedBroker(machine, { codecs, settings: SETTINGS });
      const client = new KafkaClient({ network, clock, random, codecs }, { bootstrap: [endpoint], clientId: "new" });
      if (start === starts) await work(client);
      client.close();
      machine.kill();
    }
  });
  return platter.files();
};

const places = [...Map.groupBy(data.records, ({ topic, partition }) => `${topic}-${partition}`).values()];

describe("data of earlier builds", () => {
  test("is of a build that finalized metadata.version and no other feature, with a transaction left open", () => {
    expect(featureLevels(files.get(METADATA)!).map(([name]) => name)).toEqual(["metadata.version"]);
    expect(data.transactions.map(({ state }) => state).sort()).toEqual(["aborted", "committed", "committed", "open"]);
  });

  test("holds every record where the list has it, and readers of what is committed are shown no other", () => {
    onOldData(1, async (client) => {
      for (const old of places) {
        const { topic, partition } = old[0]!;
        const told = (all: typeof old) =>
          all.map(({ offset, key, value }) => ({ offset, key, value })).sort((a, b) => a.offset - b.offset);
        const read = async (isolation: "read_committed" | "read_uncommitted") => {
          const found = await client.readAll(topic, partition, { isolation });
          return found.map(({ offset, key, value }) => ({
            offset,
            key: key === null ? null : Buffer.from(key).toString("latin1"),
            value: value === null ? null : (valueIn(value) ?? Number.NaN),
          }));
        };
        expect(await read("read_uncommitted")).toEqual(told(old));
        const committed = old.filter(
          ({ transaction }) => transaction === null || data.transactions[transaction]!.state === "committed",
        );
        expect(await read("read_committed")).toEqual(told(committed));
      }
    });
  });

  test("the transaction left open is aborted when its time is up: the offsets in it do not count", () => {
    onOldData(1, async (client) => {
      const stable = async () => (await client.listOffset("copies", 0, -1, "read_committed")).offset;
      const end = async () => (await client.listOffset("copies", 0, -1)).offset;
      const before = await end();
      expect(await stable()).toBeLessThan(before);
      while ((await stable()) < (await end())) await client.sleep(250);
      // A marker behind it, and nothing of it to be seen.
      expect(await end()).toBe(before + 1);
      const seen = await client.readAll("copies", 0, { isolation: "read_committed" });
      const hidden = data.records.filter(
        ({ transaction }) => transaction !== null && data.transactions[transaction]!.state === "open",
      );
      expect(hidden.length).toBeGreaterThan(0);
      const values = seen.map(({ value }) => valueIn(value));
      for (const { value } of hidden) expect(values).not.toContain(value!);
      for (const [group, own] of Map.groupBy(data.offsets, (one) => one.group)) {
        const committed = await client.admin.groupOffsets(group, own);
        expect(committed.map(({ topic, partition, offset }) => ({ group, topic, partition, offset }))).toEqual(own);
      }
    });
  });

  test("producer ids go on behind those that were handed out", () => {
    onOldData(1, async (client) => {
      const most = Math.max(...data.producers.map(({ producerId }) => producerId));
      const producer = client.producer();
      await producer.init();
      expect(producer.producerId).toBeGreaterThan(most);
      // The id of a transactional client stays, its epoch does not.
      const known = data.producers.findLast(({ transactionalId }) => transactionalId === "copier-0")!;
      const transactional = client.producer({ transactionalId: "copier-0" });
      await transactional.init();
      expect(transactional.producerId).toBe(known.producerId);
      expect(transactional.producerEpoch).toBeGreaterThan(known.producerEpoch);
    });
  });

  test("the features that it lacks are finalized by the first start, once", () => {
    const after = onOldData(3, async (client) => {
      const { features } = await client.connection("any");
      expect(features.get("group.version")).toBe(1);
      expect(features.get("transaction.version")).toBe(2);
    });
    expect(featureLevels(after.get(`${DATA}/${METADATA}`)!).slice(1)).toEqual([
      ["group.version", 1],
      ["transaction.version", 2],
    ]);
  });
});
