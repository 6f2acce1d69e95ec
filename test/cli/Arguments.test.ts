import { describe, expect, test } from "bun:test";
import {
  endingFlag,
  flag,
  keyValue,
  oneOf,
  readArguments,
  UsageError,
  valued,
  wholeNumber,
} from "../../src/cli/Arguments.ts";
import { doorOptions, readDoor } from "../../src/cli/Options.ts";

const options = {
  num: valued("--num", "-n"),
  header: valued("--header", "-H"),
  regex: flag("--regex", "-r"),
  exit: flag("--exit", "-e"),
  help: endingFlag("--help"),
};

const read = (line: string) => {
  const given = readArguments(line === "" ? [] : line.split(" "), options);
  const names = (Object.keys(options) as Array<keyof typeof options>).filter((name) => given.has(name));
  return { words: given.words, ...Object.fromEntries(names.map((name) => [name, given.all(name).join(" ")])) };
};

describe("a command line", () => {
  test.each([
    ["", { words: [] }],
    ["a -n 5 b", { words: ["a", "b"], num: "5" }],
    ["-n5 --num=6 --num 7", { words: [], num: "5 6 7" }],
    ["-n -5", { words: [], num: "-5" }],
    ["-H a=b --header=c=d", { words: [], header: "a=b c=d" }],
    ["-re a", { words: ["a"], regex: "", exit: "" }],
    ["-ren5", { words: [], regex: "", exit: "", num: "5" }],
    ["-rn 5", { words: [], regex: "", num: "5" }],
    ["- -r", { words: ["-"], regex: "" }],
    ["-- a -r", { words: ["a"], regex: "" }],
    ["a -- -r -n", { words: ["a", "-r", "-n"] }],
    ["a --help --nonsense", { words: ["a"], help: "" }],
  ])("%s", (line, expected) => {
    expect(read(line)).toEqual(expected);
  });

  test.each([
    ["--nope", "unknown option --nope"],
    ["-rx", "unknown option -x"],
    ["--num", "--num needs a value"],
    ["--num=", "--num needs a value"],
    ["-n", "-n needs a value"],
    ["--regex=yes", "--regex takes no value"],
  ])("%s: %s", (line, says) => {
    expect(() => read(line)).toThrow(new UsageError(says));
  });

  test("values", () => {
    expect(wholeNumber("12", "-n", 1)).toBe(12);
    for (const wrong of ["0", "1.5", "x", "1e3", "99999999999999999999"])
      expect(() => wholeNumber(wrong, "-n", 1)).toThrow(UsageError);
    expect([keyValue("a=b:c", "-H"), keyValue("a:b=c", "-H"), keyValue("a=", "-H")]).toEqual([
      ["a", "b:c"],
      ["a", "b=c"],
      ["a", ""],
    ]);
    expect(() => keyValue("=a", "-H")).toThrow("-H =a: expected key=value");
    expect(oneOf("b", "-z", ["a", "b"])).toBe("b");
    expect(() => oneOf("c", "-z", ["a", "b"])).toThrow("-z c: allowed are a, b");
  });
});

describe("the brokers", () => {
  const brokers = (line: string, environment = {}) =>
    readDoor(readArguments(line === "" ? [] : line.split(" "), doorOptions), environment).brokers.map(
      ({ host, port }) => `${host} ${port}`,
    );

  test("from the command line, else from the environment, else this machine's", () => {
    const environment = { ODRADEK_BROKERS: "c:1,d" };
    expect(brokers("-b a:9093,b", environment)).toEqual(["a 9093", "b 9092"]);
    expect(brokers("--bootstrap-server [::1]:5", environment)).toEqual(["::1 5"]);
    expect(brokers("", environment)).toEqual(["c 1", "d 9092"]);
    expect(brokers("")).toEqual(["127.0.0.1 9092"]);
  });

  test.each(["a:b", "a:0", "a:70000", "a,,b", ":9092", "::1"])("%s is none", (wrong) => {
    expect(() => brokers(`-b ${wrong}`)).toThrow("expected HOST:PORT");
  });
});
