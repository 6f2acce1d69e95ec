/**
 * The Partition actor: the one owner of a hosted replica's log for its whole life. It drains appends, decides each,
 * writes the turn's batches in one append, publishes a view, and parks the replies that wait for the high watermark.
 *
 * What must stay true: no reply leaves before its release; nothing is published before it is written; an append's bytes
 * are evolved and staged in the same step; after a failed write the log is cut to its last good length and every append
 * of that turn is answered as unknown; after a failed flush nothing beyond the last successful one is kept (it is above
 * the high watermark) or trusted.
 */
import type { AppendCommand, DeleteRecordsReply } from "../src/api/Ports.ts";
import type { LogSegment } from "../src/log/LogSegment.ts";
import { evolve, type LogState, snapshotOf } from "../src/log/LogState.ts";
import type { ProducerRules } from "../src/log/ProducerStateManager.ts";
import type { FlushTicket } from "../src/log/Unflushed.ts";
import type { LogConfig, UnifiedLog } from "../src/log/UnifiedLog.ts";
import { type VerificationGuard, type VerificationRequest, Verifications } from "../src/log/Verifications.ts";
import { CommittedBytes } from "../src/partition/CommittedBytes.ts";
import { LostFirstBatches } from "../src/partition/LostFirstBatches.ts";
import { ParkedReplies } from "../src/partition/ParkedReplies.ts";
import { type AppendReply, type Decision, decide, type PartitionRole } from "../src/partition/Partition.ts";
import { assertView, type PartitionView } from "../src/partition/PartitionView.ts";
import { DiskError } from "../src/platform/Disk.ts";
import { isPending, type MaybePending, type Offset, type Uuid } from "../src/prelude/Types.ts";
import { Errors } from "../src/protocol/Errors.ts";
import { stampBatch } from "../src/record/RecordBatch.ts";
import { type ActorContext, type ActorRef, type Behavior, spawn } from "./Actor.ts";
import type { Flushable } from "./Flusher.ts";
import type { Space } from "./FreeSpace.ts";
import type { NewFolder } from "./NewFolder.ts";

/** What an opened replica is made of; loading is the opener's work, so that a reload is the same step. */
export interface LoadedLog {
  readonly log: UnifiedLog;
  readonly state: LogState;
}

export type FlushPolicy = "ack" | "interval" | "os";

export interface PartitionSettings {
  readonly policy: FlushPolicy;
  /** Kafka's `flush.messages`: a flush is due, and waited for, whenever so many records are unflushed. */
  readonly flushMessages: number;
  /** Kafka's `flush.ms`: under `interval` and `os`, how long a record may stay unflushed. */
  readonly flushMs: number;
}

/** What a timer can be set to; longer means never. */
const MAX_TIMER_MS = 0x7fff_ffff;

export interface PartitionIdentity {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  readonly nodeId: number;
}

/** What the actor needs from around it. */
export interface PartitionEnvironment extends ActorContext {
  /** Cuts the log to its last good length, durably, and folds it again; `keepBelow` cuts at that offset too. */
  readonly reopen: (
    broken: LoadedLog,
    keepBelow: Offset | undefined,
    owed: NewFolder | undefined,
  ) => Promise<LoadedLog>;
  /** Tells the Flusher of the log's directory. */
  readonly dirty: (log: Flushable) => void;
  readonly space: Space;
  /** Wakes the waiting fetches of this partition, once per turn. */
  readonly published: (view: PartitionView) => void;
  readonly wentOffline: (identity: PartitionIdentity, why: string) => void;
}

