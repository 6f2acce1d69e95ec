/** A simulated broker with a gateway, and clients of the stream protocol for it: virtual time, one seed. */
import { Gateway, type GatewayOptions } from "../../actors/Gateway.ts";
import { type FrameLink, type FrameNature, linkFrames } from "../../actors/simulation/SimulatedFrames.ts";
import type { SimulatedProcess } from "../../actors/simulation/Simulation.ts";
import { type OneBrokerOptions, type World, withOneBroker } from "../support/OneBroker.ts";
import { FrameClient } from "./FrameClient.ts";

export interface Connected {
  readonly client: FrameClient;
  readonly link: FrameLink;
}

export interface GatewayWorld extends World {
  readonly gateway: Gateway;
  /** A new connection, hello said. */
  connect(nature?: FrameNature): Promise<Connected>;
  /** A new connection, nothing said. */
  link(nature?: FrameNature): Connected;
  sleep(ms: number): Promise<void>;
}

export type GatewayWorldOptions = OneBrokerOptions & { readonly gateway?: Partial<GatewayOptions> };

const FRAME_BYTES = 2 * 1024 * 1024;

const gatewayOn = (world: World, options: GatewayWorldOptions): GatewayWorld => {
  const gateway = new Gateway(world.broker.doorEnvironment, { frameBytes: FRAME_BYTES, ...options.gateway });
  world.broker.attach(gateway);
  let clients = 0;
  const link = (nature?: FrameNature): Connected => {
    const process: SimulatedProcess = world.world.process(`page ${++clients}`, { host: `10.1.0.${clients}` });
    const peer = { local: { host: "127.0.0.1", port: 8080 }, remote: { host: process.host, port: 40_000 + clients } };
    let client: FrameClient | undefined;
    const made = linkFrames(
      process,
      world.process,
      (duplex) => gateway.accept(duplex, peer),
      (duplex) => (client = new FrameClient(duplex)),
      nature,
    );
    return { client: client!, link: made };
  };
  return {
    ...world,
    gateway,
    link,
    async connect(nature) {
      const connected = link(nature);
      await connected.client.hello();
      return connected;
    },
    sleep: (ms) => new Promise((resolve) => void world.world.process("sleeper").clock.after(ms, resolve)),
  };
};

/** Runs `program` with a gateway on a broker with an empty data directory and a topic `t`. */
export const withGateway = (
  program: (world: GatewayWorld) => Promise<void>,
  options: GatewayWorldOptions & { readonly partitions?: number } = {},
): void =>
  withOneBroker(async (world) => {
    await world.client.createTopic("t", { partitions: options.partitions ?? 1 });
    await program(gatewayOn(world, options));
  }, options);
