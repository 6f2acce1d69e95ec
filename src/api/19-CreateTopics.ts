/**
 * CreateTopics (key 19), versions 2–7: each topic by itself, all of a topic or nothing of it.
 *
 * - Counts of -1 mean the broker's defaults (documented from v4 on, taken in v2–3 as well). v5+: counts and configs in
 *   the answer. v7+: the topic's id (with validate-only a made-up one).
 * - A timeout of 0 or less is REQUEST_TIMED_OUT, and nothing is created.
 *
 * What is decided, and every text, is in `metadata/TopicControl`.
 */
import * as Effect from "effect/Effect";
import { apiError } from "../metadata/ApiError.ts";
import { refusedTopic } from "../metadata/TopicControl.ts";
import { Errors } from "../protocol/Errors.ts";
import type { CreateTopicsRequest } from "../protocol/generated/CreateTopicsRequest.ts";
import type { CreateTopicsResponse } from "../protocol/generated/CreateTopicsResponse.ts";
import { asWrite } from "./ConnectionWrite.ts";
import { defineHandler } from "./Router.ts";

const TIMED_OUT = apiError(Errors.REQUEST_TIMED_OUT);

export const CreateTopics = defineHandler<CreateTopicsRequest, CreateTopicsResponse>({
  apiKey: 19,
  minVersion: 2,
  maxVersion: 7,
  handle: (request, context) =>
    Effect.suspend(() => {
      const { topics, timeoutMs, validateOnly } = request;
      if (timeoutMs <= 0) {
        return Effect.succeed({ throttleTimeMs: 0, topics: topics.map(({ name }) => refusedTopic(name, TIMED_OUT)) });
      }
      const { controller, random } = context.ports;
      const created = controller.ask({
        type: "CreateTopics",
        topics,
        validateOnly,
        topicIds: topics.map(() => random.uuid()),
        seed: random.below(0x1_0000_0000),
      });
      return asWrite(
        context,
        Effect.map(created, (results) => ({ throttleTimeMs: 0, topics: results })),
      );
    }),
});
