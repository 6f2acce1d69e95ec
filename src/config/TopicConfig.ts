/**
 * A topic's configuration resolved: its own settings over the broker's dynamic, static and built-in values
 * (Kafka's `LogConfig.fromProps` over `KafkaConfig.extractLogConfigMap`). Immutable and cheap to keep per topic; what
 * must stay true: every value in it has been checked, and `validateTopicConfig` answers with Kafka's own words.
 */
import { Defect, invariant } from "../prelude/Invariant.ts";
import { type BrokerConfig, ConfigSource, type ConfigSynonym } from "./BrokerConfig.ts";
import { type ConfigKey, type ConfigType, type ConfigValue, parseConfigValue, printConfigValue } from "./ConfigKey.ts";
import { topicConfigKeys } from "./TopicConfigKeys.ts";

type Keys = typeof topicConfigKeys;
type KeysOf<Type extends ConfigType, Nullable extends boolean> = {
  [K in keyof Keys]: Keys[K] extends ConfigKey<Type, Nullable> ? K : never;
}[keyof Keys];

export type TopicKey = keyof Keys;
export type TopicNumberKey = KeysOf<"INT" | "LONG" | "DOUBLE", false>;
export type TopicBooleanKey = KeysOf<"BOOLEAN", false>;
export type TopicStringKey = KeysOf<"STRING", false>;
export type TopicListKey = KeysOf<"LIST", false>;

/** A topic's own settings by name, as CreateTopics and the metadata log carry them. */
export type TopicOverrides = ReadonlyMap<string, string>;

const definitions: ReadonlyMap<string, ConfigKey> = new Map<string, ConfigKey>(Object.entries(topicConfigKeys));

/** The definition of a topic key, or undefined when Kafka 4.3.1 has none of that name. */
export const topicConfigKey = (name: string): ConfigKey | undefined => definitions.get(name);
export const topicConfigNames = (): IterableIterator<string> => definitions.keys();

/** Why a topic cannot have this setting, in Kafka's words (INVALID_CONFIG's message), or undefined. */
export function validateTopicConfig(name: string, value: string | null): string | undefined {
  const definition = definitions.get(name);
  if (definition === undefined) return `Unknown topic config name: ${name}`;
  if (value === null) return `Null value not supported for topic configs: ${name}`;
  const parsed = parseConfigValue(name, definition, value);
  return parsed.ok ? undefined : parsed.error;
}

/**
 * Why these settings cannot stand together, in Kafka's words, or undefined (`LogConfig.validate`, as the controller
 * calls it: each value by itself, then the pairs).
 */
export function validateTopicConfigs(broker: BrokerConfig, overrides: TopicOverrides): string | undefined {
  for (const [name, value] of overrides) {
    const error = validateTopicConfig(name, value);
    if (error !== undefined) return error;
  }
  const config = TopicConfig.of(broker, overrides);
  const [min, max] = [config.number("min.compaction.lag.ms"), config.number("max.compaction.lag.ms")];
  if (min > max) return `conflict topic config setting min.compaction.lag.ms (${min}) > max.compaction.lag.ms (${max})`;
  if (config.boolean("remote.storage.enable") && !broker.boolean("remote.log.storage.system.enable"))
    return "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.";
  return undefined;
}

const hour = 3_600_000;
const minute = 60_000;
/** A product of units that stays a LONG: Kafka's own settings cannot exceed it either. */
const inMs = (amount: number, unit: number) => String(amount < 0 ? -1 : amount * unit);

