/**
 * The server's command line: text in, a decision out. Nothing is printed, read or ended here. Options are Kafka's own
 * (`kafka-server-start.sh server.properties --override key=value`) with `--config` beside the positional file.
 */
import { brokerConfigKey } from "../config/BrokerConfig.ts";
import { KAFKA_VERSION } from "./Version.ts";

export type LogFormat = "human" | "json";

export interface ServerOptions {
  /** The .properties file to read. */
  readonly configFile: string | undefined;
  /** `key=value` each, in the order given. */
  readonly overrides: ReadonlyArray<string>;
  readonly logFormat: LogFormat;
}

export type ServerArguments =
  | { readonly kind: "start"; readonly options: ServerOptions }
  | { readonly kind: "help" }
  | { readonly kind: "version" }
  /** One line saying what is wrong; exit code 2 is usual. */
  | { readonly kind: "error"; readonly message: string };

const valued = new Set(["--config", "--override", "--log-format"]);

/** Understands what follows the program's name. A lone `--`, which package runners pass on, is skipped. */
export function parseServerArguments(args: ReadonlyArray<string>): ServerArguments {
  const overrides: string[] = [];
  let configFile: string | undefined;
  let logFormat: LogFormat = "human";
  const error = (message: string): ServerArguments => ({
    kind: "error",
    message: `${message} (--help lists the options)`,
  });

  for (let i = 0; i < args.length; i++) {
    const argument = args[i] ?? "";
    if (argument === "--") continue;
    if (argument === "--help" || argument === "-h") return { kind: "help" };
    if (argument === "--version") return { kind: "version" };
    const equals = argument.startsWith("--") ? argument.indexOf("=") : -1;
    const option = equals < 0 ? argument : argument.slice(0, equals);
    if (!valued.has(option)) {
      if (argument.startsWith("-")) return error(`unknown option ${argument}`);
      if (configFile !== undefined) return error(`unexpected argument ${argument}`);
      configFile = argument;
      continue;
    }
    const value = equals < 0 ? args[++i] : argument.slice(equals + 1);
    if (value === undefined || value === "") return error(`${option} needs a value`);
    switch (option) {
      case "--config":
        if (configFile !== undefined) return error("more than one configuration file");
        configFile = value;
        break;
      case "--override":
        if (value.indexOf("=") < 1) return error(`--override ${value}: expected key=value`);
        overrides.push(value);
        break;
      default:
        if (value !== "human" && value !== "json") return error(`--log-format ${value}: allowed are human and json`);
        logFormat = value;
    }
  }
  return { kind: "start", options: { configFile, overrides, logFormat } };
}

const shown = [
  "listeners",
  "advertised.listeners",
  "log.dir",
  "node.id",
  "log.flush.policy",
  "auto.create.topics.enable",
  "num.partitions",
] as const;

/** What `--help` prints. */
export function serverHelp(): string {
  const rows = shown.map((name) => `  ${name.padEnd(26)} ${brokerConfigKey(name)?.default ?? "(unset)"}`);
  return `Odradek, a broker that Apache Kafka's clients use unmodified (protocol and files of Kafka ${KAFKA_VERSION}).

Usage: bun run server [FILE] [OPTIONS]
       npm start -- [FILE] [OPTIONS]

  --config FILE          read settings from a server.properties file (the same as FILE)
  --override KEY=VALUE   set one key; may be given again
  --log-format FORMAT    human (default) or json, one object a line
  --version              print the version
  --help                 print this

Settings have Kafka's names. They are taken from, later wins: built-in values, FILE, the environment
(KAFKA_ and the name, with "_" for ".", "__" for "_" and "___" for "-"), --override. Some built-in values:

${rows.join("\n")}
`;
}
