/**
 * Subscriptions by regular expression: RE2 syntax, matched against whole topic names by an engine whose time is linear
 * in the name (RE2JS, the port of the RE2/J that Kafka uses). What must stay true: no pattern a client sends stalls the
 * event loop. Compiling costs time by the pattern's length, so a pattern beyond `MAX_PATTERN_LENGTH` is refused as
 * invalid (a deviation: Kafka knows no limit and compiles in another thread); matching is cut into slices that cost
 * `SLICE_COST` at most, with a turn of the coordinator between them.
 */
import type { RE2JS } from "re2js";

/** Characters. The dearest pattern of this length compiles in some 35 ms. */
export const MAX_PATTERN_LENGTH = 2048;
/** Instructions times characters of topic names in one slice, some 10 ms in the engine's slow mode. */
const SLICE_COST = 1_000_000;
/** What compiling a character costs, in the same unit. */
const COMPILE_COST = 1500;
const MAX_CACHED = 64;

/** The engine's module is loaded by the first pattern: parsing it costs every start 25 ms otherwise. */
const engine = (): typeof import("re2js") => require("re2js");

const compiled = new Map<string, RE2JS>();

const compile = (pattern: string): RE2JS => {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const fresh = engine().RE2JS.compile(pattern);
  const [oldest] = compiled.keys();
  if (compiled.size >= MAX_CACHED && oldest !== undefined) compiled.delete(oldest);
  compiled.set(pattern, fresh);
  return fresh;
};

/** Why a pattern is none, in RE2's words; undefined when it is one. */
export const regexProblem = (pattern: string): string | undefined => {
  if (pattern.length > MAX_PATTERN_LENGTH) return "expression too long";
  try {
    compile(pattern);
    return undefined;
  } catch (error) {
    const { RE2JSSyntaxException } = engine();
    return error instanceof RE2JSSyntaxException ? error.getDescription() : "expression too large";
  }
};

/** Whether a text as a whole matches; undefined when the pattern is none. */
export const regexMatcher = (pattern: string): ((text: string) => boolean) | undefined => {
  if (regexProblem(pattern) !== undefined) return undefined;
  const program = compile(pattern);
  return (text) => program.testExact(text);
};

/** A resolution under way: pattern by pattern, name by name. A value: it waits in a timer between its slices. */
export interface RegexResolution {
  readonly patterns: ReadonlyArray<string>;
  /** Ascending. */
  readonly topicNames: ReadonlyArray<string>;
  /** What matches each pattern before the one under way. */
  readonly resolved: ReadonlyArray<ReadonlyArray<string>>;
  /** What matches the pattern under way so far, and the first name that is not matched against it yet. */
  readonly matches: ReadonlyArray<string>;
  readonly next: number;
}

export const beginResolution = (
  patterns: ReadonlyArray<string>,
  topicNames: ReadonlyArray<string>,
): RegexResolution => ({ patterns, topicNames, resolved: [], matches: [], next: 0 });

export const isResolved = ({ patterns, resolved }: RegexResolution): boolean => resolved.length === patterns.length;

/** Goes on for one slice, at least one pattern and name. A pattern that is none matches nothing. */
export const resolveSlice = (resolution: RegexResolution): RegexResolution => {
  const { patterns, topicNames } = resolution;
  const resolved = [...resolution.resolved];
  let matches = [...resolution.matches];
  let next = resolution.next;
  for (let cost = 0; resolved.length < patterns.length && cost < SLICE_COST; ) {
    const pattern = patterns[resolved.length]!;
    const program = regexProblem(pattern) === undefined ? compile(pattern) : undefined;
    const instructions = program?.programSize() ?? 0;
    cost += pattern.length * COMPILE_COST;
    const end = program === undefined ? 0 : topicNames.length;
    do {
      const name = topicNames[next];
      if (next >= end || name === undefined) break;
      if (program?.testExact(name)) matches.push(name);
      cost += instructions * (name.length + 1);
      next += 1;
    } while (cost < SLICE_COST);
    if (next < end) break;
    resolved.push(matches);
    matches = [];
    next = 0;
  }
  return { ...resolution, resolved, matches, next };
};
