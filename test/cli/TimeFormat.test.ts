/** Of each conversion, what GNU `date -u` prints. */
import { expect, test } from "bun:test";
import { strftime } from "../../src/cli/TimeFormat.ts";

const SECONDS = [0, 1_700_000_000, 1_230_768_000, 1_325_376_000, 951_782_400, -86_400, 1_735_689_599];

const printed: Readonly<Record<string, ReadonlyArray<string>>> = {
  "%a %b %e %H %I %l %p": [
    "Thu Jan  1 00 12 12 AM",
    "Tue Nov 14 22 10 10 PM",
    "Thu Jan  1 00 12 12 AM",
    "Sun Jan  1 00 12 12 AM",
    "Tue Feb 29 00 12 12 AM",
    "Wed Dec 31 00 12 12 AM",
    "Tue Dec 31 23 11 11 PM",
  ],
  "%C %D %G %g %j": [
    "19 01/01/70 1970 70 001",
    "20 11/14/23 2023 23 318",
    "20 01/01/09 2009 09 001",
    "20 01/01/12 2011 11 001",
    "20 02/29/00 2000 00 060",
    "19 12/31/69 1970 70 365",
    "20 12/31/24 2025 25 366",
  ],
  "%s %u %U %V %w %W": [
    "0 4 00 01 4 00",
    "1700000000 2 46 46 2 46",
    "1230768000 4 00 01 4 00",
    "1325376000 7 01 52 0 00",
    "951782400 2 09 09 2 09",
    "-86400 3 52 01 3 52",
    "1735689599 2 52 01 2 53",
  ],
  "%c|%r|%T|%Ez%%%Q%": [
    "Thu Jan  1 00:00:00 1970|12:00:00 AM|00:00:00|%%Q%",
    "Tue Nov 14 22:13:20 2023|10:13:20 PM|22:13:20|%%Q%",
    "Thu Jan  1 00:00:00 2009|12:00:00 AM|00:00:00|%%Q%",
    "Sun Jan  1 00:00:00 2012|12:00:00 AM|00:00:00|%%Q%",
    "Tue Feb 29 00:00:00 2000|12:00:00 AM|00:00:00|%%Q%",
    "Wed Dec 31 00:00:00 1969|12:00:00 AM|00:00:00|%%Q%",
    "Tue Dec 31 23:59:59 2024|11:59:59 PM|23:59:59|%%Q%",
  ],
};

test.each(Object.entries(printed))("%s", (format, expected) => {
  const write = strftime(format);
  expect(SECONDS.map((seconds) => write(seconds * 1000))).toEqual([...expected]);
});
