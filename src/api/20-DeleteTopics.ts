/**
 * DeleteTopics (key 20), versions 1–6: topics go at once from the metadata, their files later.
 *
 * - v1–5: by name. v5+: error messages. v6+: by name or by id, and the id in the answer.
 * - With `delete.topic.enable=false`: TOPIC_DELETION_DISABLED, below v3 INVALID_REQUEST.
 */
import * as Effect from "effect/Effect";
import { type ApiError, apiError } from "../metadata/ApiError.ts";
import { ZERO_UUID } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { DeleteTopicsRequest } from "../protocol/generated/DeleteTopicsRequest.ts";
import type { DeleteTopicsResponse } from "../protocol/generated/DeleteTopicsResponse.ts";
import { asWrite } from "./ConnectionWrite.ts";
import { defineHandler } from "./Router.ts";

const TIMED_OUT = apiError(Errors.REQUEST_TIMED_OUT);

/** Both ways of naming topics as one list. */
export const topicsToDelete = (request: DeleteTopicsRequest): DeleteTopicsRequest["topics"] => [
  ...request.topicNames.map((name) => ({ name, topicId: ZERO_UUID })),
  ...request.topics,
];

/** Why no topic at all is deleted, or undefined. */
export const deletionDisabled = (version: number, enabled: boolean): ApiError | undefined => {
  if (enabled) return undefined;
  return version < 3
    ? apiError(Errors.INVALID_REQUEST, "This version does not support topic deletion.")
    : apiError(Errors.TOPIC_DELETION_DISABLED, "Topic deletion is disabled.");
};

export const DeleteTopics = defineHandler<DeleteTopicsRequest, DeleteTopicsResponse>({
  apiKey: 20,
  minVersion: 1,
  maxVersion: 6,
  handle: (request, context) =>
    Effect.suspend(() => {
      const { config, controller } = context.ports;
      const topics = topicsToDelete(request);
      const disabled = deletionDisabled(context.version, config.boolean("delete.topic.enable"));
      const refusal = disabled ?? (request.timeoutMs <= 0 ? TIMED_OUT : undefined);
      if (refusal !== undefined) {
        const { code: errorCode, message: errorMessage } = refusal;
        const responses = topics.map(({ name, topicId }) => ({ name, topicId, errorCode, errorMessage }));
        return Effect.succeed({ throttleTimeMs: 0, responses });
      }
      const deleted = controller.ask({ type: "DeleteTopics", topics });
      return asWrite(
        context,
        Effect.map(deleted, (responses) => ({ throttleTimeMs: 0, responses })),
      );
    }),
});
