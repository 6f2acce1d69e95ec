/** The ports a client needs, on Node. What is named after Bun here is standard JavaScript or `node:` and runs on both. */

import { makeBunClock } from "./BunClock.ts";
import { makeBunCodecs } from "./BunCodecs.ts";
import { makeBunRandom } from "./BunRandom.ts";
import { makeNodeNetwork } from "./NodeNetwork.ts";

export const makeNodePlatform = () => ({
  network: makeNodeNetwork(),
  clock: makeBunClock(),
  random: makeBunRandom(),
  codecs: makeBunCodecs(),
});
