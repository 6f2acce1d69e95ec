/**
 * How a plan is played, wherever: a safety phase under faults, then the heal and a liveness phase in which everything must
 * finish in time, then fresh readers before and after a last crash, and the verdict of the checker and of the books. What
 * must stay true: equal plans played in equal worlds do the same; whatever went wrong is a violation, never a throw.
 */
import {
  GROUP_VERSION_FEATURE,
  LATEST_GROUP_VERSION,
  LATEST_TRANSACTION_VERSION,
  TRANSACTION_VERSION_FEATURE,
} from "../../src/metadata/MetadataImage.ts";
import type { Clock } from "../../src/platform/Clock.ts";
import type { Offset, TopicPartition } from "../../src/prelude/Types.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { type Anomaly, checkTwice, type SubscribedVia } from "./ConsistencyChecker.ts";
import type { Op, Value } from "./History.ts";
import { EARLIEST, type FetchedRecord, type KafkaClient, LATEST } from "./KafkaClient.ts";
import { KafkaError } from "./KafkaError.ts";
import type { Found } from "./KeyedBook.ts";
import { type ClientPlan, TOPIC } from "./Scenario.ts";
import { type Machine, messageOf, type Stage, valueIn } from "./Stage.ts";
import { CLIENT_KINDS } from "./workloads/ClientKinds.ts";
import { COPY_GROUP } from "./workloads/Copier.ts";
import { GROUP } from "./workloads/GroupMember.ts";
import { RecordedConsumer, type Shown } from "./workloads/RecordedConsumer.ts";
import { sendBatch, startProducer } from "./workloads/Sending.ts";

/** What the play needs of the world beside the stage's. */
export interface Theatre {
  /** The director's. */
  readonly clock: Clock;
  /** A machine for a client; `died` resolves when it is killed. */
  machine(name: string, host: string): { readonly machine: Machine; readonly died: Promise<void> };
  beginFaults(): void;
  /** The heal. */
  endFaults(): void;
  /** The worst crash there is, and a new broker. */
  crash(): void;
  /** Rejects when there is no going on: a broker that cannot start. */
  readonly broken: Promise<never>;
  /** Milliseconds in which a waiting fetch must have what was acknowledged (default 1,000). */
  readonly wakeMs?: number;
}

const WAKE_MS = 1000;
/** Witnesses told per anomaly. */
const TOLD = 3;

type Visible = Map<number, Map<number, Value>>;

export class Play {
  /** Everybody finished and the fresh readers read: the history can be judged. */
  complete = false;
  private readers = 0;
  private visible: Visible = new Map();
  /** Where each partition of the groups' topic ended when they had read all of it. */
  private caughtUp: ReadonlyMap<number, Offset> = new Map();

  constructor(
    private readonly stage: Stage,
    private readonly theatre: Theatre,
  ) {}

  async play(): Promise<void> {
    this.theatre.broken.catch(() => {});
    await Promise.race([this.phases(), this.theatre.broken]);
  }

  /** What is wrong beside what was found on the way; only of a complete play. */
  verdict(): string[] {
    const { stage } = this;
    const lines = judged(stage.recorder.ops, stage.plan.subVia);
    lines.push(...stage.groups.judge());
    const everything = new Set([...this.visible.values()].flatMap((offsets) => [...offsets.values()]));
    const due = stage.keysOf(TOPIC).flatMap((key) => this.dueIn(key));
    lines.push(...stage.transactions.judge(everything, new Set(due.map(({ value }) => value))));
    if (this.has("member", "stream member")) {
      for (const { key, offset } of due) {
        if (!stage.groups.hasProcessed(GROUP, key, offset)) lines.push(`unprocessed: ${key}@${offset} by ${GROUP}`);
      }
    }
    return lines;
  }

  /** What the groups had to read: what a flush that hung until then, or the last crash, brought to light later is no one's. */
  private dueIn(key: number): Array<{ key: number; offset: Offset; value: Value }> {
    const end = this.caughtUp.get(key) ?? Number.POSITIVE_INFINITY;
    const visible = [...(this.visible.get(key) ?? [])];
    return visible.filter(([offset]) => offset < end).map(([offset, value]) => ({ key, offset, value }));
  }

  private has(...kinds: ReadonlyArray<ClientPlan["kind"]>): boolean {
    return this.stage.plan.clients.some(({ kind }) => kinds.includes(kind));
  }

