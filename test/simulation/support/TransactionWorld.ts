/**
 * Random programs of transactional producers (both versions of the protocol), zombies, plain producers and readers on a
 * simulated broker that crashes, and what must hold of them: the reference model of read_committed (T8–T10, T12, T13).
 *
 * The model is the clients' own knowledge: a transaction whose commit was answered is seen whole, one that was aborted,
 * refused or left alone is not seen, one whose end nobody knows is seen whole or not at all; a record is where its
 * acknowledgement said; readers see exactly that, in offset order, while it happens too.
 */
import { DATA, startSimulatedBroker } from "../../../actors/simulation/SimulatedBroker.ts";
import type { PowerCut } from "../../../actors/simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "../../../actors/simulation/Simulation.ts";
import { KafkaClient, KafkaError, LATEST } from "../../../actors/testing/KafkaClient.ts";
import { TRANSACTION_STATE_TOPIC } from "../../../src/metadata/TopicName.ts";
import type { Random } from "../../../src/platform/Random.ts";
import { ApiKey, Apis } from "../../../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../../../src/protocol/Errors.ts";
import { describe } from "../../../src/transaction/TransactionAdmin.ts";
import { evolve, type TransactionJournal } from "../../../src/transaction/TransactionJournal.ts";
import { decodeTransactionRecord } from "../../../src/transaction/TransactionRecords.ts";
import { BROKER, codecs } from "./PowerCutWorld.ts";
import { GivenUp, OLD_CLIENT, Refused, TransactionalClient } from "./TransactionalClient.ts";

export interface Program {
  readonly seed: number;
  /** Applications, each with a transactional id, and the transactions of each. */
  readonly apps: number;
  readonly transactions: number;
  /** Times the broker dies. */
  readonly crashes: number;
}

const TOPIC = "t";
const PARTITIONS = 2;
const STATE_PARTITIONS = 2;
const TIMEOUT_MS = 2000;
const SWEEP_MS = 500;
const PATIENCE_MS = 60_000;
const LONGEST_RUN_MS = 3_600_000;
const CUTS: ReadonlyArray<PowerCut> = ["lost", "torn", "reordered", "mixed"];

const SETTINGS: Readonly<Record<string, string>> = {
  "transaction.state.log.num.partitions": String(STATE_PARTITIONS),
  "offsets.topic.num.partitions": "2",
  "transaction.abort.timed.out.transaction.cleanup.interval.ms": String(SWEEP_MS),
};

interface Transaction {
  readonly name: string;
  readonly id: string;
  readonly values: Array<{ readonly partition: number; readonly value: string; readonly offset: number }>;
  /** What was sent without an answer: it may be in the log. */
  readonly unanswered: Array<{ readonly partition: number; readonly value: string }>;
  /** The group's offset it commits, if it does. */
  offset: number | undefined;
  end: "committed" | "not" | "unknown";
  why: string;
}

