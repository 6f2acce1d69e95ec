import { describe, expect, test } from "bun:test";
import { type ProduceArguments, parseProduceArguments } from "../../src/cli/ProduceArguments.ts";
import { runArguments } from "../support/RunArguments.ts";

const NOW = 1_800_000_000_000;
const parse = (...args: string[]) => parseProduceArguments(args, NOW, {});
const read = (line: string): ProduceArguments => runArguments(parse(...line.split(" ")));
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

describe("odradek produce", () => {
  test("by itself: lines as values, acknowledged by all, nothing printed", () => {
    const { input, ...rest } = read("t");
    expect(input.kind).toBe("format");
    expect(rest).toEqual({
      brokers: [{ host: "127.0.0.1", port: 9092 }],
      url: undefined,
      defaults: {
        topic: "t",
        partition: undefined,
        key: undefined,
        headers: [],
        timestamp: undefined,
        emptyIsNull: false,
      },
      acks: -1,
      codec: 0,
      batchBytes: 1_000_000,
      deliveryTimeoutMs: 120_000,
      output: undefined,
      transaction: undefined,
      notes: "usual",
    });
  });

  test("what records get that the input does not say", () => {
    expect(read("-t t -k key -H a=1 -H b:2=3 -H c= -p 4 -Z --timestamp 2026-01-31").defaults).toEqual({
      topic: "t",
      partition: 4,
      key: text("key"),
      headers: [
        { key: "a", value: text("1") },
        { key: "b", value: text("2=3") },
        { key: "c", value: text("") },
      ],
      timestamp: Date.UTC(2026, 0, 31),
      emptyIsNull: true,
    });
    expect(read("t -p -1 --timestamp now").defaults).toMatchObject({ partition: -1, timestamp: NOW });
  });

  test("how it is written, and what is printed of it", () => {
    expect(read("t --acks 1 -z zstd --max-message-bytes 500 --delivery-timeout 30s -q")).toMatchObject({
      acks: 1,
      codec: 4,
      batchBytes: 500,
      deliveryTimeoutMs: 30_000,
      notes: "quiet",
    });
    expect(read("t -o json").output).toEqual({ kind: "json", pretty: false, metaOnly: true });
    expect(read("t -o %o\\n").output?.kind).toBe("format");
    expect(read("t --transactional-id x --transaction-timeout 5m").transaction).toEqual({
      id: "x",
      timeoutMs: 300_000,
    });
    expect(read("t --transactional-id x").transaction).toEqual({ id: "x", timeoutMs: 60_000 });
  });

  test("the topic may be in the input", () => {
    expect(read("-J").input.kind).toBe("json");
    expect(read("-f %t:%v\\n").defaults.topic).toBeUndefined();
  });

  test.each([
    ["-q", "which topic?"],
    ["-f %v\\n", "which topic?"],
    ["a b", "unexpected argument b"],
    ["t -J -f %v", "--json and --format"],
    ["t -f %k%v", "%k: neither a size"],
    ["t -o %z", "%z: verbs are"],
    ["t -H a", "--header a: expected key=value"],
    ["t -p -2", "--partition -2: expected a whole number from -1 on"],
    ["t -z brotli", "--compression brotli: allowed are none, gzip"],
    ["t --acks 2", "--acks 2: allowed are all"],
    ["t --timestamp soon", "--timestamp soon: expected"],
    ["t --delivery-timeout 0s", "--delivery-timeout 0s: expected a duration"],
    ["t --transactional-id x --acks 1", "--transactional-id needs --acks all"],
    ["t --transaction-timeout 1m", "--transaction-timeout is for --transactional-id"],
  ])("%s: %s", (line, says) => {
    const parsed = parse(...line.split(" "));
    expect(parsed.kind === "error" && parsed.message).toStartWith(says);
  });

  test("help has formats and examples", () => {
    const help = parse("--help");
    for (const part of [
      "Usage: odradek produce",
      "%H %h{…}",
      "For example\n  echo hello | odradek produce",
      "--brokers",
    ])
      expect(help.kind === "help" && help.text).toContain(part);
  });
});
