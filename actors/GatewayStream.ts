/**
 * One stream of a gateway's client: partitions with a cursor each, and the credit that covers what is pushed. It is
 * given turns by its session and pushes one frame a turn, partition after partition. What must stay true: nothing is
 * pushed beyond the credit; a cursor moves only past what was handed to the connection; a partition without news costs
 * one waiter and no bytes; what was read for a place that a seek or a removal has left meanwhile is not pushed.
 */
import * as Exit from "effect/Exit";
import { WaitingFetch } from "../src/api/DelayedFetch.ts";
import type { Ports } from "../src/api/Ports.ts";
import type { Caller } from "../src/gateway/Caller.ts";
import { Delivery } from "../src/gateway/Delivery.ts";
import { type Checked, checkHistory } from "../src/gateway/History.ts";
import type { Credit, Isolation, PartitionAt, Position, StreamPush, TopicPartition } from "../src/gateway/Messages.ts";
import { isolationLevel } from "../src/gateway/Positions.ts";
import { wireError } from "../src/gateway/WireError.ts";
import type { PartitionView } from "../src/partition/PartitionView.ts";
import { buggify } from "../src/prelude/Buggify.ts";
import { isPending, type LeaderEpoch, type Offset, type Uuid } from "../src/prelude/Types.ts";
import { Errors } from "../src/protocol/Errors.ts";
import type { ConnectionEnvironment } from "./Connection.ts";
import type { GatewayReads, ReadAnswer } from "./GatewayReads.ts";

/** What a stream says, before it is a frame of its own stream. */
export type Push = StreamPush extends infer P ? (P extends { t: "records" } ? never : Omit<P, "stream">) : never;

/** Pieces of one partition on their way to the client. */
export interface PushedRecords {
  readonly view: PartitionView;
  readonly delivery: Delivery;
  /** Pieces `[from, to)`. */
  readonly from: number;
  readonly to: number;
  readonly next: readonly [Offset, LeaderEpoch];
}

/** The connection a stream belongs to. */
export interface StreamOwner {
  readonly ports: Ports;
  readonly reads: GatewayReads;
  readonly caller: Caller;
  readonly principal: string;
  readonly run: ConnectionEnvironment["run"];
  /** Whether the connection takes records now. */
  readonly canPush: boolean;
  /** How large a frame of several records should be at most. */
  readonly frameBytes: number;
  push(stream: GatewayStream, push: Push): void;
  pushRecords(stream: GatewayStream, records: PushedRecords): void;
  /** The stream wants a turn. */
  offer(stream: GatewayStream): void;
}

/** `standing`: something was told to the client, and it has to seek. */
type PartitionState = "queued" | "reading" | "waiting" | "paused" | "retrying" | "standing";

export class StreamPartition implements TopicPartition {
  state: PartitionState = "paused";
  /** Rises whenever the cursor is placed anew: an answer for an older place is dropped. */
  placement = 0;
  /** The leader epoch under which the cursor is known to lie in the log's history; -1: to be asked. */
  checkedEpoch: LeaderEpoch = -1;
  failures = 0;
  /** Something of it was pushed. */
  told = false;
  /** It is no longer of its stream. */
  removed = false;
  waiting: WaitingFetch | undefined;
  cancelRetry: (() => void) | undefined;

  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly topicId: Uuid,
    public offset: Offset,
    /** Of the record before `offset`. */
    public leaderEpoch: LeaderEpoch,
  ) {}

  get position(): Position {
    return { offset: this.offset, leaderEpoch: this.leaderEpoch, topicId: this.topicId };
  }
}

export interface StreamSettings {
  readonly isolation: Isolation;
  readonly raw: boolean;
  readonly credit: Credit;
  readonly creditLimit: Credit;
}

/** Pauses before a partition in trouble is read again; it is told after `TOLD_AFTER` failures in a row. */
const RETRY_MS = [50, 100, 200, 500, 1000];
const TOLD_AFTER = 3;
/** Reads of one stream that wait for the disk at a time. */
const MAX_READS = 4;

export const partitionKey = (topic: string, partition: number): string => `${partition} ${topic}`;

export class GatewayStream {
  readonly partitions = new Map<string, StreamPartition>();
  /** Those with something to read, in the order of their turns. */
  private turns: StreamPartition[] = [];
  private readonly isolationLevel: 0 | 1;
  private readonly credit: { records: number; bytes: number };
  private readsUnderWay = 0;
  /** Its next piece cost more than there was: no other has a turn before it, or large records would never come. */
  private first: StreamPartition | undefined;
  /** The client was told, and no credit has come since. */
  private starved = false;
  isClosed = false;
  /** Of a group: a topic was deleted, and whoever keeps the member says so. */
  onGone: (() => void) | undefined;
  /** The session has it in its queue. */
  offered = false;

  constructor(
    readonly number: number,
    private readonly settings: StreamSettings,
    private readonly owner: StreamOwner,
  ) {
    this.isolationLevel = isolationLevel(settings.isolation);
    this.credit = { records: 0, bytes: 0 };
    this.grant(settings.credit);
  }

