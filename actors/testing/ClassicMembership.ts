/**
 * Membership in a group of the classic protocol: JoinGroup, SyncGroup, heartbeats, the assignment by whichever member
 * leads (eager or cooperative, by the assignors), by the rules of librdkafka and of Kafka's own client. What must stay
 * true: a member whose session is over, or that the group does not know any more, owns nothing from then on; with an
 * eager assignor nothing is owned while the member joins.
 */

import { readAssignment, readSubscription } from "../../src/group/EmbeddedProtocol.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import type { MonotonicMs, TopicPartition } from "../../src/prelude/Types.ts";
import { ApiKey, type KnownApiKey, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { encodeConsumerProtocolAssignment } from "../../src/protocol/generated/ConsumerProtocolAssignment.ts";
import { encodeConsumerProtocolSubscription } from "../../src/protocol/generated/ConsumerProtocolSubscription.ts";
import { type AssignorName, assign, PROTOCOL_OF, type Subscriber } from "./Assignors.ts";
import type { CoordinatorCall } from "./Coordinators.ts";
import {
  type GroupEvent,
  type GroupMembership,
  type GroupNews,
  type MembershipOwner,
  without,
} from "./GroupMembership.ts";
import type { KafkaClient } from "./KafkaClient.ts";
import { KafkaError } from "./KafkaError.ts";
import type { GroupIdentity } from "./Offsets.ts";

export interface ClassicMembershipOptions {
  readonly groupId: string;
  readonly groupInstanceId: string | null;
  /** Names, or what they must match. */
  readonly topics: ReadonlyArray<string> | RegExp;
  readonly assignors: ReadonlyArray<AssignorName>;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  /** How long the application may take between two polls; a rebalance waits as long for it (`max.poll.interval.ms`). */
  readonly maxPollIntervalMs: number;
  /** How old the leader's knowledge of the topics may become (`metadata.max.age.ms`). */
  readonly metadataMaxAgeMs: number;
  readonly purpose: string;
  readonly instance: number;
  readonly observe: ((event: GroupEvent) => void) | undefined;
}

interface Joined {
  readonly generation: number;
  readonly partitions: ReadonlyArray<TopicPartition>;
}

const SUBSCRIPTION_VERSION = 2;
const ASSIGNMENT_VERSION = 0;
const NOBODY = "";

type TopicPartitions = Array<{ topic: string; partitions: number[] }>;

const grouped = (partitions: ReadonlyArray<TopicPartition>): TopicPartitions =>
  [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
    topic,
    partitions: ofTopic.map(({ partition }) => partition),
  }));

const flat = (topics: ReadonlyArray<{ topic: string; partitions: ReadonlyArray<number> }>): TopicPartition[] =>
  topics.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })));

export class ClassicMembership implements GroupMembership {
  private memberId = NOBODY;
  private generation = -1;
  /** The generation whose assignment it has taken over: what it reads is its own by this one only. */
  private ownedSince = -1;
  private joinNeeded = true;
  private joining: Promise<Joined> | undefined;
  private fatal: KafkaError | undefined;
  private stopped = false;
  private cancelBeat: () => void = () => {};
  private polledAt: MonotonicMs;
  private checkedAt: MonotonicMs;
  /** Topics and partitions as the leader has assigned them, or the topics that a pattern matched. */
  private seen = "";

  constructor(
    private readonly client: KafkaClient,
    private readonly owner: MembershipOwner,
    private readonly options: ClassicMembershipOptions,
  ) {
    this.polledAt = this.now();
    this.checkedAt = this.polledAt;
  }

  get identity(): GroupIdentity {
    const { groupId, groupInstanceId } = this.options;
    return { groupId, generationId: this.ownedSince, memberId: this.memberId, groupInstanceId };
  }

  async progress(deadline: MonotonicMs): Promise<void> {
    this.polledAt = this.now();
    for (;;) {
      if (this.fatal !== undefined) throw this.fatal;
      if (this.joining === undefined) {
        if (!this.joinNeeded) await this.checkTopics();
        if (!this.joinNeeded) return;
        this.joinNeeded = false;
        if (this.isEager) await this.giveUp(this.owner.owned);
        this.cancelBeat();
        this.joining = this.join();
        this.joining.catch(() => {});
      }
      const joined = await this.client.within(this.joining, deadline);
      this.polledAt = this.now();
      if (joined === undefined) return;
      this.joining = undefined;
      if (joined.generation === this.generation) await this.install(joined.partitions);
      else this.joinNeeded = true;
    }
  }