export type PartitionMessage =
  | { readonly kind: "append"; readonly command: AppendCommand }
  | { readonly kind: "flushed"; readonly ticket: FlushTicket }
  | { readonly kind: "flushFailed"; readonly ticket: FlushTicket; readonly error: unknown }
  | { readonly kind: "role"; readonly role: PartitionRole }
  | { readonly kind: "settings"; readonly settings: PartitionSettings; readonly log?: LogConfig }
  | { readonly kind: "deleteRecords"; readonly before: Offset; readonly settle: (reply: DeleteRecordsReply) => void }
  | { readonly kind: "roll" }
  | { readonly kind: "expire"; readonly before: Offset; readonly activeToo: boolean; readonly moved: () => void }
  | { readonly kind: "detach"; readonly before: Offset; readonly detached: (segments: LogSegment[]) => void }
  | {
      readonly kind: "swap";
      readonly log: UnifiedLog;
      readonly old: ReadonlyArray<LogSegment>;
      readonly cleaned: LogSegment;
      readonly swapped: (done: boolean) => void;
    }
  | {
      readonly kind: "finishSwap";
      readonly log: UnifiedLog;
      readonly cleaned: LogSegment;
      readonly finished: (done: boolean) => void;
    }
  | { readonly kind: "close"; readonly error: number; readonly closed: () => void };

interface Staged {
  readonly command: AppendCommand;
  readonly decision: Decision;
}

const CLIENT: ProducerRules = { origin: "client" };

/** How often a log is opened again after a failed write or flush before its partition goes offline, and the pause. */
const REOPENINGS = 5;
const REOPENING_PAUSE_MS = 50;

export class Partition implements Behavior<PartitionMessage>, Flushable {
  readonly actor: ActorRef<PartitionMessage>;
  private readonly parked = new ParkedReplies();
  private readonly verifications = new Verifications();
  /** This turn's decisions, settled or parked after the write. */
  private staged: Staged[] = [];
  private current: PartitionView;
  private offlineReason: string | undefined;
  private closed = false;
  private committed: Offset;
  /** Everything below is known to be durable. */
  private flushedOffset: Offset;
  /** Under `interval` and `os`: a due `flush.messages` flush holds the high watermark until it reaches this offset. */
  private awaitedFlush: Offset = 0;
  private readonly committedBytes = new CommittedBytes();
  /** Of a new log, until a ticket that carried it is durable. */
  private created: NewFolder | undefined;
  private readonly tickets = new WeakMap<
    FlushTicket,
    { readonly log: UnifiedLog; readonly created: NewFolder | undefined; readonly waiters: ReadonlyArray<() => void> }
  >();
  /** A round failed and its message is on its way, or the log is being opened again. */
  private flushBroken = false;
  private segmentCount: number;
  private cancelFlushTimer: (() => void) | undefined;
  /** Who waits until what the log has now is durable, or known not to be: told by the next flush. */
  private flushWaiters: Array<() => void> = [];
  /** Replies of this turn that need no write but the view that it ends with. */
  private afterView: Array<() => void> = [];

  constructor(
    readonly identity: PartitionIdentity,
    private loaded: LoadedLog & { readonly created?: NewFolder | undefined },
    private role: PartitionRole,
    private settings: PartitionSettings,
    /** Recovery has made everything below durable; nothing above is shown before it is flushed. */
    durableOffset: Offset,
    private readonly environment: PartitionEnvironment,
    private readonly lostFirsts = new LostFirstBatches(),
  ) {
    this.flushedOffset = durableOffset;
    this.committed = durableOffset;
    this.created = loaded.created;
    this.segmentCount = loaded.log.segments.length;
    this.hearOfDamage();
    this.current = this.makeView();
    const { topic, partition } = identity;
    this.actor = spawn(environment, `partition ${topic}-${partition}`, this);
  }

  /** The published view, or undefined when the partition is offline or closed. */
  get view(): PartitionView | undefined {
    return this.offlineReason === undefined && !this.closed ? this.current : undefined;
  }

  /** Everything below is flushed: the recovery point. */
  get recoveryPoint(): Offset {
    return this.flushedOffset;
  }

  get logStartOffset(): Offset {
    return this.loaded.state.logStartOffset;
  }

  get highWatermark(): Offset {
    return this.committed;
  }

  private hearOfDamage(): void {
    const { topic, partition } = this.identity;
    const { log } = this.loaded;
    log.reader.damageFound = (found) => {
      const damaged = log.segments.findIndex((segment) => segment.damage === found);
      const next = log.segments[damaged + 1];
      const behind = damaged < 0 || next === undefined ? "" : `; what follows begins at offset ${next.baseOffset}`;
      this.environment.log("error", `${topic}-${partition} cannot be read: ${found.message}${behind}`);
    };
  }

