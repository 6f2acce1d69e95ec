/**
 * Idempotent producers on a broker that dies: programs as data, and what must hold (P1–P8): whatever was sent again, in
 * whatever order, under whatever epoch and over however many lives of the broker, every acknowledged value is in the log
 * once, where its acknowledgement said, in the order of its producer; a superseded epoch writes nothing.
 *
 * A producer works in rounds, as clients do: what a round sends is under way at once; what it has no answer for goes first
 * in the next attempt, in order.
 */
import fc from "fast-check";
import { type SimulatedProcess, Simulation } from "../../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../../actors/testing/KafkaClient.ts";
import { ConnectionLost } from "../../../actors/testing/KafkaConnection.ts";
import { KafkaError } from "../../../actors/testing/KafkaError.ts";
import { ApiKey } from "../../../src/protocol/ApiKeys.ts";
import { Errors, errorName, isRetriable } from "../../../src/protocol/Errors.ts";
import { addToSequence } from "../../../src/record/RecordBatch.ts";
import { buildBatch } from "../../../src/record/RecordBatchBuilder.ts";
import { type Crash, crashesUpTo, DyingBroker } from "./DyingBroker.ts";
import { BROKER, codecs } from "./PowerCutWorld.ts";

export interface IdempotentProgram {
  readonly seed: number;
  readonly producers: ReadonlyArray<ProducerScript>;
  readonly crashes: ReadonlyArray<Crash>;
}

export interface ProducerScript {
  /** Sequences begin there: near their end they wrap. */
  readonly firstSequence: number;
  readonly rounds: ReadonlyArray<Round>;
}

export interface Round {
  /** Records of each new batch. */
  readonly batches: ReadonlyArray<number>;
  /** One of the last five batches once more, so many back from the newest, in front of the batch at `before`. */
  readonly again: ReadonlyArray<{ readonly back: number; readonly before: number }>;
  /** The second batch overtakes the first. */
  readonly swapped: boolean;
  /** Afterwards: a new epoch begins, and a batch of the last one comes in late. */
  readonly afterwards: "nothing" | "bump" | "zombie";
  readonly pauseMs: number;
}

const TOPIC = "t";
const LONGEST_RUN_MS = 3_600_000;
const BACKOFF_MS = 20;
const WINDOW = 5;
const MAX_SEQUENCE = 0x7fff_ffff;

const round: fc.Arbitrary<Round> = fc.record({
  batches: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
  again: fc.array(fc.record({ back: fc.nat({ max: WINDOW - 1 }), before: fc.nat({ max: 3 }) }), { maxLength: 3 }),
  swapped: fc.boolean(),
  afterwards: fc.constantFrom("nothing", "nothing", "bump", "zombie"),
  pauseMs: fc.constantFrom(0, 0, 250),
});

/** Small programs with so many ends of the broker at most. */
export const idempotentPrograms = (crashes: number): fc.Arbitrary<IdempotentProgram> =>
  fc.record({
    seed: fc.nat({ max: 1_000_000 }),
    producers: fc.array(
      fc.record({
        firstSequence: fc.constantFrom(0, 0, MAX_SEQUENCE - 2),
        rounds: fc.array(round, { minLength: 1, maxLength: 4 }),
      }),
      { minLength: 1, maxLength: 2 },
    ),
    crashes: crashesUpTo(crashes, 60),
  });

interface Batch {
  readonly epoch: number;
  readonly sequence: number;
  readonly values: ReadonlyArray<string>;
  /** Where each answer said it is; more than one when it was sent again. -1: only that it is there. */
  readonly offsets: number[];
}

class Producer {
  readonly batches: Batch[] = [];
  private epoch = 0;
  private sequence: number;

  constructor(
    private readonly client: KafkaClient,
    private readonly producerId: number,
    private readonly name: string,
    private readonly script: ProducerScript,
    private readonly found: string[],
  ) {
    this.sequence = script.firstSequence;
  }

  async run(): Promise<void> {
    for (const [index, step] of this.script.rounds.entries()) {
      const fresh = step.batches.map((records, at) => this.next(`${this.name}.${index}.${at}`, records));
      const known = this.batches.filter(({ epoch }) => epoch === this.epoch);
      // Only where the broker knows the epoch does it know which of two batches is the first.
      const overtakes = step.swapped && known.some(({ offsets }) => offsets.length > 0) && fresh.length > 1;
      const order = overtakes ? [fresh[1]!, fresh[0]!, ...fresh.slice(2)] : [...fresh];
      this.batches.push(...fresh);
      for (const { back, before } of step.again) {
        const older = known.at(-1 - back);
        if (older !== undefined) order.splice(before, 0, older);
      }
      await this.deliver(order);
      if (step.pauseMs > 0) await this.client.sleep(step.pauseMs);
      if (step.afterwards !== "nothing") await this.bump(step.afterwards === "zombie", `${this.name}.${index}`);
    }
  }

  private next(name: string, records: number): Batch {
    const values = Array.from({ length: records }, (_, index) => `${name}.${index}`);
    const batch = { epoch: this.epoch, sequence: this.sequence, values, offsets: [] };
    this.sequence = addToSequence(this.sequence, records);
    return batch;
  }

