/**
 * The member of a consumer group that a stream is: what it owns, what it gives back, what it commits. What must stay
 * true: a partition is released only after what was handed out of it is finished, `onRevoked` has run and its progress is
 * committed; what was lost is never committed; one commit is under way at a time, so that an older one never passes a
 * newer one, and none is sent before the server has said on this connection that the partition is still ours.
 */
import type { GroupMembership, PartitionAt, StreamPush, TopicPartition } from "../gateway/Messages.ts";
import { Errors } from "../protocol/Errors.ts";
import { Backoff } from "./Backoff.ts";
import { ClientError, ClosedError, KafkaError, OutcomeUnknownError, wireErrorOf } from "./ClientError.ts";
import { RequestLost } from "./Connection.ts";
import type { GroupSide, Stream } from "./Stream.ts";
import type { Place, StreamPartition } from "./StreamPartition.ts";

export interface MembershipOptions {
  readonly group: string;
  readonly topics?: ReadonlyArray<string> | undefined;
  readonly regex?: string | undefined;
  readonly instanceId?: string | undefined;
  readonly assignor?: string | undefined;
  readonly rebalanceTimeoutMs?: number | undefined;
  readonly from: "earliest" | "latest" | "none";
  /** Milliseconds between automatic commits; undefined: none. */
  readonly autoCommitMs: number | undefined;
  readonly onAssigned?: ((partitions: ReadonlyArray<TopicPartition>) => void | Promise<void>) | undefined;
  readonly onRevoked?: ((partitions: ReadonlyArray<TopicPartition>) => void | Promise<void>) | undefined;
  readonly onLost?: ((partitions: ReadonlyArray<TopicPartition>) => void | Promise<void>) | undefined;
}

export interface PlaceToCommit {
  readonly partition: StreamPartition;
  readonly place: Place;
  readonly metadata: string | undefined;
}

interface Commit {
  readonly place: Place;
  readonly metadata: string | undefined;
  readonly waiters: PromiseWithResolvers<void>[];
  /** It was sent before and nobody knows what became of that: a refusal now does not mean that nothing happened. */
  readonly unsure: boolean;
}

export class Membership implements GroupSide {
  readonly memberId: string;
  memberEpoch = 0;
  /** To be sent, the newest of each partition. */
  private commits = new Map<StreamPartition, Commit>();
  private underWay: ReadonlyMap<StreamPartition, Commit> | undefined;
  private turns: Promise<void> = Promise.resolve();
  private idlers: Array<() => void> = [];
  private cancelAutoCommit = (): void => {};
  /** Set while a refused commit waits before it is tried again. */
  private cancelRetry: (() => void) | undefined;
  private autoCommitting = false;
  private leaving = false;
  private readonly backoff: Backoff;

  constructor(
    private readonly stream: Stream,
    readonly options: MembershipOptions,
  ) {
    const { random } = stream.session.platform;
    this.memberId = random.uuid();
    this.backoff = new Backoff(random, { initialMs: 50, maxMs: 1000 });
    this.commitLater();
  }

  // ------------------------------------------------------------------------------------------- what a consumer calls

