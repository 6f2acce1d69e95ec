/**
 * The TransactionCoordinator actor: one per partition of `__transaction_state`, which is its journal. It drains
 * commands, decides each, folds the records in at once and appends them as one batch; replies leave, and markers begin,
 * when everything decided before them is committed.
 *
 * What must stay true: it alone writes to its partition; what is appended is exactly what was folded, in the same order
 * (its replay is its state); every asker is answered once; after a failed append nothing that was decided since counts:
 * whoever waits is told that this is not the coordinator, and the log is read again. A prepared transaction is always
 * being completed, an open one always has the sweep ahead of it (T12).
 */
import type { Timers } from "../src/api/Ports.ts";
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import { type MetadataImage, TRANSACTION_VERSION_FEATURE } from "../src/metadata/MetadataImage.ts";
import { buggify } from "../src/prelude/Buggify.ts";
import type { ProducerEpoch, ProducerId } from "../src/prelude/Types.ts";
import { Errors, errorName } from "../src/protocol/Errors.ts";
import { type Decision, decide, type TransactionCommand, timedOut } from "../src/transaction/TransactionCoordinator.ts";
import { evolve, type TransactionJournal } from "../src/transaction/TransactionJournal.ts";
import { isPrepared, type TransactionMetadata, TransactionState } from "../src/transaction/TransactionMetadata.ts";
import { decodeTransactionRecord, encodeTransactionRecord } from "../src/transaction/TransactionRecords.ts";
import { type ActorContext, type ActorRef, type Behavior, spawn } from "./Actor.ts";
import { CoordinatorLog, type CoordinatorLogEnvironment } from "./CoordinatorLog.ts";
import { TransactionMarkers, type TransactionMarkersEnvironment } from "./TransactionMarkers.ts";

/** A reply, or the error code of a coordinator that cannot answer (15, 16, -1). */
export type Settle = (reply: unknown) => void;

interface CommandMessage {
  readonly kind: "command";
  readonly command: TransactionCommand;
  readonly settle: Settle;
}

export type TransactionCoordinatorMessage =
  | CommandMessage
  | { readonly kind: "load" }
  | { readonly kind: "reload"; readonly why: string }
  | { readonly kind: "producerId"; readonly producerId: ProducerId }
  | { readonly kind: "sweep" }
  | { readonly kind: "expire" }
  | { readonly kind: "waited"; readonly waiting: Waiting };

export interface TransactionCoordinatorEnvironment
  extends ActorContext,
    CoordinatorLogEnvironment,
    Omit<TransactionMarkersEnvironment, "clock" | "log"> {
  readonly timers: Timers;
  readonly config: () => BrokerConfig;
  readonly image: () => MetadataImage;
  /** A producer id that no one has had; called back once. */
  readonly nextProducerId: (give: (producerId: ProducerId) => void) => void;
}

/** A command that came while the id's last transaction was being completed, and waits a little for that. */
interface Waiting extends CommandMessage {
  readonly transactionalId: string;
  readonly cancel: () => void;
}

const NOBODY: Settle = () => undefined;

export class TransactionCoordinator implements Behavior<TransactionCoordinatorMessage> {
  readonly actor: ActorRef<TransactionCoordinatorMessage>;
  private journal: TransactionJournal = new Map();
  private readonly lastProducerEpochs = new Map<string, ProducerEpoch>();
  private readonly log: CoordinatorLog;
  private readonly markers: TransactionMarkers;
  private phase: "unloaded" | "loading" | "active" | "failed" | "stopped" = "unloaded";
  /** For the next decision that needs one; undefined while it is being fetched. */
  private freshProducerId: ProducerId | undefined;
  private fetchingProducerId = false;
  /** In the order they came: until the log is read, and while there is no fresh producer id. */
  private deferred: CommandMessage[] = [];
  private readonly waiting = new Map<string, Set<Waiting>>();
  private cancelSweep: (() => void) | undefined;
  private cancelExpiry: (() => void) | undefined;

  constructor(
    readonly name: string,
    private readonly environment: TransactionCoordinatorEnvironment,
  ) {
    this.log = new CoordinatorLog(environment, (error) => this.appendFailed(error));
    this.markers = new TransactionMarkers(
      environment,
      (metadata) => this.markersWritten(metadata),
      () => this.actor.tell({ kind: "reload", why: "another coordinator has written markers" }),
    );
    this.actor = spawn(environment, name, this);
  }