/** What the broker's configuration says for a topic key: older and coarser keys folded in, as text. */
function brokerDefault(broker: BrokerConfig, name: string, definition: ConfigKey): string | null {
  if (definition.synonym === undefined) return definition.default;
  const direct = broker.text(definition.synonym);
  if (direct !== null) return name === "retention.ms" && direct.trim().startsWith("-") ? "-1" : direct;
  switch (name) {
    case "segment.ms":
      return inMs(broker.number("log.roll.hours"), hour);
    case "segment.jitter.ms":
      return inMs(broker.number("log.roll.jitter.hours"), hour);
    case "flush.ms":
      return broker.text("log.flush.scheduler.interval.ms");
    case "retention.ms": {
      const minutes = broker.optionalNumber("log.retention.minutes");
      if (minutes !== undefined) return inMs(minutes, minute);
      return inMs(broker.number("log.retention.hours"), hour);
    }
    default:
      return definition.default;
  }
}

export class TopicConfig {
  readonly #values = new Map<string, ConfigValue | undefined>();

  private constructor(
    readonly broker: BrokerConfig,
    readonly overrides: TopicOverrides,
  ) {}

  /** A setting that cannot be (a newer version may have written it) counts as unset. */
  static of(broker: BrokerConfig, overrides: TopicOverrides | Readonly<Record<string, string>>): TopicConfig {
    const given = overrides instanceof Map ? overrides : new Map(Object.entries(overrides));
    const usable = [...given].filter(([name, value]) => validateTopicConfig(name, value) === undefined);
    return new TopicConfig(broker, usable.length === given.size ? given : new Map(usable));
  }

  /** A whole or broken number; a LONG beyond 2^53 − 1 is saturated there. */
  number(key: TopicNumberKey): number {
    const value = this.#value(key);
    invariant(typeof value === "number", `${key} is no number`);
    return value;
  }

  boolean(key: TopicBooleanKey): boolean {
    return this.#value(key) === true;
  }

  string(key: TopicStringKey): string {
    const value = this.#value(key);
    invariant(typeof value === "string", `${key} is no text`);
    return value;
  }

  list(key: TopicListKey): ReadonlyArray<string> {
    const value = this.#value(key);
    return Array.isArray(value) ? value : [];
  }

  /** Whether old segments are deleted, compacted, both or neither. */
  get compacted(): boolean {
    return this.list("cleanup.policy").includes("compact");
  }

  /** `segment.bytes`, or the smaller size a test has set through `internal.segment.bytes`. */
  get segmentBytes(): number {
    const forTests = this.#value("internal.segment.bytes");
    return typeof forTests === "number" ? forTests : this.number("segment.bytes");
  }

  /** `segment.ms`; of a compacted topic at most `max.compaction.lag.ms`, since only closed segments are compacted. */
  get segmentMs(): number {
    const own = this.number("segment.ms");
    return this.compacted ? Math.min(own, this.number("max.compaction.lag.ms")) : own;
  }

  /** The value in force of any topic key, as text; null: unset or unknown. */
  text(name: string): string | null {
    const own = this.overrides.get(name);
    if (own !== undefined) return own;
    const definition = definitions.get(name);
    return definition === undefined ? null : brokerDefault(this.broker, name, definition);
  }

  /** Where the value could come from, the one in force first, as DescribeConfigs lists them. */
  synonyms(name: string): ConfigSynonym[] {
    const definition = definitions.get(name);
    const fromBroker = definition?.synonym === undefined ? [] : this.broker.synonyms(definition.synonym);
    const own = this.overrides.get(name);
    if (own === undefined) return fromBroker;
    const value = definition === undefined ? own : printConfigValue(name, definition, own);
    return [{ name, value, source: ConfigSource.DYNAMIC_TOPIC_CONFIG }, ...fromBroker];
  }

  #value(name: TopicKey): ConfigValue | undefined {
    if (this.#values.has(name)) return this.#values.get(name);
    const text = this.text(name);
    let value: ConfigValue | undefined;
    if (text !== null) {
      const parsed = parseConfigValue(name, topicConfigKeys[name], text);
      if (!parsed.ok) throw new Defect(parsed.error);
      value = parsed.value;
    }
    this.#values.set(name, value);
    return value;
  }
}

/** A topic's configuration: its own settings over the broker's. */
export const topicConfigOf = TopicConfig.of;
