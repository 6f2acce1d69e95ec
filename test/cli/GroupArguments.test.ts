import { describe, expect, test } from "bun:test";
import { parseGroupArguments } from "../../src/cli/GroupArguments.ts";
import { runArguments } from "../support/RunArguments.ts";

const shared = { brokers: [{ host: "127.0.0.1", port: 9092 }], format: "text" } as const;
const parse = (args: ReadonlyArray<string>) => parseGroupArguments(args, {});
const argumentsOf = (args: ReadonlyArray<string>) => runArguments(parse(args));

describe("odradek group", () => {
  test("list, with filters that may come again, and a broker", () => {
    expect(argumentsOf(["list"])).toEqual({ verb: "list", ...shared, states: [], types: [] });
    const args = ["list", "--state", "Empty", "--state=Stable", "--type", "classic", "--bootstrap", "k.example:19092"];
    expect(argumentsOf(args)).toEqual({
      verb: "list",
      ...shared,
      brokers: [{ host: "k.example", port: 19_092 }],
      states: ["Empty", "Stable"],
      types: ["classic"],
    });
  });

  test("describe and delete name groups", () => {
    expect(argumentsOf(["describe", "a", "b"])).toEqual({ verb: "describe", ...shared, groups: ["a", "b"] });
    expect(argumentsOf(["delete", "a", "--json"])).toEqual({
      verb: "delete",
      ...shared,
      format: "json",
      groups: ["a"],
    });
  });

  test("reset has one target, any number of topics, and changes nothing unless told to", () => {
    expect(argumentsOf(["reset", "g", "--to-earliest"])).toEqual({
      verb: "reset",
      ...shared,
      group: "g",
      scopes: [],
      target: { to: "earliest" },
      execute: false,
    });
    expect(argumentsOf(["reset", "g", "--shift-by", "-5", "--topic=t:0,2", "--topic", "u", "--execute"])).toEqual({
      verb: "reset",
      ...shared,
      group: "g",
      scopes: [
        { topic: "t", partitions: [0, 2] },
        { topic: "u", partitions: undefined },
      ],
      target: { to: "shift", value: -5 },
      execute: true,
    });
    expect(argumentsOf(["reset", "g", "--to-datetime", "2026-01-31T12:00:00Z"])).toMatchObject({
      target: { to: "time", value: Date.UTC(2026, 0, 31, 12) },
    });
  });

  const wrong: ReadonlyArray<readonly [args: string, says: string]> = [
    ["frobnicate", "there is no group frobnicate"],
    ["list a", "unexpected argument a"],
    ["describe", "which group?"],
    ["reset g", "one of --to-earliest"],
    ["reset g --to-earliest --to-latest", "one of --to-earliest"],
    ["reset g --to-offset x", "--to-offset x: expected a number"],
    ["reset g --to-latest --topic t:a", "--topic t:a: expected TOPIC or TOPIC:0,1"],
    ["list --bootstrap a:b", "--brokers a:b: expected HOST:PORT"],
    ["list --nope", "unknown option --nope"],
    ["list --state", "--state needs a value"],
  ];
  for (const [args, says] of wrong) {
    test(`${args}: ${says}`, () => {
      const parsed = parse(args.split(" "));
      expect(parsed.kind === "error" && parsed.message).toContain(says);
    });
  }

  test("help names every verb", () => {
    const help = parse([]);
    for (const verb of ["list", "describe", "reset", "delete"])
      expect(help.kind === "help" && help.text).toContain(`\n  ${verb} `);
  });
});
