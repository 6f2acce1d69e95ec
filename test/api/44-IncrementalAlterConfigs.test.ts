/** AlterConfigs and IncrementalAlterConfigs; every text was read from a running Apache Kafka 4.3.1. */
import { describe, expect, test } from "bun:test";
import { AlterConfigs } from "../../src/api/33-AlterConfigs.ts";
import { IncrementalAlterConfigs } from "../../src/api/44-IncrementalAlterConfigs.ts";
import { ListConfigResources } from "../../src/api/74-ListConfigResources.ts";
import { configOverrides } from "../../src/metadata/MetadataImage.ts";
import { oneBroker } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

const [SET, DELETE, APPEND, SUBTRACT] = [0, 1, 2, 3];
const [TOPIC, BROKER] = [2, 4];

type Change = readonly [name: string, operation: number, value: string | null];
type Resource = readonly [type: number, name: string, ...changes: Change[]];

const withTopic = () => {
  const cluster = oneBroker();
  cluster.create({ name: "t" });
  return new Handling({ cluster });
};

const alter = async (handling: Handling, resources: readonly Resource[], validateOnly = false, version = 1) => {
  const answer = await handling.call(44, IncrementalAlterConfigs, version, {
    resources: resources.map(([resourceType, resourceName, ...changes]) => ({
      resourceType,
      resourceName,
      configs: changes.map(([name, configOperation, value]) => ({ name, configOperation, value })),
    })),
    validateOnly,
  });
  return answer.responses.map(({ errorCode, errorMessage }) => [errorCode, errorMessage]);
};

const replace = async (
  handling: Handling,
  type: number,
  name: string,
  configs: Record<string, string | null>,
  version = 2,
) => {
  const { responses } = await handling.call(33, AlterConfigs, version, {
    resources: [
      {
        resourceType: type,
        resourceName: name,
        configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
      },
    ],
    validateOnly: false,
  });
  return [responses[0]?.errorCode, responses[0]?.errorMessage];
};

const overrides = ({ cluster }: Handling, type: number, name: string) =>
  Object.fromEntries(configOverrides(cluster.image, type, name));

