/**
 * A client that creates topics, grows and configures them, uses and deletes them: what was acknowledged is so until it is
 * taken back, whatever the broker goes through.
 */

import { Errors } from "../../../src/protocol/Errors.ts";
import type { SeededRandom } from "../../simulation/SeededRandom.ts";
import type { KafkaClient } from "../KafkaClient.ts";
import { KafkaError } from "../KafkaError.ts";
import { messageOf, type Stage, valueIn } from "../Stage.ts";
import type { ClientKind } from "./ClientKind.ts";
import { startProducer, thinkMs } from "./Sending.ts";

export const adminClient: ClientKind = {
  role: "writer",
  async live(stage, { plan, machine, random, steps, number }) {
    const client = stage.client(machine);
    const names = [0, 1].map((index) => `churn-${plan.id}-${index}`);
    // What a life that ended in the middle of something has left behind nobody knows.
    for (const name of names) stage.churned.set(name, number === 0 ? false : undefined);
    while (steps.left > 0) {
      steps.left -= 1;
      const name = random.pick(names);
      const exists = stage.churned.get(name);
      const change = exists === true && random.chance(0.4);
      stage.churned.set(name, change ? exists : undefined);
      stage.note(`client ${plan.id} ${change ? "changes" : exists === true ? "deletes" : "creates"} ${name}`);
      try {
        if (change) await changeTopic(stage, client, name, random);
        else if (exists === true) {
          await client.deleteTopic(name);
          stage.churned.set(name, false);
        } else {
          await client.createTopic(name, { partitions: random.between(1, 2), orExists: exists === undefined });
          if (exists === false || random.chance(0.5)) await useTopic(stage, client, name, exists === false, random);
          stage.churned.set(name, true);
        }
      } catch (error) {
        stage.note(`client ${plan.id}: ${messageOf(error)}`);
        if (error instanceof KafkaError && error.code === Errors.TOPIC_ALREADY_EXISTS && exists === false)
          stage.violation(`topic ${name} came back: its deletion was acknowledged`);
        if (error instanceof KafkaError && error.code === Errors.UNKNOWN_TOPIC_OR_PARTITION && exists === true)
          stage.violation(`topic ${name} is lost: its creation was acknowledged`);
      }
      await client.sleep(thinkMs(stage, plan, random));
    }
    client.close();
  },
};

/** More partitions and another configuration are there as soon as they are acknowledged. */
const changeTopic = async (stage: Stage, client: KafkaClient, name: string, random: SeededRandom): Promise<void> => {
  if (random.chance(0.5)) {
    const retention = String(random.between(1_000_000, 9_000_000));
    await client.admin.alterTopicConfigs(name, { "retention.ms": retention });
    const found = (await client.admin.topicConfigs(name)).get("retention.ms");
    if (found !== retention)
      stage.violation(`config: ${name} has retention.ms ${found}, acknowledged was ${retention}`);
    return;
  }
  const before = (await client.topic(name)).leaders.length;
  await client.admin.createPartitions(name, before + 1);
  const { topics } = await client.metadata([name]);
  const after = topics[0]?.partitions.length ?? 0;
  if (after < before + 1) stage.violation(`partitions: ${name} has ${after}, acknowledged were ${before + 1}`);
};

/** What an acknowledged batch of a topic of one's own must do: be there, once, where it was said to be, and first in a new topic. */
const useTopic = async (
  stage: Stage,
  client: KafkaClient,
  name: string,
  isNew: boolean,
  random: SeededRandom,
): Promise<void> => {
  const values = stage.freshValues(-1, 2);
  const producer = await startProducer(stage, client, { deliveryTimeoutMs: 10_000 });
  const outcome = await producer.send(name, 0, stage.records(random, values));
  if (outcome.type !== "ok") return;
  const found = await client.readAll(name, 0);
  const seen = found.map((record) => valueIn(record.value));
  const places = values.map((value) =>
    found.filter((record) => valueIn(record.value) === value).map(({ offset }) => offset),
  );
  const wrong = places.some((offsets, index) => offsets.length !== 1 || offsets[0] !== outcome.baseOffset + index);
  if (wrong || (isNew && seen.length !== values.length))
    stage.violation(
      `topic ${name} holds ${seen.join(" ")}; ${values.join(" ")} were acknowledged at ${outcome.baseOffset}`,
    );
};
