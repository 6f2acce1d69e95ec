/**
 * DescribeConfigs for topics and the broker: behaviour #57 and its §6 rows.
 */
import type { Fields } from "../support/Definitions.ts";
import { connected, createdTopic } from "../support/Requests.ts";
import { assert, equal, type Suite } from "../support/Suite.ts";
import { at, like, listAt, matches, numberAt, textAt } from "../support/Tree.ts";
import type { Wire } from "../support/Wire.ts";

const describe = (
  wire: Wire,
  resourceType: number,
  resourceName: string,
  more: Fields = {},
  keys: readonly string[] | null = null,
  version = 4,
) =>
  wire.call("DescribeConfigs", version, {
    resources: [{ resourceType, resourceName, configurationKeys: keys }],
    ...more,
  });

/** Name, default value and config type (2 STRING, 3 INT, 5 LONG, 6 DOUBLE, 1 BOOLEAN, 7 LIST) of all keys of a topic in 4.3.1. */
const topicKeys: Record<string, readonly [string, number]> = {
  "cleanup.policy": ["delete", 7],
  "compression.gzip.level": ["-1", 3],
  "compression.lz4.level": ["9", 3],
  "compression.type": ["producer", 2],
  "compression.zstd.level": ["3", 3],
  "delete.retention.ms": ["86400000", 5],
  "file.delete.delay.ms": ["60000", 5],
  "flush.messages": ["9223372036854775807", 5],
  "flush.ms": ["9223372036854775807", 5],
  "follower.replication.throttled.replicas": ["", 7],
  "index.interval.bytes": ["4096", 3],
  "leader.replication.throttled.replicas": ["", 7],
  "local.retention.bytes": ["-2", 5],
  "local.retention.ms": ["-2", 5],
  "max.compaction.lag.ms": ["9223372036854775807", 5],
  "max.message.bytes": ["1048588", 3],
  "message.timestamp.after.max.ms": ["3600000", 5],
  "message.timestamp.before.max.ms": ["9223372036854775807", 5],
  "message.timestamp.type": ["CreateTime", 2],
  "min.cleanable.dirty.ratio": ["0.5", 6],
  "min.compaction.lag.ms": ["0", 5],
  "min.insync.replicas": ["1", 3],
  preallocate: ["false", 1],
  "remote.log.copy.disable": ["false", 1],
  "remote.log.delete.on.disable": ["false", 1],
  "remote.storage.enable": ["false", 1],
  "retention.bytes": ["-1", 5],
  "retention.ms": ["604800000", 5],
  "segment.bytes": ["1073741824", 3],
  "segment.index.bytes": ["10485760", 3],
  "segment.jitter.ms": ["0", 5],
  "segment.ms": ["604800000", 5],
  "unclean.leader.election.enable": ["false", 1],
};

const entry = (answer: Fields, name: string) =>
  listAt(answer, "results.0.configs").find((each) => at(each, "name") === name);

