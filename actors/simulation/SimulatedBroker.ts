/**
 * The broker of production on a simulated process: same code, simulated ports. What must stay true: nothing here changes
 * what the broker does; its settings are those a user could give.
 */
import { loadBrokerConfig } from "../../src/config/LoadBrokerConfig.ts";
import type { Endpoint } from "../../src/platform/Network.ts";
import type { Codecs } from "../../src/record/Compression.ts";
import { type Broker, startBroker } from "../Broker.ts";
import { Gateway } from "../Gateway.ts";
import { listenFrames } from "./FramesOverNetwork.ts";
import type { SimulatedProcess } from "./Simulation.ts";

/** Where a simulated broker keeps its data. */
export const DATA = "/data";
/** Where its gateway listens, if it has one. */
export const GATEWAY_PORT = 8080;
const GATEWAY_FRAME_BYTES = 2 * 1024 * 1024;

export interface SimulatedBrokerOptions {
  readonly codecs: Codecs;
  /** Settings by Kafka's names, over what a simulation needs (listener on port 9092, data in `DATA`). */
  readonly settings?: Readonly<Record<string, string>>;
  /** What the broker logs; warnings and errors are in the trace too. */
  readonly log?: (level: "info" | "warn" | "error", message: string) => void;
  readonly fatal?: (why: string) => void;
  /** Opens the door for clients of the stream protocol too, on port 8080 of the simulated network. */
  readonly gateway?: boolean;
}

export interface SimulatedBroker {
  readonly broker: Broker;
  readonly process: SimulatedProcess;
  readonly endpoint: Endpoint;
}

/** Starts a broker. Rejects as the real one would end: with one clear line when the data cannot be had. */
export const startSimulatedBroker = async (
  process: SimulatedProcess,
  options: SimulatedBrokerOptions,
): Promise<SimulatedBroker> => {
  const settings = { "log.dirs": DATA, listeners: `PLAINTEXT://${process.host}:9092`, ...options.settings };
  const loaded = loadBrokerConfig({
    overrides: Object.entries(settings).map(([key, value]) => `${key}=${value}`),
  });
  if (loaded.config === undefined) throw new Error(loaded.errors.join("\n"));
  const { disk, network, clock, random, tasks } = process;
  const broker = await process.runPromise(
    startBroker(
      { disk, network, clock, random, tasks, codecs: options.codecs },
      {
        config: loaded.config,
        log: (level, message) => {
          if (level !== "info") process.note(`${level} ${message}`);
          options.log?.(level, message);
        },
        requestLog: () => undefined,
        fatal: (why) => {
          process.note(`fatal ${why}`);
          options.fatal?.(why);
        },
      },
    ),
  );
  if (options.gateway === true) {
    const gateway = new Gateway(broker.doorEnvironment, { frameBytes: GATEWAY_FRAME_BYTES, heartbeatMs: 1000 });
    broker.attach(gateway);
    listenFrames(network, { host: process.host, port: GATEWAY_PORT }, (duplex, peer) => gateway.accept(duplex, peer));
  }
  const [listener] = broker.listeners;
  if (listener === undefined) throw new Error("the broker has no listener");
  return { broker, process, endpoint: listener.endpoint };
};
