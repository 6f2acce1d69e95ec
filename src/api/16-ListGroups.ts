/**
 * ListGroups (key 16), versions 0–5: every group this broker coordinates.
 *
 * - v4+: states, and a filter by them. v5+: types, and a filter by them. Filters do not mind case; what is no state or
 *   type matches nothing, without an error.
 */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { ListGroupsRequest } from "../protocol/generated/ListGroupsRequest.ts";
import type { ListGroupsResponse } from "../protocol/generated/ListGroupsResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";

/** Whether a value is wanted: none named means any. */
const filter = (wanted: ReadonlyArray<string>): ((value: string) => boolean) => {
  if (wanted.length === 0) return () => true;
  const names = new Set(wanted.map((name) => name.toLowerCase()));
  return (value) => names.has(value.toLowerCase());
};

export const ListGroups = defineHandler<ListGroupsRequest, ListGroupsResponse>({
  apiKey: 16,
  minVersion: 0,
  maxVersion: 5,
  handle: (request, { ports }) =>
    Effect.map(ports.groups.askAll({ type: "ListGroups" }), (replies): ListGroupsResponse => {
      const hasState = filter(request.statesFilter);
      const hasType = filter(request.typesFilter);
      const groups: ListGroupsResponse["groups"] = [];
      for (const reply of replies) {
        if (!isRefused(reply)) {
          groups.push(...reply.filter(({ groupState, groupType }) => hasState(groupState) && hasType(groupType)));
        } else if (reply !== Errors.NOT_COORDINATOR) return { throttleTimeMs: 0, errorCode: reply, groups: [] };
      }
      return { throttleTimeMs: 0, errorCode: Errors.NONE, groups };
    }),
});
