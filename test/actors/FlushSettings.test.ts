/** `log.flush.policy` with Kafka's `flush.messages` and `flush.ms` under each of its values: when bytes become durable. */
import { expect, test } from "bun:test";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { append, HOUR, MINUTE, type World, withOneBroker } from "../support/OneBroker.ts";

const SECOND = 1000;
const INTERVAL = { "log.flush.interval.ms": String(10 * SECOND) };

/** Counts the flushes of the topic's segments from now on. */
const flushes = ({ disk }: World): (() => number) => {
  let count = 0;
  disk.beforeOperation = ({ kind, path }) => {
    if (kind === "flushFileSystem" || (kind === "flush" && path.endsWith(".log") && path.includes("/t-0/"))) count += 1;
    return undefined;
  };
  return () => count;
};

const withTopic = (
  policy: string,
  configs: Record<string, string>,
  program: (one: World, flushed: () => number) => Promise<void>,
): void =>
  withOneBroker(
    async (one) => {
      await one.client.createTopic("t", { configs });
      // The first batch makes the folder, whose name is owed a flush.
      await append(one, 1);
      await one.client.sleep(MINUTE);
      await program(one, flushes(one));
    },
    // The broker's interval is also what a topic's flush.ms is by itself.
    { settings: { "log.flush.policy": policy, ...(policy === "interval" ? INTERVAL : {}) } },
  );

test("ack: every acknowledged record is flushed, whatever flush.messages and flush.ms allow", () =>
  withTopic("ack", { "flush.messages": "1000", "flush.ms": String(HOUR) }, async (one, flushed) => {
    for (const expected of [1, 2, 3]) {
      await append(one, 1);
      expect(flushed()).toBe(expected);
    }
  }));

test("os: nothing is flushed by itself", () =>
  withTopic("os", {}, async (one, flushed) => {
    await append(one, 5);
    await one.client.sleep(HOUR);
    expect(flushed()).toBe(0);
  }));

test("os: flush.messages flushes when so many are not, and their ack waits for that", () =>
  withTopic("os", { "flush.messages": "3" }, async (one, flushed) => {
    // The folder's first record is not flushed either.
    for (const expected of [0, 1, 1, 1, 2]) {
      await append(one, 1);
      expect(flushed()).toBe(expected);
    }
  }));

test("os: flush.ms flushes what was written that long ago, and is not armed while nothing is", () =>
  withTopic("os", { "flush.ms": String(5 * SECOND) }, async (one, flushed) => {
    await append(one, 2);
    await one.client.sleep(4 * SECOND);
    expect(flushed()).toBe(0);
    await one.client.sleep(2 * SECOND);
    expect(flushed()).toBe(1);
    await one.client.sleep(HOUR);
    expect(flushed()).toBe(1);
  }));

test("interval: within log.flush.interval.ms, or sooner by flush.ms and flush.messages", () => {
  withTopic("interval", {}, async (one, flushed) => {
    await append(one, 2);
    expect(flushed()).toBe(0);
    await one.client.sleep(11 * SECOND);
    expect(flushed()).toBe(1);
  });
  withTopic("interval", { "flush.ms": String(2 * SECOND) }, async (one, flushed) => {
    await append(one, 1);
    await one.client.sleep(3 * SECOND);
    expect(flushed()).toBe(1);
  });
  withTopic("interval", { "flush.messages": "2" }, async (one, flushed) => {
    await append(one, 2);
    expect(flushed()).toBe(1);
  });
});

const setConfig = async ({ client }: World, name: string, value: string): Promise<void> => {
  const answer = await client.request("any", ApiKey.IncrementalAlterConfigs, {
    resources: [{ resourceType: 2, resourceName: "t", configs: [{ name, configOperation: 0, value }] }],
    validateOnly: false,
  });
  expect(answer.responses[0]?.errorCode).toBe(0);
};

test("a changed flush.ms holds for what waits already, whatever it waited for", () => {
  for (const before of [{}, { "flush.ms": String(HOUR) }])
    withTopic("os", before, async (one, flushed) => {
      await append(one, 3);
      await setConfig(one, "flush.ms", String(5 * SECOND));
      await one.client.sleep(4 * SECOND);
      expect(flushed()).toBe(0);
      await one.client.sleep(2 * SECOND);
      expect(flushed()).toBe(1);
      await setConfig(one, "flush.ms", String(SECOND));
      await one.client.sleep(HOUR);
      expect(flushed()).toBe(1);
    });
});

test("what else changes postpones no flush", () =>
  withTopic("os", { "flush.ms": String(5 * SECOND) }, async (one, flushed) => {
    await append(one, 1);
    for (const retention of [1, 2, 3]) {
      await one.client.sleep(1.5 * SECOND);
      expect(flushed()).toBe(0);
      await setConfig(one, "retention.ms", String(retention * HOUR));
    }
    await one.client.sleep(SECOND);
    expect(flushed()).toBe(1);
  }));

test("a changed flush.messages and flush.ms hold from the next record on", () =>
  withTopic("os", {}, async (one, flushed) => {
    const { client } = one;
    const set = (name: string, value: string) => setConfig(one, name, value);
    await set("flush.messages", "1");
    await append(one, 1);
    expect(flushed()).toBe(1);
    await set("flush.messages", "1000");
    await set("flush.ms", String(SECOND));
    await append(one, 1);
    expect(flushed()).toBe(1);
    await client.sleep(2 * SECOND);
    expect(flushed()).toBe(2);
  }));
