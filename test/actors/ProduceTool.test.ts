/** `odradek produce` against a broker of this process, through both doors. */
import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { RealBroker } from "../support/RealBroker.ts";
import { anyRecord } from "../support/Records.ts";
import { TestTerminal } from "../support/TestTerminal.ts";
import { type DoorName, withTools } from "../support/ToolWorld.ts";

interface World {
  readonly broker: RealBroker;
  /** Produces what the terminal has; the exit code, or why not. */
  readonly produce: (line: string, terminal: TestTerminal) => Promise<number>;
  /** The output of a tool that reads this. */
  readonly write: (line: string, input: string | Uint8Array) => Promise<string>;
  /** What `consume` prints. */
  readonly read: (line: string) => Promise<string>;
}

const withBroker = (door: DoorName, program: (world: World) => Promise<void>): Promise<void> =>
  withTools(door, ({ broker, run, output }) =>
    program({
      broker,
      produce: (line, terminal) => run(`produce ${line}`, terminal),
      write: (line, input) => output(`produce ${line}`, input),
      read: (line) => output(`consume ${line}`),
    }),
  );

describe.each(["brokers", "url"] as const)("odradek produce --%s", (door) => {
  test("each line is a value; the last one needs no end", () =>
    withBroker(door, async ({ write, read }) => {
      expect(await write("t", "a\n\nb")).toBe("");
      expect(await read("t -e -f %o:%V:%v\\n")).toBe("0:1:a\n1:0:\n2:1:b\n");
      await write("u -Z -f %k:%v\\n", ":\nk:\n");
      expect(await read("u -e -f %k{json}%v{json}\\n")).toBe('nullnull\n"k"null\n');
    }));

  test("keys, headers, times and compression; the input's own come first", () =>
    withBroker(door, async ({ broker, write, read }) => {
      await broker.client.createTopic("t", { partitions: 3 });
      const shape = "-e -f %p|%k|%v|%h{%k=%v,}|%d|%a{compression}\\n";
      // Batches through the gateway are not compressed, and which codec one has is not told there.
      const [option, codec] = door === "brokers" ? [" -z zstd", "zstd"] : ["", "unknown"];
      await write(`t -k fixed -H a=1 --timestamp 1700000000123 -p 2${option}`, "v\n");
      expect(await read(`t ${shape}`)).toBe(`2|fixed|v|a=1,|1700000000123|${codec}\n`);
      await broker.client.createTopic("u", { partitions: 3 });
      await write("u -k fixed -p 2 -H a=1 -f %p,%d,%k,%v,%H%h{;%k=%v.}\\n", "1,5,own,v,1;b=2.\n");
      expect(await read(`u ${shape}`)).toBe(`1|own|v|a=1,b=2,|5|${door === "brokers" ? "none" : "unknown"}\n`);
    }));

  test("a key's partition is Java's; without keys the partitions take turns", () =>
    withBroker(door, async ({ broker, write, read }) => {
      await broker.client.createTopic("t", { partitions: 5 });
      // The hashes of UtilsTest.testMurmur2 (-973932308, -790332482, -985981536, 479470107) without sign, modulo 5.
      await write("t -f %k\\n", "21\nfoobar\na-little-bit-long-string\nabc\n");
      expect((await read("t -e -f %k:%p\\n")).split("\n").sort()).toEqual(
        ["", "21:0", "foobar:1", "a-little-bit-long-string:2", "abc:2"].sort(),
      );
      await broker.client.createTopic("u", { partitions: 5 });
      await write("u --max-message-bytes 1000", "x".repeat(500).concat("\n").repeat(100));
      expect(new Set((await read("u -e -f %p\\n")).split("\n")).size).toBe(6);
    }));

  test("each acknowledged record is printed, as text or as JSON", () =>
    withBroker(door, async ({ write }) => {
      expect(await write("t -o %t/%p/%o/%v/%i\\n", "a\nb\n")).toBe("t/0/0/a/1\nt/0/1/b/2\n");
      const json = await write("t -o json --timestamp 1700000000123", "abc\n");
      expect(JSON.parse(json)).toEqual({
        topic: "t",
        partition: 0,
        offset: 2,
        tstype: "create",
        ts: 1_700_000_000_123,
        broker: -1,
        headers: [],
        key: null,
        payload_size: 3,
      });
      expect(await write("t -o %o\\n --acks 1", "a\n")).toBe("3\n");
      expect(await write("t -o %o\\n --acks 0", "a\n")).toBe("-1\n");
    }));

  test("nobody reads what is printed: everything is written all the same", () =>
    withBroker(door, async ({ produce, read }) => {
      const terminal = new TestTerminal("v\n".repeat(1000));
      terminal.writesLeft = 1;
      expect(await produce("t -o %o\\n --max-message-bytes 10000", terminal)).toBe(0);
      expect((await read("t -e -f %v\\n")).split("\n")).toHaveLength(1001);
    }));

  test(
    "JSON in equals JSON out, whatever is in the records",
    () =>
      withBroker(door, async ({ broker, write, read }) => {
        let run = 0;
        const property = fc.asyncProperty(fc.array(anyRecord, { minLength: 1, maxLength: 20 }), async (records) => {
          run += 1;
          await broker.client.createTopic(`a${run}`, { partitions: 3 });
          await broker.client.createTopic(`b${run}`, { partitions: 3 });
          const producer = broker.client.producer();
          for (const [index, record] of records.entries()) await producer.send(`a${run}`, index % 3, [record]);
          const printed = await read(`a${run} -e`);
          await write(`b${run} -J`, printed);
          const sorted = (output: string) => output.split("\n").sort();
          expect(sorted(await read(`b${run} -e`))).toEqual(sorted(printed.replaceAll(`"topic":"a`, `"topic":"b`)));
        });
        await fc.assert(property, { numRuns: 15 });
      }),
    30_000,
  );

  test("an envelope says topic, partition and time; the command line may say others", () =>
    withBroker(door, async ({ broker, write, read }) => {
      for (const topic of ["a", "b"]) await broker.client.createTopic(topic, { partitions: 3 });
      const envelope = '{"topic":"a","partition":2,"offset":7,"ts":5,"key":"abc","payload":"v"}\n';
      const shape = "-e -f %t/%p/%d/%k/%v\\n";
      await write("-J", envelope);
      expect(await read(`a ${shape}`)).toBe("a/2/5/abc/v\n");
      await write("b -J -p -1 --timestamp 1700000000123", envelope);
      expect(await read(`b ${shape}`)).toBe("b/0/1700000000123/abc/v\n");
      // kcat writes headers flat.
      await write("b -J -p 1", '{"topic":"a","headers":["h","1","h",null],"payload":null}\n');
      expect(await read("b -p 1 -e -f %h{%k=%v{json},}")).toBe('h="1",h=null,');
    }));

  test("what is wrong with the input is said; what came before it is written", () =>
    withBroker(door, async ({ broker, produce, read }) => {
      const failing = (line: string, input: string) => produce(line, new TestTerminal(input));
      await expect(failing("t -J", '{"payload":"a"}\n{"payload":1}\n{"payload":"c"}\n')).rejects.toThrow(
        'record 2 of the input: payload: expected a string, null or {"base64": "…"} (1 records written)',
      );
      expect(await read("t -e -f %v\\n")).toBe("a\n");
      await expect(failing("t -f %p,%v\\n", "0,b\n9,c\n")).rejects.toThrow(
        "t has no partition 9, only 0 to 0 (--partition -1 goes by key) (1 records written)",
      );
      await expect(failing("-J", '{"payload":"a"}\n')).rejects.toThrow("a record without a topic");
      await broker.client.createTopic("small", { configs: { "max.message.bytes": "1000" } });
      await expect(failing("small", `ok\n`)).resolves.toBe(0);
      await expect(failing("small", `${"x".repeat(2000)}\n`)).rejects.toThrow(
        "small [0]: MESSAGE_TOO_LARGE (0 records written, 1 refused)",
      );
      await expect(failing("a/b", "x\n")).rejects.toThrow("INVALID_TOPIC_EXCEPTION");
    }));

  test("Ctrl-C ends the reading; what was read is written", () =>
    withBroker(door, async ({ produce, read }) => {
      const terminal = new TestTerminal(null);
      const code = produce("t -o %v\\n", terminal);
      terminal.type("a\nb\nhalf");
      await terminal.until(/a\nb\n/);
      terminal.interrupt();
      expect(await code).toBe(0);
      expect(await read("t -e -f %v\\n")).toBe("a\nb\n");
    }));

  describe("in a transaction", () => {
    test("all of the input is committed together", () =>
      withBroker(door, async ({ broker, produce, read }) => {
        await broker.client.createTopic("t");
        const terminal = new TestTerminal(null);
        const code = produce("t --transactional-id x -o %v\\n", terminal);
        terminal.type("a\nb\n");
        await terminal.until(/a\nb\n/);
        // Acknowledged and not committed.
        expect(await read("t -e -f %v\\n")).toBe("");
        terminal.type("c\n");
        terminal.endInput();
        expect(await code).toBe(0);
        // The commit is decided; its markers may still be on their way, so the end is not where to stop.
        expect(await read("t -n 3 -f %v\\n")).toBe("a\nb\nc\n");
      }));

    test("a wrong record and Ctrl-C abort all of it, and the next one with its id goes on", () =>
      withBroker(door, async ({ broker, produce, read, write }) => {
        await broker.client.createTopic("t");
        await expect(produce("t --transactional-id x -f %k:%v\\n", new TestTerminal("a:b\nc\n"))).rejects.toThrow(
          "record 2 of the input: the input ends within it (the transaction is aborted)",
        );
        const terminal = new TestTerminal(null);
        const code = produce("t --transactional-id x -o %v\\n", terminal);
        terminal.type("a\nb\n");
        await terminal.until(/a\nb\n/);
        terminal.interrupt();
        await expect(code).rejects.toThrow("interrupted (the transaction is aborted)");
        await write("t --transactional-id x", "good\n");
        expect(await read("t -n 1 -f %v\\n")).toBe("good\n");
      }));

    test("who takes the id over fences the one that has it", () =>
      withBroker(door, async ({ broker, produce, write, read }) => {
        await broker.client.createTopic("t");
        const terminal = new TestTerminal(null);
        const code = produce("t --transactional-id x -o %v\\n", terminal);
        terminal.type("old\n");
        await terminal.until(/old\n/);
        await write("t --transactional-id x", "new\n");
        terminal.type("older\n");
        terminal.endInput();
        await expect(code).rejects.toThrow(/PRODUCER_FENCED|INVALID_PRODUCER_EPOCH/);
        expect(await read("t -n 1 -f %v\\n")).toBe("new\n");
      }));
  });
});