describe("IncrementalAlterConfigs", () => {
  test("sets, deletes, appends and subtracts, in every version; validate only changes nothing", async () => {
    for (const version of [0, 1]) {
      const handling = withTopic();
      const change: Resource = [TOPIC, "t", ["retention.ms", SET, "1234"], ["cleanup.policy", APPEND, "compact"]];
      expect(await alter(handling, [change], true, version)).toEqual([[0, null]]);
      expect(overrides(handling, TOPIC, "t")).toEqual({});
      expect(await alter(handling, [change], false, version)).toEqual([[0, null]]);
      expect(overrides(handling, TOPIC, "t")).toEqual({ "retention.ms": "1234", "cleanup.policy": "delete,compact" });
      await alter(handling, [[TOPIC, "t", ["cleanup.policy", SUBTRACT, "delete"], ["retention.ms", DELETE, null]]]);
      expect(overrides(handling, TOPIC, "t")).toEqual({ "cleanup.policy": "compact" });
    }
  });

  test("each resource by itself and as a whole", async () => {
    const handling = withTopic();
    const answers = await alter(handling, [
      [TOPIC, "t", ["retention.ms", SET, "1"], ["segment.ms", SET, "x"]],
      [TOPIC, "nope", ["segment.ms", SET, "2"]],
      [BROKER, "", ["log.retention.ms", SET, "5"]],
    ]);
    expect(answers.map(([code]) => code)).toEqual([40, 3, 0]);
    expect(overrides(handling, TOPIC, "t")).toEqual({});
    expect(overrides(handling, BROKER, "")).toEqual({ "min.insync.replicas": "1", "log.retention.ms": "5" });
  });

  const refusals: ReadonlyArray<readonly [Resource, number, string]> = [
    [[TOPIC, "nope", ["retention.ms", SET, "1"]], 3, "The topic 'nope' does not exist."],
    [[TOPIC, "", ["retention.ms", SET, "1"]], 42, "Default topic resources are not allowed."],
    [
      [TOPIC, "t", ["retention.ms", SET, "x"]],
      40,
      "Invalid value x for configuration retention.ms: Not a number of type LONG",
    ],
    [[TOPIC, "t", ["nope", SET, "x"]], 40, "Unknown topic config name: nope"],
    [[TOPIC, "t", ["retention.ms", APPEND, "5"]], 40, "Can't APPEND to key retention.ms because its type is not LIST."],
    [
      [TOPIC, "t", ["retention.ms", SUBTRACT, "5"]],
      40,
      "Can't SUBTRACT to key retention.ms because its type is not LIST.",
    ],
    [
      [TOPIC, "t", ["cleanup.policy", APPEND, "foo"]],
      40,
      "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
    ],
    [
      [TOPIC, "t", ["retention.ms", SET, null], ["segment.ms", APPEND, null]],
      42,
      "Null value not supported for : retention.ms, segment.ms",
    ],
    [[TOPIC, "t", ["retention.ms", SET, "1"], ["retention.ms", SET, "2"]], 42, "Error due to duplicate config keys"],
    [
      [TOPIC, "t", ["min.compaction.lag.ms", SET, "10"], ["max.compaction.lag.ms", SET, "5"]],
      40,
      "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
    ],
    [[0, "x", ["a", SET, "1"]], 42, "Unknown resource type 0"],
    [[BROKER, "7", ["log.retention.ms", SET, "1"]], 42, "Unexpected broker id, expected 1, but received 7"],
    [[BROKER, "abc", ["log.retention.ms", SET, "1"]], 42, "Node id must be an integer, but it is: abc"],
    [
      [BROKER, "1", ["node.id", SET, "9"], ["log.dirs", SET, "/x"]],
      42,
      "Cannot update these configs dynamically: [node.id, log.dirs]",
    ],
    [
      [BROKER, "1", ["log.retention.ms", SET, "x"]],
      42,
      "Invalid value x for configuration log.retention.ms: Not a number of type LONG",
    ],
    [
      [BROKER, "1", ["log.cleaner.dedupe.buffer.size", SET, "1048576"]],
      42,
      "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    ],
    [
      [BROKER, "", ["log.cleaner.dedupe.buffer.size", SET, "1048576"]],
      42,
      "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    ],
    [
      [BROKER, "", ["listeners", SET, "PLAINTEXT://:1"]],
      42,
      "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
    ],
    [
      [BROKER, "1", ["ssl.keystore.location", SET, "/x"]],
      42,
      "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]",
    ],
    [
      [BROKER, "1", ["log.retention.ms", APPEND, "1"]],
      40,
      "Config value append is not allowed for config key: log.retention.ms",
    ],
    [[BROKER, "1", ["my.key", SUBTRACT, "1"]], 40, "Unknown config name: my.key"],
    [[BROKER, "1", ["log.retention.ms", 9, "1"]], 42, "Unknown operations type 9"],
    [
      [BROKER, "1", ["min.insync.replicas", SET, "1"]],
      40,
      "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
    ],
    [
      [BROKER, "", ["min.insync.replicas", DELETE, null]],
      40,
      "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
    ],
    [
      [BROKER, "1", ["num.io.threads", SET, "100"]],
      42,
      "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for num.io.threads=100, value should not be greater than double the current value 8 for configuration Invalid dynamic configuration",
    ],
    [[8, "1", ["kafka.server", SET, "INFO"]], 40, "Logger kafka.server does not exist!"],
  ];
  for (const [resource, code, message] of refusals) {
    test(`${JSON.stringify(resource)}: ${code}`, async () => {
      const handling = withTopic();
      const records = handling.cluster.records.length;
      expect(await alter(handling, [resource])).toEqual([[code, message]]);
      expect(handling.cluster.records.length).toBe(records);
    });
  }

  test("a resource named twice is refused twice", async () => {
    const twice: Resource = [TOPIC, "t", ["retention.ms", SET, "1"]];
    const refused = [42, "Each resource must appear at most once."];
    expect(await alter(withTopic(), [twice, twice])).toEqual([refused, refused]);
  });

  test("a broker's key that nobody knows is kept", async () => {
    const handling = withTopic();
    expect(await alter(handling, [[BROKER, "1", ["my.key", SET, "v"]]])).toEqual([[0, null]]);
    expect(overrides(handling, BROKER, "1")).toEqual({ "my.key": "v" });
  });

  test("it is a write of its connection", async () => {
    const handling = withTopic();
    await alter(handling, [[TOPIC, "t", ["retention.ms", SET, "1"]]]);
    expect(handling.writes).toEqual({ begun: 1, ended: 1 });
  });
});

describe("AlterConfigs", () => {
  test("replaces everything, in every version", async () => {
    for (const version of [0, 1, 2]) {
      const handling = withTopic();
      expect(await replace(handling, TOPIC, "t", { "retention.ms": "1", "segment.ms": "2" }, version)).toEqual([
        0,
        null,
      ]);
      expect(await replace(handling, TOPIC, "t", { "segment.ms": "3" }, version)).toEqual([0, null]);
      expect(overrides(handling, TOPIC, "t")).toEqual({ "segment.ms": "3" });
    }
  });

  test("null, a logger, a read-only key, and the default that cannot go are refused", async () => {
    const handling = withTopic();
    const nothing = "Null value not supported for : retention.ms";
    expect(await replace(handling, TOPIC, "t", { "retention.ms": null })).toEqual([42, nothing]);
    expect(await replace(handling, 8, "1", { root: "INFO" })).toEqual([42, "Unknown resource type 8"]);
    const fixed = "Cannot update these configs dynamically: [node.id]";
    expect(await replace(handling, BROKER, "1", { "node.id": "1" })).toEqual([42, fixed]);
    const kept = "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.";
    expect(await replace(handling, BROKER, "", { "log.retention.ms": "5" })).toEqual([40, kept]);
  });
});

describe("ListConfigResources", () => {
  const list = async (resourceTypes: number[], version = 1) => {
    const answer = await withTopic().call(74, ListConfigResources, version, { resourceTypes });
    return [
      answer.errorCode,
      answer.configResources.map(({ resourceType, resourceName }) => [resourceType, resourceName]),
    ];
  };

  test("the types asked for, or all; an unknown one is refused", async () => {
    const [loggers, brokers, topics] = [
      [8, "1"],
      [BROKER, "1"],
      [TOPIC, "t"],
    ];
    expect(await list([])).toEqual([0, [loggers, brokers, topics]]);
    expect(await list([TOPIC, BROKER])).toEqual([0, [brokers, topics]]);
    expect(await list([16])).toEqual([0, []]);
    expect(await list([TOPIC, 99])).toEqual([35, []]);
  });

  test("v0 knows client metrics only", async () => {
    expect(await list([], 0)).toEqual([0, []]);
  });
});
