/** A topic's configuration: Kafka's words for what it refuses, and whose value wins. */
import { expect, test } from "bun:test";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { TopicConfig, topicConfigOf, validateTopicConfig, validateTopicConfigs } from "../../src/config/TopicConfig.ts";
import kafka from "./fixtures/kafka-4.3.1.json" with { type: "json" };

const broker = BrokerConfig.of();

test.each(kafka.topicErrors.map(([key = "", value = "", answer = ""]) => [key, value, answer] as const))(
  "%s = %p is answered as Kafka 4.3.1 answers it",
  (key, value, answer) => {
    const error = validateTopicConfigs(broker, new Map([[key, value]]));
    expect(error === undefined ? "OK" : `InvalidConfigurationException: ${error}`).toBe(answer);
  },
);

test("a null value is refused by name", () => {
  expect(validateTopicConfig("retention.ms", null)).toContain("retention.ms");
});

test("settings that contradict each other are refused in Kafka's words", () => {
  const pair = new Map([
    ["min.compaction.lag.ms", "100"],
    ["max.compaction.lag.ms", "50"],
  ]);
  expect(validateTopicConfigs(broker, pair)).toBe(
    "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)",
  );
});

test("the topic's own value wins over the broker's dynamic, static and built-in one", () => {
  const key = "max.message.bytes";
  expect(topicConfigOf(broker, {}).number(key)).toBe(1048588);
  const fixed = BrokerConfig.of({ "message.max.bytes": "2000" });
  expect(topicConfigOf(fixed, {}).number(key)).toBe(2000);
  const all = fixed.withDynamic(new Map(), new Map([["message.max.bytes", "3000"]]));
  expect(topicConfigOf(all, {}).number(key)).toBe(3000);
  const own = fixed.withDynamic(new Map([["message.max.bytes", "4000"]]), all.dynamicDefault);
  expect(topicConfigOf(own, {}).number(key)).toBe(4000);
  expect(topicConfigOf(own, { [key]: "5000" }).number(key)).toBe(5000);
});

test.each([
  [{ "log.retention.hours": "1" }, "retention.ms", 3_600_000],
  [{ "log.retention.hours": "1", "log.retention.minutes": "2" }, "retention.ms", 120_000],
  [{ "log.retention.hours": "1", "log.retention.minutes": "2", "log.retention.ms": "3" }, "retention.ms", 3],
  [{ "log.retention.hours": "-1" }, "retention.ms", -1],
  [{ "log.roll.hours": "2" }, "segment.ms", 7_200_000],
  [{ "log.roll.hours": "2", "log.roll.ms": "5" }, "segment.ms", 5],
  [{ "log.roll.jitter.hours": "1" }, "segment.jitter.ms", 3_600_000],
  [{ "log.flush.scheduler.interval.ms": "7" }, "flush.ms", 7],
  [{ "log.flush.scheduler.interval.ms": "7", "log.flush.interval.ms": "8" }, "flush.ms", 8],
  [{}, "flush.ms", Number.MAX_SAFE_INTEGER],
] as const)("%j sets %s to %d", (settings, key, value) => {
  expect(topicConfigOf(BrokerConfig.of(settings), {}).number(key)).toBe(value);
});

test("a setting that cannot be, as a newer version may have stored it, counts as unset", () => {
  const config = topicConfigOf(broker, { "segment.bytes": "1", "from.the.future": "x", "retention.ms": "5" });
  expect(config.number("segment.bytes")).toBe(1073741824);
  expect([...config.overrides.keys()]).toEqual(["retention.ms"]);
});

test("compaction, lists and the tests' segment size", () => {
  const config = TopicConfig.of(broker, {
    "cleanup.policy": "compact, delete,compact",
    "internal.segment.bytes": "512",
  });
  expect(config.list("cleanup.policy")).toEqual(["compact", "delete"]);
  expect(config.compacted).toBe(true);
  expect(config.segmentBytes).toBe(512);
  expect(topicConfigOf(broker, {}).compacted).toBe(false);
});
