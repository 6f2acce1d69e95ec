/** `odradek txn` against a whole broker on simulated ports. */
import { describe, expect, test } from "bun:test";
import { DATA, startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { runTransactionTool } from "../../actors/TransactionTool.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { parseTransactionArguments } from "../../src/cli/TransactionArguments.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { OLD_CLIENT, TransactionalClient } from "../simulation/support/TransactionalClient.ts";
import { runArguments } from "../support/RunArguments.ts";
import { TestTerminal } from "../support/TestTerminal.ts";

const codecs = makeBunCodecs();
const BOOTSTRAP = [{ host: "127.0.0.1", port: 9092 }];
const TIMEOUT_MS = 60_000;

interface World {
  /** What `txn ARGS` prints, or `error: ` and what it says. */
  readonly tool: (args: string) => Promise<string>;
  readonly wait: (ms: number) => Promise<void>;
  readonly client: KafkaClient;
  readonly producer: (id: string, version: 1 | 2) => Promise<TransactionalClient>;
}

const simulated = (program: (world: World) => Promise<void>): void => {
  const simulation = new Simulation({ seed: 5, maxTimeMs: 3_600_000 });
  simulation.run(async () => {
    const disk = simulation.makeDisk("disk");
    simulation.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    const settings = {
      "transaction.state.log.num.partitions": "2",
      "offsets.topic.num.partitions": "2",
      // Lets a client of old leave a transaction behind that no coordinator knows of.
      "transaction.partition.verification.enable": "false",
    };
    await startSimulatedBroker(simulation.process("broker", { disk }), { codecs, settings });
    const { network, clock, random } = simulation.process("client", { host: "10.0.0.1" });
    const platform = { network, clock, random, codecs };
    const clients = [
      new KafkaClient(platform, { bootstrap: BOOTSTRAP, maxVersions: OLD_CLIENT }),
      new KafkaClient(platform, { bootstrap: BOOTSTRAP }),
    ] as const;
    await clients[1].createTopic("t", { partitions: 2 });
    await program({
      tool: async (args) => {
        const parsed = runArguments(parseTransactionArguments(args.split(" "), {}));
        const terminal = new TestTerminal();
        const failure = await runTransactionTool(parsed, platform, terminal).then(
          () => "",
          (error: unknown) => `error: ${(error as Error).message}`,
        );
        return terminal.output + failure;
      },
      wait: (ms) => new Promise((resolve) => clock.after(ms, resolve)),
      client: clients[1],
      producer: async (id, version) => {
        const client = clients[version - 1]!;
        await client.topic("t");
        const producer = new TransactionalClient(client, id, version, TIMEOUT_MS, 5000, () => clock.wall());
        await producer.findCoordinators("g");
        await producer.init();
        return producer;
      },
    });
    for (const client of clients) client.close();
  });
};

const cells = (printed: string): string[][] =>
  printed
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(/ {2,}/));

const ids = (printed: string): Array<string | undefined> => cells(printed).map(([id]) => id);

describe("odradek txn", () => {
  test("an open transaction: listed, described, aborted everywhere, its producer fenced", () => {
    simulated(async ({ tool, wait, client, producer }) => {
      expect(await tool("list")).toBe("ID  STATE  PRODUCER  COORDINATOR\n");
      expect(await tool("describe app")).toBe("error: there is no transactional id app");
      expect(await tool("abort app")).toBe("error: there is no transactional id app");
      const app = await producer("app", 2);
      await producer("idle", 2);
      const id = String(app.producerId);
      const seconds = expect.stringMatching(/^2\.\d$/);
      await app.send("t", 0, ["a"]);
      await app.send("t", 1, ["b"]);
      await wait(2000);
      expect(cells(await tool("list"))).toEqual([
        ["app", "Ongoing", id, "1"],
        ["idle", "Empty", expect.any(String), "1"],
      ]);
      expect(ids(await tool("list --state Empty"))).toEqual(["idle"]);
      expect(ids(await tool("list --pattern a.*"))).toEqual(["app"]);
      expect(ids(await tool(`list --producer-id ${id}`))).toEqual(["app"]);
      expect(ids(await tool("list --state Ongoing --duration 1000"))).toEqual(["app"]);
      expect(ids(await tool("list --state Ongoing --duration 10000"))).toEqual([]);
      expect(await tool("list --state Gone")).toBe("error: --state Gone: there is no such state");
      expect(cells(await tool("describe app"))).toEqual([["app", "Ongoing", id, "0", "1", "60.0", seconds, "t-0,t-1"]]);
      expect(JSON.parse(await tool("describe app --json"))).toMatchObject({
        id: "app",
        state: "Ongoing",
        partitions: ["t-0", "t-1"],
      });
      expect(cells(await tool("describe-producers t"))).toEqual([
        ["t", "0", id, "0", "0", "-", "0", seconds],
        ["t", "1", id, "0", "0", "-", "0", seconds],
      ]);
      expect(await tool("describe-producers t:2")).toBe("error: t has no partition 2");
      // Its coordinator will end it: not hanging, however long it is open, and not to be ended in one partition alone.
      expect(cells(await tool("find-hanging --max-timeout 0"))).toEqual([]);
      expect(await tool("abort t:0 --start-offset 0")).toContain("error: this is the transaction of app");
      expect(await tool("abort app")).toBe(`app: the transaction is aborted, producer ${id} is fenced\n`);
      for (const partition of [0, 1]) {
        expect((await client.listOffset("t", partition, -1, "read_committed")).offset).toBe(2);
        expect(await client.readAll("t", partition, { isolation: "read_committed" })).toEqual([]);
      }
      expect(String(await app.end(true).catch((error: unknown) => error))).toContain("PRODUCER_FENCED");
      expect(await tool("abort app")).toContain("error: app has no open transaction, it is in Empty");
    });
  });

  test("a hanging transaction: found once it is old enough, and aborted in its partition", () => {
    simulated(async ({ tool, wait, client, producer }) => {
      const old = await producer("old", 1);
      await old.sendStray("t", 1, "left behind");
      const id = String(old.producerId);
      expect(cells(await tool("find-hanging"))).toEqual([]);
      await wait(16 * 60_000);
      expect((await client.listOffset("t", 1, -1, "read_committed")).offset).toBe(0);
      const hanging = ["t", "1", id, "0", "0", "-", "0", expect.any(String)];
      expect(cells(await tool("find-hanging"))).toEqual([hanging]);
      expect(cells(await tool("find-hanging t:1"))).toEqual([hanging]);
      expect(cells(await tool("find-hanging t:0"))).toEqual([]);
      expect(await tool("abort t:1 --start-offset 1")).toBe("error: no transaction is open from offset 1 of t-1 on");
      expect(JSON.parse(await tool("abort t:1 --start-offset 0 --json"))).toEqual({
        topic: "t",
        partition: 1,
        startOffset: 0,
        aborted: true,
      });
      expect((await client.listOffset("t", 1, -1, "read_committed")).offset).toBe(2);
      expect(cells(await tool("find-hanging --max-timeout 0"))).toEqual([]);
    });
  });
});
