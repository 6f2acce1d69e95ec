/** `odradek consume …`: text in, a decision out. Offsets and formats are rpk's, and kcat's and Kafka's names are understood. */
import { regexProblem } from "../group/SubscribedRegex.ts";
import type { Timestamp } from "../prelude/Types.ts";
import {
  flag,
  type Given,
  oneOf,
  type Parsed,
  parsedBy,
  readArguments,
  UsageError,
  valued,
  wholeNumber,
} from "./Arguments.ts";
import { OFFSET_HELP, type OffsetRange, parseOffsetRange } from "./OffsetRange.ts";
import {
  DOOR_HELP,
  type DoorArguments,
  doorOptions,
  type Environment,
  NOTE_HELP,
  type NoteLevel,
  noteOptions,
  partitionList,
  readDoor,
  readNotes,
  topicOptions,
} from "./Options.ts";
import { compileFormat, FORMAT_HELP, type FormatRecord } from "./RecordFormatter.ts";
import type { Isolation } from "./TopicDoor.ts";

/** How a record is printed. */
export type OutputForm =
  /** The envelope, on one line or (pretty) on several. */
  | { readonly kind: "json"; readonly pretty: boolean; readonly metaOnly: boolean }
  | { readonly kind: "format"; readonly write: FormatRecord };

/** Where the records come from. */
export type ConsumeFrom =
  | {
      readonly kind: "partitions";
      /** Undefined: all of each topic. */
      readonly partitions: ReadonlyArray<number> | undefined;
      readonly range: OffsetRange;
    }
  | {
      readonly kind: "group";
      readonly groupId: string;
      readonly protocol: "classic" | "consumer";
      readonly reset: "earliest" | "latest";
    };

export interface ConsumeArguments extends DoorArguments {
  readonly topics: ReadonlyArray<string>;
  /** The topics are regular expressions for whole names. */
  readonly regex: boolean;
  readonly from: ConsumeFrom;
  /** Ends behind so many records. */
  readonly count: number;
  /** Ends where the partitions end as it begins. */
  readonly exit: boolean;
  readonly isolation: Isolation;
  readonly output: OutputForm;
  readonly notes: NoteLevel;
}

const options = {
  ...doorOptions,
  ...noteOptions,
  ...topicOptions,
  regex: flag("--regex", "-r"),
  partitions: valued("--partitions", "-p", "--partition"),
  offset: valued("--offset", "-o"),
  fromBeginning: flag("--from-beginning"),
  group: valued("--group", "-g", "-G"),
  groupProtocol: valued("--group-protocol"),
  num: valued("--num", "-n", "-c", "--max-messages"),
  exit: flag("--exit", "-e"),
  format: valued("--format", "-f"),
  json: flag("--json", "-J"),
  pretty: flag("--pretty-print"),
  metaOnly: flag("--meta-only"),
  readUncommitted: flag("--read-uncommitted"),
  isolation: valued("--isolation-level"),
};

type ConsumeOptions = Given<keyof typeof options>;

/** Understands what follows `odradek consume`. */
export const parseConsumeArguments = (
  args: ReadonlyArray<string>,
  now: Timestamp,
  environment: Environment,
): Parsed<ConsumeArguments> =>
  parsedBy("consume", () => {
    const given = readArguments(args, options);
    if (given.has("help")) return { kind: "help", text: consumeHelp };
    const topics = [...given.all("topic"), ...given.words];
    if (topics.length === 0) throw new UsageError("which topic?");
    const regex = given.has("regex");
    for (const topic of regex ? topics : []) {
      const problem = regexProblem(topic);
      if (problem !== undefined) throw new UsageError(`--regex ${topic}: ${problem}`);
    }
    const num = given.last("num");
    return {
      kind: "run",
      arguments: {
        ...readDoor(given, environment),
        topics,
        regex,
        from: fromOf(given, now),
        count: num === undefined || num === "0" ? Number.POSITIVE_INFINITY : wholeNumber(num, "--num", 1),
        exit: given.has("exit"),
        isolation: isolationOf(given),
        output: outputOf(given),
        notes: readNotes(given),
      },
    };
  });

