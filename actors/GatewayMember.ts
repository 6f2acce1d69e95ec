/**
 * A consumer-group member that the gateway keeps for a stream (KIP-848): it heartbeats while the connection lives, tells
 * the client which partitions come and go, and places the stream's cursors where the group has committed. What must stay
 * true: a partition is owned from before its first record is pushed until the client has released it or it was lost;
 * what the coordinator takes back is asked for at once and acknowledged only when the client has let go; after the
 * stream's end nothing is said for the member any more, unless it is that it leaves.
 *
 * | event                                      | the client hears  | the coordinator hears                          |
 * |--------------------------------------------|-------------------|------------------------------------------------|
 * | a target without partitions it owns        | `revoke`          | what is owned, when all of them are released   |
 * | a target with more                         | `assigned`        | what is owned                                  |
 * | a new epoch, nothing else                  | `assigned` of none| –                                              |
 * | a topic is deleted                         | `lost`            | what is owned                                  |
 * | fenced, or unknown                         | `lost`            | it joins again                                 |
 * | another connection opens the same member   | `closed`          | –                                              |
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import { CoordinatorType, Refused, withCoordinator } from "../src/gateway/Caller.ts";
import {
  type CommittedOffset,
  commitOffsets,
  committedOffsets,
  type HeartbeatForm,
  heartbeatRequest,
  JOIN_EPOCH,
  leaveRequest,
  type OwnedPartition,
  rebalanceTimeoutOf,
} from "../src/gateway/Groups.ts";
import type {
  GroupMembership,
  OffsetToCommit,
  PartitionAt,
  PartitionFrom,
  PartitionOutcome,
  TopicPartition,
  WireError,
} from "../src/gateway/Messages.ts";
import { resolvePositions } from "../src/gateway/Positions.ts";
import { outcome } from "../src/gateway/Transactions.ts";
import { wireError } from "../src/gateway/WireError.ts";
import { ApiKey, type ResponseOf } from "../src/protocol/ApiKeys.ts";
import { Errors, isRetriable } from "../src/protocol/Errors.ts";
import { type GatewayStream, partitionKey, type StreamOwner } from "./GatewayStream.ts";

export interface MemberSettings {
  readonly membership: GroupMembership;
  /** Where a partition begins that the group has committed nothing for. */
  readonly from: "earliest" | "latest" | "none";
}

/** Pauses between heartbeats that a coordinator cannot answer yet, and between tries to find a partition's place. */
const RETRY_MS = [50, 100, 200, 500, 1000];

const pause = (failures: number): number => RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]!;

/** Of two heartbeats that are due the one that says more. */
const fuller = (one: HeartbeatForm | undefined, other: HeartbeatForm): HeartbeatForm =>
  one === "full" || (one === "owned" && other === "light") ? one : other;

/** What is known of a member that changes connections: its last epoch, and since which one it has had each partition. */
export interface KnownMember {
  readonly epoch: number;
  readonly since: ReadonlyMap<string, number>;
}

export class GatewayMember implements KnownMember {
  /** Everything the client was told of and has not released. */
  private readonly owned = new Map<string, OwnedPartition>();
  /** Of those: the epoch from which on nobody else can have had it. */
  readonly since = new Map<string, number>();
  /** Of those: asked back. */
  private readonly revoking = new Set<string>();
  /** What the coordinator wants it to own. */
  private target: ReadonlyMap<string, OwnedPartition> | undefined;
  /** Positions that a client which came back brought along, for partitions that it still has. */
  private readonly brought = new Map<string, PartitionAt>();
  /** What it brought along and lost without having heard of it: others may have had it in between. */
  private missed: TopicPartition[] = [];
  epoch: number;
  private toldEpoch = -1;
  /** What the last heartbeat with partitions said, one key a line. */
  private acknowledged = "";
  /** Rises when everything is lost: what was under way for the time before is dropped. */
  private life = 0;
  private beating = false;
  private next: HeartbeatForm | undefined;
  private failures = 0;
  private placing = false;
  private cancelTimer: (() => void) | undefined;
  private isGone = false;
  private opened: ((exit: Exit.Exit<void, Refused>) => void) | undefined;

