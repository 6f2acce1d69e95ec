/**
 * The producers of a recorded data directory, alive again with the ids and sequences they had: what each of them sent last
 * is known and answered as it was, and what comes next follows it, whether the records before are still there or only a
 * snapshot knows of them.
 */
import type { ClientKind } from "./ClientKind.ts";
import { sendBatch, thinkMs } from "./Sending.ts";

/** Outlives every fault: nothing is given up, so that every sequence is taken. */
const DELIVERY_TIMEOUT_MS = 120_000;

export const resumedProducer: ClientKind = {
  role: "writer",
  async live(stage, { plan, machine, random, steps, number }) {
    // What a life before this one had sent nobody knows.
    if (number > 0) return;
    const client = stage.client(machine);
    const producers = [...Map.groupBy(stage.lastBatches, ({ producerId }) => producerId).values()].map((batches) => {
      const { producerId, producerEpoch } = batches[0]!;
      const producer = client.producer({ retryBackoffMs: 20, deliveryTimeoutMs: DELIVERY_TIMEOUT_MS });
      producer.resume(producerId, producerEpoch, batches);
      return { producer, batches, owner: stage.recorder.newProcess() };
    });
    const again = producers.flatMap(({ producer, batches }) =>
      batches.map(async ({ producerId, topic, partition, sequence, offset, values }) => {
        const outcome = await producer.send(topic, partition, stage.records(random, values));
        stage.note(
          `producer ${producerId} sends ${sequence} to ${topic}-${partition} again: ${JSON.stringify(outcome)}`,
        );
        if (outcome.type !== "ok" || outcome.baseOffset !== offset)
          stage.violation(
            `P2: ${topic}-${partition} has sequence ${sequence} of producer ${producerId} at ${offset}; its retry ended as ${JSON.stringify(outcome)}`,
          );
      }),
    );
    await Promise.all(again);
    while (steps.left > 0) {
      steps.left -= 1;
      const { producer, batches, owner } = random.pick(producers);
      const outcome = await sendBatch(stage, producer, owner, stage.keyAt(random.pick(batches)), random);
      if (outcome.type !== "ok")
        stage.violation(`P2: the next batch of producer ${producer.producerId} ended as ${JSON.stringify(outcome)}`);
      await client.sleep(thinkMs(stage, plan, random));
    }
    client.close();
  },
};
