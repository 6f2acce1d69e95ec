import { describe, expect, test } from "bun:test";
import { decodeMetadataBatch, encodeMetadataBatch } from "../../src/metadata/MetadataBatch.ts";
import { applyRecords } from "../../src/metadata/MetadataDelta.ts";
import { emptyImage } from "../../src/metadata/MetadataImage.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
  MetadataRecordError,
} from "../../src/metadata/MetadataRecords.ts";
import {
  decodeSnapshot,
  encodeSnapshot,
  loadSnapshot,
  parseSnapshotFileName,
  snapshotFileName,
  snapshotId,
} from "../../src/metadata/MetadataSnapshot.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import {
  attributesOf,
  checkCrc,
  forEachBatch,
  isControl,
  lastOffsetOf,
  records,
} from "../../src/record/RecordBatch.ts";
import { Cluster, oneBroker } from "./Cluster.ts";
import { plain } from "./PlainImage.ts";

const codecs = makeBunCodecs();
/** The first 32 offsets of `__cluster_metadata-0` of a fresh Kafka 4.3.1 with one topic, and its snapshot there. */
const fixture = async (name: string) =>
  new Uint8Array(await Bun.file(`${import.meta.dir}/fixtures/${name}`).arrayBuffer());

const startsOf = (bytes: Uint8Array): number[] => {
  const starts: number[] = [];
  forEachBatch(bytes, 0, bytes.length, (start) => {
    starts.push(start);
    return true;
  });
  return starts;
};

describe("metadata records", () => {
  test("Kafka's own bytes are read, and written again byte for byte", async () => {
    const bytes = await fixture("kafka-4.3.1.log");
    const types = new Set<string>();
    for (const start of startsOf(bytes)) {
      if (isControl(attributesOf(bytes, start))) continue;
      for (const { value } of records(bytes, start, codecs)) {
        const record = decodeMetadataRecord(value ?? new Uint8Array());
        types.add(record.type);
        // Kafka writes the lowest version that says what changed; we always write the latest.
        if (record.type === "BrokerRegistrationChangeRecord") continue;
        expect(Buffer.from(encodeMetadataRecord(record)).toString("hex")).toBe(
          Buffer.from(value ?? []).toString("hex"),
        );
      }
    }
    expect([...types].sort()).toEqual([
      "BeginTransactionRecord",
      "BrokerRegistrationChangeRecord",
      "ConfigRecord",
      "EndTransactionRecord",
      "FeatureLevelRecord",
      "NoOpRecord",
      "OtherRecord",
      "PartitionRecord",
      "RegisterBrokerRecord",
      "TopicRecord",
    ]);
  });

  test("every record of a history survives its bytes", () => {
    const cluster = oneBroker();
    cluster.register(2, { rack: "r", fenced: true });
    cluster.create({ name: "a.b", numPartitions: 3, configs: [{ name: "x.y", value: "ü" }] }, { name: "gone" });
    cluster.ask({ type: "DeleteTopics", topics: [{ name: "gone", topicId: "AAAAAAAAAAAAAAAAAAAAAA" }] });
    cluster.ask({ type: "AllocateProducerIds", brokerId: 1, brokerEpoch: 1 });
    cluster.register(1, { clean: false });
    const others: MetadataRecord[] = [
      { type: "UnregisterBrokerRecord", message: { brokerId: 2, brokerEpoch: 9 } },
      { type: "BeginTransactionRecord", message: { name: "n" } },
      { type: "AbortTransactionRecord", message: { reason: "r" } },
      { type: "NoOpRecord", message: {} },
      { type: "OtherRecord", message: { apiKey: 14, version: 0, body: Uint8Array.of(1, 2, 3) } },
    ];
    for (const record of [...cluster.records, ...others]) {
      expect(decodeMetadataRecord(encodeMetadataRecord(record))).toEqual(record);
    }
    const batch = encodeMetadataBatch(cluster.records, { baseOffset: 7, epoch: 3, timestamp: 5 });
    expect(checkCrc(batch, 0)).toBe(true);
    expect(lastOffsetOf(batch, 0)).toBe(6 + cluster.records.length);
    expect(decodeMetadataBatch(batch, 0, codecs)).toEqual(cluster.records);
  });

  const unreadable: ReadonlyArray<[string, number[], string]> = [
    ["another frame version", [2, 2, 0], "frame version 2"],
    ["a type Kafka 4.3.1 does not have", [1, 29, 0], "type 29 and version 0 needs a newer version"],
    ["a newer version of a record we know", [1, 3, 3], "type 3 and version 3 needs a newer version"],
    ["garbage behind the record", [1, 20, 0, 0, 9], "1 bytes of garbage"],
    ["a record cut short", [1, 2, 0, 5], "cannot be read"],
    ["nothing", [], "cannot be read"],
  ];
  for (const [what, bytes, text] of unreadable) {
    test(`${what} is refused by name`, () => {
      const read = () => decodeMetadataRecord(Uint8Array.from(bytes));
      expect(read).toThrow(MetadataRecordError);
      expect(read).toThrow(text);
    });
  }
});

