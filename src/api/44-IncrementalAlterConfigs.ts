/**
 * IncrementalAlterConfigs (key 44), versions 0–1: sets, deletes, appends to and subtracts from single keys of a topic,
 * of this broker, or of all brokers (the broker resource with an empty name), each resource as a whole and by itself.
 *
 * - Topics are judged by the controller (INVALID_CONFIG), brokers by themselves first (INVALID_REQUEST, as in Kafka;
 *   KAFKA-13609). A key of a broker that nobody knows is kept: it may be a plug-in's.
 * - Loggers (type 8): none exists. Groups and client metrics are refused until they have a configuration.
 *
 * Versions differ in encoding only (v1 flexible).
 */
import * as Effect from "effect/Effect";
import { ConfigOperation, changedBrokerSettings, dynamicSettingsProblem } from "../config/DynamicConfig.ts";
import { type ApiError, apiError } from "../metadata/ApiError.ts";
import { ConfigResourceType, configOverrides } from "../metadata/MetadataImage.ts";
import { Errors } from "../protocol/Errors.ts";
import type { IncrementalAlterConfigsRequest } from "../protocol/generated/IncrementalAlterConfigsRequest.ts";
import type { IncrementalAlterConfigsResponse } from "../protocol/generated/IncrementalAlterConfigsResponse.ts";
import { answerEach, refusals } from "./ConfigResources.ts";
import { asWrite } from "./ConnectionWrite.ts";
import type { Ports } from "./Ports.ts";
import { defineHandler } from "./Router.ts";

type Resource = IncrementalAlterConfigsRequest["resources"][number];

const brokerProblem = ({ config, metadata }: Ports, { resourceName, configs }: Resource): ApiError | undefined => {
  const before = configOverrides(metadata.image(), ConfigResourceType.BROKER, resourceName);
  const after = changedBrokerSettings(before, configs);
  if ("kind" in after) {
    return apiError(after.kind === "config" ? Errors.INVALID_CONFIG : Errors.INVALID_REQUEST, after.message);
  }
  const problem = dynamicSettingsProblem(config, after, resourceName !== "");
  return problem === undefined ? undefined : apiError(Errors.INVALID_REQUEST, problem);
};

export const IncrementalAlterConfigs = defineHandler<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse>({
  apiKey: 44,
  minVersion: 0,
  maxVersion: 1,
  handle: ({ resources, validateOnly }, context) =>
    Effect.suspend(() => {
      const { ports } = context;
      const refused = refusals(
        resources,
        ports.nodeId,
        ({ configOperation }) => configOperation !== ConfigOperation.DELETE,
        (resource) => brokerProblem(ports, resource),
        true,
      );
      const answered = answerEach(resources, refused, (rest) =>
        ports.controller.ask({ type: "IncrementalAlterConfigs", resources: rest, validateOnly }),
      );
      return asWrite(
        context,
        Effect.map(answered, (responses) => ({ throttleTimeMs: 0, responses })),
      );
    }),
});
