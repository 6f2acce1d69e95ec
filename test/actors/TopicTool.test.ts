/** `odradek topic` against a broker of this process, through the doors that can. */
import { describe, expect, test } from "bun:test";
import type { RealBroker } from "../support/RealBroker.ts";
import { TestTerminal } from "../support/TestTerminal.ts";
import { type DoorName, withTools } from "../support/ToolWorld.ts";

const withBroker = (
  door: DoorName,
  program: (
    topic: (line: string) => Promise<string>,
    json: (line: string) => Promise<unknown[]>,
    broker: RealBroker,
  ) => Promise<void>,
): Promise<void> =>
  withTools(door, async ({ broker, run }) => {
    const ran = async (line: string): Promise<{ readonly code: number; readonly output: string }> => {
      const terminal = new TestTerminal();
      const code = await run(`topic ${line}`, terminal);
      return { code, output: terminal.output };
    };
    await program(
      async (line) => {
        const { code, output } = await ran(line);
        return code === 0 ? output : `${output}exit ${code}\n`;
      },
      async (line) => {
        const { output } = await ran(`${line} --json`);
        return output
          .split("\n")
          .slice(0, -1)
          .map((each): unknown => JSON.parse(each));
      },
      broker,
    );
  });

const noError = { error: null, message: null };

describe.each(["brokers", "url"] as const)("odradek topic --%s", (door) => {
  test("create, list, delete: a refusal is a row of its own, the rest is done", () =>
    withBroker(door, async (topic, json) => {
      expect(await topic("create b a -p 2 -c retention.ms=5000 --dry")).toContain("nothing was changed");
      expect(await topic("list")).toBe("TOPIC  PARTITIONS  REPLICAS  ERROR\n");
      expect(await topic("create b a -p 2 -c retention.ms=5000")).toBe(
        "TOPIC  ERROR  MESSAGE\na      -      -\nb      -      -\n",
      );
      expect(await json("create a c")).toEqual([
        { topic: "a", dry: false, error: "TOPIC_ALREADY_EXISTS", message: "Topic 'a' already exists." },
        { topic: "c", dry: false, ...noError },
      ]);
      expect(await topic("create a -c nonsense=1")).toMatch(/^TOPIC.*\na +TOPIC_ALREADY_EXISTS .*\nexit 1\n$/);
      expect(await topic("create a --if-not-exists")).not.toContain("exit");
      expect(await topic("list")).toBe(
        "TOPIC  PARTITIONS  REPLICAS  ERROR\na      2           1         -\nb      2           1         -\nc      1           1         -\n",
      );
      expect(await topic("list -r [ab]")).not.toContain("\nc ");
      expect(await topic("list nope")).toMatch(/nope +0 +0 +UNKNOWN_TOPIC_OR_PARTITION\nexit 1\n$/);
      expect(await json("list c -d")).toMatchObject([
        {
          topic: "c",
          internal: false,
          replicas: 1,
          partitions: [{ partition: 0, leader: 1, replicas: [1], isr: [1] }],
        },
      ]);
      expect(await json("list c")).toEqual([{ topic: "c", partitions: 1, replicas: 1, error: null }]);
      expect(await json("delete -r [ab]")).toMatchObject([
        { topic: "a", error: null },
        { topic: "b", error: null },
      ]);
      expect(await topic("delete a c")).toMatch(/a +UNKNOWN_TOPIC_OR_PARTITION .*\nc +- +-\nexit 1\n$/);
      expect(await topic("delete a --if-exists")).not.toContain("exit");
      expect(await json("list")).toEqual([]);
    }));

  test("describe has the offsets of each partition", () =>
    withBroker(door, async (topic, json, { client }) => {
      await topic("create t -p 2");
      await client.producer().send("t", 1, [{ value: null }]);
      expect((await topic("describe t")).split("\n").slice(1)).toEqual([
        "PARTITION  LEADER  EPOCH  REPLICAS  ISR  START  STABLE  END",
        "0          1       0      1         1    0      0       0",
        "1          1       0      1         1    0      1       1",
        "",
      ]);
      expect(await json("describe t nope")).toMatchObject([
        { topic: "nope", error: "UNKNOWN_TOPIC_OR_PARTITION", partitions: [] },
        { topic: "t", error: null, partitions: [{ highWatermark: 0 }, { highWatermark: 1 }] },
      ]);
    }));
});

test("what the stream protocol has no verb for is refused, and says where it can be done", () =>
  withBroker("url", async (topic) => {
    await topic("create t");
    const refused = ["alter-config t --set retention.ms=7", "add-partitions t -n 3", "trim t -o end --execute"];
    for (const line of refused)
      await expect(topic(line)).rejects.toThrow("only over the Kafka protocol: give --brokers instead of --url");
  }));

