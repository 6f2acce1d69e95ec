import { describe, expect, test } from "bun:test";
import { parseTopicArguments, type TopicCommand } from "../../src/cli/TopicArguments.ts";
import { runArguments } from "../support/RunArguments.ts";

const NOW = 1_800_000_000_000;
const parse = (...args: string[]) => parseTopicArguments(args, NOW, {});
const command = (line: string): TopicCommand => runArguments(parse(...line.split(" "))).command;

const verbs = ["list", "describe", "create", "delete", "alter-config", "add-partitions", "trim"];

describe("odradek topic", () => {
  test("list and delete take names or expressions", () => {
    expect(command("list")).toEqual({
      verb: "list",
      topics: { names: [], regex: false },
      internal: false,
      detailed: false,
    });
    expect(command("ls -rid a.* b")).toEqual({
      verb: "list",
      topics: { names: ["a.*", "b"], regex: true },
      internal: true,
      detailed: true,
    });
    expect(command("delete -r a.* --if-exists")).toEqual({
      verb: "delete",
      topics: { names: ["a.*"], regex: true },
      ifExists: true,
    });
  });

  test("describe shows what is asked for, and everything as JSON", () => {
    const sections = (line: string) => {
      const found = command(`describe t ${line}`.trim());
      return found.verb === "describe" ? found.sections : undefined;
    };
    expect(sections("")).toEqual({ summary: true, partitions: true, configs: "own" });
    expect(sections("-s")).toEqual({ summary: true, partitions: false, configs: "none" });
    expect(sections("-pc")).toEqual({ summary: false, partitions: true, configs: "all" });
    expect(sections("-a")).toEqual({ summary: true, partitions: true, configs: "all" });
    expect(sections("--format json -s")).toEqual({ summary: true, partitions: true, configs: "all" });
  });

  test("create", () => {
    const topic = { partitions: -1, replicas: -1, configs: [] };
    expect(command("create a b")).toEqual({
      verb: "create",
      topics: [
        { ...topic, topic: "a" },
        { ...topic, topic: "b" },
      ],
      ifNotExists: false,
      dry: false,
    });
    expect(command("create a -p 3 --replication-factor 2 -c x=1 --config y=2=3 --if-not-exists --dry")).toEqual({
      verb: "create",
      topics: [
        {
          topic: "a",
          partitions: 3,
          replicas: 2,
          configs: [
            ["x", "1"],
            ["y", "2=3"],
          ],
        },
      ],
      ifNotExists: true,
      dry: true,
    });
  });

  test("alter-config, add-partitions and trim", () => {
    expect(command("alter-config a b -s x=1 --append y=2 --subtract z=3 -d w")).toEqual({
      verb: "alter-config",
      topics: ["a", "b"],
      changes: [
        { operation: "set", name: "x", value: "1" },
        { operation: "append", name: "y", value: "2" },
        { operation: "subtract", name: "z", value: "3" },
        { operation: "delete", name: "w", value: null },
      ],
      dry: false,
    });
    expect(command("add-partitions a -n 2")).toEqual({ verb: "add-partitions", topics: ["a"], count: 2 });
    expect(command("trim a -o @-1h -p 0,3-5 --execute")).toEqual({
      verb: "trim",
      topic: "a",
      partitions: [0, 3, 4, 5],
      before: { at: "time", timestamp: NOW - 3_600_000 },
      execute: true,
    });
    expect(command("trim-prefix a -o end")).toMatchObject({ before: { at: "end", minus: 0 }, execute: false });
  });

  test.each([
    ["frobnicate", "there is no topic frobnicate"],
    ["describe", "which topic?"],
    ["create", "which topic?"],
    ["create a -p 0", "--partitions 0: expected a whole number from 1 on"],
    ["create a -c x", "--topic-config x: expected key=value"],
    ["delete -r (", "--regex (: "],
    ["alter-config a", "nothing to change"],
    ["add-partitions a", "--num: how many more?"],
    ["trim a", "--offset: before what offset?"],
    ["trim a -o start", "--offset start: expected N, end"],
    ["trim a -o 5:7", "--offset 5:7: expected N, end"],
    ["trim a b -o 5", "unexpected argument b"],
    ["trim a -o 5 -p 1,x", "--partitions 1,x: expected 0,1,4-7"],
    ["list --url a:1", "--url a:1: expected http://HOST:PORT"],
    ["list --format xml", "--format xml: allowed are text, json"],
  ])("%s: %s", (line, says) => {
    const parsed = parse(...line.split(" "));
    expect(parsed.kind === "error" && parsed.message).toStartWith(says);
  });

  test("help: the verbs, and every option of a verb with examples", () => {
    for (const args of [[], ["--help"]]) {
      const parsed = parse(...args);
      for (const verb of verbs) expect(parsed.kind === "help" && parsed.text).toContain(`\n  ${verb} `);
    }
    for (const verb of verbs) {
      const parsed = parse(verb, "--help");
      const text = parsed.kind === "help" ? parsed.text : "";
      expect(text).toStartWith(`Usage: odradek topic ${verb}`);
      expect(text).toContain(`For example\n  odradek topic ${verb}`);
      expect(text).toContain("--brokers");
    }
  });
});
