/**
 * From what a user gave to a BrokerConfig: built-in values, then `--config FILE`, then the environment by the rule of
 * Kafka's image, then `--override`; later wins. An unknown key is a warning (compose files carry many), a value that
 * cannot be is an error that names key, value and what is allowed. Pure: the caller reads the file and the environment.
 */
import {
  BrokerConfig,
  brokerConfigKey,
  brokerConfigNames,
  cleanerMemoryProblem,
  validateBrokerConfig,
} from "./BrokerConfig.ts";
import { parseProperties } from "./Properties.ts";

export interface ConfigSources {
  readonly file?: { readonly path: string; readonly text: string } | undefined;
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  /** `key=value` each, in order. */
  readonly overrides?: ReadonlyArray<string> | undefined;
  /** What messages call the place of the overrides (default `--override`). */
  readonly overridesFrom?: string | undefined;
}

export interface LoadedConfig {
  /** Absent when there are errors. */
  readonly config: BrokerConfig | undefined;
  /** `CLUSTER_ID` of the environment, as Kafka's image takes it; undefined: make one. */
  readonly clusterId: string | undefined;
  readonly warnings: ReadonlyArray<string>;
  readonly errors: ReadonlyArray<string>;
}

/** Variables that steer Kafka's image or scripts, or that Kubernetes makes for a service named kafka. */
const notSettings =
  /^KAFKA_(VERSION|HOME|MODE|DEBUG|(.*_)?OPTS|JMX_.*|.*LOG4J.*|.*LOGLEVEL|GC_LOG.*|CLUSTERS_.*|SERVICE_.*|PORT|PORT_\d.*)$/;

/** `KAFKA_LOG_DIRS` → `log.dirs`: `_` is a dot, `__` an underscore, `___` a dash (Kafka's image). */
export const keyOfVariable = (variable: string): string =>
  variable
    .slice("KAFKA_".length)
    .toLowerCase()
    .replace(/_{1,3}/g, (run) => (run.length === 1 ? "." : run.length === 2 ? "_" : "-"));

/** Keys with a free part: settings of a listener, of plug-ins and of providers. */
const open = /^(listener\.name\.|rsm\.config\.|rlmm\.config\.|config\.providers\.|client\.quota\.callback\.)/;

/** Keys of a listener are a listener's name before a known key: `listener.name.internal.sasl.mechanism`. */
const isKnown = (key: string) => brokerConfigKey(key) !== undefined || open.test(key);

export function loadBrokerConfig(sources: ConfigSources): LoadedConfig {
  const settings = new Map<string, string>();
  const from = new Map<string, string>();
  const warnings: string[] = [];
  const errors: string[] = [];
  const set = (key: string, value: string, origin: string) => {
    settings.set(key, value);
    from.set(key, origin);
  };

  if (sources.file !== undefined) {
    const { path, text } = sources.file;
    for (const [key, value] of parseProperties(text)) set(key, value, path);
  }
  for (const [variable, value] of Object.entries(sources.environment ?? {})) {
    if (!variable.startsWith("KAFKA_") || value === undefined || notSettings.test(variable)) continue;
    set(keyOfVariable(variable), value, `environment ${variable}`);
  }
  const overridesFrom = sources.overridesFrom ?? "--override";
  for (const override of sources.overrides ?? []) {
    const equals = override.indexOf("=");
    if (equals < 1) errors.push(`${overridesFrom} ${override}: expected key=value`);
    else set(override.slice(0, equals).trim(), override.slice(equals + 1).trim(), overridesFrom);
  }

  for (const [key, value] of settings) {
    const origin = from.get(key);
    if (!isKnown(key)) warnings.push(`unknown configuration key ${key} (${origin}), ignored${meant(key)}`);
    const error = validateBrokerConfig(key, value, true);
    if (error !== undefined) errors.push(`${error} (${origin})`);
  }
  if (errors.length > 0) return { config: undefined, clusterId: undefined, warnings, errors };

  const config = BrokerConfig.of(settings);
  errors.push(...conflicts(config));
  const clusterId = sources.environment?.CLUSTER_ID;
  return {
    config: errors.length > 0 ? undefined : config,
    clusterId: clusterId === "" ? undefined : clusterId,
    warnings,
    errors,
  };
}

/** The known key that an unknown one is a slip of, as the rest of a sentence. */
const meant = (key: string): string => {
  let best: { readonly name: string; readonly slips: number } | undefined;
  for (const name of brokerConfigNames()) {
    const slips = slipsBetween(key, name, best === undefined ? MOST_SLIPS : best.slips - 1);
    if (slips !== undefined) best = { name, slips };
  }
  return best === undefined ? "" : `; did you mean ${best.name}?`;
};

const MOST_SLIPS = 2;

/** Letters to add, leave out or change to get from one text to the other (Levenshtein), when they are no more than `most`. */
const slipsBetween = (from: string, to: string, most: number): number | undefined => {
  if (Math.abs(from.length - to.length) > most) return undefined;
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const changed = row[j]! + (from[i] === to[j] ? 0 : 1);
      next.push(Math.min(changed, row[j + 1]! + 1, next[j]! + 1));
    }
    if (Math.min(...next) > most) return undefined;
    row = next;
  }
  return row[to.length]! <= most ? row[to.length] : undefined;
};

/** Values that are right each by itself and wrong together (`KafkaConfig.validateValues`, what concerns us). */
function conflicts(config: BrokerConfig): string[] {
  const errors: string[] = [];
  const both = config.isSet("broker.id") && config.isSet("node.id");
  const [brokerId, nodeId] = [config.number("broker.id"), config.number("node.id")];
  if (both && brokerId !== nodeId && brokerId !== -1)
    errors.push(`Invalid value ${brokerId} for configuration broker.id: must be the same as node.id (${nodeId})`);
  if (config.nodeId < 0)
    errors.push(`Invalid value ${config.nodeId} for configuration broker.id: Value must be at least 0`);
  if (config.isSet("process.roles") && !config.list("process.roles").includes("broker"))
    errors.push(
      `Invalid value ${config.text("process.roles")} for configuration process.roles: Odradek is always a broker (allowed: broker or broker,controller)`,
    );
  if (config.isSet("inter.broker.listener.name") && config.isSet("security.inter.broker.protocol"))
    errors.push("Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.");
  const memory = cleanerMemoryProblem(config);
  if (memory !== undefined) {
    const [size, threads] = ["log.cleaner.dedupe.buffer.size", "log.cleaner.threads"].map((key) => config.text(key));
    errors.push(`${memory} (log.cleaner.dedupe.buffer.size ${size}, log.cleaner.threads ${threads})`);
  }
  for (const kind of ["consumer", "share", "streams"] as const)
    for (const what of ["session.timeout", "heartbeat.interval"] as const) {
      const value = config.number(`group.${kind}.${what}.ms`);
      const [min, max] = [config.number(`group.${kind}.min.${what}.ms`), config.number(`group.${kind}.max.${what}.ms`)];
      if (min > max)
        errors.push(`group.${kind}.max.${what}.ms must be greater than or equal to group.${kind}.min.${what}.ms`);
      else if (value < min || value > max)
        errors.push(
          `Invalid value ${value} for configuration group.${kind}.${what}.ms: must be from ${min} to ${max} (group.${kind}.min.${what}.ms, group.${kind}.max.${what}.ms)`,
        );
    }
  return errors;
}
