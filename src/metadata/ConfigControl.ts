/**
 * What the controller decides about configurations: AlterConfigs and IncrementalAlterConfigs, with Kafka 4.3.1's checks,
 * order and texts (`ConfigurationControlManager`, `ControllerConfigurationValidator`). What must stay true: a resource
 * changes as a whole or not at all, and each by itself; what a broker alone can judge of its own settings was judged
 * before the command (`config/DynamicConfig`).
 */
import { brokerConfigKey } from "../config/BrokerConfig.ts";
import type { ConfigKey } from "../config/ConfigKey.ts";
import { type ConfigChange, ConfigOperation } from "../config/DynamicConfig.ts";
import { topicConfigKey } from "../config/TopicConfig.ts";
import { Errors } from "../protocol/Errors.ts";
import { type ApiError, apiError } from "./ApiError.ts";
import type { Decision } from "./Controller.ts";
import { ConfigResourceType, configOverrides, type MetadataImage } from "./MetadataImage.ts";
import type { MetadataRecord } from "./MetadataRecords.ts";
import type { TopicRules } from "./TopicControl.ts";
import { invalidTopicName } from "./TopicName.ts";

export interface ConfigResource {
  readonly resourceType: number;
  readonly resourceName: string;
}

/** Replaces everything that is set for each resource. */
export interface AlterConfigs {
  readonly type: "AlterConfigs";
  readonly resources: ReadonlyArray<
    ConfigResource & { readonly configs: ReadonlyArray<{ readonly name: string; readonly value: string | null }> }
  >;
  readonly validateOnly: boolean;
}

/** Changes what is named and leaves the rest. */
export interface IncrementalAlterConfigs {
  readonly type: "IncrementalAlterConfigs";
  readonly resources: ReadonlyArray<ConfigResource & { readonly configs: ReadonlyArray<ConfigChange> }>;
  readonly validateOnly: boolean;
}

/** In the order of the command; undefined: done. */
export type AlterConfigsReply = ReadonlyArray<ApiError | undefined>;

const { TOPIC, BROKER } = ConfigResourceType;
const MIN_INSYNC_REPLICAS = "min.insync.replicas";
/** A string's length in a metadata record is an int16. */
const MAX_VALUE_LENGTH = 0x7fff;

/** What a new cluster's brokers have in common from the start, as Kafka 4.3.1 writes it. */
export const minInSyncReplicasDefault = (value: number): MetadataRecord =>
  configRecord({ resourceType: BROKER, resourceName: "" }, MIN_INSYNC_REPLICAS, String(value));

const configRecord = (
  { resourceType, resourceName }: ConfigResource,
  name: string,
  value: string | null,
): MetadataRecord => ({ type: "ConfigRecord", message: { resourceType, resourceName, name, value } });

export const alterConfigs = (
  image: MetadataImage,
  { resources, validateOnly }: AlterConfigs,
  rules: TopicRules,
): Decision<AlterConfigsReply> =>
  decideEach(resources, validateOnly, (resource) => {
    const before = configOverrides(image, resource.resourceType, resource.resourceName);
    const changes = new Map<string, string | null>(resource.configs.map(({ name, value }) => [name, value]));
    for (const name of before.keys()) if (!changes.has(name)) changes.set(name, null);
    return decideResource(image, resource, changes, rules);
  });

export const incrementalAlterConfigs = (
  image: MetadataImage,
  { resources, validateOnly }: IncrementalAlterConfigs,
  rules: TopicRules,
): Decision<AlterConfigsReply> =>
  decideEach(resources, validateOnly, (resource) => {
    const before = configOverrides(image, resource.resourceType, resource.resourceName);
    const changes = new Map<string, string | null>();
    for (const change of resource.configs) {
      const value = changedValue(resource, before.get(change.name), change);
      if (typeof value === "object" && value !== null) return value;
      changes.set(change.name, value);
    }
    return decideResource(image, resource, changes, rules);
  });

const decideEach = <R extends ConfigResource>(
  resources: ReadonlyArray<R>,
  validateOnly: boolean,
  decide: (resource: R) => ReadonlyArray<MetadataRecord> | ApiError,
): Decision<AlterConfigsReply> => {
  const records: MetadataRecord[] = [];
  const reply = resources.map((resource) => {
    const decided = decide(resource);
    if ("code" in decided) return decided;
    records.push(...decided);
    return undefined;
  });
  return { records: validateOnly ? [] : records, reply };
};

