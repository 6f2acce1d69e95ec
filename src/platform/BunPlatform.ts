/** The real ports together: what the broker runs on outside of tests and simulation. */

import { makeBunClock } from "./BunClock.ts";
import { makeBunCodecs } from "./BunCodecs.ts";
import { bunDisk } from "./BunDisk.ts";
import { makeBunNetwork } from "./BunNetwork.ts";
import { makeBunRandom } from "./BunRandom.ts";
import { makeBunTaskList } from "./BunTaskList.ts";
import { useNativeCrc32c } from "./NativeCrc32c.ts";

export const makeBunPlatform = () => {
  useNativeCrc32c();
  return {
    disk: bunDisk(),
    network: makeBunNetwork(),
    clock: makeBunClock(),
    random: makeBunRandom(),
    tasks: makeBunTaskList(),
    codecs: makeBunCodecs(),
  };
};
