/** A simulated broker with its gateway, and stream clients that reach it over the simulated network. */
import { Gateway } from "../../../actors/Gateway.ts";
import { connectFrames, listenFrames } from "../../../actors/simulation/FramesOverNetwork.ts";
import type { SimulatedProcess } from "../../../actors/simulation/Simulation.ts";
import { type Client, type ConnectOptions, connect } from "../../../src/client/Client.ts";
import type { ClientPlatform } from "../../../src/client/ClientPlatform.ts";
import { codecs, type OneBrokerOptions, type World, withOneBroker } from "../../support/OneBroker.ts";

const GATEWAY = { host: "127.0.0.1", port: 8080 };

/** The client's platform on a process: frames over its sockets, its clock and its random. */
export const platformOn = ({ network, clock, random }: SimulatedProcess): ClientPlatform => ({
  clock,
  random,
  decompressor: async () => codecs.decompress,
  open: (_url, _protocols, handlers) => connectFrames(network, GATEWAY, handlers),
});

export interface ClientWorld extends World {
  /** A client on a machine of its own. */
  connect(options?: ConnectOptions): Promise<Client>;
  sleep(ms: number): Promise<void>;
  restart(): Promise<ClientWorld>;
}

const withDoor = (world: World): ClientWorld => {
  const gateway = new Gateway(world.broker.doorEnvironment, { frameBytes: 2 * 1024 * 1024, heartbeatMs: 5000 });
  world.broker.attach(gateway);
  listenFrames(world.process.network, GATEWAY, (duplex, peer) => gateway.accept(duplex, peer));
  const sleeper = world.world.process("sleeper");
  let clients = 0;
  return {
    ...world,
    connect(options) {
      const machine = world.world.process(`page ${++clients}`, { host: `10.2.0.${clients}` });
      return connect("ws://gateway", { platform: platformOn(machine), ...options });
    },
    sleep: (ms) => new Promise((resolve) => void sleeper.clock.after(ms, resolve)),
    restart: async () => withDoor(await world.restart()),
  };
};

/** Runs `program` with a broker on an empty data directory and a topic `t`. */
export const withClientWorld = (
  program: (world: ClientWorld) => Promise<void>,
  options: OneBrokerOptions & { readonly partitions?: number } = {},
): void =>
  withOneBroker(async (world) => {
    await world.client.createTopic("t", { partitions: options.partitions ?? 2 });
    await program(withDoor(world));
  }, options);
