/**
 * One broker on simulated ports with a client beside it, for tests of what happens over hours: virtual time passes at
 * once. A restart is kill -9, or an orderly stop, and the next generation on the same disk.
 */
import type { Broker } from "../../actors/Broker.ts";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import type { SimulatedDisk, SimulatedDiskOptions } from "../../actors/simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import { EARLIEST, KafkaClient, LATEST } from "../../actors/testing/KafkaClient.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import type { Disk } from "../../src/platform/Disk.ts";

export const codecs = makeBunCodecs();
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
/** Of a topic with the name `t`: three records of 500 bytes a segment. */
export const SMALL = { "internal.segment.bytes": "1300" };

export interface World {
  readonly world: Simulation;
  readonly disk: SimulatedDisk;
  readonly process: SimulatedProcess;
  readonly broker: Broker;
  readonly client: KafkaClient;
  /** Warnings and errors of this generation. */
  readonly logged: string[];
  /** Names in the folder of `t-0`. */
  files(): string[];
  /** Ends this broker as kill -9 does, or by an orderly stop, and starts the next one. */
  restart(end?: "kill" | "stop"): Promise<World>;
}

type Settings = Readonly<Record<string, string>>;

const broker = async (world: Simulation, disk: SimulatedDisk, settings: Settings, generation = 0): Promise<World> => {
  const process = world.process(`broker ${generation}`, { disk });
  const logged: string[] = [];
  const log = (level: string, message: string): void => void (level === "info" || logged.push(message));
  const { broker: started } = await startSimulatedBroker(process, { codecs, settings, log });
  const { network, clock, random } = world.process(`client ${generation}`, { host: "10.0.0.1" });
  const client = new KafkaClient(
    { network, clock, random, codecs },
    { bootstrap: [{ host: "127.0.0.1", port: 9092 }], callTimeoutMs: 30_000 },
  );
  return {
    world,
    disk,
    process,
    broker: started,
    client,
    logged,
    files: () => process.disk.list(`${DATA}/t-0`),
    restart: async (end = "kill") => {
      client.close();
      if (end === "stop") await process.runPromise(started.stop);
      process.kill();
      return broker(world, disk, settings, generation + 1);
    },
  };
};

export interface OneBrokerOptions {
  readonly seed?: number;
  readonly settings?: Settings;
  readonly disk?: Omit<SimulatedDiskOptions, "random">;
  readonly maxTimeMs?: number;
}

/** Runs `program` with a broker on an empty data directory. */
export const withOneBroker = (program: (world: World) => Promise<void>, options: OneBrokerOptions = {}): void => {
  const world = new Simulation({ seed: options.seed ?? 7, maxTimeMs: options.maxTimeMs ?? 48 * HOUR });
  world.run(async () => {
    const disk = world.makeDisk("disk", options.disk);
    world.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    await program(await broker(world, disk, options.settings ?? {}));
  });
};

/** Runs `program` with a broker on a disk that others left, with what `before` has done to it. */
export const onDisk = (
  disk: SimulatedDisk,
  before: (disk: Disk) => void,
  program: (world: World) => Promise<void>,
  settings: Settings = {},
): void => {
  const world = new Simulation({ seed: 7, maxTimeMs: 48 * HOUR });
  world.run(async () => {
    before(world.process("operator", { disk }).disk);
    await program(await broker(world, disk, settings));
  });
};

/** Appends so many records of `size` bytes to `t`, one by one; answers the log's end, or throws the error's name. */
export const append = async ({ client, process }: World, count: number, size = 500): Promise<number> => {
  const producer = client.producer();
  let end = -1;
  for (let index = 0; index < count; index += 1) {
    const value = new Uint8Array(size).fill(65 + (index % 26));
    const outcome = await producer.send("t", 0, [{ key: null, value, timestamp: process.clock.wall() }]);
    if (outcome.type !== "ok") throw new Error(outcome.error);
    end = outcome.baseOffset + 1;
  }
  return end;
};

/** What ListOffsets answers for `t`. */
export const offsets = async ({ client }: World): Promise<[earliest: number, latest: number]> => [
  (await client.listOffset("t", 0, EARLIEST)).offset,
  (await client.listOffset("t", 0, LATEST)).offset,
];

/** `expect(…).rejects` waits by running the real event loop, which a simulation does not have. */
export const refusal = (doing: Promise<unknown>): Promise<string> =>
  doing.then(
    () => "none",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

export const segmentsOf = (names: ReadonlyArray<string>): number[] =>
  names.filter((name) => name.endsWith(".log")).map((name) => Number(name.slice(0, 20)));
