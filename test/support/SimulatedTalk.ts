/** A conversation with a broker on simulated ports: the clock is virtual, so that waiting costs nothing. */
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import type { ClientPlatform } from "../../actors/testing/KafkaConnection.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import type { Endpoint } from "../../src/platform/Network.ts";

const LONGEST_MS = 3_600_000;
const codecs = makeBunCodecs();

/** What the talk with a new broker of these settings comes to. */
export const withSimulatedBroker = <A>(
  settings: Readonly<Record<string, string>>,
  talk: (endpoint: Endpoint, platform: ClientPlatform) => Promise<A>,
): A => {
  const simulation = new Simulation({ seed: 1, maxTimeMs: LONGEST_MS });
  return simulation.run(async () => {
    const process = simulation.process("broker");
    process.disk.makeDirectory(DATA);
    const { endpoint } = await startSimulatedBroker(process, { codecs, settings });
    const { network, clock, random } = simulation.process("clients", { host: "10.0.0.1" });
    return talk(endpoint, { network, clock, random, codecs });
  });
};
