import { describe, expect, test } from "bun:test";
import { parseTransactionArguments } from "../../src/cli/TransactionArguments.ts";
import { runArguments } from "../support/RunArguments.ts";

const shared = { brokers: [{ host: "127.0.0.1", port: 9092 }], format: "text" } as const;
const read = (args: string) => parseTransactionArguments(args === "" ? [] : args.split(" "), {});
const parse = (args: string) => runArguments(read(args));

describe("odradek txn", () => {
  test("list, with filters", () => {
    const every = { verb: "list", ...shared, states: [], producerIds: [], durationMs: -1, pattern: null } as const;
    expect(parse("list")).toEqual(every);
    const args = "list --state Ongoing --state=Empty --producer-id 7 --duration 1000 --pattern app-.* --json";
    expect(parse(args)).toEqual({
      ...every,
      format: "json",
      states: ["Ongoing", "Empty"],
      producerIds: [7],
      durationMs: 1000,
      pattern: "app-.*",
    });
  });

  test("describe names ids, describe-producers and find-hanging partitions", () => {
    expect(parse("describe a b")).toEqual({ verb: "describe", ...shared, transactionalIds: ["a", "b"] });
    const scopes = [
      { topic: "t", partitions: [0, 2] },
      { topic: "u", partitions: undefined },
    ];
    expect(parse("describe-producers t:0,2 u")).toEqual({ verb: "describe-producers", ...shared, scopes });
    expect(parse("find-hanging")).toEqual({ verb: "find-hanging", ...shared, scopes: [], maxTimeoutMs: 900_000 });
    expect(parse("find-hanging t:0,2 u --max-timeout 0")).toEqual({
      verb: "find-hanging",
      ...shared,
      scopes,
      maxTimeoutMs: 0,
    });
  });

  test("abort takes an id, or the place where a hanging transaction begins", () => {
    expect(parse("abort app")).toEqual({ verb: "abort", ...shared, transactionalId: "app" });
    expect(parse("abort app:0")).toEqual({ verb: "abort", ...shared, transactionalId: "app:0" });
    expect(parse("abort t:3 --start-offset 17")).toEqual({
      verb: "abort-hanging",
      ...shared,
      topic: "t",
      partition: 3,
      startOffset: 17,
    });
  });

  const wrong: ReadonlyArray<readonly [args: string, says: string]> = [
    ["frobnicate", "there is no txn frobnicate"],
    ["list a", "unexpected argument a"],
    ["list --duration soon", "--duration soon: expected a whole number from -1 on"],
    ["list --producer-id x", "--producer-id x: expected a whole number"],
    ["describe", "which transactional id?"],
    ["describe-producers", "of which TOPIC"],
    ["describe-producers t:x", "t:x: expected TOPIC or TOPIC:0,1"],
    ["find-hanging t:", "t:: expected TOPIC or TOPIC:0,1"],
    ["find-hanging --max-timeout -1", "--max-timeout -1: expected a whole number from 0 on"],
    ["abort", "one transactional id"],
    ["abort a b", "one transactional id"],
    ["abort t --start-offset 1", "t: expected TOPIC:PARTITION"],
    ["abort t:0,1 --start-offset 1", "t:0,1: expected TOPIC:PARTITION"],
    ["list --topic t", "unknown option --topic"],
  ];
  for (const [args, says] of wrong) {
    test(`${args}: ${says}`, () => {
      const parsed = read(args);
      expect(parsed.kind === "error" && parsed.message).toContain(says);
    });
  }

  test("help names every verb", () => {
    const help = read("");
    for (const verb of ["list", "describe", "describe-producers", "find-hanging", "abort"])
      expect(help.kind === "help" && help.text).toContain(`\n  ${verb} `);
  });
});
