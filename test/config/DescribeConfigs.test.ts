/**
 * Our schema and our DescribeConfigs rows against what a running Apache Kafka 4.3.1 said
 * (`fixtures/kafka-4.3.1.json`: its ConfigDefs, and its answers for the settings in `brokerSettings` with two changes
 * at run time). Every difference is one of ours that the schema declares.
 */
import { expect, test } from "bun:test";
import { BrokerConfig, ConfigSource } from "../../src/config/BrokerConfig.ts";
import { brokerConfigKeys } from "../../src/config/BrokerConfigKeys.ts";
import { type ConfigKey, printConfigValue } from "../../src/config/ConfigKey.ts";
import {
  type ConfigRow,
  describeBrokerConfigs,
  describeDefaultBrokerConfigs,
  describeTopicConfigs,
} from "../../src/config/DescribeConfigs.ts";
import { topicConfigOf } from "../../src/config/TopicConfig.ts";
import { topicConfigKeys } from "../../src/config/TopicConfigKeys.ts";
import kafka from "./fixtures/kafka-4.3.1.json" with { type: "json" };

const broker = BrokerConfig.of(kafka.brokerSettings).withDynamic(
  new Map([["log.segment.bytes", "2000000"]]),
  new Map([
    ["log.segment.bytes", "3000000"],
    ["min.insync.replicas", "1"],
  ]),
);

const sourceNames = new Map<number, string>(Object.entries(ConfigSource).map(([name, number]) => [number, name]));
const typeNames = ["UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"];
const shown = (row: ConfigRow) => [
  row.value,
  sourceNames.get(row.source) ?? "",
  row.readOnly,
  row.sensitive,
  typeNames[row.type] ?? "",
  row.synonyms.map(({ name, value, source }) => `${name}=${value}@${sourceNames.get(source)}`),
];
const byName = (rows: ReadonlyArray<ConfigRow>) => Object.fromEntries(rows.map((row) => [row.name, shown(row)]));

const ourKeys: ReadonlyMap<string, ConfigKey> = new Map<string, ConfigKey>(Object.entries(brokerConfigKeys));
const printed = (name: string, key: ConfigKey, text: string | null | undefined) =>
  text === null || text === undefined ? null : printConfigValue(name, key, text);

test("every broker key of Kafka 4.3.1 is there with its type, mode and default", () => {
  for (const [name, theirs] of Object.entries(kafka.brokerKeys)) {
    const ours = ourKeys.get(name);
    if (ours === undefined) throw new Error(`${name} is missing`);
    const wasDefault = ours.kafkaDefault === undefined ? ours.default : ours.kafkaDefault;
    expect({
      name,
      type: ours.type,
      mode: ours.mode,
      internal: ours.internal,
      default: printed(name, ours, wasDefault),
    }).toEqual({
      name,
      type: theirs.type as ConfigKey["type"],
      mode: theirs.mode as ConfigKey["mode"],
      internal: theirs.internal,
      default: theirs.default,
    });
    expect(ours.doc.length).toBeGreaterThan(10);
  }
});

const OWN_KEYS = [
  "http.allowed.hosts",
  "http.allowed.origins",
  "http.listeners",
  "http.request.max.bytes",
  "log.flush.policy",
  "log.max.open.files",
  "log.min.free.bytes",
  "log.scrub.interval.ms",
];

test("what we add to Kafka's keys, and what we start with differently, is known", () => {
  const added = [...ourKeys.keys()].filter((name) => !(name in kafka.brokerKeys)).sort();
  expect(added).toEqual([
    "follower.replication.throttled.rate",
    "http.allowed.hosts",
    "http.allowed.origins",
    "http.listeners",
    "http.request.max.bytes",
    "leader.replication.throttled.rate",
    "log.flush.policy",
    "log.max.open.files",
    "log.min.free.bytes",
    "log.scrub.interval.ms",
    "replica.alter.log.dirs.io.max.bytes.per.second",
  ]);
  const different = [...ourKeys].filter(([, key]) => key.kafkaDefault !== undefined).map(([name]) => name);
  expect(different.sort()).toEqual([
    "controller.listener.names",
    "group.initial.rebalance.delay.ms",
    "group.streams.initial.rebalance.delay.ms",
    "listeners",
    "log.dir",
    "node.id",
    "offsets.topic.replication.factor",
    "process.roles",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "transaction.state.log.min.isr",
    "transaction.state.log.replication.factor",
  ]);
});