interface World {
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

const clientOf = (process: SimulatedProcess, version: 1 | 2): KafkaClient =>
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

/** One instance of an application; `false` when it was refused and has to give way to another. */
const runInstance = async (
  world: World,
  process: SimulatedProcess,
  random: Random & { pick<T>(from: ReadonlyArray<T>): T },
  id: string,
  instance: number,
  transactions: number,
): Promise<void> => {
  const version = random.pick([1, 2, 2] as const);
  const client = clientOf(process, version);
  const now = (): number => process.clock.wall();
  const producer = new TransactionalClient(client, id, version, TIMEOUT_MS, PATIENCE_MS, now);
  // By epoch, not by time: of two answers under way at once the later may be the older producer's.
  const superseded = (): boolean => {
    const { producerId, producerEpoch } = world.newest.get(id) ?? producer;
    return producerId === producer.producerId
      ? producerEpoch > producer.producerEpoch
      : producerId > producer.producerId;
  };
  try {
    await client.topic(TOPIC);
    await producer.findCoordinators(`group-${id}`);
    await producer.init();
    if (superseded()) return;
    const { producerId, producerEpoch } = producer;
    world.newest.set(id, { producerId, producerEpoch });
    for (let index = 0; index < transactions; index++) {
      if (!(await runTransaction(world, client, random, producer, `${id}.${instance}.${index}`, superseded))) return;
    }
  } catch (error) {
    if (!(error instanceof Refused || error instanceof GivenUp)) throw error;
  } finally {
    client.close();
  }
};

const runTransaction = async (
  world: World,
  client: KafkaClient,
  random: Random & { pick<T>(from: ReadonlyArray<T>): T },
  producer: TransactionalClient,
  name: string,
  superseded: () => boolean,
): Promise<boolean> => {
  const id = producer.transactionalId;
  const transaction: Transaction = { name, id, values: [], unanswered: [], offset: undefined, end: "not", why: "open" };
  world.transactions.push(transaction);
  const end = random.pick(["commit", "commit", "commit", "commit", "abort", "abandon", "linger"]);
  const sends: Promise<void>[] = [];
  try {
    const batches = 1 + random.below(4);
    const inFlight = random.below(2) === 0;
    for (let batch = 0; batch < batches; batch++) {
      const partition = random.below(PARTITIONS);
      const values = Array.from({ length: 1 + random.below(3) }, (_, index) => `${name}.${batch}.${index}`);
      for (const value of values) transaction.unanswered.push({ partition, value });
      // Old clients add the partition first; then several batches of one partition may be in flight.
      const sent = producer.send(TOPIC, partition, values).then((baseOffset) => {
        for (const [index, value] of values.entries()) {
          transaction.values.push({ partition, value, offset: baseOffset < 0 ? -1 : baseOffset + index });
        }
      });
      sends.push(sent);
      sent.catch(() => undefined);
      if (!inFlight || producer.version === 1) await sent;
      if (random.below(4) === 0) await client.sleep(random.below(50));
    }
    await Promise.all(sends);
    if (random.below(3) > 0) {
      const offset = world.transactions.length;
      await producer.sendOffset(`group-${id}`, TOPIC, 0, offset);
      transaction.offset = offset;
    }
  } catch (error) {
    if (!(error instanceof Refused || error instanceof GivenUp)) throw error;
    transaction.why = error.message;
    // What is still under way must not meet the next transaction.
    await Promise.allSettled(sends);
    return await endTransaction(transaction, producer, false, superseded);
  }
  if (end === "abandon") return false;
  if (end === "linger") await client.sleep(TIMEOUT_MS + 3 * SWEEP_MS);
  const goesOn = await endTransaction(transaction, producer, end !== "abort", superseded);
  // In version 2 it would have the epoch of the transaction that ended, or begin the next one.
  if (producer.version === 1 && random.below(2) === 0) await sendStray(world, producer, random, name);
  return goesOn;
};

const sendStray = async (world: World, producer: TransactionalClient, random: Random, name: string): Promise<void> => {
  const value = `${name}.stray`;
  world.strays.push(value);
  try {
    await producer.sendStray(TOPIC, random.below(PARTITIONS), value);
    world.found.push(`T11: ${value} was taken`);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof GivenUp)) throw error;
  }
};

/** False: this instance is at its end. */
const endTransaction = async (
  transaction: Transaction,
  producer: TransactionalClient,
  commit: boolean,
  superseded: () => boolean,
): Promise<boolean> => {
  const late = superseded();
  if (commit && !late) transaction.end = "unknown";
  try {
    await producer.end(commit);
    transaction.why = commit ? "commit answered" : "abort answered";
    transaction.end = commit ? "committed" : "not";
    if (commit && late) transaction.why = "ZOMBIE: its commit was answered";
    return true;
  } catch (error) {
    if (error instanceof GivenUp) {
      transaction.why = error.message;
      return false;
    }
    if (!(error instanceof Refused)) throw error;
    // Refused: but an earlier attempt may have got through before the broker forgot it.
    transaction.why = error.message;
    return false;
  }
};

const runPlain = async (world: World, process: SimulatedProcess, random: Random, count: number): Promise<void> => {
  const client = clientOf(process, 2);
  const producer = client.producer({ deliveryTimeoutMs: 600_000, retryBackoffMs: 20 });
  await client.topic(TOPIC);
  await producer.init();
  for (let index = 0; index < count; index++) {
    const partition = random.below(PARTITIONS);
    const value = `plain.${index}`;
    const outcome = await producer.send(TOPIC, partition, [{ value: Buffer.from(value) }]);
    if (outcome.type === "ok") world.plain.push({ partition, value, offset: outcome.baseOffset });
    else world.found.push(`${value} was not acknowledged: ${outcome.error}`);
    await client.sleep(random.below(100));
  }
  client.close();
};

const text = (value: Uint8Array | null): string => Buffer.from(value ?? []).toString("latin1");

const runReader = async (
  world: World,
  process: SimulatedProcess,
  partition: number,
  finished: () => boolean,
): Promise<void> => {
  const client = clientOf(process, 2);
  let offset = 0;
  while (!finished()) {
    try {
      const fetched = await client.fetch(TOPIC, partition, offset, {
        isolation: "read_committed",
        maxWaitMs: 20,
        maxBytes: 600,
      });
      for (const record of fetched.records) {
        world.read[partition]!.push({ offset: record.offset, value: text(record.value) });
      }
      offset = fetched.nextOffset;
      if (fetched.errorCode !== Errors.NONE) await client.sleep(20);
    } catch {
      client.forgetTopics();
      await client.sleep(20);
    }
  }
  client.close();
};