  /** Ends the actor's work in order; the answer's ticket is what a clean stop must still flush. */
  shutDown(): Promise<{ readonly clean: boolean; readonly ticket: FlushTicket | undefined }> {
    return new Promise((resolve) => {
      const closed = (): void => {
        const { log, state } = this.loaded;
        if (this.offlineReason !== undefined || log.hasFailed) return resolve({ clean: false, ticket: undefined });
        resolve({ clean: true, ticket: this.ticketOf(log.prepareClose(snapshotOf(state))) });
      };
      this.actor.tell({ kind: "close", error: Errors.NOT_LEADER_OR_FOLLOWER, closed });
    });
  }

  /** The ticket of `shutDown` is durable: the recovery point is the log's end. */
  confirmShutDown(ticket: FlushTicket | undefined): void {
    if (ticket !== undefined) this.loaded.log.flushed(ticket);
    this.flushedOffset = this.loaded.state.logEndOffset;
  }

  /** Closes the log's files once readers are done with them, and ends the fiber. */
  close(): void {
    this.closed = true;
    this.loaded.log.close();
    this.environment.fork(this.actor.stop());
  }

  /** The folder is durable: its metadata file is not needed any more. */
  private closeCreated(): void {
    this.created?.close();
    this.created = undefined;
  }

  turn(messages: ReadonlyArray<PartitionMessage>): MaybePending<void> {
    for (let index = 0; index < messages.length; index += 1) {
      const message = messages[index]!;
      if (message.kind === "append") this.append(message.command);
      else {
        const pending = this.control(message);
        if (isPending(pending)) {
          const rest = messages.slice(index + 1);
          return pending.then(() => this.turn(rest));
        }
      }
    }
    return this.finishTurn();
  }

  abandon(messages: ReadonlyArray<PartitionMessage>): void {
    for (const message of messages) {
      if (message.kind === "append") answer(message.command, Errors.KAFKA_STORAGE_ERROR);
      else if (message.kind === "close") message.closed();
      else if (message.kind === "deleteRecords")
        message.settle({ error: Errors.KAFKA_STORAGE_ERROR, lowWatermark: -1 });
      else if (message.kind === "expire") message.moved();
      else if (message.kind === "detach") message.detached([]);
      else if (message.kind === "swap") message.swapped(false);
      else if (message.kind === "finishSwap") message.finished(false);
    }
  }

  reload(why: string): MaybePending<void> {
    this.failStaged(Errors.KAFKA_STORAGE_ERROR);
    return this.reopen(why, undefined);
  }

  offline(why: string): void {
    this.offlineReason ??= why;
    this.failStaged(Errors.KAFKA_STORAGE_ERROR);
    this.parked.fail(Errors.KAFKA_STORAGE_ERROR);
    this.environment.wentOffline(this.identity, why);
    this.environment.published(this.current);
  }

  /** Kafka's `maybeStartTransactionVerification`: a guard, undefined for a transaction open here, or an error code. */
  beginVerification(request: VerificationRequest, expirationMs: number): VerificationGuard | undefined | number {
    if (this.offlineReason !== undefined || this.closed) return Errors.KAFKA_STORAGE_ERROR;
    if (!this.role.isLeader) return Errors.NOT_LEADER_OR_FOLLOWER;
    const { producers } = this.loaded.state;
    const { producerId, producerEpoch } = request;
    const entry = producers.get(producerId);
    if (entry !== undefined && producerEpoch < entry.epoch) return Errors.INVALID_PRODUCER_EPOCH;
    if (producers.hasOngoingTransaction(producerId, producerEpoch)) return undefined;
    return this.verifications.begin(request, this.environment.clock.monotonic(), expirationMs);
  }

  beginFlush(): FlushTicket | undefined {
    // A failed round's bytes must not be flushed again before the actor has cut them.
    if (this.closed || this.offlineReason !== undefined || this.flushBroken) return undefined;
    return this.ticketOf(this.loaded.log.beginFlush());
  }

