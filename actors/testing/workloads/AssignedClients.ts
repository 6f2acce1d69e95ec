/** Clients that poll what they assign themselves: some produce between their polls. */
import type { ClientKind } from "./ClientKind.ts";
import { RecordedConsumer } from "./RecordedConsumer.ts";
import { sendBatch, startProducer, thinkMs } from "./Sending.ts";

export const mixedClient: ClientKind = {
  role: "writer",
  async live(stage, { plan, machine, random, steps }) {
    const client = stage.client(machine);
    const options = { deliveryTimeoutMs: random.pick([120_000, 2000]) };
    const keys = stage.keysOf(stage.plan.topics[0]!.name);
    const fetchSessions = random.chance(0.5);
    let producer = await startProducer(stage, client, options);
    let reader = new RecordedConsumer(stage, client, stage.recorder.newProcess(), { fetchSessions });
    reader.assign(keys);
    while (steps.left > 0) {
      steps.left -= 1;
      const what = random.pick(["send", "poll", "poll", random.chance(0.2) ? "assign" : "send"]);
      if (what === "assign") reader.assign(keys.filter(() => random.chance(0.6)));
      else if (what === "poll") await reader.poll(random.pick([0, 50, 300]));
      else {
        const outcome = await sendBatch(stage, producer, reader.owner, random.pick(keys), random);
        if (producer.fatal !== undefined) producer = await startProducer(stage, client, options);
        if (outcome.type === "info") {
          reader = new RecordedConsumer(stage, client, stage.recorder.newProcess(), { fetchSessions });
          reader.assign(keys);
        }
      }
      await client.sleep(thinkMs(stage, plan, random));
    }
    client.close();
  },
};

export const assignedConsumer: ClientKind = {
  role: "reader",
  async live(stage, { machine, random }) {
    const client = stage.client(machine);
    const reader = new RecordedConsumer(stage, client, stage.recorder.newProcess(), {
      fetchSessions: random.chance(0.5),
    });
    reader.assign(stage.keysOf(stage.plan.topics[0]!.name));
    const waitMs = random.pick([20, 100, 500]);
    while (!stage.producersDone) {
      const shown = await reader.poll(waitMs);
      await client.sleep(shown === undefined ? 50 : random.pick([0, 10, waitMs]));
    }
    client.close();
  },
};