  async leave(deadline: MonotonicMs): Promise<void> {
    await this.giveUp(this.owner.owned);
    this.abandon();
    // A static member stays: it will be back, or its session runs out.
    if (this.options.groupInstanceId !== null) return;
    // The group waits for whoever it has given an id to: what a join that is under way is told has to be given back.
    const settled = this.joining?.then(
      () => {},
      () => {},
    );
    if (this.memberId === NOBODY && settled !== undefined) await this.client.within(settled, deadline);
    if (this.memberId !== NOBODY) await this.sendLeave(this.memberId, deadline);
  }

  abandon(): void {
    this.stopped = true;
    this.cancelBeat();
  }

  private get isEager(): boolean {
    return this.options.assignors.some((name) => PROTOCOL_OF[name] === "eager");
  }

  private now(): MonotonicMs {
    return this.client.platform.clock.monotonic();
  }

  private emit(news: GroupNews): void {
    const { groupId, instance, observe } = this.options;
    const own = { group: groupId, instance, memberId: this.memberId, generation: this.generation };
    observe?.({ ...own, ...news });
  }

  private async giveUp(partitions: ReadonlyArray<TopicPartition>): Promise<void> {
    if (partitions.length === 0) return;
    await this.owner.revoke(partitions);
    this.emit({ type: "released", partitions });
  }

  /** The group knows this member no more, or may not: what it owned may be somebody else's by now. */
  private forget(memberToo: boolean): void {
    this.cancelBeat();
    const partitions = this.owner.owned;
    if (partitions.length > 0) {
      this.owner.lose(partitions);
      this.emit({ type: "lost", partitions });
    }
    this.generation = -1;
    this.ownedSince = -1;
    if (memberToo) this.memberId = NOBODY;
    this.joinNeeded = true;
  }

  private async install(partitions: ReadonlyArray<TopicPartition>): Promise<void> {
    const { generation } = this;
    this.ownedSince = generation;
    const revoked = without(this.owner.owned, partitions);
    await this.giveUp(revoked);
    // The session may have ended while the application was giving up.
    if (this.generation !== generation) return;
    // What was given up goes to others in the next round, which the one who gave up begins.
    if (revoked.length > 0) this.joinNeeded = true;
    const gained = without(partitions, this.owner.owned);
    await this.owner.acquire(gained);
    if (gained.length > 0) this.emit({ type: "owned", partitions: gained });
  }

  private async join(): Promise<Joined> {
    for (;;) {
      const joined = await this.joinGroup();
      if (joined === undefined) continue;
      const partitions = await this.syncGroup(joined);
      if (partitions === undefined) continue;
      return { generation: this.generation, partitions };
    }
  }

  /** Undefined: to be tried again. */
  private async joinGroup(): Promise<ResponseOf<11> | undefined> {
    const { options } = this;
    const topics = await this.topics();
    const { answer, code } = await this.call(
      ApiKey.JoinGroup,
      () => ({
        groupId: options.groupId,
        sessionTimeoutMs: options.sessionTimeoutMs,
        rebalanceTimeoutMs: options.maxPollIntervalMs,
        memberId: this.memberId,
        groupInstanceId: options.groupInstanceId,
        protocolType: "consumer",
        protocols: options.assignors.map((name) => ({ name, metadata: this.subscription(topics) })),
      }),
      ({ errorCode }) => errorCode,
      options.maxPollIntervalMs + 5000,
    );
    switch (code) {
      case Errors.NONE:
        this.memberId = answer.memberId;
        this.generation = answer.generationId;
        this.emit({ type: "joined", leader: answer.leader, protocol: answer.protocolName ?? "" });
        // Between the join and the assignment the session has to be kept as well.
        this.beatLater();
        return answer;
      case Errors.MEMBER_ID_REQUIRED:
        this.memberId = answer.memberId;
        return undefined;
      case Errors.UNKNOWN_MEMBER_ID:
        this.forget(true);
        return undefined;
      case Errors.ILLEGAL_GENERATION:
        this.forget(false);
        return undefined;
      case Errors.REBALANCE_IN_PROGRESS:
        await this.client.sleep(this.client.options.retryBackoffMs ?? 100);
        return undefined;
      default:
        throw this.end(new KafkaError(code, `JoinGroup of ${options.groupId}`));
    }
  }

