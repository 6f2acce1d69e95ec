/**
 * Retention and compaction of a whole broker with a crash before every disk operation: whatever is left, the next broker
 * shows a log from a segment's beginning to its end without a hole, every record where it was, and each key's newest.
 */
import { describe, expect, test } from "bun:test";
import type { DiskFault, DiskOperation } from "../../actors/simulation/DiskFault.ts";
import { POWER_CUTS, type PowerCut } from "../../actors/simulation/PowerCut.ts";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import { EARLIEST, type KafkaClient, LATEST } from "../../actors/testing/KafkaClient.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { codecs, makeClient } from "./support/PowerCutWorld.ts";

const MINUTE = 60_000;
const RECORDS = 24;
const KEYS = 5;

interface Seen {
  readonly start: number;
  readonly end: number;
  readonly records: ReadonlyArray<{ readonly offset: number; readonly key: string; readonly value: string }>;
}

const look = async (client: KafkaClient): Promise<Seen> => ({
  start: (await client.listOffset("t", 0, EARLIEST)).offset,
  end: (await client.listOffset("t", 0, LATEST)).offset,
  records: (await client.readAll("t", 0)).map(({ offset, key, value }) => ({
    offset,
    key: Buffer.from(key ?? []).toString(),
    value: Buffer.from(value ?? [])
      .toString()
      .trim(),
  })),
});

const start = async (world: Simulation, process: SimulatedProcess, settings: Record<string, string> = {}) => {
  await startSimulatedBroker(process, { codecs, settings });
  return makeClient(world.process(`client of ${process.name}`, { host: "10.0.0.1" }));
};

/** Fills a topic, lets the clean-up run, and takes what every crash during it would leave. */
const crashes = (
  configs: Record<string, string>,
  cutOf: (index: number) => PowerCut,
  fault: (operation: DiskOperation) => DiskFault | undefined = () => undefined,
) => {
  const world = new Simulation({ seed: 5, maxTimeMs: 60 * MINUTE });
  const images: Array<{ readonly at: string; readonly disk: SimulatedDisk }> = [];
  const ends = world.run(async () => {
    const disk = world.makeDisk("disk");
    world.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    const process = world.process("broker", { disk });
    const client = await start(world, process, { "log.segment.delete.delay.ms": "1000" });
    await client.createTopic("t", { configs: { "internal.segment.bytes": "1300", ...configs } });
    const producer = client.producer();
    for (let index = 0; index < RECORDS; index += 1) {
      const value = Buffer.from(`v${index}`.padEnd(300));
      const record = { key: Buffer.from(`k${index % KEYS}`), value, timestamp: process.clock.wall() };
      const outcome = await producer.send("t", 0, [record]);
      if (outcome.type !== "ok") throw new Error(outcome.error);
    }
    const before = await look(client);
    disk.beforeOperation = (operation) => {
      const { index, kind, path } = operation;
      if (kind === "read") return undefined;
      const cut = cutOf(index);
      images.push({ at: `${cut} before ${kind} ${path}`, disk: disk.image(cut, world.random.fork(`image ${index}`)) });
      return fault(operation);
    };
    await client.sleep(6 * MINUTE);
    const after = await look(client);
    return { before, after, producerId: producer.producerId };
  });
  return { ...ends, images };
};

/** `retried`: the offset a retry of the last batch is answered with. */
const afterCrash = (disk: SimulatedDisk, seed: number, producerId: number) =>
  new Simulation({ seed, maxTimeMs: 10 * MINUTE }).run(async (world) => {
    const client = await start(world, world.process("broker", { disk }));
    const seen = await look(client);
    const retried = await retry(client, producerId);
    const outcome = await client.producer().send("t", 0, [{ key: Buffer.from("new"), value: Buffer.from("new") }]);
    return { ...seen, retried, next: outcome.type === "ok" ? outcome.baseOffset : -1 };
  });

/** Sends the last batch once more, as its producer would after a lost answer. */
const retry = async (client: KafkaClient, producerId: number): Promise<number> => {
  const { id } = await client.topic("t");
  const records = buildBatch([{ key: Buffer.from("again"), value: null }], {
    producerId,
    producerEpoch: 0,
    baseSequence: RECORDS - 1,
  });
  const answer = await client.request("any", ApiKey.Produce, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 1000,
    topicData: [{ name: "t", topicId: id, partitionData: [{ index: 0, records }] }],
  });
  const reply = answer.responses[0]?.partitionResponses[0];
  return reply?.errorCode === 0 ? reply.baseOffset : -1 - (reply?.errorCode ?? 0);
};

/** Compacts twice, with more records before the second time; the disk refuses one operation of the first. */
const compactedTwice = (refused: number) => {
  const world = new Simulation({ seed: 6, maxTimeMs: 60 * MINUTE });
  const images: SimulatedDisk[] = [];
  const refusal: string[] = [];
  const ends = world.run(async () => {
    const disk = world.makeDisk("disk");
    world.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    const process = world.process("broker", { disk });
    const client = await start(world, process, { "log.segment.delete.delay.ms": "1000" });
    const configs = {
      "internal.segment.bytes": "1300",
      "cleanup.policy": "compact",
      "min.cleanable.dirty.ratio": "0.01",
    };
    await client.createTopic("t", { configs });
    const producer = client.producer();
    // Of the first segments nothing stays, so that they are put together; the others keep every second record.
    const append = async (records: number) => {
      for (let index = 0; index < records; index += 1) {
        const record = {
          key: Buffer.from(`k${index < 12 || index % 2 === 0 ? 0 : index}`),
          value: Buffer.from(`v${index}`.padEnd(300)),
        };
        const outcome = await producer.send("t", 0, [record]);
        if (outcome.type !== "ok") throw new Error(outcome.error);
      }
    };
    await append(RECORDS);
    let index = 0;
    disk.beforeOperation = ({ kind, path }) => {
      // The others are refused one step later or earlier in the same way.
      if (!/flush|rename/.test(kind) || index++ !== refused) return undefined;
      refusal.push(`${kind} ${path}`);
      return { error: "EIO" };
    };
    await client.sleep(MINUTE);
    disk.beforeOperation = undefined;
    await append(16);
    const before = await look(client);
    const random = world.random.fork("images");
    disk.beforeOperation = ({ kind }) => {
      if (kind !== "read" && random.below(40) === 0) images.push(disk.image("kept", random));
      return undefined;
    };
    await client.sleep(6 * MINUTE);
    images.push(disk.image("kept", random));
    const left = process.disk.list(`${DATA}/t-0`).filter((name) => /cleaned|swap/.test(name));
    return { before, after: await look(client), left };
  });
  return { ...ends, images, refusal: refusal[0] };
};

