/**
 * A broker's configuration as the rest of the code sees it: typed access to every key of `BrokerConfigKeys`, and for
 * each value where it came from. Immutable: a change at run time makes a new one (`withDynamic`). What must stay true:
 * every value in it has been checked, so that reading never fails and needs no cast.
 */
import { Defect, invariant } from "../prelude/Invariant.ts";
import { brokerConfigKeys } from "./BrokerConfigKeys.ts";
import {
  allowedValues,
  type ConfigKey,
  type ConfigType,
  type ConfigValue,
  parseConfigValue,
  printConfigValue,
} from "./ConfigKey.ts";

type Keys = typeof brokerConfigKeys;
type KeysOf<Type extends ConfigType, Nullable extends boolean> = {
  [K in keyof Keys]: Keys[K] extends ConfigKey<Type, Nullable> ? K : never;
}[keyof Keys];

export type BrokerKey = keyof Keys;
export type BrokerNumberKey = KeysOf<"INT" | "SHORT" | "LONG" | "DOUBLE", false>;
export type BrokerOptionalNumberKey = KeysOf<"INT" | "SHORT" | "LONG" | "DOUBLE", true>;
export type BrokerBooleanKey = KeysOf<"BOOLEAN", boolean>;
export type BrokerStringKey = KeysOf<"STRING" | "CLASS" | "PASSWORD", false>;
export type BrokerOptionalStringKey = KeysOf<"STRING" | "CLASS" | "PASSWORD", true>;
export type BrokerListKey = KeysOf<"LIST", boolean>;

/** Where a value came from, by DescribeConfigs' numbers (KIP-226). */
export const ConfigSource = {
  DYNAMIC_TOPIC_CONFIG: 1,
  DYNAMIC_BROKER_CONFIG: 2,
  DYNAMIC_DEFAULT_BROKER_CONFIG: 3,
  STATIC_BROKER_CONFIG: 4,
  DEFAULT_CONFIG: 5,
} as const;
export type ConfigSource = (typeof ConfigSource)[keyof typeof ConfigSource];

/** One place a value could come from: the first of a row's is the one in force. */
export interface ConfigSynonym {
  readonly name: string;
  readonly value: string | null;
  readonly source: ConfigSource;
}

const definitions: ReadonlyMap<string, ConfigKey> = new Map<string, ConfigKey>(Object.entries(brokerConfigKeys));
const nothing: ReadonlyMap<string, string> = new Map();

/** The definition of a broker key, or undefined when Kafka 4.3.1 has none of that name. */
export const brokerConfigKey = (name: string): ConfigKey | undefined => definitions.get(name);
export const brokerConfigNames = (): IterableIterator<string> => definitions.keys();

/**
 * Kafka's message for a value that cannot be, or undefined. `allowed` appends what would be: for start-up, where a
 * person reads it.
 */
export function validateBrokerConfig(name: string, value: string, allowed = false): string | undefined {
  const definition = definitions.get(name);
  if (definition === undefined) return undefined;
  const parsed = parseConfigValue(name, definition, value);
  if (!parsed.ok) return allowed ? `${parsed.error} (allowed: ${allowedValues(definition)})` : parsed.error;
  const unlimitedOrPositive = /^log\.retention\.(ms|minutes|hours)$/;
  if (unlimitedOrPositive.test(name) && typeof parsed.value === "number" && (parsed.value === 0 || parsed.value < -1))
    return `requirement failed: ${name} must be unlimited (-1) or, greater than or equal to 1`;
  return undefined;
}

/** Why the cleaners cannot share this memory, in Kafka's words, or undefined. */
export function cleanerMemoryProblem(config: BrokerConfig): string | undefined {
  const each = Math.trunc(config.number("log.cleaner.dedupe.buffer.size") / config.number("log.cleaner.threads"));
  if (each > 1024 * 1024) return undefined;
  return "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.";
}

/** Older or coarser names that also set a key, the key itself first (`DynamicBrokerConfig.brokerConfigSynonyms`). */
const synonymNames = new Map<string, ReadonlyArray<string>>([
  ["log.roll.ms", ["log.roll.ms", "log.roll.hours"]],
  ["log.roll.jitter.ms", ["log.roll.jitter.ms", "log.roll.jitter.hours"]],
  ["log.flush.interval.ms", ["log.flush.interval.ms", "log.flush.scheduler.interval.ms"]],
  ["log.retention.ms", ["log.retention.ms", "log.retention.minutes", "log.retention.hours"]],
]);
for (const names of [...synonymNames.values()]) for (const name of names) synonymNames.set(name, names);

export class BrokerConfig {
  readonly #values = new Map<string, ConfigValue | undefined>();