  /** Notes which log the ticket is of; until one is durable, it also carries a new folder's name and metadata file. */
  private ticketOf(ticket: FlushTicket | undefined): FlushTicket | undefined {
    const { created, flushWaiters: waiters } = this;
    this.flushWaiters = [];
    if (ticket === undefined) {
      for (const waiter of waiters) waiter();
      return undefined;
    }
    const whole =
      created === undefined
        ? ticket
        : {
            ...ticket,
            files: [...ticket.files, ...created.files],
            directories: [...new Set([...ticket.directories, ...created.directories])],
          };
    this.tickets.set(whole, { log: this.loaded.log, created, waiters });
    return whole;
  }

  flushed(ticket: FlushTicket): void {
    this.actor.tell({ kind: "flushed", ticket });
  }

  flushFailed(ticket: FlushTicket, error: unknown): void {
    if (this.tickets.get(ticket)?.log === this.loaded.log) this.flushBroken = true;
    this.actor.tell({ kind: "flushFailed", ticket, error });
  }

  private append(command: AppendCommand): void {
    if (this.offlineReason !== undefined) return answer(command, Errors.KAFKA_STORAGE_ERROR);
    if (this.closed) return answer(command, Errors.UNKNOWN_TOPIC_OR_PARTITION);
    const { log, state } = this.loaded;
    const { batch, acks, expectedOffset } = command;
    if (this.lostFirsts.mustWait(batch.info, state.producers)) return answer(command, Errors.KAFKA_STORAGE_ERROR);
    if (command.origin !== "coordinator" && !this.environment.space.admit(batch.info.sizeInBytes)) {
      this.lostFirsts.refused(batch.info, state.producers);
      return answer(command, Errors.KAFKA_STORAGE_ERROR);
    }
    const rules = this.rulesOf(command);
    const { info, logAppendTime } = batch;
    const decision = decide(state, this.role, { info, acks, logAppendTime, expectedOffset, rules });
    const { event } = decision;
    if (event !== undefined) {
      stampBatch(batch.bytes, 0, event.baseOffset, event.leaderEpoch);
      log.stage(batch.bytes, event, () => snapshotOf(state));
      const ended = evolve(state, event);
      if (ended !== undefined) log.stageAborted(ended);
      this.verifications.written(event);
      this.committedBytes.append(event.lastOffset + 1, event.sizeInBytes);
    }
    this.staged.push({ command, decision });
  }

  private rulesOf({ batch, origin, transactionVersion, verification }: AppendCommand): ProducerRules {
    const rules = origin === "coordinator" ? { origin, transactionVersion: transactionVersion ?? 0 } : CLIENT;
    if (verification === undefined) return rules;
    const { guard, supportsEpochBump } = verification;
    return { ...rules, verification: this.verifications.of(batch.info.producerId, guard, supportsEpochBump) };
  }

  private control(message: Exclude<PartitionMessage, { kind: "append" }>): MaybePending<void> {
    switch (message.kind) {
      case "flushed":
        return this.afterFlush(message.ticket);
      case "flushFailed":
        return this.afterFailedFlush(message.ticket, message.error);
      case "role":
        this.role = message.role;
        return;
      case "settings": {
        const { flushMs } = this.settings;
        this.settings = message.settings;
        if (message.log !== undefined) this.loaded.log.config = message.log;
        // What waits for a flush by the old time waits by the new one; what else has changed postpones no flush.
        if (flushMs === this.settings.flushMs) return;
        this.cancelFlushTimer?.();
        this.cancelFlushTimer = undefined;
        if (this.settings.policy !== "ack" && this.flushedOffset < this.loaded.state.logEndOffset) this.armFlushTimer();
        return;
      }
      case "deleteRecords": {
        const reply = this.deleteRecords(message.before);
        return void this.afterView.push(() => message.settle(reply));
      }
      case "roll":
        return this.roll();
      case "expire":
        return this.expire(message.before, message.activeToo, message.moved);
      case "detach":
        return message.detached(this.detach(message.before));
      case "swap":
        return message.swapped(this.owns(message.log) && message.log.replaceSegments(message.old, message.cleaned));
      case "finishSwap":
        if (!this.owns(message.log)) return message.finished(false);
        message.cleaned.renameIntoPlace();
        return message.finished(true);
      case "close":
        return this.finishWork(message.error, message.closed);
    }
  }

