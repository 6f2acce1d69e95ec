/**
 * The options that commands share: which brokers they ask, and how the tools that print rows print them. What is wrong is
 * told as one line.
 */
import type { Endpoint } from "../platform/Network.ts";
import { endingFlag, flag, type Given, oneOf, UsageError, valued, wholeNumber } from "./Arguments.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Which brokers are asked, over the Kafka protocol. */
export interface BrokerArguments {
  /** Asked first; at least one. */
  readonly brokers: ReadonlyArray<Endpoint>;
}

/** Which door a command goes through. */
export interface DoorArguments extends BrokerArguments {
  /** A gateway, over the stream protocol; undefined: the brokers. */
  readonly url: string | undefined;
}

/** How a tool prints: tables for people, or JSON, one object a line. */
export type OutputFormat = "text" | "json";

/** What the arguments of every tool that prints rows hold. */
export interface ToolOptions extends BrokerArguments {
  readonly format: OutputFormat;
}

const brokerOptions = {
  brokers: valued("--brokers", "-b", "--bootstrap", "--bootstrap-server"),
  help: endingFlag("--help", "-h"),
};

export const doorOptions = { ...brokerOptions, url: valued("--url") };

/** kcat's and Kafka's way to name topics, beside words. */
export const topicOptions = { topic: valued("--topic", "-t") };

/** What is said on stderr: only what went wrong, what a user should know, or everything. */
export type NoteLevel = "quiet" | "usual" | "verbose";

export const noteOptions = { quiet: flag("--quiet", "-q"), verbose: flag("--verbose", "-v") };

export const readNotes = (given: Given<keyof typeof noteOptions>): NoteLevel =>
  given.has("quiet") ? "quiet" : given.has("verbose") ? "verbose" : "usual";

export const toolOptions = { ...brokerOptions, json: flag("--json"), format: valued("--format") };

const DEFAULT_BROKERS = "127.0.0.1:9092";

/** Throws `UsageError`. */
const readBrokers = (given: Given<keyof typeof brokerOptions>, environment: Environment): BrokerArguments => {
  const text = given.last("brokers") ?? environment.ODRADEK_BROKERS ?? DEFAULT_BROKERS;
  return { brokers: text.split(",").map(endpointOf) };
};

/** Throws `UsageError`. */
export const readDoor = (given: Given<keyof typeof doorOptions>, environment: Environment): DoorArguments => {
  const url = given.last("url");
  if (url !== undefined && given.has("brokers")) throw new UsageError("--url and --brokers are two doors: one of them");
  if (url !== undefined && !/^(https?|wss?):\/\/./.test(url))
    throw new UsageError(`--url ${url}: expected http://HOST:PORT`);
  return { ...readBrokers(given, environment), url };
};

/** Throws `UsageError`. */
export const readTool = (given: Given<keyof typeof toolOptions>, environment: Environment): ToolOptions => ({
  ...readBrokers(given, environment),
  format: given.has("json") ? "json" : oneOf(given.last("format") ?? "text", "--format", ["text", "json"]),
});

/** `host:port`, `[::1]:9092`, or a host alone with Kafka's port. */
const endpointOf = (text: string): Endpoint => {
  const [, bracketed, plain, port = "9092"] = /^(?:\[([^\]]+)\]|([^:\s]+))(?::(\d+))?$/.exec(text.trim()) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535)
    throw new UsageError(`--brokers ${text}: expected HOST:PORT`);
  return { host, port: Number(port) };
};

/** A topic, or some of its partitions; undefined: all of them. */
export interface TopicScope {
  readonly topic: string;
  readonly partitions: ReadonlyArray<number> | undefined;
}

/** `TOPIC` or `TOPIC:0,1`; undefined when it is neither. */
export const scopeOf = (text: string): TopicScope | undefined => {
  const colon = text.indexOf(":");
  if (colon < 0) return { topic: text, partitions: undefined };
  const partitions = text
    .slice(colon + 1)
    .split(",")
    .map((each) => (/^\d+$/.test(each) ? Number(each) : Number.NaN));
  return partitions.every(Number.isSafeInteger) ? { topic: text.slice(0, colon), partitions } : undefined;
};

/** The same, for words; throws `UsageError`. */
export const readScopes = (words: ReadonlyArray<string>, option = ""): TopicScope[] =>
  words.map((word) => {
    const scope = scopeOf(word);
    if (scope === undefined) throw new UsageError(`${option}${word}: expected TOPIC or TOPIC:0,1`);
    return scope;
  });

/** `0,3` or `0-3`. */
export const partitionList = (text: string, option: string): number[] =>
  text.split(",").flatMap((part) => {
    const [, first, last] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    if (first === undefined) throw new UsageError(`${option} ${text}: expected 0,1,4-7`);
    const from = wholeNumber(first, option, 0, 0x7fffffff);
    const to = last === undefined ? from : wholeNumber(last, option, from, from + 100_000);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });

export const NOTE_HELP = `  --quiet, -q / --verbose, -v          fewer or more notes on stderr; stdout has only data
`;

/** The help's lines about them. */
const BROKER_HELP = `  --brokers, -b HOST:PORT[,…]          brokers to ask first (default ${DEFAULT_BROKERS}, or $ODRADEK_BROKERS)
  --help, -h                           print this
`;

export const DOOR_HELP = `  --url http://HOST:PORT               through the gateway's WebSocket instead of the Kafka protocol
${BROKER_HELP}`;

export const TOOL_HELP = `  --json                               one JSON object a line instead of tables
${BROKER_HELP}`;
