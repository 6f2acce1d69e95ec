/** `odradek consume` against a broker of this process, through both doors. */
import { describe, expect, test } from "bun:test";
import type { ExitCode } from "../../actors/Tool.ts";
import type { ClientPlatform } from "../../actors/testing/KafkaConnection.ts";
import { OutputClosed } from "../../src/platform/Terminal.ts";
import type { RealBroker } from "../support/RealBroker.ts";
import { TestTerminal } from "../support/TestTerminal.ts";
import { type DoorName, toolPlatform, withTools } from "../support/ToolWorld.ts";

/** Whose clock runs twenty times as fast: what is done every few seconds is done soon. */
const hasty: ClientPlatform = {
  ...toolPlatform,
  clock: { ...toolPlatform.clock, monotonic: () => 20 * toolPlatform.clock.monotonic() },
};
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

interface World {
  readonly broker: RealBroker;
  /** Starts a tool. */
  readonly begin: (
    line: string,
    platform?: ClientPlatform,
  ) => { readonly terminal: TestTerminal; readonly code: Promise<ExitCode> };
  /** Runs one to its end; the notes come behind the output. */
  readonly run: (line: string) => Promise<string>;
  /** Values `prefix0`, `prefix1`, …, each with a timestamp of its own. */
  readonly write: (topic: string, partition: number, prefix: string, count: number) => Promise<void>;
}

const withBroker = (door: DoorName, program: (world: World) => Promise<void>): Promise<void> =>
  withTools(door, async ({ broker, run }) => {
    const begin: World["begin"] = (line, platform) => {
      const terminal = new TestTerminal();
      return { terminal, code: run(`consume ${line}`, terminal, platform) };
    };
    const producer = broker.client.producer();
    await program({
      broker,
      begin,
      run: async (line) => {
        const { terminal, code } = begin(line);
        expect(await code).toBe(0);
        return [terminal.output, ...terminal.notes.map((each) => `# ${each}\n`)].join("");
      },
      write: async (topic, partition, prefix, count) => {
        const records = Array.from({ length: count }, (_, index) => ({
          key: null,
          value: text(`${prefix}${index}`),
          timestamp: 1_700_000_000_000 + index * 1000,
        }));
        expect((await producer.send(topic, partition, records)).type).toBe("ok");
      },
    });
  });

const lines = (output: string): string[] => output.split("\n").slice(0, -1);