  /** Kafka's `deleteRecordsOnLeader`: -1 stands for the high watermark. The low watermark is what is left to read. */
  private deleteRecords(before: Offset): DeleteRecordsReply {
    const refused = (error: number): DeleteRecordsReply => ({ error, lowWatermark: -1 });
    if (this.offlineReason !== undefined) return refused(Errors.KAFKA_STORAGE_ERROR);
    if (this.closed) return refused(Errors.UNKNOWN_TOPIC_OR_PARTITION);
    if (!this.role.isLeader) return refused(Errors.NOT_LEADER_OR_FOLLOWER);
    const { state } = this.loaded;
    const offset = before === -1 ? this.committed : before;
    if (offset < 0 || offset > this.committed) return refused(Errors.OFFSET_OUT_OF_RANGE);
    state.moveLogStart(offset);
    return { error: Errors.NONE, lowWatermark: state.logStartOffset };
  }

  /**
   * Retention found everything below `before` expired: the log begins there. Where that takes the active segment too
   * (records deleted up to the log's end do not, as in Kafka), it is rolled, and `moved` waits until the new one would be
   * found after a crash.
   */
  private expire(before: Offset, activeToo: boolean, moved: () => void): MaybePending<void> {
    const settled = (): void => void this.afterView.push(moved);
    if (this.offlineReason !== undefined || this.closed || before > this.committed) return settled();
    const { log, state } = this.loaded;
    // What was appended meanwhile keeps the active segment.
    const rolls = activeToo && before === state.logEndOffset && log.active.size > 0 && !log.hasStaged;
    const written = (): void => {
      const empties = log.active.size === 0;
      // Without batches only the snapshot knows the producers: unless it is whole, the batches stay.
      if (empties && !log.activeIsDescribed) return settled();
      state.moveLogStart(Math.min(before, log.active.baseOffset));
      if (!empties) return settled();
      this.flushWaiters.push(moved);
      this.environment.dirty(this);
    };
    if (!rolls) return written();
    return this.rollThen(written, settled);
  }

  /** The active segment ends here, unless something is about to be written to it. */
  private roll(): MaybePending<void> {
    if (this.offlineReason !== undefined || this.closed || this.loaded.log.hasStaged) return;
    const rolled = (): void => {
      this.segmentCount = this.loaded.log.segments.length;
      this.environment.dirty(this);
    };
    return this.rollThen(rolled, () => undefined);
  }

  private rollThen(written: () => void, failed: () => void): MaybePending<void> {
    const { log, state } = this.loaded;
    log.roll(() => snapshotOf(state), this.environment.clock.wall());
    try {
      const writing = log.write();
      if (!isPending(writing)) return written();
      return writing.then(written, (error: unknown) => {
        failed();
        return this.afterFailedWrite(error);
      });
    } catch (error) {
      failed();
      return this.afterFailedWrite(error);
    }
  }

  /** Whether this is still the log: it may have been opened again since the message was sent. */
  private owns(log: UnifiedLog): boolean {
    return this.offlineReason === undefined && !this.closed && this.loaded.log === log;
  }

  /** Takes the segments below `before` out of the log; only what the log start has passed, and that durably. */
  private detach(before: Offset): LogSegment[] {
    if (this.offlineReason !== undefined || this.closed) return [];
    const { log, state } = this.loaded;
    const detached = log.detachOldest(log.segmentsBelow(Math.min(before, state.logStartOffset)));
    this.segmentCount = log.segments.length;
    if (detached.length > 0) this.environment.dirty(this);
    return detached;
  }

