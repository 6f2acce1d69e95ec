/**
 * Heartbeat (key 12), versions 0–4: a member's sign of life, answered with whether it must join again.
 *
 * - v3+: static members. While the coordinator reads its log every heartbeat is fine.
 */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { HeartbeatRequest } from "../protocol/generated/HeartbeatRequest.ts";
import type { HeartbeatResponse } from "../protocol/generated/HeartbeatResponse.ts";
import { groupIdError, isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";

const answer = (errorCode: number): HeartbeatResponse => ({ throttleTimeMs: 0, errorCode });

export const Heartbeat = defineHandler<HeartbeatRequest, HeartbeatResponse>({
  apiKey: 12,
  minVersion: 0,
  maxVersion: 4,
  handle: (request, { version, ports }) =>
    Effect.suspend(() => {
      const error = groupIdError(request.groupId);
      if (error !== Errors.NONE) return Effect.succeed(answer(error));
      const beaten = ports.groups.ask(request.groupId, { type: "Heartbeat", request, version });
      return Effect.map(beaten, (reply) => {
        if (!isRefused(reply)) return reply;
        return answer(reply === Errors.COORDINATOR_LOAD_IN_PROGRESS ? Errors.NONE : reply);
      });
    }),
});