  private constructor(
    /** What file, environment and overrides say, unknown keys included. */
    readonly settings: ReadonlyMap<string, string>,
    /** Set at run time for this broker. */
    readonly dynamic: ReadonlyMap<string, string>,
    /** Set at run time for all brokers. */
    readonly dynamicDefault: ReadonlyMap<string, string>,
  ) {}

  /** From checked settings (see `loadBrokerConfig`); a value that cannot be is a defect here. */
  static of(settings: ReadonlyMap<string, string> | Readonly<Record<string, string>> = nothing): BrokerConfig {
    const map = settings instanceof Map ? settings : new Map(Object.entries(settings));
    for (const [name, value] of map) {
      const error = validateBrokerConfig(name, value);
      invariant(error === undefined, error ?? "");
    }
    return new BrokerConfig(map, nothing, nothing);
  }

  /**
   * The same with what was set at run time: `own` for this broker, `all` for every broker. A value that cannot be (a
   * newer version may have written it) does not count.
   */
  withDynamic(own: ReadonlyMap<string, string>, all: ReadonlyMap<string, string>): BrokerConfig {
    const usable = (from: ReadonlyMap<string, string>) =>
      new Map([...from].filter(([name, value]) => validateBrokerConfig(name, value) === undefined));
    return new BrokerConfig(this.settings, usable(own), usable(all));
  }

  /** A whole or broken number; a LONG beyond 2^53 − 1 is saturated there. */
  number(key: BrokerNumberKey): number {
    const value = this.#value(key);
    invariant(typeof value === "number", `${key} is no number`);
    return value;
  }

  optionalNumber(key: BrokerOptionalNumberKey): number | undefined {
    const value = this.#value(key);
    invariant(value === undefined || typeof value === "number", `${key} is no number`);
    return value;
  }

  boolean(key: BrokerBooleanKey): boolean {
    return this.#value(key) === true;
  }

  string(key: BrokerStringKey): string {
    const value = this.#value(key);
    invariant(typeof value === "string", `${key} is no text`);
    return value;
  }

  optionalString(key: BrokerOptionalStringKey): string | undefined {
    const value = this.#value(key);
    invariant(value === undefined || typeof value === "string", `${key} is no text`);
    return value;
  }

  /** Empty when unset. */
  list(key: BrokerListKey): ReadonlyArray<string> {
    const value = this.#value(key);
    return Array.isArray(value) ? value : [];
  }

  /** The value in force of any key, as text; null: unset. */
  text(name: string): string | null {
    return (
      this.dynamic.get(name) ??
      this.dynamicDefault.get(name) ??
      this.settings.get(name) ??
      definitions.get(name)?.default ??
      null
    );
  }

  /** Whether file, environment, overrides or a change at run time set the key. */
  isSet(name: string): boolean {
    return this.settings.has(name) || this.dynamic.has(name) || this.dynamicDefault.has(name);
  }

  /**
   * Where the key's value could come from, the one in force first, as DescribeConfigs lists them
   * (`ConfigHelper.configSynonyms`). Secrets are null.
   */
  synonyms(name: string): ConfigSynonym[] {
    const secret = definitions.get(name)?.type === "PASSWORD";
    const names = synonymNames.get(name) ?? [name];
    const rows: ConfigSynonym[] = [];
    const add = (source: ConfigSource, value: (each: string) => string | null | undefined) => {
      for (const each of names) {
        const text = value(each);
        if (text !== undefined && text !== null) rows.push({ name: each, value: secret ? null : text, source });
      }
    };
    add(ConfigSource.DYNAMIC_BROKER_CONFIG, (each) => this.dynamic.get(each));
    add(ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, (each) => this.dynamicDefault.get(each));
    add(ConfigSource.STATIC_BROKER_CONFIG, (each) => this.settings.get(each));
    add(ConfigSource.DEFAULT_CONFIG, (each) => {
      const definition = definitions.get(each);
      return definition?.default && printConfigValue(each, definition, definition.default);
    });
    const first = rows.findIndex((row) => row.name === name);
    return first < 0 ? [] : rows.slice(first);
  }

  /** `node.id`, or the older `broker.id` where only that is set. */
  get nodeId(): number {
    return this.isSet("broker.id") && !this.isSet("node.id") ? this.number("broker.id") : this.number("node.id");
  }

  /** `log.dirs`, or `log.dir` where that is unset. */
  get logDirs(): ReadonlyArray<string> {
    const directories = this.list("log.dirs");
    return directories.length > 0 ? directories : this.list("log.dir");
  }

  #value(name: string): ConfigValue | undefined {
    if (this.#values.has(name)) return this.#values.get(name);
    const definition = definitions.get(name);
    const text = this.text(name);
    let value: ConfigValue | undefined;
    if (definition !== undefined && text !== null) {
      const parsed = parseConfigValue(name, definition, text);
      if (!parsed.ok) throw new Defect(parsed.error);
      value = parsed.value;
    }
    this.#values.set(name, value);
    return value;
  }
}
