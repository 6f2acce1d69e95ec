/** How the nine types are read and printed: Java's rules, not JavaScript's. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { boolean, double, int, list, long, parseConfigValue, printConfigValue } from "../../src/config/ConfigKey.ts";

const mode = "read-only";

test("every int64 is read, printed unchanged, and saturated as a number", () => {
  const key = long(0, mode, "");
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      expect(printConfigValue("k", key, String(value))).toBe(String(value));
      const parsed = parseConfigValue("k", key, ` ${value} `);
      const bounded =
        value > 0n
          ? Math.min(Number(value), Number.MAX_SAFE_INTEGER)
          : Math.max(Number(value), Number.MIN_SAFE_INTEGER);
      expect(parsed).toEqual({ ok: true, value: bounded });
    }),
  );
});

test("whatever the text, reading an int answers a number in range or an error that quotes it", () => {
  const key = int(0, mode, "");
  const numberlike = fc.oneof(fc.string(), fc.stringMatching(/^[+-]?[0-9.eEx_]{0,12}$/));
  fc.assert(
    fc.property(numberlike, (text) => {
      const parsed = parseConfigValue("k", key, text);
      if (parsed.ok) {
        expect(text.trim()).toMatch(/^[+-]?\d+$/);
        expect(Math.abs(Number(parsed.value))).toBeLessThanOrEqual(2 ** 31);
      } else expect(parsed.error).toBe(`Invalid value ${text} for configuration k: Not a number of type INT`);
    }),
  );
});

test.each([
  ["2", "2.0"],
  [".5", "0.5"],
  ["1e-1", "0.1"],
  ["1E7", "1.0E7"],
  ["0.0001", "1.0E-4"],
  ["1.7976931348623157E308", "1.7976931348623157E308"],
  ["1234567.5", "1234567.5"],
  ["0", "0.0"],
  ["-3d", "-3.0"],
])("the double %s is printed %s, as Java prints it", (text, printed) => {
  expect(printConfigValue("k", double(0, mode, ""), text)).toBe(printed);
});

test("what is no value is quoted with the white space it came with, as Kafka quotes it", () => {
  const numbers = { INT: int(0, mode, ""), LONG: long(0, mode, ""), DOUBLE: double(0, mode, "") };
  for (const [type, key] of Object.entries(numbers)) {
    const error = `Invalid value  x  for configuration k: Not a number of type ${type}`;
    expect(parseConfigValue("k", key, " x ")).toEqual({ ok: false, error });
  }
  const error = "Invalid value  5  for configuration k: Expected value to be either true or false";
  expect(parseConfigValue("k", boolean(false, mode, ""), " 5 ")).toEqual({ ok: false, error });
});

test("a list keeps its order, loses white space and repeats; empty text is no element", () => {
  const key = list("", mode, "");
  expect(parseConfigValue("k", key, " b ,a,b ")).toEqual({ ok: true, value: ["b", "a"] });
  expect(parseConfigValue("k", key, "")).toEqual({ ok: true, value: [] });
});

test("throttled replicas: repeats stay, and what stands between commas may be nothing, as in Kafka", () => {
  const name = "leader.replication.throttled.replicas";
  const key = list("", mode, "", { kind: "throttledReplicas" });
  for (const text of ["", "*", ",", "0:1,0:1", "0:1,,", ",,"]) expect(printConfigValue(name, key, text)).toBe(text);
  for (const text of ["", "*", ",", "*,", "0:1,0:1", "0:1,,"]) expect(parseConfigValue(name, key, text).ok).toBe(true);
  for (const text of ["*,*", "*,0:1", ",x", "0:1:2", "0"]) {
    const parsed = parseConfigValue(name, key, text);
    expect(parsed.ok ? text : parsed.error).toStartWith(`Invalid value [${text.replaceAll(",", ", ")}] for`);
  }
});