const newest = ({ records }: Seen): Map<string, string> =>
  new Map(records.map(({ offset, key, value }) => [key, `${offset} ${value}`]));

const kinds: ReadonlyArray<[string, (index: number) => PowerCut]> = [
  ["kill -9", () => "kept"],
  ["power cut", (index) => POWER_CUTS[index % POWER_CUTS.length]!],
];

describe("a crash before every operation", () => {
  for (const [name, cutOf] of kinds) {
    test(`of retention, ${name} (Ret3): a suffix of the log without a hole, its end and the next offset as they were`, () => {
      const { before, after, producerId, images } = crashes({ "retention.bytes": "3000" }, cutOf);
      expect(after.start).toBeGreaterThan(0);
      expect(images.length).toBeGreaterThan(10);
      const values = new Map(before.records.map(({ offset, value }) => [offset, value]));
      for (const [index, { at, disk }] of images.entries()) {
        const seen = afterCrash(disk, index, producerId);
        expect([at, seen.end, seen.next, seen.retried]).toEqual([at, RECORDS, RECORDS, RECORDS - 1]);
        expect([at, seen.start >= 0 && seen.start <= after.start]).toEqual([at, true]);
        const offsets = Array.from({ length: RECORDS - seen.start }, (_, each) => seen.start + each);
        expect([at, seen.records.map(({ offset }) => offset)]).toEqual([at, offsets]);
        for (const { offset, value } of seen.records) expect([at, value]).toEqual([at, values.get(offset)!]);
      }
    });

    test(`of an expiry of everything, ${name}: the end and the next offset stay`, () => {
      const { after, producerId, images } = crashes({ "retention.ms": "1000" }, cutOf);
      expect([after.start, after.end]).toEqual([RECORDS, RECORDS]);
      for (const [index, { at, disk }] of images.entries()) {
        const seen = afterCrash(disk, index, producerId);
        expect([at, seen.end, seen.next, seen.retried]).toEqual([at, RECORDS, RECORDS, RECORDS - 1]);
        expect([at, seen.records.length]).toEqual([at, RECORDS - seen.start]);
      }
    });

    test(`of an expiry whose snapshot cannot be written, ${name}: the batches stay, a retry is still known`, () => {
      const { before, after, producerId, images } = crashes({ "retention.ms": "1000" }, cutOf, ({ kind, path }) =>
        kind === "write" && path.endsWith(".snapshot") ? { error: "EIO" } : undefined,
      );
      expect(after.records).toEqual(before.records);
      for (const [index, { at, disk }] of images.entries()) {
        const seen = afterCrash(disk, index, producerId);
        expect([at, seen.end, seen.next, seen.retried]).toEqual([at, RECORDS, RECORDS, RECORDS - 1]);
      }
    });

    test(`of compaction, ${name}: the newest of each key where it was, nothing that was never there`, () => {
      const { before, after, producerId, images } = crashes(
        { "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01" },
        cutOf,
      );
      expect(after.records.length).toBeLessThan(before.records.length);
      expect(images.length).toBeGreaterThan(10);
      const values = new Map(before.records.map(({ offset, value }) => [offset, value]));
      for (const [index, { at, disk }] of images.entries()) {
        const seen = afterCrash(disk, index, producerId);
        expect([at, seen.start, seen.end, seen.next]).toEqual([at, 0, RECORDS, RECORDS]);
        expect([at, seen.retried]).toEqual([at, RECORDS - 1]);
        expect([at, newest(seen)]).toEqual([at, newest(before)]);
        for (const { offset, value } of seen.records) expect([at, value]).toEqual([at, values.get(offset)!]);
      }
    });
  }
});

test("a disk that refuses any one operation of a compaction: the next one loses nothing, whenever the broker dies", () => {
  let tried = 0;
  for (let refused = 0; ; refused += 1) {
    const { before, after, images, refusal, left } = compactedTwice(refused);
    if (refusal === undefined) break;
    tried += 1;
    expect([refusal, left]).toEqual([refusal, []]);
    expect([refusal, newest(after)]).toEqual([refusal, newest(before)]);
    expect([refusal, after.records.length < before.records.length]).toEqual([refusal, true]);
    for (const [index, disk] of images.entries()) {
      const seen = new Simulation({ seed: index, maxTimeMs: 10 * MINUTE }).run(async (world) =>
        look(await start(world, world.process("broker", { disk }))),
      );
      expect([refusal, seen.end, newest(seen)]).toEqual([refusal, before.end, newest(before)]);
    }
  }
  expect(tried).toBeGreaterThan(20);
}, 60_000);