  /** Commits places of partitions; resolves when the coordinator has them. */
  async commit(places: ReadonlyArray<PlaceToCommit>): Promise<void> {
    const { failure } = this.stream;
    if (failure !== undefined) throw failure;
    const waiting = places.map(({ partition, place, metadata }) => {
      const waiter = Promise.withResolvers<void>();
      if (this.stream.partition(partition.topic, partition.partition) === partition) {
        const before = this.commits.get(partition);
        const waiters = [...(before?.waiters ?? []), waiter];
        this.commits.set(partition, { place, metadata, waiters, unsure: before?.unsure ?? false });
      } else waiter.reject(notOurs(partition));
      return waiter.promise;
    });
    this.pump();
    const failed = (await Promise.allSettled(waiting)).find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** A record or batch is finished: somebody may wait for that. */
  idle(): void {
    for (const check of [...this.idlers]) check();
  }

  /** Gives everything back and leaves; the stream is to be ended afterwards. */
  async leave(): Promise<void> {
    const owned = [...this.stream.partitions.values()];
    this.leaving = true;
    for (const partition of owned) {
      partition.revoking = true;
      this.stream.drop(partition);
    }
    this.idle();
    await this.turn(() => this.giveBack(owned));
  }

  // --------------------------------------------------------------------------------------------- what the stream calls

  membership(): { group: GroupMembership; from: MembershipOptions["from"] } {
    const { group, from, autoCommitMs, onAssigned, onRevoked, onLost, ...rest } = this.options;
    const member: GroupMembership = { id: group, memberId: this.memberId, ...defined(rest) };
    if (this.memberEpoch === 0) return { group: member, from };
    const owned = [...this.stream.partitions.values()].map((partition) => ({
      topic: partition.topic,
      partition: partition.partition,
      position: partition.position(partition.received),
    }));
    return { group: { ...member, memberEpoch: this.memberEpoch, owned }, from };
  }

  onOpened(): void {
    this.pump();
  }

  onDisconnected(): void {
    this.rest(undefined);
  }

  onEnded(error: ClientError): void {
    this.cancelAutoCommit();
    this.rest(undefined);
    const owned = [...this.stream.partitions.values()];
    this.lose(owned, error);
    // Closed in order: everything was given back, or was not worth it.
    if (owned.length > 0 && !(error instanceof ClosedError))
      void this.turn(() => this.call(this.options.onLost, owned));
  }

  onPush(push: StreamPush & { t: "assigned" | "revoke" | "lost" }): void {
    if (push.t !== "lost") this.memberEpoch = push.memberEpoch;
    switch (push.t) {
      case "assigned":
        return this.assigned(push.partitions);
      case "revoke":
        return this.revoke(push.partitions);
      case "lost": {
        const gone = this.known(push.partitions);
        this.lose(gone, new KafkaError(push.error, "partitions were lost"));
        if (gone.length > 0) void this.turn(() => this.call(this.options.onLost, gone));
      }
    }
  }

  // -------------------------------------------------------------------------------------------------------- partitions

  private assigned(partitions: ReadonlyArray<PartitionAt & { readonly committed: boolean }>): void {
    const fresh: StreamPartition[] = [];
    for (const { topic, partition: index, position, committed } of partitions) {
      const known = this.stream.partition(topic, index);
      const partition = known ?? this.stream.add(topic, index, undefined);
      partition.confirmed = true;
      if (known !== undefined) {
        // It goes on where it was, or where the application wanted it meanwhile.
        if (known.origin !== undefined) this.stream.redirect(known, known.origin);
        else if (known.received.offset !== position.offset) this.stream.redirect(known, known.position(known.received));
        continue;
      }
      partition.beginsAt(position);
      if (committed) partition.committed = position.offset;
      if (this.options.onAssigned !== undefined) partition.hold = [];
      fresh.push(partition);
    }
    this.pump();
    if (fresh.length === 0 || this.options.onAssigned === undefined) return;
    void this.turn(async () => {
      await this.call(this.options.onAssigned, fresh);
      for (const partition of fresh) this.stream.letGo(partition);
    });
  }

  private revoke(partitions: ReadonlyArray<TopicPartition>): void {
    const named = this.known(partitions);
    const asked = named.filter(({ revoking }) => !revoking);
    for (const partition of asked) {
      partition.revoking = true;
      this.stream.drop(partition);
    }
    // What is asked back is ours until it is given back: it may be all that this connection says of it.
    for (const partition of named) partition.confirmed = true;
    this.pump();
    this.stream.topUp();
    void this.turn(async () => {
      await this.idleness(asked);
      await this.giveBack(asked);
    });
  }

  /** Calls `onRevoked`, commits, releases: what of `asked` is still ours. */
  private async giveBack(asked: ReadonlyArray<StreamPartition>): Promise<void> {
    let ours = this.ours(asked);
    if (ours.length === 0) return;
    await this.call(this.options.onRevoked, ours);
    ours = this.ours(ours);
    if (this.options.autoCommitMs !== undefined) {
      await this.commitFinished(ours);
      ours = this.ours(ours);
    }
    if (!this.leaving) this.stream.release(ours.map(({ topic, partition }) => ({ topic, partition })));
    for (const partition of ours) this.stream.forget(partition, notOurs(partition));
  }

  private lose(gone: ReadonlyArray<StreamPartition>, error: ClientError): void {
    for (const partition of gone) {
      this.stream.forget(partition, error);
      const waiting = this.commits.get(partition);
      const sent = this.underWay?.get(partition);
      if (waiting !== undefined) reject(waiting, error);
      if (sent !== undefined) reject({ ...sent, unsure: true }, error);
      this.commits.delete(partition);
    }
    this.idle();
  }

  private known(named: ReadonlyArray<TopicPartition>): StreamPartition[] {
    return named.map(({ topic, partition }) => this.stream.partition(topic, partition)).filter((p) => p !== undefined);
  }

  private ours(partitions: ReadonlyArray<StreamPartition>): StreamPartition[] {
    return partitions.filter((one) => this.stream.partition(one.topic, one.partition) === one);
  }

  /** Resolves when nothing of them is in the application's hands, they are not ours any more, or it is over anyway. */
  private idleness(partitions: ReadonlyArray<StreamPartition>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      if (!this.leaving && this.ours(partitions).some(({ busy }) => busy)) return;
      this.idlers = this.idlers.filter((other) => other !== check);
      resolve();
    };
    this.idlers.push(check);
    check();
    return promise;
  }

  /** One after the other, in the order the server said them. */
  private turn(work: () => Promise<void>): Promise<void> {
    this.turns = this.turns.then(work).catch((error: unknown) => this.stream.session.report(error));
    return this.turns;
  }

