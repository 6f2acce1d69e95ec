/**
 * One stream of the protocol over all connections: opens and reopens it where it was, grants credit, keeps what came
 * until the application takes it. What must stay true: nothing is handed out twice or left out, whatever happens to the
 * connection; what comes between a seek and its answer is of the old place and dropped; credit follows what the
 * application has finished, never what merely came.
 */
import type {
  Credit,
  DeliveredBatch,
  From,
  GroupMembership,
  Isolation,
  PartitionAt,
  StreamPush,
  TopicPartition,
  WireError,
} from "../gateway/Messages.ts";
import { Errors } from "../protocol/Errors.ts";
import { RecordFormatError } from "../record/RecordFormatError.ts";
import { Backoff } from "./Backoff.ts";
import {
  ClientError,
  ClosedError,
  FencedError,
  KafkaError,
  LogTruncationError,
  OffsetOutOfRangeError,
  PartitionError,
  wireErrorOf,
} from "./ClientError.ts";
import { type Connection, type RequestBody, RequestLost, type Settle } from "./Connection.ts";
import { CreditWindow } from "./CreditWindow.ts";
import { type Delivery, deliveriesOf } from "./Delivery.ts";
import type { Session, SessionMember } from "./Session.ts";
import { partitionKey, type SeekWaiter, StreamPartition } from "./StreamPartition.ts";

/** What to do when a place is not in the log any more, or the log was cut below it. */
export type ResetPolicy = "error" | "earliest" | "latest";

export interface StreamSettings {
  readonly isolation: Isolation;
  readonly raw: boolean;
  readonly window: Credit;
  readonly reset: ResetPolicy | ((error: OffsetOutOfRangeError | LogTruncationError) => ResetPolicy);
}

/** `closed`: by the application, or by an error that `failure` holds. */
export type StreamState = "opening" | "open" | "disconnected" | "closed";

export interface StreamEvents {
  onState(state: StreamState): void;
  /** Something can be taken now, or nothing ever will. */
  onWake(): void;
  /** The place was moved by the policy: what lay between is skipped, and the application is told. */
  onReset(error: OffsetOutOfRangeError | LogTruncationError, to: "earliest" | "latest" | number): void;
  /** A retriable trouble of a partition; the server goes on trying. */
  onTrouble(error: PartitionError): void;
}

/** The part of a stream that is a group's member. */
export interface GroupSide {
  /** For `open`, first and again. */
  membership(): { readonly group: GroupMembership; readonly from: "earliest" | "latest" | "none" };
  onPush(push: StreamPush & { t: "assigned" | "revoke" | "lost" }): void;
  onOpened(): void;
  onDisconnected(): void;
  onEnded(error: ClientError): void;
}

type SeekList = ReadonlyArray<readonly [partition: StreamPartition, from: From]>;

export class Stream implements SessionMember {
  readonly stream: number;
  readonly partitions = new Map<string, StreamPartition>();
  state: StreamState = "disconnected";
  failure: ClientError | undefined;
  group: GroupSide | undefined;
  private readonly credit: CreditWindow;
  private readonly backoff: Backoff;
  /** What came, of all partitions, in the order it came. */
  private queue: Delivery[] = [];
  private connection: Connection | undefined;
  private paused = false;
  private leaving: Promise<void> | undefined;
  private cancelReopen = (): void => {};

  constructor(
    readonly session: Session,
    readonly settings: StreamSettings,
    private readonly events: StreamEvents,
  ) {
    this.stream = session.streamNumber();
    this.credit = new CreditWindow(settings.window);
    this.backoff = new Backoff(session.platform.random, { initialMs: 100, maxMs: 5000 });
  }

  // ------------------------------------------------------------------------------------------- what a consumer calls

  partition(topic: string, partition: number): StreamPartition | undefined {
    return this.partitions.get(partitionKey(topic, partition));
  }

  /** Adds a partition that begins at `from`; nothing when it is there already. */
  add(topic: string, partition: number, from: From | undefined): StreamPartition {
    const key = partitionKey(topic, partition);
    let found = this.partitions.get(key);
    if (found === undefined) this.partitions.set(key, (found = new StreamPartition(topic, partition, from)));
    return found;
  }