  private get isTransactional(): boolean {
    return this.has("transactional", "copier", "stream transactional", "stream copier");
  }

  /** Groups that have to read to the end. */
  private get groups(): string[] {
    return [
      ...(this.has("member", "stream member") ? [GROUP] : []),
      ...(this.has("copier", "stream copier") ? [COPY_GROUP] : []),
    ];
  }

  private async phases(): Promise<void> {
    const { stage, theatre } = this;
    const { plan } = stage;
    // A recorded directory has its topics: the first start on it is under faults too.
    if (plan.directory === undefined) await this.createTopics();
    theatre.beginFaults();
    const waiting = new Set(plan.clients.map(({ id, kind }) => `${kind} client ${id}`));
    const work = plan.clients.map(async (client) => {
      await this.lives(client);
      waiting.delete(`${client.kind} client ${client.id}`);
    });
    const writing = Promise.all(work.filter((_, index) => this.isWriter(plan.clients[index]!))).then(async () => {
      stage.producersDone = true;
      await this.groupsFinish();
      stage.groupsDone = true;
    });
    const all = Promise.all([writing, ...work]);
    const failed = all.then(() => undefined, messageOf);
    await this.sleep(plan.safetyMs);
    stage.note("heal");
    theatre.endFaults();
    const inTime = await Promise.race([failed, this.sleep(plan.livenessMs).then(() => "late")]);
    if (inTime !== undefined) {
      const why = inTime === "late" ? `not done ${plan.livenessMs} ms after the heal` : inTime;
      stage.violation(`liveness: ${[...waiting].join(", ")} ${why}`);
      return;
    }
    const readable = plan.topics.filter(({ vanishing }) => !vanishing).flatMap(({ name }) => stage.keysOf(name));
    if (this.groups.length === 0)
      for (const key of readable) await this.inTime(this.wake(key), `a waiting fetch of ${key}`);
    await this.inTime(this.readEverything(readable, "before the last crash"), "reading before the last crash");
    const before = this.visible;
    theatre.crash();
    await this.inTime(this.readEverything(readable, "after the last crash"), "reading after the last crash");
    stage.violation(...lost(before, this.visible));
    await this.inTime(this.checkTopics(), "listing the topics");
    if (plan.directory !== undefined) await this.inTime(this.checkFeatures(), "asking for the features");
    for (const { name, vanishing } of plan.topics)
      if (vanishing) await this.inTime(this.checkVanishing(name), `reading ${name}`);
    stage.note("done");
    this.complete = true;
  }

  private async createTopics(): Promise<void> {
    const { stage, theatre } = this;
    const setup = stage.client(theatre.machine("setup", "10.1.0.2").machine);
    for (const { name, partitions, configs } of stage.plan.topics)
      await setup.createTopic(name, { partitions, configs, orExists: true });
    setup.close();
  }

  private isWriter({ kind }: ClientPlan): boolean {
    return CLIENT_KINDS[kind].role === "writer";
  }

  /** A client over all its lives. */
  private async lives(plan: ClientPlan): Promise<void> {
    const { stage, theatre } = this;
    const steps = { left: plan.steps };
    for (let number = 0; ; number++) {
      const name = number === 0 ? `client-${plan.id}` : `client-${plan.id}.${number}`;
      const { machine, died } = theatre.machine(name, `10.0.0.${plan.id + 1}`);
      const random = stage.random.fork(`client ${plan.id} life ${number}`);
      const life = { plan, machine, random, steps, number };
      const living = CLIENT_KINDS[plan.kind].live(stage, life).then(() => true);
      if (await Promise.race([living, died.then(() => false)])) return;
      stage.machineDied(machine);
      await this.sleep(stage.random.fork(`${name} is dead`).between(5, 150));
    }
  }

  /** Whoever reads in a group has read to the end, and committed that. */
  private async groupsFinish(): Promise<void> {
    const { stage, groups } = this;
    if (groups.length === 0) return;
    const client = stage.client(this.theatre.machine("group watcher", "10.1.0.5").machine);
    const partitions = stage.keysOf(TOPIC).map((key) => stage.placeOf(key));
    for (;;) {
      try {
        if (await this.areCaughtUp(client, groups, partitions)) break;
      } catch (error) {
        stage.note(`group watcher: ${messageOf(error)}`);
      }
      await client.sleep(100);
    }
    client.close();
  }