  /** One write for all that was staged; then, in this order: views, replies, waiting fetches. */
  private finishTurn(): MaybePending<void> {
    if (this.offlineReason !== undefined || this.closed) return this.answerAfterView();
    const wrote = this.staged.some(({ decision }) => decision.event !== undefined);
    if (!wrote) return this.publish();
    try {
      const writing = this.loaded.log.write();
      if (!isPending(writing)) return this.written();
      return writing.then(
        () => this.written(),
        (error: unknown) => this.afterFailedWrite(error),
      );
    } catch (error) {
      return this.afterFailedWrite(error);
    }
  }

  private written(): void {
    const { log, state } = this.loaded;
    const rolled = log.segments.length !== this.segmentCount;
    this.segmentCount = log.segments.length;
    const { policy, flushMessages } = this.settings;
    if (policy === "ack") this.environment.dirty(this);
    else if (state.logEndOffset - this.flushedOffset >= flushMessages) {
      this.awaitedFlush = state.logEndOffset;
      this.environment.dirty(this);
    } else if (rolled) this.environment.dirty(this);
    else this.armFlushTimer();
    this.publish();
  }

  /** Under `interval` and `os` a written record is flushed when `flush.ms` have passed, if that is set. */
  private armFlushTimer(): void {
    const { flushMs } = this.settings;
    if (this.cancelFlushTimer !== undefined || flushMs >= MAX_TIMER_MS) return;
    this.cancelFlushTimer = this.environment.clock.after(flushMs, () => {
      this.cancelFlushTimer = undefined;
      this.environment.dirty(this);
    });
  }

  private publish(): void {
    const end = this.loaded.state.logEndOffset;
    if (this.settings.policy === "ack") this.committed = Math.max(this.committed, this.flushedOffset);
    else if (this.flushedOffset >= this.awaitedFlush) this.committed = Math.max(this.committed, end);
    this.committedBytes.commit(this.committed);
    const previous = this.current;
    const moved = previous.logEndOffset !== end || previous.highWatermark !== this.committed || this.viewIsStale();
    if (moved) {
      this.current = this.makeView();
      assertView(this.current, previous);
    }
    const staged = this.staged;
    this.staged = [];
    for (const { command } of staged) command.applied();
    for (const { command, decision } of staged) this.settleOrPark(command, decision);
    this.parked.release(this.committed);
    if (moved) this.environment.published(this.current);
    this.answerAfterView();
  }

  private answerAfterView(): void {
    const answers = this.afterView;
    if (answers.length === 0) return;
    this.afterView = [];
    for (const answer of answers) answer();
  }

  private viewIsStale(): boolean {
    return (
      this.current.leaderEpoch !== this.role.leaderEpoch ||
      this.current.logStartOffset !== this.loaded.state.logStartOffset ||
      this.current.lastStableOffset !== this.lastStableOffset()
    );
  }

  private settleOrPark(command: AppendCommand, { reply, release }: Decision): void {
    if (release.at === "written" || release.offset <= this.committed) return command.settle(reply);
    this.parked.park(
      release.offset,
      () => command.settle(reply),
      (error) => command.settle(failure(error)),
    );
  }

  private lastStableOffset(): Offset {
    return this.loaded.state.lastStableOffset(this.committed);
  }

  private makeView(): PartitionView {
    const { log, state } = this.loaded;
    const { topic, topicId, partition, nodeId } = this.identity;
    return {
      topic,
      topicId,
      partition,
      leaderId: nodeId,
      leaderEpoch: this.role.leaderEpoch,
      logStartOffset: state.logStartOffset,
      highWatermark: this.committed,
      lastStableOffset: this.lastStableOffset(),
      logEndOffset: state.logEndOffset,
      committedBytes: this.committedBytes.total,
      log,
      state,
    };
  }

  /** The bytes of this turn may or may not be in the file: the outcome is unknown, and that is what is answered. */
  private afterFailedWrite(error: unknown): MaybePending<void> {
    this.environment.log("error", `write to ${this.actor.name} failed: ${String(error)}`);
    if (error instanceof DiskError && error.code === "ENOSPC") this.environment.space.ranOut();
    this.failStaged(Errors.KAFKA_STORAGE_ERROR);
    return this.reopen(String(error), undefined);
  }

