/** What administrators ask of groups: list, describe, delete. Reads that wait for what they have seen, like every reply. */
import { Errors } from "../protocol/Errors.ts";
import type { DeleteGroupsResponse } from "../protocol/generated/DeleteGroupsResponse.ts";
import type { DescribeGroupsResponse } from "../protocol/generated/DescribeGroupsResponse.ts";
import type { ListGroupsResponse } from "../protocol/generated/ListGroupsResponse.ts";
import { type AskId, type ClassicGroup, CONSUMER_PROTOCOL_TYPE, metadataOf, NO_ASSIGNMENT } from "./ClassicGroup.ts";
import { consumerGroupProtocol } from "./ConsumerGroupProtocol.ts";
import { groupIds, groupOf } from "./CoordinatorState.ts";
import type { CoordinatorState, GroupCommand } from "./GroupCoordinator.ts";
import { groupTombstones, offsetTombstones } from "./OffsetCommands.ts";
import type { Outcome } from "./Outcome.ts";

/** Not asked for; the handler fills in what was (KIP-430). */
const OPERATIONS_OMITTED = -2147483648;
/** From this version on a group that is not there is an error, not a dead group (KIP-1043). */
const GROUP_ID_NOT_FOUND_FROM = 6;

type ListedGroup = ListGroupsResponse["groups"][number];
type DescribedGroup = DescribeGroupsResponse["groups"][number];

export const listGroups = (state: CoordinatorState, ask: AskId, outcome: Outcome): void => {
  const groups: ListedGroup[] = [];
  for (const groupId of groupIds(state)) {
    const group = groupOf(state, groupId);
    if (group === undefined) continue;
    groups.push(
      group.kind === "consumer"
        ? {
            groupId,
            protocolType: CONSUMER_PROTOCOL_TYPE,
            groupState: consumerGroupProtocol.stateName(group),
            groupType: "consumer",
          }
        : { groupId, protocolType: group.protocolType ?? "", groupState: group.state, groupType: "classic" },
    );
  }
  outcome.answer<"ListGroups">(ask, groups);
};

export const describeGroups = (
  state: CoordinatorState,
  { groupIds: ids, version }: GroupCommand<"DescribeGroups">,
  ask: AskId,
  outcome: Outcome,
): void => {
  const groups = ids.map((groupId): DescribedGroup => {
    const group = groupOf(state, groupId);
    if (group?.kind === "classic") return describe(group);
    const why = group === undefined ? `Group ${groupId} not found.` : `Group ${groupId} is not a classic group.`;
    return version >= GROUP_ID_NOT_FOUND_FROM
      ? { ...described(groupId, "Dead"), errorCode: Errors.GROUP_ID_NOT_FOUND, errorMessage: why }
      : described(groupId, "Dead");
  });
  outcome.answer<"DescribeGroups">(ask, groups);
};

const described = (groupId: string, groupState: string): DescribedGroup => ({
  errorCode: Errors.NONE,
  errorMessage: null,
  groupId,
  groupState,
  protocolType: "",
  protocolData: "",
  members: [],
  authorizedOperations: OPERATIONS_OMITTED,
});

/** Protocol and metadata are told of a stable group only. */
const describe = (group: ClassicGroup): DescribedGroup => {
  const stable = group.state === "Stable";
  return {
    ...described(group.groupId, group.state),
    protocolType: group.protocolType ?? "",
    protocolData: stable ? (group.protocolName ?? "") : "",
    members: [...group.members.values()].map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      memberMetadata: stable ? metadataOf(member, group.protocolName) : NO_ASSIGNMENT,
      memberAssignment: member.assignment,
    })),
  };
};

export const deleteGroups = (
  state: CoordinatorState,
  { groupIds: ids }: GroupCommand<"DeleteGroups">,
  ask: AskId,
  outcome: Outcome,
): void => {
  outcome.divisible = true;
  const results = ids.map((groupId): DeleteGroupsResponse["results"][number] => {
    const group = groupOf(state, groupId);
    if (group === undefined) return { groupId, errorCode: Errors.GROUP_ID_NOT_FOUND };
    const isEmpty = group.kind === "consumer" ? group.members.size === 0 : group.state === "Empty";
    if (!isEmpty) return { groupId, errorCode: Errors.NON_EMPTY_GROUP };
    outcome.records.push(...offsetTombstones(state, groupId), ...groupTombstones(group, outcome));
    return { groupId, errorCode: Errors.NONE };
  });
  outcome.answer<"DeleteGroups">(ask, results);
};
