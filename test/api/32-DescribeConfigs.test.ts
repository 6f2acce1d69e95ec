import { describe, expect, test } from "bun:test";
import { DescribeConfigs } from "../../src/api/32-DescribeConfigs.ts";
import type { DescribeConfigsRequest } from "../../src/protocol/generated/DescribeConfigsRequest.ts";
import { oneBroker } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

const TOPIC = 2;
const BROKER = 4;
const MALFORMED =
  "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";

const withTopic = (settings: Record<string, string> = {}) => {
  const cluster = oneBroker();
  cluster.create({ name: "t", configs: [{ name: "retention.ms", value: "77" }] });
  return new Handling({ cluster, settings });
};

const ask = (resourceType: number, resourceName: string, configurationKeys: string[] | null = null) => ({
  resourceType,
  resourceName,
  configurationKeys,
});

const describeOne = async (
  handling: Handling,
  resource: DescribeConfigsRequest["resources"][number],
  options: Partial<DescribeConfigsRequest> = {},
  version = 4,
) => {
  const { results } = await handling.call(32, DescribeConfigs, version, { resources: [resource], ...options });
  return results[0];
};

describe("DescribeConfigs (#57)", () => {
  test("a topic has 33 keys, also for an empty or null list of keys", async () => {
    for (let version = 1; version <= 4; version++) {
      for (const keys of [null, []]) {
        const result = await describeOne(withTopic(), ask(TOPIC, "t", keys), {}, version);
        expect(result).toMatchObject({ errorCode: 0, errorMessage: "", resourceType: TOPIC, resourceName: "t" });
        expect(result?.configs.length).toBe(33);
      }
    }
  });

  test("value, source, and synonyms when asked for", async () => {
    const handling = withTopic({ "log.retention.ms": "5000" });
    const quiet = await describeOne(handling, ask(TOPIC, "t", ["retention.ms"]));
    expect(quiet?.configs).toEqual([
      {
        name: "retention.ms",
        value: "77",
        readOnly: false,
        configSource: 1,
        isSensitive: false,
        synonyms: [],
        configType: 5,
        documentation: null,
      },
    ]);
    const full = await describeOne(handling, ask(TOPIC, "t", ["retention.ms"]), { includeSynonyms: true });
    expect(full?.configs[0]?.synonyms.slice(0, 2)).toEqual([
      { name: "retention.ms", value: "77", source: 1 },
      { name: "log.retention.ms", value: "5000", source: 4 },
    ]);
  });

  test("documentation only when asked for, from v3", async () => {
    const resource = ask(TOPIC, "t", ["retention.ms"]);
    const told = await describeOne(withTopic(), resource, { includeDocumentation: true });
    expect(told?.configs[0]?.documentation?.length ?? 0).toBeGreaterThan(10);
  });

  test("keys nobody knows are left out", async () => {
    const result = await describeOne(withTopic(), ask(TOPIC, "t", ["nope", "retention.ms"]));
    expect(result?.configs.map((config) => config.name)).toEqual(["retention.ms"]);
    expect((await describeOne(withTopic(), ask(TOPIC, "t", ["nope"])))?.configs).toEqual([]);
  });

  test("a broker by its node id; dynamic values of the image count", async () => {
    const handling = withTopic();
    handling.cluster.append([
      {
        type: "ConfigRecord",
        message: { resourceType: BROKER, resourceName: "", name: "message.max.bytes", value: "5" },
      },
    ]);
    const result = await describeOne(handling, ask(BROKER, "1", ["message.max.bytes", "num.partitions"]));
    const row = (name: string) => result?.configs.find((config) => config.name === name);
    expect(row("message.max.bytes")).toMatchObject({ value: "5", configSource: 3, readOnly: false });
    expect(row("num.partitions")).toMatchObject({ value: "1", configSource: 5, readOnly: true });
    const defaults = await describeOne(handling, ask(BROKER, ""));
    expect(defaults?.configs.map(({ name, value, configSource }) => [name, value, configSource])).toEqual([
      ["min.insync.replicas", "1", 3],
      ["message.max.bytes", "5", 3],
    ]);
    // A topic without its own value takes the broker's dynamic one.
    const topic = await describeOne(handling, ask(TOPIC, "t", ["max.message.bytes"]));
    expect(topic?.configs[0]).toMatchObject({ value: "5", configSource: 3 });
  });

  const refusals: ReadonlyArray<[string, number, string, number, string]> = [
    ["an unknown topic", TOPIC, "nope", 3, ""],
    [
      "a bad topic name",
      TOPIC,
      "a b",
      17,
      "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ],
    ["another broker", BROKER, "2", 42, "Unexpected broker id, expected 1 or empty string, but received 2"],
    ["a broker name that is no number", BROKER, "abc", 42, "Broker id must be an integer, but it is: abc"],
    ["type 0", 0, "x", 42, MALFORMED],
    ["type 99", 99, "x", 42, MALFORMED],
    ["a logger of no broker", 8, "", 42, "Broker id must not be empty"],
    ["a logger of another broker", 8, "2", 42, "Unexpected broker id, expected 1 but received 2"],
    ["a group without a name", 32, "", 42, "Group name must not be empty"],
  ];
  for (const [what, type, name, code, message] of refusals) {
    test(`${what}: ${code}`, async () => {
      const result = await describeOne(withTopic(), ask(type, name));
      expect(result).toEqual({
        errorCode: code,
        errorMessage: message,
        resourceType: type,
        resourceName: name,
        configs: [],
      });
    });
  }
});
