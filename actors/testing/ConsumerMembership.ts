/**
 * Membership in a group of the KIP-848 protocol: one kind of request that says what the member has and hears what it is
 * to have. What must stay true: a partition is given up (the application has been asked) before the coordinator is told
 * so, and taken only when the coordinator has given it; after a fence nothing is owned.
 */
import type { MonotonicMs, TopicPartition, Uuid } from "../../src/prelude/Types.ts";
import { ApiKey, type RequestOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, isRetriable } from "../../src/protocol/Errors.ts";
import { Unanswered } from "./Coordinators.ts";
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

export interface ConsumerMembershipOptions {
  readonly groupId: string;
  readonly groupInstanceId: string | null;
  /** Names, or a regular expression that the broker evaluates. */
  readonly topics: ReadonlyArray<string> | RegExp;
  /** Null: whatever the group uses. */
  readonly serverAssignor: string | null;
  /** What the broker is believed to give a silent member (`group.consumer.session.timeout.ms`); told to observers. */
  readonly sessionTimeoutMs: number;
  readonly maxPollIntervalMs: number;
  readonly purpose: string;
  readonly instance: number;
  readonly observe: ((event: GroupEvent) => void) | undefined;
}

/** Before the coordinator has said how often it wants to hear of the member. */
const FIRST_INTERVAL_MS = 1000;
const JOINING = 0;
const LEAVING = -1;
const LEAVING_FOR_A_WHILE = -2;

export class ConsumerMembership implements GroupMembership {
  private readonly memberId: string;
  private epoch = JOINING;
  private intervalMs = FIRST_INTERVAL_MS;
  private target: ReadonlyArray<{ readonly topicId: Uuid; readonly partitions: ReadonlyArray<number> }> | undefined;
  private fatal: KafkaError | undefined;
  private stopped = false;
  private started = false;
  /** What the coordinator was last told, as text; undefined: everything has to be told. */
  private told: string | undefined;
  /** Of the topics it was given partitions of: what the client knows may be gone while it still owns them. */
  private readonly topicIds = new Map<string, Uuid>();
  /** A heartbeat is under way, and whether another is wanted right behind it. */
  private beating = false;
  private beatAgain = false;
  private cancelBeat: () => void = () => {};
  private wake: () => void = () => {};
  private polledAt: MonotonicMs = 0;

  constructor(
    private readonly client: KafkaClient,
    private readonly owner: MembershipOwner,
    private readonly options: ConsumerMembershipOptions,
  ) {
    this.memberId = client.platform.random.uuid();
  }

  get identity(): GroupIdentity {
    const { groupId, groupInstanceId } = this.options;
    return { groupId, generationId: this.epoch, memberId: this.memberId, groupInstanceId };
  }

  async progress(deadline: MonotonicMs): Promise<void> {
    this.polledAt = this.now();
    if (!this.started) {
      this.started = true;
      this.beatNow();
    }
    for (;;) {
      if (this.fatal !== undefined) throw this.fatal;
      if (this.target !== undefined) {
        if (!(await this.reconcile(deadline))) return;
        continue;
      }
      // A member that has just joined is told what it owns in its first answer.
      if (this.epoch > JOINING) return;
      const told = await this.client.within(
        this.news().then(() => true),
        deadline,
      );
      if (told === undefined) return;
    }
  }

  async leave(deadline: MonotonicMs): Promise<void> {
    const { owned } = this.owner;
    if (owned.length > 0) {
      await this.owner.revoke(owned);
      this.emit({ type: "released", partitions: owned });
    }
    this.abandon();
    // Also when it is not known yet whether the group has it: its first heartbeat may be under way.
    if (!this.started) return;
    const { groupId, groupInstanceId } = this.options;
    const memberEpoch = groupInstanceId === null ? LEAVING : LEAVING_FOR_A_WHILE;
    try {
      await this.client.coordinators.call({
        kind: "group",
        key: groupId,
        apiKey: ApiKey.ConsumerGroupHeartbeat,
        message: () => ({ groupId, memberId: this.memberId, memberEpoch, instanceId: groupInstanceId }),
        errorOf: ({ errorCode }) => errorCode,
        deadline,
        purpose: this.options.purpose,
      });
      this.emit({ type: "left" });
    } catch {
      // Its session runs out.
    }
  }

  abandon(): void {
    this.stopped = true;
    this.cancelBeat();
    this.wake();
  }

  private now(): MonotonicMs {
    return this.client.platform.clock.monotonic();
  }

  private emit(news: GroupNews): void {
    const { groupId, instance, observe } = this.options;
    observe?.({ group: groupId, instance, memberId: this.memberId, generation: this.epoch, ...news });
  }

