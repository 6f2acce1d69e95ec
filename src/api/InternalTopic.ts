/**
 * The topics that coordinators keep their logs in are made by the first request that needs one. What must stay true: the
 * request goes on when the topic is there, so that its client is not told to try again.
 */
import * as Effect from "effect/Effect";
import { creatableTopic } from "../metadata/InternalTopics.ts";
import type { RequestContext } from "./RequestContext.ts";

export const withInternalTopic = (name: string, { ports }: RequestContext): Effect.Effect<void> => {
  const { metadata, controller, random, config } = ports;
  if (metadata.image().topicsByName.get(name) !== undefined) return Effect.void;
  const created = controller.ask({
    type: "CreateTopics",
    topics: [creatableTopic(name, config)],
    validateOnly: false,
    topicIds: [random.uuid()],
    seed: random.below(0x1_0000_0000),
  });
  return Effect.asVoid(created);
};
