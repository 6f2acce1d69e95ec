/**
 * A produce workload through KafkaClient, and what must hold of the log afterwards: every acknowledged record is there
 * once, at its offset, in the order it was sent; nothing refused is there; nothing unknown is there twice; nothing that
 * a consumer read is gone; a topic whose creation was acknowledged exists; a producer id is never given out again.
 */
import type { SimulatedProcess, Simulation } from "../../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../../actors/testing/KafkaClient.ts";
import type { ProduceOutcome } from "../../../actors/testing/KafkaProducer.ts";
import { makeBunCodecs } from "../../../src/platform/BunCodecs.ts";
import { Errors } from "../../../src/protocol/Errors.ts";

export const codecs = makeBunCodecs();
export const TOPIC = "t";
export const PARTITIONS = 2;
export const BROKER = { host: "127.0.0.1", port: 9092 };

export interface Sent {
  readonly partition: number;
  readonly values: ReadonlyArray<string>;
  /** Undefined while nothing is known. */
  outcome: ProduceOutcome | undefined;
}

/** What the clients know so far. */
export interface History {
  topicCreated: boolean;
  readonly producerIds: number[];
  readonly sent: Sent[];
  /** Values that consumers were shown, by partition and offset. */
  readonly read: Map<string, string>;
}

export const emptyHistory = (): History => ({ topicCreated: false, producerIds: [], sent: [], read: new Map() });

/** The history as it is known now: what an image of the disk taken now must agree with. */
export const copyHistory = (history: History): History => ({
  topicCreated: history.topicCreated,
  producerIds: [...history.producerIds],
  sent: history.sent.map((sent) => ({ ...sent })),
  read: new Map(history.read),
});

const nameIn = (record: { readonly value: Uint8Array | null }): string => {
  const text = Buffer.from(record.value ?? []).toString("latin1");
  return text.slice(0, text.indexOf(" "));
};

/** Longer than a page of the simulated disk now and then, so that lost pages lie inside one batch and between batches. */
const padded = (value: string, size: number): Uint8Array => Buffer.from(`${value} ${"x".repeat(size)}`, "latin1");

export const makeClient = (process: SimulatedProcess, options: { requestTimeoutMs?: number } = {}): KafkaClient =>
  new KafkaClient(
    { network: process.network, clock: process.clock, random: process.random, codecs },
    { bootstrap: [BROKER], requestTimeoutMs: 5000, connectTimeoutMs: 1000, callTimeoutMs: 30_000, ...options },
  );

export interface WorkloadOptions {
  /** Batches per partition. */
  readonly batches: number;
  readonly deliveryTimeoutMs?: number;
  readonly topicConfigs?: Readonly<Record<string, string>>;
  /** Most bytes of a value. */
  readonly valueBytes?: number;
  readonly consume?: boolean;
}

/** Creates the topic, produces to it and reads it meanwhile, until everything sent has an outcome. */
export const runWorkload = async (
  world: Simulation,
  process: SimulatedProcess,
  history: History,
  options: WorkloadOptions,
): Promise<void> => {
  const random = world.random.fork("workload");
  const client = makeClient(process);
  await client.createTopic(TOPIC, { partitions: PARTITIONS, configs: options.topicConfigs ?? {}, orExists: true });
  history.topicCreated = true;
  const producer = client.producer({ deliveryTimeoutMs: options.deliveryTimeoutMs ?? 120_000, retryBackoffMs: 20 });
  await producer.init();
  history.producerIds.push(producer.producerId);
  let finished = false;
  const produce = async (partition: number): Promise<void> => {
    const waits: Promise<void>[] = [];
    for (let batch = 0; batch < options.batches; batch++) {
      const values = Array.from({ length: random.between(1, 3) }, (_, index) => `${partition}.${batch}.${index}`);
      const sent: Sent = { partition, values, outcome: undefined };
      history.sent.push(sent);
      const records = values.map((value) => ({ value: padded(value, random.below(options.valueBytes ?? 1500)) }));
      const outcome = producer.send(TOPIC, partition, records).then((known) => {
        sent.outcome = known;
      });
      waits.push(outcome);
      const next = random.pick(["when acknowledged", "later", "at once", "at once"]);
      if (next === "when acknowledged") await outcome;
      else if (next === "later") await client.sleep(random.below(30));
    }
    await Promise.all(waits);
  };
  const consume = async (partition: number): Promise<void> => {
    let offset = 0;
    while (!finished) {
      try {
        const fetched = await client.fetch(TOPIC, partition, offset, { maxWaitMs: 20, maxBytes: 4096 });
        for (const record of fetched.records) note(history, partition, record.offset, nameIn(record));
        offset = fetched.nextOffset;
        if (fetched.errorCode !== Errors.NONE) await client.sleep(20);
      } catch {
        client.forgetTopics();
        await client.sleep(20);
      }
    }
  };
  const partitions = Array.from({ length: PARTITIONS }, (_, index) => index);
  const consumers = options.consume === false ? [] : partitions.map(consume);
  await Promise.all(partitions.map(produce));
  finished = true;
  await Promise.all(consumers);
  client.close();
};

