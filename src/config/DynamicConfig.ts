/**
 * What a broker's configuration may become at run time (Kafka's `DynamicBrokerConfig` and the broker's half of
 * `ConfigAdminManager`): which keys can change, for one broker or for all, and to what. Pure; the answers are Kafka
 * 4.3.1's own texts, its wrapped ones included, because tools show them.
 */
import { type BrokerConfig, brokerConfigKey, cleanerMemoryProblem, validateBrokerConfig } from "./BrokerConfig.ts";

/** `AlterConfigOp.OpType`. */
export const ConfigOperation = { SET: 0, DELETE: 1, APPEND: 2, SUBTRACT: 3 } as const;

export interface ConfigChange {
  readonly name: string;
  readonly configOperation: number;
  /** Of no meaning for DELETE. */
  readonly value: string | null;
}

export type ConfigProblem = { readonly kind: "request" | "config"; readonly message: string };

/** Keys whose values are per listener: only `listener.name.NAME.` and the key changes them. */
const listenerKey = /^listener\.name\.[^.]*\.(.*)$/;
/** Kafka takes these for a listener or for the whole broker, from the cluster's defaults too. */
const clusterLevelListenerKeys = new Set(["max.connections", "max.connection.creation.rate", "num.network.threads"]);

const request = (message: string): ConfigProblem => ({ kind: "request", message });
const invalid = (message: string): ConfigProblem => ({ kind: "config", message });

const parts = (text: string | null | undefined): string[] => (text ?? "").split(",").filter((part) => part !== "");

/**
 * The dynamic settings of a broker, or of all of them, after `changes` to `before`, in order; or why one of them cannot
 * be asked for.
 */
export const changedBrokerSettings = (
  before: ReadonlyMap<string, string>,
  changes: ReadonlyArray<ConfigChange>,
): Map<string, string> | ConfigProblem => {
  for (const { configOperation } of changes) {
    if (configOperation < 0 || configOperation > 3) return request(`Unknown operations type ${configOperation}`);
  }
  const after = new Map(before);
  for (const { name, configOperation, value } of changes) {
    if (configOperation === ConfigOperation.SET) after.set(name, value ?? "");
    else if (configOperation === ConfigOperation.DELETE) after.delete(name);
    else {
      const definition = brokerConfigKey(name);
      if (definition === undefined) return invalid(`Unknown config name: ${name}`);
      const appends = configOperation === ConfigOperation.APPEND;
      if (definition.type !== "LIST") {
        return invalid(`Config value ${appends ? "append" : "subtract"} is not allowed for config key: ${name}`);
      }
      const old = parts(after.get(name) ?? definition.default);
      const given = (value ?? "").split(",");
      const next = appends
        ? [...old, ...given.filter((part) => !old.includes(part))]
        : old.filter((part) => !given.includes(part));
      after.set(name, next.join(","));
    }
  }
  return after;
};

/** Why these cannot be a broker's dynamic settings (`perBroker`), or every broker's; undefined when they can. */
export const dynamicSettingsProblem = (
  config: BrokerConfig,
  settings: ReadonlyMap<string, string>,
  perBroker: boolean,
): string | undefined => {
  const named = (text: string, names: string[]): string | undefined =>
    names.length === 0 ? undefined : `${text}: [${names.join(", ")}]`;
  const names = [...settings.keys()];
  const fixed = names.filter((name) => brokerConfigKey(name)?.mode === "read-only");
  const unlisted = names.filter((name) => /^(ssl|sasl)\.|^principal\.builder\.class$/.test(name) && isPerBroker(name));
  return (
    named("Cannot update these configs dynamically", fixed) ??
    named("These security configs can be dynamically updated only per-listener using the listener prefix", unlisted) ??
    valueProblem(settings) ??
    (perBroker
      ? undefined
      : named(
          "Cannot update these configs at default cluster level, broker id must be specified",
          names.filter(isPerBroker),
        )) ??
    cleanerMemoryProblem(
      perBroker ? config.withDynamic(settings, config.dynamicDefault) : config.withDynamic(config.dynamic, settings),
    ) ??
    threadProblem(config, settings)
  );
};

const isPerBroker = (name: string): boolean => {
  const base = listenerKey.exec(name)?.[1];
  if (base !== undefined) return !clusterLevelListenerKeys.has(base);
  return brokerConfigKey(name)?.mode === "per-broker";
};

const valueProblem = (settings: ReadonlyMap<string, string>): string | undefined => {
  for (const [name, value] of settings) {
    const error = validateBrokerConfig(listenerKey.exec(name)?.[1] ?? name, value);
    if (error !== undefined) return error;
  }
  return undefined;
};

/** Kafka's thread pools, which nobody may resize by more than a factor of two at once. */
const threadPools = [
  "num.io.threads",
  "num.network.threads",
  "num.replica.fetchers",
  "num.recovery.threads.per.data.dir",
  "background.threads",
] as const;

const threadProblem = (config: BrokerConfig, settings: ReadonlyMap<string, string>): string | undefined => {
  const wrapped = (text: string): string =>
    `Invalid value org.apache.kafka.common.config.ConfigException: ${text} for configuration Invalid dynamic configuration`;
  for (const name of threadPools) {
    const text = settings.get(name);
    if (text === undefined) continue;
    const [next, now] = [Number(text), config.number(name)];
    const failed = `Dynamic thread count update validation failed for ${name}=${next}`;
    if (next < Math.trunc(now / 2)) return wrapped(`${failed}, value should be at least half the current value ${now}`);
    if (next > now * 2) return wrapped(`${failed}, value should not be greater than double the current value ${now}`);
  }
  const cleaners = settings.get("log.cleaner.threads");
  if (cleaners === undefined) return undefined;
  const [next, now] = [Number(cleaners), config.number("log.cleaner.threads")];
  if (next < 1) return wrapped("Log cleaner threads should be at least 1");
  if (next < Math.trunc(now / 2))
    return wrapped(`Log cleaner threads cannot be reduced to less than half the current value ${now}`);
  if (next > now * 2)
    return wrapped(`Log cleaner threads cannot be increased to more than double the current value ${now}`);
  return undefined;
};
