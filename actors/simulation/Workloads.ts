/**
 * The clients of a scenario: each speaks the Kafka protocol through `KafkaClient`, writes what it does into the history,
 * and holds every answer against what one answer alone can already break. What must stay true: a value is sent once; an
 * outcome nobody knows makes the worker go on as a new process; no client knows of the faults.
 */

import { Errors } from "../../src/protocol/Errors.ts";
import type { Codecs } from "../../src/record/Compression.ts";
import type { HistoryRecorder, Mop, Value } from "../testing/History.ts";
import { type Fetched, KafkaClient, KafkaError } from "../testing/KafkaClient.ts";
import { ProtocolViolation } from "../testing/KafkaConnection.ts";
import type { KafkaProducer, ProduceOutcome } from "../testing/KafkaProducer.ts";
import type { ClientPlan, Plan } from "./Scenario.ts";
import type { SeededRandom } from "./SeededRandom.ts";
import type { SimulatedProcess, Simulation } from "./Simulation.ts";

export const TOPIC = "t";
export const BROKER = { host: "127.0.0.1", port: 9092 };

/** What all clients of a run share. */
export interface Stage {
  readonly world: Simulation;
  readonly plan: Plan;
  readonly codecs: Codecs;
  readonly recorder: HistoryRecorder;
  /** Takes what is wrong whatever the history says. */
  readonly violations: { push(...lines: string[]): void };
  /** Key of a value that was sent. */
  readonly keyOf: Map<Value, number>;
  readonly producerIds: Set<number>;
  /** Topics of the admin clients by name: whether they must exist; undefined when nobody can tell. */
  readonly topics: Map<string, boolean | undefined>;
  /** Set when the clients that only read may end. */
  producersDone: boolean;
  nextValue: number;
}

export const makeClient = ({ codecs }: Stage, machine: SimulatedProcess, requestTimeoutMs = 1000): KafkaClient =>
  new KafkaClient(
    { network: machine.network, clock: machine.clock, random: machine.random, codecs },
    { bootstrap: [BROKER], requestTimeoutMs, connectTimeoutMs: 500, callTimeoutMs: 20_000, retryBackoffMs: 20 },
  );

/** What stands behind a value's number: a space and as many of these as its size asks for. */
const PADDING = Buffer.from(` ${"x".repeat(64 * 1024)}`, "latin1");

const recordsOf = (stage: Stage, random: SeededRandom, values: ReadonlyArray<Value>) =>
  values.map((value) => ({
    value: Buffer.from(`${value} ${"x".repeat(random.below(stage.plan.valueBytes))}`, "latin1"),
  }));

