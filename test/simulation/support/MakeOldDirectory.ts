/**
 * Writes test/simulation/fixtures/upgrade: a data directory of two builds of 2026-11-23, with a list of what is in it. The
 * first build (ce557d1) finalized no feature but the metadata.version, and is stopped; the second (14c39c9) has
 * transactions, and is killed in the middle of one. What must stay true: the old builds write every byte; only the clients
 * are today's.
 *
 *   git worktree add --detach ../first ce557d1; git worktree add --detach ../second 14c39c9
 *   (in each: a node_modules, of this tree)
 *   node scripts/run.mjs test/simulation/support/MakeOldDirectory.ts ../first ../second
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { SimulatedBroker } from "../../../actors/simulation/SimulatedBroker.ts";
import { KafkaClient } from "../../../actors/testing/KafkaClient.ts";
import type { KafkaProducer } from "../../../actors/testing/KafkaProducer.ts";
import { outsideOfGroup } from "../../../actors/testing/Offsets.ts";
import type { OldData, OldRecord, OldState } from "../../../actors/testing/OldData.ts";
import { valueBytes } from "../../../actors/testing/Stage.ts";
import { makeBunCodecs } from "../../../src/platform/BunCodecs.ts";
import { FIXTURES } from "./OldDirectory.ts";

const FIXTURE = join(FIXTURES, "upgrade");

const DATA = "/data";
const BROKER = { host: "127.0.0.1", port: 9092 };
const PARTITIONS = 2;
/** Of "compacted": several segments, so that there is something to clean. */
const COMPACTED = { "cleanup.policy": "compact", "segment.ms": "8", "min.cleanable.dirty.ratio": "0.01" };
const SETTINGS = {
  "log.flush.policy": "ack",
  "offsets.topic.num.partitions": "1",
  "transaction.state.log.num.partitions": "1",
  "log.retention.check.interval.ms": "20",
  "log.initial.task.delay.ms": "20",
};
/** Of "trimmed": the records of its idempotent producer are deleted, and only a snapshot knows it. */
const TRIMMED = { "segment.ms": "8", "file.delete.delay.ms": "5" };
/** So that it is over while whoever starts on the directory is still at work, under faults or after the heal. */
const OPEN_TIMEOUT_MS = 1500;

type Files = ReadonlyMap<string, Uint8Array>;

class Writer {
  readonly records: OldRecord[] = [];
  readonly transactions: Array<OldData["transactions"][number]> = [];
  readonly offsets = new Map<string, OldData["offsets"][number]>();
  readonly copies: Array<OldData["copies"][number]> = [];
  readonly producers: Array<OldData["producers"][number]> = [];
  /** What each idempotent producer sent last to each partition. */
  readonly last = new Map<string, OldData["last"][number]>();
  private nextValue = 1;
  private readonly copied = new Map<number, number>();
  private readonly sent = new Map<string, number>();

  constructor(public client: KafkaClient) {}

  know(producer: KafkaProducer, transactionalId: string | null): void {
    this.producers.push({ producerId: producer.producerId, producerEpoch: producer.producerEpoch, transactionalId });
  }

  async send(
    producer: KafkaProducer,
    topic: string,
    partition: number,
    keys: ReadonlyArray<string | null>,
    { transaction = null, tombstone = false }: { transaction?: number | null; tombstone?: boolean } = {},
  ): Promise<number[]> {
    const values = keys.map(() => this.nextValue++);
    const records = values.map((value, at) => ({
      key: keys[at] === null ? null : Buffer.from(keys[at]!, "latin1"),
      value: tombstone ? null : valueBytes(value, 20),
    }));
    let outcome = await producer.send(topic, partition, records);
    // A partition that is being opened refuses in these builds.
    while (outcome.type === "info" && outcome.error === "NOT_LEADER_OR_FOLLOWER") {
      await this.client.sleep(20);
      outcome = await producer.send(topic, partition, records);
    }
    if (outcome.type !== "ok") throw new Error(`${topic}-${partition}: ${JSON.stringify(outcome)}`);
    for (const [at, value] of values.entries()) {
      const offset = outcome.baseOffset + at;
      this.records.push({ topic, partition, offset, key: keys[at]!, value: tombstone ? null : value, transaction });
    }
    const { producerId, producerEpoch } = producer;
    if (producerId < 0 || transaction !== null || tombstone) return values;
    const place = `${producerId} ${topic}-${partition}`;
    const sequence = this.sent.get(place) ?? 0;
    this.sent.set(place, sequence + values.length);
    const { baseOffset: offset } = outcome;
    this.last.set(place, { producerId, producerEpoch, topic, partition, sequence, offset, values });
    return values;
  }

