/** The door a command line asks for. The stream client is loaded only for `--url`. */

import type { DoorArguments } from "../src/cli/Options.ts";
import type { RecordDoor } from "../src/cli/RecordDoor.ts";
import { KafkaDoor } from "./KafkaDoor.ts";
import type { ClientPlatform } from "./testing/KafkaConnection.ts";

/** Runs a tool's work with the door open, and closes it whatever happens. */
export const withDoor = async <A>(
  platform: ClientPlatform,
  { brokers, url }: DoorArguments,
  work: (door: RecordDoor) => Promise<A>,
): Promise<A> => {
  const door =
    url === undefined
      ? new KafkaDoor(platform, brokers)
      : await (await import("./StreamDoor.ts")).openStreamDoor(url, platform.clock);
  try {
    return await work(door);
  } finally {
    await door.close();
  }
};