  /** As a client does after an error it cannot know the outcome of: everything answered, then sequences from 0 on. */
  private async bump(lateOne: boolean, name: string): Promise<void> {
    const late = this.next(`${name}.late`, 1);
    this.epoch += 1;
    this.sequence = 0;
    const first = this.next(`${name}.first`, 1);
    this.batches.push(first);
    await this.deliver([first]);
    if (!lateOne) return;
    for (;;) {
      const error = await this.send(late);
      if (error === Errors.INVALID_PRODUCER_EPOCH) return;
      if (error === Errors.NONE) return void this.found.push(`${late.values[0]} of a superseded epoch was taken`);
      await this.client.sleep(BACKOFF_MS);
    }
  }

  /** Until every batch has its offset; what went wrong goes again, in order. */
  private async deliver(order: ReadonlyArray<Batch>): Promise<void> {
    let left = order;
    for (;;) {
      const errors = await Promise.all(left.map((batch) => this.send(batch)));
      for (const [index, error] of errors.entries()) {
        const batch = left[index]!;
        const lost = batch.offsets.length === 0;
        // A batch in front of it is on its way again, or it is older than what the broker remembers.
        const expected = error === Errors.OUT_OF_ORDER_SEQUENCE_NUMBER || isRetriable(error);
        if (error !== Errors.NONE && !expected) this.found.push(`${batch.values[0]}: ${errorName(error)}`);
        if (error !== Errors.NONE && !expected && lost) return;
      }
      left = this.batches.filter(({ offsets }) => offsets.length === 0);
      if (left.length === 0) return;
      await this.client.sleep(BACKOFF_MS);
    }
  }

  /** One attempt; what has no answer is a timeout. */
  private async send({ epoch, sequence, values, offsets }: Batch): Promise<number> {
    const { client, producerId } = this;
    const records = buildBatch(
      values.map((value) => ({ value: Buffer.from(value, "latin1") })),
      { timestamp: 1, producerId, producerEpoch: epoch, baseSequence: sequence },
    );
    const topicId = client.knownTopicId(TOPIC);
    const request = {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: "", topicId, partitionData: [{ index: 0, records }] }],
    };
    try {
      const { responses } = await client.request("any", ApiKey.Produce, request, this.name);
      const { errorCode, baseOffset } = responses[0]!.partitionResponses[0]!;
      if (errorCode === Errors.NONE) offsets.push(baseOffset);
      return errorCode;
    } catch (error) {
      if (!(error instanceof ConnectionLost || error instanceof KafkaError)) throw error;
      return Errors.REQUEST_TIMED_OUT;
    }
  }
}

/** Everything that was sent, held against the log. */
const judge = async (client: KafkaClient, producers: ReadonlyArray<Producer>, found: string[]): Promise<void> => {
  const at = new Map<string, number>();
  for (const { value, offset } of await client.readAll(TOPIC, 0)) {
    const name = Buffer.from(value ?? []).toString("latin1");
    if (at.has(name)) found.push(`duplicate: ${name} at ${at.get(name)} and ${offset}`);
    at.set(name, offset);
  }
  for (const { batches } of producers) {
    let end = -1;
    for (const { values, offsets } of batches) {
      const [first] = values;
      const base = at.get(first!);
      if (base === undefined) {
        if (offsets.length > 0) found.push(`lost: ${first}, acknowledged at ${offsets}`);
        continue;
      }
      for (const offset of offsets)
        if (offset >= 0 && offset !== base) found.push(`moved: ${first} from ${offset} to ${base}`);
      if (base <= end) found.push(`reordered: ${first} at ${base} is behind ${end}`);
      end = base + values.length - 1;
      for (const [index, value] of values.entries()) {
        if (at.get(value) !== base + index)
          found.push(`torn: ${value} is at ${at.get(value)}, expected ${base + index}`);
      }
    }
  }
};

const clientOf = ({ network, clock, random }: SimulatedProcess): KafkaClient =>
  new KafkaClient(
    { network, clock, random, codecs },
    { bootstrap: [BROKER], requestTimeoutMs: 5000, connectTimeoutMs: 1000, callTimeoutMs: 60_000 },
  );

export interface IdempotentOutcome {
  readonly found: string[];
  readonly generations: number;
  /** Answers beyond the first that a batch was given: duplicates that were recognised. */
  readonly repeated: number;
}

/** Runs a program and judges it. */
export const runIdempotent = ({ seed, producers: scripts, crashes }: IdempotentProgram): IdempotentOutcome => {
  const simulation = new Simulation({ seed, maxTimeMs: LONGEST_RUN_MS });
  return simulation.run(async () => {
    const found: string[] = [];
    const broker = new DyingBroker(simulation, crashes, {}, found);
    const client = clientOf(simulation.process("clients", { host: "10.0.0.1" }));
    await client.createTopic(TOPIC, { partitions: 1, configs: {}, orExists: true });
    const producers = scripts.map((script, index) => new Producer(client, 1000 + index, `p${index}`, script, found));
    await broker.while(Promise.all(producers.map((producer) => producer.run())));
    broker.finish();
    await judge(client, producers, found);
    client.close();
    const repeated = producers
      .flatMap(({ batches }) => batches)
      .reduce((sum, { offsets }) => sum + Math.max(0, offsets.length - 1), 0);
    return { found, generations: broker.generations, repeated };
  });
};
