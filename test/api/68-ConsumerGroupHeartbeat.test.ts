/** The handlers of KIP-848 over the wire, in every version, with a coordinator that is only its `decide`. */
import { describe, expect, test } from "bun:test";
import * as Effect from "effect/Effect";
import { DescribeGroups } from "../../src/api/15-DescribeGroups.ts";
import { ListGroups } from "../../src/api/16-ListGroups.ts";
import { ConsumerGroupHeartbeat } from "../../src/api/68-ConsumerGroupHeartbeat.ts";
import { ConsumerGroupDescribe } from "../../src/api/69-ConsumerGroupDescribe.ts";
import type { GroupCoordinatorPort } from "../../src/api/Ports.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { ClassicConsumer } from "../group/ClassicConsumer.ts";
import { Consumer, Coordinator, configWith } from "../group/ConsumerWorld.ts";
import { Handling } from "./Handling.ts";

const world = (settings: Readonly<Record<string, string>> = {}) => {
  const coordinator = new Coordinator(configWith({ "group.initial.rebalance.delay.ms": "0" }));
  coordinator.cluster.create({ name: "t", numPartitions: 2 });
  const groups: GroupCoordinatorPort = {
    partitionOf: () => 0,
    ask: (_groupId, command) => Effect.sync(() => coordinator.ask(command)),
    askAll: (command) => Effect.sync(() => [coordinator.ask(command)]),
    completeTransaction: () => {},
  };
  const client = new Handling({ cluster: coordinator.cluster, groups, settings });
  return { coordinator, client };
};

const JOIN = {
  groupId: "g",
  memberId: "m",
  rebalanceTimeoutMs: 60_000,
  subscribedTopicNames: ["t"],
  topicPartitions: [],
};

describe("ConsumerGroupHeartbeat", () => {
  test("joins in both versions; the record has who asks as Kafka writes it", async () => {
    for (const version of [0, 1]) {
      const { client, coordinator } = world();
      const answer = await client.call(68, ConsumerGroupHeartbeat, version, JOIN);
      expect(answer).toMatchObject({ errorCode: 0, memberId: "m", memberEpoch: 2, heartbeatIntervalMs: 5000 });
      expect(answer.assignment?.topicPartitions[0]?.partitions).toEqual([0, 1]);
      expect(coordinator.group()!.members.get("m")!.clientHost).toBe("/10.0.0.8");
    }
  });

  test("v0 leaves the member id to the broker", async () => {
    const { client } = world();
    const { memberId } = await client.call(68, ConsumerGroupHeartbeat, 0, { ...JOIN, memberId: "" });
    expect(memberId).toHaveLength(22);
  });

  test("what is wrong whatever the group never reaches a coordinator", async () => {
    const { client, coordinator } = world();
    expect(await client.call(68, ConsumerGroupHeartbeat, 1, { ...JOIN, groupId: "" })).toMatchObject({
      errorCode: Errors.INVALID_REQUEST,
      errorMessage: "GroupId can't be empty.",
    });
    expect(await client.call(68, ConsumerGroupHeartbeat, 1, { ...JOIN, serverAssignor: "nope" })).toMatchObject({
      errorCode: Errors.UNSUPPORTED_ASSIGNOR,
    });
    expect(coordinator.log).toEqual([]);
  });

  test("a coordinator that is elsewhere is said without a message", async () => {
    const answer = await new Handling({}).call(68, ConsumerGroupHeartbeat, 1, JOIN);
    expect(answer).toMatchObject({ errorCode: Errors.NOT_COORDINATOR, errorMessage: null });
  });

  test("not without group.version, nor when the protocol is switched off", async () => {
    const off = world({ "group.coordinator.rebalance.protocols": "classic" });
    expect((await off.client.call(68, ConsumerGroupHeartbeat, 1, JOIN)).errorCode).toBe(Errors.UNSUPPORTED_VERSION);
    const old = world();
    const message = { name: "group.version", featureLevel: 0 };
    old.coordinator.cluster.append([{ type: "FeatureLevelRecord", message }]);
    expect((await old.client.call(68, ConsumerGroupHeartbeat, 1, JOIN)).errorCode).toBe(Errors.UNSUPPORTED_VERSION);
    const described = await old.client.call(69, ConsumerGroupDescribe, 1, { groupIds: ["g"] });
    expect(described.groups[0]?.errorCode).toBe(Errors.UNSUPPORTED_VERSION);
  });
});