  private afterFlush(ticket: FlushTicket): void {
    const owner = this.tickets.get(ticket);
    owner?.log.flushed(ticket);
    if (owner !== undefined) this.afterView.push(...owner.waiters);
    // A ticket of a log that was replaced says nothing about the bytes that are there now.
    if (owner?.log !== this.loaded.log) return;
    if (owner.created !== undefined && owner.created === this.created) this.closeCreated();
    this.flushedOffset = Math.max(this.flushedOffset, ticket.offset);
  }

  /**
   * Nothing above the last successful flush is trusted. Under `ack` it is above the high watermark: the log is cut
   * there and goes on. Otherwise consumers may have seen it: the partition goes offline.
   */
  private afterFailedFlush(ticket: FlushTicket, error: unknown): MaybePending<void> {
    const owner = this.tickets.get(ticket);
    owner?.log.flushFailed(ticket);
    if (owner !== undefined) this.afterView.push(...owner.waiters);
    if (this.offlineReason !== undefined || this.closed || owner?.log !== this.loaded.log) return;
    const why = `flush of ${this.actor.name} failed: ${String(error)}`;
    this.failStaged(Errors.KAFKA_STORAGE_ERROR);
    if (this.committed > this.flushedOffset) return this.offline(why);
    this.created?.replace();
    return this.reopen(why, this.flushedOffset);
  }

  /**
   * Opens the log again: nothing is taken before that is durable, and whoever hears of a failure may end the process, so
   * the cut comes before the answers. A disk that fails again is tried again, for no longer than a passing fault takes.
   */
  private reopen(why: string, keepBelow: Offset | undefined, attempt = 1): Promise<void> {
    const install = (loaded: LoadedLog): void => {
      this.lostFirsts.cut(this.loaded.state.producers, loaded.state.producers);
      this.loaded = loaded;
      this.flushBroken = false;
      this.segmentCount = loaded.log.segments.length;
      this.hearOfDamage();
      const end = loaded.state.logEndOffset;
      this.committedBytes.cutTo(end);
      this.flushedOffset = loaded.log.flushedOffset;
      this.current = this.makeView();
      if (keepBelow !== undefined) this.parked.fail(Errors.KAFKA_STORAGE_ERROR);
      this.publish();
      // For those who wait for a flush: there is nothing left to do.
      this.environment.dirty(this);
    };
    const failed = async (error: unknown): Promise<void> => {
      // Whatever failed first, now nothing above the last flush is trusted.
      const givenUp = attempt === REOPENINGS || this.committed > this.flushedOffset;
      if (givenUp || !(error instanceof DiskError)) return this.offline(`${why}; reopening failed: ${String(error)}`);
      const { clock } = this.environment;
      await new Promise<void>((resolve) => clock.after(attempt * REOPENING_PAUSE_MS, resolve));
      this.created?.replace();
      return this.reopen(why, this.flushedOffset, attempt + 1);
    };
    this.flushBroken = true;
    return this.environment.reopen(this.loaded, keepBelow, this.created).then(install, failed);
  }

  private failStaged(error: number): void {
    this.answerAfterView();
    const staged = this.staged;
    this.staged = [];
    for (const { command, decision } of staged) {
      command.applied();
      // What was refused before any byte was written stays refused; the rest is unknown.
      command.settle(
        decision.event === undefined && decision.reply.error !== Errors.NONE ? decision.reply : failure(error),
      );
    }
  }

  /** Ends the actor's work: `error` answers whoever still waits. Bytes already staged are written first. */
  private finishWork(error: number, done: () => void): MaybePending<void> {
    const finish = (): void => {
      this.closed = true;
      this.parked.fail(error);
      this.environment.published(this.current);
      done();
    };
    const pending = this.finishTurn();
    return isPending(pending) ? pending.then(finish) : finish();
  }
}

const failure = (error: number): AppendReply => ({
  error,
  baseOffset: -1,
  logAppendTime: -1,
  logStartOffset: -1,
  message: null,
});

const answer = (command: AppendCommand, error: number): void => {
  command.applied();
  command.settle(failure(error));
};
