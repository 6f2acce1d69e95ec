/**
 * What runs beside the broker in a world of transactions: applications that follow their scripts, a plain producer, and a
 * read_committed reader per partition. Each writes down what it knows: what it sent, what was answered, and how each
 * transaction ended as far as it can tell.
 */
import type { SimulatedProcess } from "../../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../../actors/testing/KafkaClient.ts";
import { Errors } from "../../../src/protocol/Errors.ts";
import { BROKER, codecs } from "./PowerCutWorld.ts";
import { GivenUp, OLD_CLIENT, Refused, TransactionalClient, type WrittenMarker } from "./TransactionalClient.ts";
import { type Instance, PARTITIONS, type TransactionScript } from "./TransactionPrograms.ts";

export const TOPIC = "t";
export const TIMEOUT_MS = 2000;
export const SWEEP_MS = 500;
const PATIENCE_MS = 60_000;
/** A reader's longest wait for the next record, and its pause after an error. */
const READ_WAIT_MS = 1000;
const PAUSE_MS = 20;

export interface Transaction {
  readonly name: string;
  readonly id: string;
  /** What was acknowledged, with its offset; -1: only that it is there. */
  readonly values: Array<{ readonly partition: number; readonly value: string; readonly offset: number }>;
  /** Everything that was sent. */
  readonly sent: string[];
  /** The group's offset it commits, if it does. */
  offset: number | undefined;
  end: "committed" | "not" | "unknown";
  why: string;
}

/** Why a transaction ended as it did, when that was answered. */
export const COMMITTED = "commit answered";
export const ABORTED = "abort answered";

export interface World {
  readonly transactions: Transaction[];
  /** Values that were sent outside of any transaction. */
  readonly strays: string[];
  readonly plain: Array<{ readonly partition: number; readonly value: string; readonly offset: number }>;
  /** By partition, what a read_committed reader was shown, in its order. */
  readonly read: Array<Array<{ readonly offset: number; readonly value: string }>>;
  /** Of each id, the newest producer that InitProducerId has answered. */
  readonly newest: Map<string, { readonly producerId: number; readonly producerEpoch: number }>;
  readonly found: string[];
}

export const emptyWorld = (): World => ({
  transactions: [],
  strays: [],
  plain: [],
  read: Array.from({ length: PARTITIONS }, () => []),
  newest: new Map(),
  found: [],
});

export const clientOf = (process: SimulatedProcess, version: 1 | 2 = 2): KafkaClient =>
  new KafkaClient(
    { network: process.network, clock: process.clock, random: process.random, codecs },
    {
      bootstrap: [BROKER],
      requestTimeoutMs: 5000,
      connectTimeoutMs: 1000,
      callTimeoutMs: 60_000,
      ...(version === 1 ? { maxVersions: OLD_CLIENT } : {}),
    },
  );

export const text = (value: Uint8Array | null): string => Buffer.from(value ?? []).toString("latin1");

const isExpected = (error: unknown): error is Refused | GivenUp => error instanceof Refused || error instanceof GivenUp;

/** One life of an application. */
class Running {
  private readonly client: KafkaClient;
  private readonly producer: TransactionalClient;
  /** A marker of the last transaction that comes again. */
  private late: WrittenMarker | undefined;

  constructor(
    private readonly world: World,
    process: SimulatedProcess,
    private readonly id: string,
    private readonly name: string,
    private readonly script: Instance,
  ) {
    this.client = clientOf(process, script.version);
    const now = (): number => process.clock.wall();
    this.producer = new TransactionalClient(this.client, id, script.version, TIMEOUT_MS, PATIENCE_MS, now);
  }

  async run(): Promise<void> {
    const { client, producer, world, id } = this;
    try {
      await client.topic(TOPIC);
      await producer.findCoordinators(`group-${id}`);
      await producer.init();
      if (this.superseded()) return;
      const { producerId, producerEpoch } = producer;
      world.newest.set(id, { producerId, producerEpoch });
      for (const [index, script] of this.script.transactions.entries()) {
        if (!(await this.transaction(script, `${this.name}.${index}`))) return;
      }
    } catch (error) {
      if (!isExpected(error)) throw error;
    } finally {
      client.close();
    }
  }

  /** By epoch, not by time: of two answers under way at once the later may be the older producer's. */
  private superseded(): boolean {
    const { producer } = this;
    const { producerId, producerEpoch } = this.world.newest.get(this.id) ?? producer;
    return producerId === producer.producerId
      ? producerEpoch > producer.producerEpoch
      : producerId > producer.producerId;
  }

