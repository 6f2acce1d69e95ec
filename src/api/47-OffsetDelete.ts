/**
 * OffsetDelete (key 47), version 0: offsets of topics a group does not subscribe to are forgotten.
 *
 * A topic or partition that does not exist is UNKNOWN_TOPIC_OR_PARTITION; a group that is not there is an error of the
 * whole, without topics.
 */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { OffsetDeleteRequest } from "../protocol/generated/OffsetDeleteRequest.ts";
import type { OffsetDeleteResponse } from "../protocol/generated/OffsetDeleteResponse.ts";
import { groupIdError, isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";

const refused = (errorCode: number): OffsetDeleteResponse => ({ errorCode, throttleTimeMs: 0, topics: [] });

export const OffsetDelete = defineHandler<OffsetDeleteRequest, OffsetDeleteResponse>({
  apiKey: 47,
  minVersion: 0,
  maxVersion: 0,
  reads: true,
  handle: (request, { ports }) =>
    Effect.suspend(() => {
      const error = groupIdError(request.groupId);
      if (error !== Errors.NONE) return Effect.succeed(refused(error));
      const image = ports.metadata.image();
      const unknown = new Map<string, OffsetDeleteResponse["topics"][number]>();
      const topics: OffsetDeleteRequest["topics"] = [];
      for (const { name, partitions } of request.topics) {
        const topic = image.topicsByName.get(name);
        const known = partitions.filter(({ partitionIndex }) => topic?.partitions[partitionIndex] !== undefined);
        const missing = partitions.filter(({ partitionIndex }) => topic?.partitions[partitionIndex] === undefined);
        if (known.length > 0) topics.push({ name, partitions: known });
        if (missing.length === 0) continue;
        const errorCode = Errors.UNKNOWN_TOPIC_OR_PARTITION;
        unknown.set(name, {
          name,
          partitions: missing.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
        });
      }
      const deleted = ports.groups.ask(request.groupId, { type: "OffsetDelete", request: { ...request, topics } });
      return Effect.map(deleted, (reply) => {
        if (isRefused(reply)) return refused(reply);
        if (reply.errorCode !== Errors.NONE) return reply;
        const answered = reply.topics.map((topic) => {
          const others = unknown.get(topic.name)?.partitions ?? [];
          unknown.delete(topic.name);
          return { ...topic, partitions: [...topic.partitions, ...others] };
        });
        return { ...reply, topics: [...answered, ...unknown.values()] };
      });
    }),
});
