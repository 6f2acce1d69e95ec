import { describe, expect, test } from "bun:test";
import { CreateTopics } from "../../src/api/19-CreateTopics.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { newTopic } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

describe("CreateTopics", () => {
  test("#58 every version creates; v5+ answers counts and configs, v7 the id", async () => {
    for (let version = 2; version <= 7; version++) {
      const handling = new Handling({ settings: { "num.partitions": "3" } });
      const topic = newTopic({
        name: "t",
        numPartitions: -1,
        replicationFactor: -1,
        configs: [{ name: "retention.ms", value: " 77" }],
      });
      const { topics } = await handling.call(19, CreateTopics, version, { topics: [topic], timeoutMs: 1000 });
      const created = handling.cluster.image.topicsByName.get("t");
      expect(created?.partitions.length).toBe(3);
      expect(handling.writes).toEqual({ begun: 1, ended: 1 });
      expect(topics[0]).toMatchObject({ name: "t", errorCode: 0, errorMessage: null });
      expect(topics[0]?.topicId).toBe(version >= 7 ? (created?.id ?? "") : ZERO_UUID);
      if (version < 5) continue;
      expect([topics[0]?.numPartitions, topics[0]?.replicationFactor]).toEqual([3, 1]);
      expect(topics[0]?.configs?.length).toBe(33);
      expect(topics[0]?.configs?.find((config) => config.name === "retention.ms")).toEqual({
        name: "retention.ms",
        value: " 77",
        readOnly: false,
        configSource: 1,
        isSensitive: false,
      });
    }
  });

  const configs: ReadonlyArray<[string, string | null, string]> = [
    ["nope", "1", "Unknown topic config name: nope"],
    ["retention.ms", "x", "Invalid value x for configuration retention.ms: Not a number of type LONG"],
    ["retention.ms", null, "Null value not supported for topic configs: retention.ms"],
  ];
  for (const [name, value, message] of configs) {
    test(`#58 config ${name}=${value}: 40 and Kafka's text`, async () => {
      const handling = new Handling();
      const { topics } = await handling.call(19, CreateTopics, 7, {
        topics: [newTopic({ name: "t", configs: [{ name, value }] })],
        timeoutMs: 1000,
      });
      expect(topics[0]).toMatchObject({
        errorCode: 40,
        errorMessage: message,
        numPartitions: -1,
        replicationFactor: -1,
        configs: [],
        topicId: ZERO_UUID,
      });
      expect(handling.cluster.image.topicsByName.size).toBe(0);
    });
  }

  test("timeout 0: 7, not created", async () => {
    const handling = new Handling();
    const { topics } = await handling.call(19, CreateTopics, 7, { topics: [newTopic({ name: "t" })], timeoutMs: 0 });
    expect(topics[0]?.errorCode).toBe(7);
    expect(handling.cluster.image.topicsByName.size).toBe(0);
  });
});
