/**
 * A consumer of the classic protocol as `ConsumerWorld` runs it: eager (it gives everything up before it joins again),
 * with a range assignment when it leads. It asks without waiting, since a join is answered by what others do.
 */
import { expect } from "bun:test";
import { groupOf } from "../../src/group/CoordinatorState.ts";
import { readAssignment, readSubscription, writeAssignment } from "../../src/group/EmbeddedProtocol.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { encodeConsumerProtocolSubscription } from "../../src/protocol/generated/ConsumerProtocolSubscription.ts";
import type { JoinGroupResponse } from "../../src/protocol/generated/JoinGroupResponse.ts";
import type { SyncGroupResponse } from "../../src/protocol/generated/SyncGroupResponse.ts";
import { type Coordinator, GROUP } from "./ConsumerWorld.ts";

export const SESSION_MS = 30_000;

export const subscription = (topics: ReadonlyArray<string>, version = 1): Uint8Array => {
  const writer = new ByteWriter();
  writer.int16(version);
  const message = { topics: [...topics], userData: null, ownedPartitions: [], generationId: -1, rackId: null };
  encodeConsumerProtocolSubscription(writer, message, version);
  return writer.toBytes();
};

export class ClassicConsumer {
  memberId = "";
  generation = -1;
  owned = new Set<string>();
  alive = true;
  lastError = 0;
  private phase: "join" | "joining" | "sync" | "syncing" | "stable" = "join";
  private ask = -1;
  private life = 0;
  private joined: JoinGroupResponse | undefined;

  constructor(
    readonly coordinator: Coordinator,
    private readonly topics: ReadonlyArray<string>,
    readonly instanceId: string | null = null,
  ) {}

  get isStable(): boolean {
    return this.phase === "stable";
  }

  /** Goes on as far as it can without waiting. */
  beat(): void {
    for (let step = 0; this.alive && step < 4; step++) {
      const before = this.phase;
      this.step();
      if (this.phase === before) return;
    }
  }

  private tell(command: Parameters<Coordinator["tell"]>[0]): void {
    this.life = this.coordinator.lives;
    this.ask = this.coordinator.tell(command);
  }

  private answer<Reply>(): Reply | undefined {
    return this.coordinator.answered.get(this.ask) as Reply | undefined;
  }

  private step(): void {
    const { coordinator, memberId, generation, instanceId } = this;
    // The coordinator is another: nobody will answer.
    const isLost = this.life !== coordinator.lives;
    switch (this.phase) {
      case "join":
        this.owned = new Set();
        this.phase = "joining";
        return this.tell({
          type: "JoinGroup",
          version: 9,
          client: { clientId: "classic", host: "/127.0.0.1" },
          uuid: coordinator.uuid(),
          request: {
            groupId: GROUP,
            sessionTimeoutMs: SESSION_MS,
            rebalanceTimeoutMs: 60_000,
            memberId,
            groupInstanceId: instanceId,
            protocolType: "consumer",
            protocols: [{ name: "range", metadata: subscription(this.topics) }],
            reason: null,
          },
        });
      case "joining": {
        const reply = this.answer<JoinGroupResponse>();
        if (reply !== undefined) return this.onJoined(reply);
        if (isLost) this.phase = "join";
        return;
      }
      case "sync":
        this.phase = "syncing";
        return this.tell({
          type: "SyncGroup",
          version: 5,
          request: {
            groupId: GROUP,
            generationId: generation,
            memberId,
            groupInstanceId: instanceId,
            protocolType: "consumer",
            protocolName: "range",
            assignments: this.lead(),
          },
        });
      case "syncing": {
        const reply = this.answer<SyncGroupResponse>();
        if (reply !== undefined) return this.onSynced(reply);
        if (isLost) this.phase = "join";
        return;
      }
      case "stable": {
        const request = { groupId: GROUP, generationId: generation, memberId, groupInstanceId: instanceId };
        this.onError(coordinator.ask({ type: "Heartbeat", version: 4, request }).errorCode);
      }
    }
  }