  /** Batches in segments of their own, of which only the last one stays: a plain producer's. */
  async trim(idempotent: KafkaProducer, plain: KafkaProducer): Promise<void> {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      for (const producer of [idempotent, idempotent, plain, plain]) {
        await this.send(producer, "trimmed", partition, [null, null]);
        await this.client.sleep(20);
      }
      const before = this.records.at(-1)!.offset - 1;
      await this.client.admin.deleteRecords("trimmed", partition, before);
      const isGone = (one: OldRecord) => one.topic === "trimmed" && one.partition === partition && one.offset < before;
      this.records.splice(0, this.records.length, ...this.records.filter((one) => !isGone(one)));
    }
    await this.client.sleep(200);
  }

  /** A member of a classic group is given all of "t", commits the same offset of each partition and leaves. */
  async consume(group: string, next: number): Promise<void> {
    const consumer = this.client.consumer({ groupId: group, groupProtocol: "classic", autoOffsetReset: "earliest" });
    consumer.subscribe(["t"]);
    while (consumer.assignment.length < PARTITIONS) await consumer.poll(20);
    const offsets = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: "t", partition, offset: next }));
    const outcome = await consumer.commit(offsets);
    if (outcome.type !== "ok") throw new Error(JSON.stringify(outcome));
    this.commit(group, offsets);
    await consumer.close();
  }

  private commit(group: string, offsets: ReadonlyArray<{ topic: string; partition: number; offset: number }>): void {
    for (const one of offsets) this.offsets.set(`${group} ${one.topic}-${one.partition}`, { group, ...one });
  }

  /** Copies the next records of "t" to "copies", with the offsets, as the copiers of the scenarios do. */
  async copy(transactionalId: string, count: number, state: OldState): Promise<void> {
    const producer = this.client.producer({
      transactionalId,
      transactionVersion: 1,
      transactionTimeoutMs: state === "open" ? OPEN_TIMEOUT_MS : 60_000,
    });
    await producer.init();
    this.know(producer, transactionalId);
    const transaction = this.transactions.push({ transactionalId, state }) - 1;
    producer.begin();
    const offsets: Array<{ topic: string; partition: number; offset: number }> = [];
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const from = this.copied.get(partition) ?? 0;
      const sources = this.records
        .filter((one) => one.topic === "t" && one.partition === partition)
        .filter(({ offset }) => offset >= from)
        .slice(0, count);
      const values = await this.send(
        producer,
        "copies",
        partition,
        sources.map(() => null),
        { transaction },
      );
      for (const [at, value] of values.entries()) this.copies.push([sources[at]!.value!, value]);
      offsets.push({ topic: "t", partition, offset: sources.at(-1)!.offset + 1 });
    }
    const added = await producer.sendOffsets(offsets, outsideOfGroup("copiers"));
    if (added.type !== "ok") throw new Error(JSON.stringify(added));
    if (state !== "open") {
      const ended = state === "committed" ? await producer.commit() : await producer.abort();
      if (state === "committed" && ended.type !== "ok") throw new Error(JSON.stringify(ended));
    }
    if (state === "committed") {
      this.commit("copiers", offsets);
      for (const { partition, offset } of offsets) this.copied.set(partition, offset);
    }
  }
}

