/** A member of a classic group as a well-behaved client is one: it follows what it is answered. */
import type { AskId } from "../../src/group/ClassicGroup.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import type { JoinGroupResponse } from "../../src/protocol/generated/JoinGroupResponse.ts";
import { type CoordinatorWorld, topicIdOf } from "./CoordinatorWorld.ts";

export const CLIENT = { clientId: "client", host: "/10.0.0.8" } as const;
export const SESSION_MS = 10_000;
export const REBALANCE_MS = 30_000;

/** A subscription of the consumers' embedded protocol, version 0. */
export const subscription = (...topics: string[]): Uint8Array => {
  const writer = new ByteWriter();
  writer.int16(0);
  writer.int32(topics.length);
  for (const topic of topics) writer.string(topic);
  writer.nullableByteField(null);
  return writer.toBytes();
};

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export interface Membership {
  readonly instance?: string;
  readonly version?: number;
  readonly topics?: ReadonlyArray<string>;
  readonly protocols?: ReadonlyArray<string>;
  readonly sessionMs?: number;
}

export class ClassicClient {
  memberId = "";
  generation = -1;
  joining: AskId | undefined;
  syncing: AskId | undefined;
  joined: JoinGroupResponse | undefined;
  assignment: string | undefined;
  topics: ReadonlyArray<string>;
  /** Every JoinGroup answer without an error. */
  readonly joins: JoinGroupResponse[] = [];

  constructor(
    private readonly world: CoordinatorWorld,
    readonly groupId: string,
    readonly membership: Membership = {},
  ) {
    this.topics = membership.topics ?? ["t"];
  }

  get instance(): string | null {
    return this.membership.instance ?? null;
  }

  get version(): number {
    return this.membership.version ?? 9;
  }

  get isStable(): boolean {
    return this.assignment !== undefined;
  }

  /** Begins a join; `settle` follows the answer. */
  join(memberId = this.memberId): void {
    this.assignment = undefined;
    this.joined = undefined;
    this.syncing = undefined;
    const metadata = subscription(...this.topics);
    const protocols = (this.membership.protocols ?? ["range"]).map((name) => ({ name, metadata }));
    this.joining = this.world.ask({
      type: "JoinGroup",
      request: {
        groupId: this.groupId,
        sessionTimeoutMs: this.membership.sessionMs ?? SESSION_MS,
        rebalanceTimeoutMs: REBALANCE_MS,
        memberId,
        groupInstanceId: this.instance,
        protocolType: "consumer",
        protocols,
        reason: null,
      },
      version: this.version,
      client: CLIENT,
      uuid: this.world.uuid(),
    });
    this.settle();
  }

  /** Takes whatever answers have come, and sends what follows from them. */
  settle(): void {
    this.takeJoin();
    this.takeSync();
  }

  private takeJoin(): void {
    const reply = this.joining === undefined ? undefined : this.world.reply<"JoinGroup">(this.joining);
    if (reply === undefined) return;
    this.joining = undefined;
    switch (reply.errorCode) {
      case Errors.NONE:
        this.joins.push(reply);
        this.joined = reply;
        this.memberId = reply.memberId;
        this.generation = reply.generationId;
        return this.sync();
      case Errors.MEMBER_ID_REQUIRED:
        this.memberId = reply.memberId;
        return this.join();
      case Errors.UNKNOWN_MEMBER_ID:
      case Errors.FENCED_INSTANCE_ID:
        this.forget();
        return;
      default:
        return;
    }
  }

  /** The leader gives each member its generation and its own name, which a static member keeps. */
  sync(): void {
    const { joined } = this;
    if (joined === undefined) return;
    const leads = joined.leader === this.memberId && !joined.skipAssignment;
    const assignments = leads
      ? joined.members.map(({ memberId, groupInstanceId }) => ({
          memberId,
          assignment: bytes(`${joined.generationId} ${groupInstanceId ?? memberId}`),
        }))
      : [];
    this.syncing = this.world.ask({
      type: "SyncGroup",
      request: {
        groupId: this.groupId,
        generationId: this.generation,
        memberId: this.memberId,
        groupInstanceId: this.instance,
        protocolType: joined.protocolType,
        protocolName: joined.protocolName,
        assignments,
      },
      version: 5,
    });
    this.takeSync();
  }

