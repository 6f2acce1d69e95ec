import { describe, expect, test } from "bun:test";
import { PRODUCER_ID_BLOCK_SIZE } from "../../src/metadata/Controller.ts";
import { aliveBrokers, metadataVersion } from "../../src/metadata/MetadataImage.ts";
import { CLUSTER_ID, Cluster, oneBroker, topicId } from "./Cluster.ts";

describe("Activate", () => {
  test("an empty log begins with metadata.version and the cluster's min.insync.replicas (#57), and only once", () => {
    const cluster = new Cluster();
    cluster.ask({ type: "Activate" });
    cluster.ask({ type: "Activate" });
    expect(cluster.records).toEqual([
      { type: "FeatureLevelRecord", message: { name: "metadata.version", featureLevel: 30 } },
      {
        type: "ConfigRecord",
        message: { resourceType: 4, resourceName: "", name: "min.insync.replicas", value: "1" },
      },
      { type: "FeatureLevelRecord", message: { name: "group.version", featureLevel: 1 } },
      { type: "FeatureLevelRecord", message: { name: "transaction.version", featureLevel: 2 } },
    ]);
    expect(metadataVersion(cluster.image)).toBe(30);
  });

  test("the log of an earlier build gets the features that build did not have, and keeps the levels it has", () => {
    const cluster = new Cluster();
    cluster.append([
      { type: "FeatureLevelRecord", message: { name: "metadata.version", featureLevel: 25 } },
      { type: "FeatureLevelRecord", message: { name: "transaction.version", featureLevel: 1 } },
    ]);
    cluster.ask({ type: "Activate" });
    expect([...cluster.image.features].sort()).toEqual([
      ["group.version", 1],
      ["metadata.version", 25],
      ["transaction.version", 1],
    ]);
  });

  test("a transaction that a crash left open is aborted", () => {
    const cluster = oneBroker();
    cluster.append([
      { type: "BeginTransactionRecord", message: { name: null } },
      { type: "TopicRecord", message: { name: "half", topicId: topicId(5) } },
    ]);
    cluster.ask({ type: "Activate" });
    expect(cluster.image.transaction).toBeUndefined();
    expect(cluster.image.topicsByName.size).toBe(0);
  });
});

describe("RegisterBroker", () => {
  test("the broker epoch is the offset of the registration, so it never repeats", () => {
    const cluster = new Cluster();
    cluster.ask({ type: "Activate" });
    expect(cluster.register(1)).toBe(4);
    expect(cluster.register(1)).toBe(5);
    expect(cluster.image.brokers.get(1)?.brokerEpoch).toBe(5);
  });

  test("a fenced broker is not shown; unfencing shows it", () => {
    const cluster = new Cluster();
    const brokerEpoch = cluster.register(1, { fenced: true });
    expect(aliveBrokers(cluster.image)).toEqual([]);
    expect(cluster.ask({ type: "ChangeBroker", brokerId: 1, brokerEpoch, fenced: false })).toBeUndefined();
    expect(aliveBrokers(cluster.image).map((broker) => broker.brokerId)).toEqual([1]);
  });

  test("#17 after an unclean stop every partition it led begins a new leader epoch; after a clean one none", () => {
    const cluster = oneBroker();
    cluster.create({ name: "t", numPartitions: 2 });
    const epochs = () => cluster.image.topicsByName.get("t")?.partitions.map((partition) => partition.leaderEpoch);
    cluster.register(1, { clean: true });
    expect(epochs()).toEqual([0, 0]);
    cluster.register(1, { clean: false });
    expect(epochs()).toEqual([1, 1]);
    cluster.register(1, { clean: false });
    expect(epochs()).toEqual([2, 2]);
  });

  test("#16 another cluster's broker is refused", () => {
    const cluster = oneBroker();
    const reply = cluster.ask({
      type: "RegisterBroker",
      clusterId: "another",
      brokerId: 2,
      incarnationId: topicId(1),
      endPoints: [],
      features: [],
      rack: null,
      logDirs: [],
      fenced: false,
      cleanShutdown: true,
    });
    expect(reply).toEqual({
      error: { code: 104, message: `Expected cluster ID ${CLUSTER_ID}, but got cluster ID another` },
      brokerEpoch: -1,
    });
    expect(cluster.image.brokers.size).toBe(1);
  });

  test("a stale incarnation changes nothing", () => {
    const cluster = oneBroker();
    const before = cluster.image;
    const reply = cluster.ask({ type: "ChangeBroker", brokerId: 1, brokerEpoch: 77, fenced: true });
    expect(reply?.code).toBe(77);
    expect(cluster.image).toBe(before);
  });

  test("a partition without leader gets one when a replica of its ISR is unfenced", () => {
    const cluster = oneBroker();
    cluster.create({ name: "t" });
    const id = cluster.image.topicsByName.get("t")?.id ?? "";
    const brokerEpoch = cluster.register(1, { fenced: true });
    const unchanged = {
      isr: null,
      replicas: null,
      removingReplicas: null,
      addingReplicas: null,
      leaderRecoveryState: -1,
      directories: null,
      eligibleLeaderReplicas: null,
      lastKnownElr: null,
    };
    cluster.append([
      { type: "PartitionChangeRecord", message: { ...unchanged, topicId: id, partitionId: 0, leader: -1 } },
    ]);
    cluster.ask({ type: "ChangeBroker", brokerId: 1, brokerEpoch, fenced: false });
    expect(cluster.image.topicsByName.get("t")?.partitions[0]).toMatchObject({ leader: 1, leaderEpoch: 2 });
  });
});

describe("AllocateProducerIds", () => {
  const allocate = (cluster: Cluster, brokerEpoch = 4) =>
    cluster.ask({ type: "AllocateProducerIds", brokerId: 1, brokerEpoch });

  test("blocks of 1000, none handed out twice", () => {
    const cluster = oneBroker();
    expect([allocate(cluster), allocate(cluster)]).toEqual([
      { error: undefined, producerIdStart: 0, producerIdLen: PRODUCER_ID_BLOCK_SIZE },
      { error: undefined, producerIdStart: 1000, producerIdLen: PRODUCER_ID_BLOCK_SIZE },
    ]);
    expect(cluster.image.nextProducerId).toBe(2000);
  });

  test("a previous incarnation of the broker gets none", () => {
    const cluster = oneBroker();
    expect(allocate(cluster, 0)).toEqual({
      error: { code: 77, message: "Expected broker epoch 4, but got broker epoch 0" },
      producerIdStart: -1,
      producerIdLen: 0,
    });
    expect(cluster.image.nextProducerId).toBe(0);
  });
});
