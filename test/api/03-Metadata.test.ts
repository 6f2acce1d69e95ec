import { describe, expect, test } from "bun:test";
import { Metadata } from "../../src/api/03-Metadata.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { CLUSTER_ID, oneBroker, topicId } from "../metadata/Cluster.ts";
import { Handling, type HandlingOptions } from "./Handling.ts";

const VERSIONS = Array.from({ length: 14 }, (_, version) => version);
const byName = (...names: string[]) => names.map((name) => ({ name, topicId: ZERO_UUID }));

const withTopics = (options: HandlingOptions = {}) => {
  const cluster = oneBroker();
  cluster.create({ name: "b", numPartitions: 2 }, { name: "a" });
  return new Handling({ cluster, settings: { "auto.create.topics.enable": "false" }, ...options });
};

describe("Metadata", () => {
  test("every version answers with brokers and topics", async () => {
    for (const version of VERSIONS) {
      const response = await withTopics().call(3, Metadata, version, { topics: byName("a") });
      expect(response.brokers.map(({ nodeId, host, port }) => [nodeId, host, port])).toEqual([[1, "10.0.0.7", 19092]]);
      expect(response.topics.map(({ name, errorCode }) => [name, errorCode])).toEqual([["a", 0]]);
      expect(response.topics[0]?.partitions).toEqual([
        {
          errorCode: 0,
          partitionIndex: 0,
          leaderId: 1,
          leaderEpoch: version >= 7 ? 0 : -1,
          replicaNodes: [1],
          isrNodes: [1],
          offlineReplicas: [],
        },
      ]);
      expect(response.topics[0]?.topicId === ZERO_UUID).toBe(version < 10);
    }
  });

  test("#13 v0: an empty list is every topic; v1+: null is every topic and an empty list is none", async () => {
    for (const version of VERSIONS) {
      const empty = await withTopics().call(3, Metadata, version, { topics: [] });
      expect(empty.topics.map((topic) => topic.name)).toEqual(version === 0 ? ["a", "b"] : []);
      if (version === 0) continue;
      const all = await withTopics().call(3, Metadata, version, { topics: null });
      expect(all.topics.map((topic) => [topic.name, topic.partitions.length])).toEqual([
        ["a", 1],
        ["b", 2],
      ]);
    }
  });

  test("#13 a name given twice is answered once", async () => {
    const { topics } = await withTopics().call(3, Metadata, 12, { topics: byName("a", "b", "a") });
    expect(topics.map((topic) => topic.name)).toEqual(["a", "b"]);
  });

  test("#14 a missing topic is created before it is answered, where broker and client allow it", async () => {
    const create = (settings: Record<string, string>, allow: boolean, version = 12) =>
      new Handling({ settings }).call(3, Metadata, version, {
        topics: byName("new"),
        allowAutoTopicCreation: allow,
      });
    const { topics } = await create({ "num.partitions": "3" }, true);
    expect(topics.map((topic) => [topic.errorCode, topic.name, topic.partitions.length])).toEqual([[0, "new", 3]]);
    expect(topics[0]?.topicId).not.toBe(ZERO_UUID);
    expect(topics[0]?.partitions[0]?.leaderId).toBe(1);
    expect((await create({}, false)).topics[0]?.errorCode).toBe(3);
    expect((await create({ "auto.create.topics.enable": "false" }, true)).topics[0]?.errorCode).toBe(3);
    expect((await create({}, true, 3)).topics[0]?.errorCode).toBe(0);
  });

  test("#14 creating is a write of the connection", async () => {
    const handling = new Handling();
    await handling.call(3, Metadata, 12, { topics: byName("new") });
    expect(handling.writes).toEqual({ begun: 1, ended: 1 });
    await handling.call(3, Metadata, 12, { topics: byName("new") });
    expect(handling.writes.begun).toBe(1);
  });

  test("#14 bad names are 17 with or without auto-create; a collision stays 3 for ever", async () => {
    for (const enabled of ["true", "false"]) {
      const cluster = oneBroker();
      cluster.create({ name: "a.b" });
      const handling = new Handling({ cluster, settings: { "auto.create.topics.enable": enabled } });
      const bad = ["", ".", "..", "a b", "a/b", "a:b", "ü", "n".repeat(250)];
      const { topics } = await handling.call(3, Metadata, 12, { topics: byName(...bad, "a_b") });
      expect(topics.map((topic) => [topic.name, topic.errorCode])).toEqual([
        ...bad.map((name) => [name, 17]),
        ["a_b", 3],
      ]);
      expect(cluster.image.topicsByName.size).toBe(1);
    }
  });

  test("an unknown name without auto-create: 3, zero id, no partitions", async () => {
    const { topics } = await withTopics().call(3, Metadata, 12, { topics: byName("nope") });
    expect(topics).toEqual([
      {
        errorCode: 3,
        name: "nope",
        topicId: ZERO_UUID,
        isInternal: false,
        partitions: [],
        topicAuthorizedOperations: -2147483648,
      },
    ]);
  });

  test("#15 the controller is a live broker that is in the list", async () => {
    const cluster = oneBroker();
    cluster.register(2);
    cluster.register(3, { fenced: true });
    const response = await new Handling({ cluster }).call(3, Metadata, 12, { topics: [] });
    expect(response.brokers.map((broker) => broker.nodeId)).toEqual([1, 2]);
    expect(response.controllerId).toBe(1);
  });

  test("#16 the cluster id is there from v2 on", async () => {
    for (const version of VERSIONS) {
      const { clusterId } = await withTopics().call(3, Metadata, version, { topics: [] });
      expect(clusterId).toBe(version >= 2 ? CLUSTER_ID : null);
    }
  });

  test("#18 v12+: by id; an unknown id is 100 with a null name; an id wins over a name", async () => {
    const handling = withTopics();
    const id = handling.cluster.image.topicsByName.get("a")?.id ?? "";
    const { topics } = await handling.call(3, Metadata, 12, {
      topics: [
        { topicId: id, name: "wrong" },
        { topicId: topicId(99), name: null },
      ],
    });
    expect(topics.map((topic) => [topic.name, topic.topicId, topic.errorCode])).toEqual([
      ["a", id, 0],
      [null, topicId(99), 100],
    ]);
  });

  test("#18 a topic made again has a new id, and the old one is unknown", async () => {
    const handling = withTopics();
    const old = handling.cluster.image.topicsByName.get("a")?.id ?? "";
    handling.cluster.ask({ type: "DeleteTopics", topics: byName("a") });
    handling.cluster.create({ name: "a" });
    const { topics } = await handling.call(3, Metadata, 12, { topics: [{ topicId: old, name: null }] });
    expect(topics.map((topic) => topic.errorCode)).toEqual([100]);
  });

  test("v10–11 with an id or a null name: 42 per topic and nothing else", async () => {
    for (const version of [10, 11]) {
      const response = await withTopics().call(3, Metadata, version, {
        topics: [
          { topicId: topicId(1), name: "a" },
          { topicId: ZERO_UUID, name: null },
        ],
      });
      expect(response.brokers).toEqual([]);
      expect(response.topics.map((topic) => [topic.name, topic.errorCode])).toEqual([
        ["a", 42],
        ["", 42],
      ]);
    }
  });

  test("v12+ with neither name nor id: 42 per topic", async () => {
    const { topics } = await withTopics().call(3, Metadata, 12, { topics: [{ topicId: ZERO_UUID, name: null }] });
    expect(topics.map((topic) => topic.errorCode)).toEqual([42]);
  });

  test("#19 internal topics are marked, and made with 50 partitions and their own configs", async () => {
    const handling = new Handling();
    const { topics } = await handling.call(3, Metadata, 12, { topics: byName("__consumer_offsets") });
    expect(topics.map((topic) => [topic.isInternal, topic.partitions.length])).toEqual([[true, 50]]);
    expect(Object.fromEntries(handling.cluster.image.configs.get("2/__consumer_offsets") ?? [])).toEqual({
      "cleanup.policy": "compact",
      "compression.type": "producer",
      "segment.bytes": "104857600",
    });
  });

  test("#19 authorized operations: omitted unless asked for; 3576 of a topic, 8096 of the cluster (v8–10)", async () => {
    for (const version of VERSIONS) {
      const quiet = await withTopics().call(3, Metadata, version, { topics: byName("a") });
      expect([quiet.clusterAuthorizedOperations, quiet.topics[0]?.topicAuthorizedOperations]).toEqual([
        -2147483648, -2147483648,
      ]);
      if (version < 8) continue;
      const asked = await withTopics().call(3, Metadata, version, {
        topics: byName("a"),
        includeTopicAuthorizedOperations: true,
        ...(version <= 10 ? { includeClusterAuthorizedOperations: true } : {}),
      });
      expect(asked.topics[0]?.topicAuthorizedOperations).toBe(3576);
      expect(asked.clusterAuthorizedOperations).toBe(version <= 10 ? 8096 : -2147483648);
    }
  });

  test("#12 unset advertised.listeners: the accepted socket's own address; set: the registered one of the listener", async () => {
    const hostOf = async (options: HandlingOptions) =>
      (await withTopics(options).call(3, Metadata, 12, { topics: [] })).brokers.map(({ host, port }) => [host, port]);
    expect(await hostOf({ local: { host: "::ffff:192.168.1.5", port: 9092 } })).toEqual([["192.168.1.5", 9092]]);
    expect(await hostOf({ local: { host: "::1", port: 9092 } })).toEqual([["::1", 9092]]);
    expect(await hostOf({ settings: { "advertised.listeners": "PLAINTEXT://kafka.example:9093" } })).toEqual([
      ["127.0.0.1", 9093],
    ]);
    expect(
      await hostOf({ listener: "INSIDE", settings: { "advertised.listeners": "INSIDE://kafka.example:9093" } }),
    ).toEqual([]);
  });

  test("a replica that is gone: offline; v0 leaves it out with 9; a leader that is gone is 5", async () => {
    const cluster = oneBroker();
    cluster.register(2);
    const assignments = [
      { partitionIndex: 0, brokerIds: [1, 2] },
      { partitionIndex: 1, brokerIds: [2, 1] },
    ];
    cluster.create({ name: "t", assignments });
    cluster.append([{ type: "UnregisterBrokerRecord", message: { brokerId: 2, brokerEpoch: 0 } }]);
    const partitionsIn = async (version: number) =>
      (await new Handling({ cluster }).call(3, Metadata, version, { topics: byName("t") })).topics[0]?.partitions.map(
        ({ errorCode, leaderId, replicaNodes, offlineReplicas }) => ({
          errorCode,
          leaderId,
          replicaNodes,
          offlineReplicas,
        }),
      );
    expect(await partitionsIn(12)).toEqual([
      { errorCode: 0, leaderId: 1, replicaNodes: [1, 2], offlineReplicas: [2] },
      { errorCode: 5, leaderId: -1, replicaNodes: [2, 1], offlineReplicas: [2] },
    ]);
    expect(await partitionsIn(0)).toEqual([
      { errorCode: 9, leaderId: 1, replicaNodes: [1], offlineReplicas: [] },
      { errorCode: 5, leaderId: -1, replicaNodes: [1], offlineReplicas: [] },
    ]);
  });
});
