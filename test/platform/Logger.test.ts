/** The logger's two formats: one event is one line in both. */
import { expect, test } from "bun:test";
import { type LogLevel, makeLogger } from "../../src/platform/Logger.ts";

function linesOf(format: "human" | "json") {
  const lines: Array<[LogLevel, string]> = [];
  const log = makeLogger({ format, now: () => 0, write: (level, line) => lines.push([level, line]) });
  log("info", "Kafka Server started");
  log("warn", "two\nlines", { port: 9092 });
  return lines;
}

test("human lines carry time, level, message and fields", () => {
  expect(linesOf("human")).toEqual([
    ["info", "1970-01-01T00:00:00.000Z INFO  Kafka Server started"],
    ["warn", "1970-01-01T00:00:00.000Z WARN  two | lines port=9092"],
  ]);
});

test("json lines are one object each", () => {
  expect(linesOf("json").map(([, line]) => JSON.parse(line))).toEqual([
    { time: "1970-01-01T00:00:00.000Z", level: "info", message: "Kafka Server started" },
    { time: "1970-01-01T00:00:00.000Z", level: "warn", message: "two\nlines", port: 9092 },
  ]);
});