describe("snapshots", () => {
  test("Kafka's snapshot makes the image that Kafka's log makes", async () => {
    const bytes = await fixture("kafka-4.3.1.log");
    let image = emptyImage("cluster");
    for (const start of startsOf(bytes)) {
      image = applyRecords(image, decodeMetadataBatch(bytes, start, codecs), lastOffsetOf(bytes, start) + 1, 1);
    }
    const loaded = loadSnapshot(
      "cluster",
      { endOffset: 32, epoch: 1 },
      await fixture("kafka-4.3.1.checkpoint"),
      codecs,
    );
    expect(plain(loaded)).toEqual(plain(image));
    expect(image.topicsByName.get("e")?.partitions.length).toBe(2);
    expect(Object.fromEntries(image.configs.get("2/e") ?? [])).toEqual({ "retention.ms": "777" });
  });

  test("an image survives its snapshot, also an empty one and one of several batches", () => {
    const empty = new Cluster();
    empty.ask({ type: "Activate" });
    const large = oneBroker();
    for (let at = 0; at < 3; at++) {
      large.create(...Array.from({ length: 1000 }, (_, each) => ({ name: `t.${at}.${each}`, numPartitions: 8 })));
    }
    for (const { image } of [empty, oneBroker(), large]) {
      const bytes = encodeSnapshot(image, 1000, 900);
      const loaded = loadSnapshot(image.clusterId, snapshotId(image), bytes, codecs);
      expect(plain(loaded)).toEqual(plain(image));
      for (const start of startsOf(bytes)) expect(checkCrc(bytes, start)).toBe(true);
    }
    expect(startsOf(encodeSnapshot(large.image, 1000, 900)).length).toBeGreaterThan(3);
  });

  test("without its header or footer, cut anywhere, or damaged, it is no snapshot", () => {
    const cluster = oneBroker();
    cluster.create({ name: "t" });
    const bytes = encodeSnapshot(cluster.image, 1000, 900);
    const starts = startsOf(bytes);
    expect(() => decodeSnapshot(bytes.subarray(starts[1]), codecs)).toThrow(MetadataRecordError);
    for (let length = 0; length < bytes.length; length += 7) {
      expect(() => decodeSnapshot(bytes.subarray(0, length), codecs)).toThrow(MetadataRecordError);
    }
    for (const at of starts.map((start) => start + 40)) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      expect(() => decodeSnapshot(damaged, codecs)).toThrow("damaged");
    }
  });

  test("file names are Kafka's", () => {
    expect(snapshotFileName({ endOffset: 32, epoch: 1 })).toBe("00000000000000000032-0000000001.checkpoint");
    expect(parseSnapshotFileName("00000000000000010417-0000000012.checkpoint")).toEqual({
      endOffset: 10417,
      epoch: 12,
    });
    for (const name of [
      "00000000000000000032.log",
      "00000000000000000032-0000000001.checkpoint.part",
      "leader-epoch-checkpoint",
    ]) {
      expect(parseSnapshotFileName(name)).toBeUndefined();
    }
  });
});
