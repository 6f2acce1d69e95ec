/**
 * `odradek dump-log …`: text in, a decision out. The options are those of Kafka's `kafka-dump-log` (DumpLogSegments), and
 * files may be given as they are; `--json` and `--verify` are ours.
 */
import {
  endingFlag,
  flag,
  type Parsed,
  parsedBy,
  readArguments,
  UsageError,
  valued,
  wholeNumber,
} from "./Arguments.ts";

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

const options = {
  files: valued("--files"),
  maxBytes: valued("--max-bytes"),
  /** The largest message is known here: a batch says how long it is. */
  maxMessageSize: valued("--max-message-size"),
  json: flag("--json"),
  verify: flag("--verify"),
  deepIteration: flag("--deep-iteration"),
  printDataLog: flag("--print-data-log"),
  skipRecordMetadata: flag("--skip-record-metadata"),
  verifyIndexOnly: flag("--verify-index-only"),
  indexSanityCheck: flag("--index-sanity-check"),
  offsets: flag("--offsets-decoder"),
  transactions: flag("--transaction-log-decoder"),
  metadata: flag("--cluster-metadata-decoder"),
  help: endingFlag("--help", "-h"),
};

/** Understands what follows `dump-log`. */
export const parseDumpLogArguments = (args: ReadonlyArray<string>): Parsed<DumpLogOptions> =>
  parsedBy("dump-log", () => {
    const given = readArguments(args, options);
    if (given.has("help")) return { kind: "help", text: dumpLogHelp };
    const named = given.all("files").flatMap((each) => each.split(",").filter((file) => file !== ""));
    const files = [...named, ...given.words];
    if (files.length === 0) throw new UsageError("no file given");
    const decoder = (["offsets", "transactions", "metadata"] as const).find((each) => given.has(each));
    const maxBytes = given.last("maxBytes");
    const printData = given.has("printDataLog") || decoder !== undefined;
    return {
      kind: "run",
      arguments: {
        files,
        json: given.has("json"),
        verify: given.has("verify"),
        deep: printData || given.has("deepIteration") || given.has("verify"),
        printData,
        skipRecordMetadata: given.has("skipRecordMetadata"),
        verifyIndexOnly: given.has("verifyIndexOnly"),
        indexSanityOnly: given.has("indexSanityCheck"),
        maxBytes: maxBytes === undefined ? Number.POSITIVE_INFINITY : wholeNumber(maxBytes, "--max-bytes", 0),
        decoder,
      },
    };
  });

const dumpLogHelp = `Prints what a partition's files hold, as Kafka's kafka-dump-log does.

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