/** The value a record carries, or undefined when its bytes are nobody's. */
const valueIn = (bytes: Uint8Array | null): number | undefined => {
  if (bytes === null) return undefined;
  let value = 0;
  let at = 0;
  for (; at < bytes.length; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  const rest = bytes.length - at;
  const isWhole = at > 0 && Buffer.compare(bytes.subarray(at), PADDING.subarray(0, rest)) === 0;
  return isWhole ? value : undefined;
};

const freshValues = (stage: Stage, key: number, count: number): number[] =>
  Array.from({ length: count }, () => {
    const value = stage.nextValue++;
    stage.keyOf.set(value, key);
    return value;
  });

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** One batch as one operation. */
export const sendBatch = async (
  stage: Stage,
  producer: KafkaProducer,
  owner: number,
  key: number,
  random: SeededRandom,
): Promise<ProduceOutcome> => {
  const values = freshValues(stage, key, random.between(1, 3));
  const end = stage.recorder.invoke(
    owner,
    "send",
    values.map((value): Mop => ["send", key, value]),
  );
  stage.world.trace.add(`client ${owner} sends ${values.join(" ")} to ${key}`);
  const outcome = await producer.send(TOPIC, key, recordsOf(stage, random, values));
  stage.world.trace.add(`client ${owner}: ${values.join(" ")} ${JSON.stringify(outcome)}`);
  if (outcome.type !== "ok") end(outcome.type, undefined, outcome.error);
  else {
    const base = outcome.baseOffset;
    end(
      "ok",
      values.map((value, index): Mop => ["send", key, [base < 0 ? null : base + index, value]]),
    );
  }
  return outcome;
};

/** Reads partitions of the topic one fetch at a time, and holds each answer against what was promised before. */
export class Reader {
  private readonly positions = new Map<number, number>();
  private readonly highWatermarks = new Map<number, number>();

  constructor(
    private readonly stage: Stage,
    readonly client: KafkaClient,
    readonly owner: number,
  ) {}

  position(key: number): number {
    return this.positions.get(key) ?? 0;
  }

  /** Keys it has not had are read from their beginning. */
  assign(keys: ReadonlyArray<number>): void {
    this.stage.recorder.invoke(this.owner, "assign", keys)("ok");
    for (const key of [...this.positions.keys()]) if (!keys.includes(key)) this.positions.delete(key);
  }

  /** One fetch as one operation; answers what came, or undefined when nothing did. */
  async poll(key: number, maxWaitMs: number): Promise<Fetched | undefined> {
    const { stage, owner } = this;
    const end = stage.recorder.invoke(owner, "poll", [["poll"]]);
    const offset = this.position(key);
    let fetched: Fetched;
    try {
      fetched = await this.client.fetch(TOPIC, key, offset, { maxWaitMs, maxBytes: 4096 });
    } catch (error) {
      if (error instanceof ProtocolViolation) stage.violations.push(`protocol: ${error.message}`);
      this.client.forgetTopics();
      end("info", undefined, messageOf(error));
      return undefined;
    }
    const where = `client ${owner} at ${key}@${offset}`;
    if (fetched.errorCode === Errors.OFFSET_OUT_OF_RANGE) stage.violations.push(`lost: ${where} is out of range`);
    if (fetched.errorCode !== Errors.NONE) {
      end("fail", [["poll", {}]]);
      return undefined;
    }
    this.judge(key, offset, fetched, where);
    const pairs = fetched.records.map((record): readonly [number, Value] => [
      record.offset,
      valueIn(record.value) ?? -1,
    ]);
    if (pairs.length > 0) stage.world.trace.add(`${where} reads ${pairs.map((pair) => pair.join(":")).join(" ")}`);
    this.positions.set(key, fetched.nextOffset);
    end("ok", [["poll", { [key]: pairs }]]);
    return fetched;
  }

  private judge(key: number, offset: number, fetched: Fetched, where: string): void {
    const { violations, keyOf } = this.stage;
    const { logStartOffset, lastStableOffset, highWatermark, records } = fetched;
    if (logStartOffset > lastStableOffset || lastStableOffset > highWatermark)
      violations.push(
        `L6: ${where}: start ${logStartOffset}, stable ${lastStableOffset}, high watermark ${highWatermark}`,
      );
    const before = this.highWatermarks.get(key) ?? 0;
    if (highWatermark < before)
      violations.push(`H6: ${where}: the high watermark was ${before} and is ${highWatermark}`);
    this.highWatermarks.set(key, Math.max(before, highWatermark));
    let last = offset - 1;
    for (const record of records) {
      const value = valueIn(record.value);
      if (value === undefined || keyOf.get(value) !== key)
        violations.push(`phantom: ${where}: nobody sent what is at ${record.offset} (${value})`);
      if (record.offset <= last) violations.push(`L2: ${where}: offset ${record.offset} behind ${last}`);
      if (record.offset >= highWatermark)
        violations.push(`L11: ${where}: offset ${record.offset}, high watermark ${highWatermark}`);
      last = record.offset;
    }
  }
}

/** A producer with its id noted: no two may have the same. */
export const startProducer = async (
  stage: Stage,
  client: KafkaClient,
  options: Parameters<KafkaClient["producer"]>[0],
): Promise<KafkaProducer> => {
  const producer = client.producer(options);
  if (options?.idempotent === false) return producer;
  for (;;) {
    try {
      await producer.init();
      break;
    } catch (error) {
      stage.world.trace.add(`InitProducerId: ${messageOf(error)}`);
      await client.sleep(100);
    }
  }
  const { producerId } = producer;
  if (stage.producerIds.has(producerId)) stage.violations.push(`producer id ${producerId} was given out twice`);
  stage.producerIds.add(producerId);
  return producer;
};

/** Runs one client to its end. */
export const runClient = (stage: Stage, plan: ClientPlan, machine: SimulatedProcess): Promise<void> => {
  const random = stage.world.random.fork(`client ${plan.id}`);
  switch (plan.kind) {
    case "plain":
      return produceOneByOne(stage, plan, machine, random);
    case "idempotent":
      return producePipelined(stage, plan, machine, random);
    case "mixed":
      return produceAndPoll(stage, plan, machine, random);
    case "consumer":
      return pollOnly(stage, machine, random);
    case "admin":
      return createAndDelete(stage, plan, machine, random);
  }
};

/** Spreads a client's steps over the safety phase. */
const thinkMs = ({ plan }: Stage, { steps }: ClientPlan, random: SeededRandom): number =>
  random.below(Math.ceil((2 * plan.safetyMs) / steps));

const produceOneByOne = async (
  stage: Stage,
  plan: ClientPlan,
  machine: SimulatedProcess,
  random: SeededRandom,
): Promise<void> => {
  const client = makeClient(stage, machine);
  const producer = client.producer({ idempotent: false, maxInFlight: 1, deliveryTimeoutMs: 5000, retryBackoffMs: 20 });
  let owner = stage.recorder.newProcess();
  for (let step = 0; step < plan.steps; step++) {
    const outcome = await sendBatch(stage, producer, owner, random.below(stage.plan.partitions), random);
    if (outcome.type === "info") owner = stage.recorder.newProcess();
    await client.sleep(thinkMs(stage, plan, random));
  }
  client.close();
};

const producePipelined = async (
  stage: Stage,
  plan: ClientPlan,
  machine: SimulatedProcess,
  random: SeededRandom,
): Promise<void> => {
  const client = makeClient(stage, machine);
  // A short time to deliver makes producers give up and begin again; the long one outlives every fault.
  const deliveryTimeoutMs = random.pick([120_000, 120_000, 1500]);
  const begin = () => startProducer(stage, client, { deliveryTimeoutMs, retryBackoffMs: 20 });
  let producer = await begin();
  let owner = stage.recorder.newProcess();
  const open = new Set<Promise<unknown>>();
  for (let step = 0; step < plan.steps; step++) {
    if (producer.fatal !== undefined) {
      await Promise.all(open);
      producer = await begin();
      owner = stage.recorder.newProcess();
    }
    const sent: Promise<unknown> = sendBatch(stage, producer, owner, random.below(stage.plan.partitions), random).then(
      (outcome) => {
        // Five in flight fit the broker's window, and nothing was given up: a retry is known or next in line.
        const refused = outcome.type !== "ok" && outcome.error === "OUT_OF_ORDER_SEQUENCE_NUMBER";
        if (refused && deliveryTimeoutMs > 60_000)
          stage.violations.push(`P2: client ${owner}'s sequence was refused after ${outcome.attempts} attempts`);
        open.delete(sent);
      },
    );
    open.add(sent);
    if (open.size >= 8) await Promise.race(open);
    if (random.chance(0.4)) await client.sleep(thinkMs(stage, plan, random));
  }
  await Promise.all(open);
  client.close();
};

const produceAndPoll = async (
  stage: Stage,
  plan: ClientPlan,
  machine: SimulatedProcess,
  random: SeededRandom,
): Promise<void> => {
  const client = makeClient(stage, machine);
  const options = { deliveryTimeoutMs: random.pick([120_000, 2000]), retryBackoffMs: 20 };
  let producer = await startProducer(stage, client, options);
  const keys = Array.from({ length: stage.plan.partitions }, (_, key) => key);
  let assigned = keys;
  let reader = new Reader(stage, client, stage.recorder.newProcess());
  for (let step = 0; step < plan.steps; step++) {
    const what = random.pick(["send", "poll", "poll", random.chance(0.2) ? "assign" : "send"]);
    if (what === "assign") {
      assigned = keys.filter(() => random.chance(0.6));
      reader.assign(assigned);
    } else if (what === "poll" && assigned.length > 0) {
      await reader.poll(random.pick(assigned), random.pick([0, 50, 300]));
    } else {
      const outcome = await sendBatch(stage, producer, reader.owner, random.pick(keys), random);
      if (producer.fatal !== undefined) producer = await startProducer(stage, client, options);
      if (outcome.type === "info") reader = new Reader(stage, client, stage.recorder.newProcess());
    }
    await client.sleep(thinkMs(stage, plan, random));
  }
  client.close();
};

const pollOnly = async (stage: Stage, machine: SimulatedProcess, random: SeededRandom): Promise<void> => {
  const client = makeClient(stage, machine);
  const reader = new Reader(stage, client, stage.recorder.newProcess());
  const waitMs = random.pick([20, 100, 500]);
  while (!stage.producersDone) {
    const fetched = await reader.poll(random.below(stage.plan.partitions), waitMs);
    await client.sleep(fetched === undefined ? 50 : random.pick([0, 10, waitMs]));
  }
  client.close();
};

const createAndDelete = async (
  stage: Stage,
  plan: ClientPlan,
  machine: SimulatedProcess,
  random: SeededRandom,
): Promise<void> => {
  const client = makeClient(stage, machine);
  const { topics, violations } = stage;
  const names = [0, 1].map((index) => `churn-${plan.id}-${index}`);
  for (const name of names) topics.set(name, false);
  for (let step = 0; step < plan.steps; step++) {
    const name = random.pick(names);
    const exists = topics.get(name);
    topics.set(name, undefined);
    const creates = exists !== true;
    stage.world.trace.add(`client ${plan.id} ${creates ? "creates" : "deletes"} ${name}`);
    try {
      if (creates) {
        await client.createTopic(name, { partitions: random.between(1, 2), orExists: exists === undefined });
        if (exists === false || random.chance(0.5)) await useTopic(stage, client, name, exists === false, random);
        topics.set(name, true);
      } else {
        await client.deleteTopic(name);
        topics.set(name, false);
      }
    } catch (error) {
      stage.world.trace.add(`client ${plan.id}: ${messageOf(error)}`);
      if (error instanceof KafkaError && error.code === Errors.TOPIC_ALREADY_EXISTS && exists === false)
        violations.push(`topic ${name} came back: its deletion was acknowledged`);
      if (error instanceof KafkaError && error.code === Errors.UNKNOWN_TOPIC_OR_PARTITION && exists === true)
        violations.push(`topic ${name} is lost: its creation was acknowledged`);
    }
    await client.sleep(thinkMs(stage, plan, random));
  }
  client.close();
};

/** What an acknowledged batch of a topic of one's own must do: be there, once, where it was said to be, and first in a new topic. */
const useTopic = async (
  stage: Stage,
  client: KafkaClient,
  name: string,
  isNew: boolean,
  random: SeededRandom,
): Promise<void> => {
  const values = freshValues(stage, -1, 2);
  const producer = await startProducer(stage, client, { deliveryTimeoutMs: 10_000, retryBackoffMs: 20 });
  const outcome = await producer.send(name, 0, recordsOf(stage, random, values));
  if (outcome.type !== "ok") return;
  const found = await client.readAll(name, 0);
  const seen = found.map((record) => valueIn(record.value));
  const places = values.map((value) =>
    found.filter((record) => valueIn(record.value) === value).map(({ offset }) => offset),
  );
  const wrong = places.some((offsets, index) => offsets.length !== 1 || offsets[0] !== outcome.baseOffset + index);
  if (wrong || (isNew && seen.length !== values.length))
    stage.violations.push(
      `topic ${name} holds ${seen.join(" ")}; ${values.join(" ")} were acknowledged at ${outcome.baseOffset}`,
    );
};
