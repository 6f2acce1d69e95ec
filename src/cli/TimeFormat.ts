/**
 * A timestamp as text, always in UTC: by `strftime` with the C locale's names, or by Go's reference time
 * (`2006-01-02T15:04:05Z07:00`). A format is compiled once and is then a function of milliseconds since 1970.
 */
import type { Timestamp } from "../prelude/Types.ts";

export type FormatTime = (timestamp: Timestamp) => string;

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"] as const;
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
] as const;

const DAY_MS = 86_400_000;

const zeros = (value: number, width = 2): string =>
  value < 0 ? `-${zeros(-value, width)}` : String(value).padStart(width, "0");
const spaces = (value: number): string => String(value).padStart(2, " ");

const dayName = (date: Date): string => DAYS[date.getUTCDay()]!;
const monthName = (date: Date): string => MONTHS[date.getUTCMonth()]!;
/** 1 … 366. */
const dayOfYear = (date: Date): number =>
  Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / DAY_MS) + 1;
/** 1 … 12. */
const hour12 = (date: Date): number => ((date.getUTCHours() + 11) % 12) + 1;
const noon = (date: Date, before: string, after: string): string => (date.getUTCHours() < 12 ? before : after);

/** ISO 8601: the week belongs to the year its Thursday is in. */
const isoWeek = (date: Date): { readonly year: number; readonly week: number } => {
  const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * DAY_MS);
  return { year: thursday.getUTCFullYear(), week: Math.floor((dayOfYear(thursday) - 1) / 7) + 1 };
};

type Part = (date: Date) => string;

const date: Part = (it) => `${it.getUTCFullYear()}-${zeros(it.getUTCMonth() + 1)}-${zeros(it.getUTCDate())}`;
const clock: Part = (it) => `${zeros(it.getUTCHours())}:${zeros(it.getUTCMinutes())}:${zeros(it.getUTCSeconds())}`;

const conversions: Readonly<Record<string, Part>> = {
  a: (it) => dayName(it).slice(0, 3),
  A: dayName,
  b: (it) => monthName(it).slice(0, 3),
  B: monthName,
  c: (it) =>
    `${dayName(it).slice(0, 3)} ${monthName(it).slice(0, 3)} ${spaces(it.getUTCDate())} ${clock(it)} ${it.getUTCFullYear()}`,
  C: (it) => zeros(Math.floor(it.getUTCFullYear() / 100)),
  d: (it) => zeros(it.getUTCDate()),
  D: (it) => `${zeros(it.getUTCMonth() + 1)}/${zeros(it.getUTCDate())}/${zeros(it.getUTCFullYear() % 100)}`,
  e: (it) => spaces(it.getUTCDate()),
  F: date,
  g: (it) => zeros(isoWeek(it).year % 100),
  G: (it) => String(isoWeek(it).year),
  h: (it) => monthName(it).slice(0, 3),
  H: (it) => zeros(it.getUTCHours()),
  I: (it) => zeros(hour12(it)),
  j: (it) => zeros(dayOfYear(it), 3),
  k: (it) => spaces(it.getUTCHours()),
  l: (it) => spaces(hour12(it)),
  m: (it) => zeros(it.getUTCMonth() + 1),
  M: (it) => zeros(it.getUTCMinutes()),
  n: () => "\n",
  p: (it) => noon(it, "AM", "PM"),
  P: (it) => noon(it, "am", "pm"),
  r: (it) => `${zeros(hour12(it))}:${zeros(it.getUTCMinutes())}:${zeros(it.getUTCSeconds())} ${noon(it, "AM", "PM")}`,
  R: (it) => clock(it).slice(0, 5),
  s: (it) => String(Math.floor(it.getTime() / 1000)),
  S: (it) => zeros(it.getUTCSeconds()),
  t: () => "\t",
  T: clock,
  u: (it) => String(it.getUTCDay() || 7),
  U: (it) => zeros(Math.floor((dayOfYear(it) - 1 + 7 - it.getUTCDay()) / 7)),
  V: (it) => zeros(isoWeek(it).week),
  w: (it) => String(it.getUTCDay()),
  W: (it) => zeros(Math.floor((dayOfYear(it) - 1 + 7 - ((it.getUTCDay() + 6) % 7)) / 7)),
  // The day first, as rpk has it; the C locale would have the month there.
  x: (it) => `${zeros(it.getUTCDate())}/${zeros(it.getUTCMonth() + 1)}/${zeros(it.getUTCFullYear() % 100)}`,
  X: clock,
  y: (it) => zeros(it.getUTCFullYear() % 100),
  Y: (it) => zeros(it.getUTCFullYear(), 4),
  z: () => "+0000",
  Z: () => "UTC",
  "+": (it) =>
    `${dayName(it).slice(0, 3)} ${monthName(it).slice(0, 3)} ${spaces(it.getUTCDate())} ${clock(it)} UTC ${it.getUTCFullYear()}`,
  "%": () => "%",
};