/** What is wrong, as lines; empty when all is well. */
const judge = async (world: World, process: SimulatedProcess): Promise<string[]> => {
  const found = [...world.found];
  const client = clientOf(process, 2);
  const visible = new Map<string, { readonly partition: number; readonly offset: number }>();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const stable = await client.listOffset(TOPIC, partition, LATEST, "read_committed");
    const latest = await client.listOffset(TOPIC, partition, LATEST, "read_uncommitted");
    if (stable.offset !== latest.offset) {
      found.push(`T12: partition ${partition} hangs at ${stable.offset}, its end is ${latest.offset}`);
    }
    const view = await client.readAll(TOPIC, partition, { isolation: "read_committed", from: 0 });
    let last = -1;
    for (const { offset, value } of view) {
      const name = text(value);
      if (offset <= last) found.push(`T8: ${name} at ${offset} is behind ${last}`);
      last = offset;
      if (visible.has(name)) found.push(`duplicate: ${name}`);
      visible.set(name, { partition, offset });
    }
    const seen = world.read[partition]!;
    const upTo = seen.at(-1)?.offset ?? -1;
    const expected = view.filter(({ offset }) => offset <= upTo).map(({ offset, value }) => `${offset} ${text(value)}`);
    const got = seen.map(({ offset, value }) => `${offset} ${value}`);
    if (got.join("\n") !== expected.join("\n")) {
      const at = got.findIndex((line, index) => line !== expected[index]);
      found.push(`T8: a reader of ${partition} saw ${got[at] ?? "nothing"} where ${expected[at] ?? "nothing"} is`);
    }
  }
  for (const value of world.strays) if (visible.has(value)) found.push(`T11: ${value} is seen`);
  for (const { partition, value, offset } of world.plain) check(visible, partition, value, offset, value, found);
  const offsets = new Map<string, number>();
  for (const transaction of world.transactions) {
    const { name, values, unanswered, end, why, id } = transaction;
    const there = unanswered.filter(({ value }) => visible.has(value)).length;
    const say = (what: string): void => void found.push(`${what}: ${name} (${why})`);
    if (why.startsWith("ZOMBIE")) say("T13");
    if (there > 0 && there < unanswered.length) say(`T9: ${there} of ${unanswered.length} records are seen`);
    if (end === "not" && there > 0) say("T8: not committed, and seen");
    if (end === "committed" && there === 0) say("T8: committed, and not seen");
    if (there === 0) continue;
    for (const { partition, value, offset } of values) check(visible, partition, value, offset, name, found);
    if (transaction.offset !== undefined) offsets.set(id, transaction.offset);
  }
  found.push(...(await replayDifferences(client)));
  for (const id of new Set(world.transactions.map((transaction) => transaction.id))) {
    const fetched = await client.retried("OffsetFetch", async () => {
      const response = await client.request("any", ApiKey.OffsetFetch, {
        ...Apis[ApiKey.OffsetFetch].request.empty(),
        requireStable: true,
        groups: [
          {
            groupId: `group-${id}`,
            memberId: null,
            memberEpoch: -1,
            topics: [{ name: TOPIC, topicId: client.knownTopicId(TOPIC), partitionIndexes: [0] }],
          },
        ],
      });
      if (response.groups[0]!.errorCode === Errors.COORDINATOR_LOAD_IN_PROGRESS) {
        throw new KafkaError(Errors.COORDINATOR_LOAD_IN_PROGRESS, "OffsetFetch");
      }
      return response;
    });
    const group = fetched.groups[0]!;
    const answer = group.topics[0]?.partitions[0];
    const error = group.errorCode !== Errors.NONE ? group.errorCode : (answer?.errorCode ?? Errors.NONE);
    const wanted = offsets.get(id) ?? -1;
    if (error !== Errors.NONE) found.push(`T12: the offsets of ${id} are ${errorName(error)}`);
    else if (answer?.committedOffset !== wanted) {
      found.push(`T9: the offset of ${id} is ${answer?.committedOffset}, its last commit's was ${wanted}`);
    }
  }
  client.close();
  return found;
};

