/**
 * ConsumerGroupHeartbeat (key 68), versions 0–1: the one request of a KIP-848 member: joins, stays, says what it owns,
 * learns what it is to own, leaves.
 *
 * - v0: an empty member id on joining is filled in by the broker. v1+: the client makes its id; a subscription may be a
 *   regular expression, which the broker resolves.
 *
 * UNSUPPORTED_VERSION unless `group.version` is finalized and `group.coordinator.rebalance.protocols` has `consumer`.
 * A request that is wrong whatever its group is refused here, before there is a coordinator.
 */
import * as Effect from "effect/Effect";
import { heartbeatError, heartbeatProblem } from "../group/ConsumerGroupHeartbeat.ts";
import { apiError } from "../metadata/ApiError.ts";
import { GROUP_VERSION_FEATURE } from "../metadata/MetadataImage.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ConsumerGroupHeartbeatRequest } from "../protocol/generated/ConsumerGroupHeartbeatRequest.ts";
import type { ConsumerGroupHeartbeatResponse } from "../protocol/generated/ConsumerGroupHeartbeatResponse.ts";
import { clientOf, isRefused } from "./GroupRequest.ts";
import type { Ports } from "./Ports.ts";
import { defineHandler } from "./Router.ts";

/** Whether the cluster has the KIP-848 protocol. */
export const hasConsumerProtocol = ({ config, metadata }: Ports): boolean =>
  (metadata.image().features.get(GROUP_VERSION_FEATURE) ?? 0) >= 1 &&
  config.list("group.coordinator.rebalance.protocols").includes("consumer");

export const ConsumerGroupHeartbeat = defineHandler<ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse>({
  apiKey: 68,
  minVersion: 0,
  maxVersion: 1,
  handle: (request, context) =>
    Effect.suspend(() => {
      const { ports, version } = context;
      if (!hasConsumerProtocol(ports)) return Effect.succeed(heartbeatError(apiError(Errors.UNSUPPORTED_VERSION)));
      const problem = heartbeatProblem(request, version, ports.config.list("group.consumer.assignors"));
      if (problem !== undefined) return Effect.succeed(heartbeatError(problem));
      const answered = ports.groups.ask(request.groupId, {
        type: "ConsumerGroupHeartbeat",
        request,
        version,
        client: clientOf(context),
        uuid: ports.random.uuid(),
      });
      return Effect.map(answered, (reply) => (isRefused(reply) ? heartbeatError(apiError(reply)) : reply));
    }),
});