  constructor(
    private readonly stream: GatewayStream,
    private readonly settings: MemberSettings,
    private readonly owner: StreamOwner,
    /** The group will not have it: the stream ends. */
    private readonly ended: (error: WireError) => void,
    known: KnownMember | undefined,
  ) {
    stream.onGone = () => this.forgetDeleted() && this.reconcile();
    const { memberEpoch, owned } = settings.membership;
    const claimed = memberEpoch ?? JOIN_EPOCH;
    this.epoch = claimed;
    if (claimed === JOIN_EPOCH) return;
    // The client may not have heard of the last epochs, nor of what went away and came back in them.
    this.epoch = Math.max(claimed, known?.epoch ?? 0);
    for (const partition of owned ?? []) {
      const key = partitionKey(partition.topic, partition.partition);
      const since = known === undefined ? claimed : known.since.get(key);
      if (since === undefined || since > claimed) {
        this.missed.push({ topic: partition.topic, partition: partition.partition });
        continue;
      }
      const { topicId } = partition.position;
      this.owned.set(key, { topic: partition.topic, partition: partition.partition, topicId });
      this.since.set(key, since);
      this.brought.set(key, partition);
    }
  }

  get key(): string {
    const { id, memberId } = this.settings.membership;
    return `${memberId} ${id}`;
  }

  /** Joins, or finds out whether it still is a member; what it gets is pushed afterwards. */
  open(): Effect.Effect<void, Refused> {
    const { membership } = this.settings;
    const joined = Effect.callback<void, Refused>((resume) => {
      this.opened = resume;
      this.beat("full");
    });
    return Effect.andThen(withCoordinator(this.owner.caller, CoordinatorType.GROUP, membership.id), joined);
  }

  /** The client lets go of partitions that were asked back. */
  release(partitions: ReadonlyArray<TopicPartition>): void {
    if (this.isGone) return;
    for (const named of partitions) {
      const key = partitionKey(named.topic, named.partition);
      if (!this.revoking.delete(key)) continue;
      this.owned.delete(key);
      this.since.delete(key);
      this.stream.remove(named);
    }
    this.reconcile();
  }

  /** Whether the client may go somewhere else in the partition. */
  mayPlace({ topic, partition }: TopicPartition): boolean {
    const key = partitionKey(topic, partition);
    return this.owned.has(key) && !this.revoking.has(key);
  }

  owns({ topic, partition }: TopicPartition): boolean {
    return this.owned.has(partitionKey(topic, partition));
  }

  /** Whether it has had the partition ever since it was in that epoch. */
  hasOwnedSince({ topic, partition }: TopicPartition, epoch: number): boolean {
    const since = this.since.get(partitionKey(topic, partition));
    return since !== undefined && since <= epoch;
  }

  commit(offsets: ReadonlyArray<OffsetToCommit>): Effect.Effect<ReadonlyArray<PartitionOutcome>, Refused> {
    const { id: groupId, memberId, instanceId } = this.settings.membership;
    this.forgetDeleted();
    const mine = offsets.filter((offset) => this.owns(offset));
    // Another member may have them: what was read of them is for that one to commit.
    const others = offsets
      .filter((offset) => !this.owns(offset))
      .map(({ topic, partition }) => outcome(topic, partition, Errors.STALE_MEMBER_EPOCH));
    if (mine.length === 0) return Effect.succeed(others);
    const committer = { groupId, memberId, instanceId, memberEpoch: () => this.epoch };
    return Effect.map(commitOffsets(this.owner.caller, committer, mine), (outcomes) => [...outcomes, ...others]);
  }

  /** Leaves the group; nothing is said for it afterwards. */
  leave(): Effect.Effect<void> {
    const { caller } = this.owner;
    const { membership } = this.settings;
    const wasMember = !this.isGone && this.epoch !== JOIN_EPOCH;
    this.drop();
    return wasMember
      ? Effect.asVoid(caller.call(ApiKey.ConsumerGroupHeartbeat, leaveRequest(membership)))
      : Effect.void;
  }

  /** Stays in the group for its session timeout, but nobody speaks for it. */
  drop(): void {
    this.isGone = true;
    this.life += 1;
    this.cancelTimer?.();
    this.cancelTimer = undefined;
    this.opened = undefined;
  }

  /** Another connection speaks for the member. */
  takeOver(): void {
    if (this.isGone) return;
    this.drop();
    const { id, memberId } = this.settings.membership;
    const message = `member ${memberId} of group ${id} was opened by another connection`;
    this.ended(wireError(Errors.FENCED_INSTANCE_ID, message, false));
  }

  // — heartbeats

  private beat(form: HeartbeatForm): void {
    if (this.isGone) return;
    this.cancelTimer?.();
    this.cancelTimer = undefined;
    this.next = fuller(this.next, form);
    if (this.beating) return;
    this.beating = true;
    const { caller, run } = this.owner;
    const { next } = this;
    this.next = undefined;
    if (next !== "light") this.acknowledged = this.ownedKeys();
    const request = heartbeatRequest(this.settings.membership, this.epoch, this.owned.values(), next);
    run(caller.call(ApiKey.ConsumerGroupHeartbeat, request)).addObserver((exit) => {
      this.beating = false;
      if (this.isGone) return;
      if (Exit.isSuccess(exit)) this.heard(exit.value);
      else this.refuse(wireError(Errors.UNKNOWN_SERVER_ERROR, String(exit.cause), false));
    });
  }

