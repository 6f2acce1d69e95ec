/** Clients of topics whose records vanish: writers of keys that are compacted or of values that expire, and readers. */
import type { SeededRandom } from "../../simulation/SeededRandom.ts";
import type { Value } from "../History.ts";
import type { KafkaClient } from "../KafkaClient.ts";
import type { KafkaProducer } from "../KafkaProducer.ts";
import type { Written } from "../KeyedBook.ts";
import { TOPIC } from "../Scenario.ts";
import { messageOf, type Stage, valueBytes } from "../Stage.ts";
import type { ClientKind } from "./ClientKind.ts";
import { RecordedConsumer } from "./RecordedConsumer.ts";
import { startProducer, thinkMs } from "./Sending.ts";

const NAMES = 4;
const TOMBSTONE = 0.2;

/** One batch of records into the book. */
const write = async (
  stage: Stage,
  client: KafkaClient,
  producer: KafkaProducer,
  key: number,
  entries: ReadonlyArray<{ readonly name: string | null; readonly value: Value | null }>,
  random: SeededRandom,
): Promise<void> => {
  const timestamp = client.platform.clock.wall();
  const { topic, partition } = stage.placeOf(key);
  const records = entries.map(({ name, value }) => ({
    key: name === null ? null : Buffer.from(name, "latin1"),
    value: value === null ? null : valueBytes(value, random.below(stage.plan.knobs.valueBytes)),
  }));
  const text = entries.map(({ name, value }) => `${name}=${value}`).join(" ");
  stage.note(`writes ${text} to ${key}`);
  // In the book before the outcome: a life may end in between.
  const written = entries.map((entry): Written => ({ key, ...entry, offset: undefined, outcome: "info", timestamp }));
  for (const one of written) stage.keyed.write(one);
  const outcome = await producer.send(topic, partition, records);
  stage.note(`wrote ${text}: ${JSON.stringify(outcome)}`);
  for (const [index, one] of written.entries()) {
    one.outcome = outcome.type;
    if (outcome.type === "ok" && outcome.baseOffset >= 0) one.offset = outcome.baseOffset + index;
  }
};

export const keyedWriter: ClientKind = {
  role: "writer",
  async live(stage, { plan, machine, random, steps }) {
    const client = stage.client(machine);
    let producer = await startProducer(stage, client, { deliveryTimeoutMs: 60_000 });
    const keys = stage.keysOf(TOPIC);
    while (steps.left > 0) {
      steps.left -= 1;
      if (producer.fatal !== undefined) producer = await startProducer(stage, client, { deliveryTimeoutMs: 60_000 });
      const key = random.pick(keys);
      const entries = Array.from({ length: random.between(1, 3) }, () => ({
        name: `k${random.below(NAMES)}`,
        value: random.chance(TOMBSTONE) ? null : stage.freshValues(key, 1)[0]!,
      }));
      await write(stage, client, producer, key, entries, random);
      await client.sleep(thinkMs(stage, plan, random));
    }
    client.close();
  },
};

export const expiringWriter: ClientKind = {
  role: "writer",
  async live(stage, { plan, machine, random, steps }) {
    const client = stage.client(machine);
    let producer = await startProducer(stage, client, { deliveryTimeoutMs: 60_000 });
    const keys = stage.keysOf(TOPIC);
    while (steps.left > 0) {
      steps.left -= 1;
      if (producer.fatal !== undefined) producer = await startProducer(stage, client, { deliveryTimeoutMs: 60_000 });
      const key = random.pick(keys);
      if (random.chance(0.15)) await deleteSome(stage, client, key, random);
      else {
        const values = stage.freshValues(key, random.between(1, 3));
        const entries = values.map((value) => ({ name: null, value }));
        await write(stage, client, producer, key, entries, random);
      }
      await client.sleep(thinkMs(stage, plan, random));
    }
    client.close();
  },
};

const deleteSome = async (stage: Stage, client: KafkaClient, key: number, random: SeededRandom): Promise<void> => {
  const { topic, partition } = stage.placeOf(key);
  try {
    const end = (await client.listOffset(topic, partition, -1)).offset;
    const before = random.below(end + 1);
    stage.keyed.deleting(key, before);
    const start = await client.admin.deleteRecords(topic, partition, before);
    if (start < before) stage.violation(`L14: DeleteRecords of ${key} below ${before} was answered with ${start}`);
    stage.note(`deleted ${key} below ${before}`);
  } catch (error) {
    stage.note(`DeleteRecords of ${key}: ${messageOf(error)}`);
  }
};

/** Reads everything again and again: a place never holds anything else than it held. */
export const vanishingReader: ClientKind = {
  role: "reader",
  async live(stage, { machine, random }) {
    const client = stage.client(machine);
    while (!stage.producersDone) {
      const reader = new RecordedConsumer(stage, client, stage.recorder.newProcess(), {
        fetchSessions: random.chance(0.5),
      });
      reader.consumer.assign(stage.keysOf(TOPIC).map((key) => stage.placeOf(key)));
      for (let poll = 0; poll < 20 && !stage.producersDone; poll++) {
        const shown = await reader.read(random.pick([0, 50]));
        if (typeof shown === "string" || shown.length === 0) await client.sleep(random.below(50));
      }
      reader.consumer.abandon();
    }
    client.close();
  },
};
