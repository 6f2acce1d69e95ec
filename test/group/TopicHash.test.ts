import { expect, test } from "bun:test";
import { metadataHash } from "../../src/group/TopicHash.ts";
import { oneBroker } from "../metadata/Cluster.ts";

test("differs when a subscribed topic appears, grows, is made anew or gets other racks; nothing else", () => {
  const cluster = oneBroker();
  const hash = (...topics: string[]) => metadataHash(topics, cluster.image);
  const seen = new Set<number>();
  const expectNew = (...topics: string[]) => {
    const now = hash(...topics);
    expect(Number.isSafeInteger(now) && now >= 0 && !seen.has(now)).toBe(true);
    seen.add(now);
  };
  expect(hash("a", "b")).toBe(0);
  cluster.create({ name: "a" });
  expectNew("a", "b");
  cluster.create({ name: "b", numPartitions: 2 });
  expectNew("a", "b");
  expect(hash("b", "a")).toBe(hash("a", "b"));
  expectNew("b");
  cluster.ask({
    type: "CreatePartitions",
    topics: [{ name: "b", count: 3, assignments: null }],
    validateOnly: false,
    seed: 1,
  });
  expectNew("a", "b");
  cluster.ask({ type: "DeleteTopics", topics: [{ name: "b", topicId: "AAAAAAAAAAAAAAAAAAAAAA" }] });
  cluster.create({ name: "b", numPartitions: 3 });
  expectNew("a", "b");
  const before = hash("a", "b");
  cluster.create({ name: "other" });
  expect(hash("a", "b")).toBe(before);
  cluster.register(1, { rack: "r1" });
  expectNew("a", "b");
  cluster.register(1, { rack: "r2" });
  expectNew("a", "b");
});
