/**
 * What the command lines of the administrator's tools share: options and words in any order, `--name value` or
 * `--name=value`, and the two options every tool has. What is wrong is told as one line.
 */

export interface OptionNames {
  readonly valued: ReadonlyArray<string>;
  readonly plain: ReadonlyArray<string>;
}

/** How a tool prints: tables for people, or JSON, one object a line. */
export type OutputFormat = "text" | "json";

/** What every tool's arguments hold. */
export interface ToolOptions {
  readonly bootstrap: { readonly host: string; readonly port: number };
  readonly format: OutputFormat;
}

/** By name, with what was given each time; a plain option's is the empty text. */
export type Options = ReadonlyMap<string, ReadonlyArray<string>>;

const DEFAULT_BOOTSTRAP = { host: "127.0.0.1", port: 9092 };
const SHARED: OptionNames = { valued: ["--bootstrap"], plain: ["--json", "--help"] };

/** Splits options from words; a text is what is wrong. */
const splitOptions = (
  args: ReadonlyArray<string>,
  names: OptionNames,
): { readonly words: ReadonlyArray<string>; readonly options: Options } | string => {
  const words: string[] = [];
  const options = new Map<string, string[]>();
  for (let at = 0; at < args.length; at += 1) {
    const argument = args[at]!;
    // Package runners pass it on.
    if (argument === "--") continue;
    if (!argument.startsWith("--")) {
      words.push(argument);
      continue;
    }
    const equals = argument.indexOf("=");
    const name = equals < 0 ? argument : argument.slice(0, equals);
    const takesValue = SHARED.valued.includes(name) || names.valued.includes(name);
    if (!takesValue && !SHARED.plain.includes(name) && !names.plain.includes(name)) return `unknown option ${name}`;
    const value = !takesValue ? "" : equals < 0 ? args[++at] : argument.slice(equals + 1);
    if (value === undefined || (takesValue && value === "")) return `${name} needs a value`;
    options.set(name, [...(options.get(name) ?? []), value]);
  }
  return { words, options };
};

/** `VERB NAME… --options`, as every tool is called. */
export interface ToolCommand {
  readonly verb: string;
  readonly names: ReadonlyArray<string>;
  readonly options: Options;
  readonly shared: ToolOptions;
}

/** The command, or that help is wanted, or what is wrong. */
export const readCommand = (
  args: ReadonlyArray<string>,
  optionNames: OptionNames,
): ToolCommand | { readonly verb: "help" } | { readonly error: string } => {
  const parts = splitOptions(args, optionNames);
  if (typeof parts === "string") return { error: parts };
  const { words, options } = parts;
  const [verb, ...names] = words;
  if (verb === undefined || options.has("--help")) return { verb: "help" };
  const bootstrap = bootstrapOf(options.get("--bootstrap")?.at(-1));
  if (bootstrap === undefined) return { error: "--bootstrap: expected HOST:PORT" };
  return { verb, names, options, shared: { bootstrap, format: options.has("--json") ? "json" : "text" } };
};

const bootstrapOf = (text: string | undefined): ToolOptions["bootstrap"] | undefined => {
  if (text === undefined) return DEFAULT_BOOTSTRAP;
  const colon = text.lastIndexOf(":");
  const port = Number(text.slice(colon + 1));
  return colon > 0 && Number.isInteger(port) && port > 0 && port < 65_536
    ? { host: text.slice(0, colon), port }
    : undefined;
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

/** The help's lines about the options every tool has. */
export const SHARED_HELP = `  --json                               one JSON object a line instead of tables
  --bootstrap HOST:PORT                a broker (default 127.0.0.1:9092)
`;
