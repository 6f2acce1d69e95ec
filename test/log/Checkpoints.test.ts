import { describe, expect, test } from "bun:test";
import {
  decodeCleanShutdown,
  decodeLeaderEpochs,
  decodeMetaProperties,
  decodeOffsetCheckpoint,
  decodePartitionMetadata,
  decodeScrubCheckpoint,
  encodeCleanShutdown,
  encodeLeaderEpochs,
  encodeMetaProperties,
  encodeOffsetCheckpoint,
  encodePartitionMetadata,
  encodeScrubCheckpoint,
  partitionDirectory,
  partitionOfDirectory,
} from "../../src/log/Checkpoints.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (content: Uint8Array): string => new TextDecoder().decode(content);

describe("Checkpoints", () => {
  test("offset checkpoints are Kafka's lines, and one of no topic with their checksum", () => {
    const entries = [
      { topic: "orders", partition: 0, offset: 12 },
      { topic: "__consumer_offsets", partition: 49, offset: 0 },
    ];
    const encoded = encodeOffsetCheckpoint(entries);
    expect(text(encoded)).toBe("0\n3\norders 0 12\n__consumer_offsets 49 0\n#crc32c# 0 311004965\n");
    expect(decodeOffsetCheckpoint(encoded)).toEqual(entries);
    expect(decodeOffsetCheckpoint(encodeOffsetCheckpoint([]))).toEqual([]);
    // Kafka's have none.
    expect(decodeOffsetCheckpoint(bytes("0\n1\norders 0 12\n"))).toEqual([
      { topic: "orders", partition: 0, offset: 12 },
    ]);
  });

  test("a damaged checkpoint is no checkpoint", () => {
    for (const damaged of [
      "",
      "0",
      "0\n",
      "1\n0\n",
      "0\n2\na 0 1\n",
      "0\n1\na 0\n",
      "0\n1\na 0 x\n",
      "0\n1\na 0 1",
      "0\n1\na 0 1 2\n",
    ]) {
      expect(decodeOffsetCheckpoint(bytes(damaged))).toBeUndefined();
    }
    for (const damaged of ["0\n1\n1\n", "0\n2\n1 0\n1 5\n", "0\n2\n1 5\n2 5\n", "0\n1\n1 5 6\n", "0\n1\n1 5"]) {
      expect(decodeLeaderEpochs(bytes(damaged))).toBeUndefined();
    }
  });

  test("whatever bit of one flips, and wherever it is cut, what is read is what was written, or nothing", () => {
    const entries = [
      { topic: "orders", partition: 0, offset: 12 },
      { topic: "a", partition: 3, offset: 400 },
    ];
    const began = { began: 77, done: entries, damaged: entries.slice(1) };
    const id = "dV0i8ZzGQ2yC2mQy3tXfWg";
    const files: ReadonlyArray<readonly [Uint8Array, object | string, (content: Uint8Array) => unknown]> = [
      [encodeOffsetCheckpoint(entries), entries, decodeOffsetCheckpoint],
      [encodeScrubCheckpoint(began), began, decodeScrubCheckpoint],
      [encodePartitionMetadata(id), id, decodePartitionMetadata],
    ];
    for (const [content, value, decode] of files) {
      let lost = 0;
      const judge = (damaged: Uint8Array): void => {
        const found = decode(damaged);
        if (found === undefined) lost++;
        else expect(found).toEqual(value);
      };
      for (let at = 0; at < content.length; at++) {
        judge(content.subarray(0, at));
        for (let bit = 0; bit < 8; bit++) {
          const flipped = content.slice();
          flipped[at]! ^= 1 << bit;
          judge(flipped);
        }
      }
      expect(lost).toBeGreaterThan(8 * content.length * 0.5);
    }
  });

  test("leader epochs", () => {
    const entries = [
      { epoch: 0, startOffset: 0 },
      { epoch: 3, startOffset: 17 },
    ];
    expect(text(encodeLeaderEpochs(entries))).toBe("0\n2\n0 0\n3 17\n");
    expect(decodeLeaderEpochs(encodeLeaderEpochs(entries))).toEqual(entries);
  });

  test("partition metadata holds the topic id, with or without a last line feed", () => {
    const id = "dV0i8ZzGQ2yC2mQy3tXfWg";
    expect(decodePartitionMetadata(encodePartitionMetadata(id))).toBe(id);
    expect(decodePartitionMetadata(bytes(`version: 0\ntopic_id: ${id}`))).toBe(id);
    expect(decodePartitionMetadata(bytes("version: 0\n"))).toBeUndefined();
    expect(decodePartitionMetadata(bytes("version: 0\ntopic_id: short"))).toBeUndefined();
  });

  test("meta.properties, ours and Kafka's with its comments and escapes", () => {
    const properties = {
      version: 1,
      clusterId: "4L6g3nShT-eMCtK--X86sw",
      nodeId: 3,
      directoryId: "dV0i8ZzGQ2yC2mQy3tXfWg",
    };
    expect(decodeMetaProperties(encodeMetaProperties(properties))).toEqual(properties);
    const java = "#\n#Mon Jan 05 10:00:00 UTC 2026\nnode.id=3\ndirectory.id=x\\=y\nversion=1\ncluster.id=c\n";
    expect(decodeMetaProperties(bytes(java))).toEqual({ version: 1, clusterId: "c", nodeId: 3, directoryId: "x=y" });
    expect(decodeMetaProperties(bytes("broker.id=7\ncluster.id=c\n"))).toMatchObject({ version: 0, nodeId: 7 });
    expect(decodeMetaProperties(bytes("cluster.id=c\n"))).toBeUndefined();
  });

  test("the clean-shutdown marker carries the broker epoch", () => {
    expect(text(encodeCleanShutdown(5))).toBe('{"version":0,"brokerEpoch":5}');
    expect(decodeCleanShutdown(encodeCleanShutdown(5))).toBe(5);
    expect(decodeCleanShutdown(bytes(""))).toBe(-1);
  });

  test("a partition's directory is its name", () => {
    expect(partitionDirectory({ topic: "a-b.c", partition: 12 })).toBe("a-b.c-12");
    expect(partitionOfDirectory("a-b.c-12")).toEqual({ topic: "a-b.c", partition: 12 });
    for (const other of ["plain", "a-01", "a-b-delete", "a-1.0123456789abcdef-delete", "__cluster_metadata-x"]) {
      expect(partitionOfDirectory(other)).toBeUndefined();
    }
  });
});
