/**
 * ConsumerGroupDescribe (key 69), versions 0–1: state, epochs and members of KIP-848 groups, with what each member has
 * and is to have.
 *
 * - v1+: each member's type (0 classic, 1 consumer). A classic group, or none, is GROUP_ID_NOT_FOUND with a message;
 *   the Java Admin client asks DescribeGroups then.
 */
import * as Effect from "effect/Effect";
import { describedError } from "../group/ConsumerGroupCommands.ts";
import { apiError } from "../metadata/ApiError.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ConsumerGroupDescribeRequest } from "../protocol/generated/ConsumerGroupDescribeRequest.ts";
import type { ConsumerGroupDescribeResponse } from "../protocol/generated/ConsumerGroupDescribeResponse.ts";
import { hasConsumerProtocol } from "./68-ConsumerGroupHeartbeat.ts";
import { ALL_GROUP_OPERATIONS } from "./AuthorizedOperations.ts";
import { isRefused } from "./GroupRequest.ts";
import { askByPartition } from "./GroupsByPartition.ts";
import { defineHandler } from "./Router.ts";

type DescribedGroup = ConsumerGroupDescribeResponse["groups"][number];

const withOperations = (group: DescribedGroup): DescribedGroup =>
  group.errorCode === Errors.NONE ? { ...group, authorizedOperations: ALL_GROUP_OPERATIONS } : group;

export const ConsumerGroupDescribe = defineHandler<ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse>({
  apiKey: 69,
  minVersion: 0,
  maxVersion: 1,
  handle: (request, context) => {
    const { ports, version } = context;
    const refused = (groupIds: ReadonlyArray<string>, code: number): DescribedGroup[] =>
      groupIds.map((groupId) => describedError(groupId, apiError(code)));
    if (!hasConsumerProtocol(ports)) {
      return Effect.succeed({ throttleTimeMs: 0, groups: refused(request.groupIds, Errors.UNSUPPORTED_VERSION) });
    }
    const described = askByPartition<DescribedGroup>(request.groupIds, context, (groupIds) =>
      Effect.map(ports.groups.ask(groupIds[0]!, { type: "ConsumerGroupDescribe", groupIds, version }), (reply) =>
        isRefused(reply) ? refused(groupIds, reply) : reply,
      ),
    );
    return Effect.map(described, (groups) => ({
      throttleTimeMs: 0,
      groups: request.includeAuthorizedOperations ? groups.map(withOperations) : groups,
    }));
  },
});
