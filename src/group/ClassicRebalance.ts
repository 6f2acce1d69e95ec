/**
 * One change of a classic group in the making: a working copy of the group, and what the change does beside it (records,
 * answers, timers). The steps are Kafka's (`GroupMetadataManager`, the classic part). What must stay true: the value it
 * began with is not touched; `finish` gives the next value; a member's parked question is answered before the member
 * goes.
 */
import { invariant } from "../prelude/Invariant.ts";
import type { Timestamp } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { JoinGroupRequest } from "../protocol/generated/JoinGroupRequest.ts";
import type { JoinGroupResponse } from "../protocol/generated/JoinGroupResponse.ts";
import type { SyncGroupResponse } from "../protocol/generated/SyncGroupResponse.ts";
import {
  type AskId,
  type ClassicGroup,
  type ClassicGroupState,
  type ClassicMember,
  type ClassicProtocol,
  computeSubscribedTopics,
  generationValue,
  hasAllMembersJoined,
  metadataOf,
  NO_ASK,
  NO_ASSIGNMENT,
  rebalanceTimeoutOf,
  selectProtocol,
} from "./ClassicGroup.ts";
import type { Client } from "./GroupCoordinator.ts";
import { joinTimer, type Outcome, sessionTimer, syncTimer } from "./Outcome.ts";

/** What of the broker's configuration a rebalance follows. */
export interface RebalanceRules {
  /** `group.initial.rebalance.delay.ms`. */
  readonly initialDelayMs: number;
  /** `group.max.size`. */
  readonly maxSize: number;
}

/** How long a new member may wait in a join phase without a heartbeat (Kafka's constant). */
const NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000;

