/** A simulated broker and clients of it, under a few seeds: what tests of the clients play on. */
import { type SimulatedBrokerOptions, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import { type ClientOptions, KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";

export const codecs = makeBunCodecs();
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
export const textOf = (bytes: Uint8Array | null): string => new TextDecoder().decode(bytes ?? new Uint8Array());

export interface ClientScene {
  readonly world: Simulation;
  readonly broker: () => SimulatedProcess;
  /** A client on a machine of its own. */
  readonly client: (options?: Partial<ClientOptions>) => KafkaClient;
  readonly sleep: (ms: number) => Promise<void>;
  /** Kills the broker and starts another on its disk. */
  readonly restart: () => Promise<void>;
}

/** What groups and transactions need, as few partitions as possible. */
const SETTINGS = {
  "offsets.topic.num.partitions": "2",
  "transaction.state.log.num.partitions": "2",
  "group.consumer.heartbeat.interval.ms": "100",
  "group.consumer.min.heartbeat.interval.ms": "50",
  "group.consumer.session.timeout.ms": "1000",
  "group.consumer.min.session.timeout.ms": "500",
  "group.min.session.timeout.ms": "100",
};

export const playClients = (
  body: (scene: ClientScene) => Promise<void>,
  { seeds = 4, ...options }: Partial<SimulatedBrokerOptions> & { readonly seeds?: number } = {},
): void => {
  for (let seed = 0; seed < seeds; seed++) {
    new Simulation({ seed, maxTimeMs: 600_000 }).run(async (world) => {
      const disk = world.makeDisk("disk");
      let generation = 0;
      const start = async (): Promise<SimulatedProcess> => {
        const machine = world.process(`broker-${generation++}`, { disk });
        const settings = { ...SETTINGS, ...options.settings };
        await startSimulatedBroker(machine, { codecs, ...options, settings });
        return machine;
      };
      let broker = await start();
      const director = world.process("director", { host: "10.0.1.1" });
      let clients = 0;
      const open: KafkaClient[] = [];
      await body({
        world,
        broker: () => broker,
        client: (given = {}) => {
          const { network, clock, random } = world.process(`client-${clients}`, { host: `10.0.0.${++clients}` });
          const endpoint = { host: "127.0.0.1", port: 9092 };
          const own = { bootstrap: [endpoint], requestTimeoutMs: 5000, retryBackoffMs: 20, ...given };
          const client = new KafkaClient({ network, clock, random, codecs }, own);
          open.push(client);
          return client;
        },
        sleep: (ms) => new Promise((resolve) => director.clock.after(ms, resolve)),
        restart: async () => {
          broker.kill();
          broker = await start();
        },
      });
      for (const client of open) client.close();
    });
  }
};
