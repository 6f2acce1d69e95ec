/** The ports of a simulated process as the stream client wants them: frames to a simulated broker's gateway. */
import type { ClientPlatform, OpeningHandlers } from "../../src/client/ClientPlatform.ts";
import type { Codecs } from "../../src/record/Compression.ts";
import { connectFrames } from "./FramesOverNetwork.ts";
import { GATEWAY_PORT } from "./SimulatedBroker.ts";
import type { SimulatedProcess } from "./Simulation.ts";

/** Whatever URL it is given, it connects to the broker on `host`. */
export const streamPlatform = (
  { clock, random, network }: SimulatedProcess,
  codecs: Codecs,
  host: string,
): ClientPlatform => ({
  clock,
  random,
  decompressor: async () => codecs.decompress,
  open: (_url: string, _protocols: ReadonlyArray<string>, handlers: OpeningHandlers) =>
    connectFrames(network, { host, port: GATEWAY_PORT }, handlers),
});
