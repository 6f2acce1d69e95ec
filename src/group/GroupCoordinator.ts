/**
 * One coordinator's behaviour: a command and what is known lead to events, replies, the next volatile state and timers.
 * `decide` reads and changes nothing: the actor folds the events into the journal (`GroupJournal.evolve`), keeps the
 * volatile state, arms the timers and releases the replies when everything decided so far is committed. What must stay
 * true: one command's events are one record batch; time, ids and the metadata image arrive with the command; every
 * ask is answered exactly once, at once or by a later decision that names it.
 */
import type { BrokerConfig } from "../config/BrokerConfig.ts";
import type { VerificationGuard } from "../log/Verifications.ts";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import type { ProducerEpoch, ProducerId, Timestamp, Uuid } from "../prelude/Types.ts";
import type { ConsumerGroupDescribeResponse } from "../protocol/generated/ConsumerGroupDescribeResponse.ts";
import type { ConsumerGroupHeartbeatRequest } from "../protocol/generated/ConsumerGroupHeartbeatRequest.ts";
import type { ConsumerGroupHeartbeatResponse } from "../protocol/generated/ConsumerGroupHeartbeatResponse.ts";
import type { DeleteGroupsResponse } from "../protocol/generated/DeleteGroupsResponse.ts";
import type { DescribeGroupsResponse } from "../protocol/generated/DescribeGroupsResponse.ts";
import type { HeartbeatRequest } from "../protocol/generated/HeartbeatRequest.ts";
import type { HeartbeatResponse } from "../protocol/generated/HeartbeatResponse.ts";
import type { JoinGroupRequest } from "../protocol/generated/JoinGroupRequest.ts";
import type { JoinGroupResponse } from "../protocol/generated/JoinGroupResponse.ts";
import type { LeaveGroupRequest } from "../protocol/generated/LeaveGroupRequest.ts";
import type { LeaveGroupResponse } from "../protocol/generated/LeaveGroupResponse.ts";
import type { ListGroupsResponse } from "../protocol/generated/ListGroupsResponse.ts";
import type { OffsetCommitRequest } from "../protocol/generated/OffsetCommitRequest.ts";
import type { OffsetCommitResponse } from "../protocol/generated/OffsetCommitResponse.ts";
import type { OffsetDeleteRequest } from "../protocol/generated/OffsetDeleteRequest.ts";
import type { OffsetDeleteResponse } from "../protocol/generated/OffsetDeleteResponse.ts";
import type { OffsetFetchRequestGroup } from "../protocol/generated/OffsetFetchRequest.ts";
import type { OffsetFetchResponseGroup } from "../protocol/generated/OffsetFetchResponse.ts";
import type { SyncGroupRequest } from "../protocol/generated/SyncGroupRequest.ts";
import type { SyncGroupResponse } from "../protocol/generated/SyncGroupResponse.ts";
import type { TxnOffsetCommitRequest } from "../protocol/generated/TxnOffsetCommitRequest.ts";
import type { TxnOffsetCommitResponse } from "../protocol/generated/TxnOffsetCommitResponse.ts";
import type { AskId, ClassicGroup } from "./ClassicGroup.ts";
import type { ConsumerGroupVolatile } from "./ConsumerGroupVolatile.ts";
import type { GroupJournal } from "./GroupJournal.ts";
import type { GroupRecord } from "./GroupRecords.ts";
import type { RegexResolution } from "./SubscribedRegex.ts";

/** Who sent a request. */
export interface Client {
  readonly clientId: string;
  /** As Kafka writes it: a slash and the address. */
  readonly host: string;
}

export interface TransactionOfRecords {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly verification: { readonly guard: VerificationGuard | undefined; readonly supportsEpochBump: boolean };
}