  /** False: this instance is at its end. */
  private async transaction(script: TransactionScript, name: string): Promise<boolean> {
    const { world, client, producer, id } = this;
    const transaction: Transaction = { name, id, values: [], sent: [], offset: undefined, end: "not", why: "open" };
    world.transactions.push(transaction);
    const sends: Promise<void>[] = [];
    try {
      for (const [index, { partition, records, pauseMs }] of script.batches.entries()) {
        const sent = this.send(transaction, partition, `${name}.${index}`, records);
        sends.push(sent);
        sent.catch(() => undefined);
        // Old clients add the partition first; only then may several batches be under way.
        if (!script.pipelined || producer.version === 1) await sent;
        if (index === 0) await this.markAgain();
        if (pauseMs > 0) await client.sleep(pauseMs);
      }
      await Promise.all(sends);
      if (script.offset) {
        const offset = world.transactions.length;
        await producer.sendOffset(`group-${id}`, TOPIC, 0, offset);
        transaction.offset = offset;
      }
    } catch (error) {
      if (!isExpected(error)) throw error;
      transaction.why = error.message;
      // What is still under way must not meet the next transaction.
      await Promise.allSettled(sends);
      return this.end(transaction, false);
    }
    if (script.end === "abandon") return false;
    if (script.end === "linger") await client.sleep(TIMEOUT_MS + 3 * SWEEP_MS);
    const committed = script.end !== "abort";
    const goesOn = await this.end(transaction, committed);
    if (goesOn && script.lateMarker && producer.version === 2) {
      const { producerId, producerEpoch } = producer;
      const partitions = [...new Set(script.batches.map(({ partition }) => partition))];
      this.late = { producerId, producerEpoch, committed, topic: TOPIC, partitions };
    }
    // In version 2 it would have the epoch of the transaction that ended, or begin the next one.
    if (script.stray && producer.version === 1) await this.stray(name, script.batches[0]!.partition);
    return goesOn;
  }

  private async send(transaction: Transaction, partition: number, name: string, records: number): Promise<void> {
    const values = Array.from({ length: records }, (_, index) => `${name}.${index}`);
    transaction.sent.push(...values);
    const baseOffset = await this.producer.send(TOPIC, partition, values);
    for (const [index, value] of values.entries()) {
      transaction.values.push({ partition, value, offset: baseOffset < 0 ? -1 : baseOffset + index });
    }
  }

  /** Whatever it is answered, it must change nothing. */
  private async markAgain(): Promise<void> {
    const { late } = this;
    this.late = undefined;
    if (late !== undefined) await this.producer.writeMarker(late).catch(() => undefined);
  }

  private async stray(name: string, partition: number): Promise<void> {
    const value = `${name}.stray`;
    this.world.strays.push(value);
    try {
      // Before its marker it would be part of the transaction that ended: the old protocol's hole.
      await this.producer.completed();
      await this.producer.sendStray(TOPIC, partition, value);
      this.world.found.push(`T11: ${value} was taken`);
    } catch (error) {
      if (!isExpected(error)) throw error;
    }
  }

  /** False: this instance is at its end. */
  private async end(transaction: Transaction, commit: boolean): Promise<boolean> {
    const late = this.superseded();
    if (commit && !late) transaction.end = "unknown";
    try {
      await this.producer.end(commit);
      transaction.why = commit ? COMMITTED : ABORTED;
      transaction.end = commit ? "committed" : "not";
      if (commit && late) transaction.why = "ZOMBIE: its commit was answered";
      return true;
    } catch (error) {
      if (!isExpected(error)) throw error;
      // Refused or not: an earlier attempt may have got through before the broker forgot it.
      transaction.why = error.message;
      return false;
    }
  }
}

/** An application's instances, one after the other or each over the last one. */
export const runApp = async (
  world: World,
  process: SimulatedProcess,
  id: string,
  instances: ReadonlyArray<Instance>,
): Promise<void> => {
  const running: Promise<void>[] = [];
  for (const [index, script] of instances.entries()) {
    const life = new Running(world, process, id, `${id}.${index}`, script).run();
    running.push(life);
    if (script.nextAfterMs === null) await life;
    else await new Promise<void>((resolve) => process.clock.after(script.nextAfterMs!, resolve));
  }
  await Promise.all(running);
};

/** A producer outside of any transaction. */
export const runPlain = async (world: World, process: SimulatedProcess, count: number): Promise<void> => {
  if (count === 0) return;
  const client = clientOf(process);
  const producer = client.producer({ deliveryTimeoutMs: 600_000, retryBackoffMs: PAUSE_MS });
  await client.topic(TOPIC);
  await producer.init();
  for (let index = 0; index < count; index++) {
    const partition = index % PARTITIONS;
    const value = `plain.${index}`;
    const outcome = await producer.send(TOPIC, partition, [{ value: Buffer.from(value) }]);
    if (outcome.type === "ok") world.plain.push({ partition, value, offset: outcome.baseOffset });
    else world.found.push(`${value} was not acknowledged: ${outcome.error}`);
    await client.sleep(process.random.below(100));
  }
  client.close();
};

/** Reads one partition while everything happens. */
export const runReader = async (
  world: World,
  process: SimulatedProcess,
  partition: number,
  finished: () => boolean,
): Promise<void> => {
  const client = clientOf(process);
  let offset = 0;
  let stable = 0;
  while (!finished()) {
    try {
      const fetched = await client.fetch(TOPIC, partition, offset, {
        isolation: "read_committed",
        maxWaitMs: READ_WAIT_MS,
        maxBytes: 600,
      });
      for (const record of fetched.records) {
        world.read[partition]!.push({ offset: record.offset, value: text(record.value) });
      }
      offset = fetched.nextOffset;
      const { lastStableOffset } = fetched;
      if (lastStableOffset >= 0 && lastStableOffset < stable) {
        world.found.push(`H6: the last stable offset of ${partition} went from ${stable} to ${lastStableOffset}`);
      }
      stable = Math.max(stable, lastStableOffset);
      if (fetched.errorCode !== Errors.NONE) await client.sleep(PAUSE_MS);
    } catch {
      client.forgetTopics();
      await client.sleep(PAUSE_MS);
    }
  }
  client.close();
};