const isolationOf = (given: ConsumeOptions): Isolation =>
  given.has("readUncommitted")
    ? "read_uncommitted"
    : oneOf(given.last("isolation") ?? "read_committed", "--isolation-level", ["read_committed", "read_uncommitted"]);

const fromOf = (given: ConsumeOptions, now: Timestamp): ConsumeFrom => {
  const offset = given.last("offset") ?? "start";
  if (given.has("fromBeginning") && given.has("offset")) throw new UsageError("--from-beginning and --offset");
  const range = parseOffsetRange(offset, now);
  if (typeof range === "string") throw new UsageError(`--offset ${range}`);
  const partitions = given.last("partitions");
  const groupId = given.last("group");
  if (groupId === undefined) {
    const list = partitions === undefined ? undefined : partitionList(partitions, "--partitions");
    return { kind: "partitions", partitions: list, range };
  }
  if (partitions !== undefined) throw new UsageError("--group gives the partitions: --partitions cannot be said too");
  const { from, to } = range;
  const plain =
    to === undefined && ((from.at === "start" && from.plus === 0) || (from.at === "end" && from.minus === 0));
  if (!plain)
    throw new UsageError(`--offset ${offset}: with --group it is start or end, for what has no committed offset`);
  const url = given.last("url");
  const usual = url === undefined ? "classic" : "consumer";
  const protocol = oneOf(given.last("groupProtocol") ?? usual, "--group-protocol", ["classic", "consumer"]);
  if (url !== undefined && protocol === "classic")
    throw new UsageError("--group-protocol classic is not for --url: its members speak KIP-848");
  return { kind: "group", groupId, protocol, reset: from.at === "start" ? "earliest" : "latest" };
};

const outputOf = (given: ConsumeOptions): OutputForm => {
  const format = given.last("format");
  if (format !== undefined && format !== "json") {
    for (const [name, option] of [
      ["json", "--json"],
      ["pretty", "--pretty-print"],
      ["metaOnly", "--meta-only"],
    ] as const)
      if (given.has(name)) throw new UsageError(`${option} is of the JSON form: not with --format`);
    return { kind: "format", write: compileFormat(format) };
  }
  return { kind: "json", pretty: given.has("pretty"), metaOnly: given.has("metaOnly") };
};

const consumeHelp = `Usage: odradek consume TOPIC… [OPTIONS]

Prints records, by default as JSON, one a line: kcat's envelope with headers as [key, value] pairs. Bytes that are no UTF-8
are {"base64": "…"}. What is printed so, odradek produce --json reads.

  --topic, -t TOPIC                    the same as TOPIC
  --regex, -r                          topics are regular expressions for whole names; new ones that match are read too
  --partitions, -p 0,1,4-7             only these partitions
  --offset, -o OFFSET                  where to begin, or from where to where (default start; below)
  --from-beginning                     the same as --offset start
  --num, -n N                          end after N records
  --exit, -e                           end where the partitions end now
  --group, -g GROUP                    as a member of the group, which gives the partitions; commits what was printed;
                                       --offset start or end is for partitions without a committed offset
  --group-protocol classic|consumer    consumer: KIP-848's (default classic; with --url consumer)
  --read-uncommitted                   records of open and aborted transactions too
  --format, -f FORMAT                  text with verbs instead of JSON (below)
  --pretty-print                       JSON on several lines
  --meta-only                          JSON without the payload, with its size
${NOTE_HELP}${DOOR_HELP}
${OFFSET_HELP}
${FORMAT_HELP}
For example
  odradek consume orders -o -10 -e
  odradek consume orders -o @-1h:end -f '%d{strftime[%F %T]} %k %v\\n'
  odradek consume 'orders-.*' -r -g billing
  odradek consume orders -e | odradek produce --json copy-of-orders
`;
