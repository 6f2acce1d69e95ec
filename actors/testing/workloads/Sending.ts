/** What producing clients have in common: a batch as an operation of the history, and producers whose ids are their own. */
import type { SeededRandom } from "../../simulation/SeededRandom.ts";
import type { Mop } from "../History.ts";
import type { KafkaClient } from "../KafkaClient.ts";
import type { KafkaProducer, ProduceOutcome, ProducerOptions } from "../KafkaProducer.ts";
import type { ClientPlan } from "../Scenario.ts";
import { messageOf, type Stage } from "../Stage.ts";

/** One batch as one operation. */
export const sendBatch = async (
  stage: Stage,
  producer: KafkaProducer,
  owner: number,
  key: number,
  random: SeededRandom,
): Promise<ProduceOutcome> => {
  const values = stage.freshValues(key, random.between(1, 3));
  const end = stage.recorder.invoke(
    owner,
    "send",
    values.map((value): Mop => ["send", key, value]),
  );
  stage.note(`client ${owner} sends ${values.join(" ")} to ${key}`);
  const { topic, partition } = stage.placeOf(key);
  const outcome = await producer.send(topic, partition, stage.records(random, values));
  stage.note(`client ${owner}: ${values.join(" ")} ${JSON.stringify(outcome)}`);
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

/** A producer with its id noted: no two may have the same. */
export const startProducer = async (
  stage: Stage,
  client: KafkaClient,
  options: ProducerOptions,
): Promise<KafkaProducer> => {
  const producer = client.producer({ retryBackoffMs: 20, ...options });
  if (options.idempotent === false) return producer;
  for (;;) {
    try {
      await producer.init();
      break;
    } catch (error) {
      stage.note(`InitProducerId: ${messageOf(error)}`);
      await client.sleep(100);
    }
  }
  const { producerId } = producer;
  const { transactionalId = null } = options;
  const owner = stage.producerIds.get(producerId);
  // A transactional id keeps its own.
  if (owner !== undefined && (owner === null || owner !== transactionalId))
    stage.violation(`producer id ${producerId} was given out twice`);
  stage.producerIds.set(producerId, transactionalId);
  return producer;
};

/** Spreads a client's steps over the safety phase. */
export const thinkMs = ({ plan }: Stage, { steps }: ClientPlan, random: SeededRandom): number =>
  random.below(Math.ceil((2 * plan.safetyMs) / steps));
