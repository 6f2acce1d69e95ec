/** The embedded broker under bun:test. */
import { test } from "bun:test";
import { complains, outlivesPower, starts, survives } from "./kafkajs.mjs";

test("in memory", () => survives("memory"));
test("in a temporary directory", () => survives("temporary"));
test("a power cut", outlivesPower);
test("a wrong setting", complains);
test("how long it takes", async () => {
  console.log(`starts ${JSON.stringify(await starts(10))}`);
});
