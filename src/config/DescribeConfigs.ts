/**
 * The rows of a DescribeConfigs answer, for a topic, for a broker and for the cluster-wide default (`ConfigHelper`):
 * every key that is not internal with the value in force, where it came from and what else it could come from.
 */
import {
  type BrokerConfig,
  brokerConfigKey,
  brokerConfigNames,
  ConfigSource,
  type ConfigSynonym,
} from "./BrokerConfig.ts";
import { type ConfigKey, type ConfigType, printConfigValue } from "./ConfigKey.ts";
import { type TopicConfig, topicConfigKey, topicConfigNames } from "./TopicConfig.ts";

export interface ConfigRow {
  readonly name: string;
  /** null: unset, or secret. */
  readonly value: string | null;
  readonly source: ConfigSource;
  readonly readOnly: boolean;
  readonly sensitive: boolean;
  /** The one in force first; empty where Kafka lists none. */
  readonly synonyms: ReadonlyArray<ConfigSynonym>;
  /** DescribeConfigs' number of the type (`ConfigEntry.ConfigType`); 0: unknown. */
  readonly type: number;
  readonly documentation: string;
}

const typeNumbers: Record<ConfigType, number> = {
  BOOLEAN: 1,
  STRING: 2,
  INT: 3,
  SHORT: 4,
  LONG: 5,
  DOUBLE: 6,
  LIST: 7,
  CLASS: 8,
  PASSWORD: 9,
};

function row(
  name: string,
  definition: ConfigKey | undefined,
  text: string | null,
  synonyms: ReadonlyArray<ConfigSynonym>,
  readOnly: boolean,
): ConfigRow {
  // A key that no schema knows may be a plug-in's password: Kafka calls it sensitive.
  const sensitive = definition === undefined || definition.type === "PASSWORD";
  const value = text === null || definition === undefined ? text : printConfigValue(name, definition, text);
  return {
    name,
    value: sensitive ? null : value,
    source: synonyms[0]?.source ?? ConfigSource.DEFAULT_CONFIG,
    readOnly,
    sensitive,
    synonyms: sensitive ? synonyms.map((synonym) => ({ ...synonym, value: null })) : synonyms,
    type: definition === undefined ? 0 : typeNumbers[definition.type],
    documentation: definition?.doc ?? "",
  };
}

/** A topic's rows: all of its keys, or those of `names` that exist; internal ones only where the topic sets them. */
export function describeTopicConfigs(config: TopicConfig, names?: ReadonlyArray<string> | null): ConfigRow[] {
  const rows: ConfigRow[] = [];
  for (const name of topicConfigNames()) {
    const definition = topicConfigKey(name);
    if (definition === undefined || (names && !names.includes(name))) continue;
    if (definition.internal && !config.overrides.has(name)) continue;
    rows.push(row(name, definition, config.text(name), config.synonyms(name), false));
  }
  return rows;
}

/** A broker's rows: every key, internal ones only where they are set, and what its file sets beyond them. */
export function describeBrokerConfigs(config: BrokerConfig, names?: ReadonlyArray<string> | null): ConfigRow[] {
  const rows: ConfigRow[] = [];
  for (const name of new Set([...brokerConfigNames(), ...config.settings.keys(), ...config.dynamic.keys()])) {
    const definition = brokerConfigKey(name);
    if ((definition?.internal && !config.isSet(name)) || (names && !names.includes(name))) continue;
    const readOnly = definition === undefined || definition.mode === "read-only";
    if (name === "broker.id") rows.push(brokerId(config, definition));
    else rows.push(row(name, definition, config.text(name), config.synonyms(name), readOnly));
  }
  return rows;
}

/** Kafka fills `broker.id` from `node.id`, so that its value is set even where only the new name is. */
function brokerId(config: BrokerConfig, definition: ConfigKey | undefined): ConfigRow {
  const value = String(config.nodeId);
  const synonyms = config.synonyms("broker.id");
  if (synonyms[0]?.source === ConfigSource.DEFAULT_CONFIG && config.isSet("node.id"))
    synonyms.unshift({ name: "broker.id", value, source: ConfigSource.STATIC_BROKER_CONFIG });
  return row("broker.id", definition, value, synonyms, true);
}

/** The rows of the cluster-wide default (the broker resource with an empty name): only what was set there. */
export function describeDefaultBrokerConfigs(config: BrokerConfig, names?: ReadonlyArray<string> | null): ConfigRow[] {
  const rows: ConfigRow[] = [];
  for (const [name, value] of config.dynamicDefault) {
    if (names && !names.includes(name)) continue;
    const definition = brokerConfigKey(name);
    const synonyms = config
      .synonyms(name)
      .filter(({ source }) => source === ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
    rows.push(row(name, definition, value, synonyms, definition === undefined || definition.mode === "read-only"));
  }
  return rows;
}
