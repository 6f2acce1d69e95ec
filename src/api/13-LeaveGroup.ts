/**
 * LeaveGroup (key 13), versions 0–5: members go, each answered by itself.
 *
 * - v0–2: one member, whose error is the response's. v3+: several, also static ones by their instance id alone
 *   (an administrator's removal). v5+: a reason.
 */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { LeaveGroupRequest } from "../protocol/generated/LeaveGroupRequest.ts";
import type { LeaveGroupResponse } from "../protocol/generated/LeaveGroupResponse.ts";
import { groupIdError, isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";

const SEVERAL_FROM = 3;

const refused = (errorCode: number): LeaveGroupResponse => ({ throttleTimeMs: 0, errorCode, members: [] });

/** Up to v2 the one member's error is the only one there is room for. */
const forVersion = (response: LeaveGroupResponse, version: number): LeaveGroupResponse => {
  if (version >= SEVERAL_FROM) return response;
  const errorCode = response.errorCode === Errors.NONE ? (response.members[0]?.errorCode ?? 0) : response.errorCode;
  return refused(errorCode);
};

export const LeaveGroup = defineHandler<LeaveGroupRequest, LeaveGroupResponse>({
  apiKey: 13,
  minVersion: 0,
  maxVersion: 5,
  handle: (request, { version, ports }) =>
    Effect.suspend(() => {
      const error = groupIdError(request.groupId);
      if (error !== Errors.NONE) return Effect.succeed(refused(error));
      const members =
        version >= SEVERAL_FROM
          ? request.members
          : [{ memberId: request.memberId, groupInstanceId: null, reason: null }];
      const left = ports.groups.ask(request.groupId, { type: "LeaveGroup", request: { ...request, members }, version });
      return Effect.map(left, (reply) => (isRefused(reply) ? refused(reply) : forVersion(reply, version)));
    }),
});