  private takeSync(): void {
    const reply = this.syncing === undefined ? undefined : this.world.reply<"SyncGroup">(this.syncing);
    if (reply === undefined) return;
    this.syncing = undefined;
    if (reply.errorCode === Errors.NONE) this.assignment = new TextDecoder().decode(reply.assignment);
    else this.refused(reply.errorCode);
  }

  /** The error code of a heartbeat; the client acts on it. */
  heartbeat(): number {
    const { errorCode } = this.world.answer({
      type: "Heartbeat",
      request: {
        groupId: this.groupId,
        generationId: this.generation,
        memberId: this.memberId,
        groupInstanceId: this.instance,
      },
      version: 4,
    });
    if (errorCode !== Errors.NONE) this.refused(errorCode);
    return errorCode;
  }

  private refused(error: number): void {
    if (error === Errors.UNKNOWN_MEMBER_ID || error === Errors.FENCED_INSTANCE_ID) this.forget();
    if (error === Errors.ILLEGAL_GENERATION) this.generation = -1;
    this.assignment = undefined;
    this.joined = undefined;
  }

  /** Commits one offset of `topic` 0 as this member; the partition's error code. */
  commit(offset: number, topic = "t", partition = 0): number {
    return commitOffset(this.world, this.groupId, topic, partition, offset, {
      generation: this.generation,
      memberId: this.memberId,
      instance: this.instance,
    });
  }

  leave(): void {
    this.world.answer({
      type: "LeaveGroup",
      request: {
        groupId: this.groupId,
        memberId: "",
        members: [{ memberId: this.memberId, groupInstanceId: this.instance, reason: null }],
      },
      version: 5,
    });
    this.forget();
  }

  /** Without a word: the session will end. */
  crash(): void {
    this.joining = undefined;
    this.syncing = undefined;
    this.forget();
  }

  private forget(): void {
    this.memberId = "";
    this.generation = -1;
    this.assignment = undefined;
    this.joined = undefined;
  }
}

export const commitOffset = (
  world: CoordinatorWorld,
  groupId: string,
  topic: string,
  partition: number,
  offset: number,
  who: {
    generation?: number;
    memberId?: string;
    instance?: string | null;
    metadata?: string | null;
    version?: number;
  } = {},
): number => {
  const reply = world.answer({
    type: "OffsetCommit",
    request: {
      groupId,
      generationIdOrMemberEpoch: who.generation ?? -1,
      memberId: who.memberId ?? "",
      groupInstanceId: who.instance ?? null,
      retentionTimeMs: -1,
      topics: [
        {
          name: topic,
          topicId: topicIdOf(topic),
          partitions: [
            {
              partitionIndex: partition,
              committedOffset: offset,
              committedLeaderEpoch: 5,
              committedMetadata: who.metadata === undefined ? "m" : who.metadata,
            },
          ],
        },
      ],
    },
    version: who.version ?? 9,
  });
  return reply.topics[0]!.partitions[0]!.errorCode;
};

/** What the group has committed for one partition; -1: nothing. */
export const fetchOffset = (world: CoordinatorWorld, groupId: string, topic: string, partition: number): number => {
  const reply = world.answer({
    type: "OffsetFetch",
    group: {
      groupId,
      memberId: null,
      memberEpoch: -1,
      topics: [{ name: topic, topicId: topicIdOf(topic), partitionIndexes: [partition] }],
    },
    requireStable: false,
    version: 9,
  });
  return reply.topics[0]!.partitions[0]!.committedOffset;
};
