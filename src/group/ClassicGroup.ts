/**
 * A group of the classic protocol while it lives: an immutable value, made anew by every change (`ClassicRebalance`).
 * Its journaled part is the last completed generation; everything else here is volatile and comes back by protocol.
 *
 * | to                  | from                                       | when                                             |
 * |---------------------|--------------------------------------------|--------------------------------------------------|
 * | Empty               | PreparingRebalance                         | the join phase ends and no member is left        |
 * | PreparingRebalance  | Empty, Stable, CompletingRebalance         | a member joins, leaves, fails or changes         |
 * | CompletingRebalance | PreparingRebalance                         | every member has joined, or the time to is over  |
 * | Stable              | CompletingRebalance                        | the leader's assignment is in the log's order    |
 * | Dead                | any                                        | deleted: the group is not there any more         |
 *
 * What must stay true: one leader, who is a member; all members' protocols have one in common (G4); the generation
 * grows by one with every completed join phase (G1); an instance id belongs to one member.
 */
import type { Timestamp } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { GroupMetadataValue } from "../protocol/generated/GroupMetadataValue.ts";
import { subscriptionTopics } from "./ConsumerProtocol.ts";
import type { ClassicGeneration } from "./GroupJournal.ts";
import { hashMapOrder } from "./JavaHash.ts";

export type ClassicGroupState = "Empty" | "PreparingRebalance" | "CompletingRebalance" | "Stable";

/** Names an asker that waits; -1: nobody asked. */
export type AskId = number;
export const NO_ASK: AskId = -1;

export interface ClassicProtocol {
  readonly name: string;
  readonly metadata: Uint8Array;
}

export interface ClassicMember {
  readonly memberId: string;
  /** Of a static member (KIP-345); null for a dynamic one. */
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly rebalanceTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  /** In the order the member likes them. */
  readonly protocols: ReadonlyArray<ClassicProtocol>;
  readonly assignment: Uint8Array;
  /** A JoinGroup that waits for the join phase to end. */
  readonly awaitingJoin: AskId;
  /** A SyncGroup that waits for the leader's assignment. */
  readonly awaitingSync: AskId;
  /** Has never completed a join phase: its session may end although it waits. */
  readonly isNew: boolean;
}

/** The first rebalance of an empty group waits for more members (`group.initial.rebalance.delay.ms`). */
export interface InitialDelay {
  readonly delayMs: number;
  readonly remainingMs: number;
  readonly newMemberAdded: boolean;
}

export interface ClassicGroup {
  readonly kind: "classic";
  readonly groupId: string;
  readonly state: ClassicGroupState;
  /** When the group came into its state; -1: unknown. */
  readonly stateTimestamp: Timestamp;
  readonly generation: number;
  /** Members were told of generations up to this one before the coordinator read its log again: none is told twice. */
  readonly toldGeneration: number;
  /** undefined: a group that only stores offsets (a simple group), or one that never had a member. */
  readonly protocolType: string | undefined;
  readonly protocolName: string | undefined;
  readonly leader: string | undefined;
  /** In the order they came. */
  readonly members: ReadonlyMap<string, ClassicMember>;
  /** Members by instance id. */
  readonly staticMembers: ReadonlyMap<string, string>;
  /** Ids that were given out and have not joined yet. */
  readonly pendingJoin: ReadonlySet<string>;
  /** Members of this generation that have not synced yet. */
  readonly pendingSync: ReadonlySet<string>;
  /** Set while the group prepares its first rebalance after being empty. */
  readonly initialDelay: InitialDelay | undefined;
  /** What members of a `consumer` group subscribe to; undefined: not known. */
  readonly subscribedTopics: ReadonlySet<string> | undefined;
}

export const CONSUMER_PROTOCOL_TYPE = "consumer";
export const NO_ASSIGNMENT = new Uint8Array(0);

/** A group that nothing is known of but its id. */
export const newClassicGroup = (groupId: string, now: Timestamp): ClassicGroup => ({
  kind: "classic",
  groupId,
  state: "Empty",
  stateTimestamp: now,
  generation: 0,
  toldGeneration: 0,
  protocolType: undefined,
  protocolName: undefined,
  leader: undefined,
  members: new Map(),
  staticMembers: new Map(),
  pendingJoin: new Set(),
  pendingSync: new Set(),
  initialDelay: undefined,
  subscribedTopics: undefined,
});

/** The group as its last record says it: Stable with members, Empty without. */
export const classicGroupOf = ({ groupId, value }: ClassicGeneration): ClassicGroup => {
  const members = new Map<string, ClassicMember>();
  const staticMembers = new Map<string, string>();
  for (const member of value.members) {
    members.set(member.memberId, {
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeoutMs: member.rebalanceTimeout === -1 ? member.sessionTimeout : member.rebalanceTimeout,
      sessionTimeoutMs: member.sessionTimeout,
      protocols: [{ name: value.protocol ?? "", metadata: member.subscription }],
      assignment: member.assignment,
      awaitingJoin: NO_ASK,
      awaitingSync: NO_ASK,
      isNew: false,
    });
    if (member.groupInstanceId !== null) staticMembers.set(member.groupInstanceId, member.memberId);
  }
  const group: ClassicGroup = {
    ...newClassicGroup(groupId, value.currentStateTimestamp),
    state: members.size === 0 ? "Empty" : "Stable",
    generation: value.generation,
    protocolType: value.protocolType === "" ? undefined : value.protocolType,
    protocolName: value.protocol ?? undefined,
    leader: value.leader ?? undefined,
    members,
    staticMembers,
  };
  return { ...group, subscribedTopics: computeSubscribedTopics(group) };
};

