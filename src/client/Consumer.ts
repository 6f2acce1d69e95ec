/**
 * A consumer as an application has it: an async iterable of records or batches with positions, seeks and commits. What
 * must stay true: a record is handed out once; it counts as finished when the next one is asked for, and only what is
 * finished is committed automatically or makes room for more; whatever goes wrong is thrown where its record would be.
 */
import type { Credit, GroupIdentity, PartitionAt, PartitionFrom, TopicPartition } from "../gateway/Messages.ts";
import { CompressionError } from "../record/Compression.ts";
import { RecordFormatError } from "../record/RecordFormatError.ts";
import { abortable } from "./Abortable.ts";
import { AssignedTopics, listOf } from "./AssignedTopics.ts";
import { ClientError, ClosedError, CodecError } from "./ClientError.ts";
import { bytes, type Codec } from "./Codec.ts";
import type {
  ConsumeOptions,
  ConsumerBatch,
  ConsumerEvents,
  ConsumerRecord,
  Int64Mode,
  PartitionLag,
  SavedPosition,
} from "./ConsumerOptions.ts";
import { type Cursor, type Delivery, openCursor, type ReceivedRecord, receivedCost } from "./Delivery.ts";
import { Emitter } from "./Emitter.ts";
import { Membership } from "./Membership.ts";
import { among, refuse, whole } from "./Options.ts";
import type { Session } from "./Session.ts";
import { corrupt, Stream, type StreamState } from "./Stream.ts";
import { partitionKey, type StreamPartition } from "./StreamPartition.ts";
import type { TopicCache } from "./TopicCache.ts";

const WINDOW: Credit = { records: 10_000, bytes: 4 * 1024 * 1024 };
const AUTO_COMMIT_MS = 5000;
const CLOSE_TIMEOUT_MS = 5000;

/** A delivery that records are read from. */
interface Opened {
  readonly delivery: Delivery;
  readonly cursor: Cursor;
  /** Of its partition, when it was opened: another one says that it is void. */
  readonly version: number;
}

/** What was handed out last and is not finished: so much credit, or all that its delivery still has. */
interface Handed {
  readonly delivery: Delivery;
  readonly version: number;
  readonly cost: Credit | "rest";
}

/** Where a group is to go on: `offset` is one behind the last record that is done. */
export interface CommitPlace extends TopicPartition {
  readonly offset: number;
  readonly leaderEpoch?: number;
  readonly metadata?: string;
}