  private heard(response: ResponseOf<68>): void {
    const { errorCode, errorMessage, memberEpoch, heartbeatIntervalMs, assignment } = response;
    switch (errorCode) {
      case Errors.NONE:
        break;
      case Errors.UNKNOWN_MEMBER_ID:
      case Errors.FENCED_MEMBER_EPOCH:
        return this.lose(wireError(errorCode, errorMessage, true));
      default: {
        if (!isRetriable(errorCode)) return this.refuse(wireError(errorCode, errorMessage, false));
        const delay = pause(this.failures);
        this.failures += 1;
        return this.beatAfter(delay, "full");
      }
    }
    this.failures = 0;
    this.epoch = memberEpoch;
    this.welcome();
    if (assignment !== null) this.target = this.targetOf(assignment);
    if (this.next === undefined) this.beatAfter(heartbeatIntervalMs, "light");
    else this.beat(this.next);
    this.reconcile();
  }

  private beatAfter(ms: number, form: HeartbeatForm): void {
    const due = fuller(this.next, form);
    this.cancelTimer?.();
    this.cancelTimer = this.owner.ports.timers.after(ms, () => this.beat(due));
  }

  private welcome(): void {
    const { opened } = this;
    this.opened = undefined;
    opened?.(Exit.void);
  }

  /** The group will not have the member. */
  private refuse(error: WireError): void {
    const { opened } = this;
    this.drop();
    if (opened !== undefined) opened(Exit.fail(new Refused({ error })));
    else this.ended(error);
  }

  private targetOf(assignment: NonNullable<ResponseOf<68>["assignment"]>): ReadonlyMap<string, OwnedPartition> {
    const target = new Map<string, OwnedPartition>();
    const { topicsById } = this.owner.caller.image();
    for (const { topicId, partitions } of assignment.topicPartitions) {
      const topic = topicsById.get(topicId)?.name;
      // Deleted meanwhile: the next assignment is without it.
      if (topic === undefined) continue;
      for (const partition of partitions) target.set(partitionKey(topic, partition), { topic, partition, topicId });
    }
    return target;
  }

  // — what comes and goes

  private reconcile(): void {
    const { target } = this;
    if (target === undefined || this.isGone) return;
    this.forgetDeleted();
    this.keepBrought(target);
    this.askBack([...this.owned].filter(([key, { topicId }]) => target.get(key)?.topicId !== topicId));
    const { topicsById } = this.owner.caller.image();
    const missing = [...target].flatMap(([key, partition]) =>
      this.owned.has(key) || topicsById.get(partition.topicId) === undefined ? [] : [partition],
    );
    if (missing.length > 0) this.place(missing);
    else if (this.epoch !== this.toldEpoch) this.tellAssigned([]);
    this.acknowledge();
  }

  /** Nobody can have partitions of a deleted topic, nor commit for them. Answers whether there were any. */
  private forgetDeleted(): boolean {
    const { topicsById } = this.owner.caller.image();
    const gone = [...this.owned].filter(([, { topicId }]) => topicsById.get(topicId) === undefined);
    if (gone.length === 0) return false;
    for (const [key, named] of gone) {
      this.owned.delete(key);
      this.since.delete(key);
      this.revoking.delete(key);
      this.brought.delete(key);
      this.stream.remove(named);
    }
    const names = [...new Set(gone.map(([, { topic }]) => topic))];
    const error = wireError(Errors.UNKNOWN_TOPIC_ID, `deleted: ${names.join(", ")}`, false);
    const partitions = gone.map(([, { topic, partition }]) => ({ topic, partition }));
    this.owner.push(this.stream, { t: "lost", partitions, error });
    return true;
  }

  /** What a client that came back brought goes on where it was. */
  private keepBrought(target: ReadonlyMap<string, OwnedPartition>): void {
    if (this.missed.length > 0) {
      const message = "the member was fenced, and joined again, on another connection";
      const error = wireError(Errors.FENCED_MEMBER_EPOCH, message, true);
      this.owner.push(this.stream, { t: "lost", partitions: this.missed, error });
      this.missed = [];
    }
    if (this.brought.size === 0) return;
    const kept: Array<PartitionAt & { committed: boolean }> = [];
    for (const [key, { topic, partition, position }] of this.brought) {
      if (target.get(key)?.topicId === position.topicId) kept.push({ topic, partition, position, committed: false });
    }
    this.brought.clear();
    this.tellAssigned(kept);
  }