export const suite: Suite = {
  name: "configs",
  tests: [
    {
      name: "#57 a topic has 33 keys with Kafka's defaults and types",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const answer = await describe(wire, 2, name);
        matches(
          answer,
          { results: [{ errorCode: 0, errorMessage: like(/^$/), resourceType: 2, resourceName: name }] },
          "answer",
        );
        const rows = listAt(answer, "results.0.configs");
        equal(rows.map((each) => textAt(each, "name")).sort(), Object.keys(topicKeys).sort(), "keys");
        for (const row of rows) {
          const [value, configType] = topicKeys[textAt(row, "name")] ?? ["", 0];
          matches(
            row,
            { value, configType, readOnly: false, isSensitive: false, synonyms: [], documentation: null },
            textAt(row, "name"),
          );
        }
      },
    },
    {
      name: "#57 sources: 5 default, 1 topic; min.insync.replicas comes from the cluster default, source 3",
      async run(context) {
        const { wire, name } = await createdTopic(context, 1, { "retention.ms": "77000" });
        const answer = await describe(wire, 2, name, { includeSynonyms: true });
        matches(
          entry(answer, "retention.ms"),
          { value: "77000", configSource: 1, synonyms: [{ name: "retention.ms", value: "77000", source: 1 }] },
          "retention.ms",
        );
        matches(
          entry(answer, "max.message.bytes"),
          { configSource: 5, synonyms: [{ name: "message.max.bytes", value: "1048588", source: 5 }] },
          "max.message.bytes",
        );
        matches(
          entry(answer, "min.insync.replicas"),
          {
            configSource: 3,
            synonyms: [
              { name: "min.insync.replicas", value: "1", source: 3 },
              { name: "min.insync.replicas", value: "1", source: 5 },
            ],
          },
          "min.insync.replicas",
        );
      },
    },
    {
      name: "#57 documentation when asked",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const answer = await describe(wire, 2, name, { includeDocumentation: true });
        for (const row of listAt(answer, "results.0.configs"))
          assert(textAt(row, "documentation").length > 10, textAt(row, "name"));
      },
    },
    {
      name: "#57 an empty or null key list is all, chosen keys only those, unknown keys are left out, versions 1-4",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        for (let version = 1; version <= 4; version++) {
          const count = async (keys: readonly string[] | null) =>
            listAt(await describe(wire, 2, name, {}, keys, version), "results.0.configs").length;
          equal(
            [await count(null), await count([]), await count(["retention.ms", "no.such"])],
            [33, version >= 1 ? 33 : 0, 1],
            `v${version}`,
          );
        }
      },
    },
    {
      name: "#57 the broker by its node id has its keys, read-only ones marked, secrets null",
      async run(context) {
        const wire = await connected(context);
        const node = numberAt(await wire.call("Metadata", 9, { topics: [] }), "brokers.0.nodeId");
        const answer = await describe(wire, 4, `${node}`, { includeSynonyms: true });
        matches(answer, { results: [{ errorCode: 0, resourceType: 4, resourceName: `${node}` }] }, "answer");
        for (const [name, expected] of [
          ["log.segment.bytes", { value: "1073741824", readOnly: false, configType: 3 }],
          ["num.partitions", { value: "1", readOnly: true }],
          ["message.max.bytes", { value: "1048588", readOnly: false }],
          ["auto.create.topics.enable", { value: "true", readOnly: true, configType: 1 }],
          ["log.retention.hours", { value: "168", readOnly: true }],
          ["node.id", { value: `${node}`, readOnly: true }],
        ] as const) {
          matches(entry(answer, name), expected, name);
        }
        for (const row of listAt(answer, "results.0.configs")) {
          if (at(row, "isSensitive") === true) equal(at(row, "value"), null, textAt(row, "name"));
        }
        context.note(`${listAt(answer, "results.0.configs").length} keys`);
      },
    },
    {
      name: '#57 broker "" is the cluster-wide dynamic defaults',
      async run(context) {
        const wire = await connected(context);
        const answer = await describe(wire, 4, "");
        matches(
          answer,
          { results: [{ errorCode: 0, configs: [{ name: "min.insync.replicas", value: "1", configSource: 3 }] }] },
          "answer",
        );
      },
    },
    {
      name: "§6 DescribeConfigs: unknown topic 3, bad name 17, broker 2 and abc 42, type 0 and 99 42",
      async run(context) {
        const wire = await connected(context);
        const failed = (errorCode: number) => ({ results: [{ errorCode, configs: [] }] });
        matches(await describe(wire, 2, "nope-nope"), failed(3), "topic");
        matches(await describe(wire, 2, "bad name"), failed(17), "bad name");
        matches(await describe(wire, 4, "22"), failed(42), "broker 22");
        matches(await describe(wire, 4, "abc"), failed(42), "broker abc");
        matches(await describe(wire, 0, "x"), failed(42), "type 0");
        matches(await describe(wire, 99, "x"), failed(42), "type 99");
      },
    },
    {
      name: "#46 every resource is answered",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const resources = ["nope-nope", name].map((resourceName) => ({
          resourceType: 2,
          resourceName,
          configurationKeys: ["retention.ms"],
        }));
        const answer = await wire.call("DescribeConfigs", 4, { resources });
        const codes = new Map(
          listAt(answer, "results").map((each) => [textAt(each, "resourceName"), numberAt(each, "errorCode")]),
        );
        equal([codes.get(name), codes.get("nope-nope")], [0, 3], "codes");
      },
    },
  ],
};
