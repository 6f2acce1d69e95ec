/** Typed access to a broker's settings, and whose value wins. */
import { expect, test } from "bun:test";
import { BrokerConfig, validateBrokerConfig } from "../../src/config/BrokerConfig.ts";

test("development defaults: one command, one node, no waiting", () => {
  const config = BrokerConfig.of();
  expect(config.boolean("auto.create.topics.enable")).toBe(true);
  expect(config.number("num.partitions")).toBe(1);
  expect(config.number("offsets.topic.replication.factor")).toBe(1);
  expect(config.number("transaction.state.log.replication.factor")).toBe(1);
  expect(config.number("transaction.state.log.min.isr")).toBe(1);
  expect(config.number("group.initial.rebalance.delay.ms")).toBe(0);
  expect(config.list("listeners")).toEqual(["PLAINTEXT://127.0.0.1:9092"]);
  expect(config.logDirs).toEqual(["./data"]);
  expect(config.nodeId).toBe(1);
  expect(config.string("log.flush.policy")).toBe("ack");
});

test("values have their types; unset ones are undefined, a long beyond 2^53 is saturated", () => {
  const config = BrokerConfig.of({ "log.dirs": "/a , /b", "broker.rack": " r1 ", "log.cleaner.enable": "FALSE" });
  expect(config.logDirs).toEqual(["/a", "/b"]);
  expect(config.optionalString("broker.rack")).toBe("r1");
  expect(config.boolean("log.cleaner.enable")).toBe(false);
  expect(config.optionalNumber("log.retention.ms")).toBeUndefined();
  expect(config.number("log.flush.interval.messages")).toBe(Number.MAX_SAFE_INTEGER);
  expect(config.number("log.cleaner.min.cleanable.ratio")).toBe(0.5);
});

test("broker.id stands in for node.id only where node.id is unset", () => {
  expect(BrokerConfig.of({ "broker.id": "7" }).nodeId).toBe(7);
  expect(BrokerConfig.of({ "broker.id": "7", "node.id": "7" }).nodeId).toBe(7);
  expect(BrokerConfig.of({ "node.id": "3" }).nodeId).toBe(3);
});

test("a change at run time makes a new configuration, this broker's value over all brokers'", () => {
  const before = BrokerConfig.of({ "log.retention.ms": "1" });
  expect(before.optionalNumber("log.retention.ms")).toBe(1);
  const after = before.withDynamic(new Map([["log.retention.ms", "3"]]), new Map([["log.retention.ms", "2"]]));
  expect(after.optionalNumber("log.retention.ms")).toBe(3);
  expect(before.optionalNumber("log.retention.ms")).toBe(1);
  const odd = before.withDynamic(new Map([["log.retention.ms", "x"]]), new Map());
  expect(odd.optionalNumber("log.retention.ms")).toBe(1);
});

test("an error names key and value, and for people what is allowed", () => {
  expect(validateBrokerConfig("num.partitions", "0")).toBe(
    "Invalid value 0 for configuration num.partitions: Value must be at least 1",
  );
  expect(validateBrokerConfig("num.partitions", "x", true)).toBe(
    "Invalid value x for configuration num.partitions: Not a number of type INT (allowed: a whole number (32 bits) of at least 1)",
  );
  expect(validateBrokerConfig("log.flush.policy", "never", true)).toContain("one of ack, interval, os");
  expect(validateBrokerConfig("log.retention.ms", "0")).toBe(
    "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
  );
  expect(validateBrokerConfig("log.retention.ms", "-1")).toBeUndefined();
  expect(validateBrokerConfig("someone.elses", "anything")).toBeUndefined();
});
