/**
 * Classic groups and committed offsets on the wire: behaviours #39 to #45 and the "Coordinators" and "Groups" rows of §6.
 */
import {
  commit,
  coordinated,
  fetchOffsets,
  heartbeat,
  join,
  joinBody,
  stableMember,
  subscription,
  sync,
} from "../support/GroupRequests.ts";
import { connected, createdTopic } from "../support/Requests.ts";
import { assert, type Context, equal, type Suite } from "../support/Suite.ts";
import { at, listAt, matches, numberAt, textAt } from "../support/Tree.ts";
import type { Wire } from "../support/Wire.ts";

const group = (context: Context): string => context.topic("group");

const opened = async (context: Context): Promise<{ wire: Wire; name: string }> => {
  const wire = await connected(context);
  const name = group(context);
  await coordinated(wire, name);
  return { wire, name };
};

const stateOf = async (wire: Wire, name: string): Promise<string> =>
  textAt(await wire.call("DescribeGroups", 5, { groups: [name] }), "groups.0.groupState");

export const suite: Suite = {
  name: "groups",
  tests: [
    {
      name: "FindCoordinator answers this broker, in every version",
      async run(context) {
        const { wire, name } = await opened(context);
        const { host, port } = context.broker;
        for (const version of [0, 1, 3]) {
          const found = await wire.call("FindCoordinator", version, {
            key: name,
            ...(version > 0 ? { keyType: 0 } : {}),
          });
          matches(found, { errorCode: 0, host, port, ...(version > 0 ? { errorMessage: "NONE" } : {}) }, `v${version}`);
        }
        const several = await wire.call("FindCoordinator", 5, { keyType: 0, coordinatorKeys: [name, ""] });
        for (const [index, key] of [name, ""].entries()) {
          matches(at(several, `coordinators.${index}`), { key, errorCode: 0, errorMessage: "", host, port }, key);
        }
      },
    },
    {
      name: "#39 the first JoinGroup without an id gets one: v4+ 79, v0-3 at once, static members at once",
      async run(context) {
        const { wire, name } = await opened(context);
        const asked = await join(wire, name);
        matches(asked, { errorCode: 79, generationId: -1, protocolName: null, members: [] }, "v9");
        const memberId = textAt(asked, "memberId");
        assert(/^.+-[A-Za-z0-9_-]{22,36}$/.test(memberId), `the id ${memberId}`);
        matches(await join(wire, name, { memberId }), { errorCode: 0, memberId, leader: memberId }, "with it");
        equal(numberAt(await join(wire, name, { memberId: "nobody" }), "errorCode"), 25, "an unknown id");
        const old = group(context);
        await coordinated(wire, old);
        matches(await join(wire, old, { version: 3 }), { errorCode: 0, generationId: 1 }, "v3");
        const fixed = group(context);
        await coordinated(wire, fixed);
        const answer = await join(wire, fixed, { instance: "one" });
        equal(numberAt(answer, "errorCode"), 0, "static");
        assert(textAt(answer, "memberId").startsWith("one-"), textAt(answer, "memberId"));
      },
    },
    {
      name: "#40 JoinGroup session timeouts, empty group, no protocols, another type",
      async run(context) {
        const { wire, name } = await opened(context);
        for (const session of [5999, 1_800_001, 0]) {
          equal(numberAt(await join(wire, name, { session }), "errorCode"), 26, `session ${session}`);
        }
        equal(numberAt(await join(wire, ""), "errorCode"), 24, "no group id");
        equal(numberAt(await join(wire, name, { protocols: [] }), "errorCode"), 23, "no protocols");
        equal(numberAt(await join(wire, name, { type: "" }), "errorCode"), 23, "no type");
        await stableMember(wire, name);
        equal(numberAt(await join(wire, name, { type: "connect" }), "errorCode"), 23, "another type");
        equal(numberAt(await join(wire, name, { protocols: ["other"] }), "errorCode"), 23, "another protocol");
        matches(
          await join(wire, name, { protocols: ["other"], version: 6 }),
          { errorCode: 23, protocolName: "", memberId: "" },
          "v6",
        );
      },
    },
    {
      name: "#41 OffsetCommit: who may commit, check by check",
      async run(context) {
        const { wire, name: topic } = await createdTopic(context);
        const name = group(context);
        await coordinated(wire, name);
        equal(await commit(wire, name, topic, 1, { generation: 3, memberId: "m" }), 69, "no group, v9");
        equal(await commit(wire, name, topic, 1, { generation: 3, memberId: "m", version: 8 }), 22, "no group, v8");
        equal(await commit(wire, name, topic, 1), 0, "a simple group");
        equal(await commit(wire, "", topic, 1), 0, "the empty group id");
        const { memberId, generation } = await stableMember(wire, name);
        equal(await commit(wire, name, topic, 2), 25, "not a member");
        equal(await commit(wire, name, topic, 2, { memberId: "other", generation }), 25, "another member");
        equal(await commit(wire, name, topic, 2, { memberId, generation: generation + 1 }), 22, "another generation");
        equal(await commit(wire, name, topic, 2, { memberId, generation }), 0, "the member");
        equal(await commit(wire, name, "no-such-topic", 2, { memberId, generation }), 3, "unknown topic");
        equal(await commit(wire, name, topic, 2, { memberId, generation, partition: 9 }), 3, "unknown partition");
        const again = await join(wire, name, { memberId });
        const next = numberAt(again, "generationId");
        equal(await commit(wire, name, topic, 3, { memberId, generation: next }), 27, "between join and sync");
      },
    },
    {
      name: "#42 heartbeats and syncs through a rebalance of two members",
      async run(context) {
        const { wire, name } = await opened(context);
        const first = await stableMember(wire, name);
        equal(await heartbeat(wire, name, first), 0, "stable");
        const other = await connected(context);
        const id = textAt(await join(other, name), "memberId");
        const waiting = await other.send("JoinGroup", 9, joinBody(name, { memberId: id }));
        for (let attempt = 0; attempt < 100 && (await stateOf(wire, name)) !== "PreparingRebalance"; attempt++);
        equal(await heartbeat(wire, name, first), 27, "preparing");
        equal(numberAt(await sync(wire, name, first), "errorCode"), 27, "sync while preparing");
        const rejoined = await join(wire, name, { memberId: first.memberId });
        matches(rejoined, { errorCode: 0, generationId: 2, leader: first.memberId }, "the leader joins again");
        equal(listAt(rejoined, "members").length, 2, "the leader sees both");
        matches(await other.receive(waiting), { errorCode: 0, generationId: 2, members: [] }, "the follower");
        const leader = { memberId: first.memberId, generation: 2 };
        const follower = { memberId: id, generation: 2 };
        equal(await heartbeat(wire, name, leader), 0, "completing");
        equal(await heartbeat(wire, name, first), 22, "the generation before");
        const syncing = await other.send("SyncGroup", 5, {
          groupId: name,
          generationId: 2,
          memberId: id,
          protocolType: "consumer",
          protocolName: "range",
          assignments: [],
        });
        const assignments = [
          { memberId: first.memberId, assignment: Buffer.from("A") },
          { memberId: id, assignment: Buffer.from("B") },
        ];
        equal(
          Buffer.from(at(await sync(wire, name, leader, assignments), "assignment") as Uint8Array).toString(),
          "A",
          "A",
        );
        equal(Buffer.from(at(await other.receive(syncing), "assignment") as Uint8Array).toString(), "B", "B");
        equal(Buffer.from(at(await sync(wire, name, follower), "assignment") as Uint8Array).toString(), "B", "again");
        equal(await heartbeat(wire, name, { memberId: "nobody", generation: 2 }), 25, "nobody");
        equal(await heartbeat(wire, "", leader), 24, "no group id");
        equal(await heartbeat(wire, `${name}-no`, leader), 25, "no such group");
        const unnamed = await wire.call("SyncGroup", 5, {
          groupId: name,
          generationId: 2,
          memberId: id,
          assignments: [],
        });
        equal(numberAt(unnamed, "errorCode"), 23, "v5 without type and name");
        matches(
          await join(wire, name, { memberId: id }),
          { errorCode: 0, generationId: 2 },
          "a follower joins unchanged",
        );
      },
    },
    {
      name: "#42 a static member comes back: same generation, same assignment, the old id fenced",
      async run(context) {
        const { wire, name } = await opened(context);
        const before = await stableMember(wire, name, { instance: "one" });
        const back = await join(wire, name, { instance: "one" });
        matches(back, { errorCode: 0, generationId: 1, skipAssignment: true }, "back, v9");
        const memberId = textAt(back, "memberId");
        assert(memberId !== before.memberId, "a new id");
        equal(textAt(back, "leader"), memberId, "leads under its new id");
        const synced = await sync(wire, name, { memberId, generation: 1 }, [], "one");
        equal(Buffer.from(at(synced, "assignment") as Uint8Array).toString(), "mine", "assignment");
        equal(await heartbeat(wire, name, before, "one"), 82, "the old id");
        equal(
          numberAt(await join(wire, name, { instance: "one", memberId: before.memberId }), "errorCode"),
          82,
          "joins",
        );
        const changed = await join(wire, name, { instance: "one", memberId, metadata: subscription("u") });
        matches(changed, { errorCode: 0, generationId: 2 }, "with another subscription");
      },
    },
    {
      name: "LeaveGroup: versions, unknown members, static members by instance",
      async run(context) {
        const { wire, name } = await opened(context);
        const { memberId } = await stableMember(wire, name);
        const gone = await wire.call("LeaveGroup", 5, {
          groupId: name,
          members: [{ memberId: "nobody" }, { memberId }],
        });
        matches(
          gone,
          {
            errorCode: 0,
            members: [
              { memberId: "nobody", errorCode: 25 },
              { memberId, errorCode: 0 },
            ],
          },
          "v5",
        );
        equal(await stateOf(wire, name), "Empty", "state");
        const old = await wire.call("LeaveGroup", 2, { groupId: name, memberId: "nobody" });
        equal(numberAt(old, "errorCode"), 25, "v2");
        const unknown = await wire.call("LeaveGroup", 5, { groupId: `${name}-no`, members: [{ memberId: "m" }] });
        matches(unknown, { errorCode: 0, members: [{ memberId: "m", errorCode: 25 }] }, "no such group");
        const fixed = group(context);
        await stableMember(wire, fixed, { instance: "one" });
        const removed = await wire.call("LeaveGroup", 5, {
          groupId: fixed,
          members: [{ memberId: "", groupInstanceId: "one" }],
        });
        matches(removed, { members: [{ memberId: "", groupInstanceId: "one", errorCode: 0 }] }, "by instance");
      },
    },
    {
      name: "#43 commits round trip: metadata, null, too long, leader epoch, any offset",
      async run(context) {
        const { wire, name: topic } = await createdTopic(context, 2);
        const name = group(context);
        await coordinated(wire, name);
        equal(await commit(wire, name, topic, 7, { metadata: "x".repeat(4096) }), 0, "4096");
        equal(await commit(wire, name, topic, 8, { metadata: "x".repeat(4097) }), 12, "4097");
        matches(
          at(await fetchOffsets(wire, name, topic), "groups.0.topics.0.partitions.0"),
          { committedOffset: 7, committedLeaderEpoch: 0, metadata: "x".repeat(4096), errorCode: 0 },
          "fetched",
        );
        equal(await commit(wire, name, topic, -5, { metadata: null, partition: 1 }), 0, "null metadata");
        matches(
          at(await fetchOffsets(wire, name, topic, [1]), "groups.0.topics.0.partitions.0"),
          { committedOffset: -5, metadata: "", errorCode: 0 },
          "null is empty",
        );
      },
    },
    {
      name: "#44 OffsetFetch: nothing there is -1; all topics; many groups; v1 to v7",
      async run(context) {
        const { wire, name: topic } = await createdTopic(context, 2);
        const [name, empty] = [group(context), group(context)];
        await coordinated(wire, name);
        await coordinated(wire, empty);
        const nothing = { committedOffset: -1, committedLeaderEpoch: -1, metadata: "", errorCode: 0 };
        matches(at(await fetchOffsets(wire, empty, topic), "groups.0.topics.0.partitions.0"), nothing, "no group");
        equal(await commit(wire, name, topic, 4), 0, "commit");
        matches(
          at(await fetchOffsets(wire, name, topic, [1, 9]), "groups.0.topics.0"),
          {
            partitions: [
              { partitionIndex: 1, ...nothing },
              { partitionIndex: 9, ...nothing },
            ],
          },
          "no commit, no partition",
        );
        matches(at(await fetchOffsets(wire, name, "nope"), "groups.0.topics.0.partitions.0"), nothing, "no topic");
        const all = await wire.call("OffsetFetch", 8, {
          groups: [
            { groupId: name, topics: null },
            { groupId: empty, topics: null },
          ],
          requireStable: true,
        });
        equal(listAt(all, "groups").length, 2, "groups");
        const [mine, other] = textAt(all, "groups.0.groupId") === name ? [0, 1] : [1, 0];
        matches(
          at(all, `groups.${mine}`),
          { errorCode: 0, topics: [{ name: topic, partitions: [{ partitionIndex: 0, committedOffset: 4 }] }] },
          "all of a group",
        );
        equal(listAt(all, `groups.${other}.topics`).length, 0, "all of an empty one");
        for (const version of [1, 2, 5, 7]) {
          const one = await wire.call("OffsetFetch", version, {
            groupId: name,
            topics: [{ name: topic, partitionIndexes: [0] }],
            ...(version >= 7 ? { requireStable: true } : {}),
          });
          matches(at(one, "topics.0.partitions.0"), { committedOffset: 4, errorCode: 0 }, `v${version}`);
        }
        matches(
          await wire.call("OffsetFetch", 2, { groupId: name, topics: null }),
          { errorCode: 0, topics: [{ name: topic }] },
          "v2, all",
        );
      },
    },
    {
      name: "#44 OffsetCommit and OffsetFetch v10 name topics by id",
      async run(context) {
        const { wire, id } = await createdTopic(context);
        const name = group(context);
        await coordinated(wire, name);
        const unknown = "AAAAAAAAAAAAAAAAAAAAcQ";
        const committed = await wire.call("OffsetCommit", 10, {
          groupId: name,
          generationIdOrMemberEpoch: -1,
          memberId: "",
          topics: [unknown, id].map((topicId) => ({
            topicId,
            partitions: [{ partitionIndex: 0, committedOffset: 3, committedMetadata: "" }],
          })),
        });
        const errors = listAt(committed, "topics").map((topic) => [
          textAt(topic, "topicId"),
          numberAt(topic, "partitions.0.errorCode"),
        ]);
        equal(
          new Map(errors as [string, number][]),
          new Map([
            [unknown, 100],
            [id, 0],
          ]),
          "errors by id",
        );
        const fetched = await wire.call("OffsetFetch", 10, {
          groups: [{ groupId: name, topics: [{ topicId: id, partitionIndexes: [0] }] }],
          requireStable: false,
        });
        matches(at(fetched, "groups.0.topics.0"), { topicId: id, partitions: [{ committedOffset: 3 }] }, "by id");
        const none = await wire.call("OffsetFetch", 10, {
          groups: [{ groupId: name, topics: [{ topicId: unknown, partitionIndexes: [0] }] }],
          requireStable: false,
        });
        matches(at(none, "groups.0.topics.0.partitions.0"), { committedOffset: -1, errorCode: 100 }, "unknown id");
      },
    },
    {
      name: "#45 DescribeGroups: a stable group, an unknown one below and from v6",
      async run(context) {
        const { wire, name } = await opened(context);
        const { memberId } = await stableMember(wire, name, { instance: "one" });
        matches(
          at(await wire.call("DescribeGroups", 5, { groups: [name], includeAuthorizedOperations: true }), "groups.0"),
          {
            errorCode: 0,
            groupState: "Stable",
            protocolType: "consumer",
            protocolData: "range",
            members: [{ memberId, groupInstanceId: "one", clientHost: "/127.0.0.1" }],
            authorizedOperations: 3400,
          },
          "stable",
        );
        const none = `${name}-no`;
        matches(
          at(await wire.call("DescribeGroups", 5, { groups: [none] }), "groups.0"),
          {
            errorCode: 0,
            groupState: "Dead",
            authorizedOperations: -2147483648,
          },
          "v5",
        );
        matches(
          at(await wire.call("DescribeGroups", 6, { groups: [none] }), "groups.0"),
          {
            errorCode: 69,
            errorMessage: `Group ${none} not found.`,
            groupState: "Dead",
          },
          "v6",
        );
      },
    },
    {
      name: "#45 ListGroups filters by state and type, whatever their case",
      async run(context) {
        const { wire, name } = await opened(context);
        await stableMember(wire, name);
        const listed = async (states: string[], types: string[]): Promise<boolean> => {
          const answer = await wire.call("ListGroups", 5, { statesFilter: states, typesFilter: types });
          equal(numberAt(answer, "errorCode"), 0, "error");
          return listAt(answer, "groups").some((each) => textAt(each, "groupId") === name);
        };
        equal(await listed([], []), true, "no filter");
        equal(await listed(["sTaBlE"], ["CLASSIC"]), true, "case");
        equal(await listed(["Empty"], []), false, "another state");
        equal(await listed([], ["consumer"]), false, "another type");
        equal(await listed(["Foo"], []), false, "no state");
      },
    },
    {
      name: "DeleteGroups and OffsetDelete: members, subscriptions, unknown ones",
      async run(context) {
        const { wire, name: topic } = await createdTopic(context);
        const name = group(context);
        const { memberId, generation } = await stableMember(wire, name, { metadata: subscription(topic) });
        equal(await commit(wire, name, topic, 5, { memberId, generation }), 0, "commit");
        const remove = async (...names: string[]) => {
          const answer = await wire.call("DeleteGroups", 2, { groupsNames: names });
          return new Map(
            listAt(answer, "results").map((each) => [textAt(each, "groupId"), numberAt(each, "errorCode")]),
          );
        };
        equal(
          await remove(name, `${name}-no`),
          new Map([
            [name, 68],
            [`${name}-no`, 69],
          ]),
          "with members, unknown",
        );
        const forget = (names: string[]) =>
          wire.call("OffsetDelete", 0, {
            groupId: name,
            topics: names.map((each) => ({ name: each, partitions: [{ partitionIndex: 0 }] })),
          });
        const refused = await forget([topic, "nope"]);
        const errors = new Map(
          listAt(refused, "topics").map((each) => [textAt(each, "name"), numberAt(each, "partitions.0.errorCode")]),
        );
        equal(
          errors,
          new Map([
            [topic, 86],
            ["nope", 3],
          ]),
          "subscribed, unknown",
        );
        await wire.call("LeaveGroup", 5, { groupId: name, members: [{ memberId }] });
        matches(await forget([topic]), { errorCode: 0, topics: [{ partitions: [{ errorCode: 0 }] }] }, "left");
        matches(
          at(await fetchOffsets(wire, name, topic), "groups.0.topics.0.partitions.0"),
          { committedOffset: -1, errorCode: 0 },
          "forgotten",
        );
        equal(await remove(name), new Map([[name, 0]]), "empty");
        equal(numberAt(await forget([topic]), "errorCode"), 69, "no such group");
      },
    },
    {
      name: "a deleted topic takes its offsets along; a new one of its name has none",
      async run(context) {
        const { wire, name: topic } = await createdTopic(context);
        const name = group(context);
        await coordinated(wire, name);
        equal(await commit(wire, name, topic, 5), 0, "commit");
        await wire.call("DeleteTopics", 5, { topicNames: [topic], timeoutMs: 5000 });
        for (let attempt = 0; attempt < 100; attempt++) {
          const all = await fetchOffsets(wire, name, null);
          if (listAt(all, "groups.0.topics").length === 0) return;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        throw new Error("the offsets are still there after 5 s");
      },
    },
  ],
};