/** `replay(log) == state`: what the coordinators say of each id is what a fold of their log says. */
const replayDifferences = async (client: KafkaClient): Promise<string[]> => {
  const journal: TransactionJournal = new Map();
  for (let partition = 0; partition < STATE_PARTITIONS; partition++) {
    for (const { key, value } of await client.readAll(TRANSACTION_STATE_TOPIC, partition)) {
      const record = decodeTransactionRecord(key!, value);
      if (typeof record !== "string") evolve(journal, record);
    }
  }
  const found: string[] = [];
  const transactionalIds = [...journal.keys()];
  const { transactionStates } = await client.request("any", ApiKey.DescribeTransactions, { transactionalIds });
  for (const state of transactionStates) {
    const told = JSON.stringify(state);
    const replayed = JSON.stringify(describe(journal, state.transactionalId));
    if (told !== replayed) found.push(`replay: ${told} is told, ${replayed} is in the log`);
    const settled = ["Empty", "CompleteCommit", "CompleteAbort"].includes(state.transactionState);
    if (!settled) found.push(`T12: ${state.transactionalId} is still ${state.transactionState}`);
  }
  return found;
};

const check = (
  visible: ReadonlyMap<string, { readonly partition: number; readonly offset: number }>,
  partition: number,
  value: string,
  offset: number,
  who: string,
  found: string[],
): void => {
  const at = visible.get(value);
  if (at === undefined) found.push(`lost: ${value} of ${who}, acknowledged at ${partition}@${offset}`);
  else if (at.partition !== partition || (offset >= 0 && at.offset !== offset)) {
    found.push(`moved: ${value} from ${partition}@${offset} to ${at.partition}@${at.offset}`);
  }
};

export interface Outcome {
  readonly found: string[];
  readonly committed: number;
  readonly transactions: number;
  readonly generations: number;
  readonly trace: string;
}

/** Runs a program and judges it. */
export const runProgram = ({ seed, apps, transactions, crashes }: Program): Outcome => {
  const simulation = new Simulation({ seed, maxTimeMs: LONGEST_RUN_MS });
  return simulation.run(async () => {
    const disk = simulation.makeDisk("disk", { pageBytes: 512 });
    simulation.process("operator", { disk }).disk.makeDirectory(DATA);
    disk.settle();
    const random = simulation.random.fork("program");
    const supervisor = simulation.process("supervisor");
    let generations = 0;
    let finishing = false;
    const defects = Promise.withResolvers<never>();
    const start = (): void => {
      const generation = generations++;
      const process = simulation.process(`broker-${generation}`, { disk });
      process.whenDead(() => void supervisor.clock.after(200, start));
      const dieAt = generation < crashes ? disk.operations + 20 + random.below(250) : -1;
      disk.beforeOperation = ({ kind, index }) => {
        if (kind === "read" || index < dieAt || dieAt < 0 || finishing || !process.alive) return undefined;
        if (random.below(2) === 0) process.kill();
        else process.powerCut(random.pick(CUTS));
        return undefined;
      };
      const log = (level: string, message: string): void => {
        if (level === "error" && process.alive) world.found.push(`the broker says: ${message.split("\n")[0]}`);
      };
      startSimulatedBroker(process, { codecs, settings: SETTINGS, log, fatal: () => process.kill() }).catch((error) => {
        if (process.alive) defects.reject(new Error(`the broker does not start: ${String(error)}`));
      });
    };
    const world: World = {
      transactions: [],
      strays: [],
      plain: [],
      read: Array.from({ length: PARTITIONS }, () => []),
      newest: new Map(),
      found: [],
    };
    start();
    const process = simulation.process("clients", { host: "10.0.0.1" });
    const setup = clientOf(process, 2);
    await setup.createTopic(TOPIC, { partitions: PARTITIONS, configs: {}, orExists: true });
    let done = false;
    const readers = world.read.map((_, partition) => runReader(world, process, partition, () => done));
    const runApp = async (id: string): Promise<void> => {
      const instances: Promise<void>[] = [];
      for (let instance = 0; instance < 3; instance++) {
        const running = runInstance(world, process, random, id, instance, Math.ceil(transactions / 3));
        instances.push(running);
        // Sometimes the next instance comes while this one is at work, which makes this one a zombie.
        if (random.below(3) > 0) await running;
        else await setup.sleep(random.below(400));
      }
      await Promise.all(instances);
    };
    const work = Promise.all([
      ...Array.from({ length: apps }, (_, index) => runApp(`app${index}`)),
      runPlain(world, process, random, 6),
    ]);
    await Promise.race([work, defects.promise]);
    // T12: everybody has stopped; the sweep ends what is open.
    finishing = true;
    await setup.sleep(TIMEOUT_MS + 4 * SWEEP_MS + 2000);
    done = true;
    await Promise.all(readers);
    setup.close();
    const found = await judge(world, process);
    return {
      found,
      committed: world.transactions.filter(({ end }) => end === "committed").length,
      transactions: world.transactions.length,
      generations,
      trace: simulation.trace.hash,
    };
  });
};
