/** A broker of this process on a real socket and a temporary directory, and a client for it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import { type Broker, startBroker } from "../../actors/Broker.ts";
import { startCleaningThread } from "../../actors/CleaningThread.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";

export interface RealBroker extends AsyncDisposable {
  readonly broker: Broker;
  readonly client: KafkaClient;
  readonly directory: string;
  readonly log: string[];
  stop(): Promise<void>;
}

/** A directory that goes with the test. */
export const temporaryDirectory = (): Disposable & { readonly path: string } => {
  const path = mkdtempSync(join(tmpdir(), "odradek-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
};

export const startRealBroker = async (
  directory: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<RealBroker> => {
  const platform = { ...makeBunPlatform(), cleaningWork: startCleaningThread };
  const log: string[] = [];
  const broker = await Effect.runPromise(
    startBroker(platform, {
      config: BrokerConfig.of({ "log.dirs": directory, listeners: "PLAINTEXT://127.0.0.1:0", ...settings }),
      log: (level, message) => log.push(`${level} ${message}`),
      requestLog: () => undefined,
      fatal: (why) => log.push(`fatal ${why}`),
    }),
  );
  const client = new KafkaClient(platform, { bootstrap: [broker.listeners[0]!.endpoint] });
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    client.close();
    stopped ??= Effect.runPromise(broker.stop);
    return stopped;
  };
  return { broker, client, directory, log, stop, [Symbol.asyncDispose]: stop };
};
