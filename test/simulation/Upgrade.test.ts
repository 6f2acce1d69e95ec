/** Today's broker on the recorded data directory of earlier builds: what its list says is what clients find. */
import { describe, expect, test } from "bun:test";
import { POWER_CUTS } from "../../actors/simulation/PowerCut.ts";
import type { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { EARLIEST, KafkaClient, LATEST } from "../../actors/testing/KafkaClient.ts";
import type { OldRecord } from "../../actors/testing/OldData.ts";
import { valueIn } from "../../actors/testing/Stage.ts";
import { decodeMetadataBatch } from "../../src/metadata/MetadataBatch.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import type { TopicPartition } from "../../src/prelude/Types.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { batchSize } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { directoryOf } from "./support/OldDirectory.ts";

const codecs = makeBunCodecs();
const { files, data } = directoryOf("upgrade");
const BROKER = { host: "127.0.0.1", port: 9092 };
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
const onOldData = (
  starts: number,
  work: (client: KafkaClient) => Promise<void>,
  watch: (platter: SimulatedDisk, random: SeededRandom) => void = () => {},
): ReadonlyMap<string, Uint8Array> => {
  const world = new Simulation({ seed: "upgrade", buggify: false });
  const platter = world.makeDisk("disk");
  platter.restore(new Map([...files].map(([path, bytes]) => [`${DATA}/${path}`, bytes])), 0);
  watch(platter, world.random);
  world.run(async () => {
    const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
    for (let start = 1; start <= starts; start++) {
      const machine = world.process(`broker-${start}`, { disk: platter });
      await startSimulatedBroker(machine, { codecs, settings: SETTINGS });
      const client = new KafkaClient({ network, clock, random, codecs }, { bootstrap: [BROKER], clientId: "new" });
      if (start === starts) await work(client);
      client.close();
      machine.kill();
    }
  });
  return platter.files();
};

const places = [...Map.groupBy(data.records, ({ topic, partition }) => `${topic}-${partition}`).values()];

interface Told {
  readonly offset: number;
  readonly key: string | null;
  readonly value: number | null;
}

/** What the list has of a partition, and what a reader finds there. */
const told = (records: ReadonlyArray<OldRecord>): Told[] =>
  records.map(({ offset, key, value }) => ({ offset, key, value })).sort((a, b) => a.offset - b.offset);

const found = async (
  client: KafkaClient,
  { topic, partition }: TopicPartition,
  isolation: "read_committed" | "read_uncommitted",
): Promise<Told[]> =>
  (await client.readAll(topic, partition, { isolation })).map(({ offset, key, value }) => ({
    offset,
    key: key === null ? null : Buffer.from(key).toString("latin1"),
    value: value === null ? null : (valueIn(value) ?? Number.NaN),
  }));

const isCommitted = ({ transaction }: OldRecord): boolean =>
  transaction === null || data.transactions[transaction]!.state === "committed";

/** When nothing is open any more: everything that was acknowledged is there, and what was not does not count. */
const expectAll = async (client: KafkaClient): Promise<void> => {
  for (const old of places) {
    const { topic, partition } = old[0]!;
    for (;;) {
      const stable = await client.listOffset(topic, partition, LATEST, "read_committed");
      if (stable.offset === (await client.listOffset(topic, partition, LATEST)).offset) break;
      await client.sleep(250);
    }
    expect(await found(client, old[0]!, "read_committed")).toEqual(told(old.filter(isCommitted)));
  }
  for (const [group, own] of Map.groupBy(data.offsets, (one) => one.group)) {
    const committed = await client.admin.groupOffsets(group, own);
    expect(committed.map(({ topic, partition, offset }) => ({ group, topic, partition, offset }))).toEqual(own);
  }
};

describe("data of earlier builds", () => {
  test("is of a build that finalized metadata.version and no other feature, with a transaction left open", () => {
    expect(featureLevels(files.get(METADATA)!).map(([name]) => name)).toEqual(["metadata.version"]);
    expect(data.transactions.map(({ state }) => state).sort()).toEqual(["aborted", "committed", "committed", "open"]);
  });

  test("holds every record where the list has it, and readers of what is committed are shown no other", () => {
    onOldData(1, async (client) => {
      for (const old of places) {
        expect(await found(client, old[0]!, "read_uncommitted")).toEqual(told(old));
        expect(await found(client, old[0]!, "read_committed")).toEqual(told(old.filter(isCommitted)));
      }
    });
  });

  test("the transaction left open is aborted when its time is up: the offsets in it do not count", () => {
    onOldData(1, async (client) => {
      const stable = async () => (await client.listOffset("copies", 0, LATEST, "read_committed")).offset;
      const end = async () => (await client.listOffset("copies", 0, LATEST)).offset;
      const before = await end();
      expect(await stable()).toBeLessThan(before);
      while ((await stable()) < (await end())) await client.sleep(250);
      // A marker behind it, and nothing of it to be seen.
      expect(await end()).toBe(before + 1);
      await expectAll(client);
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

  test("what the producers of both builds send once more is known, and what they send next follows", () => {
    onOldData(1, async (client) => {
      const { id } = await client.topic("t");
      const send = async (producerId: number, baseSequence: number, count: number): Promise<number> => {
        const values = Array.from({ length: count }, () => ({ value: Buffer.from("again") }));
        const records = buildBatch(values, { producerId, producerEpoch: 0, baseSequence });
        const answer = await client.request("any", ApiKey.Produce, {
          transactionalId: null,
          acks: -1,
          timeoutMs: 1000,
          topicData: [{ name: "t", topicId: id, partitionData: [{ index: 0, records }] }],
        });
        const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!;
        expect(errorCode).toBe(Errors.NONE);
        return baseOffset;
      };
      await client.retried("t", async () => expect((await client.listOffset("t", 0, LATEST)).offset).toBe(12));
      const [first, second] = data.producers.map(({ producerId }) => producerId) as [number, number];
      // The first build stopped, the second was killed.
      expect(await send(first, 2, 1)).toBe(8);
      expect(await send(second, 0, 3)).toBe(9);
      expect(await send(first, 3, 1)).toBe(12);
      expect(await send(second, 3, 1)).toBe(13);
    });
  });

  test("a producer whose records were deleted is known by the snapshots alone, and answered as it was", () => {
    const before = data.last.filter(({ topic }) => topic === "trimmed");
    expect(before).toHaveLength(2);
    onOldData(1, async (client) => {
      for (const { producerId, producerEpoch, topic, partition, sequence, offset, values } of before) {
        const { offset: start } = await client.listOffset(topic, partition, EARLIEST);
        expect(start).toBeGreaterThan(offset + values.length - 1);
        expect(files.get(`${topic}-${partition}/${String(start).padStart(20, "0")}.log`)).toBeDefined();
        const producer = client.producer();
        producer.resume(producerId, producerEpoch, [{ topic, partition, sequence }]);
        const end = (await client.listOffset(topic, partition, LATEST)).offset;
        const records = values.map((value) => ({ value: Buffer.from(String(value)) }));
        expect(await producer.send(topic, partition, records)).toMatchObject({ type: "ok", baseOffset: offset });
        expect(await producer.send(topic, partition, records)).toMatchObject({ type: "ok", baseOffset: end });
      }
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

  test("a power cut before any operation of the first start costs nothing", () => {
    const images: Array<{ readonly at: string; readonly disk: SimulatedDisk }> = [];
    onOldData(
      1,
      (client) => client.sleep(3000),
      (platter, random) => {
        platter.beforeOperation = ({ index, kind, path }) => {
          if (kind === "read") return undefined;
          const cut = POWER_CUTS[index % POWER_CUTS.length]!;
          images.push({ at: `${cut} before ${kind} ${path}`, disk: platter.image(cut, random.fork(`image ${index}`)) });
          return undefined;
        };
      },
    );
    // Of the start and of the marker behind the transaction that was left open.
    expect(images.length).toBeGreaterThan(30);
    expect(images.some(({ at }) => at.includes("write /data/copies-0"))).toBe(true);
    const most = Math.max(...data.producers.map(({ producerId }) => producerId));
    for (const [index, { at, disk }] of images.entries()) {
      const world = new Simulation({ seed: `upgrade ${index}: ${at}`, buggify: false });
      world.run(async () => {
        const machine = world.process("broker", { disk });
        await startSimulatedBroker(machine, { codecs, settings: SETTINGS });
        const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
        const client = new KafkaClient({ network, clock, random, codecs }, { bootstrap: [BROKER], clientId: "new" });
        await expectAll(client);
        const producer = client.producer();
        await producer.init();
        expect(producer.producerId).toBeGreaterThan(most);
        client.close();
        machine.kill();
      });
      expect(featureLevels(disk.files().get(`${DATA}/${METADATA}`)!).slice(1)).toEqual([
        ["group.version", 1],
        ["transaction.version", 2],
      ]);
    }
  });
});