test("every topic key of Kafka 4.3.1 is there with its type, default and broker synonym", () => {
  const ours = Object.fromEntries(
    Object.entries<ConfigKey>(topicConfigKeys).map(([name, key]) => [
      name,
      { type: key.type, default: key.default, internal: key.internal, synonym: key.synonym ?? null },
    ]),
  );
  const theirs = Object.fromEntries(
    Object.entries(kafka.topicKeys).map(([name, key]) => [
      name,
      { type: key.type as ConfigKey["type"], default: key.default, internal: key.internal, synonym: key.synonym },
    ]),
  );
  expect(ours).toEqual(theirs);
});

test("a topic is described as Kafka describes it: 33 rows, values, sources, synonyms", () => {
  const rows = describeTopicConfigs(topicConfigOf(broker, { "retention.ms": "1000" }));
  expect(rows).toHaveLength(33);
  expect(byName(rows)).toEqual(kafka.topicRows as ReturnType<typeof byName>);
});

test("an internal key is described where the topic sets it, as it was written", () => {
  const name = "internal.segment.bytes";
  const [row] = describeTopicConfigs(topicConfigOf(broker, { [name]: "+1000" }), [name]);
  const source = ConfigSource.DYNAMIC_TOPIC_CONFIG;
  expect(row).toMatchObject({ value: "+1000", source, synonyms: [{ name, value: "+1000", source }] });
});

test("an internal key is described where the broker's file or its dynamic settings have it", () => {
  const name = "log.initial.task.delay.ms";
  const rows = byName(describeBrokerConfigs(BrokerConfig.of({ [name]: "1234" })));
  const synonyms = [`${name}=1234@STATIC_BROKER_CONFIG`, `${name}=30000@DEFAULT_CONFIG`];
  expect(rows[name]).toEqual(["1234", "STATIC_BROKER_CONFIG", true, false, "LONG", synonyms]);
  const rate = "leader.replication.throttled.rate";
  const byDefault = BrokerConfig.of().withDynamic(new Map(), new Map([[rate, "5"]]));
  expect(byName(describeBrokerConfigs(byDefault))[rate]?.[0]).toBe("5");
});

test("a broker is described as Kafka describes it, but for the defaults that are ours", () => {
  const ours = byName(describeBrokerConfigs(broker));
  const names = Object.entries(kafka.brokerKeys).flatMap(([name, key]) => (key.internal ? [] : [name]));
  expect(Object.keys(ours).sort()).toEqual([...names, ...OWN_KEYS].sort());
  for (const [name, theirs] of Object.entries(kafka.brokerRows)) {
    const withoutDefault = (row: typeof theirs | ReturnType<typeof shown> | undefined) =>
      row?.map((part) => (Array.isArray(part) ? part.filter((synonym) => !synonym.endsWith("@DEFAULT_CONFIG")) : part));
    const differs = ourKeys.get(name)?.kafkaDefault !== undefined;
    expect([name, differs ? withoutDefault(ours[name]) : ours[name]]).toEqual([
      name,
      differs ? withoutDefault(theirs) : (theirs as ReturnType<typeof shown>),
    ]);
  }
});

test("the cluster-wide default lists only what was set there", () => {
  expect(byName(describeDefaultBrokerConfigs(broker))).toEqual({
    "log.segment.bytes": [
      "3000000",
      "DYNAMIC_DEFAULT_BROKER_CONFIG",
      false,
      false,
      "INT",
      ["log.segment.bytes=3000000@DYNAMIC_DEFAULT_BROKER_CONFIG"],
    ],
    "min.insync.replicas": [
      "1",
      "DYNAMIC_DEFAULT_BROKER_CONFIG",
      false,
      false,
      "INT",
      ["min.insync.replicas=1@DYNAMIC_DEFAULT_BROKER_CONFIG"],
    ],
  });
});

test("named keys only, and secrets never", () => {
  const config = BrokerConfig.of({ "ssl.keystore.password": "hush", "some.plugin.password": "hush" });
  const rows = describeBrokerConfigs(config, ["ssl.keystore.password", "some.plugin.password", "num.partitions"]);
  expect(rows.map(({ name, value, readOnly, sensitive }) => [name, value, readOnly, sensitive])).toEqual([
    ["num.partitions", "1", true, false],
    ["ssl.keystore.password", null, false, true],
    ["some.plugin.password", null, true, true],
  ]);
  expect(JSON.stringify(rows)).not.toContain("hush");
  expect(describeTopicConfigs(topicConfigOf(config, {}), ["retention.ms", "nope"])).toHaveLength(1);
});