const compile = (parts: ReadonlyArray<string | Part>): FormatTime => {
  return (timestamp) => {
    const at = new Date(timestamp);
    return parts.map((part) => (typeof part === "string" ? part : part(at))).join("");
  };
};

/** `%E` and `%O` are passed over with the letter they modify; what is no conversion stands for itself. */
export const strftime = (format: string): FormatTime =>
  compile(
    [...format.matchAll(/%[EO][a-zA-Z]?|%[\s\S]|[^%]+|%$/g)].map(([text]) => {
      if (!text.startsWith("%") || text === "%") return text;
      if (text[1] === "E" || text[1] === "O") return "";
      return conversions[text[1]!] ?? text;
    }),
  );

/** Longest first, as Go's `time` looks for them. */
const goParts: ReadonlyArray<readonly [text: string, part: Part]> = [
  ["January", monthName],
  ["Jan", (it) => monthName(it).slice(0, 3)],
  ["Monday", dayName],
  ["Mon", (it) => dayName(it).slice(0, 3)],
  ["MST", () => "UTC"],
  ["2006", (it) => zeros(it.getUTCFullYear(), 4)],
  ["-07:00:00", () => "+00:00:00"],
  ["-07:00", () => "+00:00"],
  ["-070000", () => "+000000"],
  ["-0700", () => "+0000"],
  ["-07", () => "+00"],
  ["Z07:00:00", () => "Z"],
  ["Z07:00", () => "Z"],
  ["Z070000", () => "Z"],
  ["Z0700", () => "Z"],
  ["Z07", () => "Z"],
  ["__2", (it) => String(dayOfYear(it)).padStart(3, " ")],
  ["002", (it) => zeros(dayOfYear(it), 3)],
  ["01", (it) => zeros(it.getUTCMonth() + 1)],
  ["02", (it) => zeros(it.getUTCDate())],
  ["03", (it) => zeros(hour12(it))],
  ["04", (it) => zeros(it.getUTCMinutes())],
  ["05", (it) => zeros(it.getUTCSeconds())],
  ["06", (it) => zeros(it.getUTCFullYear() % 100)],
  ["15", (it) => zeros(it.getUTCHours())],
  ["PM", (it) => noon(it, "AM", "PM")],
  ["pm", (it) => noon(it, "am", "pm")],
  // "_2006" is an underscore and a year, not a day and "006".
  ["_2006", (it) => `_${zeros(it.getUTCFullYear(), 4)}`],
  ["_2", (it) => spaces(it.getUTCDate())],
  ["1", (it) => String(it.getUTCMonth() + 1)],
  ["2", (it) => String(it.getUTCDate())],
  ["3", (it) => String(hour12(it))],
  ["4", (it) => String(it.getUTCMinutes())],
  ["5", (it) => String(it.getUTCSeconds())],
];

/** `.000` or `,000` with so many digits, `.999` without the zeros at the end. */
const FRACTION = /^[.,](0+|9+)(?!\d)/;

const fraction = (text: string): Part => {
  const digits = text.length - 1;
  return (it) => {
    const padded = zeros(it.getUTCMilliseconds(), 3).padEnd(digits, "0").slice(0, digits);
    if (text[1] === "0") return text[0]! + padded;
    const shortest = padded.replace(/0+$/, "");
    return shortest === "" ? "" : text[0]! + shortest;
  };
};

export const goTime = (format: string): FormatTime => {
  const parts: Array<string | Part> = [];
  for (let at = 0; at < format.length; ) {
    const rest = format.slice(at);
    const [fractional] = FRACTION.exec(rest) ?? [];
    const [text, part] =
      fractional !== undefined
        ? [fractional, fraction(fractional)]
        : (goParts.find(([each]) => rest.startsWith(each) && !isWordBeyond(each, rest)) ?? [rest[0]!, rest[0]!]);
    parts.push(part);
    at += text.length;
  }
  return compile(parts);
};

/** "January" is a month and "Januaryx" too, but "Jane" and "Monx" are words: Go wants no lower-case letter behind. */
const isWordBeyond = (text: string, rest: string): boolean =>
  (text === "Jan" || text === "Mon") && /^[a-z]/.test(rest.slice(text.length));
