/**
 * DeleteGroups (key 42), versions 0–2: groups without members go, with their offsets; each answered by itself, a name
 * given twice once.
 */
import * as Effect from "effect/Effect";
import type { DeleteGroupsRequest } from "../protocol/generated/DeleteGroupsRequest.ts";
import type { DeletableGroupResult, DeleteGroupsResponse } from "../protocol/generated/DeleteGroupsResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import { askByPartition } from "./GroupsByPartition.ts";
import { defineHandler } from "./Router.ts";

export const DeleteGroups = defineHandler<DeleteGroupsRequest, DeleteGroupsResponse>({
  apiKey: 42,
  minVersion: 0,
  maxVersion: 2,
  handle: (request, context) => {
    const names = [...new Set(request.groupsNames)];
    const deleted = askByPartition<DeletableGroupResult>(names, context, (groupIds) =>
      Effect.map(context.ports.groups.ask(groupIds[0]!, { type: "DeleteGroups", groupIds }), (reply) =>
        isRefused(reply) ? groupIds.map((groupId) => ({ groupId, errorCode: reply })) : reply,
      ),
    );
    return Effect.map(deleted, (results) => ({ throttleTimeMs: 0, results }));
  },
});