  private askBack(leaving: ReadonlyArray<readonly [string, OwnedPartition]>): void {
    const fresh = leaving.filter(([key]) => !this.revoking.has(key));
    if (fresh.length === 0) return;
    const partitions = fresh.map(([, { topic, partition }]) => ({ topic, partition }));
    for (const [key] of fresh) this.revoking.add(key);
    for (const named of partitions) {
      const partition = this.stream.partition(named);
      if (partition !== undefined) this.stream.halt(partition);
    }
    const withinMs = rebalanceTimeoutOf(this.settings.membership);
    this.toldEpoch = this.epoch;
    this.owner.push(this.stream, { t: "revoke", memberEpoch: this.epoch, partitions, withinMs });
  }

  /** Looks up where the partitions begin and gives them to the stream. */
  private place(missing: ReadonlyArray<OwnedPartition>): void {
    if (this.placing) return;
    this.placing = true;
    const { life } = this;
    this.owner.run(this.placesOf(missing)).addObserver((exit) => {
      if (life !== this.life) return;
      this.placing = false;
      if (Exit.isFailure(exit)) {
        // The next heartbeat may know more; what has gone for good is not in its target.
        const delay = pause(this.failures);
        this.failures += 1;
        this.owner.ports.timers.after(delay, () => life === this.life && this.reconcile());
        return;
      }
      const wanted = exit.value.filter(
        ({ topic, partition, position }) =>
          this.target?.get(partitionKey(topic, partition))?.topicId === position.topicId,
      );
      for (const { topic, partition, position } of wanted) {
        const key = partitionKey(topic, partition);
        this.owned.set(key, { topic, partition, topicId: position.topicId });
        this.since.set(key, this.epoch);
      }
      this.tellAssigned(wanted);
      this.reconcile();
    });
  }

  private placesOf(
    missing: ReadonlyArray<OwnedPartition>,
  ): Effect.Effect<ReadonlyArray<PartitionAt & { readonly committed: boolean }>, Refused> {
    const { caller } = this.owner;
    const { membership, from } = this.settings;
    const { isolation } = this.stream;
    return Effect.gen({ self: this }, function* () {
      const committed = yield* committedOffsets(caller, membership, () => this.epoch, missing);
      const fresh: PartitionFrom[] = [];
      for (const [index, { topic, partition }] of missing.entries()) {
        if (committed[index]!.offset < 0 && from !== "none") fresh.push({ topic, partition, from });
      }
      const begun = new Map<string, PartitionAt>();
      for (const placed of yield* resolvePositions(caller, fresh, isolation)) {
        begun.set(partitionKey(placed.topic, placed.partition), placed);
      }
      return missing.map(({ topic, partition, topicId }, index) => {
        const at: CommittedOffset = committed[index]!;
        const found = begun.get(partitionKey(topic, partition));
        const position = found?.position ?? { offset: at.offset, leaderEpoch: at.leaderEpoch, topicId };
        return { topic, partition, position, committed: at.offset >= 0 };
      });
    });
  }

  private tellAssigned(partitions: ReadonlyArray<PartitionAt & { readonly committed: boolean }>): void {
    this.toldEpoch = this.epoch;
    this.owner.push(this.stream, { t: "assigned", memberEpoch: this.epoch, partitions });
    for (const partition of partitions) this.stream.add(partition);
  }

  private ownedKeys(): string {
    return [...this.owned.keys()].sort().join("\n");
  }

  /** The coordinator hears what is owned once the client has let go of everything it was asked for. */
  private acknowledge(): void {
    if (this.revoking.size > 0 || this.placing || this.acknowledged === this.ownedKeys()) return;
    this.beat("owned");
  }

  /** Everything is taken away at once, and the member joins again. */
  private lose(error: WireError): void {
    const partitions = [...this.owned.values(), ...this.missed].map(({ topic, partition }) => ({ topic, partition }));
    this.life += 1;
    this.placing = false;
    this.missed = [];
    this.owned.clear();
    this.since.clear();
    this.revoking.clear();
    this.brought.clear();
    this.target = undefined;
    this.acknowledged = "";
    this.epoch = JOIN_EPOCH;
    // A client that comes back hears that it has: what it owned follows.
    this.welcome();
    for (const named of partitions) this.stream.remove(named);
    if (partitions.length > 0) this.owner.push(this.stream, { t: "lost", partitions, error });
    this.beat("full");
  }
}
