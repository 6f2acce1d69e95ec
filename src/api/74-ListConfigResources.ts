/**
 * ListConfigResources (key 74), versions 0–1: the names of what has a configuration. v0 (ListClientMetricsResources
 * once) knows client metrics only. v1+: the types asked for, or all; one nobody knows is UNSUPPORTED_VERSION.
 */
import * as Effect from "effect/Effect";
import { aliveBrokers, ConfigResourceType, type MetadataImage, topicNames } from "../metadata/MetadataImage.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ListConfigResourcesRequest } from "../protocol/generated/ListConfigResourcesRequest.ts";
import type { ListConfigResourcesResponse } from "../protocol/generated/ListConfigResourcesResponse.ts";
import { defineHandler } from "./Router.ts";

const { BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC } = ConfigResourceType;

/** In the order in which Kafka lists them. */
const ALL: ReadonlyArray<number> = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];

const namesOf = (image: MetadataImage, type: number): ReadonlyArray<string> => {
  if (type === BROKER || type === BROKER_LOGGER) return aliveBrokers(image).map(({ brokerId }) => String(brokerId));
  if (type === TOPIC) return topicNames(image);
  return [...image.configs.keys()]
    .filter((key) => key.startsWith(`${type}/`))
    .map((key) => key.slice(`${type}/`.length));
};

export const listConfigResourcesResponse = (
  { resourceTypes }: ListConfigResourcesRequest,
  image: MetadataImage,
  version: number,
): ListConfigResourcesResponse => {
  const known = version === 0 ? [CLIENT_METRICS] : ALL;
  if (resourceTypes.some((type) => !known.includes(type))) {
    return { throttleTimeMs: 0, errorCode: Errors.UNSUPPORTED_VERSION, configResources: [] };
  }
  const wanted = known.filter((type) => resourceTypes.length === 0 || resourceTypes.includes(type));
  return {
    throttleTimeMs: 0,
    errorCode: Errors.NONE,
    configResources: wanted.flatMap((resourceType) =>
      namesOf(image, resourceType).map((resourceName) => ({ resourceName, resourceType })),
    ),
  };
};

export const ListConfigResources = defineHandler<ListConfigResourcesRequest, ListConfigResourcesResponse>({
  apiKey: 74,
  minVersion: 0,
  maxVersion: 1,
  reads: true,
  handle: (request, { ports, version }) =>
    Effect.sync(() => listConfigResourcesResponse(request, ports.metadata.image(), version)),
});
