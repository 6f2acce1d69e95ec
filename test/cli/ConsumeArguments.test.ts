import { describe, expect, test } from "bun:test";
import { type ConsumeArguments, parseConsumeArguments } from "../../src/cli/ConsumeArguments.ts";
import { runArguments } from "../support/RunArguments.ts";

const NOW = 1_800_000_000_000;
const parse = (line: string) => parseConsumeArguments(line === "" ? [] : line.split(" "), NOW, {});
const read = (line: string): ConsumeArguments => runArguments(parse(line));

const start = { at: "start", plus: 0 } as const;

describe("odradek consume", () => {
  test("by itself: every partition from the start on, read_committed, as JSON", () => {
    expect(read("t")).toEqual({
      brokers: [{ host: "127.0.0.1", port: 9092 }],
      url: undefined,
      topics: ["t"],
      regex: false,
      from: { kind: "partitions", partitions: undefined, range: { from: start, to: undefined } },
      count: Number.POSITIVE_INFINITY,
      exit: false,
      isolation: "read_committed",
      output: { kind: "json", pretty: false, metaOnly: false },
      notes: "usual",
    });
  });

  test("topics as words, as kcat and as Kafka name them", () => {
    expect(read("a -t b --topic c -r").topics).toEqual(["b", "c", "a"]);
  });

  test("partitions, offsets, how many, and the end", () => {
    expect(read("t -p 0,2-4 -o 5:end")).toMatchObject({
      from: {
        kind: "partitions",
        partitions: [0, 2, 3, 4],
        range: { from: { at: "offset", offset: 5 }, to: { at: "end", minus: 0 } },
      },
    });
    expect(read("t -o @-1h").from).toMatchObject({ range: { from: { at: "time", timestamp: NOW - 3_600_000 } } });
    expect(read("t -n 7 -e -q")).toMatchObject({ count: 7, exit: true, notes: "quiet" });
    expect(read("t --max-messages 7 --from-beginning -v")).toMatchObject({ count: 7, notes: "verbose" });
    expect(read("t -n 0").count).toBe(Number.POSITIVE_INFINITY);
  });

  test("a group, and where it begins", () => {
    expect(read("t -g g").from).toEqual({ kind: "group", groupId: "g", protocol: "classic", reset: "earliest" });
    expect(read("t -g g -o end --group-protocol consumer").from).toEqual({
      kind: "group",
      groupId: "g",
      protocol: "consumer",
      reset: "latest",
    });
  });

  test("through the gateway, where members speak KIP-848", () => {
    expect(read("t --url http://a:1 -g g")).toMatchObject({ url: "http://a:1", from: { protocol: "consumer" } });
  });

  test("isolation and form", () => {
    expect(read("t --read-uncommitted").isolation).toBe("read_uncommitted");
    expect(read("t --isolation-level read_uncommitted").isolation).toBe("read_uncommitted");
    expect(read("t -J --pretty-print --meta-only").output).toEqual({ kind: "json", pretty: true, metaOnly: true });
    expect(read("t -f json").output).toEqual({ kind: "json", pretty: false, metaOnly: false });
    expect(read("t -f %v\\n").output.kind).toBe("format");
  });

  test.each([
    ["", "which topic?"],
    ["t -o x", '--offset "x": expected start'],
    ["t -o 5:3", "--offset 5:3: the end is not behind the start"],
    ["t -p x", "--partitions x: expected 0,1,4-7"],
    ["t -n x", "--num x: expected a whole number from 1 on"],
    ["t -g g -p 1", "--group gives the partitions"],
    ["t -g g -o 5", "--offset 5: with --group it is start or end"],
    ["t -g g -o :end", "--offset :end: with --group"],
    ["t --from-beginning -o 5", "--from-beginning and --offset"],
    ["t -f %z", "%z: verbs are"],
    ["t -f %v --meta-only", "--meta-only is of the JSON form"],
    ["t --isolation-level x", "--isolation-level x: allowed are"],
    ["t --url localhost:8080", "--url localhost:8080: expected http://HOST:PORT"],
    ["t --url http://a:1 -b a:2", "--url and --brokers are two doors"],
    ["t --url http://a:1 -g g --group-protocol classic", "--group-protocol classic is not for --url"],
    ["t --group-protocol x -g g", "--group-protocol x: allowed are classic, consumer"],
  ])("%s: %s", (line, says) => {
    const parsed = parse(line);
    expect(parsed.kind === "error" && parsed.message).toStartWith(says);
  });

  test("an expression that is none", () => {
    const parsed = parseConsumeArguments(["-r", "("], NOW, {});
    expect(parsed.kind === "error" && parsed.message).toStartWith("--regex (: ");
  });

  test("help has offsets, formats and examples", () => {
    const help = parse("--help");
    for (const part of ["Usage: odradek consume", "@T:T", "%h{…}", "For example\n  odradek consume", "--brokers"])
      expect(help.kind === "help" && help.text).toContain(part);
  });
});