describe.each(["brokers", "url"] as const)("odradek consume --%s", (door) => {
  /** What the stream protocol does not tell. */
  const told = door === "brokers" ? { tstype: "create", broker: 1 } : { tstype: "unknown", broker: -1 };

  test("prints envelopes, and ends where the partitions ended as it began", () =>
    withBroker(door, async ({ broker, run, write }) => {
      await broker.client.createTopic("t", { partitions: 2 });
      await write("t", 0, "a", 2);
      await broker.client.producer().send("t", 1, [
        { key: text("k"), value: Uint8Array.of(0xff), headers: [{ key: "h", value: null }], timestamp: 5 },
        { key: null, value: null, timestamp: 6 },
      ]);
      expect(lines(await run("t -e")).map((line): unknown => JSON.parse(line))).toEqual([
        ...["a0", "a1"].map((payload, offset) => ({
          topic: "t",
          partition: 0,
          offset,
          ...told,
          ts: 1_700_000_000_000 + offset * 1000,
          headers: [],
          key: null,
          payload,
        })),
        {
          topic: "t",
          partition: 1,
          offset: 0,
          ...told,
          ts: 5,
          headers: [["h", null]],
          key: "k",
          payload: { base64: "/w==" },
        },
        { topic: "t", partition: 1, offset: 1, ...told, ts: 6, headers: [], key: null, payload: null },
      ]);
      expect(JSON.parse(await run("t -e -p 0 -n 1 --pretty-print --meta-only"))).toMatchObject({ payload_size: 2 });
    }));

  test("every form of an offset range", () =>
    withBroker(door, async ({ broker, run, write }) => {
      await broker.client.createTopic("t");
      await write("t", 0, "", 10);
      await broker.client.admin.deleteRecords("t", 0, 2);
      const values = async (range: string) => lines(await run(`t -e -f %v\\n -o ${range}`)).join(" ");
      expect(await values("start")).toBe("2 3 4 5 6 7 8 9");
      expect(await values("end")).toBe("");
      expect(await values("+5")).toBe("7 8 9");
      expect(await values("+50")).toBe("");
      expect(await values("-2")).toBe("8 9");
      expect(await values("-50")).toBe("2 3 4 5 6 7 8 9");
      expect(await values("7")).toBe("7 8 9");
      expect(await values(":4")).toBe("2 3");
      expect(await values("1:4")).toBe("2 3");
      expect(await values("5:7")).toBe("5 6");
      expect(await values("8:99")).toBe("8 9");
      expect(await values("8:end")).toBe("8 9");
      expect(await values("@1700000005000")).toBe("5 6 7 8 9");
      expect(await values("@1700000004001:1700000007")).toBe("5 6");
      expect(await values("@1700000004:2s")).toBe("4 5");
      expect(await values("@:1700000004")).toBe("2 3");
      expect(await values("@2050-01-01")).toBe("");
      // Whoever names an offset that is not there is told what was made of it.
      expect(await values("0")).toBe("2 3 4 5 6 7 8 9 # t [0]: there is no offset 0, only 2 to 10: from 2 on");
      expect(await values("99 -q")).toBe("");
    }));

  test("-n ends behind so many, over several partitions too", () =>
    withBroker(door, async ({ broker, run, write }) => {
      await broker.client.createTopic("t", { partitions: 3 });
      for (const partition of [0, 1, 2]) await write("t", partition, `${partition}-`, 5);
      expect(lines(await run("t -n 7 -f %v\\n"))).toHaveLength(7);
      expect(
        lines(await run("t -p 1,2 -e -f %p\\n"))
          .sort()
          .join(""),
      ).toBe("1111122222");
    }));

  test(
    "regular expressions are for whole names, and topics that come later are read too",
    () =>
      withBroker(door, async ({ broker, run, begin, write }) => {
        for (const topic of ["a1", "a2", "ba1", "__hidden"]) await broker.client.createTopic(topic);
        await write("a1", 0, "one", 1);
        await write("ba1", 0, "no", 1);
        expect(await run("-r -e -f %t:%v\\n a.* [0-9]")).toBe("a1:one0\n");
        const { terminal, code } = begin("-r -f %t:%v\\n a.* -v", hasty);
        await terminal.until(/a1:one0/);
        await broker.client.createTopic("a3");
        await write("a3", 0, "late", 1);
        await terminal.until(/a3:late0/);
        terminal.interrupt();
        expect(await code).toBe(0);
        expect(terminal.notes).toContain("a3 [0]: is new");
      }),
    20_000,
  );

  test("read_committed hides what is open or aborted, and ends there", () =>
    withBroker(door, async ({ broker, run, write }) => {
      await broker.client.createTopic("t");
      const producer = broker.client.producer({ transactionalId: "x" });
      await producer.init();
      const transact = async (value: string): Promise<void> => {
        producer.begin();
        await producer.send("t", 0, [{ value: text(value) }]);
      };
      await transact("aborted");
      await producer.abort();
      await transact("committed");
      await producer.commit();
      await transact("open");
      await write("t", 0, "behind", 1);
      expect(await run("t -e -f %v\\n")).toBe("committed\n");
      expect(await run("t -e -f %v\\n -o 0:end")).toBe("committed\n");
      expect(await run("t -e -f %v\\n --read-uncommitted")).toBe("aborted\ncommitted\nopen\nbehind0\n");
      const bit = door === "brokers" ? "1" : "-1";
      expect(await run("t -e -f %a{transactional-bit} -n 1")).toBe(bit);
    }));

  test("who names what is not there hears so", () =>
    withBroker(door, async ({ broker, begin }) => {
      await broker.client.createTopic("t");
      await expect(begin("nope").code).rejects.toThrow("nope: UNKNOWN_TOPIC_OR_PARTITION");
      await expect(begin("t -p 0,7").code).rejects.toThrow("t has no partition 7");
    }));

  const protocols = door === "brokers" ? (["classic", "consumer"] as const) : (["consumer"] as const);
  for (const protocol of protocols) {
    const group = `-g g --group-protocol ${protocol}`;

    test(`${protocol} group: what was printed is committed, and the next member goes on there`, () =>
      withBroker(door, async ({ broker, run, begin, write }) => {
        await broker.client.createTopic("t", { partitions: 2 });
        for (const partition of [0, 1]) await write("t", partition, `${partition}-`, 10);
        const first = lines(await run(`t ${group} -n 7 -f %v\\n`));
        expect(first).toHaveLength(7);
        const committed = await broker.client.admin.groupOffsets("g");
        expect(committed.reduce((sum, { offset }) => sum + Math.max(0, offset), 0)).toBe(7);
        const { terminal, code } = begin(`t ${group} -f %v\\n`);
        await terminal.until(/(.*\n){13}/);
        terminal.interrupt();
        expect(await code).toBe(0);
        expect([...first, ...lines(terminal.output)].sort()).toEqual(
          [0, 1].flatMap((partition) => Array.from({ length: 10 }, (_, index) => `${partition}-${index}`)).sort(),
        );
        // It has left: a group without members is Empty at once, not when a session runs out.
        expect(await broker.client.admin.describeGroup("g")).toMatchObject({ state: "Empty", members: [] });
        expect(await run(`t ${group} -e -f %v\\n`)).toBe("");
      }));

    test(`${protocol} group: what could not be printed is not committed`, () =>
      withBroker(door, async ({ broker, begin, run, write }) => {
        await broker.client.createTopic("t");
        await write("t", 0, "x".repeat(1000), 1000);
        const { terminal, code } = begin(`t ${group} -f %v\\n`);
        terminal.writesLeft = 2;
        await expect(code).rejects.toThrow(OutputClosed);
        const printed = lines(terminal.output).length;
        const rest = lines(await run(`t ${group} -e -f %v\\n`)).length;
        expect(printed).toBeGreaterThan(0);
        // The last whole delivery that was taken is committed; nothing that was not taken is.
        expect(printed + rest).toBeGreaterThanOrEqual(1000);
        expect(await broker.client.admin.describeGroup("g")).toMatchObject({ state: "Empty" });
      }));
  }

  test(
    "two members share the partitions; together they print everything once",
    () =>
      withBroker(door, async ({ broker, begin, write }) => {
        await broker.client.createTopic("t", { partitions: 4 });
        const members = [begin("t -g g -f %v\\n"), begin("t -g g -f %v\\n")];
        const printed = members.map(
          ({ terminal }) =>
            () =>
              lines(terminal.output),
        );
        const wanted: string[] = [];
        // Both own partitions when both have printed something of a round.
        for (let round = 0; printed.some((each) => each().length === 0); round += 1) {
          for (const partition of [0, 1, 2, 3]) {
            await write("t", partition, `${round}-${partition}-`, 10);
            wanted.push(...Array.from({ length: 10 }, (_, index) => `${round}-${partition}-${index}`));
          }
          while (printed.flatMap((each) => each()).length < wanted.length) await Bun.sleep(5);
        }
        for (const { terminal } of members) terminal.interrupt();
        await Promise.all(members.map(({ code }) => code));
        expect(printed.flatMap((each) => each()).sort()).toEqual(wanted.sort());
      }),
    30_000,
  );
});
