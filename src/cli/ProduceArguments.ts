/** `odradek produce …`: text in, a decision out. Options and input formats are rpk's, and kcat's names are understood. */
import type { Timestamp } from "../prelude/Types.ts";
import type { CodecId } from "../record/Compression.ts";
import type { RecordHeader } from "../record/RecordView.ts";
import {
  flag,
  type Given,
  keyValue,
  oneOf,
  type Parsed,
  parsedBy,
  readArguments,
  UsageError,
  valued,
  wholeNumber,
} from "./Arguments.ts";
import type { OutputForm } from "./ConsumeArguments.ts";
import { parseDuration, parseInstant } from "./OffsetRange.ts";
import {
  DOOR_HELP,
  type DoorArguments,
  doorOptions,
  type Environment,
  NOTE_HELP,
  type NoteLevel,
  noteOptions,
  readDoor,
  readNotes,
  topicOptions,
} from "./Options.ts";
import { compileFormat } from "./RecordFormatter.ts";
import { envelopeReader, formatReader, type RecordReader } from "./RecordReader.ts";

/** What a record has that the input says nothing of. */
export interface RecordDefaults {
  /** With `json` it takes the place of the input's. */
  readonly topic: string | undefined;
  /** A number: that partition, whatever an envelope says; -1: by key, whatever the input says. */
  readonly partition: number | undefined;
  readonly key: Uint8Array | undefined;
  /** In front of the input's own. */
  readonly headers: ReadonlyArray<RecordHeader>;
  /** Takes the place of an envelope's; without either the record gets the time it was read. */
  readonly timestamp: Timestamp | undefined;
  /** Empty keys and values are null. */
  readonly emptyIsNull: boolean;
}

export interface ProduceArguments extends DoorArguments {
  readonly input: { readonly kind: "json" | "format"; readonly reader: RecordReader };
  readonly defaults: RecordDefaults;
  readonly acks: -1 | 0 | 1;
  readonly codec: CodecId;
  /** Most bytes of a batch before compression; a larger record goes alone. */
  readonly batchBytes: number;
  readonly deliveryTimeoutMs: number;
  /** Undefined: nothing is printed. */
  readonly output: OutputForm | undefined;
  /** Everything is one transaction. */
  readonly transaction: { readonly id: string; readonly timeoutMs: number } | undefined;
  readonly notes: NoteLevel;
}

const options = {
  ...doorOptions,
  ...noteOptions,
  ...topicOptions,
  format: valued("--format", "-f"),
  json: flag("--json", "-J"),
  key: valued("--key", "-k"),
  header: valued("--header", "-H"),
  partition: valued("--partition", "-p"),
  compression: valued("--compression", "-z", "--compression-codec"),
  tombstone: flag("--tombstone", "-Z"),
  acks: valued("--acks", "--request-required-acks"),
  timestamp: valued("--timestamp"),
  output: valued("--output-format", "-o"),
  transactionalId: valued("--transactional-id"),
  transactionTimeout: valued("--transaction-timeout"),
  deliveryTimeout: valued("--delivery-timeout"),
  batchBytes: valued("--max-message-bytes"),
};

type ProduceOptions = Given<keyof typeof options>;

const CODECS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;
/** librdkafka's batch size: below a broker's default for the largest batch it takes. */
const BATCH_BYTES = 1_000_000;

const utf8 = new TextEncoder();

/** Understands what follows `odradek produce`. */
export const parseProduceArguments = (
  args: ReadonlyArray<string>,
  now: Timestamp,
  environment: Environment,
): Parsed<ProduceArguments> =>
  parsedBy("produce", () => {
    const given = readArguments(args, options);
    if (given.has("help")) return { kind: "help", text: produceHelp };
    const [topic, second] = [...given.all("topic"), ...given.words];
    if (second !== undefined) throw new UsageError(`unexpected argument ${second}: one topic at most`);
    const input = inputOf(given);
    if (topic === undefined && input.kind === "format" && !/%t/.test(given.last("format") ?? ""))
      throw new UsageError("which topic?");
    const transaction = transactionOf(given);
    const acks = acksOf(given);
    if (transaction !== undefined && acks !== -1) throw new UsageError("--transactional-id needs --acks all");
    const batchBytes = given.last("batchBytes");
    const output = given.last("output");
    return {
      kind: "run",
      arguments: {
        ...readDoor(given, environment),
        input,
        defaults: defaultsOf(given, topic, now),
        acks,
        codec:
          CODECS[
            oneOf(given.last("compression") ?? "none", "--compression", ["none", "gzip", "snappy", "lz4", "zstd"])
          ],
        batchBytes: batchBytes === undefined ? BATCH_BYTES : wholeNumber(batchBytes, "--max-message-bytes", 1),
        deliveryTimeoutMs: durationOf(given.last("deliveryTimeout") ?? "2m", "--delivery-timeout"),
        output: output === undefined ? undefined : outputOf(output),
        transaction,
        notes: readNotes(given),
      },
    };
  });

