/** What `startBroker` of EmbeddedBroker.ts does on Bun; loaded only there, and only when a broker is asked for. */
import * as Effect from "effect/Effect";
import { loadBrokerConfig } from "../src/config/LoadBrokerConfig.ts";
import { makeBunHttpServer } from "../src/platform/BunHttpServer.ts";
import { makeBunPlatform } from "../src/platform/BunPlatform.ts";
import { sha256 } from "../src/platform/Sha256.ts";
import { startBroker } from "./Broker.ts";
import { BrokerLife } from "./BrokerLife.ts";
import type { EmbeddedBroker, EmbeddedBrokerOptions } from "./EmbeddedBroker.ts";
import { openHttpDoor, probeHttpListeners } from "./HttpDoor.ts";

export const startEmbedded = async (options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> => {
  const { config: settings = {}, clusterId, log = () => {}, failed = () => {} } = options;
  const { config, errors, warnings } = loadBrokerConfig({
    overrides: Object.entries(settings).map(([key, value]) => `${key}=${value}`),
    overridesFrom: "startBroker",
  });
  if (config === undefined || errors.length > 0) throw new Error(errors.join("\n"));
  for (const warning of warnings) log("warn", warning);
  const life = new BrokerLife(1, makeBunPlatform());
  try {
    probeHttpListeners(life.network, config);
    const broker = await Effect.runPromise(
      startBroker(life, { config, clusterId, log, requestLog: () => undefined, fatal: failed }),
    );
    const http = { server: life.httpOf(makeBunHttpServer()), sha256 };
    const door = openHttpDoor(http, config, broker.doorEnvironment);
    if (door !== undefined) broker.attach(door);
    let stopped: Promise<void> | undefined;
    // What was to be done later (removing a deleted topic's files) the next start does.
    const stop = (): Promise<void> => (stopped ??= Effect.runPromise(broker.stop).finally(() => life.end()));
    return {
      clusterId: broker.clusterId,
      nodeId: broker.nodeId,
      listeners: broker.listeners.map(({ name, endpoint }) => ({ name, endpoint })),
      http: door?.endpoints ?? [],
      directory: broker.directory,
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await life.end();
    throw error;
  }
};