  turn(messages: ReadonlyArray<TransactionCoordinatorMessage>): void {
    for (const message of messages) this.handle(message);
  }

  abandon(messages: ReadonlyArray<TransactionCoordinatorMessage>): void {
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
  get journaled(): TransactionJournal {
    return this.journal;
  }

  private handle(message: TransactionCoordinatorMessage): void {
    switch (message.kind) {
      case "command":
        return this.command(message);
      case "load":
        if (this.phase === "unloaded") this.load();
        return;
      case "reload":
        return this.reload(message.why);
      case "producerId":
        this.fetchingProducerId = false;
        this.freshProducerId = message.producerId;
        return this.runDeferred();
      case "sweep":
        return this.sweep();
      case "expire":
        return this.expire();
      case "waited":
        this.stopWaiting(message.waiting);
        return message.waiting.settle({ error: Errors.CONCURRENT_TRANSACTIONS });
    }
  }

  private command(message: CommandMessage): void {
    if (this.phase === "unloaded") this.load();
    else if (buggify("a transaction coordinator is lost", 0.05)) this.reload("it was lost");
    if (this.phase === "failed" || this.phase === "stopped") return message.settle(Errors.NOT_COORDINATOR);
    if (this.phase === "active" && this.freshProducerId !== undefined) this.run(message);
    else this.deferred.push(message);
  }

  private runDeferred(): void {
    while (this.phase === "active" && this.freshProducerId !== undefined && this.deferred.length > 0) {
      this.run(this.deferred.shift()!);
    }
  }

  private run(message: CommandMessage): void {
    const freshProducerId = this.freshProducerId!;
    const { command, settle } = message;
    if (this.mustWait(message)) return;
    const { clock, image } = this.environment;
    const decision = decide({ journal: this.journal, lastProducerEpochs: this.lastProducerEpochs }, command, {
      now: clock.wall(),
      freshProducerId,
      transactionVersion: image().features.get(TRANSACTION_VERSION_FEATURE) ?? 0,
    });
    if (!this.apply(decision)) return settle(Errors.UNKNOWN_SERVER_ERROR);
    if (decision.tookProducerId === true) this.fetchProducerId();
    this.log.whenCommitted(() => settle(decision.reply), settle);
    if (decision.lastProducerEpoch !== undefined && "transactionalId" in command) {
      this.lastProducerEpochs.set(command.transactionalId, decision.lastProducerEpoch);
    }
    if (command.type === "MarkersWritten") this.resume(command.transactionalId);
  }

  /** Appends a decision's records and folds them in; false when they are more than one batch may hold. */
  private apply({ records, divisible }: Decision): boolean {
    if (records.length === 0) return true;
    if (!this.log.append(records.map(encodeTransactionRecord), divisible === true)) {
      this.environment.log("error", `${this.name}: a decision of ${records.length} records is above the batch limit`);
      return false;
    }
    for (const record of records) {
      evolve(this.journal, record);
      const { transactionalId, metadata } = record;
      if (metadata === null) this.lastProducerEpochs.delete(transactionalId);
      else this.follow(metadata);
    }
    return true;
  }

  /** What a transaction's new state makes due. */
  private follow(metadata: TransactionMetadata): void {
    if (isPrepared(metadata)) this.log.whenCommitted(() => this.markers.write(metadata), NOBODY);
    if (metadata.state === TransactionState.Ongoing) this.armSweep();
  }

  private markersWritten({ transactionalId, producerId, producerEpoch }: TransactionMetadata): void {
    const command = { type: "MarkersWritten", transactionalId, producerId, producerEpoch } as const;
    this.actor.tell({ kind: "command", command, settle: NOBODY });
  }

  // — commands that wait for a completion

  /**
   * A producer begins its next transaction as soon as EndTxn is answered, while the markers are being written: instead
   * of CONCURRENT_TRANSACTIONS at once it gets its answer a moment later (Kafka's brokers try again for as long).
   */
  private mustWait(message: CommandMessage): boolean {
    const { command, settle } = message;
    if (command.type !== "AddPartitions") return false;
    const { transactionalId } = command;
    const metadata = this.journal.get(transactionalId);
    if (metadata === undefined || !isPrepared(metadata)) return false;
    const { timers, config } = this.environment;
    const waitMs = config().number("add.partitions.to.txn.retry.backoff.max.ms");
    const cancel = timers.after(waitMs, () => this.actor.tell({ kind: "waited", waiting }));
    const waiting: Waiting = { kind: "command", command, settle: once(settle), transactionalId, cancel };
    const others = this.waiting.get(transactionalId);
    if (others === undefined) this.waiting.set(transactionalId, new Set([waiting]));
    else others.add(waiting);
    return true;
  }

  private resume(transactionalId: string): void {
    const waiting = this.waiting.get(transactionalId);
    if (waiting === undefined) return;
    this.waiting.delete(transactionalId);
    for (const one of waiting) {
      one.cancel();
      this.command(one);
    }
  }

  private stopWaiting(waiting: Waiting): void {
    const others = this.waiting.get(waiting.transactionalId);
    others?.delete(waiting);
    if (others?.size === 0) this.waiting.delete(waiting.transactionalId);
  }

  // — time

  private armSweep(): void {
    if (this.cancelSweep !== undefined) return;
    const { timers, config } = this.environment;
    const everyMs = config().number("transaction.abort.timed.out.transaction.cleanup.interval.ms");
    this.cancelSweep = timers.after(everyMs, () => this.actor.tell({ kind: "sweep" }));
  }

  private sweep(): void {
    this.cancelSweep = undefined;
    if (this.phase !== "active") return;
    for (const { transactionalId, producerId, producerEpoch } of timedOut(
      this.journal,
      this.environment.clock.wall(),
    )) {
      const command = { type: "TimeOut", transactionalId, producerId, producerEpoch } as const;
      this.environment.log("info", `${this.name}: the transaction of ${transactionalId} is out of time and is aborted`);
      this.command({ kind: "command", command, settle: NOBODY });
    }
    for (const { state } of this.journal.values()) if (state === TransactionState.Ongoing) return this.armSweep();
  }

  private armExpiry(): void {
    const { timers, config } = this.environment;
    const everyMs = config().number("transaction.remove.expired.transaction.cleanup.interval.ms");
    this.cancelExpiry = timers.after(everyMs, () => this.actor.tell({ kind: "expire" }));
  }

  private expire(): void {
    if (this.phase !== "active") return;
    const before = this.environment.clock.wall() - this.environment.config().number("transactional.id.expiration.ms");
    this.command({ kind: "command", command: { type: "ExpireIds", before }, settle: NOBODY });
    this.armExpiry();
  }

  private fetchProducerId(): void {
    this.freshProducerId = undefined;
    if (this.fetchingProducerId) return;
    this.fetchingProducerId = true;
    this.environment.nextProducerId((producerId) => this.actor.tell({ kind: "producerId", producerId }));
  }

  // — the log

  private appendFailed(error: number): void {
    if (this.phase !== "active") return;
    this.phase = "failed";
    this.actor.tell({ kind: "reload", why: `an append failed with ${errorName(error)}` });
  }

  private forget(): void {
    this.cancelSweep?.();
    this.cancelExpiry?.();
    this.cancelSweep = undefined;
    this.journal = new Map();
    this.lastProducerEpochs.clear();
    this.markers.begin(0);
    this.log.reset(Errors.NOT_COORDINATOR);
    const left: CommandMessage[] = this.deferred;
    this.deferred = [];
    for (const waiting of this.waiting.values()) {
      for (const one of waiting) {
        one.cancel();
        left.push(one);
      }
    }
    this.waiting.clear();
    for (const { settle } of left) settle(Errors.NOT_COORDINATOR);
  }

  private load(): void {
    this.phase = "loading";
    if (this.freshProducerId === undefined) this.fetchProducerId();
    let journal: TransactionJournal = new Map();
    this.log.load({
      begin: () => {
        journal = new Map();
      },
      fold: (key, value, offset) => {
        const record = decodeTransactionRecord(key, value);
        if (typeof record !== "string") evolve(journal, record);
        else
          this.environment.log("warn", `${this.name}: the record at offset ${offset} is ${record} and is left alone`);
      },
      ready: (leaderEpoch) => {
        this.journal = journal;
        this.markers.begin(leaderEpoch);
        this.phase = "active";
        this.armExpiry();
        for (const metadata of journal.values()) this.follow(metadata);
        this.runDeferred();
      },
      failed: (why, forGood) => {
        this.environment.log("error", `${this.name} cannot read its log: ${why}`);
        this.forget();
        this.phase = forGood ? "failed" : "unloaded";
      },
    });
  }
}

/** A waiting command is settled by its deadline or by its decision, whichever comes first. */
const once = (settle: Settle): Settle => {
  let settled = false;
  return (reply) => {
    if (settled) return;
    settled = true;
    settle(reply);
  };
};