  /** Opens it, now or at the next connection. */
  open(): void {
    this.session.attach(this);
  }

  /** Adds and takes away partitions of a stream without a group. */
  assign(add: ReadonlyArray<TopicPartition & { readonly from: From }>, remove: ReadonlyArray<TopicPartition>): void {
    const added: StreamPartition[] = [];
    for (const { topic, partition, from } of add)
      if (this.partition(topic, partition) === undefined) added.push(this.add(topic, partition, from));
    const removed: StreamPartition[] = [];
    for (const { topic, partition } of remove) {
      const found = this.partition(topic, partition);
      if (found === undefined || added.includes(found)) continue;
      this.forget(found, new ClosedError(found.name));
      removed.push(found);
    }
    this.sendAssign(added, removed);
  }

  /** Goes on elsewhere. What was received before is dropped; resolves when the server has confirmed the places. */
  seek(places: SeekList): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const waiting = places.map(
      ([partition, from]) =>
        new Promise<void>((resolve, reject) => {
          this.drop(partition);
          partition.moveTo(from);
          partition.seeks.push({ resolve, reject });
        }),
    );
    this.sendSeeks(places.map(([partition]) => partition));
    this.topUp();
    return Promise.all(waiting).then(() => {});
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.topUp();
    this.events.onWake();
  }

  get isPaused(): boolean {
    return this.paused;
  }

  /** The next piece, when there is one and nothing is paused. */
  take(): Delivery | undefined {
    return this.paused ? undefined : this.queue.shift();
  }

  /** So much of a delivery is finished (or handed to nobody): it becomes credit again. */
  finish(delivery: Delivery, records: number, bytes: number): void {
    delivery.records -= records;
    delivery.bytes -= bytes;
    this.credit.finish(records, bytes);
  }

  /** Nothing more is in the delivery. */
  exhausted(delivery: Delivery): void {
    this.finish(delivery, delivery.records, delivery.bytes);
    const { queued } = delivery.partition;
    if (queued[0] === delivery) queued.shift();
  }

  /** Sends credit when enough of the window is free. */
  topUp(): void {
    if (this.state !== "open" || this.paused) return;
    const due = this.credit.due();
    if (due !== undefined) this.connection!.note({ t: "credit", stream: this.stream, ...due });
  }

  /** Bytes and records that came and are not finished. */
  get held(): Credit {
    return { records: this.credit.heldRecords, bytes: this.credit.heldBytes };
  }

  /** What was received of it and not handed out is void; it will have to be moved. */
  drop(partition: StreamPartition): void {
    partition.version += 1;
    for (const delivery of partition.queued) this.finish(delivery, delivery.records, delivery.bytes);
    partition.queued.length = 0;
    if (partition.hold !== undefined) partition.hold.length = 0;
    this.queue = this.queue.filter((delivery) => delivery.partition !== partition);
  }

  /** What was received of the partition is of no use; it stands still until it is moved. */
  discredit(partition: StreamPartition): void {
    this.drop(partition);
    partition.moveTo(undefined);
    partition.stopped = true;
    this.topUp();
  }

  /** The partition is not this stream's any more. */
  forget(partition: StreamPartition, why: ClientError): void {
    this.drop(partition);
    this.partitions.delete(partition.key);
    settle(partition, (waiter) => waiter.reject(why));
    this.topUp();
  }

  /** Lets go of what waited for the partition's `onAssigned`. */
  letGo(partition: StreamPartition): void {
    const held = partition.hold ?? [];
    partition.hold = undefined;
    this.queue.push(...held);
    if (held.length > 0) this.events.onWake();
  }

  /** Sends a commit; false when the stream is not open. */
  commit(offsets: RequestBody<"commit">["offsets"], settled: Settle<"commit">): boolean {
    if (this.state !== "open" || this.connection?.isOpen !== true) return false;
    this.connection.request("commit", { stream: this.stream, offsets }, settled);
    return true;
  }

  /** A note of a stream that is open; false when it is not. */
  release(partitions: ReadonlyArray<TopicPartition>): boolean {
    if (this.state !== "open") return false;
    this.connection!.note({ t: "release", stream: this.stream, partitions });
    return true;
  }

  /**
   * Tells the server that it is over, once: also while it is being opened, or the server would keep what nobody reads.
   * Resolves when that is answered, or at once when there is nobody to tell.
   */
  leave(): Promise<void> {
    if ((this.state !== "open" && this.state !== "opening") || this.connection?.isOpen !== true)
      return Promise.resolve();
    const { connection } = this;
    this.leaving ??= new Promise((resolve) => connection.request("close", { stream: this.stream }, () => resolve()));
    return this.leaving;
  }

  /** Ends it here and there. */
  end(error: ClientError): void {
    if (this.state === "closed") return;
    void this.leave();
    this.over(error);
  }

  /** The server has ended it, or never had it. */
  private over(error: ClientError): void {
    this.session.detach(this);
    this.finishWith(error);
  }

  // -------------------------------------------------------------------------------------------- what the session calls

  onConnected(connection: Connection): void {
    this.connection = connection;
    this.sendOpen(connection);
  }

  onDisconnected(): void {
    this.connection = undefined;
    this.notOpen();
  }

  onEnded(error: ClientError): void {
    this.finishWith(error);
  }

  onPush(push: StreamPush): void {
    switch (push.t) {
      case "records":
        return this.receive(push.batches);
      case "starved":
        this.credit.starve(push);
        return this.topUp();
      case "outOfRange":
        return this.outOfRange(push);
      case "diverged":
        return this.diverged(push);
      case "partitionError":
        return this.trouble(push.topic, push.partition, push.error);
      case "closed":
        return this.closedByServer(push.error);
      case "assigned":
      case "revoke":
      case "lost":
        return this.group?.onPush(push);
    }
  }

  // ---------------------------------------------------------------------------------------------------------- opening

  private sendOpen(connection: Connection): void {
    this.become("opening");
    const { isolation, raw } = this.settings;
    const { creditRecords, creditBytes } = connection.hello!.limits;
    const credit = this.credit.open({ records: creditRecords, bytes: creditBytes }, this.paused);
    const sent = versions([...this.partitions.values()]);
    const what = this.group?.membership() ?? { partitions: [...this.partitions.values()].map(partitionFrom) };
    const body: RequestBody<"open"> = { stream: this.stream, isolation, credit, ...(raw ? { raw } : {}), ...what };
    connection.request("open", body, (outcome) => {
      if (outcome instanceof RequestLost || this.connection !== connection || this.state !== "opening") return;
      if (outcome instanceof ClientError) this.refused(connection, outcome);
      else this.opened(sent, outcome.partitions);
    });
  }

  private opened(sent: Versions, positions: ReadonlyArray<PartitionAt>): void {
    this.backoff.reset();
    this.become("open");
    if (this.group === undefined) {
      this.confirm(sent, positions);
      // What the application did while the answer was on its way.
      const present = [...this.partitions.values()];
      const gone = [...sent.keys()].filter((partition) => !present.includes(partition));
      this.sendAssign(
        present.filter((partition) => !sent.has(partition)),
        gone,
      );
      this.sendSeeks(present.filter((partition) => sent.has(partition)));
    } else this.group.onOpened();
    this.topUp();
  }

  private refused(connection: Connection, error: ClientError): void {
    // Topics are there as soon as they are made: one that is unknown, or another one by now, will not come back.
    const final =
      error instanceof KafkaError &&
      (error.code === Errors.UNKNOWN_TOPIC_OR_PARTITION || error.code === Errors.UNKNOWN_TOPIC_ID);
    if (error.retriable && !final) this.reopenLater(connection);
    else this.over(error);
  }

  private closedByServer(wire: WireError): void {
    const { connection } = this;
    const error = new KafkaError(wire, "the server ended the stream");
    if (wire.code === Errors.FENCED_INSTANCE_ID) this.over(new FencedError(error.message, error));
    else if (wire.retriable && connection !== undefined) {
      this.notOpen();
      this.reopenLater(connection);
    } else this.over(new KafkaError(wire, "the server ended the stream", { fatal: true }));
  }

  private reopenLater(connection: Connection): void {
    this.cancelReopen = this.session.platform.clock.after(this.backoff.next(), () => {
      if (this.connection === connection && this.state !== "closed") this.sendOpen(connection);
    });
  }

  private notOpen(): void {
    this.cancelReopen();
    this.credit.close();
    for (const partition of this.partitions.values()) partition.confirmed = false;
    this.become("disconnected");
    this.group?.onDisconnected();
  }

  private finishWith(error: ClientError): void {
    this.cancelReopen();
    this.connection = undefined;
    this.failure = error;
    this.become("closed");
    for (const partition of this.partitions.values()) settle(partition, (waiter) => waiter.reject(error));
    this.group?.onEnded(error);
    this.events.onWake();
  }

  private become(state: StreamState): void {
    if (this.state === state) return;
    this.state = state;
    this.events.onState(state);
  }

  // ------------------------------------------------------------------------------------------------------------ moving

  private sendAssign(add: ReadonlyArray<StreamPartition>, remove: ReadonlyArray<StreamPartition>): void {
    if (this.state !== "open" || add.length + remove.length === 0) return;
    const sent = versions(add);
    const named = remove.map(({ topic, partition }) => ({ topic, partition }));
    const body = { stream: this.stream, add: add.map(partitionFrom), remove: named };
    this.connection!.request("assign", body, (outcome) => {
      if (outcome instanceof RequestLost) return;
      if (!(outcome instanceof ClientError)) return this.confirm(sent, outcome.partitions);
      for (const partition of add) {
        this.stop(partition, outcome);
        this.partitions.delete(partition.key);
      }
    });
  }

  private sendSeeks(partitions: ReadonlyArray<StreamPartition>): void {
    const moved = partitions.filter(({ origin }) => origin !== undefined);
    if (this.state !== "open" || moved.length === 0) return;
    const sent = versions(moved);
    const { connection } = this;
    const body = { stream: this.stream, partitions: moved.map(partitionFrom) };
    connection!.request("seek", body, (outcome) => {
      if (outcome instanceof RequestLost) return;
      if (!(outcome instanceof ClientError)) return this.confirm(sent, outcome.partitions);
      const waiting = moved.filter((partition) => partition.originVersion === sent.get(partition));
      if (outcome.retriable) {
        this.session.platform.clock.after(this.backoff.next(), () => {
          if (this.connection === connection) this.sendSeeks(waiting.filter((p) => p.originVersion === sent.get(p)));
        });
      } else for (const partition of waiting) this.seekRefused(partition, outcome);
    });
  }

  /** The application hears why, and the partition goes on where it was; when that is refused too it stands still. */
  private seekRefused(partition: StreamPartition, error: ClientError): void {
    const asked = partition.seeks.length > 0;
    settle(partition, (waiter) => waiter.reject(error));
    if (asked && partition.handed.offset >= 0) {
      partition.moveTo(partition.position(partition.handed));
      this.sendSeeks([partition]);
    } else this.stop(partition, error);
  }

  private confirm(sent: Versions, positions: ReadonlyArray<PartitionAt>): void {
    for (const { topic, partition: index, position } of positions) {
      const partition = this.partition(topic, index);
      if (partition === undefined || sent.get(partition) !== partition.originVersion) continue;
      if (partition.origin !== undefined) partition.beginsAt(position);
      settle(partition, (waiter) => waiter.resolve());
    }
  }

  // --------------------------------------------------------------------------------------------------------- receiving

  private receive(batches: ReadonlyArray<DeliveredBatch>): void {
    let came = false;
    for (const batch of batches) {
      const partition = this.partition(batch.topic, batch.partition);
      try {
        came = this.receiveBatch(partition, batch) || came;
      } catch (error) {
        if (!(error instanceof RecordFormatError)) throw error;
        if (partition !== undefined) this.stop(partition, corrupt(partition, error));
      }
    }
    this.topUp();
    if (came) this.events.onWake();
  }

  /** Whether there is something to take. */
  private receiveBatch(partition: StreamPartition | undefined, batch: DeliveredBatch): boolean {
    const { pieces, records, bytes } = deliveriesOf(
      partition ?? new StreamPartition(batch.topic, batch.partition, undefined),
      batch,
    );
    this.credit.spend(records, bytes);
    const [offset, leaderEpoch] = batch.next;
    const expected =
      partition !== undefined &&
      partition.origin === undefined &&
      !partition.stopped &&
      !partition.revoking &&
      offset >= partition.received.offset;
    if (!expected) {
      this.credit.finish(records, bytes);
      return false;
    }
    partition.highWatermark = batch.highWatermark;
    partition.lastStableOffset = batch.lastStableOffset;
    partition.logStartOffset = batch.logStartOffset;
    if (pieces.length === 0) {
      partition.goOnAt({ offset, leaderEpoch });
      return false;
    }
    partition.received = { offset, leaderEpoch };
    this.enqueue(partition, pieces);
    return true;
  }

  private enqueue(partition: StreamPartition, pieces: ReadonlyArray<Delivery>): void {
    partition.queued.push(...pieces);
    (partition.hold ?? this.queue).push(...pieces);
  }

  // -------------------------------------------------------------------------------------------------- what can go wrong

  private outOfRange({ topic, partition: index, offset, logStartOffset, highWatermark }: Push<"outOfRange">): void {
    const partition = this.standing(topic, index);
    if (partition === undefined) return;
    const error = new OffsetOutOfRangeError(topic, index, offset, logStartOffset, highWatermark);
    const policy = this.policyFor(error);
    if (policy === "error") return this.stop(partition, error);
    this.redirect(partition, policy);
    this.events.onReset(error, policy);
  }

  private diverged({ topic, partition: index, position }: Push<"diverged">): void {
    const partition = this.standing(topic, index);
    if (partition === undefined) return;
    // Nothing that was cut away is handed out; what the application has not seen needs no telling.
    this.drop(partition);
    const { handed } = partition;
    if (handed.offset <= position.offset) return this.redirect(partition, partition.position(handed));
    const error = new LogTruncationError(topic, index, handed.offset, position.offset);
    if (this.policyFor(error) === "error") return this.stop(partition, error);
    this.redirect(partition, position);
    this.events.onReset(error, position.offset);
  }

  private trouble(topic: string, index: number, error: WireError): void {
    const partition = this.standing(topic, index);
    if (partition === undefined) return;
    const told = new PartitionError(topic, index, error);
    if (error.retriable) this.events.onTrouble(told);
    else this.stop(partition, told);
  }

  /** A partition that was told to go on and can not. */
  private standing(topic: string, index: number): StreamPartition | undefined {
    const partition = this.partition(topic, index);
    const told = partition === undefined || partition.origin !== undefined || partition.stopped || partition.revoking;
    return told ? undefined : partition;
  }

  private policyFor(error: OffsetOutOfRangeError | LogTruncationError): ResetPolicy {
    const { reset } = this.settings;
    if (typeof reset !== "function") return reset;
    try {
      return reset(error);
    } catch (thrown) {
      this.session.report(thrown);
      return "error";
    }
  }

  /** Goes on elsewhere; what was received before stays. */
  redirect(partition: StreamPartition, from: From): void {
    partition.moveTo(from);
    this.sendSeeks([partition]);
  }

  /** The partition stands still, and the application hears why when it has had what came before. */
  stop(partition: StreamPartition, error: ClientError): void {
    partition.moveTo(undefined);
    partition.stopped = true;
    const { received: next } = partition;
    const content = { kind: "error", error } as const;
    this.enqueue(partition, [{ partition, content, from: next.offset, next, leaderEpoch: -1, records: 0, bytes: 0 }]);
    settle(partition, (waiter) => waiter.reject(error));
    this.events.onWake();
  }
}

type Push<T extends StreamPush["t"]> = StreamPush & { readonly t: T };
/** Partitions a request was about, each with the version of its origin that was sent. */
type Versions = ReadonlyMap<StreamPartition, number>;

const versions = (partitions: ReadonlyArray<StreamPartition>): Versions =>
  new Map(partitions.map((partition) => [partition, partition.originVersion]));

const partitionFrom = (one: StreamPartition) => ({
  topic: one.topic,
  partition: one.partition,
  from: one.origin ?? one.position(one.received),
});

const settle = (partition: StreamPartition, how: (waiter: SeekWaiter) => void): void => {
  for (const waiter of partition.seeks.splice(0)) how(waiter);
};

export const corrupt = (partition: StreamPartition, error: Error): PartitionError =>
  new PartitionError(
    partition.topic,
    partition.partition,
    wireErrorOf(Errors.CORRUPT_MESSAGE, "CORRUPT_MESSAGE", error.message),
  );
