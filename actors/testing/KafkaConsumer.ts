/**
 * A consumer: partitions it was assigned or that its group gives it (either protocol), positions, fetches (with sessions
 * if wanted), committed offsets. What must stay true: records of a partition are handed out in order from its position
 * on, never of one that is not owned any more; positions move only by what `poll` hands out, `seek` and a reset; what the
 * broker refuses is told by `onTrouble` or thrown, never swallowed.
 */
import type { LeaderEpoch, MonotonicMs, Offset, TopicPartition } from "../../src/prelude/Types.ts";
import { ApiKey, Apis, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, isRetriable } from "../../src/protocol/Errors.ts";
import type { AssignorName } from "./Assignors.ts";
import { ClassicMembership } from "./ClassicMembership.ts";
import { ConsumerMembership } from "./ConsumerMembership.ts";
import { type FetchedRecord, readFetched } from "./FetchedRecords.ts";
import { FetchSessionHandler, type WantedPartition } from "./FetchSessionHandler.ts";
import {
  type GroupEvent,
  type GroupMembership,
  type GroupProtocol,
  type MembershipOwner,
  partitionName,
} from "./GroupMembership.ts";
import { EARLIEST, type KafkaClient, LATEST } from "./KafkaClient.ts";
import { ConnectionLost } from "./KafkaConnection.ts";
import { KafkaError } from "./KafkaError.ts";
import {
  type CommitOutcome,
  type CommittedOffset,
  commitOffsets,
  fetchOffsets,
  type GroupIdentity,
  type OffsetToCommit,
  outsideOfGroup,
} from "./Offsets.ts";

export interface ConsumerOptions {
  readonly groupId?: string;
  /** Default `classic`. */
  readonly groupProtocol?: GroupProtocol;
  readonly groupInstanceId?: string;
  /** Of the classic protocol (default range, cooperative-sticky as in Kafka). */
  readonly assignors?: ReadonlyArray<AssignorName>;
  /** Of KIP-848; default: the group's. */
  readonly serverAssignor?: string;
  /** Default 45,000. */
  readonly sessionTimeoutMs?: number;
  /** Of the classic protocol (default 3,000); KIP-848 is told by the broker. */
  readonly heartbeatIntervalMs?: number;
  /** Default 300,000. */
  readonly maxPollIntervalMs?: number;
  /** Default 300,000. */
  readonly metadataMaxAgeMs?: number;
  /** Default `read_uncommitted`. */
  readonly isolation?: "read_uncommitted" | "read_committed";
  /** Where a partition without a committed offset, or with one that is not there any more, begins (default `latest`). */
  readonly autoOffsetReset?: "earliest" | "latest" | "error";
  /** Most bytes of an answer (default 50 MiB) and of one partition in it (default 1 MiB). */
  readonly maxBytes?: number;
  readonly maxPartitionBytes?: number;
  /** Whether fetches are incremental (KIP-227; default true, as in Kafka's client). */
  readonly fetchSessions?: boolean;
  /** Called before partitions are given up, while their offsets can still be committed. */
  readonly onRevoked?: (partitions: ReadonlyArray<TopicPartition>) => Promise<void> | void;
  /** Called when partitions were taken away without asking: nothing can be committed for them. */
  readonly onLost?: (partitions: ReadonlyArray<TopicPartition>) => void;
  readonly onAssigned?: (partitions: ReadonlyArray<TopicPartition>) => Promise<void> | void;
  /** What went wrong and was dealt with, as a line: a reset position, a truncated log. */
  readonly onTrouble?: (trouble: ConsumerTrouble) => void;
  /** Told what the group had committed for a partition (-1: nothing), asked for at `askedAt`. */
  readonly onCommitted?: (committed: CommittedOffset, askedAt: MonotonicMs) => void;
  /** Told everything that happens in the group as this member sees it. */
  readonly observe?: (event: GroupEvent) => void;
}

export type ConsumerTrouble = TopicPartition & {
  readonly kind: "out of range" | "truncated" | "refused";
  readonly position: Offset;
  readonly errorCode: number;
};

export interface PolledPartition extends TopicPartition {
  /** Node id of the broker it came from. */
  readonly node: number;
  /** Where the fetch began. */
  readonly from: Offset;
  readonly nextOffset: Offset;
  readonly records: ReadonlyArray<FetchedRecord>;
  readonly highWatermark: Offset;
  readonly lastStableOffset: Offset;
  readonly logStartOffset: Offset;
}