/** The record of a completed generation: every member with its assignment. */
export const generationValue = (group: ClassicGroup): GroupMetadataValue => ({
  protocolType: group.protocolType ?? "",
  generation: group.generation,
  protocol: group.protocolName ?? null,
  leader: group.leader ?? null,
  currentStateTimestamp: group.stateTimestamp,
  members: [...group.members.values()].map((member) => ({
    memberId: member.memberId,
    groupInstanceId: member.groupInstanceId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    rebalanceTimeout: member.rebalanceTimeoutMs,
    sessionTimeout: member.sessionTimeoutMs,
    subscription: metadataOf(member, group.protocolName),
    assignment: member.assignment,
  })),
});

/** A member's metadata for the protocol in use; empty when it is not one of its own. */
export const metadataOf = (member: ClassicMember, protocolName: string | undefined): Uint8Array =>
  member.protocols.find(({ name }) => name === protocolName)?.metadata ?? NO_ASSIGNMENT;

/** Kafka's `isSimpleGroup`: stores offsets, has no members and never had. */
export const isSimpleGroup = (group: ClassicGroup): boolean =>
  group.protocolType === undefined && group.state === "Empty" && group.pendingJoin.size === 0;

/** Whether the protocol can be agreed on with the members there are. */
export const supportsProtocols = (
  group: ClassicGroup,
  protocolType: string,
  protocols: ReadonlyArray<{ readonly name: string }>,
): boolean => {
  if (group.state === "Empty") return protocolType !== "" && protocols.length > 0;
  if (group.protocolType !== protocolType) return false;
  const common = candidateProtocols(group);
  return protocols.some(({ name }) => common === undefined || common.has(name));
};

/** The protocols every member has; undefined without members: any. */
const candidateProtocols = (group: ClassicGroup): ReadonlySet<string> | undefined => {
  let common: Set<string> | undefined;
  for (const { protocols } of group.members.values()) {
    if (common === undefined) common = new Set(protocols.map(({ name }) => name));
    else if (protocols.length !== common.size || protocols.some(({ name }) => !common!.has(name))) {
      const theirs = new Set(protocols.map(({ name }) => name));
      for (const name of common) if (!theirs.has(name)) common.delete(name);
    }
  }
  return common;
};

/** Each member votes for the first of its protocols that all have; most votes win. */
export const selectProtocol = (group: ClassicGroup): string | undefined => {
  const candidates = candidateProtocols(group) ?? new Set<string>();
  const votes = new Map<string, number>();
  for (const { protocols } of group.members.values()) {
    const vote = protocols.find(({ name }) => candidates.has(name))?.name;
    if (vote !== undefined) votes.set(vote, (votes.get(vote) ?? 0) + 1);
  }
  let winner: string | undefined;
  // Kafka takes the first with most votes of a hash map.
  for (const name of hashMapOrder(votes.keys())) {
    if (winner === undefined || votes.get(name)! > votes.get(winner)!) winner = name;
  }
  return winner;
};

/** Topics of all members; undefined when the protocol is not `consumer`, not chosen, or malformed. */
export const computeSubscribedTopics = (group: ClassicGroup): ReadonlySet<string> | undefined => {
  if (group.protocolType !== CONSUMER_PROTOCOL_TYPE) return undefined;
  const topics = new Set<string>();
  if (group.members.size === 0) return topics;
  if (group.protocolName === undefined) return undefined;
  for (const member of group.members.values()) {
    const theirs = subscriptionTopics(metadataOf(member, group.protocolName));
    if (theirs === undefined) return undefined;
    for (const topic of theirs) topics.add(topic);
  }
  return topics;
};

/** While a `consumer` group's subscriptions are not known it counts as subscribed to everything. */
export const isSubscribedTo = (group: ClassicGroup, topic: string): boolean =>
  group.subscribedTopics?.has(topic) ?? group.protocolType === CONSUMER_PROTOCOL_TYPE;

/** NONE, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID: whether a request speaks for a member of the group (G5, G6). */
export const memberError = (group: ClassicGroup, memberId: string, groupInstanceId: string | null): number => {
  if (groupInstanceId !== null) {
    const current = group.staticMembers.get(groupInstanceId);
    if (current === undefined) return Errors.UNKNOWN_MEMBER_ID;
    if (current !== memberId) return Errors.FENCED_INSTANCE_ID;
  }
  return group.members.has(memberId) ? Errors.NONE : Errors.UNKNOWN_MEMBER_ID;
};

/** The longest of the members' rebalance timeouts, in milliseconds. */
export const rebalanceTimeoutOf = (group: ClassicGroup): number => {
  let longest = 0;
  for (const { rebalanceTimeoutMs } of group.members.values()) longest = Math.max(longest, rebalanceTimeoutMs);
  return longest;
};

/** Every member waits in the join phase and nobody who was given an id is still to come. */
export const hasAllMembersJoined = (group: ClassicGroup): boolean => {
  if (group.pendingJoin.size > 0) return false;
  for (const { awaitingJoin } of group.members.values()) if (awaitingJoin === NO_ASK) return false;
  return true;
};

/** Same protocols in the same order with the same bytes. */
export const sameProtocols = (left: ReadonlyArray<ClassicProtocol>, right: ReadonlyArray<ClassicProtocol>): boolean =>
  left.length === right.length &&
  left.every(({ name, metadata }, index) => {
    const other = right[index]!;
    return (
      name === other.name &&
      metadata.length === other.metadata.length &&
      metadata.every((byte, at) => byte === other.metadata[at])
    );
  });
