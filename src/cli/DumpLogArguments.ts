/**
 * `odradek dump-log …`: text in, a decision out. The options are those of Kafka's `kafka-dump-log` (DumpLogSegments), and
 * files may be given as they are; `--json` and `--verify` are ours.
 */

/** How the keys and values of a log are read. */
export type DumpDecoder = "text" | "offsets" | "transactions" | "metadata";

export interface DumpLogOptions {
  /** Files, or folders of a partition. */
  readonly files: ReadonlyArray<string>;
  readonly json: boolean;
  /** Print only what is wrong; the exit code says whether anything is. */
  readonly verify: boolean;
  /** Look into the batches. */
  readonly deep: boolean;
  readonly printData: boolean;
  readonly skipRecordMetadata: boolean;
  readonly verifyIndexOnly: boolean;
  readonly indexSanityOnly: boolean;
  /** Bytes of a log file to read. */
  readonly maxBytes: number;
  /** undefined: as the folder's name says. */
  readonly decoder: DumpDecoder | undefined;
}

export type DumpLogArguments =
  | { readonly kind: "dump"; readonly options: DumpLogOptions }
  | { readonly kind: "help" }
  | { readonly kind: "error"; readonly message: string };

const decoders: Readonly<Record<string, DumpDecoder>> = {
  "--offsets-decoder": "offsets",
  "--transaction-log-decoder": "transactions",
  "--cluster-metadata-decoder": "metadata",
};
const flags = new Set([
  "--json",
  "--verify",
  "--deep-iteration",
  "--print-data-log",
  "--skip-record-metadata",
  "--verify-index-only",
  "--index-sanity-check",
]);
const valued = new Set(["--files", "--max-bytes", "--max-message-size"]);

/** Understands what follows `dump-log`. A lone `--`, which package runners pass on, is skipped. */
export const parseDumpLogArguments = (args: ReadonlyArray<string>): DumpLogArguments => {
  const files: string[] = [];
  const given = new Set<string>();
  let maxBytes = Number.POSITIVE_INFINITY;
  let decoder: DumpDecoder | undefined;
  const error = (message: string): DumpLogArguments => ({
    kind: "error",
    message: `${message} (dump-log --help lists the options)`,
  });
  for (let at = 0; at < args.length; at += 1) {
    const argument = args[at]!;
    if (argument === "--") continue;
    if (argument === "--help" || argument === "-h") return { kind: "help" };
    if (!argument.startsWith("-")) {
      files.push(argument);
      continue;
    }
    const equals = argument.indexOf("=");
    const name = equals < 0 ? argument : argument.slice(0, equals);
    if (decoders[name] !== undefined) decoder = decoders[name];
    else if (flags.has(name)) given.add(name);
    else if (!valued.has(name)) return error(`unknown option ${argument}`);
    else {
      const value = equals < 0 ? args[++at] : argument.slice(equals + 1);
      if (value === undefined || value === "") return error(`${name} needs a value`);
      if (name === "--files") files.push(...value.split(",").filter((file) => file !== ""));
      else if (!/^\d{1,15}$/.test(value)) return error(`${name} ${value}: not a number`);
      // The largest message is known here: a batch says how long it is.
      else if (name === "--max-bytes") maxBytes = Number(value);
    }
  }
  if (files.length === 0) return error("no file given");
  const printData = given.has("--print-data-log") || decoder !== undefined;
  return {
    kind: "dump",
    options: {
      files,
      json: given.has("--json"),
      verify: given.has("--verify"),
      deep: printData || given.has("--deep-iteration") || given.has("--verify"),
      printData,
      skipRecordMetadata: given.has("--skip-record-metadata"),
      verifyIndexOnly: given.has("--verify-index-only"),
      indexSanityOnly: given.has("--index-sanity-check"),
      maxBytes,
      decoder,
    },
  };
};

export const dumpLogHelp = (): string => `Prints what a partition's files hold, as Kafka's kafka-dump-log does.

Usage: odradek dump-log [OPTIONS] FILE...      (bun scripts/run.mjs dump-log …)

FILE is a .log, .index, .timeindex, .txnindex, .snapshot or .checkpoint file, or a partition's folder.

  --print-data-log             keys and values as well
  --deep-iteration             every record, not only the batches
  --offsets-decoder            read them as __consumer_offsets has them
  --transaction-log-decoder    as __transaction_state
  --cluster-metadata-decoder   as __cluster_metadata
                               (without one of these the folder's name decides)
  --skip-record-metadata       only keys and values of records
  --index-sanity-check         only whether an index would be believed at a start
  --verify-index-only          only whether an index fits its log
  --max-bytes N                of a log, only the first N bytes
  --json                       one JSON object a line
  --verify                     check everything, print what is wrong; exit code 1 when anything is
`;
