/** `odradek group` against a whole broker on simulated ports. */
import { describe, expect, test } from "bun:test";
import { runGroupTool } from "../../actors/GroupTool.ts";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { parseGroupArguments } from "../../src/cli/GroupArguments.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { runArguments } from "../support/RunArguments.ts";
import { TestTerminal } from "../support/TestTerminal.ts";

const codecs = makeBunCodecs();

/** What `group ARGS` prints, or `error: ` and what it says. */
type Tool = (args: string) => Promise<string>;

const simulated = (program: (tool: Tool, wait: (ms: number) => Promise<void>) => Promise<void>): void => {
  const world = new Simulation({ seed: 3, maxTimeMs: 600_000 });
  world.run(async () => {
    const disk = world.makeDisk("disk");
    world.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    const process = world.process("broker", { disk });
    await startSimulatedBroker(process, { codecs, settings: { "offsets.topic.num.partitions": "2" } });
    const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
    const platform = { network, clock, random, codecs };
    const client = new KafkaClient(platform, { bootstrap: [{ host: "127.0.0.1", port: 9092 }] });
    await client.createTopic("t", { partitions: 2 });
    const producer = client.producer();
    for (let index = 0; index < 10; index += 1) {
      await producer.send("t", 0, [{ key: null, value: new Uint8Array(10), timestamp: clock.wall() }]);
    }
    const tool: Tool = async (args) => {
      const parsed = runArguments(parseGroupArguments(args.split(" "), {}));
      const terminal = new TestTerminal();
      const failure = await runGroupTool(parsed, platform, terminal).then(
        () => "",
        (error: unknown) => `error: ${(error as Error).message}`,
      );
      return terminal.output + failure;
    };
    await program(tool, (ms) => new Promise((resolve) => clock.after(ms, resolve)));
    client.close();
  });
};

describe("odradek group", () => {
  test("a reset makes a group's offsets; describe shows how far and how long it is behind; delete ends it", () => {
    simulated(async (tool, wait) => {
      expect(await tool("list")).toBe("GROUP  TYPE  STATE  PROTOCOL\n");
      expect(await tool("describe g")).toBe("error: there is no group g");
      expect(await tool("reset g --to-latest")).toContain("error: g has committed nothing");
      expect(await tool("reset g --to-offset 4 --topic t:0")).toContain("nothing was changed");
      expect(await tool("describe g")).toBe("error: there is no group g");
      await tool("reset g --to-offset 4 --topic t --execute");
      await wait(5000);
      const described = await tool("describe g");
      expect(described).toStartWith("g: Empty, classic protocol, 0 members\n");
      const [first, second] = described.trim().split("\n").slice(-2);
      expect(first).toMatch(/^t +0 +4 +10 +6 +[5-9]\.\d +- +- +-$/);
      expect(second).toMatch(/^t +1 +0 +0 +0 +0\.0 +- +- +-$/);
      const shifted = await tool("reset g --shift-by 100 --execute");
      expect(shifted.trim().split("\n").slice(1)).toEqual(["t      0          4    10", "t      1          0    0"]);
      expect(await tool("list --state empty")).toContain("g      classic  Empty  -");
      expect(JSON.parse(await tool("list --json"))).toEqual({
        group: "g",
        type: "classic",
        state: "Empty",
        protocol: null,
      });
      expect(JSON.parse((await tool("reset g --to-latest --json")).split("\n")[0]!)).toEqual({
        topic: "t",
        partition: 0,
        was: 10,
        wouldBe: 10,
      });
      expect(await tool("delete g nope")).toBe("g is deleted\nerror: nope: GROUP_ID_NOT_FOUND");
      expect(await tool("list")).toBe("GROUP  TYPE  STATE  PROTOCOL\n");
    });
  });
});
