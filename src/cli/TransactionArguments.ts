/**
 * `odradek txn …`: text in, a decision out. The verbs are those of `kafka-transactions`; `abort` takes a transactional id
 * (Kafka's `forceTerminateTransaction`) or the place where a hanging transaction begins.
 */
import { type Given, type Parsed, parsedBy, readArguments, UsageError, valued, wholeNumber } from "./Arguments.ts";
import {
  type Environment,
  readScopes,
  readTool,
  scopeOf,
  TOOL_HELP,
  type ToolOptions,
  type TopicScope,
  toolOptions,
} from "./Options.ts";

/** Which transactional ids are listed; an empty list is no condition. */
export interface TransactionFilter {
  readonly states: ReadonlyArray<string>;
  readonly producerIds: ReadonlyArray<number>;
  /** Only those open for longer, in milliseconds; -1: every one. */
  readonly durationMs: number;
  /** For the whole transactional id; null: every one. */
  readonly pattern: string | null;
}

export type TransactionArguments = ToolOptions &
  (
    | ({ readonly verb: "list" } & TransactionFilter)
    | { readonly verb: "describe"; readonly transactionalIds: ReadonlyArray<string> }
    | { readonly verb: "describe-producers"; readonly scopes: ReadonlyArray<TopicScope> }
    | {
        readonly verb: "find-hanging";
        /** Empty: every topic. */
        readonly scopes: ReadonlyArray<TopicScope>;
        /** No transaction may be open for longer. */
        readonly maxTimeoutMs: number;
      }
    | { readonly verb: "abort"; readonly transactionalId: string }
    | {
        readonly verb: "abort-hanging";
        readonly topic: string;
        readonly partition: number;
        readonly startOffset: number;
      }
  );

const options = {
  ...toolOptions,
  state: valued("--state"),
  producerId: valued("--producer-id"),
  duration: valued("--duration"),
  pattern: valued("--pattern"),
  maxTimeout: valued("--max-timeout"),
  startOffset: valued("--start-offset"),
};

type TransactionOptions = Given<keyof typeof options>;

const VERBS = "list, describe, describe-producers, find-hanging and abort";
const DEFAULT_MAX_TIMEOUT_MINUTES = 15;
const MINUTE_MS = 60_000;

/** The option's last value as a number of at least `least`. */
const numberOf = (given: TransactionOptions, name: keyof typeof options, missing: number, least = 0): number => {
  const text = given.last(name);
  return text === undefined ? missing : wholeNumber(text, options[name].names[0]!, least);
};

type WithoutShared<A> = A extends unknown ? Omit<A, keyof ToolOptions> : never;
type TransactionCommand = WithoutShared<TransactionArguments>;

/** Understands what follows `odradek txn`. */
export const parseTransactionArguments = (
  args: ReadonlyArray<string>,
  environment: Environment,
): Parsed<TransactionArguments> =>
  parsedBy("txn", () => {
    const given = readArguments(args, options);
    const [verb, ...names] = given.words;
    if (verb === undefined || given.has("help")) return { kind: "help", text: transactionHelp };
    return { kind: "run", arguments: { ...readTool(given, environment), ...readVerb(verb, names, given) } };
  });

const readVerb = (verb: string, names: ReadonlyArray<string>, given: TransactionOptions): TransactionCommand => {
  switch (verb) {
    case "list":
      if (names.length > 0) throw new UsageError(`unexpected argument ${names[0]}`);
      return listOf(given);
    case "describe":
      if (names.length === 0) throw new UsageError("describe: which transactional id?");
      return { verb, transactionalIds: names };
    case "describe-producers":
      if (names.length === 0) throw new UsageError("describe-producers: of which TOPIC or TOPIC:0,1?");
      return { verb, scopes: readScopes(names) };
    case "find-hanging": {
      const minutes = numberOf(given, "maxTimeout", DEFAULT_MAX_TIMEOUT_MINUTES);
      return { verb, scopes: readScopes(names), maxTimeoutMs: minutes * MINUTE_MS };
    }
    case "abort":
      return abortOf(names, given);
    default:
      throw new UsageError(`there is no txn ${verb}; ${VERBS} there are`);
  }
};

const listOf = (given: TransactionOptions): TransactionCommand => ({
  verb: "list",
  states: given.all("state"),
  producerIds: given.all("producerId").map((text) => wholeNumber(text, "--producer-id", -1)),
  durationMs: numberOf(given, "duration", -1, -1),
  pattern: given.last("pattern") ?? null,
});

const abortOf = (names: ReadonlyArray<string>, given: TransactionOptions): TransactionCommand => {
  const [name] = names;
  if (name === undefined || names.length > 1)
    throw new UsageError("abort: one transactional id, or TOPIC:PARTITION with --start-offset, is needed");
  const startOffset = numberOf(given, "startOffset", -1);
  if (startOffset < 0) return { verb: "abort", transactionalId: name };
  const { topic, partitions = [] } = scopeOf(name) ?? {};
  const [partition] = partitions;
  if (topic === undefined || partition === undefined || partitions.length > 1)
    throw new UsageError(`${name}: expected TOPIC:PARTITION beside --start-offset`);
  return { verb: "abort-hanging", topic, partition, startOffset };
};

const transactionHelp = `Usage: odradek txn VERB [OPTIONS]

  list [--state STATE] [--producer-id ID] [--duration MS] [--pattern REGEX]
                                       transactional ids and their state; with --duration only those with a transaction
                                       open for longer; --state and --producer-id may be given again
  describe ID…                         producer, timeout, how long it has been open, its partitions
  describe-producers TOPIC[:0,1]…      what the partitions know of their producers
  find-hanging [TOPIC[:0,1]…] [--max-timeout MINUTES]
                                       transactions in partitions that no coordinator will end (default: open for more
                                       than ${DEFAULT_MAX_TIMEOUT_MINUTES} minutes, in every topic)
  abort ID                             aborts an open transaction; its producer is fenced
  abort TOPIC:PARTITION --start-offset N
                                       aborts a hanging transaction, as find-hanging shows it

${TOOL_HELP}
For example
  odradek txn find-hanging orders
  odradek txn abort orders:3 --start-offset 1200
`;