  get isolation(): Isolation {
    return this.settings.isolation;
  }

  partition({ topic, partition }: TopicPartition): StreamPartition | undefined {
    return this.partitions.get(partitionKey(topic, partition));
  }

  grant({ records, bytes }: Credit): void {
    const { creditLimit } = this.settings;
    this.credit.records = Math.min(this.credit.records + records, creditLimit.records);
    this.credit.bytes = Math.min(this.credit.bytes + bytes, creditLimit.bytes);
    this.starved = false;
    this.offer();
  }

  /** Replaces a partition of the same name. */
  add({ topic, partition, position }: PartitionAt): StreamPartition {
    this.remove({ topic, partition });
    const added = new StreamPartition(topic, partition, position.topicId, position.offset, position.leaderEpoch);
    this.partitions.set(partitionKey(topic, partition), added);
    this.queue(added);
    return added;
  }

  remove(named: TopicPartition): void {
    const partition = this.partition(named);
    if (partition === undefined) return;
    this.halt(partition);
    partition.removed = true;
    this.partitions.delete(partitionKey(named.topic, named.partition));
  }

  /** Nothing more of the partition is pushed until it is placed again; what is read already is dropped. */
  halt(partition: StreamPartition): void {
    partition.placement += 1;
    this.become(partition, "paused");
    partition.cancelRetry?.();
    partition.cancelRetry = undefined;
    if (partition.waiting !== undefined) this.owner.ports.delayedFetches.cancel(partition.waiting);
    partition.waiting = undefined;
    const at = this.turns.indexOf(partition);
    if (at >= 0) this.turns.splice(at, 1);
  }

  close(): void {
    this.isClosed = true;
    for (const partition of this.partitions.values()) this.halt(partition);
    this.partitions.clear();
  }

  /** Whether a turn could push something. */
  get wantsTurn(): boolean {
    const { turns, credit, first, starved, isClosed, readsUnderWay } = this;
    if (turns.length === 0 || (first !== undefined && turns[0] !== first)) return false;
    return credit.records > 0 && !starved && !isClosed && readsUnderWay < MAX_READS;
  }

  /** Reads the next partition in line and pushes at most one frame. */
  turn(): void {
    const partition = this.turns.shift();
    if (partition === undefined) return;
    const view = this.owner.ports.replicas.view(partition.topicId, partition.partition);
    if (typeof view === "number") return this.failed(partition, view);
    if (partition.checkedEpoch !== view.leaderEpoch) {
      if (partition.leaderEpoch !== -1) return this.check(partition, view);
      partition.checkedEpoch = view.leaderEpoch;
    }
    const bound = this.isolationLevel === 1 ? view.lastStableOffset : view.highWatermark;
    const { offset } = partition;
    if (offset >= bound && offset <= view.logEndOffset && offset >= view.logStartOffset)
      return this.wait(partition, view);
    this.become(partition, "reading");
    const { placement } = partition;
    const { isolationLevel, settings, owner } = this;
    const place = { principal: owner.principal, view, offset, isolationLevel, raw: settings.raw };
    const answer = owner.reads.read(place);
    if (!isPending(answer)) return this.take(partition, view, answer);
    this.readsUnderWay += 1;
    const ended = (act: () => void): void => {
      this.readsUnderWay -= 1;
      if (partition.placement === placement) act();
      this.offer();
    };
    answer.then(
      (read) =>
        ended(() => {
          // What was read is kept for a moment: the next turn finds it.
          const mayPush = this.owner.canPush && this.credit.records > 0 && !this.starved;
          if (mayPush && (this.first ?? partition) === partition) this.take(partition, view, read);
          else this.queue(partition);
        }),
      (defect: unknown) => ended(() => this.broken(partition, defect)),
    );
  }

  private become(partition: StreamPartition, state: PartitionState): void {
    partition.state = state;
    if (this.first === partition && state !== "queued" && state !== "reading") this.first = undefined;
  }

  private take(partition: StreamPartition, view: PartitionView, { error, delivery }: ReadAnswer): void {
    if (error !== Errors.NONE) return this.failed(partition, error, view);
    if (delivery === undefined) return this.wait(partition, view);
    partition.failures = 0;
    const from = delivery.pieceAt(partition.offset);
    const frameBytes = buggify("a frame of records is cut short") ? 1 : this.owner.frameBytes;
    const count = delivery.fitting(from, this.credit, frameBytes);
    const to = from + count;
    if (count === 0 && from < delivery.count) return this.starve(partition, delivery, from);
    const last = to === delivery.count;
    const next: readonly [Offset, LeaderEpoch] = last
      ? [delivery.endOffset, delivery.endEpoch]
      : [delivery.lastOffsets[to - 1]! + 1, delivery.epochs[to - 1]!];
    this.first = undefined;
    this.credit.records -= delivery.records(from, to);
    this.credit.bytes -= delivery.cost(from, to);
    [partition.offset, partition.leaderEpoch] = next;
    partition.told = true;
    this.owner.pushRecords(this, { view, delivery, from, to, next });
    if (!this.isClosed) this.queue(partition);
  }

