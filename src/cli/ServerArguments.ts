/**
 * The server's command line: text in, a decision out. Nothing is printed, read or ended here. Options are Kafka's own
 * (`kafka-server-start.sh server.properties --override key=value`) with `--config` beside the positional file.
 */
import { brokerConfigKey } from "../config/BrokerConfig.ts";
import { endingFlag, oneOf, type Parsed, parsedBy, readArguments, UsageError, valued } from "./Arguments.ts";
import { KAFKA_VERSION, VERSION } from "./Version.ts";

export type LogFormat = "human" | "json";

export interface ServerOptions {
  /** The .properties file to read. */
  readonly configFile: string | undefined;
  /** `key=value` each, in the order given. */
  readonly overrides: ReadonlyArray<string>;
  readonly logFormat: LogFormat;
}

const options = {
  config: valued("--config"),
  override: valued("--override"),
  logFormat: valued("--log-format"),
  version: endingFlag("--version"),
  help: endingFlag("--help", "-h"),
};

/** Understands what follows the program's name. */
export const parseServerArguments = (args: ReadonlyArray<string>): Parsed<ServerOptions> =>
  parsedBy("odradek", () => {
    const given = readArguments(args, options);
    if (given.has("help")) return { kind: "help", text: serverHelp() };
    if (given.has("version")) return { kind: "help", text: `odradek ${VERSION} (Kafka ${KAFKA_VERSION})\n` };
    const [file, second] = given.words;
    if (second !== undefined) throw new UsageError(`unexpected argument ${second}`);
    const files = [...given.all("config"), ...(file === undefined ? [] : [file])];
    if (files.length > 1) throw new UsageError("more than one configuration file");
    const overrides = given.all("override");
    const wrong = overrides.find((each) => each.indexOf("=") < 1);
    if (wrong !== undefined) throw new UsageError(`--override ${wrong}: expected key=value`);
    const logFormat = oneOf(given.last("logFormat") ?? "human", "--log-format", ["human", "json"]);
    return { kind: "run", arguments: { configFile: files[0], overrides, logFormat } };
  });

const shown = [
  "listeners",
  "advertised.listeners",
  "log.dir",
  "node.id",
  "log.flush.policy",
  "auto.create.topics.enable",
  "num.partitions",
] as const;

function serverHelp(): string {
  const rows = shown.map((name) => `  ${name.padEnd(26)} ${brokerConfigKey(name)?.default ?? "(unset)"}`);
  return `Odradek, a broker that Apache Kafka's clients use unmodified (protocol and files of Kafka ${KAFKA_VERSION}).

Usage: odradek [FILE] [OPTIONS]           (in a clone: bun run server …, or npm start -- …)
       odradek COMMAND …

  --config FILE          read settings from a server.properties file (the same as FILE)
  --override KEY=VALUE   set one key; may be given again
  --log-format FORMAT    human (default) or json, one object a line
  --version              print the version
  --help                 print this

Other commands, each with its own --help: produce, consume, topic, group, dump-log.

Settings have Kafka's names. They are taken from, later wins: built-in values, FILE, the environment
(KAFKA_ and the name, with "_" for ".", "__" for "_" and "___" for "-"), --override. Some built-in values:

${rows.join("\n")}
`;
}