interface Position extends TopicPartition {
  /** Undefined until it is looked up. */
  offset: Offset | undefined;
  /** Of the last record before it; -1 unknown. */
  lastEpoch: LeaderEpoch;
  /** Leader epoch the position was checked in (KIP-320). */
  checkedEpoch: LeaderEpoch;
  /** Not fetched before. */
  retryAt: MonotonicMs;
  /** The reset policy is to be used, not the committed offset. */
  reset: boolean;
}

const REFRESH: ReadonlySet<number> = new Set([
  Errors.NOT_LEADER_OR_FOLLOWER,
  Errors.LEADER_NOT_AVAILABLE,
  Errors.REPLICA_NOT_AVAILABLE,
  Errors.FENCED_LEADER_EPOCH,
  Errors.UNKNOWN_LEADER_EPOCH,
  Errors.UNKNOWN_TOPIC_OR_PARTITION,
  Errors.UNKNOWN_TOPIC_ID,
  Errors.INCONSISTENT_TOPIC_ID,
  Errors.KAFKA_STORAGE_ERROR,
]);

export class KafkaConsumer {
  private readonly positions = new Map<string, Position>();
  private readonly sessions = new Map<number, FetchSessionHandler>();
  private readonly purpose: string;
  private readonly instance: number;
  private membership: GroupMembership | undefined;
  private closed = false;

  constructor(
    private readonly client: KafkaClient,
    private readonly options: ConsumerOptions = {},
  ) {
    this.instance = client.nextConsumer();
    this.purpose = `consumer ${this.instance}`;
  }

  /** Of this consumer among those of its client, as its observers are told. */
  get number(): number {
    return this.instance;
  }

  get isolation(): NonNullable<ConsumerOptions["isolation"]> {
    return this.options.isolation ?? "read_uncommitted";
  }

  /** What it reads now. */
  get assignment(): ReadonlyArray<TopicPartition> {
    return [...this.positions.values()].map(({ topic, partition }) => ({ topic, partition }));
  }

  /** Whose offsets it commits, for `KafkaProducer.sendOffsets`. */
  get group(): GroupIdentity {
    return this.membership?.identity ?? outsideOfGroup(this.groupId());
  }

  /** Reads these from now on; those it has read already keep their positions. */
  assign(partitions: ReadonlyArray<TopicPartition & { readonly offset?: Offset }>): void {
    if (this.membership !== undefined) throw new Error("the consumer has subscribed");
    const names = new Set(partitions.map(partitionName));
    for (const name of [...this.positions.keys()]) if (!names.has(name)) this.positions.delete(name);
    for (const { topic, partition, offset } of partitions) {
      if (!this.positions.has(partitionName({ topic, partition }))) this.add({ topic, partition }, offset);
      else if (offset !== undefined) this.seek({ topic, partition }, offset);
    }
  }

  /** Joins the group with its next `poll`. */
  subscribe(topics: ReadonlyArray<string> | RegExp): void {
    if (this.membership !== undefined || this.positions.size > 0)
      throw new Error("the consumer has partitions already");
    const { options } = this;
    const common = {
      groupId: this.groupId(),
      groupInstanceId: options.groupInstanceId ?? null,
      topics,
      sessionTimeoutMs: options.sessionTimeoutMs ?? 45_000,
      maxPollIntervalMs: options.maxPollIntervalMs ?? 300_000,
      purpose: `${this.purpose} group`,
      instance: this.instance,
      observe: options.observe,
    };
    this.membership =
      options.groupProtocol === "consumer"
        ? new ConsumerMembership(this.client, this.owner, { ...common, serverAssignor: options.serverAssignor ?? null })
        : new ClassicMembership(this.client, this.owner, {
            ...common,
            assignors: options.assignors ?? ["range", "cooperative-sticky"],
            heartbeatIntervalMs: options.heartbeatIntervalMs ?? 3000,
            metadataMaxAgeMs: options.metadataMaxAgeMs ?? 300_000,
          });
  }

  /** Where it goes on reading; undefined when that is not known yet. */
  position(partition: TopicPartition): Offset | undefined {
    return this.positions.get(partitionName(partition))?.offset;
  }