  private async call(
    listener: MembershipOptions["onAssigned"],
    partitions: ReadonlyArray<StreamPartition>,
  ): Promise<void> {
    if (listener === undefined || partitions.length === 0) return;
    try {
      await listener(partitions.map(({ topic, partition }) => ({ topic, partition })));
    } catch (error) {
      this.stream.session.report(error);
    }
  }

  // ----------------------------------------------------------------------------------------------------------- commits

  private commitLater(): void {
    const { autoCommitMs } = this.options;
    if (autoCommitMs === undefined) return;
    this.cancelAutoCommit = this.stream.session.platform.clock.after(autoCommitMs, () => {
      void this.commitByItself();
      this.commitLater();
    });
  }

  private async commitByItself(): Promise<void> {
    if (this.autoCommitting) return;
    this.autoCommitting = true;
    await this.commitFinished([...this.stream.partitions.values()].filter(({ revoking }) => !revoking));
    this.autoCommitting = false;
  }

  /** Commits what the application has finished; what goes wrong is reported, the next one says it again. */
  async commitFinished(partitions: ReadonlyArray<StreamPartition>): Promise<void> {
    const changed = partitions
      .filter(({ finished, committed }) => finished.offset >= 0 && finished.offset !== committed)
      .map((partition) => ({ partition, place: partition.finished, metadata: undefined }));
    if (changed.length === 0) return;
    await this.commit(changed).catch((error: unknown) => this.stream.session.report(error));
  }

  private pump(): void {
    if (this.underWay !== undefined || this.cancelRetry !== undefined) return;
    const sending = new Map([...this.commits].filter(([{ confirmed }]) => confirmed));
    if (sending.size === 0) return;
    const offsets = [...sending].map(([{ topic, partition }, { place, metadata }]) => ({
      topic,
      partition,
      offset: place.offset,
      leaderEpoch: place.leaderEpoch,
      ...(metadata === undefined ? {} : { metadata }),
    }));
    const sent = this.stream.commit(offsets, (outcome) => {
      this.underWay = undefined;
      if (outcome instanceof RequestLost) this.again(sending, true);
      else if (outcome instanceof ClientError) this.refused(sending, outcome);
      else {
        this.backoff.reset();
        for (const [partition, commit] of sending) {
          const told = outcome.partitions.find(
            (p) => p.topic === partition.topic && p.partition === partition.partition,
          );
          if (told?.error !== undefined) {
            const one = new Map([[partition, commit]]);
            this.refused(one, new KafkaError(told.error, `commit of ${partition.name}`));
            continue;
          }
          partition.committed = commit.place.offset;
          for (const waiter of commit.waiters) waiter.resolve();
        }
      }
      this.pump();
    });
    if (!sent) return;
    for (const partition of sending.keys()) this.commits.delete(partition);
    this.underWay = sending;
  }

  /** Puts back what was not carried out, behind what came since. */
  private again(commits: ReadonlyMap<StreamPartition, Commit>, unsure: boolean): void {
    for (const [partition, commit] of commits) {
      const newer = this.commits.get(partition);
      const waiters = [...commit.waiters, ...(newer?.waiters ?? [])];
      const both = { ...(newer ?? commit), waiters, unsure: unsure || commit.unsure || newer?.unsure === true };
      if (this.ours([partition]).length > 0) this.commits.set(partition, both);
      else reject(both, notOurs(partition));
    }
  }

  /** Sends no commit for so long; undefined: from now on as usual. */
  private rest(ms: number | undefined): void {
    this.cancelRetry?.();
    this.cancelRetry =
      ms === undefined
        ? undefined
        : this.stream.session.platform.clock.after(ms, () => {
            this.cancelRetry = undefined;
            this.pump();
          });
  }

  private refused(commits: ReadonlyMap<StreamPartition, Commit>, error: ClientError): void {
    if (error.retriable) {
      // A coordinator that goes away may have written it.
      this.again(commits, true);
      this.rest(this.backoff.next());
      return;
    }
    for (const commit of commits.values()) reject(commit, error);
  }
}

const reject = ({ waiters, unsure }: Commit, error: ClientError): void => {
  const outcome = unsure ? new OutcomeUnknownError(`committed or not: ${error.message}`, { cause: error }) : error;
  for (const waiter of waiters) waiter.reject(outcome);
};

/** A partition that another member may have by now. */
const notOurs = ({ topic, partition }: TopicPartition): KafkaError =>
  new KafkaError(
    wireErrorOf(Errors.UNKNOWN_MEMBER_ID, "UNKNOWN_MEMBER_ID", "this member does not own the partition any more"),
    `${topic}-${partition}`,
  );

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Without the entries that are undefined. */
const defined = <T extends object>(options: T): Defined<T> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Defined<T>;
