/**
 * Found beside the test of damaged side files: a topic was deleted and made anew, the broker died before the next
 * checkpoint, and the next one took the old topic's recovery point and log start for the new one's: its partition went
 * offline, or its first records were gone.
 */
import { expect, test } from "bun:test";
import { POWER_CUTS } from "../../actors/simulation/PowerCut.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { append, MINUTE, offsets, onDisk, type World, withOneBroker } from "../support/OneBroker.ts";

interface Image {
  readonly at: string;
  readonly disk: SimulatedDisk;
  /** The end of the new topic's log, as its producer was told. */
  readonly acked: number;
}

/** Nine records, the first four deleted. */
const old = async (one: World): Promise<void> => {
  await one.client.createTopic("t");
  await append(one, 9);
  await one.client.admin.deleteRecords("t", 0, 4);
};

const made = async ({ client }: World): Promise<boolean> => {
  client.forgetTopics();
  const { topics } = await client.metadata(["t"]);
  return topics[0]?.errorCode === 0;
};

test("a topic made anew is not the one before: whenever the broker dies, it begins at 0 and ends where it was told", () => {
  const images: Image[] = [];
  withOneBroker(async (one) => {
    await old(one);
    await one.client.sleep(2 * MINUTE);
    let acked = 0;
    const random = one.world.random.fork("images");
    one.disk.beforeOperation = ({ index, kind, path }) => {
      if (kind === "read") return undefined;
      const cut = index % 2 === 0 ? "kept" : POWER_CUTS[(index >> 1) % POWER_CUTS.length]!;
      images.push({ at: `${cut} before ${kind} ${path}`, disk: one.disk.image(cut, random), acked });
      return undefined;
    };
    await one.client.deleteTopic("t");
    one.client.forgetTopics();
    await one.client.createTopic("t");
    for (let round = 0; round < 2; round++) {
      for (let index = 0; index < 6; index++) acked = await append(one, 1);
      // The folder of the old one goes, and checkpoints are written.
      await one.client.sleep(2 * MINUTE);
    }
    one.disk.beforeOperation = undefined;
  });
  const wrong: string[] = [];
  for (const { at, disk, acked } of images) {
    onDisk(
      disk,
      () => {},
      async (one) => {
        const [start, end] = (await made(one)) ? await offsets(one).catch(() => [-1, -1]) : [0, 0];
        const isOld = acked === 0 && start === 4 && end === 9;
        if (!isOld && (start !== 0 || end! < acked))
          wrong.push(`${at}: ${start}–${end}, not 0–${acked}: ${one.logged}`);
      },
    );
  }
  expect(wrong).toEqual([]);
});

test("a topic that was made anew after a crash, or after its deletion in the run before, begins at 0", () => {
  withOneBroker(async (one) => {
    await old(one);
    await one.client.sleep(2 * MINUTE);
    await one.client.deleteTopic("t");
    const two = await one.restart("kill");
    await two.client.createTopic("t");
    expect(await append(two, 1)).toBe(1);
    const three = await two.restart("kill");
    expect(await offsets(three)).toEqual([0, 1]);
  });
});
