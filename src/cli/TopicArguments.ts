/** `odradek topic …`: text in, a decision out. Verbs and options are rpk's, with the names of Kafka's own tool beside them. */

import { regexProblem } from "../group/SubscribedRegex.ts";
import type { Timestamp } from "../prelude/Types.ts";
import {
  flag,
  type Given,
  keyValue,
  type OptionShape,
  type Parsed,
  parsedBy,
  readArguments,
  UsageError,
  valued,
  wholeNumber,
} from "./Arguments.ts";
import { type Place, parseOffsetRange } from "./OffsetRange.ts";
import {
  DOOR_HELP,
  type DoorArguments,
  doorOptions,
  type Environment,
  partitionList,
  readDoor,
  readTool,
  type ToolOptions,
  toolOptions,
} from "./Options.ts";
import type { ConfigChange, NewTopic } from "./TopicDoor.ts";

/** Names, or regular expressions that match whole names of topics that are not internal. */
export interface TopicSelection {
  readonly names: ReadonlyArray<string>;
  readonly regex: boolean;
}

/** What `describe` shows of a topic. `own` configurations are those somebody has set. */
export interface TopicSections {
  readonly summary: boolean;
  readonly partitions: boolean;
  readonly configs: "none" | "own" | "all";
}

export type TopicCommand =
  | {
      readonly verb: "list";
      /** No names: all of them. */
      readonly topics: TopicSelection;
      readonly internal: boolean;
      readonly detailed: boolean;
    }
  | { readonly verb: "describe"; readonly topics: TopicSelection; readonly sections: TopicSections }
  | {
      readonly verb: "create";
      readonly topics: ReadonlyArray<NewTopic>;
      readonly ifNotExists: boolean;
      readonly dry: boolean;
    }
  | { readonly verb: "delete"; readonly topics: TopicSelection; readonly ifExists: boolean }
  | {
      readonly verb: "alter-config";
      readonly topics: ReadonlyArray<string>;
      readonly changes: ReadonlyArray<ConfigChange>;
      readonly dry: boolean;
    }
  | { readonly verb: "add-partitions"; readonly topics: ReadonlyArray<string>; readonly count: number }
  | {
      readonly verb: "trim";
      readonly topic: string;
      /** Undefined: all of them. */
      readonly partitions: ReadonlyArray<number> | undefined;
      readonly before: Place;
      readonly execute: boolean;
    };

export type TopicArguments = ToolOptions & DoorArguments & { readonly command: TopicCommand };

const common = { ...toolOptions, ...doorOptions };
const regex = flag("--regex", "-r");

const list = { ...common, regex, internal: flag("--internal", "-i"), detailed: flag("--detailed", "-d") };
const describe = {
  ...common,
  regex,
  summary: flag("--print-summary", "-s"),
  configs: flag("--print-configs", "-c"),
  partitions: flag("--print-partitions", "-p"),
  all: flag("--print-all", "-a"),
};
const create = {
  ...common,
  partitions: valued("--partitions", "-p"),
  replicas: valued("--replicas", "-r", "--replication-factor"),
  config: valued("--topic-config", "-c", "--config"),
  ifNotExists: flag("--if-not-exists"),
  dry: flag("--dry", "-d"),
};
const remove = { ...common, regex, ifExists: flag("--if-exists") };
const alterConfig = {
  ...common,
  set: valued("--set", "-s", "--add-config"),
  delete: valued("--delete", "-d", "--delete-config"),
  append: valued("--append"),
  subtract: valued("--subtract"),
  dry: flag("--dry"),
};
const addPartitions = { ...common, num: valued("--num", "-n") };
const trim = {
  ...common,
  offset: valued("--offset", "-o"),
  partitions: valued("--partitions", "-p"),
  execute: flag("--execute", "--no-confirm"),
};

interface Verb {
  readonly options: Readonly<Record<string, OptionShape>>;
  readonly help: string;
  readonly read: (args: ReadonlyArray<string>, now: Timestamp, environment: Environment) => TopicArguments | "help";
}

const verb = <Name extends string>(
  options: Readonly<Record<Name | keyof typeof common, OptionShape>>,
  help: string,
  read: (given: Given<Name | keyof typeof common>, now: Timestamp) => TopicCommand,
): Verb => ({
  options,
  help,
  read: (args, now, environment) => {
    const given = readArguments<Name | keyof typeof common>(args, options);
    if (given.has("help")) return "help";
    return { ...readTool(given, environment), ...readDoor(given, environment), command: read(given, now) };
  },
});

