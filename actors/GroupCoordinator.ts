/**
 * The GroupCoordinator actor: one per partition of `__consumer_offsets`, which is its journal. It drains commands,
 * decides each, folds the events in at once and appends them as one batch; replies leave when everything decided before
 * them is committed.
 *
 * What must stay true: it alone writes to its partition; what is appended is exactly what was folded, in the same order
 * (its replay is its state); every asker is answered once; after a failed append nothing that was decided since counts:
 * whoever waits is told that this is not the coordinator, and the log is read again; what members were told that the
 * log does not know (a generation is told when all have joined, and recorded when all have synced) is not told again.
 */
import type { EndOfTransaction, Timers } from "../src/api/Ports.ts";
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import { type AskId, NO_ASK } from "../src/group/ClassicGroup.ts";
import { classicGroup, groupIds } from "../src/group/CoordinatorState.ts";
import { decide, resume } from "../src/group/Decide.ts";
import type { CoordinatorState, Decision, GroupCommand, VolatileGroup } from "../src/group/GroupCoordinator.ts";
import { emptyJournal, evolve, type GroupJournal } from "../src/group/GroupJournal.ts";
import { decodeGroupRecord, encodeGroupRecord, type GroupRecord } from "../src/group/GroupRecords.ts";
import type { MetadataImage } from "../src/metadata/MetadataImage.ts";
import { buggify } from "../src/prelude/Buggify.ts";
import { Errors, errorName } from "../src/protocol/Errors.ts";
import { type ActorContext, type ActorRef, type Behavior, spawn } from "./Actor.ts";
import { CoordinatorLog, type CoordinatorLogEnvironment } from "./CoordinatorLog.ts";
import { type CoordinatorTimer, CoordinatorTimers } from "./CoordinatorTimers.ts";

/** A reply, or the error code of a coordinator that cannot answer (14, 15, 16, -1). */
export type Settle = (reply: unknown) => void;

export type GroupCoordinatorMessage =
  | { readonly kind: "command"; readonly command: GroupCommand; readonly settle: Settle }
  | { readonly kind: "endTransaction"; readonly end: EndOfTransaction; readonly settle: (error: number) => void }
  | { readonly kind: "timer"; readonly timer: CoordinatorTimer }
  | { readonly kind: "reload"; readonly why: string };

export interface GroupCoordinatorEnvironment extends ActorContext, CoordinatorLogEnvironment {
  readonly timers: Timers;
  readonly config: () => BrokerConfig;
  readonly image: () => MetadataImage;
}

export class GroupCoordinator implements Behavior<GroupCoordinatorMessage> {
  readonly actor: ActorRef<GroupCoordinatorMessage>;
  private journal: GroupJournal = emptyJournal();
  private readonly volatile = new Map<string, VolatileGroup>();
  /** By group: generations above the log's that members were told of. Of groups there are only. */
  private readonly told = new Map<string, number>();
  private readonly timers: CoordinatorTimers;
  /** Who has asked and is not answered by any decision yet. */
  private readonly asks = new Map<AskId, Settle>();
  private nextAsk: AskId = 0;
  private readonly log: CoordinatorLog;
  private phase: "unloaded" | "loading" | "active" | "failed" | "stopped" = "unloaded";

  constructor(
    readonly name: string,
    private readonly environment: GroupCoordinatorEnvironment,
  ) {
    this.log = new CoordinatorLog(environment, (error) => this.appendFailed(error));
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
        case "endTransaction":
          this.endTransaction(message.end, message.settle);
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
    for (const message of messages) {
      if (message.kind === "command") message.settle(Errors.NOT_COORDINATOR);
      else if (message.kind === "endTransaction") message.settle(Errors.NOT_LEADER_OR_FOLLOWER);
    }
  }

  /** Forgets everything and reads the log again; whoever waits looks for the coordinator anew. */
  reload(why: string): void {
    if (this.phase === "stopped") return;
    this.environment.log("warn", `${this.name} reads its log again: ${why}`);
    this.rememberGenerations();
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
    else if (buggify("a group coordinator is lost", 0.05)) this.reload("it was lost");
    if (this.phase === "loading") return settle(Errors.COORDINATOR_LOAD_IN_PROGRESS);
    if (this.phase !== "active") return settle(Errors.NOT_COORDINATOR);
    const ask = this.nextAsk;
    this.nextAsk += 1;
    this.asks.set(ask, settle);
    this.run(command, ask);
  }

