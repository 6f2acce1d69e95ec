/**
 * Where consuming begins and ends: rpk's offset ranges, with kcat's and Kafka's words for start and end beside its own.
 * Times are absolute once they are parsed; which offset that is in a partition is for the caller to ask.
 */
import type { Offset, Timestamp } from "../prelude/Types.ts";

/** A place in any partition. */
export type Place =
  /** So many records behind the first one. */
  | { readonly at: "start"; readonly plus: number }
  /** So many before the end. */
  | { readonly at: "end"; readonly minus: number }
  | { readonly at: "offset"; readonly offset: Offset }
  /** The first record of that time or later, else the end. */
  | { readonly at: "time"; readonly timestamp: Timestamp };

export interface OffsetRange {
  readonly from: Place;
  /** Exclusive; undefined: for ever. */
  readonly to: Place | undefined;
}

const START: Place = { at: "start", plus: 0 };
const END: Place = { at: "end", minus: 0 };
const WORDS: Readonly<Record<string, Place>> = {
  start: START,
  oldest: START,
  beginning: START,
  earliest: START,
  end: END,
  newest: END,
  latest: END,
};

const OFFSET_FORMS =
  "start, end, :end, +N, -N, N, N:, :N, N:M, N:end, @T, @T:, @:T or @T:T (T: milliseconds, seconds, 2026-01-31, 2026-01-31T12:00:00Z, or 1h30m from now, -1h before now)";

/** Of `consume --help`. */
export const OFFSET_HELP = `Offsets, as rpk has them: where to begin, and behind a colon where to end (not included).
  start  end  +N  -N  N                the first, behind the last, N behind the first, N before the last, an offset
  N:M  N:end  :N  :end                 from an offset to an offset, or to where the partition ends now
  @T  @T:T  @T:end  @:T                from the first record of a time on, and to another
  T is 13 digits (milliseconds), 10 digits (seconds), 2026-01-31, 2026-01-31T12:00:00Z, or a duration like 1h30m or -48h:
  from now, or as the end from a first T that is none
`;

/** A text is what is wrong. */
export const parseOffsetRange = (text: string, now: Timestamp): OffsetRange | string => {
  if (text.startsWith("@")) return timeRange(text.slice(1), now);
  const word = WORDS[text];
  if (word !== undefined) return { from: word, to: undefined };
  if (text === ":end") return { from: START, to: END };
  const relative = /^([+-])(\d+)$/.exec(text);
  if (relative !== null) {
    const count = Number(relative[2]);
    if (!Number.isSafeInteger(count)) return `${text} is too large`;
    return { from: relative[1] === "+" ? { at: "start", plus: count } : { at: "end", minus: count }, to: undefined };
  }
  const [, from, to, alone] = /^(?:(\d+)(?:[:-](\d+|end)|:)?|:(\d+))$/.exec(text) ?? [];
  if (from === undefined && alone === undefined) return `${JSON.stringify(text)}: expected ${OFFSET_FORMS}`;
  const range: OffsetRange = {
    from: from === undefined ? START : { at: "offset", offset: Number(from) },
    to: to === "end" ? END : offsetPlace(to ?? alone),
  };
  for (const place of [range.from, range.to]) {
    if (place?.at === "offset" && !Number.isSafeInteger(place.offset)) return `${text} is too large`;
  }
  if (range.from.at === "offset" && range.to?.at === "offset" && range.to.offset <= range.from.offset)
    return `${text}: the end is not behind the start`;
  return range;
};

const offsetPlace = (digits: string | undefined): Place | undefined =>
  digits === undefined ? undefined : { at: "offset", offset: Number(digits) };

/** `T`, `T:`, `:T`, `T:T`; a duration counts from `now`, as a second time behind a point in time from that one. */
const timeRange = (text: string, now: Timestamp): OffsetRange | string => {
  let from: Place = START;
  let rest = text;
  let base = now;
  if (!rest.startsWith(":")) {
    const first = timeAt(rest, now);
    if (typeof first === "string") return `@${text}: ${first}`;
    if (first.place === END) return `@${text}: end is no start`;
    from = first.place;
    rest = rest.slice(first.length);
    if (first.absolute && from.at === "time") base = from.timestamp;
    if (rest === "" || rest === ":") return { from, to: undefined };
  }
  const second = timeAt(rest.slice(1), base);
  if (typeof second === "string") return `@${text}: ${second}`;
  if (second.length < rest.length - 1) return `@${text}: ${JSON.stringify(rest.slice(1 + second.length))} is too much`;
  return { from, to: second.place };
};

interface TimeAt {
  readonly place: Place;
  /** Characters it takes. */
  readonly length: number;
  readonly absolute: boolean;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** The time at the beginning of `text`, which ends there or goes on with a colon. A point in time has colons itself. */
const timeAt = (text: string, base: Timestamp): TimeAt | string => {
  const [absolute] = /^(?:\d{13}|\d{10}|\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}(?:\.\d*)?Z)?)(?=:|$)/.exec(text) ?? [];
  if (absolute !== undefined) {
    const timestamp = parseInstant(absolute);
    if (timestamp === undefined) return `${absolute} is not in any calendar`;
    return { place: { at: "time", timestamp }, length: absolute.length, absolute: true };
  }
  const [word = ""] = /^[^:]*/.exec(text) ?? [];
  if (word === "end") return { place: END, length: 3, absolute: false };
  const milliseconds = parseDuration(word);
  if (milliseconds === undefined)
    return `${JSON.stringify(word)}: expected 13 or 10 digits, 2026-01-31, 2026-01-31T12:00:00Z, end, or a duration like -1h30m`;
  return { place: { at: "time", timestamp: Math.floor(base + milliseconds) }, length: word.length, absolute: false };
};

/** Milliseconds (13 digits), seconds (10 digits), a day, or RFC 3339 with `Z`; undefined for anything else. */
export const parseInstant = (text: string): Timestamp | undefined => {
  if (/^\d{13}$/.test(text)) return Number(text);
  if (/^\d{10}$/.test(text)) return Number(text) * 1000;
  const [, day, time, fraction = ""] = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}:\d{2})(?:\.(\d*))?Z)?$/.exec(text) ?? [];
  if (day === undefined) return undefined;
  const whole = `${day}T${time ?? "00:00:00"}.${fraction.slice(0, 3).padEnd(3, "0")}Z`;
  const at = Date.parse(whole);
  // Date.parse takes the 31st of February for the 3rd of March.
  return Number.isNaN(at) || new Date(at).toISOString() !== whole ? undefined : at;
};

/** Go's durations (`1h30m`, `-1.5s`) in milliseconds; undefined for anything else. */
export const parseDuration = (text: string): number | undefined => {
  const [, sign, parts] = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+|0)$/.exec(text) ?? [];
  if (parts === undefined) return undefined;
  let sum = 0;
  for (const [, amount, unit] of parts.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(amount) * UNIT_MS[unit!]!;
  return sign === "-" ? -sum : sum;
};
