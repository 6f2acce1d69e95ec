/**
 * SyncGroup (key 14), versions 0–5: a member asks for its assignment, the leader brings everyone's; answered when the
 * assignment is committed.
 *
 * - v3+: static members. v5+: protocol type and name must both be there, and agree with the group's.
 */
import * as Effect from "effect/Effect";
import { syncError } from "../group/ClassicRebalance.ts";
import { Errors } from "../protocol/Errors.ts";
import type { SyncGroupRequest } from "../protocol/generated/SyncGroupRequest.ts";
import type { SyncGroupResponse } from "../protocol/generated/SyncGroupResponse.ts";
import { groupIdError, isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";

const PROTOCOL_NAMED_FROM = 5;

export const SyncGroup = defineHandler<SyncGroupRequest, SyncGroupResponse>({
  apiKey: 14,
  minVersion: 0,
  maxVersion: 5,
  handle: (request, { version, ports }) =>
    Effect.suspend(() => {
      const isNamed = request.protocolType !== null && request.protocolName !== null;
      if (version >= PROTOCOL_NAMED_FROM && !isNamed) {
        return Effect.succeed(syncError(Errors.INCONSISTENT_GROUP_PROTOCOL));
      }
      const error = groupIdError(request.groupId);
      if (error !== Errors.NONE) return Effect.succeed(syncError(error));
      const synced = ports.groups.ask(request.groupId, { type: "SyncGroup", request, version });
      return Effect.map(synced, (reply) => (isRefused(reply) ? syncError(reply) : reply));
    }),
});
