import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { applyRecords, touchedTopics } from "../../src/metadata/MetadataDelta.ts";
import { emptyImage, type MetadataImage } from "../../src/metadata/MetadataImage.ts";
import { type MetadataRecord, MetadataRecordError } from "../../src/metadata/MetadataRecords.ts";
import { snapshotRecords } from "../../src/metadata/MetadataSnapshot.ts";
import { CLUSTER_ID, type Cluster, oneBroker, topicId } from "./Cluster.ts";
import { plain } from "./PlainImage.ts";

const names = ["a.b", "a_b", "c", "d.e_f", "g", "h"];
const name = fc.constantFrom(...names);

type Step = (cluster: Cluster) => void;

const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .record({ name, numPartitions: fc.integer({ min: 0, max: 4 }), replicationFactor: fc.integer({ min: 1, max: 3 }) })
    .map(
      (topic): Step =>
        (cluster) => {
          cluster.create({ ...topic, configs: [{ name: "retention.ms", value: String(topic.numPartitions) }] });
        },
    ),
  fc.array(name, { maxLength: 3 }).map(
    (doomed): Step =>
      (cluster) => {
        cluster.ask({
          type: "DeleteTopics",
          topics: doomed.map((each) => ({ name: each, topicId: "AAAAAAAAAAAAAAAAAAAAAA" })),
        });
      },
  ),
  fc.record({ name, count: fc.integer({ min: 1, max: 8 }) }).map(
    ({ name: grown, count }): Step =>
      (cluster) => {
        const topics = [{ name: grown, count, assignments: null }];
        cluster.ask({ type: "CreatePartitions", topics, validateOnly: false, seed: count });
      },
  ),
  fc.constant<Step>((cluster) => {
    const brokerEpoch = cluster.image.brokers.get(1)?.brokerEpoch ?? -1;
    cluster.ask({ type: "AllocateProducerIds", brokerId: 1, brokerEpoch });
  }),
  fc.record({ broker: fc.integer({ min: 1, max: 3 }), clean: fc.boolean(), fenced: fc.boolean() }).map(
    ({ broker, ...options }): Step =>
      (cluster) => {
        cluster.register(broker, options);
      },
  ),
);

describe("the fold of the metadata log", () => {
  test("replay(log) == live image == image of its snapshot, and no image ever changes", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const cluster = oneBroker();
        const seen: Array<[MetadataImage, ReturnType<typeof plain>]> = [];
        for (const each of steps) {
          seen.push([cluster.image, plain(cluster.image)]);
          each(cluster);
        }
        const live = plain(cluster.image);
        const { lastContainedOffset, lastContainedEpoch } = cluster.image.provenance;
        const empty = emptyImage(CLUSTER_ID);
        expect(plain(applyRecords(empty, cluster.records, lastContainedOffset + 1, lastContainedEpoch))).toEqual(live);
        const snapshot = snapshotRecords(cluster.image);
        expect(plain(applyRecords(empty, snapshot, lastContainedOffset + 1, lastContainedEpoch))).toEqual(live);
        for (const [image, before] of seen) expect(plain(image)).toEqual(before);
      }),
      { numRuns: 150 },
    );
  });

  test("a topic deleted and made again in one append has only its new id", () => {
    const cluster = oneBroker();
    cluster.create({ name: "a.b", configs: [{ name: "x.y", value: "old" }] });
    const old = cluster.image.topicsByName.get("a.b")?.id ?? "";
    const records = cluster.records.filter((record) => record.type === "PartitionRecord");
    const partition = records[0]?.message;
    if (partition === undefined) throw new Error("no partition");
    const again: MetadataRecord[] = [
      { type: "RemoveTopicRecord", message: { topicId: old } },
      { type: "TopicRecord", message: { name: "a.b", topicId: topicId(500) } },
      { type: "PartitionRecord", message: { ...partition, topicId: topicId(500) } },
    ];
    cluster.append(again);
    expect(cluster.image.topicsByName.get("a.b")?.id).toBe(topicId(500));
    expect([...cluster.image.topicsById.keys()]).toEqual([topicId(500)]);
    expect([...cluster.image.configs.keys()].filter((key) => key.startsWith("2/"))).toEqual([]);
    expect(cluster.image.collisions.get("a_b")).toEqual(["a.b"]);
    expect([...touchedTopics(again)]).toEqual([old, topicId(500)]);
  });

  test("a metadata transaction shows when it ends, also when its end comes in a later append; aborted never", () => {
    const cluster = oneBroker();
    const feature = (level: number): MetadataRecord => ({
      type: "FeatureLevelRecord",
      message: { name: "share.version", featureLevel: level },
    });
    cluster.append([{ type: "BeginTransactionRecord", message: { name: "one" } }, feature(1)]);
    expect(cluster.image.features.has("share.version")).toBe(false);
    cluster.append([{ type: "EndTransactionRecord", message: {} }]);
    expect(cluster.image.features.get("share.version")).toBe(1);
    cluster.append([{ type: "BeginTransactionRecord", message: { name: "two" } }, feature(0)]);
    cluster.append([{ type: "AbortTransactionRecord", message: { reason: null } }]);
    expect(cluster.image.features.get("share.version")).toBe(1);
  });

  test("records that contradict the image are damage, not guesses", () => {
    const cluster = oneBroker();
    const damage: MetadataRecord[] = [
      { type: "RemoveTopicRecord", message: { topicId: topicId(1) } },
      { type: "ProducerIdsRecord", message: { brokerId: 1, brokerEpoch: 1, nextProducerId: -1 } },
      { type: "FeatureLevelRecord", message: { name: "metadata.version", featureLevel: 31 } },
      { type: "EndTransactionRecord", message: {} },
    ];
    for (const record of damage) {
      expect(() => applyRecords(cluster.image, [record], 100)).toThrow(MetadataRecordError);
    }
  });

  test("one topic among 20,000 costs far less than the whole", () => {
    const cluster = oneBroker();
    for (let at = 0; at < 20; at++) {
      cluster.create(...Array.from({ length: 1000 }, (_, each) => ({ name: `topic-${at}-${each}` })));
    }
    const began = performance.now();
    for (let at = 0; at < 100; at++) cluster.create({ name: `more-${at}` });
    expect(cluster.image.topicsByName.size).toBe(20_100);
    // A copy of the whole would take about a second for a hundred of them.
    expect(performance.now() - began).toBeLessThan(500);
  });
});
