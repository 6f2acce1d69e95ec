import { describe, expect, test } from "bun:test";
import { groupHelp, parseGroupArguments } from "../../src/cli/GroupArguments.ts";

const shared = { bootstrap: { host: "127.0.0.1", port: 9092 }, format: "text" } as const;

describe("odradek group", () => {
  test("list, with filters that may come again, and a broker", () => {
    expect(parseGroupArguments(["list"])).toEqual({ verb: "list", ...shared, states: [], types: [] });
    const args = ["list", "--state", "Empty", "--state=Stable", "--type", "classic", "--bootstrap", "k.example:19092"];
    expect(parseGroupArguments(args)).toEqual({
      verb: "list",
      ...shared,
      bootstrap: { host: "k.example", port: 19_092 },
      states: ["Empty", "Stable"],
      types: ["classic"],
    });
  });

  test("describe and delete name groups", () => {
    expect(parseGroupArguments(["describe", "a", "b"])).toEqual({ verb: "describe", ...shared, groups: ["a", "b"] });
    expect(parseGroupArguments(["delete", "a", "--json"])).toEqual({
      verb: "delete",
      ...shared,
      format: "json",
      groups: ["a"],
    });
  });

  test("reset has one target, any number of topics, and changes nothing unless told to", () => {
    expect(parseGroupArguments(["reset", "g", "--to-earliest"])).toEqual({
      verb: "reset",
      ...shared,
      group: "g",
      scopes: [],
      target: { to: "earliest" },
      execute: false,
    });
    expect(
      parseGroupArguments(["reset", "g", "--shift-by", "-5", "--topic=t:0,2", "--topic", "u", "--execute"]),
    ).toEqual({
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
    expect(parseGroupArguments(["reset", "g", "--to-datetime", "2026-01-31T12:00:00Z"])).toMatchObject({
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
    ["list --bootstrap nowhere", "--bootstrap: expected HOST:PORT"],
    ["list --nope", "unknown option --nope"],
    ["list --state", "--state needs a value"],
  ];
  for (const [args, says] of wrong) {
    test(`${args}: ${says}`, () => {
      const parsed = parseGroupArguments(args.split(" "));
      expect("error" in parsed && parsed.error).toContain(says);
    });
  }

  test("help names every verb", () => {
    expect(parseGroupArguments([])).toEqual({ verb: "help" });
    for (const verb of ["list", "describe", "reset", "delete"]) expect(groupHelp()).toContain(`\n  ${verb} `);
  });
});
