/**
 * DescribeGroups (key 15), versions 0–6: state and members of classic groups.
 *
 * - v3+: authorized operations. v4+: instance ids. A group that is not there, or of another type: up to v5 "Dead" and
 *   NONE, v6+ GROUP_ID_NOT_FOUND with a message.
 */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { DescribeGroupsRequest } from "../protocol/generated/DescribeGroupsRequest.ts";
import type { DescribeGroupsResponse } from "../protocol/generated/DescribeGroupsResponse.ts";
import { ALL_GROUP_OPERATIONS, OPERATIONS_OMITTED } from "./AuthorizedOperations.ts";
import { isRefused } from "./GroupRequest.ts";
import { askByPartition } from "./GroupsByPartition.ts";
import { defineHandler } from "./Router.ts";

type DescribedGroup = DescribeGroupsResponse["groups"][number];

const refused = (groupId: string, errorCode: number): DescribedGroup => ({
  errorCode,
  errorMessage: null,
  groupId,
  groupState: "",
  protocolType: "",
  protocolData: "",
  members: [],
  authorizedOperations: OPERATIONS_OMITTED,
});

export const DescribeGroups = defineHandler<DescribeGroupsRequest, DescribeGroupsResponse>({
  apiKey: 15,
  minVersion: 0,
  maxVersion: 6,
  handle: (request, context) => {
    const { ports, version } = context;
    const described = askByPartition<DescribedGroup>(request.groups, context, (groupIds) =>
      Effect.map(ports.groups.ask(groupIds[0]!, { type: "DescribeGroups", groupIds, version }), (reply) =>
        isRefused(reply) ? groupIds.map((groupId) => refused(groupId, reply)) : reply,
      ),
    );
    return Effect.map(described, (groups) => ({
      throttleTimeMs: 0,
      groups: request.includeAuthorizedOperations ? groups.map(withOperations) : groups,
    }));
  },
});

const withOperations = (group: DescribedGroup): DescribedGroup =>
  group.errorCode === Errors.NONE ? { ...group, authorizedOperations: ALL_GROUP_OPERATIONS } : group;