  /** The next piece costs more than there is. */
  private starve(partition: StreamPartition, delivery: Delivery, piece: number): void {
    this.starved = true;
    this.first = partition;
    this.become(partition, "queued");
    this.turns.unshift(partition);
    const records = delivery.records(piece, piece + 1);
    this.owner.push(this, { t: "starved", records, bytes: delivery.cost(piece, piece + 1) });
  }

  /** Whether the cursor still lies in the log's history (KIP-320), asked once per leader epoch. */
  private check(partition: StreamPartition, view: PartitionView): void {
    this.become(partition, "reading");
    const { placement } = partition;
    this.owner.run(checkHistory(this.owner.caller, partition, view.leaderEpoch)).addObserver((exit) => {
      if (partition.placement !== placement) return;
      if (Exit.isSuccess(exit)) this.checked(partition, view, exit.value);
      else this.broken(partition, exit.cause);
    });
  }

  private checked(partition: StreamPartition, view: PartitionView, checked: Checked): void {
    switch (checked.kind) {
      case "fine":
        partition.checkedEpoch = view.leaderEpoch;
        return this.queue(partition);
      case "diverged": {
        const { offset, leaderEpoch } = checked;
        const position = { offset, leaderEpoch, topicId: partition.topicId };
        this.become(partition, "standing");
        return this.owner.push(this, { t: "diverged", ...named(partition), position });
      }
      case "failed":
        return this.failed(partition, checked.error, view);
    }
  }

  private failed(partition: StreamPartition, error: number, view?: PartitionView): void {
    if (error === Errors.OFFSET_OUT_OF_RANGE && view !== undefined) {
      this.become(partition, "standing");
      const { logStartOffset, highWatermark } = view;
      const { offset } = partition;
      const message = `offset ${offset} of ${partition.topic}-${partition.partition} is not in the log: it holds ${logStartOffset} to ${highWatermark}`;
      const told = { offset, logStartOffset, highWatermark, error: wireError(error, message) };
      return this.owner.push(this, { t: "outOfRange", ...named(partition), ...told });
    }
    if (this.isGone(partition)) {
      this.become(partition, "standing");
      if (this.onGone !== undefined) return this.onGone();
      const message = `topic ${partition.topic} with id ${partition.topicId} was deleted`;
      return this.tell(partition, Errors.UNKNOWN_TOPIC_ID, message, false);
    }
    const retriable = wireError(error).retriable && error !== Errors.CORRUPT_MESSAGE;
    if (!retriable) {
      this.become(partition, "standing");
      return this.tell(partition, error, null, false);
    }
    partition.checkedEpoch = -1;
    this.become(partition, "retrying");
    const delay = RETRY_MS[Math.min(partition.failures, RETRY_MS.length - 1)]!;
    partition.failures += 1;
    partition.cancelRetry = this.owner.ports.timers.after(delay, () => {
      partition.cancelRetry = undefined;
      this.queue(partition);
    });
    if (partition.failures === TOLD_AFTER) this.tell(partition, error, null, true);
  }

  private isGone(partition: StreamPartition): boolean {
    const topic = this.owner.ports.metadata.image().topicsById.get(partition.topicId);
    return topic?.partitions[partition.partition] === undefined;
  }

  private broken(partition: StreamPartition, defect: unknown): void {
    this.become(partition, "standing");
    this.tell(partition, Errors.UNKNOWN_SERVER_ERROR, String(defect), false);
  }

  private tell(partition: StreamPartition, error: number, message: string | null, retriable: boolean): void {
    this.owner.push(this, { t: "partitionError", ...named(partition), error: wireError(error, message, retriable) });
  }

  private wait(partition: StreamPartition, view: PartitionView): void {
    // A client learns where the end is, though there is nothing to read.
    if (!partition.told) this.pushEmpty(partition, view);
    const { delayedFetches } = this.owner.ports;
    if (delayedFetches.stopping) {
      this.become(partition, "standing");
      return;
    }
    this.become(partition, "waiting");
    const { placement } = partition;
    partition.waiting = new WaitingFetch(1, this.isolationLevel === 1, () => {
      if (partition.placement !== placement) return;
      partition.waiting = undefined;
      this.queue(partition);
    });
    delayedFetches.wait(partition.waiting, [view]);
  }

  private pushEmpty(partition: StreamPartition, view: PartitionView): void {
    partition.told = true;
    const delivery = new Delivery(this.settings.raw, partition.offset);
    const next = [partition.offset, partition.leaderEpoch] as const;
    this.owner.pushRecords(this, { view, delivery, from: 0, to: 0, next });
  }

  private queue(partition: StreamPartition): void {
    if (this.isClosed || partition.removed) return;
    this.become(partition, "queued");
    if (this.first === partition) this.turns.unshift(partition);
    else this.turns.push(partition);
    this.offer();
  }

  private offer(): void {
    if (this.wantsTurn) this.owner.offer(this);
  }
}

const named = ({ topic, partition }: TopicPartition): TopicPartition => ({ topic, partition });
