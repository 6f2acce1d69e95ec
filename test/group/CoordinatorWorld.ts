/**
 * One coordinator without an actor: commands are decided and folded in virtual time, and beside it a shadow journal is
 * fed only with the bytes that would be written. `restart` throws everything away but those bytes. Replies come out by
 * ask, each exactly once.
 */
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { type AskId, type ClassicGroup, NO_ASK } from "../../src/group/ClassicGroup.ts";
import { classicGroup } from "../../src/group/CoordinatorState.ts";
import { decide, resume } from "../../src/group/Decide.ts";
import type {
  CoordinatorState,
  Decision,
  GroupCommand,
  GroupCommandType,
  GroupReply,
  VolatileGroup,
} from "../../src/group/GroupCoordinator.ts";
import { emptyJournal, evolve, type GroupJournal } from "../../src/group/GroupJournal.ts";
import { decodeGroupRecord, type EncodedRecord, encodeGroupRecord } from "../../src/group/GroupRecords.ts";
import type { MetadataImage } from "../../src/metadata/MetadataImage.ts";
import { invariant } from "../../src/prelude/Invariant.ts";
import { oneBroker } from "../metadata/Cluster.ts";

interface Written extends EncodedRecord {
  readonly offset: number;
  /** Whose transaction it belongs to; -1: nobody's. */
  readonly producerId: number;
  /** A marker has no key and no value: how the producer's transaction ended. */
  readonly committed?: boolean;
}

const NO_BYTES = new Uint8Array(0);

interface Timer {
  readonly key: string;
  readonly deadline: number;
  /** Among equal deadlines the first armed goes first. */
  readonly order: number;
  readonly command: GroupCommand;
}

/** A journal as plain data: what must be equal after a replay. */
export const plainJournal = (journal: GroupJournal): unknown => ({
  groups: [...journal.groups].sort(([a], [b]) => (a < b ? -1 : 1)),
  offsets: [...journal.offsets.groupIds()]
    .sort()
    .map((group) => [
      group,
      [...(journal.offsets.of(group) ?? [])]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([topic, partitions]) => [topic, [...partitions].sort(([a], [b]) => a - b)]),
      [...journal.offsets.openOf(group)].map(({ topic, partition }) => `${topic}-${partition}`).sort(),
    ]),
});

/** Any id that is the topic's own. */
export const topicIdOf = (topic: string): string => Buffer.from(topic.padEnd(16, "-")).toString("base64url");

/** A cluster of one broker with topics of three partitions each. */
export const withTopics = (...names: string[]): MetadataImage => {
  const cluster = oneBroker();
  cluster.ask({
    type: "CreateTopics",
    topics: names.map((name) => ({ name, numPartitions: 3, replicationFactor: 1, assignments: [], configs: [] })),
    validateOnly: false,
    topicIds: names.map(topicIdOf),
    seed: 1,
  });
  return cluster.image;
};

const WALL_AT_START = 1_700_000_000_000;

export class CoordinatorWorld {
  now = 0;
  journal = emptyJournal();
  volatile = new Map<string, VolatileGroup>();
  readonly told = new Map<string, number>();
  /** Everything ever written, with its offset; compaction drops what a later record of the key replaces. */
  log: Written[] = [];
  readonly replies = new Map<AskId, unknown>();
  readonly config: BrokerConfig;
  image: MetadataImage = withTopics("t", "u");
  /** Sees every classic group before and after each decision that changes it. */
  onChange: (before: ClassicGroup, after: ClassicGroup) => void = () => {};
  private shadow = emptyJournal();
  private timers = new Map<string, Timer>();
  private endOffset = 0;
  private nextAsk = 0;
  private armed = 0;
  private nextUuid = 0;
  private readonly waiting = new Set<AskId>();

  constructor(settings: Readonly<Record<string, string>> = {}) {
    this.config = BrokerConfig.of(settings);
    this.apply(resume(this.state(), this.context(), NO_ASK));
  }

  /** A fresh one for what asks for one. */
  uuid(): string {
    this.nextUuid += 1;
    return `uuid${this.nextUuid}`;
  }

  /** Asks; the reply may come later. */
  ask(command: GroupCommand): AskId {
    const ask = this.nextAsk;
    this.nextAsk += 1;
    this.waiting.add(ask);
    this.apply(this.decided(command, ask));
    return ask;
  }

  /** Asks what is answered at once. */
  answer<Type extends GroupCommandType>(command: GroupCommand<Type>): GroupReply<Type> {
    const ask = this.ask(command as unknown as GroupCommand);
    invariant(this.replies.has(ask), `${command.type} is not answered at once`);
    return this.replies.get(ask) as GroupReply<Type>;
  }

  /** The reply of an ask that has been answered. */
  reply<Type extends GroupCommandType>(ask: AskId): GroupReply<Type> | undefined {
    return this.replies.get(ask) as GroupReply<Type> | undefined;
  }

