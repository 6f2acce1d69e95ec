/**
 * A decision about a consumer group while it is being made, its timers, and the configuration a group is judged by.
 * What must stay true: a refusal's draft is thrown away, so that an error leaves nothing behind.
 */
import type { BrokerNumberKey } from "../config/BrokerConfig.ts";
import { type ApiError, apiError } from "../metadata/ApiError.ts";
import { ConfigResourceType, configOverrides } from "../metadata/MetadataImage.ts";
import type { Uuid } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ConsumerGroup } from "./ConsumerGroup.ts";
import type { ConsumerGroupMember } from "./ConsumerGroupMember.ts";
import { type ConsumerGroupVolatile, newVolatile } from "./ConsumerGroupVolatile.ts";
import type { CoordinatorState, DecideContext, GroupCommand } from "./GroupCoordinator.ts";
import { Outcome } from "./Outcome.ts";

export class Draft extends Outcome {
  constructor(
    readonly state: CoordinatorState,
    readonly context: DecideContext,
  ) {
    super();
  }

  /** The volatile part of a consumer group; a fresh one when the group was none until now. */
  volatileOf(groupId: string): ConsumerGroupVolatile {
    const changed = this.volatile.findLast((change) => change.groupId === groupId);
    const present = changed === undefined ? this.state.volatile.get(groupId) : changed.group;
    return present?.kind === "consumer" ? present : newVolatile(groupId);
  }

  /** Makes it part of the decision. */
  commit(outcome: Outcome): void {
    outcome.records.push(...this.records);
    outcome.answers.push(...this.answers);
    outcome.volatile.push(...this.volatile);
    outcome.timers.push(...this.timers);
  }

  armSession(groupId: string, memberId: string, afterMs: number): void {
    this.arm(sessionKey(groupId, memberId), afterMs, { type: "ConsumerSessionDeadline", groupId, memberId });
  }

  armRebalance(groupId: string, { memberId, memberEpoch, rebalanceTimeoutMs }: ConsumerGroupMember): void {
    const command = { type: "ConsumerRebalanceDeadline", groupId, memberId, memberEpoch } as const;
    this.arm(rebalanceKey(groupId, memberId), rebalanceTimeoutMs, command);
  }

  cancelRebalance(groupId: string, memberId: string): void {
    this.cancel(rebalanceKey(groupId, memberId));
  }

  /** A classic member has been told to join again; the first time counts. */
  armJoin(groupId: string, { memberId, rebalanceTimeoutMs }: ConsumerGroupMember): void {
    const volatile = this.volatileOf(groupId);
    if (volatile.mustJoin.has(memberId)) return;
    this.keep(groupId, { ...volatile, mustJoin: new Set([...volatile.mustJoin, memberId]) });
    this.arm(joinKey(groupId, memberId), rebalanceTimeoutMs, { type: "ConsumerSessionDeadline", groupId, memberId });
  }

  cancelJoin(groupId: string, memberId: string): void {
    const volatile = this.volatileOf(groupId);
    if (!volatile.mustJoin.has(memberId)) return;
    const mustJoin = new Set(volatile.mustJoin);
    mustJoin.delete(memberId);
    this.keep(groupId, { ...volatile, mustJoin });
    this.cancel(joinKey(groupId, memberId));
  }

  armSync(groupId: string, memberId: string, afterMs: number): void {
    this.arm(syncKey(groupId, memberId), afterMs, { type: "ConsumerSessionDeadline", groupId, memberId });
  }

  cancelSync(groupId: string, memberId: string): void {
    this.cancel(syncKey(groupId, memberId));
  }

  /** The next slice of a resolution, in a turn of its own. */
  armRegex(groupId: string, command: GroupCommand<"ConsumerRegexResolution">): void {
    this.arm(`consumer regex ${groupId}`, 0, command);
  }

  /** A member is gone: so are its deadlines. */
  cancelTimers(groupId: string, member: ConsumerGroupMember): void {
    this.cancelJoin(groupId, member.memberId);
    cancelMemberTimers(this, groupId, member);
  }
}

export const cancelMemberTimers = (
  outcome: Outcome,
  groupId: string,
  { memberId, classic }: ConsumerGroupMember,
): void => {
  outcome.cancel(sessionKey(groupId, memberId));
  outcome.cancel(rebalanceKey(groupId, memberId));
  if (classic === null) return;
  outcome.cancel(joinKey(groupId, memberId));
  outcome.cancel(syncKey(groupId, memberId));
};