  private onJoined(reply: JoinGroupResponse): void {
    if (reply.errorCode === Errors.MEMBER_ID_REQUIRED) {
      this.memberId = reply.memberId;
      this.phase = "join";
      return;
    }
    if (reply.errorCode !== Errors.NONE) return this.onError(reply.errorCode);
    this.memberId = reply.memberId;
    this.generation = reply.generationId;
    this.joined = reply;
    this.phase = "sync";
  }

  private onSynced(reply: SyncGroupResponse): void {
    if (reply.errorCode !== Errors.NONE) return this.onError(reply.errorCode);
    const { topicsByName } = this.coordinator.cluster.image;
    const assigned = reply.assignment.length === 0 ? [] : readAssignment(reply.assignment)!.assignedPartitions;
    this.owned = new Set(
      assigned.flatMap(({ topic, partitions }) => partitions.map((p) => `${topicsByName.get(topic)?.id}-${p}`)),
    );
    this.phase = "stable";
  }

  private onError(error: number): void {
    this.lastError = error;
    switch (error) {
      case Errors.NONE:
        return;
      case Errors.REBALANCE_IN_PROGRESS:
        break;
      case Errors.UNKNOWN_MEMBER_ID:
        this.memberId = "";
        break;
      case Errors.ILLEGAL_GENERATION:
        break;
      case Errors.FENCED_INSTANCE_ID:
        return this.crash();
      default:
        expect(error).toBe(Errors.NONE);
    }
    this.owned = new Set();
    this.phase = "join";
  }

  /** Consecutive partitions to the members in order. */
  private lead() {
    const { joined } = this;
    if (joined === undefined || joined.leader !== this.memberId) return [];
    const { topicsByName } = this.coordinator.cluster.image;
    const members = joined.members.map(({ memberId, metadata }) => ({
      memberId,
      metadata,
      topics: readSubscription(metadata)!.topics,
      assignedPartitions: [] as Array<{ topic: string; partitions: number[] }>,
    }));
    for (const topic of new Set(members.flatMap(({ topics }) => topics))) {
      const subscribers = members.filter(({ topics }) => topics.includes(topic));
      const count = topicsByName.get(topic)?.partitions.length ?? 0;
      for (const [index, { assignedPartitions }] of subscribers.entries()) {
        const partitions = Array.from({ length: count }, (_, p) => p).filter((p) => p % subscribers.length === index);
        assignedPartitions.push({ topic, partitions });
      }
    }
    return members.map(({ memberId, metadata, assignedPartitions }) => ({
      memberId,
      assignment: writeAssignment({ assignedPartitions, userData: null }, metadata),
    }));
  }

  leave(): void {
    if (!this.alive) return;
    const { memberId, instanceId } = this;
    this.crash();
    if (memberId === "") return;
    const members = [{ memberId, groupInstanceId: instanceId, reason: null }];
    this.coordinator.ask({ type: "LeaveGroup", version: 5, request: { groupId: GROUP, memberId: "", members } });
  }

  crash(): void {
    this.alive = false;
    this.owned = new Set();
  }
}

/** No partition is consumed by two clients that the coordinator still counts as members, whichever protocol they speak. */
export const noDoubleOwner = (
  consumers: ReadonlyArray<{ coordinator: Coordinator; alive: boolean; memberId: string; owned: Set<string> }>,
): void => {
  const owner = new Map<string, string>();
  for (const { coordinator, alive, memberId, owned } of consumers) {
    if (!alive || groupOf(coordinator, GROUP)?.members.has(memberId) !== true) continue;
    for (const partition of owned) {
      const other = owner.get(partition);
      if (other !== undefined) throw new Error(`${other} and ${memberId} both consume ${partition}`);
      owner.set(partition, memberId);
    }
  }
};