describe("ConsumerGroupDescribe", () => {
  test("state, epochs, what each member has and is to have, and its type (v1)", async () => {
    const { client, coordinator } = world();
    const a = new Consumer(coordinator, "a", { names: ["t"] }, "i");
    const b = new ClassicConsumer(coordinator, ["t"]);
    a.slowness = 3;
    a.beat();
    for (let round = 0; round < 3; round++) b.beat();
    a.beat();
    const topicId = coordinator.cluster.image.topicsByName.get("t")!.id;
    for (const version of [0, 1]) {
      const { groups } = await client.call(69, ConsumerGroupDescribe, version, { groupIds: ["g"] });
      const [group] = groups;
      expect(group).toMatchObject({
        errorCode: 0,
        errorMessage: null,
        groupId: "g",
        groupState: "Reconciling",
        groupEpoch: 3,
        assignmentEpoch: 3,
        assignorName: "uniform",
        authorizedOperations: -2147483648,
      });
      const [first, second] = group!.members;
      const all = { topicPartitions: [{ topicId, topicName: "t", partitions: [0, 1] }] };
      expect(first).toMatchObject({
        memberId: "a",
        instanceId: "i",
        rackId: null,
        memberEpoch: 2,
        clientId: "client",
        clientHost: "/127.0.0.1",
        subscribedTopicNames: ["t"],
        subscribedTopicRegex: "",
        // What it revokes is its own until it has.
        assignment: all,
        memberType: version === 0 ? -1 : 1,
      });
      expect(first!.targetAssignment.topicPartitions[0]?.partitions).toHaveLength(1);
      expect(second).toMatchObject({ assignment: { topicPartitions: [] }, memberType: version === 0 ? -1 : 0 });
    }
  });

  test("a classic group, and none, with Kafka's words; and the other way round in DescribeGroups", async () => {
    const { client, coordinator } = world();
    const b = new ClassicConsumer(coordinator, ["t"]);
    for (let round = 0; round < 3; round++) {
      b.beat();
      coordinator.advance(0);
    }
    const { groups } = await client.call(69, ConsumerGroupDescribe, 1, { groupIds: ["g", "none"] });
    expect(groups.map(({ errorCode, errorMessage }) => [errorCode, errorMessage])).toEqual([
      [Errors.GROUP_ID_NOT_FOUND, "Group g is not a consumer group."],
      [Errors.GROUP_ID_NOT_FOUND, "Group none not found."],
    ]);
    new Consumer(coordinator, "a", { names: ["t"] }).beat();
    const described = await client.call(15, DescribeGroups, 6, { groups: ["g"] });
    expect(described.groups[0]).toMatchObject({
      errorCode: Errors.GROUP_ID_NOT_FOUND,
      errorMessage: "Group g is not a classic group.",
      groupState: "Dead",
    });
  });

  test("operations when asked", async () => {
    const { client, coordinator } = world();
    new Consumer(coordinator, "a", { names: ["t"] }).beat();
    const { groups } = await client.call(69, ConsumerGroupDescribe, 1, {
      groupIds: ["g"],
      includeAuthorizedOperations: true,
    });
    expect(groups[0]?.authorizedOperations).toBeGreaterThan(0);
  });
});

test("ListGroups shows a group's type and state, and filters by both", async () => {
  const { client, coordinator } = world();
  new Consumer(coordinator, "a", { names: ["t"] }).beat();
  const list = async (statesFilter: string[], typesFilter: string[]) =>
    (await client.call(16, ListGroups, 5, { statesFilter, typesFilter })).groups;
  const shown = [{ groupId: "g", protocolType: "consumer", groupState: "Stable", groupType: "consumer" }];
  expect(await list([], [])).toEqual(shown);
  expect(await list(["STABLE"], ["Consumer"])).toEqual(shown);
  expect(await list([], ["classic"])).toEqual([]);
  expect(await list(["assigning"], [])).toEqual([]);
});
