/** The server's command line: what it understands, and that everything else is refused in one line. */
import { expect, test } from "bun:test";
import { parseServerArguments } from "../../src/cli/ServerArguments.ts";
import { VERSION } from "../../src/cli/Version.ts";

test("options may be given with a space or an equals sign, overrides again and again", () => {
  expect(
    parseServerArguments([
      "--",
      "--config=a.properties",
      "--override",
      "a=b=c",
      "--override=d=",
      "--log-format",
      "json",
    ]),
  ).toEqual({ kind: "run", arguments: { configFile: "a.properties", overrides: ["a=b=c", "d="], logFormat: "json" } });
  expect(parseServerArguments([])).toEqual({
    kind: "run",
    arguments: { configFile: undefined, overrides: [], logFormat: "human" },
  });
});

test("Kafka's own way to name the file works", () => {
  expect(parseServerArguments(["server.properties", "--override", "node.id=3"])).toMatchObject({
    kind: "run",
    arguments: { configFile: "server.properties", overrides: ["node.id=3"] },
  });
});

test("help and version win over everything after them", () => {
  const help = parseServerArguments(["--help", "--nonsense"]);
  expect(help.kind === "help" && help.text).toContain("PLAINTEXT://127.0.0.1:9092");
  const version = parseServerArguments(["--version", "--nonsense"]);
  expect(version.kind === "help" && version.text).toStartWith(`odradek ${VERSION} (Kafka 4.`);
  expect(VERSION).toMatch(/^\d+\.\d+\.\d+/);
});

test.each([
  [["--nonsense"], "unknown option --nonsense"],
  [["-x"], "unknown option -x"],
  [["--config"], "--config needs a value"],
  [["--override", "novalue"], "--override novalue: expected key=value"],
  [["--override", "=v"], "--override =v: expected key=value"],
  [["--log-format", "xml"], "--log-format xml: allowed are human, json"],
  [["a.properties", "b.properties"], "unexpected argument b.properties"],
  [["a.properties", "--config", "b.properties"], "more than one configuration file"],
])("%p is refused", (args, message) => {
  const parsed = parseServerArguments(args);
  expect(parsed.kind).toBe("error");
  expect(parsed.kind === "error" ? parsed.message : "").toStartWith(message);
});
