/**
 * `odradek group …`: text in, a decision out. The verbs and options are those of `kafka-consumer-groups`, shorter; a
 * reset shows what it would do unless `--execute` is there.
 */
import { flag, type Given, type Parsed, parsedBy, readArguments, UsageError, valued } from "./Arguments.ts";
import {
  type Environment,
  readScopes,
  readTool,
  TOOL_HELP,
  type ToolOptions,
  type TopicScope,
  toolOptions,
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

const options = {
  ...toolOptions,
  state: valued("--state"),
  type: valued("--type"),
  topic: valued("--topic"),
  toEarliest: flag("--to-earliest"),
  toLatest: flag("--to-latest"),
  toOffset: valued("--to-offset"),
  toDatetime: valued("--to-datetime"),
  shiftBy: valued("--shift-by"),
  execute: flag("--execute"),
};

type GroupOptions = Given<keyof typeof options>;

const targetOf = (given: GroupOptions): ResetTarget => {
  const targets: ResetTarget[] = [];
  if (given.has("toEarliest")) targets.push({ to: "earliest" });
  if (given.has("toLatest")) targets.push({ to: "latest" });
  for (const [name, to] of [
    ["toOffset", "offset"],
    ["shiftBy", "shift"],
    ["toDatetime", "time"],
  ] as const) {
    const text = given.last(name);
    if (text === undefined) continue;
    const value = to === "time" ? Date.parse(text) : Number(text);
    if (!Number.isSafeInteger(value))
      throw new UsageError(
        `${options[name].names[0]} ${text}: expected ${to === "time" ? "an ISO 8601 time" : "a number"}`,
      );
    targets.push({ to, value });
  }
  if (targets.length !== 1)
    throw new UsageError("one of --to-earliest, --to-latest, --to-offset, --to-datetime, --shift-by is needed");
  return targets[0]!;
};

/** Understands what follows `odradek group`. */
export const parseGroupArguments = (args: ReadonlyArray<string>, environment: Environment): Parsed<GroupArguments> =>
  parsedBy("group", () => {
    const given = readArguments(args, options);
    const [verb, ...names] = given.words;
    if (verb === undefined || given.has("help")) return { kind: "help", text: groupHelp };
    return { kind: "run", arguments: { ...readTool(given, environment), ...readVerb(verb, names, given) } };
  });

type WithoutShared<A> = A extends unknown ? Omit<A, keyof ToolOptions> : never;

const readVerb = (verb: string, names: ReadonlyArray<string>, given: GroupOptions): WithoutShared<GroupArguments> => {
  switch (verb) {
    case "list":
      if (names.length > 0) throw new UsageError(`unexpected argument ${names[0]}`);
      return { verb, states: given.all("state"), types: given.all("type") };
    case "describe":
    case "delete":
      if (names.length === 0) throw new UsageError(`${verb}: which group?`);
      return { verb, groups: names };
    case "reset": {
      if (names.length !== 1) throw new UsageError("reset: one group is needed");
      const scopes = readScopes(given.all("topic"), "--topic ");
      return { verb, group: names[0]!, scopes, target: targetOf(given), execute: given.has("execute") };
    }
    default:
      throw new UsageError(`there is no group ${verb}; list, describe, reset and delete there are`);
  }
};

const groupHelp = `Usage: odradek group VERB [OPTIONS]

  list [--state STATE] [--type TYPE]   groups, their state and type; options may be given again
  describe GROUP…                      members, committed offsets, lag in records and in seconds
  reset GROUP TARGET [--topic TOPIC[:0,1]]… [--execute]
                                       moves the offsets of a group without members; only shown without --execute
    TARGET: --to-earliest | --to-latest | --to-offset N | --shift-by N | --to-datetime 2026-01-31T12:00:00Z
  delete GROUP…                        groups without members, with their offsets

${TOOL_HELP}
For example
  odradek group describe billing
  odradek group reset billing --to-datetime 2026-01-31T12:00:00Z --topic invoices --execute
`;