  private async areCaughtUp(
    client: KafkaClient,
    groups: ReadonlyArray<string>,
    partitions: ReadonlyArray<{ readonly topic: string; readonly partition: number }>,
  ): Promise<boolean> {
    const ends = new Map<number, Offset>();
    for (const group of groups) {
      const committed = await client.admin.groupOffsets(group, partitions);
      for (const { topic, partition, offset } of committed) {
        const end = (await client.listOffset(topic, partition, LATEST, "read_committed")).offset;
        if (Math.max(0, offset) < end) return false;
        const key = this.stage.keyAt({ topic, partition });
        ends.set(key, Math.min(end, ends.get(key) ?? end));
      }
    }
    this.caughtUp = ends;
    return true;
  }

  private async inTime(work: Promise<void>, what: string): Promise<void> {
    const { livenessMs } = this.stage.plan;
    const done = await Promise.race([work.then(() => true), this.sleep(livenessMs).then(() => false)]);
    if (!done) throw new Error(`liveness: ${what} took more than ${livenessMs} ms`);
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.theatre.clock.after(ms, resolve));
  }

  private fresh(name: string, requestTimeoutMs = 1000): RecordedConsumer {
    const { stage } = this;
    const { machine } = this.theatre.machine(name, `10.1.1.${this.readers++ % 250}`);
    const isolation = this.isTransactional ? "read_committed" : "read_uncommitted";
    return new RecordedConsumer(stage, stage.client(machine, { requestTimeoutMs }), stage.recorder.newProcess(), {
      isolation,
    });
  }

  /** A fetch that waits at the end has what is produced meanwhile, long before its time is over. */
  private async wake(key: number): Promise<void> {
    const { stage, theatre } = this;
    const reader = this.fresh(`waiter ${key}`, 10_000);
    reader.assign([key]);
    await this.readTo(reader, [key]);
    let answeredAt = theatre.clock.monotonic();
    const until = answeredAt + 5000;
    const waiting = async (): Promise<ReadonlyArray<Shown> | undefined> => {
      for (;;) {
        const shown = await reader.poll(until - answeredAt);
        answeredAt = theatre.clock.monotonic();
        // The marker of a transaction that wrote nothing here wakes it, too, and there is nothing to show.
        if (shown === undefined || shown.length > 0 || answeredAt >= until) return shown;
      }
    };
    const polling = waiting();
    await this.sleep(100);
    const writer = stage.client(theatre.machine(`waker ${key}`, "10.1.0.3").machine);
    const producer = await startProducer(stage, writer, { deliveryTimeoutMs: 10_000 });
    const random = stage.random.fork(`wake ${key}`);
    const outcome = await sendBatch(stage, producer, stage.recorder.newProcess(), key, random);
    if (outcome.type !== "ok") stage.violation(`liveness: a send after the heal ended as ${JSON.stringify(outcome)}`);
    const acked = theatre.clock.monotonic();
    const shown = await polling;
    if (shown === undefined) stage.violation(`liveness: a waiting fetch of ${key} got no answer`);
    else if (shown.length === 0 || answeredAt - acked > (theatre.wakeMs ?? WAKE_MS))
      stage.violation(`liveness: a waiting fetch of ${key} was not woken`);
    writer.close();
    reader.client.close();
  }

  /** Reads keys to where their logs end, which under read_committed has to be the end of everything (T12). */
  private async readTo(reader: RecordedConsumer, keys: ReadonlyArray<number>): Promise<void> {
    const { stage } = this;
    for (const key of keys) {
      const place = stage.placeOf(key);
      for (;;) {
        const { offset: stable } = await reader.client.listOffset(
          place.topic,
          place.partition,
          LATEST,
          "read_committed",
        );
        const { offset: end } = await reader.client.listOffset(place.topic, place.partition, LATEST);
        if (stable === end && (reader.consumer.position(place) ?? 0) >= end) break;
        const shown = await reader.poll(50);
        if (shown === undefined || stable !== end) await reader.client.sleep(stable === end ? 50 : 250);
        this.see(shown ?? []);
      }
    }
  }

  private see(shown: ReadonlyArray<{ readonly key: number; readonly offset: number; readonly value: Value }>): void {
    for (const { key, offset, value } of shown) {
      let offsets = this.visible.get(key);
      if (offsets === undefined) this.visible.set(key, (offsets = new Map()));
      offsets.set(offset, value);
    }
  }

  private async readEverything(keys: ReadonlyArray<number>, when: string): Promise<void> {
    if (keys.length === 0) return;
    this.visible = new Map();
    const reader = this.fresh(`reader ${when}`);
    reader.assign(keys);
    await this.readTo(reader, keys);
    reader.client.close();
  }

  /** Topics whose creation or deletion was acknowledged, as a fresh client sees them. */
  private async checkTopics(): Promise<void> {
    const { stage } = this;
    if (stage.churned.size === 0) return;
    const client = stage.client(this.theatre.machine("auditor", "10.1.0.4").machine);
    const metadata = await client.metadata(null);
    const listed = new Set(metadata.topics.map(({ name }) => name));
    for (const [name, must] of stage.churned) {
      if (must === true && !listed.has(name)) stage.violation(`topic ${name} is lost: its creation was acknowledged`);
      if (must === false && listed.has(name)) stage.violation(`topic ${name} came back: its deletion was acknowledged`);
    }
    client.close();
  }

  /** What an earlier build's data had no level of is finalized at this build's. */
  private async checkFeatures(): Promise<void> {
    const { stage, theatre } = this;
    const client = stage.client(theatre.machine("auditor of features", "10.1.0.7").machine);
    const { features } = await client.retried("features", () => client.connection("any"));
    for (const [name, level] of [
      [GROUP_VERSION_FEATURE, LATEST_GROUP_VERSION],
      [TRANSACTION_VERSION_FEATURE, LATEST_TRANSACTION_VERSION],
    ] as const) {
      if (features.get(name) !== level) stage.violation(`${name} is ${features.get(name)}, not ${level}`);
    }
    client.close();
  }

  /** What is left of a partition, and where it begins: both while they were the same before and after the reading. */
  private async remaining(
    client: KafkaClient,
    { topic, partition }: TopicPartition,
  ): Promise<{ readonly start: number; readonly found: Found[] }> {
    const startOf = async (): Promise<number> => (await client.listOffset(topic, partition, EARLIEST)).offset;
    for (; ; await client.sleep(20)) {
      const start = await startOf();
      let records: ReadonlyArray<FetchedRecord>;
      try {
        records = await client.readAll(topic, partition, { from: start });
      } catch (error) {
        if (error instanceof KafkaError && error.code === Errors.OFFSET_OUT_OF_RANGE) continue;
        throw error;
      }
      if ((await startOf()) !== start) continue;
      const found = records.map(({ offset, key, value }) => ({
        offset,
        name: key === null ? null : Buffer.from(key).toString("latin1"),
        value: value === null ? null : (valueIn(value) ?? -1),
      }));
      return { start, found };
    }
  }

  private async checkVanishing(name: string): Promise<void> {
    const { stage, theatre } = this;
    const { knobs, topics } = stage.plan;
    const client = stage.client(theatre.machine(`auditor of ${name}`, "10.1.0.6").machine);
    const compacts = topics.find((topic) => topic.name === name)?.configs["cleanup.policy"] === "compact";
    for (const key of stage.keysOf(name)) {
      const { start, found } = await this.remaining(client, stage.placeOf(key));
      const wall = client.platform.clock.wall();
      stage.violation(
        ...(compacts
          ? stage.keyed.judgeCompacted(key, found, knobs.deleteRetentionMs > 3_600_000)
          : stage.keyed.judgeExpiring(key, found, start, wall - knobs.retentionMs)),
      );
    }
    client.close();
  }
}

/** What a reader of everything was shown and a later one was not: whoever read it before the crash hides it from Jepsen's rules. */
export const lost = (before: Visible, after: Visible): string[] => {
  const lines: string[] = [];
  for (const [key, offsets] of before) {
    const gone = [...offsets].filter(([offset, value]) => after.get(key)?.get(offset) !== value);
    if (gone.length === 0) continue;
    const [offset, value] = gone[0]!;
    lines.push(`lost: ${gone.length} records of ${key} from ${offset} (${value}) on did not survive the last crash`);
  }
  return lines;
};

/** What the checker finds, a line per witness. */
export const judged = (history: ReadonlyArray<Op>, subVia: SubscribedVia): string[] => {
  const { bad, errors } = checkTwice(history, subVia);
  return bad.flatMap((name: Anomaly) => {
    const witnesses = errors[name] ?? [];
    const lines = witnesses.slice(0, TOLD).map((witness) => `${name}: ${JSON.stringify(witness)}`);
    return witnesses.length > TOLD ? [...lines, `${name}: and ${witnesses.length - TOLD} more`] : lines;
  });
};
