import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { withSimulatedBroker } from "../support/SimulatedTalk.ts";
import { transcript } from "./KafkaAnswers.ts";

test("every answer about transactions is the one Apache Kafka 4.3.1 gave", () => {
  const expected = readFileSync(new URL("fixtures/kafka-4.3.1.txt", import.meta.url), "utf8")
    .trimEnd()
    .split("\n");
  expect(withSimulatedBroker({}, transcript)).toEqual(expected);
});