  /** Undefined: the group has to be joined again. */
  private async syncGroup(joined: ResponseOf<11>): Promise<ReadonlyArray<TopicPartition> | undefined> {
    const { groupId, groupInstanceId } = this.options;
    const { generation } = this;
    const leads = joined.leader === this.memberId && !joined.skipAssignment;
    const assignments = leads ? await this.assignAll(joined) : [];
    const { answer, code } = await this.call(
      ApiKey.SyncGroup,
      () => ({
        groupId,
        generationId: generation,
        memberId: this.memberId,
        groupInstanceId,
        protocolType: "consumer",
        protocolName: joined.protocolName,
        assignments,
      }),
      ({ errorCode }) => errorCode,
      this.options.maxPollIntervalMs + 5000,
    );
    switch (code) {
      case Errors.NONE: {
        if (this.generation !== generation) return undefined;
        this.joinNeeded = false;
        const assignment = answer.assignment.length === 0 ? undefined : readAssignment(answer.assignment);
        const partitions = flat(assignment?.assignedPartitions ?? []);
        this.emit({ type: "synced", partitions });
        return partitions;
      }
      case Errors.REBALANCE_IN_PROGRESS:
        return undefined;
      case Errors.UNKNOWN_MEMBER_ID:
        this.forget(true);
        return undefined;
      case Errors.ILLEGAL_GENERATION:
        this.forget(false);
        return undefined;
      default:
        throw this.end(new KafkaError(code, `SyncGroup of ${groupId}`));
    }
  }

  /** The leader's part. */
  private async assignAll(joined: ResponseOf<11>): Promise<Array<{ memberId: string; assignment: Uint8Array }>> {
    const members = joined.members.map(({ memberId, metadata }): Subscriber => {
      const subscription = readSubscription(metadata);
      return {
        memberId,
        topics: subscription?.topics ?? [],
        owned: flat(subscription?.ownedPartitions ?? []),
        generation: subscription?.generationId ?? -1,
      };
    });
    const names = [...new Set(members.flatMap(({ topics }) => topics))].sort();
    const counts = await this.partitionCounts(names);
    this.seen = JSON.stringify([...counts]);
    this.checkedAt = this.now();
    const assignment = assign(joined.protocolName as AssignorName, members, counts);
    this.emit({ type: "assigned", assignment });
    return [...assignment].map(([memberId, partitions]) => {
      const writer = new ByteWriter();
      writer.int16(ASSIGNMENT_VERSION);
      const assignedPartitions = grouped(partitions);
      encodeConsumerProtocolAssignment(writer, { assignedPartitions, userData: null }, ASSIGNMENT_VERSION);
      return { memberId, assignment: writer.toBytes() };
    });
  }

  private subscription(topics: ReadonlyArray<string>): Uint8Array {
    const writer = new ByteWriter();
    writer.int16(SUBSCRIPTION_VERSION);
    const subscription = {
      topics: [...topics],
      userData: null,
      ownedPartitions: grouped(this.owner.owned),
      generationId: this.ownedSince,
      rackId: null,
    };
    encodeConsumerProtocolSubscription(writer, subscription, SUBSCRIPTION_VERSION);
    return writer.toBytes();
  }

  private async topics(): Promise<ReadonlyArray<string>> {
    const { topics } = this.options;
    if (!(topics instanceof RegExp)) return topics;
    const { topics: all } = await this.client.metadata(null);
    return all.flatMap(({ name, isInternal }) => (name !== null && !isInternal && topics.test(name) ? [name] : []));
  }