const needed = (words: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (words.length === 0) throw new UsageError("which topic?");
  return words;
};

const selection = (names: ReadonlyArray<string>, isRegex: boolean): TopicSelection => {
  for (const name of isRegex ? names : []) {
    const problem = regexProblem(name);
    if (problem !== undefined) throw new UsageError(`--regex ${name}: ${problem}`);
  }
  return { names, regex: isRegex };
};

/** rpk's `-1` and Kafka's defaults alike. */
const countOrDefault = (text: string | undefined, option: string): number =>
  text === undefined || text === "-1" ? -1 : wholeNumber(text, option, 1, 0x7fff);

const trimPlace = (text: string | undefined, now: Timestamp): Place => {
  if (text === undefined) throw new UsageError("--offset: before what offset? N, end, or @TIME");
  const range = parseOffsetRange(text, now);
  if (typeof range === "string") throw new UsageError(`--offset ${range}`);
  if (range.to !== undefined || (range.from.at === "start" && range.from.plus === 0))
    throw new UsageError(`--offset ${text}: expected N, end, +N, -N or @TIME`);
  return range.from;
};

const verbs: Readonly<Record<string, Verb>> = {
  list: verb(
    list,
    `Usage: odradek topic list [TOPIC…]

Topics with their partitions and replicas.

  --regex, -r                  the arguments are regular expressions for whole names
  --internal, -i               internal topics too
  --detailed, -d               a line per partition

For example
  odradek topic list
  odradek topic list -r 'orders-.*'
`,
    (given) => ({
      verb: "list",
      topics: selection(given.words, given.has("regex")),
      internal: given.has("internal"),
      detailed: given.has("detailed"),
    }),
  ),
  describe: verb(
    describe,
    `Usage: odradek topic describe TOPIC…

Leaders, replicas and offsets of each partition, and the configurations that were set for the topic.

  --regex, -r                  the arguments are regular expressions for whole names
  --print-summary, -s          only the first line of each topic,
  --print-partitions, -p       only partitions,
  --print-configs, -c          only configurations, all of them; these three go together as you like
  --print-all, -a              everything; --json has everything always

For example
  odradek topic describe orders
  odradek topic describe -c orders
`,
    (given) => {
      const chosen = given.has("summary") || given.has("partitions") || given.has("configs");
      const all = given.has("all") || given.has("json") || given.last("format") === "json";
      return {
        verb: "describe",
        topics: selection(needed(given.words), given.has("regex")),
        sections: {
          summary: all || !chosen || given.has("summary"),
          partitions: all || !chosen || given.has("partitions"),
          configs: all || given.has("configs") ? "all" : chosen ? "none" : "own",
        },
      };
    },
  ),
  create: verb(
    create,
    `Usage: odradek topic create TOPIC…

  --partitions, -p N           partitions of each (default: the broker's)
  --replicas, -r N             replicas of each (default: the broker's)
  --topic-config, -c KEY=VALUE a configuration of each; may be given again
  --if-not-exists              a topic that exists is no error
  --dry, -d                    only ask whether it could be done

For example
  odradek topic create orders payments -p 12 -c retention.ms=86400000
  odradek topic create settings -c cleanup.policy=compact --if-not-exists
`,
    (given) => {
      const partitions = countOrDefault(given.last("partitions"), "--partitions");
      const replicas = countOrDefault(given.last("replicas"), "--replicas");
      const configs = given.all("config").map((text) => keyValue(text, "--topic-config"));
      return {
        verb: "create",
        topics: needed(given.words).map((topic) => ({ topic, partitions, replicas, configs })),
        ifNotExists: given.has("ifNotExists"),
        dry: given.has("dry"),
      };
    },
  ),
  delete: verb(
    remove,
    `Usage: odradek topic delete TOPIC…

Topics with everything in them.

  --regex, -r                  the arguments are regular expressions for whole names; topic list -r shows what they match
  --if-exists                  a topic that does not exist is no error

For example
  odradek topic delete orders
  odradek topic delete -r 'test-.*'
`,
    (given) => ({
      verb: "delete",
      topics: selection(needed(given.words), given.has("regex")),
      ifExists: given.has("ifExists"),
    }),
  ),
  "alter-config": verb(
    alterConfig,
    `Usage: odradek topic alter-config TOPIC…

  --set, -s KEY=VALUE          a value; may be given again, as all of these
  --delete, -d KEY             back to the default
  --append KEY=VALUE           one more value of a list
  --subtract KEY=VALUE         one value of a list less
  --dry                        only ask whether it could be done

For example
  odradek topic alter-config orders --set retention.ms=3600000 --delete max.message.bytes
`,
    (given) => {
      const changes: ConfigChange[] = [];
      for (const operation of ["set", "append", "subtract"] as const) {
        for (const text of given.all(operation)) {
          const [name, value] = keyValue(text, `--${operation}`);
          changes.push({ operation, name, value });
        }
      }
      for (const name of given.all("delete")) changes.push({ operation: "delete", name, value: null });
      if (changes.length === 0) throw new UsageError("nothing to change: give --set, --delete, --append or --subtract");
      return { verb: "alter-config", topics: needed(given.words), changes, dry: given.has("dry") };
    },
  ),
  "add-partitions": verb(
    addPartitions,
    `Usage: odradek topic add-partitions TOPIC… --num N

  --num, -n N                  so many more for each topic

Records with a key may go to another partition than before: their order over the change is not kept.

For example
  odradek topic add-partitions orders -n 4
`,
    (given) => {
      const num = given.last("num");
      if (num === undefined) throw new UsageError("--num: how many more?");
      return { verb: "add-partitions", topics: needed(given.words), count: wholeNumber(num, "--num", 1, 0x7fff) };
    },
  ),
  trim: verb(
    trim,
    `Usage: odradek topic trim TOPIC --offset OFFSET [--execute]

Deletes the records before an offset. Shows what it would do unless --execute is given.

  --offset, -o OFFSET          N, end, +N behind the start, -N before the end, or @TIME (see consume --help)
  --partitions, -p 0,1,4-7     only of these partitions
  --execute                    do it

For example
  odradek topic trim orders -o 120 -p 1
  odradek topic trim orders -o @-24h --execute
`,
    (given, now) => {
      const [topic, second] = needed(given.words);
      if (second !== undefined) throw new UsageError(`unexpected argument ${second}`);
      const partitions = given.last("partitions");
      return {
        verb: "trim",
        topic: topic!,
        partitions: partitions === undefined ? undefined : partitionList(partitions, "--partitions"),
        before: trimPlace(given.last("offset"), now),
        execute: given.has("execute"),
      };
    },
  ),
};

