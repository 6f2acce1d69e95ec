import { describe, expect, test } from "bun:test";
import {
  beginResolution,
  isResolved,
  MAX_PATTERN_LENGTH,
  type RegexResolution,
  regexProblem,
  resolveSlice,
} from "../../src/group/SubscribedRegex.ts";

const resolve = (patterns: ReadonlyArray<string>, names: ReadonlyArray<string>) => {
  const slices: RegexResolution[] = [];
  let resolution = beginResolution(patterns, names);
  while (!isResolved(resolution)) slices.push((resolution = resolveSlice(resolution)));
  return { matches: resolution.resolved, slices };
};

describe("what is a pattern", () => {
  test("problems have RE2's words, as Kafka 4.3.1 answers them", () => {
    expect(regexProblem("[")).toBe("missing closing ]");
    expect(regexProblem("*a")).toBe("missing argument to repetition operator");
    expect(regexProblem("(a")).toBe("missing closing )");
    expect(regexProblem("\\")).toBe("trailing backslash at end of expression");
    expect(regexProblem("a{1001}")).toBe("invalid repeat count");
    expect(regexProblem("\\1")).toBe("invalid escape sequence");
    expect(regexProblem("(?=a)")).toBe("invalid or unsupported Perl syntax");
  });

  test("what is one has none", () => {
    for (const pattern of ["", "foo.*", "(?i)FOO", "^a|b$", "[[:alpha:]]+", "\\pL+", "(?P<n>a)"]) {
      expect(regexProblem(pattern)).toBeUndefined();
    }
  });

  test("longer than the limit is none, without being compiled", () => {
    expect(regexProblem("a".repeat(MAX_PATTERN_LENGTH))).toBeUndefined();
    expect(regexProblem("a".repeat(MAX_PATTERN_LENGTH + 1))).toBe("expression too long");
  });

  test("nested repetition cannot make a small pattern large", () => {
    for (const pattern of ["(a{1000}){1000}", "((a{100}){100}){100}", `${"(".repeat(1001)}a${")".repeat(1001)}`]) {
      const before = performance.now();
      expect(regexProblem(pattern)).toBeDefined();
      expect(performance.now() - before).toBeLessThan(500);
    }
  });
});

describe("what it matches", () => {
  test("whole names only", () => {
    expect(resolve(["foo", "fo+.*", "a|b", "x"], ["a", "ab", "b", "foo", "foobar"]).matches).toEqual([
      ["foo"],
      ["foo", "foobar"],
      ["a", "b"],
      [],
    ]);
  });

  test("a stored pattern that is none matches nothing", () => {
    expect(resolve(["[", "a"], ["a"]).matches).toEqual([[], ["a"]]);
  });

  test("no topics, no patterns", () => {
    expect(resolve(["a"], []).matches).toEqual([[]]);
    expect(resolve([], ["a"]).matches).toEqual([]);
  });
});

describe("no pattern stalls the event loop", () => {
  const names = Array.from({ length: 300 }, (_, index) => `${"a".repeat(240)}${index}`);

  for (const pattern of ["(a*)*b", "(a+)+$", "(.*.*.*.*.*.*){30}x", "(a?){500}(a){500}", "(a|aa)+!"]) {
    test(`${pattern}: in slices, each short`, () => {
      let longest = 0;
      let slices = 0;
      let resolution = beginResolution([pattern], names);
      while (!isResolved(resolution)) {
        const before = performance.now();
        resolution = resolveSlice(resolution);
        longest = Math.max(longest, performance.now() - before);
        slices += 1;
      }
      // A backtracking engine needs longer than the universe for the first of these names.
      expect(longest).toBeLessThan(10_000);
      expect(slices).toBeGreaterThan(0);
    });
  }

  test("slices go on where the last one ended, pattern by pattern", () => {
    const many = Array.from(
      { length: 3000 },
      (_, index) => `topic-${String(index).padStart(5, "0")}-${"x".repeat(100)}`,
    );
    const { matches, slices } = resolve(["topic-.*(0|5)-x+", "(topic|t).*9-x+", "nothing"], many);
    expect(slices.length).toBeGreaterThan(2);
    expect(matches.map(({ length }) => length)).toEqual([600, 300, 0]);
  });
});
