/** A small file replaced in one step while others have their turn, on a disk that loses power before every operation. */
import { expect, test } from "bun:test";
import { POWER_CUTS } from "../../actors/simulation/PowerCut.ts";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { replaceFile } from "../../src/log/ReplaceFile.ts";

const user = {
  owner: { name: "broker", alive: true },
  after: (_: number, task: () => void) => queueMicrotask(task),
  wall: () => 0,
  trace: () => undefined,
};
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const PATH = "data/checkpoint";

test("the old or the new content is there after a power cut, and the new one once it has answered", async () => {
  const found = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    const random = new SeededRandom(seed);
    const platter = new SimulatedDisk({ random: random.fork("disk") });
    const disk = platter.attach(user);
    disk.makeDirectory("data");
    // What an earlier attempt may have left is longer.
    await disk.open(`${PATH}.tmp`, "write").write([text("left over ".repeat(200))], 0);
    await replaceFile(disk, PATH, text("old ".repeat(300)));
    platter.settle();
    const images: SimulatedDisk[] = [];
    platter.beforeOperation = () => {
      images.push(platter.image(random.pick(POWER_CUTS), random.fork("cut")));
      return undefined;
    };
    await replaceFile(disk, PATH, text("new ".repeat(200)));
    const after = platter.image("lost", random.fork("after")).attach(user).readFile(PATH);
    expect(Buffer.from(after ?? []).toString()).toBe("new ".repeat(200));
    for (const image of images) {
      const content = Buffer.from(image.attach(user).readFile(PATH) ?? []).toString();
      expect(["old ".repeat(300), "new ".repeat(200)]).toContain(content);
      found.add(content.slice(0, 3));
    }
  }
  expect([...found].sort()).toEqual(["new", "old"]);
});

test("nothing that waits for the disk is done at once, and a failure leaves the old content", async () => {
  const platter = new SimulatedDisk({ random: new SeededRandom(1), pendingChance: 1 });
  const disk = platter.attach(user);
  disk.makeDirectory("data");
  await replaceFile(disk, PATH, text("old"));
  const seen: string[] = [];
  platter.beforeOperation = ({ kind }) => {
    seen.push(kind);
    return kind === "flush" ? { error: "EIO" } : undefined;
  };
  expect(await replaceFile(disk, PATH, text("new")).catch(({ code }) => code)).toBe("EIO");
  expect(seen).not.toContain("replaceFile");
  expect(Buffer.from(disk.readFile(PATH)!).toString()).toBe("old");
});
