/**
 * A crash before every disk operation while the metadata log is cut behind its snapshots: every change that was
 * acknowledged is there afterwards, as it was, and nothing that was deleted comes back.
 */
import { expect, test } from "bun:test";
import type { PowerCut } from "../../actors/simulation/PowerCut.ts";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { codecs } from "../support/OneBroker.ts";

const SETTINGS = {
  "metadata.log.max.record.bytes.between.snapshots": "1",
  "internal.metadata.delete.delay.millis": "5",
};
const LONGEST_RUN_MS = 600_000;

const clientOf = ({ network, clock, random }: SimulatedProcess): KafkaClient =>
  new KafkaClient(
    { network, clock, random, codecs },
    { bootstrap: [{ host: "127.0.0.1", port: 9092 }], callTimeoutMs: 30_000 },
  );

/** Acknowledged so far: topics with their ids, and names that were deleted again. */
interface Known {
  readonly topics: ReadonlyMap<string, string>;
  readonly gone: ReadonlySet<string>;
}

interface Image {
  readonly at: string;
  readonly disk: SimulatedDisk;
  readonly known: Known;
}

/** Topics come and go, a snapshot each time; what every crash in between would leave. */
const imagesOf = (seed: number, cutAt: (index: number) => PowerCut | undefined): Image[] => {
  const images: Image[] = [];
  const world = new Simulation({ seed, maxTimeMs: LONGEST_RUN_MS });
  world.run(async () => {
    const disk = world.makeDisk("disk");
    world.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    const topics = new Map<string, string>();
    const gone = new Set<string>();
    disk.beforeOperation = ({ index, kind, path }) => {
      const cut = kind === "read" ? undefined : cutAt(index);
      if (cut === undefined) return undefined;
      const image = disk.image(cut, world.random.fork(`image ${index}`));
      const known = { topics: new Map(topics), gone: new Set(gone) };
      images.push({ at: `${cut} before ${index} ${kind} ${path}`, disk: image, known });
      return undefined;
    };
    const broker = world.process("broker", { disk });
    await startSimulatedBroker(broker, { codecs, settings: SETTINGS });
    const client = clientOf(world.process("client", { host: "10.0.0.1" }));
    for (let index = 0; index < 5; index++) {
      topics.set(`t${index}`, (await client.createTopic(`t${index}`)).id);
      await client.sleep(20);
      if (index % 3 !== 2) continue;
      // Not known to be there from the moment it is asked to go.
      topics.delete(`t${index}`);
      await client.deleteTopic(`t${index}`);
      gone.add(`t${index}`);
      await client.sleep(20);
    }
    const begins = broker.disk.list(`${DATA}/__cluster_metadata-0`).find((name) => name.endsWith(".log"))!;
    expect(Number.parseInt(begins, 10)).toBeGreaterThan(10);
  });
  return images;
};

const violations = ({ at, disk, known }: Image, seed: number): string[] => {
  try {
    return new Simulation({ seed, maxTimeMs: LONGEST_RUN_MS }).run(async (world) => {
      await startSimulatedBroker(world.process("broker", { disk }), { codecs, settings: SETTINGS });
      const client = clientOf(world.process("client", { host: "10.0.0.1" }));
      const found: string[] = [];
      for (const [name, id] of known.topics) {
        const there = await client.topic(name).catch(() => undefined);
        if (there?.id !== id) found.push(`${at}: ${name} is ${there?.id ?? "not there"}, not ${id}`);
      }
      for (const name of known.gone) {
        const back = await client.topic(name).catch(() => undefined);
        if (back !== undefined) found.push(`${at}: ${name} came back`);
      }
      // And it goes on: another snapshot, another cut.
      await client.createTopic("after");
      return found;
    });
  } catch (error) {
    return [`${at}: ${error instanceof Error ? error.message : String(error)}`];
  }
};

const CUTS: ReadonlyArray<PowerCut> = ["lost", "torn", "reordered", "mixed"];
const TIME = 120_000;

test(
  "kill -9 before every other operation of a metadata log that is cut behind its snapshots",
  () => {
    const images = imagesOf(3, (index) => (index % 2 === 0 ? "kept" : undefined));
    expect(images.length).toBeGreaterThan(50);
    expect(images.flatMap((image, index) => violations(image, index)).slice(0, 5)).toEqual([]);
  },
  TIME,
);

test(
  "a power cut before every operation of it",
  () => {
    const images = imagesOf(4, (index) => CUTS[index % CUTS.length]);
    expect(images.length).toBeGreaterThan(100);
    expect(images.flatMap((image, index) => violations(image, index)).slice(0, 5)).toEqual([]);
  },
  TIME,
);
