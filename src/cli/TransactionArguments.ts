/**
 * `odradek txn …`: text in, a decision out. The verbs are those of `kafka-transactions`; `abort` takes a transactional id
 * (Kafka's `forceTerminateTransaction`) or the place where a hanging transaction begins.
 */
import {
  type OptionNames,
  type Options,
  readCommand,
  SHARED_HELP,
  scopeOf,
  type ToolOptions,
  type TopicScope,
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

export type ParsedTransactionArguments = TransactionArguments | { readonly verb: "help" } | { readonly error: string };

const OPTIONS: OptionNames = {
  valued: ["--state", "--producer-id", "--duration", "--pattern", "--max-timeout", "--start-offset"],
  plain: [],
};

const VERBS = "list, describe, describe-producers, find-hanging and abort";
const DEFAULT_MAX_TIMEOUT_MINUTES = 15;
const MINUTE_MS = 60_000;

/** The option's last value as a number of at least `least`; a text is what is wrong. */
const numberOf = (options: Options, name: string, missing: number, least = 0): number | string => {
  const text = options.get(name)?.at(-1);
  if (text === undefined) return missing;
  const value = Number(text);
  return Number.isSafeInteger(value) && value >= least ? value : `${name} ${text}: expected a number from ${least} on`;
};

const scopesOf = (words: ReadonlyArray<string>): TopicScope[] | string => {
  const scopes: TopicScope[] = [];
  for (const word of words) {
    const scope = scopeOf(word);
    if (scope === undefined) return `${word}: expected TOPIC or TOPIC:0,1`;
    scopes.push(scope);
  }
  return scopes;
};

/** Understands what follows `odradek txn`. */
export const parseTransactionArguments = (args: ReadonlyArray<string>): ParsedTransactionArguments => {
  const command = readCommand(args, OPTIONS);
  if (!("names" in command)) return command;
  const { verb, names, options, shared } = command;
  switch (verb) {
    case "list":
      return names.length > 0 ? { error: `unexpected argument ${names[0]}` } : listOf(options, shared);
    case "describe":
      if (names.length === 0) return { error: "describe: which transactional id?" };
      return { verb, ...shared, transactionalIds: names };
    case "describe-producers": {
      if (names.length === 0) return { error: "describe-producers: of which TOPIC or TOPIC:0,1?" };
      const scopes = scopesOf(names);
      return typeof scopes === "string" ? { error: scopes } : { verb, ...shared, scopes };
    }
    case "find-hanging": {
      const scopes = scopesOf(names);
      if (typeof scopes === "string") return { error: scopes };
      const minutes = numberOf(options, "--max-timeout", DEFAULT_MAX_TIMEOUT_MINUTES);
      return typeof minutes === "string"
        ? { error: minutes }
        : { verb, ...shared, scopes, maxTimeoutMs: minutes * MINUTE_MS };
    }
    case "abort":
      return abortOf(names, options, shared);
    default:
      return { error: `there is no txn ${verb}; ${VERBS} there are` };
  }
};

const listOf = (options: Options, shared: ToolOptions): ParsedTransactionArguments => {
  const durationMs = numberOf(options, "--duration", -1, -1);
  if (typeof durationMs === "string") return { error: durationMs };
  const producerIds = (options.get("--producer-id") ?? []).map(Number);
  if (!producerIds.every(Number.isSafeInteger)) return { error: "--producer-id: expected a number" };
  const states = options.get("--state") ?? [];
  return {
    verb: "list",
    ...shared,
    states,
    producerIds,
    durationMs,
    pattern: options.get("--pattern")?.at(-1) ?? null,
  };
};

const abortOf = (names: ReadonlyArray<string>, options: Options, shared: ToolOptions): ParsedTransactionArguments => {
  const [name] = names;
  if (name === undefined || names.length > 1) {
    return { error: "abort: one transactional id, or TOPIC:PARTITION with --start-offset, is needed" };
  }
  const startOffset = numberOf(options, "--start-offset", -1);
  if (typeof startOffset === "string") return { error: startOffset };
  if (startOffset < 0) return { verb: "abort", ...shared, transactionalId: name };
  const { topic, partitions = [] } = scopeOf(name) ?? {};
  const [partition] = partitions;
  if (topic === undefined || partition === undefined || partitions.length > 1) {
    return { error: `${name}: expected TOPIC:PARTITION beside --start-offset` };
  }
  return { verb: "abort-hanging", ...shared, topic, partition, startOffset };
};

export const transactionHelp = (): string => `Usage: odradek txn VERB [OPTIONS]

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

${SHARED_HELP}`;