  private async partitionCounts(names: ReadonlyArray<string>): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    if (names.length === 0) return counts;
    const { topics } = await this.client.metadata(names);
    for (const { name, errorCode, partitions } of topics) {
      if (name !== null && errorCode === Errors.NONE && partitions.length > 0) counts.set(name, partitions.length);
    }
    return counts;
  }

  /** Now and then the leader, and whoever subscribes to a pattern, look whether the topics are still the same. */
  private async checkTopics(): Promise<void> {
    if (this.now() - this.checkedAt < this.options.metadataMaxAgeMs) return;
    this.checkedAt = this.now();
    const isPattern = this.options.topics instanceof RegExp;
    if (!isPattern && this.seen === "") return;
    const counts = await this.partitionCounts(await this.topics()).catch(() => undefined);
    if (counts === undefined) return;
    const seen = JSON.stringify([...counts].sort());
    const before = this.seen === "" ? seen : JSON.stringify((JSON.parse(this.seen) as unknown[]).sort());
    if (seen !== before) this.joinNeeded = true;
    this.seen = seen;
  }

  private beatLater(): void {
    this.cancelBeat();
    const { generation } = this;
    this.cancelBeat = this.client.platform.clock.after(this.options.heartbeatIntervalMs, () => {
      this.beat(generation).catch((error: unknown) => {
        if (this.stopped || this.generation !== generation) return;
        // No answer for a whole session: whether the group has given this member up nobody here can tell.
        if (error instanceof KafkaError) this.end(error);
        this.forget(true);
      });
    });
  }

  private async beat(generation: number): Promise<void> {
    const { groupId, groupInstanceId, sessionTimeoutMs, maxPollIntervalMs } = this.options;
    const sentAt = this.now();
    if (this.joining === undefined && sentAt - this.polledAt > maxPollIntervalMs) {
      const { memberId } = this;
      this.forget(true);
      if (groupInstanceId === null) await this.sendLeave(memberId, sentAt + sessionTimeoutMs);
      return;
    }
    let attemptedAt = sentAt;
    const { code } = await this.call(
      ApiKey.Heartbeat,
      () => {
        attemptedAt = this.now();
        return { groupId, generationId: generation, memberId: this.memberId, groupInstanceId };
      },
      ({ errorCode }) => errorCode,
      undefined,
      sentAt + sessionTimeoutMs,
    );
    if (this.stopped || this.generation !== generation) return;
    switch (code) {
      case Errors.NONE:
      case Errors.REBALANCE_IN_PROGRESS:
        this.emit({ type: "heartbeat", sentAt: attemptedAt, sessionTimeoutMs, isBlind: code === Errors.NONE });
        if (code !== Errors.NONE && this.joining === undefined) this.joinNeeded = true;
        this.beatLater();
        return;
      case Errors.UNKNOWN_MEMBER_ID:
        return this.forget(true);
      case Errors.ILLEGAL_GENERATION:
        return this.forget(false);
      default:
        this.end(new KafkaError(code, `Heartbeat of ${groupId}`));
        this.forget(true);
    }
  }

  private async sendLeave(memberId: string, deadline: MonotonicMs): Promise<void> {
    const { groupId } = this.options;
    try {
      await this.client.coordinators.call({
        kind: "group",
        key: groupId,
        apiKey: ApiKey.LeaveGroup,
        message: (version) =>
          version < 3
            ? { groupId, memberId }
            : { groupId, members: [{ memberId, groupInstanceId: null, reason: "the consumer is closing" }] },
        errorOf: ({ errorCode, members }) => (errorCode === Errors.NONE ? (members[0]?.errorCode ?? 0) : errorCode),
        deadline,
        purpose: this.options.purpose,
      });
      this.emit({ type: "left" });
    } catch {
      // Its session runs out.
    }
  }

  private end(error: KafkaError): KafkaError {
    this.fatal ??= error;
    return error;
  }

  private call<K extends KnownApiKey>(
    apiKey: K,
    message: CoordinatorCall<K>["message"],
    errorOf: (answer: ResponseOf<K>) => number,
    timeoutMs?: number,
    deadline: MonotonicMs = Number.POSITIVE_INFINITY,
  ) {
    return this.client.coordinators.call({
      kind: "group",
      key: this.options.groupId,
      apiKey,
      message,
      errorOf,
      deadline,
      purpose: this.options.purpose,
      cancelled: () => this.stopped,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }
}
