/** The ranges of rpk's own tests, and the examples of its help. */
import { describe, expect, test } from "bun:test";
import { type OffsetRange, type Place, parseDuration, parseOffsetRange } from "../../src/cli/OffsetRange.ts";

const NOW = Date.UTC(2026, 0, 31, 12);
const HOUR = 3_600_000;

const start: Place = { at: "start", plus: 0 };
const end: Place = { at: "end", minus: 0 };
const offset = (value: number): Place => ({ at: "offset", offset: value });
const time = (timestamp: number): Place => ({ at: "time", timestamp });

const ranges: ReadonlyArray<readonly [text: string, from: Place, to?: Place]> = [
  ["start", start],
  ["oldest", start],
  ["beginning", start],
  ["earliest", start],
  ["end", end],
  ["newest", end],
  ["latest", end],
  [":end", start, end],
  ["+3", { at: "start", plus: 3 }],
  ["-3", { at: "end", minus: 3 }],
  ["35", offset(35)],
  ["35:", offset(35)],
  [":23", start, offset(23)],
  ["90:91", offset(90), offset(91)],
  ["90-91", offset(90), offset(91)],
  ["90:end", offset(90), end],
  ["90-end", offset(90), end],
  ["@1648021901749:1748021901749", time(1_648_021_901_749), time(1_748_021_901_749)],
  ["@1648021901:1748021901", time(1_648_021_901_000), time(1_748_021_901_000)],
  ["@2022-03-24:2022-03-25", time(1_648_080_000_000), time(1_648_166_400_000)],
  ["@2022-03-23T07:51:41.749Z:2022-03-23T07:52:41.749Z", time(1_648_021_901_749), time(1_648_021_961_749)],
  ["@2022-03-23T07:51:41.7Z:2022-03-23T07:52:41Z", time(1_648_021_901_700), time(1_648_021_961_000)],
  ["@2022-03-23T07:51:41.Z", time(1_648_021_901_000)],
  ["@2022-03-23T07:51:41.Z:1h", time(1_648_021_901_000), time(1_648_025_501_000)],
  ["@2022-02-14:1h", time(Date.UTC(2022, 1, 14)), time(Date.UTC(2022, 1, 14, 1))],
  ["@-48h:-24h", time(NOW - 48 * HOUR), time(NOW - 24 * HOUR)],
  ["@-1m:end", time(NOW - 60_000), end],
  ["@:-1h", start, time(NOW - HOUR)],
  ["@3h:", time(NOW + 3 * HOUR)],
  ["@-3m", time(NOW - 180_000)],
  ["@-1h30m0.5s", time(NOW - 5_400_500)],
];

const wrong: ReadonlyArray<string> = [
  ...["", ":", "+a", "-a", "-end", "5-", "90:39", "90:90", "90:a", "a", "1:2:3", "99999999999999999999"],
  ...["@", "@:", "@end", "@-03-23T07:51:41.Z", "@1648021901749:asdf", "@-1hr", "@2022-02-31", "@1h:2h:3h", "@1 h"],
];

describe("an offset range", () => {
  for (const [text, from, to] of ranges) {
    test(text, () => {
      const expected: OffsetRange = { from, to };
      expect(parseOffsetRange(text, NOW)).toEqual(expected);
    });
  }

  test.each(wrong)("%j is none", (text) => {
    expect(typeof parseOffsetRange(text, NOW)).toBe("string");
  });

  test("durations are Go's", () => {
    expect(["3ms", "10s", "9m", "1h", "1m3ms", "-1.5h", "0", ".5s", "2us"].map(parseDuration)).toEqual([
      3, 10_000, 540_000, 3_600_000, 60_003, -5_400_000, 0, 500, 0.002,
    ]);
    expect(["", "1", "h", "1d", "1 h", "--1h"].map(parseDuration)).toEqual(Array(6).fill(undefined));
  });
});
