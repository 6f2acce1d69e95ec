import { describe, expect, test } from "bun:test";
import { DeleteTopics } from "../../src/api/20-DeleteTopics.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { oneBroker, topicId } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

const withTopic = (settings: Record<string, string> = {}) => {
  const cluster = oneBroker();
  cluster.create({ name: "t" });
  return new Handling({ cluster, settings });
};

describe("DeleteTopics", () => {
  test("every version deletes by name; v6 by id too, and answers the id", async () => {
    for (let version = 1; version <= 6; version++) {
      const handling = withTopic();
      const id = handling.cluster.image.topicsByName.get("t")?.id ?? "";
      const named = version < 6 ? { topicNames: ["t"] } : { topics: [{ name: null, topicId: id }] };
      const { responses } = await handling.call(20, DeleteTopics, version, { ...named, timeoutMs: 1000 });
      expect(responses).toEqual([
        { name: "t", topicId: version >= 6 ? id : ZERO_UUID, errorCode: 0, errorMessage: null },
      ]);
      expect(handling.cluster.image.topicsByName.size).toBe(0);
      expect(handling.writes).toEqual({ begun: 1, ended: 1 });
    }
  });

  test("unknown name 3, unknown id 100, zero id 42, name and id 42, twice one 42", async () => {
    const handling = withTopic();
    const { responses } = await handling.call(20, DeleteTopics, 6, {
      topics: [
        { name: "nope", topicId: ZERO_UUID },
        { name: null, topicId: topicId(9) },
        { name: null, topicId: ZERO_UUID },
        { name: "t", topicId: topicId(9) },
        { name: "t", topicId: ZERO_UUID },
        { name: "t", topicId: ZERO_UUID },
      ],
      timeoutMs: 1000,
    });
    expect(responses.map(({ name, errorCode }) => [name, errorCode])).toEqual([
      [null, 42],
      ["t", 42],
      [null, 100],
      ["nope", 3],
      ["t", 42],
    ]);
    expect(handling.cluster.image.topicsByName.has("t")).toBe(true);
  });

  test("deletion disabled: 73, below v3 42", async () => {
    for (let version = 1; version <= 5; version++) {
      const handling = withTopic({ "delete.topic.enable": "false" });
      const { responses } = await handling.call(20, DeleteTopics, version, { topicNames: ["t"], timeoutMs: 1000 });
      expect(responses.map((response) => response.errorCode)).toEqual([version < 3 ? 42 : 73]);
      expect(handling.cluster.image.topicsByName.has("t")).toBe(true);
    }
  });
});
