/**
 * The GroupCoordinator actor: one per partition of `__consumer_offsets`, which is its journal. It drains commands,
 * decides each, folds the events in at once and appends them as one batch; replies leave when everything decided before
 * them is committed.
 *
 * What must stay true: it alone writes to its partition; what is appended is exactly what was folded, in the same order
 * (its replay is its state); every asker is answered once; after a failed append nothing that was decided since counts:
 * whoever waits is told that this is not the coordinator, and the log is read again.
 */
import type { AppendCommand, Timers } from "../src/api/Ports.ts";
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import { type AskId, NO_ASK } from "../src/group/ClassicGroup.ts";
import { decide, resume } from "../src/group/Decide.ts";
import type { CoordinatorState, Decision, GroupCommand, VolatileGroup } from "../src/group/GroupCoordinator.ts";
import { emptyJournal, evolve, type GroupJournal } from "../src/group/GroupJournal.ts";
import {
  decodeGroupRecord,
  type EncodedRecord,
  encodeGroupRecord,
  type GroupRecord,
} from "../src/group/GroupRecords.ts";
import type { MetadataImage } from "../src/metadata/MetadataImage.ts";
import { ParkedReplies } from "../src/partition/ParkedReplies.ts";
import type { PartitionView } from "../src/partition/PartitionView.ts";
import { isPending, type MaybePending, type Offset } from "../src/prelude/Types.ts";
import { Errors, errorName } from "../src/protocol/Errors.ts";
import type { Codecs } from "../src/record/Compression.ts";
import {
  attributesOf,
  forEachBatch,
  isControl,
  lastOffsetOf,
  readBatchInfo,
  records,
} from "../src/record/RecordBatch.ts";
import { buildBatch } from "../src/record/RecordBatchBuilder.ts";
import { type ActorContext, type ActorRef, type Behavior, spawn } from "./Actor.ts";
import { type CoordinatorTimer, CoordinatorTimers } from "./CoordinatorTimers.ts";

/** A reply, or the error code of a coordinator that cannot answer (14, 15, 16, -1). */
export type Settle = (reply: unknown) => void;

export type GroupCoordinatorMessage =
  | { readonly kind: "command"; readonly command: GroupCommand; readonly settle: Settle }
  | { readonly kind: "timer"; readonly timer: CoordinatorTimer }
  | { readonly kind: "reload"; readonly why: string };

export interface GroupCoordinatorEnvironment extends ActorContext {
  readonly timers: Timers;
  readonly codecs: Codecs;
  readonly config: () => BrokerConfig;
  readonly image: () => MetadataImage;
  /** The journal: its published view or the error why there is none, its appends, and its bound on one batch. */
  readonly view: () => PartitionView | number;
  readonly append: (command: AppendCommand) => void;
  readonly maxBatchBytes: () => number;
}

/** Read at a time while loading. */
const READ_BYTES = 1024 * 1024;
/** How long to wait before looking again whether the partition is open, or its end is committed. */
const RETRY_MS = 10;
/** More than any batch header and one record's own fields take. */
const BATCH_OVERHEAD = 128;
const RECORD_OVERHEAD = 32;

export class GroupCoordinator implements Behavior<GroupCoordinatorMessage> {
  readonly actor: ActorRef<GroupCoordinatorMessage>;
  private journal: GroupJournal = emptyJournal();
  private readonly volatile = new Map<string, VolatileGroup>();
  private readonly timers: CoordinatorTimers;
  /** Who has asked and is not answered by any decision yet. */
  private readonly asks = new Map<AskId, Settle>();
  private nextAsk: AskId = 0;
  private readonly parked = new ParkedReplies();
  private phase: "unloaded" | "loading" | "active" | "failed" | "stopped" = "unloaded";
  /** Counts loads: what an earlier one left behind (appends, reads) is void. */
  private term = 0;
  /** Exclusive end of what was appended, and of what of it is committed. */
  private appendedEnd: Offset = 0;
  private committedEnd: Offset = 0;

  constructor(
    readonly name: string,
    private readonly environment: GroupCoordinatorEnvironment,
  ) {
    this.timers = new CoordinatorTimers(environment.timers, environment.clock, (timer) =>
      this.actor.tell({ kind: "timer", timer }),
    );
    this.actor = spawn(environment, name, this);
  }

  turn(messages: ReadonlyArray<GroupCoordinatorMessage>): void {
    for (const message of messages) {
      switch (message.kind) {
        case "command":
          this.command(message.command, message.settle);
          break;
        case "timer":
          if (this.timers.due(message.timer) && this.phase === "active") this.run(message.timer.command, NO_ASK);
          break;
        case "reload":
          this.reload(message.why);
          break;
      }
    }
  }

