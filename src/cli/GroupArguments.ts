/**
 * `odradek group …`: text in, a decision out. The verbs and options are those of `kafka-consumer-groups`, shorter; a
 * reset shows what it would do unless `--execute` is there.
 */

/** Where a reset goes. Times are milliseconds since 1970. */
export type ResetTarget =
  | { readonly to: "earliest" | "latest" }
  | { readonly to: "offset" | "time" | "shift"; readonly value: number };

/** What of a group is reset; partitions undefined: all of them. */
export interface ResetScope {
  readonly topic: string;
  readonly partitions: ReadonlyArray<number> | undefined;
}

export interface GroupOptions {
  readonly bootstrap: { readonly host: string; readonly port: number };
}

export type GroupArguments = GroupOptions &
  (
    | { readonly verb: "list"; readonly states: ReadonlyArray<string>; readonly types: ReadonlyArray<string> }
    | { readonly verb: "describe" | "delete"; readonly groups: ReadonlyArray<string> }
    | {
        readonly verb: "reset";
        readonly group: string;
        /** Empty: every topic the group has committed. */
        readonly scopes: ReadonlyArray<ResetScope>;
        readonly target: ResetTarget;
        readonly execute: boolean;
      }
  );

export type ParsedGroupArguments = GroupArguments | { readonly verb: "help" } | { readonly error: string };

const DEFAULT_BOOTSTRAP = { host: "127.0.0.1", port: 9092 };
const VALUED = ["--bootstrap", "--state", "--type", "--topic", "--to-offset", "--to-datetime", "--shift-by"] as const;
const PLAIN = ["--to-earliest", "--to-latest", "--execute", "--help"] as const;

type Options = Map<string, string[]>;

/** Splits options from words; a text is what is wrong. */
const split = (args: ReadonlyArray<string>): { words: string[]; options: Options } | string => {
  const words: string[] = [];
  const options: Options = new Map();
  for (let at = 0; at < args.length; at += 1) {
    const argument = args[at]!;
    if (!argument.startsWith("--")) {
      words.push(argument);
      continue;
    }
    const equals = argument.indexOf("=");
    const name = equals < 0 ? argument : argument.slice(0, equals);
    const takesValue = VALUED.some((each) => each === name);
    if (!takesValue && !PLAIN.some((each) => each === name)) return `unknown option ${name}`;
    const value = !takesValue ? "" : equals < 0 ? args[++at] : argument.slice(equals + 1);
    if (value === undefined || (takesValue && value === "")) return `${name} needs a value`;
    options.set(name, [...(options.get(name) ?? []), value]);
  }
  return { words, options };
};

const bootstrapOf = (text: string | undefined): GroupOptions["bootstrap"] | undefined => {
  if (text === undefined) return DEFAULT_BOOTSTRAP;
  const colon = text.lastIndexOf(":");
  const port = Number(text.slice(colon + 1));
  return colon > 0 && Number.isInteger(port) && port > 0 && port < 65_536
    ? { host: text.slice(0, colon), port }
    : undefined;
};

const scopeOf = (text: string): ResetScope | undefined => {
  const colon = text.indexOf(":");
  if (colon < 0) return { topic: text, partitions: undefined };
  const partitions = text
    .slice(colon + 1)
    .split(",")
    .map(Number);
  return partitions.every((each) => Number.isInteger(each) && each >= 0)
    ? { topic: text.slice(0, colon), partitions }
    : undefined;
};

const targetOf = (options: Options): ResetTarget | string => {
  const targets: ResetTarget[] = [];
  if (options.has("--to-earliest")) targets.push({ to: "earliest" });
  if (options.has("--to-latest")) targets.push({ to: "latest" });
  for (const [name, to] of [
    ["--to-offset", "offset"],
    ["--shift-by", "shift"],
    ["--to-datetime", "time"],
  ] as const) {
    const text = options.get(name)?.at(-1);
    if (text === undefined) continue;
    const value = to === "time" ? Date.parse(text) : Number(text);
    if (!Number.isSafeInteger(value))
      return `${name} ${text}: expected ${to === "time" ? "an ISO 8601 time" : "a number"}`;
    targets.push({ to, value });
  }
  if (targets.length !== 1)
    return "one of --to-earliest, --to-latest, --to-offset, --to-datetime, --shift-by is needed";
  return targets[0]!;
};

/** Understands what follows `odradek group`. */
export const parseGroupArguments = (args: ReadonlyArray<string>): ParsedGroupArguments => {
  const parts = split(args);
  if (typeof parts === "string") return { error: parts };
  const { words, options } = parts;
  const [verb, ...names] = words;
  if (verb === undefined || options.has("--help")) return { verb: "help" };
  const bootstrap = bootstrapOf(options.get("--bootstrap")?.at(-1));
  if (bootstrap === undefined) return { error: "--bootstrap: expected HOST:PORT" };
  switch (verb) {
    case "list":
      if (names.length > 0) return { error: `unexpected argument ${names[0]}` };
      return { verb, bootstrap, states: options.get("--state") ?? [], types: options.get("--type") ?? [] };
    case "describe":
    case "delete":
      if (names.length === 0) return { error: `${verb}: which group?` };
      return { verb, bootstrap, groups: names };
    case "reset": {
      if (names.length !== 1) return { error: "reset: one group is needed" };
      const target = targetOf(options);
      if (typeof target === "string") return { error: target };
      const scopes: ResetScope[] = [];
      for (const text of options.get("--topic") ?? []) {
        const scope = scopeOf(text);
        if (scope === undefined) return { error: `--topic ${text}: expected TOPIC or TOPIC:0,1` };
        scopes.push(scope);
      }
      return { verb, bootstrap, group: names[0]!, scopes, target, execute: options.has("--execute") };
    }
    default:
      return { error: `there is no group ${verb}; list, describe, reset and delete there are` };
  }
};

export const groupHelp = (): string => `Usage: odradek group VERB [OPTIONS]

  list [--state STATE] [--type TYPE]   groups, their state and type; options may be given again
  describe GROUP…                      members, committed offsets, lag in records and in seconds
  reset GROUP TARGET [--topic TOPIC[:0,1]]… [--execute]
                                       moves the offsets of a group without members; only shown without --execute
    TARGET: --to-earliest | --to-latest | --to-offset N | --shift-by N | --to-datetime 2026-01-31T12:00:00Z
  delete GROUP…                        groups without members, with their offsets

  --bootstrap HOST:PORT                a broker (default 127.0.0.1:9092)
`;
