/**
 * AlterConfigs (key 33), versions 0–2: replaces everything that is set for a topic, for this broker, or for all brokers
 * (the broker resource with an empty name), each resource by itself. IncrementalAlterConfigs is what to use: this one
 * deletes what is not named. Versions differ in encoding only (v2 flexible). Loggers are not for this API.
 */
import * as Effect from "effect/Effect";
import { dynamicSettingsProblem } from "../config/DynamicConfig.ts";
import { apiError } from "../metadata/ApiError.ts";
import { Errors } from "../protocol/Errors.ts";
import type { AlterConfigsRequest } from "../protocol/generated/AlterConfigsRequest.ts";
import type { AlterConfigsResponse } from "../protocol/generated/AlterConfigsResponse.ts";
import { answerEach, refusals } from "./ConfigResources.ts";
import { asWrite } from "./ConnectionWrite.ts";
import { defineHandler } from "./Router.ts";

export const AlterConfigs = defineHandler<AlterConfigsRequest, AlterConfigsResponse>({
  apiKey: 33,
  minVersion: 0,
  maxVersion: 2,
  handle: ({ resources, validateOnly }, context) =>
    Effect.suspend(() => {
      const { config, controller, nodeId } = context.ports;
      const refused = refusals(
        resources,
        nodeId,
        () => true,
        ({ resourceName, configs }) => {
          const settings = new Map(configs.map(({ name, value }) => [name, value ?? ""]));
          const problem = dynamicSettingsProblem(config, settings, resourceName !== "");
          return problem === undefined ? undefined : apiError(Errors.INVALID_REQUEST, problem);
        },
        false,
      );
      const answered = answerEach(resources, refused, (rest) =>
        controller.ask({ type: "AlterConfigs", resources: rest, validateOnly }),
      );
      return asWrite(
        context,
        Effect.map(answered, (responses) => ({ throttleTimeMs: 0, responses })),
      );
    }),
});