  private news(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.wake;
      this.wake = () => {
        before();
        resolve();
      };
    });
  }

  private tell(): void {
    const { wake } = this;
    this.wake = () => {};
    wake();
  }

  /** Takes the assignment over; false when its topics are not known before the deadline. */
  private async reconcile(deadline: MonotonicMs): Promise<boolean> {
    const { target, epoch } = this;
    const partitions = await this.client.within(this.named(target!), deadline);
    if (partitions === undefined) return false;
    // Another assignment may have come, or a fence.
    if (this.target !== target) return true;
    const revoked = without(this.owner.owned, partitions);
    if (revoked.length > 0) {
      await this.owner.revoke(revoked);
      this.emit({ type: "released", partitions: revoked });
    }
    if (this.target !== target || this.epoch < epoch) return true;
    this.target = undefined;
    const gained = without(partitions, this.owner.owned);
    if (gained.length > 0) {
      await this.owner.acquire(gained);
      this.emit({ type: "owned", partitions: gained });
    }
    this.beatNow();
    return true;
  }

  private async named(target: NonNullable<typeof this.target>): Promise<TopicPartition[]> {
    const named: TopicPartition[] = [];
    for (const { topicId, partitions } of target) {
      const topic = await this.client.topicNameOf(topicId);
      if (topic === undefined) continue;
      this.topicIds.set(topic, topicId);
      named.push(...partitions.map((partition) => ({ topic, partition })));
    }
    return named;
  }

  private beatNow(): void {
    if (this.stopped) return;
    if (this.beating) {
      this.beatAgain = true;
      return;
    }
    this.cancelBeat();
    this.beating = true;
    this.beat()
      .catch((error: unknown) => {
        // Whatever the coordinator has heard of it: next time it hears everything.
        this.told = undefined;
        if (!(error instanceof Unanswered || this.stopped)) {
          this.fatal ??=
            error instanceof KafkaError ? error : new KafkaError(Errors.UNKNOWN_SERVER_ERROR, String(error));
          this.tell();
        }
      })
      .finally(() => {
        this.beating = false;
        if (this.stopped || this.fatal !== undefined) return;
        const again = this.beatAgain;
        this.beatAgain = false;
        if (again) this.beatNow();
        else this.cancelBeat = this.client.platform.clock.after(this.intervalMs, () => this.beatNow());
      });
  }

  private async beat(): Promise<void> {
    const { groupId, sessionTimeoutMs, maxPollIntervalMs } = this.options;
    if (this.now() - this.polledAt > maxPollIntervalMs) {
      // The application is stuck: others shall have what it owns.
      this.lose();
      this.epoch = JOINING;
      this.told = undefined;
      return;
    }
    let attemptedAt = this.now();
    let attempts = 0;
    let telling = "";
    const { answer, code } = await this.client.coordinators.call({
      kind: "group",
      key: groupId,
      apiKey: ApiKey.ConsumerGroupHeartbeat,
      message: () => {
        attemptedAt = this.now();
        attempts += 1;
        // What an attempt without an answer has told nobody knows.
        if (attempts > 1) this.told = undefined;
        const message = this.message();
        telling = message.told;
        return message.request;
      },
      errorOf: ({ errorCode }) => errorCode,
      retriable: isRetriable,
      deadline: attemptedAt + sessionTimeoutMs,
      purpose: this.options.purpose,
      cancelled: () => this.stopped,
    });
    if (this.stopped) return;
    switch (code) {
      case Errors.NONE:
        this.told = telling;
        this.epoch = answer.memberEpoch;
        this.intervalMs = answer.heartbeatIntervalMs;
        this.emit({ type: "heartbeat", sentAt: attemptedAt, sessionTimeoutMs, isBlind: false });
        if (answer.assignment !== null) {
          this.target = answer.assignment.topicPartitions;
          this.emit({ type: "synced", partitions: [] });
        }
        return this.tell();
      case Errors.UNKNOWN_MEMBER_ID:
      case Errors.FENCED_MEMBER_EPOCH:
        this.lose();
        this.epoch = JOINING;
        this.told = undefined;
        this.beatAgain = true;
        return;
      default:
        this.lose();
        this.fatal = new KafkaError(code, `ConsumerGroupHeartbeat of ${groupId}`, answer.errorMessage);
        return this.tell();
    }
  }

  private lose(): void {
    this.target = undefined;
    const { owned } = this.owner;
    if (owned.length === 0) return;
    this.owner.lose(owned);
    this.emit({ type: "lost", partitions: owned });
  }

  /** Everything when the coordinator may not have it, and otherwise what has changed. */
  private message(): {
    readonly told: string;
    readonly request: Partial<RequestOf<typeof ApiKey.ConsumerGroupHeartbeat>>;
  } {
    const { groupId, groupInstanceId, topics, serverAssignor, maxPollIntervalMs } = this.options;
    const topicPartitions = [...Map.groupBy(this.owner.owned, ({ topic }) => topic)].map(([topic, partitions]) => ({
      topicId: this.topicIds.get(topic)!,
      partitions: partitions.map(({ partition }) => partition),
    }));
    const told = JSON.stringify(topicPartitions);
    const before = this.epoch === JOINING ? undefined : this.told;
    const always = { groupId, memberId: this.memberId, memberEpoch: this.epoch, instanceId: groupInstanceId };
    if (before !== undefined) return { told, request: { ...always, ...(before === told ? {} : { topicPartitions }) } };
    const subscription =
      topics instanceof RegExp
        ? { subscribedTopicRegex: topics.source, subscribedTopicNames: [] }
        : { subscribedTopicNames: [...topics] };
    return {
      told,
      request: { ...always, ...subscription, rebalanceTimeoutMs: maxPollIntervalMs, serverAssignor, topicPartitions },
    };
  }
}
