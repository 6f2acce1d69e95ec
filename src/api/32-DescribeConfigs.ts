/**
 * DescribeConfigs (key 32), versions 1–4: the configuration of topics and of this broker, from the schema in `config`.
 *
 * - v1+: sources and synonyms. v3+: types, and documentation on request. v4+: flexible.
 * - A broker is named by its node id; the empty name is the cluster-wide default and lists only what was set for it.
 *   An empty or null list of keys means all; a key nobody knows is left out.
 * - Loggers (type 8) cannot be set yet: none is listed. Groups and client metrics are refused until they exist.
 */
import * as Effect from "effect/Effect";
import type { BrokerConfig } from "../config/BrokerConfig.ts";
import {
  type ConfigRow,
  describeBrokerConfigs,
  describeDefaultBrokerConfigs,
  describeTopicConfigs,
} from "../config/DescribeConfigs.ts";
import { TopicConfig } from "../config/TopicConfig.ts";
import { type ApiError, apiError, MALFORMED_REQUEST } from "../metadata/ApiError.ts";
import { ConfigResourceType, configOverrides, type MetadataImage } from "../metadata/MetadataImage.ts";
import { invalidTopicName } from "../metadata/TopicName.ts";
import { Errors } from "../protocol/Errors.ts";
import type { DescribeConfigsRequest } from "../protocol/generated/DescribeConfigsRequest.ts";
import type { DescribeConfigsResponse } from "../protocol/generated/DescribeConfigsResponse.ts";
import { defineHandler } from "./Router.ts";

type Resource = DescribeConfigsRequest["resources"][number];
type ResourceAnswer = DescribeConfigsResponse["results"][number];
type RowAnswer = ResourceAnswer["configs"][number];

const KNOWN_TYPES: ReadonlySet<number> = new Set(
  Object.values(ConfigResourceType).filter((type) => type !== ConfigResourceType.UNKNOWN),
);

export const describeConfigsResponse = (
  request: DescribeConfigsRequest,
  image: MetadataImage,
  config: BrokerConfig,
  nodeId: number,
): DescribeConfigsResponse => {
  if (request.resources.some((resource) => !KNOWN_TYPES.has(resource.resourceType))) {
    // Kafka refuses the whole request for one resource of a type it does not know.
    return { throttleTimeMs: 0, results: request.resources.map((resource) => refused(resource, MALFORMED_REQUEST)) };
  }
  const effective = config.withDynamic(
    configOverrides(image, ConfigResourceType.BROKER, String(nodeId)),
    configOverrides(image, ConfigResourceType.BROKER, ""),
  );
  const results = request.resources.map((resource) => {
    const rows = rowsOf(resource, image, effective, nodeId);
    return "code" in rows ? refused(resource, rows) : described(resource, rows, request);
  });
  return { throttleTimeMs: 0, results };
};

const rowsOf = (
  resource: Resource,
  image: MetadataImage,
  config: BrokerConfig,
  nodeId: number,
): ReadonlyArray<ConfigRow> | ApiError => {
  const { resourceType, resourceName, configurationKeys } = resource;
  const keys = configurationKeys === null || configurationKeys.length === 0 ? null : configurationKeys;
  switch (resourceType) {
    case ConfigResourceType.TOPIC: {
      const invalid = invalidTopicName(resourceName);
      if (invalid !== null) return apiError(Errors.INVALID_TOPIC_EXCEPTION, invalid);
      if (!image.topicsByName.has(resourceName)) return apiError(Errors.UNKNOWN_TOPIC_OR_PARTITION);
      const overrides = configOverrides(image, ConfigResourceType.TOPIC, resourceName);
      return describeTopicConfigs(TopicConfig.of(config, overrides), keys);
    }
    case ConfigResourceType.BROKER: {
      if (resourceName === "") return describeDefaultBrokerConfigs(config, keys);
      return brokerNameError(resourceName, nodeId, " or empty string,") ?? describeBrokerConfigs(config, keys);
    }
    case ConfigResourceType.BROKER_LOGGER: {
      if (resourceName === "") return apiError(Errors.INVALID_REQUEST, "Broker id must not be empty");
      return brokerNameError(resourceName, nodeId, "") ?? [];
    }
    case ConfigResourceType.GROUP:
      if (resourceName === "") return apiError(Errors.INVALID_REQUEST, "Group name must not be empty");
      return apiError(Errors.INVALID_REQUEST, "Groups have no configuration yet");
    case ConfigResourceType.CLIENT_METRICS: {
      const message = "Client metrics subscription name must not be empty";
      return apiError(Errors.INVALID_REQUEST, resourceName === "" ? message : "Client metrics are not served yet");
    }
    default:
      return MALFORMED_REQUEST;
  }
};

const brokerNameError = (name: string, nodeId: number, alternative: string): ApiError | undefined => {
  if (!/^[+-]?\d{1,10}$/.test(name)) {
    return apiError(Errors.INVALID_REQUEST, `Broker id must be an integer, but it is: ${name}`);
  }
  if (Number(name) === nodeId) return undefined;
  const message = `Unexpected broker id, expected ${nodeId}${alternative} but received ${name}`;
  return apiError(Errors.INVALID_REQUEST, message);
};

const refused = ({ resourceType, resourceName }: Resource, error: ApiError): ResourceAnswer => ({
  errorCode: error.code,
  errorMessage: error.message ?? "",
  resourceType,
  resourceName,
  configs: [],
});

const described = (
  { resourceType, resourceName }: Resource,
  rows: ReadonlyArray<ConfigRow>,
  request: DescribeConfigsRequest,
): ResourceAnswer => ({
  errorCode: Errors.NONE,
  errorMessage: "",
  resourceType,
  resourceName,
  configs: rows.map(
    (row): RowAnswer => ({
      name: row.name,
      value: row.value,
      readOnly: row.readOnly,
      configSource: row.source,
      isSensitive: row.sensitive,
      synonyms: request.includeSynonyms ? row.synonyms.map(({ name, value, source }) => ({ name, value, source })) : [],
      configType: row.type,
      documentation: request.includeDocumentation ? row.documentation : null,
    }),
  ),
});

export const DescribeConfigs = defineHandler<DescribeConfigsRequest, DescribeConfigsResponse>({
  apiKey: 32,
  minVersion: 1,
  maxVersion: 4,
  reads: true,
  handle: (request, { ports }) =>
    Effect.sync(() => describeConfigsResponse(request, ports.metadata.image(), ports.config, ports.nodeId)),
});