  seek(partition: TopicPartition, offset: Offset): void {
    const position = this.positions.get(partitionName(partition));
    if (position === undefined) throw new Error(`${partitionName(partition)} is not assigned`);
    position.offset = offset;
    position.lastEpoch = -1;
  }

  /**
   * What there is to read, or an empty answer after `maxWaitMs`. Keeps the membership going. Throws `KafkaError` when
   * the group or a partition refuses for good, `RecordFormatError` for bytes with a wrong checksum, and when the client is
   * closed.
   */
  async poll(maxWaitMs: number): Promise<PolledPartition[]> {
    const { clock } = this.client.platform;
    const deadline = clock.monotonic() + maxWaitMs;
    for (;;) {
      if (this.closed) return [];
      if (this.client.isClosed) throw new Error("the client is closed");
      await this.membership?.progress(deadline);
      await this.client.within(this.lookUp(deadline), deadline);
      const left = deadline - clock.monotonic();
      const polled = await this.fetch(Math.max(0, left));
      if (polled.some(({ from, nextOffset }) => nextOffset > from)) return polled;
      const rest = deadline - clock.monotonic();
      if (rest <= 0) return polled;
      if (!this.positions.values().some(({ offset, retryAt }) => offset !== undefined && retryAt <= clock.monotonic()))
        await this.client.sleep(Math.min(rest, this.client.options.retryBackoffMs ?? 100));
    }
  }

  /** Commits the positions of everything it reads, or what it is given. */
  commit(offsets: ReadonlyArray<OffsetToCommit> = this.offsets(), timeoutMs?: number): Promise<CommitOutcome> {
    return commitOffsets(this.client, () => this.group, offsets, this.call(timeoutMs));
  }

  /** The positions as they would be committed. */
  offsets(): OffsetToCommit[] {
    return [...this.positions.values()].flatMap(({ topic, partition, offset, lastEpoch }) =>
      offset === undefined ? [] : [{ topic, partition, offset, leaderEpoch: lastEpoch }],
    );
  }

  /** What the group has committed for these partitions. */
  committed(partitions: ReadonlyArray<TopicPartition>, timeoutMs?: number): Promise<CommittedOffset[]> {
    const { groupId, memberId, generationId } = this.group;
    const isMember = this.options.groupProtocol === "consumer" && memberId !== "";
    const who = isMember ? { groupId, memberId, memberEpoch: generationId } : { groupId };
    return fetchOffsets(this.client, who, partitions, { ...this.call(timeoutMs), requireStable: true });
  }

  /** Leaves the group if it is in one; the application may commit in `onRevoked`. */
  async close(timeoutMs?: number): Promise<void> {
    if (this.closed) return;
    await this.membership?.leave(this.call(timeoutMs).deadline);
    this.abandon();
  }

  /** Ends at once and tells nobody. */
  abandon(): void {
    this.closed = true;
    this.membership?.abandon();
    this.positions.clear();
  }

  private groupId(): string {
    const { groupId } = this.options;
    if (groupId === undefined) throw new Error("the consumer has no groupId");
    return groupId;
  }

  private call(timeoutMs = this.client.options.callTimeoutMs ?? 60_000) {
    const deadline = this.client.platform.clock.monotonic() + timeoutMs;
    return { deadline, purpose: `${this.purpose} group`, cancelled: () => this.closed };
  }

  private add({ topic, partition }: TopicPartition, offset: Offset | undefined): void {
    const position = { topic, partition, offset, lastEpoch: -1, checkedEpoch: -1, retryAt: 0, reset: false };
    this.positions.set(partitionName(position), position);
  }

  private drop(partitions: ReadonlyArray<TopicPartition>): void {
    for (const partition of partitions) this.positions.delete(partitionName(partition));
  }

  private readonly owner: MembershipOwner = ((consumer) => ({
    get owned() {
      return consumer.assignment;
    },
    async revoke(partitions) {
      await consumer.options.onRevoked?.(partitions);
      consumer.drop(partitions);
    },
    lose(partitions) {
      consumer.drop(partitions);
      consumer.options.onLost?.(partitions);
    },
    async acquire(partitions) {
      for (const partition of partitions) consumer.add(partition, undefined);
      if (partitions.length > 0) await consumer.options.onAssigned?.(partitions);
    },
  }))(this);

