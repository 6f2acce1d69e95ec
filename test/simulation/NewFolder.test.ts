/**
 * Whose a partition's folder is must be durable before anything in it counts: records of a topic are not lost with the
 * name of their owner, and those of a deleted topic never show in a new one of the same name.
 */
import { expect, test } from "bun:test";
import type { DiskFault, DiskOperation } from "../../actors/simulation/DiskFault.ts";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import { KafkaClient, LATEST } from "../../actors/testing/KafkaClient.ts";
import { codecs } from "../support/OneBroker.ts";

const IDENTITY = `${DATA}/t-0/partition.metadata`;

interface World {
  readonly disk: SimulatedDisk;
  readonly broker: () => SimulatedProcess;
  readonly start: () => Promise<KafkaClient>;
}

/** `start` begins another broker on the same disk, with a client of its own. */
const play = (
  script: (world: World) => Promise<void>,
  beforeOperation?: (operation: DiskOperation) => DiskFault | undefined,
): void => {
  const simulation = new Simulation({ seed: 1, maxTimeMs: 600_000, buggify: false });
  simulation.run(async () => {
    const disk = simulation.makeDisk("disk");
    simulation.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    disk.beforeOperation = beforeOperation;
    let broker: SimulatedProcess | undefined;
    let starts = 0;
    const start = async (): Promise<KafkaClient> => {
      broker = simulation.process(`broker ${++starts}`, { disk });
      await startSimulatedBroker(broker, { codecs });
      const { network, clock, random } = simulation.process(`client ${starts}`, { host: `10.0.0.${starts}` });
      return new KafkaClient({ network, clock, random, codecs }, { bootstrap: [{ host: "127.0.0.1", port: 9092 }] });
    };
    await script({ disk, broker: () => broker!, start });
  });
};

const valuesOf = async (client: KafkaClient): Promise<string[]> =>
  (await client.readAll("t", 0)).map(({ value }) => Buffer.from(value!).toString());

const send = async (client: KafkaClient, value: string): Promise<string> =>
  (await client.producer({ idempotent: false }).send("t", 0, [{ value: Buffer.from(value) }])).type;

/** A folder that is there, written by a process that was killed before it flushed anything. */
const neverFlushed = async ({ start, broker, disk }: World): Promise<KafkaClient> => {
  const first = await start();
  await first.createTopic("t");
  expect((await first.listOffset("t", 0, LATEST)).offset).toBe(0);
  expect([...disk.files().keys()]).toContain(IDENTITY);
  broker().kill();
  return start();
};

test("what a killed process left unflushed of a new folder is durable before its records count", () => {
  play(async (world) => {
    const second = await neverFlushed(world);
    expect(await send(second, "a")).toBe("ok");
    world.broker().powerCut("lost");
    expect(world.disk.files().get(IDENTITY)?.length).toBeGreaterThan(0);
    expect(await valuesOf(await world.start())).toEqual(["a"]);
  });
});

test("the records of a deleted topic are not those of a new one whose name it had, whatever a power cut takes back", () => {
  play(async (world) => {
    const second = await neverFlushed(world);
    expect(await send(second, "old")).toBe("ok");
    world.broker().powerCut("lost");
    const third = await world.start();
    await third.deleteTopic("t");
    await third.createTopic("t");
    // The folder has its name back.
    world.broker().powerCut("lost");
    expect(await valuesOf(await world.start())).toEqual([]);
  });
});

test("a folder with records that does not say whose it is is nobody's, as for Kafka: kept under another name", () => {
  play(async (world) => {
    const first = await world.start();
    await first.createTopic("t");
    expect(await send(first, "a")).toBe("ok");
    world.broker().powerCut("lost");
    const { disk } = new Simulation({ seed: 2 }).process("editor", { disk: world.disk });
    disk.remove(IDENTITY);
    expect(await valuesOf(await world.start())).toEqual([]);
    const kept = [...world.disk.files().keys()].filter((path) => path.startsWith(`${DATA}/t-0-stray/`));
    expect(kept).toContain(`${DATA}/t-0-stray/00000000000000000000.log`);
  });
});

test("a flush that failed is not trusted for the name of the owner either: it is written again", () => {
  let failures = 0;
  play(
    async (world) => {
      const first = await world.start();
      await first.createTopic("t");
      while ((await send(first, "a")) !== "ok") await first.sleep(50);
      expect(failures).toBe(1);
      world.broker().powerCut("lost");
      expect(await valuesOf(await world.start())).toEqual(["a"]);
    },
    ({ kind, path }) => (kind === "flush" && path === IDENTITY && failures++ === 0 ? { error: "EIO" } : undefined),
  );
});

test.each([0, 1])(
  "a log that is opened again before its folder's first round has ended counts on no name that may be lost (stream-groups 7001005; %d flushes fail again)",
  (failures) => {
    let slow = 0;
    let writes = 0;
    let failing = failures;
    play(
      async (world) => {
        const first = await world.start();
        await first.createTopic("t");
        slow = 1;
        const sent = send(first, "a");
        await first.sleep(1000);
        expect([slow, writes]).toEqual([0, 1]);
        // Its write fails, so that the log is opened again.
        await send(first, "b");
        // Where a flush has failed too, all that was not known to be durable is cut off.
        if ((await sent) !== "ok") while ((await send(first, "a")) !== "ok") await first.sleep(50);
        world.broker().powerCut("lost");
        expect([writes > 1, failing]).toEqual([true, 0]);
        expect((await valuesOf(await world.start()))[0]).toBe("a");
      },
      ({ kind, path }) => {
        if (kind === "flushDirectory" && path === DATA && slow > 0) {
          slow -= 1;
          return { delayMs: 20_000 };
        }
        if (kind === "write" && path.startsWith(`${DATA}/t-0/`) && path.endsWith(".log")) {
          writes += 1;
          return writes === 2 ? { error: "EIO" } : undefined;
        }
        if (kind === "flush" && path === IDENTITY && writes > 1 && failing > 0) {
          failing -= 1;
          return { error: "EIO" };
        }
        return undefined;
      },
    );
  },
);