/** What each command carries, and what answers it. Every command but the timers' has an asker. */
export interface GroupCommandTypes {
  JoinGroup: {
    command: {
      readonly request: JoinGroupRequest;
      readonly version: number;
      readonly client: Client;
      /** A fresh UUID: what a new member's id ends with. */
      readonly uuid: Uuid;
    };
    reply: JoinGroupResponse;
  };
  SyncGroup: { command: { readonly request: SyncGroupRequest; readonly version: number }; reply: SyncGroupResponse };
  Heartbeat: { command: { readonly request: HeartbeatRequest; readonly version: number }; reply: HeartbeatResponse };
  LeaveGroup: { command: { readonly request: LeaveGroupRequest; readonly version: number }; reply: LeaveGroupResponse };
  OffsetCommit: {
    /** Topics are resolved (name and id both there) and exist; what does not is answered by the handler. */
    command: { readonly request: OffsetCommitRequest; readonly version: number };
    reply: OffsetCommitResponse;
  };
  TxnOffsetCommit: {
    /** The offsets count when the transaction commits. */
    command: {
      readonly request: TxnOffsetCommitRequest;
      /** Of the request, resolved: only what exists, and only what is answered. */
      readonly topics: ReadonlyArray<TxnOffsetCommitRequest["topics"][number] & { readonly topicId: Uuid }>;
      /** That the transaction includes this coordinator's partition: open here already, or verified under the guard. */
      readonly guard: VerificationGuard | undefined;
      /** The client speaks transactions version 2. */
      readonly supportsEpochBump: boolean;
    };
    reply: TxnOffsetCommitResponse;
  };
  OffsetFetch: {
    /** Names and ids of topics are both filled in; topics null: all of the group's. */
    command: { readonly group: OffsetFetchRequestGroup; readonly requireStable: boolean; readonly version: number };
    reply: OffsetFetchResponseGroup;
  };
  OffsetDelete: { command: { readonly request: OffsetDeleteRequest }; reply: OffsetDeleteResponse };
  ListGroups: { command: Record<never, never>; reply: ListGroupsResponse["groups"] };
  DescribeGroups: {
    command: { readonly groupIds: ReadonlyArray<string>; readonly version: number };
    reply: DescribeGroupsResponse["groups"];
  };
  DeleteGroups: { command: { readonly groupIds: ReadonlyArray<string> }; reply: DeleteGroupsResponse["results"] };
  ConsumerGroupHeartbeat: {
    command: {
      readonly request: ConsumerGroupHeartbeatRequest;
      readonly version: number;
      readonly client: Client;
      /** A fresh UUID: the id of a member that brings none (v0). */
      readonly uuid: Uuid;
      /** Whether who asks may know of a topic: no other one is told to match a regular expression. Undefined: of any. */
      readonly mayDescribe?: (topic: string) => boolean;
    };
    reply: ConsumerGroupHeartbeatResponse;
  };
  ConsumerGroupDescribe: {
    command: { readonly groupIds: ReadonlyArray<string>; readonly version: number };
    reply: ConsumerGroupDescribeResponse["groups"];
  };
  /** Topics are gone from the metadata: their offsets go. */
  TopicsDeleted: { command: { readonly topics: ReadonlyArray<{ name: string; id: Uuid }> }; reply: undefined };
  /** Timers' commands: nobody asks. */
  ExpireOffsets: { command: Record<never, never>; reply: undefined };
  JoinDeadline: { command: { readonly groupId: string }; reply: undefined };
  SyncDeadline: { command: { readonly groupId: string; readonly generation: number }; reply: undefined };
  SessionDeadline: { command: { readonly groupId: string; readonly memberId: string }; reply: undefined };
  /** KIP-848 members: the session, and the time to give partitions back. */
  ConsumerSessionDeadline: { command: { readonly groupId: string; readonly memberId: string }; reply: undefined };
  ConsumerRebalanceDeadline: {
    command: { readonly groupId: string; readonly memberId: string; readonly memberEpoch: number };
    reply: undefined;
  };
  /** The next slice of resolving a group's regular expressions, begun at `startedAt` against image `version`. */
  ConsumerRegexResolution: {
    command: {
      readonly groupId: string;
      readonly resolution: RegexResolution;
      readonly version: number;
      readonly startedAt: Timestamp;
    };
    reply: undefined;
  };
}

export type GroupCommandType = keyof GroupCommandTypes;
export type GroupCommand<Type extends GroupCommandType = GroupCommandType> = {
  [T in Type]: { readonly type: T } & GroupCommandTypes[T]["command"];
}[Type];
export type GroupReply<Type extends GroupCommandType> = GroupCommandTypes[Type]["reply"];

export { type AskId, NO_ASK } from "./ClassicGroup.ts";

export interface Answer {
  readonly ask: AskId;
  readonly reply: GroupReply<GroupCommandType>;
}

/**
 * One timer of the coordinator's by its key: armed anew (the old deadline is void), or cancelled. The command is decided
 * when its time has come and the timer was not armed anew since.
 */
export interface TimerChange {
  readonly key: string;
  /** Milliseconds from now; undefined cancels. */
  readonly afterMs: number | undefined;
  readonly command: GroupCommand | undefined;
}

/** The next volatile state of one group; undefined: it has none any more. */
export interface VolatileChange {
  readonly groupId: string;
  readonly group: VolatileGroup | undefined;
}

/** What a group is beside its records. A consumer group's is made and read by the KIP-848 files only. */
export type VolatileGroup = ClassicGroup | ConsumerGroupVolatile;

export interface Decision {
  /** In order; they become one record batch. */
  readonly records: ReadonlyArray<GroupRecord>;
  /** The records belong to this producer's transaction. */
  readonly transaction?: TransactionOfRecords | undefined;
  /** The records may be spread over several batches: each stands for itself (expiry, deletion). */
  readonly divisible?: boolean;
  readonly answers: ReadonlyArray<Answer>;
  readonly volatile: ReadonlyArray<VolatileChange>;
  readonly timers: ReadonlyArray<TimerChange>;
}

/** What `decide` reads. The journal is ahead of what is committed; replies wait for that. */
export interface CoordinatorState {
  readonly journal: GroupJournal;
  readonly volatile: ReadonlyMap<string, VolatileGroup>;
  /** By group: what earlier readings of the log told its members (`ClassicGroup.toldGeneration`). */
  readonly told: ReadonlyMap<string, number>;
}

export interface DecideContext {
  /** Wall clock. */
  readonly now: Timestamp;
  readonly image: MetadataImage;
  readonly config: BrokerConfig;
  /** Of the command's asker, where there is an authorizer. */
  readonly mayDescribe?: (topic: string) => boolean;
}
