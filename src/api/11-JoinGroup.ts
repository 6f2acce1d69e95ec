/**
 * JoinGroup (key 11), versions 0–9: a member enters the group, or comes back; answered when the join phase ends.
 *
 * - v0: no rebalance timeout, the session's is taken. v4+: a new dynamic member gets MEMBER_ID_REQUIRED with its id first
 *   (KIP-394). v5+: static members. v7+: protocol type, and names that are null in errors ("" before). v8+: a reason.
 *   v9+: SkipAssignment (KIP-814).
 *
 * The session timeout must lie within the broker's bounds, both included.
 */
import * as Effect from "effect/Effect";
import { joinError } from "../group/ClassicRebalance.ts";
import { Errors } from "../protocol/Errors.ts";
import type { JoinGroupRequest } from "../protocol/generated/JoinGroupRequest.ts";
import type { JoinGroupResponse } from "../protocol/generated/JoinGroupResponse.ts";
import { clientOf, groupIdError, isRefused } from "./GroupRequest.ts";
import type { RequestContext } from "./RequestContext.ts";
import { defineHandler } from "./Router.ts";

const REBALANCE_TIMEOUT_FROM = 1;
const NULL_NAMES_FROM = 7;

const refusal = (request: JoinGroupRequest, { ports }: RequestContext): number => {
  const { config } = ports;
  const error = groupIdError(request.groupId);
  if (error !== Errors.NONE) return error;
  const { sessionTimeoutMs } = request;
  const inBounds =
    sessionTimeoutMs >= config.number("group.min.session.timeout.ms") &&
    sessionTimeoutMs <= config.number("group.max.session.timeout.ms");
  return inBounds ? Errors.NONE : Errors.INVALID_SESSION_TIMEOUT;
};

const forVersion = (response: JoinGroupResponse, version: number): JoinGroupResponse =>
  version >= NULL_NAMES_FROM ? response : { ...response, protocolName: response.protocolName ?? "" };

export const JoinGroup = defineHandler<JoinGroupRequest, JoinGroupResponse>({
  apiKey: 11,
  minVersion: 0,
  maxVersion: 9,
  handle: (request, context) =>
    Effect.suspend(() => {
      const { version, ports } = context;
      const error = refusal(request, context);
      if (error !== Errors.NONE) return Effect.succeed(forVersion(joinError(request.memberId, error), version));
      const rebalanceTimeoutMs =
        version >= REBALANCE_TIMEOUT_FROM ? request.rebalanceTimeoutMs : request.sessionTimeoutMs;
      const joined = ports.groups.ask(request.groupId, {
        type: "JoinGroup",
        request: { ...request, rebalanceTimeoutMs },
        version,
        client: clientOf(context),
        uuid: ports.random.uuid(),
      });
      return Effect.map(joined, (reply) =>
        forVersion(isRefused(reply) ? joinError(request.memberId, reply) : reply, version),
      );
    }),
});