  /** Finds out where partitions begin that do not know it yet: the committed offset, or what the reset policy says. */
  private async lookUp(deadline: MonotonicMs): Promise<void> {
    const unknown = [...this.positions.values()].filter(({ offset }) => offset === undefined);
    if (unknown.length === 0) return;
    const inGroup = unknown.filter(({ reset }) => !reset);
    try {
      if (this.options.groupId !== undefined && inGroup.length > 0) {
        const askedAt = this.client.platform.clock.monotonic();
        for (const committed of await this.committed(inGroup, deadline - askedAt)) {
          const position = this.positions.get(partitionName(committed));
          this.options.onCommitted?.(committed, askedAt);
          if (position === undefined || position.offset !== undefined || committed.offset < 0) continue;
          position.offset = committed.offset;
          position.lastEpoch = committed.leaderEpoch;
        }
      }
      for (const position of unknown) if (position.offset === undefined) await this.resetPosition(position);
    } catch (error) {
      // Asked again with the next poll; what no retry can help is thrown.
      if (error instanceof KafkaError && !isRetriable(error.code) && !isFenced(error.code)) throw error;
    }
  }

  private async resetPosition(position: Position): Promise<void> {
    const { topic, partition } = position;
    const policy = this.options.autoOffsetReset ?? "latest";
    if (policy === "error") throw new KafkaError(Errors.OFFSET_OUT_OF_RANGE, `${topic}-${partition} has no position`);
    const timestamp = policy === "earliest" ? EARLIEST : LATEST;
    const { isolation } = this.options;
    const { offset } = await this.client.listOffset(topic, partition, timestamp, isolation);
    if (this.positions.get(partitionName(position)) !== position || position.offset !== undefined) return;
    position.offset = offset;
    position.lastEpoch = -1;
    position.reset = false;
  }

  /** One fetch from every leader that has something to read. */
  private async fetch(maxWaitMs: number): Promise<PolledPartition[]> {
    const now = this.client.platform.clock.monotonic();
    const byLeader = new Map<number, Position[]>();
    for (const position of this.positions.values()) {
      if (position.offset === undefined || position.retryAt > now) continue;
      const leader = this.client.knownLeader(position.topic, position.partition);
      if (leader < 0) this.later(position, true);
      else if (await this.isChecked(position)) {
        const others = byLeader.get(leader);
        if (others === undefined) byLeader.set(leader, [position]);
        else others.push(position);
      }
    }
    const answers = await Promise.all([...byLeader].map(([leader, own]) => this.fetchFrom(leader, own, maxWaitMs)));
    return answers.flat();
  }

  private later(position: Position, refresh: boolean): void {
    position.retryAt = this.client.platform.clock.monotonic() + (this.client.options.retryBackoffMs ?? 100);
    if (refresh) this.client.refresh(position.topic).catch(() => {});
  }

  /** Where the leader's epoch has changed, the log may be another one behind the position (KIP-320). */
  private async isChecked(position: Position): Promise<boolean> {
    const { topic, partition } = position;
    const epoch = this.client.knownTopic(topic)?.leaderEpochs[partition] ?? -1;
    if (epoch === position.checkedEpoch) return true;
    if (position.lastEpoch >= 0 && position.checkedEpoch >= 0) {
      let end: { readonly errorCode: number; readonly leaderEpoch: number; readonly endOffset: Offset };
      try {
        end = await this.client.endOfEpoch(topic, partition, epoch, position.lastEpoch);
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        this.later(position, true);
        return false;
      }
      if (this.positions.get(partitionName(position)) !== position || position.offset === undefined) return false;
      if (end.errorCode !== Errors.NONE) {
        this.later(position, true);
        return false;
      }
      const isCut = end.endOffset >= 0 && end.endOffset < position.offset;
      if (isCut) this.truncated(position, end.endOffset);
    }
    position.checkedEpoch = epoch;
    return true;
  }

  private truncated(position: Position, endOffset: Offset): void {
    this.trouble(position, "truncated", Errors.NONE);
    position.offset = endOffset;
    position.lastEpoch = -1;
  }

  private trouble(position: Position, kind: ConsumerTrouble["kind"], errorCode: number): void {
    const { topic, partition, offset } = position;
    this.options.onTrouble?.({ topic, partition, kind, errorCode, position: offset ?? -1 });
  }