  get unanswered(): number {
    return this.waiting.size;
  }

  isArmed(key: string): boolean {
    return this.timers.has(key);
  }

  /** Lets time pass; deadlines come in their order. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = [...this.timers.values()]
        .filter(({ deadline }) => deadline <= end)
        .sort((a, b) => a.deadline - b.deadline || a.order - b.order)[0];
      if (next === undefined) break;
      this.timers.delete(next.key);
      this.now = Math.max(this.now, next.deadline);
      this.apply(this.decided(next.command, NO_ASK));
    }
    this.now = end;
  }

  /** A crash: askers get nothing, volatile state is gone, the journal comes back from the log. */
  restart(): void {
    this.journal = this.replayed();
    this.shadow = this.replayed();
    this.volatile = new Map();
    this.timers = new Map();
    this.waiting.clear();
    this.apply(resume(this.state(), this.context(), NO_ASK));
  }

  /**
   * Keeps the last record of each key, as the cleaner does, below the first transaction that is open; what was aborted
   * goes, markers stay, and a tombstone may go too.
   */
  compact(keepTombstones: boolean): void {
    const open = new Map<number, Written[]>();
    const aborted = new Set<Written>();
    for (const record of this.log) {
      const { producerId, committed } = record;
      if (producerId < 0) continue;
      const records = open.get(producerId) ?? [];
      if (committed === undefined) open.set(producerId, [...records, record]);
      else {
        if (!committed) for (const each of records) aborted.add(each);
        open.delete(producerId);
      }
    }
    const stable = Math.min(this.endOffset, ...[...open.values()].map(([first]) => first!.offset));
    const last = new Map<string, Written>();
    for (const record of this.log) {
      if (record.offset >= stable || record.committed !== undefined || aborted.has(record)) continue;
      last.set(Buffer.from(record.key).toString("hex"), record);
    }
    const kept = new Set([...last.values()].filter(({ value }) => keepTombstones || value !== null));
    this.log = this.log.filter(
      (record) => record.offset >= stable || record.committed !== undefined || kept.has(record),
    );
  }

  /** A producer's transaction has ended: its marker. */
  endTransaction(producerId: number, committed: boolean): void {
    this.log.push({ key: NO_BYTES, value: NO_BYTES, offset: this.endOffset, producerId, committed });
    this.endOffset += 1;
    for (const journal of [this.journal, this.shadow]) journal.offsets.endTransaction(producerId, committed);
  }

  /** The fold of the log as it is now. */
  replayed(): GroupJournal {
    const journal = emptyJournal();
    for (const { key, value, offset, producerId, committed } of this.log) {
      if (committed !== undefined) {
        journal.offsets.endTransaction(producerId, committed);
        continue;
      }
      const event = decodeGroupRecord(key, value);
      invariant(typeof event !== "string", "everything that was written can be read");
      evolve(journal, event, offset, producerId);
    }
    return journal;
  }

  /** What the fold of the bytes alone has made of them so far. */
  get shadowJournal(): GroupJournal {
    return this.shadow;
  }

  private state(): CoordinatorState {
    return { journal: this.journal, volatile: this.volatile, told: this.told };
  }

  private context(): { now: number; image: MetadataImage; config: BrokerConfig } {
    return { now: WALL_AT_START + this.now, image: this.image, config: this.config };
  }

  private decided(command: GroupCommand, ask: AskId): Decision {
    return decide(this.state(), command, ask, this.context());
  }

  private apply(decision: Decision): void {
    const before = decision.volatile.map(({ groupId }) => classicGroup(this.state(), groupId));
    const producerId = decision.transaction?.producerId ?? -1;
    for (const record of decision.records) {
      const offset = this.endOffset;
      this.endOffset += 1;
      const encoded = encodeGroupRecord(record);
      this.log.push({ ...encoded, offset, producerId });
      evolve(this.journal, record, offset, producerId);
      const read = decodeGroupRecord(encoded.key, encoded.value);
      invariant(typeof read !== "string", "everything that is written can be read");
      evolve(this.shadow, read, offset, producerId);
    }
    for (const { groupId, group } of decision.volatile) {
      if (group === undefined) this.volatile.delete(groupId);
      else this.volatile.set(groupId, group);
    }
    for (const [index, { groupId }] of decision.volatile.entries()) {
      const [was, is] = [before[index], classicGroup(this.state(), groupId)];
      if (was !== undefined && is !== undefined) this.onChange(was, is);
    }
    for (const { key, afterMs, command } of decision.timers) {
      this.armed += 1;
      if (afterMs === undefined || command === undefined) this.timers.delete(key);
      else this.timers.set(key, { key, deadline: this.now + afterMs, order: this.armed, command });
    }
    for (const { ask, reply } of decision.answers) {
      invariant(this.waiting.delete(ask), `ask ${ask} is answered twice`);
      this.replies.set(ask, reply);
    }
  }
}