/** The value a change leads to, null for none. Lists are split at commas; what is there twice is left alone. */
const changedValue = (
  { resourceType }: ConfigResource,
  current: string | undefined,
  { name, configOperation, value }: ConfigChange,
): string | null | ApiError => {
  if (configOperation === ConfigOperation.SET) return value;
  if (configOperation === ConfigOperation.DELETE) return null;
  const appends = configOperation === ConfigOperation.APPEND;
  if (!appends && configOperation !== ConfigOperation.SUBTRACT) {
    return apiError(Errors.INVALID_REQUEST, `Unknown operations type ${configOperation}`);
  }
  const definition = keyOf(resourceType, name);
  if (definition?.type !== "LIST") {
    const message = `Can't ${appends ? "APPEND" : "SUBTRACT"} to key ${name} because its type is not LIST.`;
    return apiError(Errors.INVALID_CONFIG, message);
  }
  const list = (current ?? definition.default ?? "").split(",").filter((part) => part !== "");
  for (const part of (value ?? "").split(",")) {
    const at = list.indexOf(part);
    if (appends && at < 0) list.push(part);
    else if (!appends && at >= 0) list.splice(at, 1);
  }
  return list.join(",");
};

const keyOf = (resourceType: number, name: string): ConfigKey | undefined => {
  if (resourceType === TOPIC) return topicConfigKey(name);
  return resourceType === BROKER ? brokerConfigKey(name) : undefined;
};

/** Kafka writes a broker's settings again when they stay the same: brokers load files anew then (KAFKA-14136). */
const decideResource = (
  image: MetadataImage,
  resource: ConfigResource,
  changes: ReadonlyMap<string, string | null>,
  rules: TopicRules,
): ReadonlyArray<MetadataRecord> | ApiError => {
  const { resourceType, resourceName } = resource;
  const before = configOverrides(image, resourceType, resourceName);
  const after = new Map(before);
  const records: MetadataRecord[] = [];
  for (const [name, value] of changes) {
    if (value === (before.get(name) ?? null) && resourceType !== BROKER) continue;
    const refused = refusedChange(resource, name, value);
    if (refused !== undefined) return refused;
    if (value === null) after.delete(name);
    else after.set(name, value);
    records.push(configRecord(resource, name, value));
  }
  return resourceError(image, resource, after, rules) ?? records;
};

/** Kafka keeps these two from changing while eligible leader replicas are on, as they are in a new 4.3.1 cluster. */
const refusedChange = (
  { resourceType, resourceName }: ConfigResource,
  name: string,
  value: string | null,
): ApiError | undefined => {
  if (resourceType === BROKER && name === MIN_INSYNC_REPLICAS) {
    const because = "while ELR is enabled.";
    if (resourceName !== "") {
      return apiError(Errors.INVALID_CONFIG, `Broker-level ${name} cannot be altered ${because}`);
    }
    if (value === null) return apiError(Errors.INVALID_CONFIG, `Cluster-level ${name} cannot be removed ${because}`);
  }
  if (value !== null && value.length > MAX_VALUE_LENGTH) {
    const message = `The configuration value cannot be added because it exceeds the maximum value size of ${MAX_VALUE_LENGTH} bytes.`;
    return apiError(Errors.INVALID_CONFIG, message);
  }
  return undefined;
};

const resourceError = (
  image: MetadataImage,
  { resourceType, resourceName }: ConfigResource,
  after: ReadonlyMap<string, string>,
  rules: TopicRules,
): ApiError | undefined => {
  if (resourceType === BROKER) {
    if (resourceName === "" || image.brokers.has(Number(resourceName))) return undefined;
    return apiError(Errors.BROKER_ID_NOT_REGISTERED, `No broker with id ${resourceName} found.`);
  }
  if (resourceType !== TOPIC) return apiError(Errors.INVALID_REQUEST, `Unknown resource type ${resourceType}`);
  if (resourceName === "") return apiError(Errors.INVALID_REQUEST, "Default topic resources are not allowed.");
  const badName = invalidTopicName(resourceName);
  if (badName !== null) return apiError(Errors.INVALID_TOPIC_EXCEPTION, badName);
  const badConfig = rules.invalidTopicConfig(after);
  if (badConfig !== null) return apiError(Errors.INVALID_CONFIG, badConfig);
  if (image.topicsByName.has(resourceName)) return undefined;
  return apiError(Errors.UNKNOWN_TOPIC_OR_PARTITION, `The topic '${resourceName}' does not exist.`);
};