  abandon(messages: ReadonlyArray<GroupCoordinatorMessage>): void {
    for (const message of messages) if (message.kind === "command") message.settle(Errors.NOT_COORDINATOR);
  }

  /** Forgets everything and reads the log again; whoever waits looks for the coordinator anew. */
  reload(why: string): void {
    if (this.phase === "stopped") return;
    this.environment.log("warn", `${this.name} reads its log again: ${why}`);
    this.forget();
    this.load();
  }

  offline(why: string): void {
    this.environment.log("error", `${this.name} is offline: ${why}`);
    this.stop();
  }

  /** Ends the work: the partition is not ours any more, or gone. */
  stop(): void {
    this.forget();
    this.phase = "stopped";
  }

  /** The journal, for tests that compare it with a replay. */
  get journaled(): GroupJournal {
    return this.journal;
  }

  private command(command: GroupCommand, settle: Settle): void {
    if (this.phase === "unloaded") this.load();
    if (this.phase === "loading") return settle(Errors.COORDINATOR_LOAD_IN_PROGRESS);
    if (this.phase !== "active") return settle(Errors.NOT_COORDINATOR);
    const ask = this.nextAsk;
    this.nextAsk += 1;
    this.asks.set(ask, settle);
    this.run(command, ask);
  }

  private run(command: GroupCommand, ask: AskId): void {
    this.apply(decide(this.state(), command, ask, this.context()), ask);
  }

  private state(): CoordinatorState {
    return { journal: this.journal, volatile: this.volatile };
  }

  private context(): { now: number; image: MetadataImage; config: BrokerConfig } {
    const { clock, image, config } = this.environment;
    return { now: clock.wall(), image: image(), config: config() };
  }

  private apply(decision: Decision, ask: AskId): void {
    if (decision.records.length > 0 && !this.write(decision)) {
      this.asks.get(ask)?.(Errors.UNKNOWN_SERVER_ERROR);
      this.asks.delete(ask);
      return;
    }
    for (const { groupId, group } of decision.volatile) {
      if (group === undefined) this.volatile.delete(groupId);
      else this.volatile.set(groupId, group);
    }
    for (const { key, afterMs, command } of decision.timers) {
      if (afterMs === undefined || command === undefined) this.timers.cancel(key);
      else this.timers.arm(key, afterMs, command);
    }
    for (const { ask: asked, reply } of decision.answers) {
      const settle = this.asks.get(asked);
      this.asks.delete(asked);
      if (settle === undefined) continue;
      if (this.appendedEnd <= this.committedEnd) settle(reply);
      else {
        this.parked.park(
          this.appendedEnd,
          () => settle(reply),
          (error) => settle(error),
        );
      }
    }
  }

  /** Appends and folds a decision's records; false when they are more than one batch may hold. */
  private write({ records: events, divisible }: Decision): boolean {
    const limit = this.environment.maxBatchBytes();
    const encoded = events.map(encodeGroupRecord);
    const batches = divisible === true ? split(encoded, limit) : [encoded];
    const built = batches.map((batch) => buildBatch(batch, { timestamp: this.environment.clock.wall() }));
    if (built.some(({ length }) => length > limit)) {
      this.environment.log("error", `${this.name}: a decision of ${events.length} records is above ${limit} bytes`);
      return false;
    }
    for (const event of events) {
      evolve(this.journal, event, this.appendedEnd);
      this.appendedEnd += 1;
    }
    let base = this.appendedEnd - events.length;
    for (const bytes of built) base = this.append(bytes, base);
    return true;
  }

  private append(bytes: Uint8Array, base: Offset): Offset {
    const { term } = this;
    const info = readBatchInfo(bytes, 0);
    const end = base + info.recordCount;
    this.environment.append({
      batch: { bytes, info, logAppendTime: -1 },
      acks: -1,
      applied: () => undefined,
      settle: ({ error, baseOffset }) => {
        if (term !== this.term) return;
        if (error !== Errors.NONE) return this.fail(error);
        if (baseOffset !== base) return this.fail(Errors.NOT_COORDINATOR);
        this.committedEnd = end;
        this.parked.release(end);
      },
    });
    return end;
  }

  /** An append failed: what was decided since is void. The replies that wait are unknown to us; the log knows. */
  private fail(error: number): void {
    if (this.phase !== "active") return;
    this.phase = "failed";
    this.parked.fail(responseError(error));
    this.actor.tell({ kind: "reload", why: `an append failed with ${errorName(error)}` });
  }

