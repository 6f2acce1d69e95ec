/** The embedded broker and the simulated one under bun:test. */
import { expect, test } from "bun:test";
import { simulate } from "odradek/testing";
import { complains, outlivesPower, starts, survives } from "./kafkajs.mjs";

test("in memory", () => survives("memory"));
test("in a temporary directory", () => survives("temporary"));
test("a power cut", outlivesPower);
test("a wrong setting", complains);
test("how long it takes", async () => {
  console.log(`starts ${JSON.stringify(await starts(10))}`);
});
test("a simulated world", async () => {
  const scenario = async (world) => {
    const client = world.machine().kafka();
    await client.producer().send("t", 0, [{ value: Buffer.from("kept") }]);
    world.broker.powerCut();
    return Buffer.from((await client.readAll("t", 0))[0].value).toString();
  };
  const runs = [1, 1].map((seed) => simulate(scenario, { seed, topics: ["t"], config: { "log.flush.policy": "ack" } }));
  const [one, again] = await Promise.all(runs);
  expect([one.value, again.hash]).toEqual(["kept", one.hash]);
});