  private async fetchFrom(
    leader: number,
    positions: ReadonlyArray<Position>,
    maxWaitMs: number,
  ): Promise<PolledPartition[]> {
    const { options, client } = this;
    let session = this.sessions.get(leader);
    if (session === undefined)
      this.sessions.set(leader, (session = new FetchSessionHandler(options.fetchSessions ?? true)));
    const wanted = positions.map(
      ({ topic, partition, offset, checkedEpoch, lastEpoch }): WantedPartition => ({
        topic,
        topicId: client.knownTopicId(topic),
        partition,
        fetchOffset: offset!,
        currentLeaderEpoch: checkedEpoch,
        lastFetchedEpoch: lastEpoch,
        partitionMaxBytes: options.maxPartitionBytes ?? 1024 * 1024,
      }),
    );
    let answer: ResponseOf<1>;
    let byId: boolean;
    try {
      const connection = await client.connection(leader, `${this.purpose} fetch`);
      const version = connection.versionOf(ApiKey.Fetch) ?? 0;
      byId = version >= 13;
      const request = {
        ...Apis[ApiKey.Fetch].request.empty(),
        // Never less than what is left: a fetch that returned too early would be repeated without end.
        maxWaitMs: Math.ceil(maxWaitMs),
        minBytes: 1,
        maxBytes: options.maxBytes ?? 50 * 1024 * 1024,
        isolationLevel: options.isolation === "read_committed" ? 1 : 0,
        ...session.request(wanted, byId),
      };
      answer = await connection.request(ApiKey.Fetch, request, version);
    } catch (error) {
      session.reset();
      if (!(error instanceof ConnectionLost)) throw error;
      for (const position of positions) this.later(position, true);
      return [];
    }
    if (!session.answered(answer)) {
      if (!isRetriable(answer.errorCode)) throw new KafkaError(answer.errorCode, `Fetch from ${leader}`);
      return [];
    }
    return positions.flatMap((position, index) => this.take(position, leader, wanted[index]!, answer, byId) ?? []);
  }

  private take(
    position: Position,
    node: number,
    wanted: WantedPartition,
    answer: ResponseOf<1>,
    byId: boolean,
  ): PolledPartition | undefined {
    const { topic, topicId, partition, fetchOffset } = wanted;
    // Given up, or moved by `seek`, while the fetch was under way.
    if (this.positions.get(partitionName(wanted)) !== position || position.offset !== fetchOffset) return undefined;
    const ofTopic = answer.responses.find((one) => (byId ? one.topicId === topicId : one.topic === topic));
    const found = ofTopic?.partitions.find(({ partitionIndex }) => partitionIndex === partition);
    // A session leaves out what has not changed.
    if (found === undefined) return undefined;
    if (found.errorCode !== Errors.NONE) {
      this.refused(position, found.errorCode);
      return undefined;
    }
    if (found.divergingEpoch.endOffset >= 0) {
      this.truncated(position, Math.min(found.divergingEpoch.endOffset, fetchOffset));
      return undefined;
    }
    const aborted = this.options.isolation === "read_committed" ? (found.abortedTransactions ?? []) : [];
    const bytes = found.records ?? new Uint8Array(0);
    const { records, nextOffset, lastEpoch } = readFetched(bytes, fetchOffset, aborted, this.client.platform.codecs);
    position.offset = nextOffset;
    if (lastEpoch >= 0) position.lastEpoch = lastEpoch;
    const { highWatermark, lastStableOffset, logStartOffset } = found;
    return {
      topic,
      partition,
      node,
      from: fetchOffset,
      nextOffset,
      records,
      highWatermark,
      lastStableOffset,
      logStartOffset,
    };
  }

  private refused(position: Position, errorCode: number): void {
    if (errorCode === Errors.OFFSET_OUT_OF_RANGE) {
      this.trouble(position, "out of range", errorCode);
      position.offset = undefined;
      position.reset = true;
      return;
    }
    this.trouble(position, "refused", errorCode);
    if (!isRetriable(errorCode) && errorCode !== Errors.UNKNOWN_TOPIC_ID)
      throw new KafkaError(errorCode, `Fetch of ${partitionName(position)}`);
    this.later(position, REFRESH.has(errorCode));
  }
}

/** The group does not know the member at this moment: its membership will find out. */
const isFenced = (code: number): boolean =>
  code === Errors.UNKNOWN_MEMBER_ID || code === Errors.STALE_MEMBER_EPOCH || code === Errors.FENCED_MEMBER_EPOCH;
