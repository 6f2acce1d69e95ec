/** The host on the real ports of this Bun process. Loaded only under Bun, and only when a broker is asked for. */
import { makeBunHttpServer } from "../../src/platform/BunHttpServer.ts";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";
import { sha256 } from "../../src/platform/Sha256.ts";
import { makeTemporaryDirectory } from "../../src/platform/TemporaryDirectory.ts";
import { BrokerHost, type HostEvents, type HostOptions } from "./BrokerHost.ts";

export const startInProcess = (options: HostOptions, tell: HostEvents): Promise<BrokerHost> =>
  BrokerHost.start(options, {
    platform: makeBunPlatform(),
    httpServer: makeBunHttpServer(),
    sha256,
    temporaryDirectory: () => makeTemporaryDirectory("odradek-test-"),
    tell,
  });
