/** What options may look like: each slip is refused in one line that says what is allowed. */
import { expect, test } from "bun:test";
import {
  checkNames,
  checkNumber,
  checkSeed,
  checkSettings,
  checkTopic,
  checkTopics,
} from "../../actors/testing/Options.ts";

const said = (check: () => void): string => {
  try {
    check();
    return "fine";
  } catch (error) {
    return (error as Error).message;
  }
};

test("names: an object with no others, inherited ones are none", () => {
  const names = (given: unknown) => said(() => checkNames("x", given, { a: true, b: true }));
  expect([{}, { a: 1 }, { a: 1, b: undefined }].map(names)).toEqual(["fine", "fine", "fine"]);
  expect(names({ c: 1 })).toBe("x: c (allowed: a, b)");
  expect(names({ toString: 1 })).toBe("x: toString (allowed: a, b)");
  expect([null, [], 5, undefined].map(names)).toEqual(
    ["null", "[]", "5", "undefined"].map((shown) => `x: ${shown} (allowed: an object with a, b)`),
  );
});

test("numbers from the least on, seeds that are numbers or texts", () => {
  expect([0, 1, 0.5].map((value) => said(() => checkNumber("x", value, 0)))).toEqual(["fine", "fine", "fine"]);
  for (const value of [-1, Number.NaN, "1", undefined])
    expect(said(() => checkNumber("x", value, 0))).toEndWith("(allowed: 0 and more)");
  expect([0, -1.5, "", "a"].map((seed) => said(() => checkSeed("x", seed)))).toEqual(["fine", "fine", "fine", "fine"]);
  for (const seed of [Number.POSITIVE_INFINITY, Number.NaN, null, undefined, {}])
    expect(said(() => checkSeed("x", seed))).toEndWith("(allowed: a number or a text)");
});

test("topics and settings, or none", () => {
  expect([undefined, [], ["t"], [{ name: "t" }]].map((topics) => said(() => checkTopics("x", topics)))).toEqual(
    Array(4).fill("fine"),
  );
  expect(said(() => checkTopics("x", { name: "t" }))).toBe('x: {"name":"t"} (allowed: a list)');
  expect(said(() => checkTopics("x", ["t", { name: 5 }]))).toBe("x: name is 5 (allowed: a text)");
  expect(said(() => checkTopic("x", { name: "t", size: 1 }))).toBe("x: size (allowed: name, partitions, config)");
  expect([undefined, {}, { a: 1 }].map((config) => said(() => checkSettings("x", config)))).toEqual(
    Array(3).fill("fine"),
  );
  expect([null, [], "a=b"].map((config) => said(() => checkSettings("x", config)))).toEqual(
    ["null", "[]", '"a=b"'].map((shown) => `x: ${shown} (allowed: an object of settings)`),
  );
});