describe("odradek topic", () => {
  test("describe: offsets of each partition, and the configurations somebody set", () =>
    withBroker("brokers", async (topic, json, { client }) => {
      await topic("create t -p 2 -c retention.ms=5000");
      const record = { key: null, value: new Uint8Array(10), timestamp: Date.now() };
      await client.producer().send("t", 1, [record, record, record]);
      const text = await topic("describe t");
      expect(text).toMatch(/^t: 2 partitions, 1 replica, id \S{22}\n/);
      expect(text.split("\n").slice(1)).toEqual([
        "PARTITION  LEADER  EPOCH  REPLICAS  ISR  START  STABLE  END",
        "0          1       0      1         1    0      0       0",
        "1          1       0      1         1    0      3       3",
        "CONFIG        VALUE  SOURCE",
        "retention.ms  5000   DYNAMIC_TOPIC_CONFIG",
        "",
      ]);
      expect(await topic("describe t -s")).toMatch(/^t: [^\n]*\n$/);
      expect(await topic("describe t nope")).toMatch(/^nope: UNKNOWN_TOPIC_OR_PARTITION\n\nt: 2 [\s\S]*exit 1\n$/);
      const [described] = (await json("describe t")) as Array<{ partitions: unknown[]; configs: unknown[] }>;
      expect(described!.partitions[1]).toMatchObject({ logStartOffset: 0, highWatermark: 3 });
      expect(described!.configs.length).toBeGreaterThan(20);
    }));

  test("alter-config and add-partitions change what they are asked to, and nothing when it is a dry run", () =>
    withBroker("brokers", async (topic, json) => {
      await topic("create t -p 2");
      const configs = async () => (await topic("describe t")).split("\n").slice(4, -1);
      expect(await topic("alter-config t --set retention.ms=7 --dry")).toContain("nothing was changed");
      expect(await configs()).toEqual([]);
      await topic("alter-config t --set retention.ms=7 --append cleanup.policy=compact");
      expect(await configs()).toEqual([
        "CONFIG          VALUE           SOURCE",
        "cleanup.policy  delete,compact  DYNAMIC_TOPIC_CONFIG",
        "retention.ms    7               DYNAMIC_TOPIC_CONFIG",
      ]);
      await topic("alter-config t --delete retention.ms --subtract cleanup.policy=delete");
      expect(await configs()).toEqual([
        "CONFIG          VALUE    SOURCE",
        "cleanup.policy  compact  DYNAMIC_TOPIC_CONFIG",
      ]);
      expect(await topic("alter-config t u --set retention.ms=x")).toMatch(/\nt +INVALID_CONFIG .*\n[\s\S]*exit 1\n$/);
      expect(await json("add-partitions t u -n 3")).toEqual([
        { topic: "t", dry: false, ...noError },
        { topic: "u", dry: false, error: "UNKNOWN_TOPIC_OR_PARTITION", message: null },
      ]);
      expect(await topic("describe t -s")).toStartWith("t: 5 partitions");
    }));

  test("trim deletes what is before an offset, a place from the end or a time, and only with --execute", () =>
    withBroker("brokers", async (topic, json, { client }) => {
      await topic("create t -p 2");
      const producer = client.producer();
      const record = (timestamp: number) => ({ key: null, value: new Uint8Array(10), timestamp });
      await producer.send("t", 0, [record(1000), record(2000), record(3000)]);
      await producer.send("t", 1, [record(4000)]);
      const starts = async (line: string) => {
        await topic(line);
        const [described] = (await json("describe t")) as Array<{ partitions: Array<{ logStartOffset: number }> }>;
        return described!.partitions.map(({ logStartOffset }) => logStartOffset);
      };
      expect(await topic("trim t -o 1")).toBe(
        "TOPIC  PARTITION  WAS  WOULD BE  ERROR  MESSAGE\nt      0          0    1         -      -\nt      1          0    1         -      -\nnothing was deleted: add --execute\n",
      );
      expect(await starts("trim t -o 1")).toEqual([0, 0]);
      expect(await starts("trim t -o @1970-01-01 --execute")).toEqual([0, 0]);
      expect(await starts("trim t -o @1970-01-01T00:00:02Z --execute")).toEqual([1, 0]);
      expect(await starts("trim t -o -1 -p 0 --execute")).toEqual([2, 0]);
      expect(await topic("trim t -o 3 --execute")).toMatch(
        /\nt +0 +2 +3 +- +-\nt +1 +0 +- +OFFSET_OUT_OF_RANGE +-\nexit 1\n$/,
      );
      expect(await starts("trim t -o end --execute")).toEqual([3, 1]);
      await expect(topic("trim nope -o end")).rejects.toThrow("nope: UNKNOWN_TOPIC_OR_PARTITION");
      await expect(topic("trim t -o end -p 7")).rejects.toThrow("t has no partition 7");
    }));
});