const keyOf = (what: string, groupId: string, memberId: string): string =>
  `consumer ${what} ${groupId.length} ${groupId} ${memberId}`;
const sessionKey = (groupId: string, memberId: string): string => keyOf("session", groupId, memberId);
const rebalanceKey = (groupId: string, memberId: string): string => keyOf("rebalance", groupId, memberId);
const joinKey = (groupId: string, memberId: string): string => keyOf("join", groupId, memberId);
const syncKey = (groupId: string, memberId: string): string => keyOf("sync", groupId, memberId);

// --- configuration ---

/** A group's own setting (its config resource), or the broker's. */
const groupSetting = (context: DecideContext, groupId: string, own: string, broker: BrokerNumberKey): number => {
  const override = configOverrides(context.image, ConfigResourceType.GROUP, groupId).get(own);
  return override === undefined ? context.config.number(broker) : Number(override);
};

export const sessionTimeoutMs = (context: DecideContext, groupId: string): number =>
  groupSetting(context, groupId, "consumer.session.timeout.ms", "group.consumer.session.timeout.ms");

export const heartbeatIntervalMs = (context: DecideContext, groupId: string): number =>
  groupSetting(context, groupId, "consumer.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms");

export const assignmentIntervalMs = (context: DecideContext, groupId: string): number =>
  groupSetting(context, groupId, "consumer.assignment.interval.ms", "group.consumer.assignment.interval.ms");

export interface MigrationPolicy {
  readonly upgrade: boolean;
  readonly downgrade: boolean;
}

export const migrationPolicy = ({ config }: DecideContext): MigrationPolicy => {
  const policy = config.string("group.consumer.migration.policy").toLowerCase();
  return {
    upgrade: policy === "bidirectional" || policy === "upgrade",
    downgrade: policy === "bidirectional" || policy === "downgrade",
  };
};

// --- what is refused ---

export const isError = (value: object): value is ApiError => "code" in value && "message" in value;

export const unknownMember = (groupId: string, memberId: string): ApiError =>
  apiError(Errors.UNKNOWN_MEMBER_ID, `Member ${memberId} is not a member of group ${groupId}.`);

export const notConsumerGroup = (groupId: string): ApiError =>
  apiError(Errors.GROUP_ID_NOT_FOUND, `Group ${groupId} is not a consumer group.`);

export const instanceFenced = (
  member: ConsumerGroupMember,
  memberId: string,
  instanceId: string,
): ApiError | undefined =>
  member.memberId === memberId
    ? undefined
    : apiError(
        Errors.FENCED_INSTANCE_ID,
        `Static member ${memberId} with instance id ${instanceId} was fenced by member ${member.memberId}.`,
      );

export const unknownInstance = (instanceId: string): ApiError =>
  apiError(Errors.UNKNOWN_MEMBER_ID, `Instance id ${instanceId} is unknown.`);

/** Size limit: whoever is not in the group yet is refused; a static member's place is kept for its instance id. */
export const groupFull = (
  { config }: DecideContext,
  group: ConsumerGroup,
  memberId: string,
  instanceId: string | null,
): ApiError | undefined => {
  const most = config.number("group.consumer.max.size");
  if (group.members.size < most || group.members.has(memberId)) return undefined;
  if (group.staticMember(instanceId) !== undefined) return undefined;
  const message = `The consumer group has reached its maximum capacity of ${most} members.`;
  return apiError(Errors.GROUP_MAX_SIZE_REACHED, message);
};

/** Ids of those topics of a member's subscription that exist. A pattern not resolved yet matches nothing. */
export const subscribedTopicIds = (
  { image }: DecideContext,
  group: ConsumerGroup,
  member: ConsumerGroupMember,
): Set<Uuid> => {
  const ids = new Set<Uuid>();
  const add = (name: string): void => {
    const topic = image.topicsByName.get(name);
    if (topic !== undefined) ids.add(topic.id);
  };
  for (const name of member.subscribedTopicNames) add(name);
  for (const name of group.regexes.get(member.subscribedTopicRegex)?.topics ?? []) add(name);
  return ids;
};