  private forget(): void {
    this.term += 1;
    this.timers.cancelAll();
    this.volatile.clear();
    this.journal = emptyJournal();
    this.parked.fail(Errors.NOT_COORDINATOR);
    const asks = [...this.asks.values()];
    this.asks.clear();
    for (const settle of asks) settle(Errors.NOT_COORDINATOR);
  }

  /** Reads the log; at once when it can be, else the phase is `loading` until it is done. */
  private load(): void {
    this.phase = "loading";
    const { term } = this;
    const view = this.environment.view();
    if (view === Errors.KAFKA_STORAGE_ERROR) {
      this.phase = "failed";
      return;
    }
    // Not open yet, or its end not yet committed: nobody may be told what could still be lost.
    if (typeof view === "number" || view.highWatermark < view.logEndOffset) return this.loadLater();
    const journal = emptyJournal();
    const loading = this.replay(view, journal, view.logStartOffset);
    const ready = (): void => {
      if (term !== this.term || this.phase !== "loading") return;
      this.journal = journal;
      this.appendedEnd = view.logEndOffset;
      this.committedEnd = view.logEndOffset;
      this.phase = "active";
      this.apply(resume(this.state(), this.context(), NO_ASK), NO_ASK);
    };
    if (!isPending(loading)) return ready();
    loading.then(ready, (error: unknown) => {
      if (term !== this.term) return;
      this.environment.log("error", `${this.name} cannot read its log: ${String(error)}`);
      this.phase = "unloaded";
    });
  }

  private loadLater(): void {
    const { term } = this;
    this.environment.clock.after(RETRY_MS, () => {
      if (term === this.term && this.phase === "loading") this.load();
    });
  }

  private replay(view: PartitionView, journal: GroupJournal, from: Offset): MaybePending<void> {
    const end = view.logEndOffset;
    let offset = from;
    while (offset < end) {
      const reading = view.log.read(offset, READ_BYTES, end, true);
      if (isPending(reading)) {
        const at = offset;
        return reading.then((data) => {
          this.fold(data.records, at, journal);
          if (data.endOffset <= at) throw new Error(`nothing can be read at offset ${at}`);
          return this.replay(view, journal, data.endOffset);
        });
      }
      this.fold(reading.records, offset, journal);
      if (reading.endOffset <= offset) throw new Error(`nothing can be read at offset ${offset}`);
      offset = reading.endOffset;
    }
  }

  private fold(chunk: Uint8Array, from: Offset, journal: GroupJournal): void {
    const { codecs, log } = this.environment;
    forEachBatch(chunk, 0, chunk.length, (start) => {
      if (lastOffsetOf(chunk, start) < from || isControl(attributesOf(chunk, start))) return;
      for (const { key, value, offset } of records(chunk, start, codecs)) {
        if (offset < from || key === null) continue;
        // A copy: what is kept of a value must not keep the chunk it was read with.
        const event: GroupRecord | string = decodeGroupRecord(key, value?.slice() ?? null);
        if (typeof event !== "string") evolve(journal, event, offset);
        else if (event === "newer") log("warn", `${this.name}: the value at offset ${offset} is of a newer format`);
      }
    });
  }
}

/** What a failed append means to a group's client (Kafka's `CoordinatorOperationExceptionHelper`). */
export const responseError = (error: number): number => {
  switch (error) {
    case Errors.UNKNOWN_TOPIC_OR_PARTITION:
    case Errors.NOT_ENOUGH_REPLICAS:
    case Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case Errors.REQUEST_TIMED_OUT:
      return Errors.COORDINATOR_NOT_AVAILABLE;
    case Errors.NOT_LEADER_OR_FOLLOWER:
    case Errors.KAFKA_STORAGE_ERROR:
      return Errors.NOT_COORDINATOR;
    case Errors.MESSAGE_TOO_LARGE:
    case Errors.RECORD_LIST_TOO_LARGE:
      return Errors.UNKNOWN_SERVER_ERROR;
    default:
      return error;
  }
};

/** Consecutive parts that each fit into a batch of `limit` bytes. */
const split = (encoded: ReadonlyArray<EncodedRecord>, limit: number): EncodedRecord[][] => {
  const parts: EncodedRecord[][] = [];
  let part: EncodedRecord[] = [];
  let bytes = BATCH_OVERHEAD;
  for (const record of encoded) {
    const size = RECORD_OVERHEAD + record.key.length + (record.value?.length ?? 0);
    if (part.length > 0 && bytes + size > limit) {
      parts.push(part);
      part = [];
      bytes = BATCH_OVERHEAD;
    }
    part.push(record);
    bytes += size;
  }
  if (part.length > 0) parts.push(part);
  return parts;
};
