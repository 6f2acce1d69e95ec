/** A simulated disk whose operations answer at once, and what tests of it say in a word. */
import { SeededRandom } from "../../../actors/simulation/SeededRandom.ts";
import { SimulatedDisk } from "../../../actors/simulation/SimulatedDisk.ts";
import { DiskError } from "../../../src/platform/Disk.ts";

export const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString("latin1");
export const bytes = (content: string): Uint8Array => Buffer.from(content, "latin1");

/** A disk whose operations answer at once, seen by a process that lives. */
export const instant = (options: { pageBytes?: number; capacityBytes?: number } = {}) => {
  const platter = new SimulatedDisk({ random: new SeededRandom(1), pendingChance: 0, pageBytes: 1, ...options });
  const owner = { name: "p", alive: true };
  const disk = platter.attach({ owner, after: (_, task) => task(), wall: () => 1000, trace() {} });
  disk.makeDirectory("/d");
  platter.settle();
  return { platter, disk, owner };
};

export const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof DiskError) return error.code;
    throw error;
  }
  return "none";
};
