import { describe, expect, test } from "bun:test";
import { DescribeTopicPartitions } from "../../src/api/75-DescribeTopicPartitions.ts";
import type { DescribeTopicPartitionsRequest } from "../../src/protocol/generated/DescribeTopicPartitionsRequest.ts";
import { oneBroker } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

const describeIt = (request: Partial<DescribeTopicPartitionsRequest>, settings: Record<string, string> = {}) => {
  const cluster = oneBroker();
  cluster.create({ name: "c", numPartitions: 3 }, { name: "a", numPartitions: 2 }, { name: "b" });
  return new Handling({ cluster, settings }).call(75, DescribeTopicPartitions, 0, {
    responsePartitionLimit: 2000,
    ...request,
  });
};

const shape = ({ topics, nextCursor }: Awaited<ReturnType<typeof describeIt>>) => ({
  topics: topics.map((topic) => [topic.name, topic.errorCode, topic.partitions.map((each) => each.partitionIndex)]),
  nextCursor,
});

describe("DescribeTopicPartitions (#59)", () => {
  test("an empty list is every topic, by name", async () => {
    expect(shape(await describeIt({}))).toEqual({
      topics: [
        ["a", 0, [0, 1]],
        ["b", 0, [0]],
        ["c", 0, [0, 1, 2]],
      ],
      nextCursor: null,
    });
  });

  test("a limit ends the page with a cursor, and the cursor goes on from there until everything was seen once", async () => {
    expect(shape(await describeIt({ responsePartitionLimit: 1 }))).toEqual({
      topics: [["a", 0, [0]]],
      nextCursor: { topicName: "a", partitionIndex: 1 },
    });
    expect(shape(await describeIt({ responsePartitionLimit: 2 })).nextCursor).toEqual({
      topicName: "b",
      partitionIndex: 0,
    });
    for (const limit of [1, 2, 3, 4, 5]) {
      const seen: string[] = [];
      let cursor: DescribeTopicPartitionsRequest["cursor"] = null;
      do {
        const page: Awaited<ReturnType<typeof describeIt>> = await describeIt({
          responsePartitionLimit: limit,
          cursor,
        });
        for (const topic of page.topics)
          for (const each of topic.partitions) seen.push(`${topic.name}${each.partitionIndex}`);
        cursor = page.nextCursor;
      } while (cursor !== null);
      expect(seen).toEqual(["a0", "a1", "b0", "c0", "c1", "c2"]);
    }
  });

  test("max.request.partition.size.limit bounds the page too", async () => {
    const page = await describeIt({}, { "max.request.partition.size.limit": "1" });
    expect(shape(page).nextCursor).toEqual({ topicName: "a", partitionIndex: 1 });
  });

  test("unknown 3, bad name 17, named twice once", async () => {
    const topics = [{ name: "b" }, { name: "nope" }, { name: "b" }, { name: "a b" }];
    expect(shape(await describeIt({ topics })).topics).toEqual([
      ["a b", 17, []],
      ["b", 0, [0]],
      ["nope", 3, []],
    ]);
  });

  test("a cursor to a topic that was not asked for, or below 0, is 42", async () => {
    const topics = [{ name: "a" }];
    for (const cursor of [
      { topicName: "b", partitionIndex: 0 },
      { topicName: "a", partitionIndex: -1 },
    ]) {
      expect(shape(await describeIt({ topics, cursor })).topics).toEqual([["a", 42, []]]);
    }
  });

  test("authorized operations are always there, and leader, replicas, ISR of a partition", async () => {
    const [topic] = (await describeIt({ topics: [{ name: "b" }] })).topics;
    expect(topic?.topicAuthorizedOperations).toBe(3576);
    expect(topic?.partitions).toEqual([
      {
        errorCode: 0,
        partitionIndex: 0,
        leaderId: 1,
        leaderEpoch: 0,
        replicaNodes: [1],
        isrNodes: [1],
        eligibleLeaderReplicas: [],
        lastKnownElr: [],
        offlineReplicas: [],
      },
    ]);
  });
});