export class Consumer<Key, Value, Int64 extends number | bigint = number>
  implements AsyncIterableIterator<ConsumerRecord<Key, Value, Int64>, undefined>
{
  private readonly events: Emitter<ConsumerEvents>;
  private readonly stream: Stream;
  private readonly membership: Membership | undefined;
  /** Without a group. */
  private readonly assigned: AssignedTopics | undefined;
  private readonly key: Codec<Key, never>;
  private readonly value: Codec<Value, never>;
  private readonly int64: (value: number) => Int64;
  private current: Opened | undefined;
  private handed: Handed | undefined;
  /**
   * For transactions: of what something was handed out that is not committed, in none of them, nor moved away from since.
   * When it is lost it stays, that a transaction with what was read of it fails, though the partition may be back.
   */
  private readonly pending = new Map<string, StreamPartition>();
  /** A record that cannot be decoded, found while a batch was put together: thrown behind that batch. */
  private poison: { readonly opened: Opened; readonly received: ReceivedRecord; readonly error: unknown } | undefined;
  /** A delivery that could not be opened for a reason that may pass. */
  private unopened: { readonly delivery: Delivery; readonly version: number } | undefined;
  /** Set while a delivery is being decompressed. */
  private opening: Promise<void> | undefined;
  private pulling: Promise<unknown> | undefined;
  private woken = Promise.withResolvers<void>();
  private closing: Promise<void> | undefined;
  private aborted: { readonly reason: unknown } | undefined;
  private stopFollowing = (): void => {};

  /** Use `client.consume`. */
  constructor(
    private readonly session: Session,
    topicCache: TopicCache,
    private readonly options: ConsumeOptions<Key, Value, Int64Mode>,
  ) {
    this.events = new Emitter((error) => session.report(error));
    this.key = options.key ?? (bytes as unknown as Codec<Key, never>);
    this.value = options.value ?? (bytes as unknown as Codec<Value, never>);
    this.int64 = (options.int64 === "bigint" ? BigInt : (value: number) => value) as (value: number) => Int64;
    this.stream = new Stream(
      session,
      {
        isolation: options.isolation ?? "read_committed",
        raw: options.encoding !== "records",
        window: { ...WINDOW, ...options.window },
        reset: options.onOutOfRange ?? "error",
      },
      {
        onState: (state) => {
          if (state === "closed") session.parts.delete(this);
          this.events.emit("state", { state });
        },
        onWake: () => this.wake(),
        onReset: (error, to) => this.events.emit("reset", { error, to }),
        onTrouble: (error) => this.events.emit("trouble", error),
      },
    );
    if (options.group !== undefined) {
      const { group, topics, regex, instanceId, assignor, rebalanceTimeoutMs, onAssigned, onRevoked, onLost } = options;
      const { from = "latest", autoCommit = AUTO_COMMIT_MS } = options;
      this.membership = new Membership(this.stream, {
        ...{ group, regex, instanceId, assignor, rebalanceTimeoutMs, from, onAssigned, onRevoked, onLost },
        topics: topics === undefined ? undefined : listOf(topics),
        autoCommitMs: autoCommit === false ? undefined : autoCommit,
      });
      this.stream.group = this.membership;
    } else this.assigned = new AssignedTopics(session, topicCache, this.stream, options);
    session.parts.add(this);
    const { signal } = options;
    if (signal !== undefined) {
      const abort = (): void => this.abort(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      this.stopFollowing = () => signal.removeEventListener("abort", abort);
    }
    if (signal?.aborted === true) this.abort(signal.reason);
    // What was closed before this was made is no end of what there is to read.
    else if (session.closedBy !== undefined) this.abort(session.closedBy);
    else void this.start();
  }

  get state(): StreamState {
    return this.stream.state;
  }

  on<Name extends keyof ConsumerEvents>(name: Name, listener: (event: ConsumerEvents[Name]) => void): () => void {
    return this.events.on(name, listener);
  }

  // --------------------------------------------------------------------------------------------------------- iterating

  /** `for await (const record of consumer)`. Leaving the loop closes the consumer; an error that it threw does not. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next record; what was handed out before is finished by asking. Rejects with what lies in the record's place. */
  next(): Promise<IteratorResult<ConsumerRecord<Key, Value, Int64>, undefined>> {
    return this.pull(() => this.recordHere());
  }

  async return(): Promise<IteratorResult<ConsumerRecord<Key, Value, Int64>, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** The same by batches: what came together of one partition. Leaving the loop closes the consumer. */
  batches(): AsyncIterableIterator<ConsumerBatch<Key, Value, Int64>, undefined> {
    const iterator: AsyncIterableIterator<ConsumerBatch<Key, Value, Int64>, undefined> = {
      [Symbol.asyncIterator]: () => iterator,
      next: () => this.pull(() => this.batchHere()),
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
    return iterator;
  }

  private pull<T>(here: () => T | undefined): Promise<IteratorResult<T, undefined>> {
    if (this.pulling !== undefined) return this.pulling.then(() => this.pull(here));
    if (this.aborted !== undefined) return Promise.reject(this.aborted.reason);
    if (this.closing !== undefined) return Promise.resolve({ done: true, value: undefined });
    try {
      this.finishHanded();
      const found = here();
      if (found !== undefined) return Promise.resolve({ done: false, value: found });
    } catch (error) {
      return Promise.reject(error);
    }
    const pulled = this.pullLater(here).finally(() => {
      this.pulling = undefined;
    });
    this.pulling = pulled.catch(() => {});
    return pulled;
  }

  private async pullLater<T>(here: () => T | undefined): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      if (this.opening === undefined) await this.waiting();
      else await this.opening;
      if (this.aborted !== undefined) throw this.aborted.reason;
      if (this.closing !== undefined) return { done: true, value: undefined };
      const found = here();
      if (found !== undefined) return { done: false, value: found };
      if (this.opening === undefined && this.stream.failure !== undefined) {
        if (this.stream.failure instanceof ClosedError) return { done: true, value: undefined };
        throw this.stream.failure;
      }
    }
  }

  /** Resolves when there may be something to take, or the end. */
  private waiting(): Promise<void> | undefined {
    return this.stream.failure === undefined ? this.woken.promise : undefined;
  }

  private wake(): void {
    const { resolve } = this.woken;
    this.woken = Promise.withResolvers<void>();
    resolve();
  }

  private recordHere(): ConsumerRecord<Key, Value, Int64> | undefined {
    for (;;) {
      const opened = this.openedHere();
      if (opened === undefined) return undefined;
      const received = this.read(opened);
      if (received === undefined) this.exhaust(opened);
      else {
        this.hand(opened, received);
        return this.decode(opened.delivery.partition, received);
      }
    }
  }

  private batchHere(): ConsumerBatch<Key, Value, Int64> | undefined {
    const { poison } = this;
    this.poison = undefined;
    if (poison !== undefined && poison.opened.version === poison.opened.delivery.partition.version) {
      this.hand(poison.opened, poison.received);
      throw poison.error;
    }
    for (;;) {
      const opened = this.openedHere();
      if (opened === undefined) return undefined;
      const batch = this.batchOf(opened);
      if (batch !== undefined) return batch;
      this.exhaust(opened);
    }
  }

  /** What is left in a delivery, up to a record that cannot be decoded. Undefined: nothing. */
  private batchOf(opened: Opened): ConsumerBatch<Key, Value, Int64> | undefined {
    const { delivery, version } = opened;
    const { partition } = delivery;
    const records: ConsumerRecord<Key, Value, Int64>[] = [];
    let cost: Handed["cost"] = { records: 0, bytes: 0 };
    for (;;) {
      const received = this.read(opened);
      if (received === undefined) {
        if (records.length === 0) return undefined;
        partition.handed = delivery.next;
        cost = "rest";
        this.current = undefined;
        break;
      }
      let record: ConsumerRecord<Key, Value, Int64>;
      try {
        record = this.decode(partition, received);
      } catch (error) {
        this.poison = { opened, received, error };
        if (records.length > 0) break;
        return this.batchHere();
      }
      records.push(record);
      const one = costOf(delivery, received);
      cost = { records: cost.records + one.records, bytes: cost.bytes + one.bytes };
      partition.handed = placeBehind(delivery, received);
    }
    this.inHand(partition, { delivery, version, cost });
    const { topic, partition: index } = partition;
    const position = partition.position(partition.handed);
    return { topic, partition: index, records, position: { topic, partition: index, position } };
  }

  /** The delivery that records come from. Undefined: there is none, or it is being decompressed (`opening`). */
  private openedHere(): Opened | undefined {
    if (this.stream.isPaused || this.opening !== undefined) return undefined;
    if (this.current !== undefined) {
      if (this.current.version === this.current.delivery.partition.version) return this.current;
      this.current = undefined;
    }
    const again = this.unopened;
    this.unopened = undefined;
    const delivery = again?.version === again?.delivery.partition.version ? again?.delivery : undefined;
    return this.openNext(delivery ?? this.stream.take());
  }

  private openNext(delivery: Delivery | undefined): Opened | undefined {
    if (delivery === undefined) return undefined;
    if (delivery.content.kind === "error") {
      this.stream.exhausted(delivery);
      throw delivery.content.error;
    }
    return this.open(delivery);
  }

  private open(delivery: Delivery): Opened | undefined {
    const { version } = delivery.partition;
    try {
      const cursor = openCursor(delivery, () => this.session.platform.decompressor());
      if (!(cursor instanceof Promise)) return (this.current = { delivery, cursor, version });
      const opening = async (): Promise<void> => {
        try {
          this.current = { delivery, cursor: await cursor, version };
        } catch (error) {
          // What is void by now is of no interest any more.
          if (delivery.partition.version === version) throw this.unreadable(delivery, error);
        } finally {
          this.opening = undefined;
        }
      };
      this.opening = opening();
      return undefined;
    } catch (error) {
      throw this.unreadable(delivery, error);
    }
  }

  private read({ delivery, cursor }: Opened): ReceivedRecord | undefined {
    try {
      return cursor.next();
    } catch (error) {
      throw this.unreadable(delivery, error);
    }
  }

  /** Malformed bytes stop their partition; a decoder that could not be loaded may be there the next time. */
  private unreadable(delivery: Delivery, error: unknown): ClientError {
    if (error instanceof RecordFormatError || error instanceof CompressionError) {
      const told = corrupt(delivery.partition, error);
      this.stream.discredit(delivery.partition);
      return told;
    }
    this.unopened = { delivery, version: delivery.partition.version };
    const text = error instanceof Error ? error.message : String(error);
    return new ClientError(`the decoder could not be loaded: ${text}`, { retriable: true, cause: error });
  }

  private hand({ delivery, version }: Opened, received: ReceivedRecord): void {
    const { partition } = delivery;
    partition.handed = placeBehind(delivery, received);
    this.inHand(partition, { delivery, version, cost: costOf(delivery, received) });
  }

  private inHand(partition: StreamPartition, handed: Handed): void {
    partition.busy = true;
    this.handed = handed;
    if (this.membership !== undefined && !this.pending.has(partition.key)) this.pending.set(partition.key, partition);
  }

  /** Whether something was handed out of it before it was lost; told once. */
  private lostInHand(key: string): boolean {
    const partition = this.pending.get(key);
    if (partition === undefined || this.stream.partitions.get(key) === partition) return false;
    return this.pending.delete(key);
  }

  private exhaust({ delivery }: Opened): void {
    this.current = undefined;
    this.stream.exhausted(delivery);
    delivery.partition.passTo(delivery.next);
    this.stream.topUp();
  }

  private finishHanded(): void {
    const { handed } = this;
    if (handed === undefined) return;
    this.handed = undefined;
    const { delivery, version, cost } = handed;
    if (delivery.partition.version === version) {
      if (cost === "rest") {
        this.stream.exhausted(delivery);
        // It may have moved since.
        delivery.partition.handed = delivery.next;
      } else this.stream.finish(delivery, cost.records, cost.bytes);
    }
    delivery.partition.finish();
    this.membership?.idle();
    this.stream.topUp();
  }

  private decode(
    { topic, partition }: TopicPartition,
    { offset, timestamp, key, value, headers }: ReceivedRecord,
  ): ConsumerRecord<Key, Value, Int64> {
    let what = "key";
    try {
      const decodedKey = key === null ? null : this.key.decode(key);
      what = "value";
      const decodedValue = value === null ? null : this.value.decode(value);
      const { int64 } = this;
      return {
        topic,
        partition,
        offset: int64(offset),
        timestamp: int64(timestamp),
        key: decodedKey,
        value: decodedValue,
        headers,
      };
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new CodecError(`${what} of ${topic}-${partition}@${offset}: ${text}`, { topic, partition, offset }, cause);
    }
  }

  // ----------------------------------------------------------------------------------------------------------- placing

  /**
   * Behind what was handed out, or where it is to begin, for every partition whose place is known: to be saved, and given
   * to `consume`.
   */
  position(): SavedPosition {
    return [...this.stream.partitions.values()].flatMap((one) => {
      const position = one.place;
      return position === undefined ? [] : [{ topic: one.topic, partition: one.partition, position }];
    });
  }

  /**
   * Goes on elsewhere with some partitions; the others go on as they are. Records that were received and not handed out
   * are dropped. Resolves when the server has confirmed the places, also over a reconnect. Its signal ends the waiting,
   * not the seek.
   */
  seek(
    places: PartitionFrom | PartitionAt | ReadonlyArray<PartitionFrom | PartitionAt>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    if (options.signal?.aborted === true) return Promise.reject(options.signal.reason);
    const list: ReadonlyArray<PartitionFrom | PartitionAt> = Array.isArray(places) ? places : [places];
    const found: Array<readonly [StreamPartition, PartitionFrom["from"]]> = [];
    for (const place of list) {
      const partition = this.stream.partition(place.topic, place.partition);
      if (partition === undefined)
        return Promise.reject(new ClientError(`${place.topic}-${place.partition} is not read by this consumer`));
      found.push([partition, "from" in place ? place.from : place.position]);
      this.pending.delete(partition.key);
    }
    return abortable(this.stream.seek(found), options.signal);
  }

  /** Adds partitions, or takes some away. Not for members of a group. */
  assign(add: ReadonlyArray<PartitionFrom>, remove: ReadonlyArray<TopicPartition> = []): void {
    if (this.membership !== undefined) throw new ClientError("the group assigns partitions to its members");
    this.stream.assign(add, remove);
  }

  /** Nothing is handed out and no credit is given until `resume`. A member stays in its group. */
  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  get paused(): boolean {
    return this.stream.isPaused;
  }

  /** The partitions that are read. */
  assignment(): ReadonlyArray<TopicPartition> {
    return [...this.stream.partitions.values()].map(({ topic, partition }) => ({ topic, partition }));
  }

  lag(): ReadonlyArray<PartitionLag> {
    const readable = this.options.isolation === "read_uncommitted" ? "highWatermark" : "lastStableOffset";
    return [...this.stream.partitions.values()].map((one) => ({
      topic: one.topic,
      partition: one.partition,
      lag: one.handed.offset < 0 || one[readable] < 0 ? undefined : Math.max(0, one[readable] - one.handed.offset),
      highWatermark: one.highWatermark,
      lastStableOffset: one.lastStableOffset,
      logStartOffset: one.logStartOffset,
    }));
  }

  /** Records and bytes that lie here and are not finished. Never more than the window, but for one larger record. */
  get buffered(): Credit {
    return this.stream.held;
  }

  // -------------------------------------------------------------------------------------------------------- committing

  /**
   * Commits for the group: a record (the group goes on behind it), places, or without an argument everything that was
   * handed out. Resolves when the coordinator has it. Rejects with the first error of a partition, as for one that the
   * group has given to another member. Its signal ends the waiting, not the commit.
   */
  async commit(
    what?: { readonly topic: string; readonly partition: number; readonly offset: Int64 } | ReadonlyArray<CommitPlace>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    options.signal?.throwIfAborted();
    const { membership } = this;
    if (membership === undefined) throw new ClientError("without a group there is nowhere to commit");
    const list = this.placesOf(what);
    // What is committed is as good as finished.
    for (const { partition, place } of list) {
      if (place.offset !== partition.handed.offset) continue;
      partition.finished = place;
      this.pending.delete(partition.key);
    }
    await abortable(membership.commit(list), options.signal);
  }

  private placesOf(what: Parameters<Consumer<Key, Value, Int64>["commit"]>[0]) {
    if (what === undefined)
      return [...this.stream.partitions.values()]
        .filter(({ handed, origin }) => handed.offset >= 0 && origin === undefined)
        .map((partition) => ({ partition, place: partition.handed, metadata: undefined }));
    const record = (one: { topic: string; partition: number; offset: Int64 }): CommitPlace => ({
      topic: one.topic,
      partition: one.partition,
      offset: Number(one.offset) + 1,
    });
    const places: ReadonlyArray<CommitPlace> = "topic" in what ? [record(what)] : what;
    return places.map(({ topic, partition: index, offset, leaderEpoch = -1, metadata }) => {
      const partition = this.stream.partition(topic, index);
      if (partition === undefined) throw new ClientError(`${topic}-${index} is not assigned to this member`);
      return { partition, place: { offset, leaderEpoch }, metadata };
    });
  }

  /**
   * Who this is in its group, for a transaction that commits these offsets, or everything that was handed out. Throws when
   * a partition was lost since something was handed out of it, though it may be back: another member may have done the
   * same.
   */
  identityFor(offsets?: ReadonlyArray<CommitPlace>): GroupIdentity {
    const { membership } = this;
    if (membership === undefined) throw new ClientError("offsets of a transaction need a consumer with a group");
    const ends = offsets?.map((place) => [partitionKey(place.topic, place.partition), place.offset] as const);
    const lost = [...(ends?.map(([key]) => key) ?? this.pending.keys())].filter((key) => this.lostInHand(key));
    const strange = ends?.some(([key, offset]) => offset > (this.stream.partitions.get(key)?.handed.offset ?? -1));
    if (lost.length > 0 || strange === true)
      throw new ClientError("offsets of a transaction: of a partition that was lost since it was read", {
        retriable: true,
      });
    if (ends === undefined) this.pending.clear();
    else
      for (const [key, offset] of ends)
        if (offset === this.stream.partitions.get(key)?.handed.offset) this.pending.delete(key);
    const { memberId, memberEpoch, options } = membership;
    const identity = { id: options.group, memberId, memberEpoch };
    return options.instanceId === undefined ? identity : { ...identity, instanceId: options.instanceId };
  }

  // ------------------------------------------------------------------------------------------------------- begin and end

  private async start(): Promise<void> {
    try {
      checkOptions(this.options);
      await this.assigned?.begin();
      if (this.closing === undefined) this.stream.open();
    } catch (error) {
      this.stream.end(error instanceof ClientError ? error : new ClientError(String(error), { cause: error }));
    }
  }

  private abort(reason: unknown): void {
    this.aborted ??= { reason };
    void this.close();
    this.wake();
  }

  /**
   * Ends it: nothing more is handed out, a member commits what is finished (unless `autoCommit` is off) and leaves its
   * group at once. Never rejects; without a connection it gives up after `timeoutMs` (default 5000).
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.closing ??= this.finish(options.timeoutMs ?? CLOSE_TIMEOUT_MS);
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async finish(timeoutMs: number): Promise<void> {
    this.assigned?.end();
    this.stopFollowing();
    this.wake();
    const { promise: timedOut, resolve } = Promise.withResolvers<void>();
    const cancel = this.session.platform.clock.after(timeoutMs, resolve);
    const leaving = async (): Promise<void> => {
      await this.membership?.leave();
      await this.stream.leave();
    };
    if (this.stream.failure === undefined) await Promise.race([leaving(), timedOut]);
    cancel();
    this.stream.end(new ClosedError("the consumer"));
    this.wake();
  }
}

/** Of records that the server decoded each has its price; a batch is paid for as a whole when it is through. */
const costOf = ({ content }: Delivery, received: ReceivedRecord): Credit => ({
  records: 1,
  bytes: content.kind === "records" ? receivedCost(received) : 0,
});

const placeBehind = ({ leaderEpoch }: Delivery, { offset }: ReceivedRecord) => ({ offset: offset + 1, leaderEpoch });

const checkOptions = (options: ConsumeOptions<unknown, unknown, Int64Mode>): void => {
  whole("window.records", options.window?.records, 1, Number.MAX_SAFE_INTEGER);
  whole("window.bytes", options.window?.bytes, 1, Number.MAX_SAFE_INTEGER);
  among("encoding", options.encoding, "batches", "records");
  among("int64", options.int64, "number", "bigint");
  const { onOutOfRange = "error" } = options;
  if (typeof onOutOfRange !== "function" && !["error", "earliest", "latest"].includes(onOutOfRange))
    refuse("onOutOfRange", "error, earliest, latest or a function", onOutOfRange);
  if (options.group === undefined) whole("metadataMaxAgeMs", options.metadataMaxAgeMs, 1);
  else if (options.autoCommit !== false) whole("autoCommit", options.autoCommit, 1);
};
