import { describe, expect, test } from "bun:test";
import { CreatePartitions } from "../../src/api/37-CreatePartitions.ts";
import { oneBroker } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

describe("CreatePartitions", () => {
  test("#46 every version answers every topic", async () => {
    for (let version = 0; version <= 3; version++) {
      const cluster = oneBroker();
      cluster.create({ name: "t" });
      const handling = new Handling({ cluster });
      const { results } = await handling.call(37, CreatePartitions, version, {
        topics: [
          { name: "t", count: 3, assignments: null },
          { name: "nope", count: 3, assignments: null },
        ],
        timeoutMs: 1000,
      });
      expect(results.map(({ name, errorCode }) => [name, errorCode])).toEqual([
        ["t", 0],
        ["nope", 3],
      ]);
      expect(cluster.image.topicsByName.get("t")?.partitions.length).toBe(3);
      expect(handling.writes).toEqual({ begun: 1, ended: 1 });
    }
  });

  test("validate only changes nothing", async () => {
    const cluster = oneBroker();
    cluster.create({ name: "t" });
    const { results } = await new Handling({ cluster }).call(37, CreatePartitions, 3, {
      topics: [{ name: "t", count: 3, assignments: null }],
      timeoutMs: 1000,
      validateOnly: true,
    });
    expect(results.map((result) => result.errorCode)).toEqual([0]);
    expect(cluster.image.topicsByName.get("t")?.partitions.length).toBe(1);
  });
});