  /** The transaction coordinator says how a transaction that committed offsets here has ended; it asks until it is told NONE. */
  private endTransaction(end: EndOfTransaction, settle: (error: number) => void): void {
    if (this.phase === "unloaded") this.load();
    if (this.phase !== "active") return settle(Errors.NOT_LEADER_OR_FOLLOWER);
    this.journal.offsets.endTransaction(end.producerId, end.committed);
    this.log.appendMarker(end);
    this.log.whenCommitted(() => settle(Errors.NONE), settle);
  }

  private run(command: GroupCommand, ask: AskId): void {
    this.apply(decide(this.state(), command, ask, this.context()), ask);
  }

  private state(): CoordinatorState {
    return { journal: this.journal, volatile: this.volatile, told: this.told };
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
      this.settleCommitted(reply, settle);
    }
  }

  /**
   * Answers when everything decided so far is committed. What the disk holds up for longer than Kafka's timeout of a write
   * is told to ask again; the decision stands, and counts when it is committed.
   */
  private settleCommitted(reply: unknown, settle: Settle): void {
    const { timers, config } = this.environment;
    let waiting = true;
    let cancel = (): void => undefined;
    const answer: Settle = (told) => {
      if (!waiting) return;
      waiting = false;
      cancel();
      settle(told);
    };
    this.log.whenCommitted(() => answer(reply), answer);
    if (!waiting) return;
    const timeoutMs = config().number("offsets.commit.timeout.ms");
    cancel = timers.after(timeoutMs, () => answer(Errors.COORDINATOR_NOT_AVAILABLE));
  }

  /** Appends and folds a decision's records; false when they are more than one batch may hold. */
  private write({ records: events, divisible, transaction }: Decision): boolean {
    const base = this.log.end;
    if (!this.log.append(events.map(encodeGroupRecord), divisible === true, transaction)) {
      this.environment.log("error", `${this.name}: a decision of ${events.length} records is above the batch limit`);
      return false;
    }
    const producerId = transaction?.producerId ?? -1;
    for (const [index, event] of events.entries()) evolve(this.journal, event, base + index, producerId);
    return true;
  }

  /** An append failed: what was decided since is void, and what became of the replies that waited only the log knows. */
  private appendFailed(error: number): void {
    if (this.phase !== "active") return;
    this.phase = "failed";
    this.actor.tell({ kind: "reload", why: `an append failed with ${errorName(error)}` });
  }

  private rememberGenerations(): void {
    const state = this.state();
    for (const groupId of groupIds(state)) {
      const group = classicGroup(state, groupId);
      if (group !== undefined) this.told.set(groupId, Math.max(group.generation, this.told.get(groupId) ?? 0));
    }
  }

  private forgetRecordedGenerations(): void {
    const state = this.state();
    for (const [groupId, generation] of this.told) {
      const group = classicGroup(state, groupId);
      if (group === undefined || group.generation >= generation) this.told.delete(groupId);
    }
  }

  private forget(): void {
    this.timers.cancelAll();
    this.volatile.clear();
    this.journal = emptyJournal();
    this.log.reset(Errors.NOT_COORDINATOR);
    const asks = [...this.asks.values()];
    this.asks.clear();
    for (const settle of asks) settle(Errors.NOT_COORDINATOR);
  }

  /** Reads the log; at once when it can be, else the phase is `loading` until it is done. */
  private load(): void {
    this.phase = "loading";
    let journal = emptyJournal();
    this.log.load({
      begin: () => {
        journal = emptyJournal();
      },
      fold: (key, value, offset, producerId) => {
        const event: GroupRecord | string = decodeGroupRecord(key, value);
        if (typeof event !== "string") evolve(journal, event, offset, producerId);
        else if (event === "newer") {
          this.environment.log("warn", `${this.name}: the value at offset ${offset} is of a newer format`);
        }
      },
      ended: (producerId, committed) => journal.offsets.endTransaction(producerId, committed),
      ready: () => {
        this.journal = journal;
        this.phase = "active";
        this.forgetRecordedGenerations();
        this.apply(resume(this.state(), this.context(), NO_ASK), NO_ASK);
      },
      failed: (why, forGood) => {
        this.environment.log("error", `${this.name} cannot read its log: ${why}`);
        this.phase = forGood ? "failed" : "unloaded";
      },
    });
  }
}
