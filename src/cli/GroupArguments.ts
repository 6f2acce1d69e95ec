/**
 * `odradek group …`: text in, a decision out. The verbs and options are those of `kafka-consumer-groups`, shorter; a
 * reset shows what it would do unless `--execute` is there.
 */

import {
  type OptionNames,
  type Options,
  readCommand,
  SHARED_HELP,
  scopeOf,
  type ToolOptions,
  type TopicScope,
} from "./Options.ts";

/** Where a reset goes. Times are milliseconds since 1970. */
export type ResetTarget =
  | { readonly to: "earliest" | "latest" }
  | { readonly to: "offset" | "time" | "shift"; readonly value: number };

export type GroupArguments = ToolOptions &
  (
    | { readonly verb: "list"; readonly states: ReadonlyArray<string>; readonly types: ReadonlyArray<string> }
    | { readonly verb: "describe" | "delete"; readonly groups: ReadonlyArray<string> }
    | {
        readonly verb: "reset";
        readonly group: string;
        /** Empty: every topic the group has committed. */
        readonly scopes: ReadonlyArray<TopicScope>;
        readonly target: ResetTarget;
        readonly execute: boolean;
      }
  );

export type ParsedGroupArguments = GroupArguments | { readonly verb: "help" } | { readonly error: string };

const OPTIONS: OptionNames = {
  valued: ["--state", "--type", "--topic", "--to-offset", "--to-datetime", "--shift-by"],
  plain: ["--to-earliest", "--to-latest", "--execute"],
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
  const command = readCommand(args, OPTIONS);
  if (!("names" in command)) return command;
  const { verb, names, options, shared } = command;
  switch (verb) {
    case "list":
      if (names.length > 0) return { error: `unexpected argument ${names[0]}` };
      return { verb, ...shared, states: options.get("--state") ?? [], types: options.get("--type") ?? [] };
    case "describe":
    case "delete":
      if (names.length === 0) return { error: `${verb}: which group?` };
      return { verb, ...shared, groups: names };
    case "reset": {
      if (names.length !== 1) return { error: "reset: one group is needed" };
      const target = targetOf(options);
      if (typeof target === "string") return { error: target };
      const scopes: TopicScope[] = [];
      for (const text of options.get("--topic") ?? []) {
        const scope = scopeOf(text);
        if (scope === undefined) return { error: `--topic ${text}: expected TOPIC or TOPIC:0,1` };
        scopes.push(scope);
      }
      return { verb, ...shared, group: names[0]!, scopes, target, execute: options.has("--execute") };
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

${SHARED_HELP}`;