const inputOf = (given: ProduceOptions): ProduceArguments["input"] => {
  const format = given.last("format");
  if (given.has("json")) {
    if (format !== undefined) throw new UsageError("--json and --format");
    return { kind: "json", reader: envelopeReader() };
  }
  return { kind: "format", reader: formatReader(format ?? "%v\\n") };
};

const outputOf = (format: string): OutputForm =>
  format === "json"
    ? { kind: "json", pretty: false, metaOnly: true }
    : { kind: "format", write: compileFormat(format) };

const ACKS = { all: -1, "-1": -1, "0": 0, "1": 1 } as const;

const acksOf = (given: ProduceOptions): -1 | 0 | 1 =>
  ACKS[oneOf(given.last("acks") ?? "all", "--acks", ["all", "-1", "0", "1"])];

const defaultsOf = (given: ProduceOptions, topic: string | undefined, now: Timestamp): RecordDefaults => {
  const partition = given.last("partition");
  const key = given.last("key");
  const time = given.last("timestamp");
  const timestamp = time === undefined ? undefined : time === "now" ? now : parseInstant(time);
  if (time !== undefined && timestamp === undefined)
    throw new UsageError(
      `--timestamp ${time}: expected milliseconds, seconds, now, 2026-01-31 or 2026-01-31T12:00:00Z`,
    );
  return {
    topic,
    partition: partition === undefined ? undefined : wholeNumber(partition, "--partition", -1, 0x7fffffff),
    key: key === undefined ? undefined : utf8.encode(key),
    headers: given.all("header").map((text) => {
      const [name, value] = keyValue(text, "--header");
      return { key: name, value: utf8.encode(value) };
    }),
    timestamp,
    emptyIsNull: given.has("tombstone"),
  };
};

const transactionOf = (given: ProduceOptions): ProduceArguments["transaction"] => {
  const id = given.last("transactionalId");
  const timeout = given.last("transactionTimeout");
  if (id === undefined) {
    if (timeout !== undefined) throw new UsageError("--transaction-timeout is for --transactional-id");
    return undefined;
  }
  return { id, timeoutMs: durationOf(timeout ?? "1m", "--transaction-timeout") };
};

const durationOf = (text: string, option: string): number => {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined || milliseconds < 1)
    throw new UsageError(`${option} ${text}: expected a duration like 30s or 5m`);
  return Math.round(milliseconds);
};

const produceHelp = `Usage: odradek produce [TOPIC] [OPTIONS]

Writes records from the standard input, by default each line as a value. Idempotent, and acknowledged by all replicas.

  --topic, -t TOPIC                    the same as TOPIC
  --format, -f FORMAT                  how the input is read (below; default '%v\\n')
  --json, -J                           it is JSON as odradek consume, or kcat -J, prints it: topic, partition, time, headers,
                                       key and payload are the record's own, but for the options given here
  --key, -k KEY                        of records that have none
  --header, -H KEY=VALUE               in front of each record's own; may be given again
  --partition, -p N                    to this partition; -1: by key, whatever --json says
  --tombstone, -Z                      empty keys and values are null
  --timestamp TIME                     of every record: 13 digits (milliseconds), 10 digits (seconds), 2026-01-31T12:00:00Z, now
  --compression, -z CODEC              none, gzip, snappy, lz4 or zstd (default none)
  --acks all|1|0                       who must have a record (default all)
  --max-message-bytes N                most bytes of a batch before compression (default ${BATCH_BYTES})
  --delivery-timeout DURATION          how long a record may take, with retries (default 2m)
  --output-format, -o FORMAT           prints each acknowledged record, in the verbs of consume --help, or as json
  --transactional-id ID                everything is one transaction: committed at the end of the input; aborted when anything
                                       is wrong, and at Ctrl-C
  --transaction-timeout DURATION       it is aborted by the broker after this time (default 1m)
${NOTE_HELP}${DOOR_HELP}
Input formats, as rpk has them: a field ends at the text behind it, or has its size said before it
  %t %k %v  topic, key, value          {hex} {base64}, or without a size {json} {re[EXPRESSION]}
  %T %K %V  their sizes, as they stand in the input: digits, {big32} {hex8} … as in consume --help, or {N}: always N
  %H %h{…}  how many headers, and each: %k %v %K %V
  %p %d     partition, time in milliseconds; %o %e %x %y are passed over

For example
  echo hello | odradek produce greetings
  odradek produce orders -f '%k\\t%v\\n' -H source=import -z zstd < orders.tsv
  odradek produce orders -f '%K{big32}%k%V{big32}%v' -o '%p %o\\n' < orders.bin
  odradek consume orders -e | odradek produce --json copy-of-orders --transactional-id copier
`;
