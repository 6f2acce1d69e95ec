import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { startRealBroker, temporaryDirectory } from "../support/RealBroker.ts";
import { transcript } from "./KafkaAnswers.ts";

test("every answer about transactions is the one Apache Kafka 4.3.1 gave", async () => {
  const expected = readFileSync(new URL("fixtures/kafka-4.3.1.txt", import.meta.url), "utf8")
    .trimEnd()
    .split("\n");
  using directory = temporaryDirectory();
  await using real = await startRealBroker(directory.path);
  expect(await transcript(real.broker.listeners[0]!.endpoint)).toEqual(expected);
}, 60_000);