const note = (history: History, partition: number, offset: number, value: string): void => {
  const key = `${partition}@${offset}`;
  const before = history.read.get(key);
  if (before !== undefined && before !== value) throw new Error(`${key} was ${before} and is ${value}`);
  history.read.set(key, value);
};

/** What does not hold of the broker's logs, as lines; empty when all is well. */
export const violations = async (process: SimulatedProcess, history: History): Promise<string[]> => {
  const found: string[] = [];
  const client = makeClient(process, { requestTimeoutMs: 20_000 });
  const metadata = await client.metadata(null);
  const exists = metadata.topics.some((topic) => topic.name === TOPIC && topic.errorCode === Errors.NONE);
  if (!exists) {
    if (history.topicCreated) found.push("lost topic: its creation was acknowledged");
    client.close();
    return found;
  }
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const log = new Map<number, string>();
    const places = new Map<string, number[]>();
    for (const record of await client.readAll(TOPIC, partition)) {
      const value = nameIn(record);
      log.set(record.offset, value);
      const list = places.get(value);
      if (list === undefined) places.set(value, [record.offset]);
      else list.push(record.offset);
    }
    let last = -1;
    for (const { values, outcome } of history.sent.filter((sent) => sent.partition === partition)) {
      values.forEach((value, index) => {
        const at = places.get(value) ?? [];
        if (at.length > 1) found.push(`duplicate: ${value} at ${at.join(", ")}`);
        if (outcome?.type === "ok") {
          const offset = outcome.baseOffset + index;
          if (at.length === 0) found.push(`lost: ${value} was acknowledged at ${partition}@${offset}`);
          else if (outcome.baseOffset >= 0 && at[0] !== offset) {
            found.push(`moved: ${value} was acknowledged at ${partition}@${offset} and is at ${at[0]}`);
          }
        }
        if (outcome?.type === "fail" && at.length > 0)
          found.push(`false failure: ${value} (${outcome.error}) is there`);
        for (const offset of at) {
          if (offset <= last) found.push(`reordered: ${value} at ${partition}@${offset}, behind ${last}`);
          last = Math.max(last, offset);
        }
      });
      const there = values.filter((value) => places.has(value)).length;
      if (there > 0 && there < values.length) found.push(`torn: ${there} of ${values.join(" ")} are there`);
    }
    for (const [key, value] of history.read) {
      const [where, offset] = key.split("@");
      if (Number(where) !== partition) continue;
      const now = log.get(Number(offset));
      if (now !== value) found.push(`unread: a consumer saw ${value} at ${key}, now it is ${now ?? "nothing"}`);
    }
  }
  const producer = client.producer();
  await producer.init();
  if (history.producerIds.includes(producer.producerId)) {
    found.push(`producer id ${producer.producerId} was given out twice`);
  }
  client.close();
  return found;
};
