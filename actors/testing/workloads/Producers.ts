/** Clients that only produce: one batch at a time without sequences, or pipelined with them. */
import type { ClientKind } from "./ClientKind.ts";
import { sendBatch, startProducer, thinkMs } from "./Sending.ts";

export const plainProducer: ClientKind = {
  role: "writer",
  async live(stage, { plan, machine, random, steps }) {
    const client = stage.client(machine);
    const producer = client.producer({
      idempotent: false,
      maxInFlight: 1,
      deliveryTimeoutMs: 5000,
      retryBackoffMs: 20,
    });
    const keys = stage.keysOf(stage.plan.topics[0]!.name);
    let owner = stage.recorder.newProcess();
    while (steps.left > 0) {
      steps.left -= 1;
      const outcome = await sendBatch(stage, producer, owner, random.pick(keys), random);
      if (outcome.type === "info") owner = stage.recorder.newProcess();
      await client.sleep(thinkMs(stage, plan, random));
    }
    client.close();
  },
};

export const idempotentProducer: ClientKind = {
  role: "writer",
  async live(stage, { plan, machine, random, steps }) {
    const client = stage.client(machine);
    const keys = stage.keysOf(stage.plan.topics[0]!.name);
    // A short time to deliver makes producers give up and begin again; the long one outlives every fault.
    const deliveryTimeoutMs = random.pick([120_000, 120_000, 1500]);
    const begin = () => startProducer(stage, client, { deliveryTimeoutMs });
    let producer = await begin();
    let owner = stage.recorder.newProcess();
    const open = new Set<Promise<unknown>>();
    while (steps.left > 0) {
      steps.left -= 1;
      if (producer.fatal !== undefined) {
        await Promise.all(open);
        producer = await begin();
        owner = stage.recorder.newProcess();
      }
      const sent: Promise<unknown> = sendBatch(stage, producer, owner, random.pick(keys), random).then((outcome) => {
        // Five in flight fit the broker's window, and nothing was given up: a retry is known or next in line.
        const refused = outcome.type !== "ok" && outcome.error === "OUT_OF_ORDER_SEQUENCE_NUMBER";
        if (refused && deliveryTimeoutMs > 60_000)
          stage.violation(`P2: client ${owner}'s sequence was refused after ${outcome.attempts} attempts`);
        open.delete(sent);
      });
      open.add(sent);
      if (open.size >= 8) await Promise.race(open);
      if (random.chance(0.4)) await client.sleep(thinkMs(stage, plan, random));
    }
    await Promise.all(open);
    client.close();
  },
};