const TOPIC_HELP = `  --json                               one JSON object a line instead of tables
${DOOR_HELP}`;

/** rpk's other names. */
const aliases: Readonly<Record<string, string>> = { ls: "list", info: "describe", "trim-prefix": "trim" };

const topicHelp = `Usage: odradek topic VERB [OPTIONS]

  list [TOPIC…]                topics, their partitions and replicas
  describe TOPIC…              leaders, replicas, offsets, configurations
  create TOPIC…                new topics
  delete TOPIC…                topics with everything in them
  alter-config TOPIC…          sets and takes back configurations
  add-partitions TOPIC…        more partitions
  trim TOPIC                   deletes the records before an offset

${TOPIC_HELP}
topic VERB --help has each verb's own options, and examples. Exit code 1: a topic was refused; 2: a wrong command line.
`;

/** Understands what follows `odradek topic`. */
export const parseTopicArguments = (
  args: ReadonlyArray<string>,
  now: Timestamp,
  environment: Environment,
): Parsed<TopicArguments> => {
  const [first = "--help", ...rest] = args[0] === "--" ? args.slice(1) : args;
  const name = aliases[first] ?? first;
  return parsedBy(verbs[name] === undefined ? "topic" : `topic ${name}`, () => {
    if (first === "--help" || first === "-h") return { kind: "help", text: topicHelp };
    const found = verbs[name];
    if (found === undefined)
      throw new UsageError(`there is no topic ${first}; ${Object.keys(verbs).join(", ")} there are`);
    const read = found.read(rest, now, environment);
    if (read === "help")
      return {
        kind: "help",
        text: `${found.help}\n${TOPIC_HELP}`,
      };
    return { kind: "run", arguments: read };
  });
};