const PREVIOUS: Readonly<Record<ClassicGroupState, ReadonlyArray<ClassicGroupState>>> = {
  Empty: ["PreparingRebalance"],
  PreparingRebalance: ["Empty", "Stable", "CompletingRebalance"],
  CompletingRebalance: ["PreparingRebalance"],
  Stable: ["CompletingRebalance"],
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class ClassicRebalance {
  private readonly next: Mutable<ClassicGroup>;
  private readonly members: Map<string, ClassicMember>;
  private readonly staticMembers: Map<string, string>;
  private readonly pendingJoin: Set<string>;
  private pendingSync: Set<string>;

  constructor(
    group: ClassicGroup,
    private readonly rules: RebalanceRules,
    private readonly now: Timestamp,
    private readonly outcome: Outcome,
  ) {
    this.members = new Map(group.members);
    this.staticMembers = new Map(group.staticMembers);
    this.pendingJoin = new Set(group.pendingJoin);
    this.pendingSync = new Set(group.pendingSync);
    this.next = {
      ...group,
      members: this.members,
      staticMembers: this.staticMembers,
      pendingJoin: this.pendingJoin,
      pendingSync: this.pendingSync,
    };
  }

  /** The group as it is at this step. */
  get group(): ClassicGroup {
    return this.next;
  }

  /** Hands the next value over. An empty group is as its record says, so nothing of it is kept beside the journal. */
  finish(): void {
    const { groupId, state } = this.next;
    const settled = state === "Empty" && this.pendingJoin.size === 0;
    this.outcome.keep(groupId, settled ? undefined : this.next);
  }

  /** Writes the group's record: its members with their assignments. */
  write(): void {
    const { groupId } = this.next;
    this.outcome.records.push({ kind: "GroupMetadata", key: { group: groupId }, value: generationValue(this.next) });
  }

  /** A group's first record: that it is there, and nothing else of it yet. */
  writeNew(): void {
    const { groupId, stateTimestamp: currentStateTimestamp } = this.next;
    const value = { protocolType: "", generation: 0, protocol: null, leader: null, currentStateTimestamp, members: [] };
    this.outcome.records.push({ kind: "GroupMetadata", key: { group: groupId }, value });
  }

  /** An id is given out; whoever got it has the session timeout to come back with it. */
  addPending(memberId: string, sessionTimeoutMs: number): void {
    this.pendingJoin.add(memberId);
    this.armSession(memberId, sessionTimeoutMs);
  }

  addMember(request: JoinGroupRequest, memberId: string, client: Client, ask: AskId): void {
    const { next } = this;
    const member: ClassicMember = {
      memberId,
      groupInstanceId: request.groupInstanceId,
      clientId: client.clientId,
      clientHost: client.host,
      rebalanceTimeoutMs: request.rebalanceTimeoutMs,
      sessionTimeoutMs: request.sessionTimeoutMs,
      protocols: ownProtocols(request),
      assignment: NO_ASSIGNMENT,
      awaitingJoin: ask,
      awaitingSync: NO_ASK,
      isNew: true,
    };
    if (next.initialDelay !== undefined) next.initialDelay = { ...next.initialDelay, newMemberAdded: true };
    if (this.members.size === 0) next.protocolType = request.protocolType;
    next.leader ??= memberId;
    this.put(member);
    if (member.groupInstanceId !== null) this.staticMembers.set(member.groupInstanceId, memberId);
    this.pendingJoin.delete(memberId);
    this.armSession(memberId, NEW_MEMBER_JOIN_TIMEOUT_MS);
    this.prepareOrComplete();
  }

  /** A member joins again, with what it now supports; an earlier question of its own is void. */
  updateMember(request: JoinGroupRequest, memberId: string, ask: AskId): void {
    this.rejoin(request, memberId, ask);
    this.prepareOrComplete();
  }

  private rejoin(request: JoinGroupRequest, memberId: string, ask: AskId): void {
    const member = this.member(memberId);
    // The client gave up on its earlier JoinGroup or sent it twice: one question is parked at a time.
    this.answerJoin(member, joinError(memberId, Errors.REBALANCE_IN_PROGRESS));
    this.put({
      ...this.member(memberId),
      protocols: ownProtocols(request),
      rebalanceTimeoutMs: request.rebalanceTimeoutMs,
      sessionTimeoutMs: request.sessionTimeoutMs,
      awaitingJoin: ask,
    });
  }

  /**
   * A static member comes back without its id: it takes the old member's place under a new id, and whoever waits under
   * the old one is fenced (G5). While Stable, and when the protocol stays, it keeps its assignment without a rebalance.
   */
  replaceStaticMember(
    request: JoinGroupRequest,
    oldId: string,
    newId: string,
    ask: AskId,
    skipsAssignment: boolean,
  ): void {
    const { next } = this;
    const leaderBefore = next.leader;
    const old = this.member(oldId);
    this.answerJoin(old, joinError(oldId, Errors.FENCED_INSTANCE_ID));
    this.answerSync(this.member(oldId), syncError(Errors.FENCED_INSTANCE_ID));
    const replaced = this.member(oldId);
    this.members.delete(oldId);
    this.put({ ...replaced, memberId: newId, isNew: false });
    this.staticMembers.set(old.groupInstanceId!, newId);
    if (next.leader === oldId) next.leader = newId;
    // Kafka forgets the pending sync of a replaced member too: only the new id can sync.
    if (this.pendingSync.delete(oldId)) this.pendingSync.add(newId);
    this.outcome.cancel(sessionTimer(next.groupId, oldId));
    this.armSession(newId, replaced.sessionTimeoutMs);
    this.rejoin(request, newId, ask);
    switch (next.state) {
      case "Stable":
        return this.restoreOrRebalance(newId, ask, leaderBefore, skipsAssignment);
      case "CompletingRebalance":
        // The leader may be assigning to the old id just now.
        return this.prepareRebalance();
      default:
        return this.completeIfAllJoined();
    }
  }

  private restoreOrRebalance(
    memberId: string,
    ask: AskId,
    leaderBefore: string | undefined,
    skipsAssignment: boolean,
  ): void {
    const { next } = this;
    if (selectProtocol(next) !== next.protocolName) return this.prepareOrComplete();
    const isLeader = next.leader === memberId;
    this.put({ ...this.member(memberId), awaitingJoin: NO_ASK });
    this.write();
    const reply = this.joinReply(memberId);
    this.outcome.answer<"JoinGroup">(
      ask,
      skipsAssignment
        ? { ...reply, skipAssignment: isLeader }
        : // Without SkipAssignment a leader is not told that it leads, or it would assign anew.
          { ...reply, leader: leaderBefore ?? "", members: [] },
    );
  }

  /** Takes a member out; its parked questions are answered with UNKNOWN_MEMBER_ID. */
  removeMember(memberId: string): void {
    const member = this.member(memberId);
    this.answerJoin(member, joinError("", Errors.UNKNOWN_MEMBER_ID));
    this.answerSync(this.member(memberId), syncError(Errors.UNKNOWN_MEMBER_ID));
    this.drop(memberId);
  }

  removePending(memberId: string): void {
    this.pendingJoin.delete(memberId);
    this.outcome.cancel(sessionTimer(this.next.groupId, memberId));
  }

  /** After members have gone: a new rebalance, or the end of the join phase that waited for them. */
  afterRemoval(): void {
    const { state } = this.next;
    if (state === "Stable" || state === "CompletingRebalance") this.prepareRebalance();
    else if (state === "PreparingRebalance" && hasAllMembersJoined(this.next)) this.completeJoin();
  }

  /** As `afterRemoval`, but an initial rebalance goes on waiting for its delay (LeaveGroup). */
  afterLeave(): void {
    const { state } = this.next;
    if (state === "Stable" || state === "CompletingRebalance") this.prepareRebalance();
    else this.completeIfAllJoined();
  }

  prepareOrComplete(): void {
    if (this.next.state === "PreparingRebalance") this.completeIfAllJoined();
    else this.prepareRebalance();
  }

  /** A join phase begins: everybody must join again. */
  prepareRebalance(): void {
    const { next, outcome, rules } = this;
    const { groupId } = next;
    if (next.state === "CompletingRebalance") this.failSyncs(Errors.REBALANCE_IN_PROGRESS);
    this.clearPendingSync();
    const isInitial = next.state === "Empty";
    if (isInitial) {
      const delayMs = rules.initialDelayMs;
      const remainingMs = Math.max(rebalanceTimeoutOf(next) - delayMs, 0);
      next.initialDelay = { delayMs, remainingMs, newMemberAdded: false };
      outcome.arm(joinTimer(groupId), delayMs, { type: "JoinDeadline", groupId });
    }
    this.moveTo("PreparingRebalance");
    if (isInitial) return;
    if (hasAllMembersJoined(next)) this.completeJoin();
    else outcome.arm(joinTimer(groupId), rebalanceTimeoutOf(next), { type: "JoinDeadline", groupId });
  }

  /** The time to join is over, or the initial delay is. */
  joinDeadline(): void {
    const { next, rules, outcome } = this;
    if (next.state !== "PreparingRebalance") return;
    const { initialDelay } = next;
    if (initialDelay?.newMemberAdded !== true || initialDelay.remainingMs === 0) return this.completeJoin();
    const delayMs = Math.min(rules.initialDelayMs, initialDelay.remainingMs);
    const remainingMs = Math.max(initialDelay.remainingMs - initialDelay.delayMs, 0);
    next.initialDelay = { delayMs, remainingMs, newMemberAdded: false };
    outcome.arm(joinTimer(next.groupId), delayMs, { type: "JoinDeadline", groupId: next.groupId });
  }

  private completeIfAllJoined(): void {
    const { next } = this;
    if (next.state !== "PreparingRebalance" || next.initialDelay !== undefined) return;
    if (hasAllMembersJoined(next)) this.completeJoin();
  }

  /** The join phase ends: whoever did not join is out (static members stay), and a generation begins (G1). */
  private completeJoin(): void {
    const { next, outcome } = this;
    const { groupId } = next;
    outcome.cancel(joinTimer(groupId));
    for (const member of [...this.members.values()]) {
      if (member.awaitingJoin === NO_ASK && member.groupInstanceId === null) this.drop(member.memberId);
    }
    if (!this.electJoinedLeader() && this.members.size > 0) {
      // Only static members are left and none has joined: the sessions will end, or they come.
      outcome.arm(joinTimer(groupId), rebalanceTimeoutOf(next), { type: "JoinDeadline", groupId });
      return;
    }
    next.generation = Math.max(next.generation, next.toldGeneration) + 1;
    next.initialDelay = undefined;
    this.pendingSync.clear();
    if (this.members.size === 0) {
      next.protocolName = undefined;
      next.leader = undefined;
      next.subscribedTopics = computeSubscribedTopics(next);
      this.moveTo("Empty");
      return this.write();
    }
    next.protocolName = selectProtocol(next);
    next.subscribedTopics = computeSubscribedTopics(next);
    this.moveTo("CompletingRebalance");
    for (const member of [...this.members.values()]) {
      this.answerJoin(member, this.joinReply(member.memberId));
      this.put({ ...this.member(member.memberId), isNew: false });
      this.armSession(member.memberId, member.sessionTimeoutMs);
      this.pendingSync.add(member.memberId);
    }
    const { generation } = next;
    outcome.arm(syncTimer(groupId), rebalanceTimeoutOf(next), { type: "SyncDeadline", groupId, generation });
  }

  /** The leader if it has joined, else the first who has; false when there is none. */
  private electJoinedLeader(): boolean {
    const { next } = this;
    const leader = next.leader === undefined ? undefined : this.members.get(next.leader);
    if (leader === undefined) return false;
    if (leader.awaitingJoin !== NO_ASK) return true;
    for (const member of this.members.values()) {
      if (member.awaitingJoin === NO_ASK) continue;
      next.leader = member.memberId;
      return true;
    }
    return false;
  }

  /** A member asks for its assignment and waits. The leader's question brings everyone's. */
  sync(memberId: string, ask: AskId): void {
    const member = this.member(memberId);
    this.answerSync(member, syncError(Errors.REBALANCE_IN_PROGRESS));
    this.put({ ...this.member(memberId), awaitingSync: ask });
    this.synced(memberId);
  }

  /** The leader has assigned: it is written, and every waiting member gets its part (G3). */
  assign(assignments: ReadonlyMap<string, Uint8Array>): void {
    const { next } = this;
    this.moveTo("Stable");
    for (const member of [...this.members.values()]) {
      this.put({ ...member, assignment: assignments.get(member.memberId)?.slice() ?? NO_ASSIGNMENT });
    }
    this.write();
    for (const member of [...this.members.values()]) {
      if (member.awaitingSync === NO_ASK) continue;
      this.answerSync(member, syncReply(next, member));
      this.armSession(member.memberId, member.sessionTimeoutMs);
    }
  }

  /** A member of this generation has synced; when all have, nobody waits for them any more. */
  synced(memberId: string): void {
    this.pendingSync.delete(memberId);
    if (this.pendingSync.size === 0) this.outcome.cancel(syncTimer(this.next.groupId));
  }

  /** Members that never synced are out. */
  syncDeadline(generation: number): void {
    const { next } = this;
    if (generation !== next.generation || this.pendingSync.size === 0) return;
    if (next.state !== "CompletingRebalance" && next.state !== "Stable") return;
    for (const memberId of [...this.pendingSync]) this.drop(memberId);
    this.prepareRebalance();
  }

  /** What a member that has joined is told; the leader is also told who else is there. */
  joinReply(memberId: string): JoinGroupResponse {
    const { next } = this;
    const members =
      next.leader !== memberId
        ? []
        : [...this.members.values()].map((member) => ({
            memberId: member.memberId,
            groupInstanceId: member.groupInstanceId,
            metadata: metadataOf(member, next.protocolName),
          }));
    return {
      throttleTimeMs: 0,
      errorCode: Errors.NONE,
      generationId: next.generation,
      protocolType: next.protocolType ?? null,
      protocolName: next.protocolName ?? null,
      leader: next.leader ?? "",
      skipAssignment: false,
      memberId,
      members,
    };
  }

  armSession(memberId: string, timeoutMs: number): void {
    const { groupId } = this.next;
    this.outcome.arm(sessionTimer(groupId, memberId), timeoutMs, { type: "SessionDeadline", groupId, memberId });
  }

  private member(memberId: string): ClassicMember {
    const member = this.members.get(memberId);
    invariant(member !== undefined, `group ${this.next.groupId} has no member ${memberId}`);
    return member;
  }

  private put(member: ClassicMember): void {
    this.members.set(member.memberId, member);
  }

  private drop(memberId: string): void {
    const { next } = this;
    const member = this.member(memberId);
    this.members.delete(memberId);
    this.pendingJoin.delete(memberId);
    this.pendingSync.delete(memberId);
    if (member.groupInstanceId !== null) this.staticMembers.delete(member.groupInstanceId);
    if (next.leader === memberId) next.leader = this.members.keys().next().value;
    this.outcome.cancel(sessionTimer(next.groupId, memberId));
  }

  private answerJoin(member: ClassicMember, reply: JoinGroupResponse): void {
    if (member.awaitingJoin === NO_ASK) return;
    this.outcome.answer<"JoinGroup">(member.awaitingJoin, reply);
    this.put({ ...member, awaitingJoin: NO_ASK });
  }

  private answerSync(member: ClassicMember, reply: SyncGroupResponse): void {
    if (member.awaitingSync === NO_ASK) return;
    this.outcome.answer<"SyncGroup">(member.awaitingSync, reply);
    this.put({ ...this.member(member.memberId), awaitingSync: NO_ASK });
  }

  /** Nobody of the generation that could not complete keeps an assignment. */
  private failSyncs(error: number): void {
    for (const member of [...this.members.values()]) {
      const waits = member.awaitingSync !== NO_ASK;
      this.answerSync(member, syncError(error));
      this.put({ ...this.member(member.memberId), assignment: NO_ASSIGNMENT });
      if (waits) this.armSession(member.memberId, member.sessionTimeoutMs);
    }
  }

  private clearPendingSync(): void {
    this.pendingSync.clear();
    this.outcome.cancel(syncTimer(this.next.groupId));
  }

  private moveTo(state: ClassicGroupState): void {
    const { next } = this;
    invariant(PREVIOUS[state].includes(next.state), `group ${next.groupId} cannot go from ${next.state} to ${state}`);
    next.state = state;
    next.stateTimestamp = this.now;
  }
}

/** Copies, so that a member does not keep its request's whole frame. */
const ownProtocols = ({ protocols }: JoinGroupRequest): ReadonlyArray<ClassicProtocol> =>
  protocols.map(({ name, metadata }) => ({ name, metadata: metadata.slice() }));

/** A JoinGroup's refusal; the names are null, which versions up to 6 write as "". */
export const joinError = (memberId: string, errorCode: number): JoinGroupResponse => ({
  throttleTimeMs: 0,
  errorCode,
  generationId: -1,
  protocolType: null,
  protocolName: null,
  leader: "",
  skipAssignment: false,
  memberId,
  members: [],
});

export const syncError = (errorCode: number): SyncGroupResponse => ({
  throttleTimeMs: 0,
  errorCode,
  protocolType: null,
  protocolName: null,
  assignment: NO_ASSIGNMENT,
});

export const syncReply = (group: ClassicGroup, member: ClassicMember): SyncGroupResponse => ({
  throttleTimeMs: 0,
  errorCode: Errors.NONE,
  protocolType: group.protocolType ?? null,
  protocolName: group.protocolName ?? null,
  assignment: member.assignment,
});