/** A build's broker at work on these files. `end`: what ends it. */
const build = async (
  tree: string,
  files: Files,
  work: (client: KafkaClient) => Promise<void>,
  end: "stop" | "kill",
): Promise<Files> => {
  const { Simulation } = (await import(
    resolve(tree, "actors/simulation/Simulation.ts")
  )) as typeof import("../../../actors/simulation/Simulation.ts");
  const { startSimulatedBroker } = (await import(
    resolve(tree, "actors/simulation/SimulatedBroker.ts")
  )) as typeof import("../../../actors/simulation/SimulatedBroker.ts");
  const codecs = makeBunCodecs();
  const world = new Simulation({ seed: `an old data directory to ${end}`, buggify: false, network: { latencyMs: 1 } });
  const platter = world.makeDisk("disk");
  world.run(async () => {
    const { disk } = world.process("operator", { disk: platter, host: "10.1.0.1" });
    disk.makeDirectory(DATA);
    for (const [path, bytes] of files) {
      disk.makeDirectory(dirname(path));
      const file = disk.open(path, "write");
      let at = 0;
      while (at < bytes.length) at += await file.write([bytes.slice(at)], at);
      file.close();
    }
    platter.settle();
    const machine = world.process("broker", { disk: platter });
    const started: SimulatedBroker = await startSimulatedBroker(machine, { codecs, settings: SETTINGS });
    const { network, clock, random } = world.process("clients", { host: "10.0.0.1" });
    const client = new KafkaClient({ network, clock, random, codecs }, { bootstrap: [BROKER], clientId: "old" });
    await work(client);
    if (end === "kill") machine.kill();
    else await machine.runPromise(started.broker.stop);
    client.close();
  });
  return platter.files();
};

const [first, second] = process.argv.slice(2);
if (first === undefined || second === undefined) throw new Error("the two old trees are missing");

let writer: Writer | undefined;
const before = await build(
  first,
  new Map(),
  async (client) => {
    writer = new Writer(client);
    for (const topic of ["t", "copies"]) await client.createTopic(topic, { partitions: PARTITIONS });
    const plain = client.producer({ idempotent: false, maxInFlight: 1 });
    const idempotent = client.producer();
    await idempotent.init();
    writer.know(idempotent, null);
    for (let round = 0; round < 3; round++) {
      for (let partition = 0; partition < PARTITIONS; partition++) {
        await writer.send(plain, "t", partition, [null, null]);
        await writer.send(idempotent, "t", partition, [null]);
      }
    }
    await writer.consume("g", 4);
    await client.createTopic("trimmed", { partitions: PARTITIONS, configs: TRIMMED });
    await writer.trim(idempotent, plain);
  },
  "stop",
);
const after = await build(
  second,
  before,
  async (client) => {
    const own = writer!;
    own.client = client;
    const idempotent = client.producer();
    await idempotent.init();
    own.know(idempotent, null);
    await client.createTopic("compacted", { partitions: PARTITIONS, configs: COMPACTED });
    for (let partition = 0; partition < PARTITIONS; partition++) {
      await own.send(idempotent, "t", partition, [null, null, null]);
      for (let round = 1; round <= 3; round++) {
        await own.send(idempotent, "compacted", partition, ["k0", "k1"]);
        await own.send(idempotent, "compacted", partition, [`k${round}`], { tombstone: round === 2 });
        await client.sleep(20);
      }
    }
    await own.consume("g", 7);
    await own.copy("copier-0", 3, "committed");
    await own.copy("copier-1", 2, "aborted");
    await own.copy("copier-0", 2, "committed");
    await own.copy("left open", 2, "open");
  },
  "kill",
);

const { records, transactions, offsets, copies, producers, last } = writer!;
const data = join(FIXTURE, "data");
rmSync(data, { recursive: true, force: true });
for (const [path, bytes] of after) {
  if (path.endsWith("/.lock")) continue;
  const target = join(data, path.slice(DATA.length + 1));
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, bytes);
}
const contents: OldData = {
  records,
  transactions,
  offsets: [...offsets.values()],
  copies,
  producers,
  last: [...last.values()].filter(({ topic }) => topic !== "compacted"),
};
writeFileSync(join(FIXTURE, "contents.json"), `${JSON.stringify(contents, undefined, 2)}\n`);
