/**
 * CreatePartitions (key 37), versions 0–3: more partitions for topics that exist, each topic by itself; every topic
 * asked for is answered. The versions differ in encoding only (v2+ flexible).
 */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { CreatePartitionsRequest } from "../protocol/generated/CreatePartitionsRequest.ts";
import type { CreatePartitionsResponse } from "../protocol/generated/CreatePartitionsResponse.ts";
import { asWrite } from "./ConnectionWrite.ts";
import { defineHandler } from "./Router.ts";

export const CreatePartitions = defineHandler<CreatePartitionsRequest, CreatePartitionsResponse>({
  apiKey: 37,
  minVersion: 0,
  maxVersion: 3,
  handle: (request, context) =>
    Effect.suspend(() => {
      const { topics, timeoutMs, validateOnly } = request;
      if (timeoutMs <= 0) {
        const errorCode = Errors.REQUEST_TIMED_OUT;
        const results = topics.map(({ name }) => ({ name, errorCode, errorMessage: null }));
        return Effect.succeed({ throttleTimeMs: 0, results });
      }
      const { controller, random } = context.ports;
      const grown = controller.ask({
        type: "CreatePartitions",
        topics,
        validateOnly,
        seed: random.below(0x1_0000_0000),
      });
      return asWrite(
        context,
        Effect.map(grown, (results) => ({ throttleTimeMs: 0, results })),
      );
    }),
});
