/**
 * KIP-848 groups: what Kafka answers on the wire (behaviours #45, #47–49 and their §6 rows), and clients people have with
 * `group.protocol=consumer`: Kafka's console and verifiable consumers, @platformatic/kafka; members of both protocols in
 * one group; members and the broker killed while records flow.
 */
import { existsSync, readdirSync } from "node:fs";
import { join as path } from "node:path";
import type { Broker } from "../support/Brokers.ts";
import { javaScript, javaTool, kcatSpread, numberedLines } from "../support/Clients.ts";
import type { Fields } from "../support/Definitions.ts";
import {
  heartbeat as classicHeartbeat,
  join as classicJoin,
  coordinated,
  fetchOffsets,
  sync,
} from "../support/GroupRequests.ts";
import { sleep, waitFor } from "../support/Process.ts";
import { connected, createTopic } from "../support/Requests.ts";
import { assert, type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";
import { at, type Expected, like, listAt, matches, numberAt, textAt } from "../support/Tree.ts";
import { VerifiableConsumer } from "../support/VerifiableConsumer.ts";
import { Wire } from "../support/Wire.ts";

const tools = "org.apache.kafka.tools";

/** Members notice what changes within half a second, and who is gone within six: Kafka's floors lie far above. */
const quick = {
  "group.consumer.min.heartbeat.interval.ms": "100",
  "group.consumer.heartbeat.interval.ms": "500",
  "group.consumer.min.session.timeout.ms": "1000",
  "group.consumer.session.timeout.ms": "6000",
  "group.consumer.assignment.interval.ms": "0",
};

interface Beat {
  readonly memberId?: string;
  readonly epoch?: number;
  readonly instance?: string | null;
  readonly names?: readonly string[] | null;
  readonly regex?: string | null;
  readonly owned?: readonly number[] | null;
  readonly rebalanceTimeoutMs?: number;
  readonly assignor?: string | null;
  readonly version?: number;
}

/** A group of one topic with four partitions, and its heartbeats. */
class Group {
  constructor(
    readonly wire: Wire,
    readonly group: string,
    readonly topic: string,
    readonly topicId: string,
  ) {}

  beat(how: Beat = {}): Promise<Fields> {
    const version = how.version ?? 1;
    return this.wire.call("ConsumerGroupHeartbeat", version, {
      groupId: this.group,
      memberId: how.memberId ?? "m",
      memberEpoch: how.epoch ?? 0,
      instanceId: how.instance ?? null,
      rackId: null,
      rebalanceTimeoutMs: how.rebalanceTimeoutMs ?? -1,
      subscribedTopicNames: how.names === undefined ? null : how.names === null ? null : [...how.names],
      ...(version >= 1 ? { subscribedTopicRegex: how.regex ?? null } : {}),
      serverAssignor: how.assignor ?? null,
      topicPartitions:
        how.owned === undefined || how.owned === null
          ? null
          : how.owned.length === 0
            ? []
            : [{ topicId: this.topicId, partitions: [...how.owned] }],
    });
  }

  join(how: Beat = {}): Promise<Fields> {
    const names = how.regex === undefined ? [this.topic] : null;
    return this.beat({ rebalanceTimeoutMs: 30_000, names, owned: [], ...how });
  }

  async expect(how: Beat, expected: { readonly [name: string]: Expected }, what: string): Promise<Fields> {
    const answer = await this.beat(how);
    matches(answer, expected, what);
    return answer;
  }

  async describe(version = 1): Promise<Fields> {
    return this.wire.call("ConsumerGroupDescribe", version, {
      groupIds: [this.group],
      includeAuthorizedOperations: false,
    });
  }
}

const opened = async (context: Context): Promise<Group> => {
  const wire = await connected(context);
  const { name, id } = await createTopic(wire, context.topic(), 4);
  const group = context.topic("group");
  await coordinated(wire, group);
  return new Group(wire, group, name, id);
};

/** Partitions an answer assigns, in order; undefined when it says nothing. */
const given = (answer: Fields): number[] | undefined => {
  if (at(answer, "assignment") === null) return undefined;
  return listAt(answer, "assignment.topicPartitions")
    .flatMap((each) => listAt(each, "partitions") as number[])
    .sort((a, b) => a - b);
};

const groupTool = async (address: string, args: readonly string[]): Promise<string> =>
  (await javaTool(`${tools}.consumer.group.ConsumerGroupCommand`, ["--bootstrap-server", address, ...args])).stdout;

/** Whether the members share the four partitions, each having some. */
const share = (...members: VerifiableConsumer[]): boolean =>
  members.every(({ assigned }) => assigned.size > 0) &&
  members.reduce((sum, { assigned }) => sum + assigned.size, 0) === 4 &&
  new Set(members.flatMap(({ assigned }) => [...assigned])).size === 4;

/** Produces `v0 … v(total-1)` over some seconds; a broker that is down is waited for. */
const flow = async (address: string, topic: string, total: number): Promise<void> => {
  for (let sent = 0; sent < total; sent += 1000) {
    await kcatSpread(address, topic, numberedLines(1000, sent), ["-E"]);
    await sleep(400);
  }
};

/** A group of verifiable consumers, and every one that was ever in it. */
interface Consumers {
  readonly group: string;
  readonly protocol: "classic" | "consumer";
  readonly all: VerifiableConsumer[];
  readonly alive: VerifiableConsumer[];
}

/** What its members know to be committed, by partition. */
const acknowledged = ({ all }: Consumers): number[] =>
  [0, 1, 2, 3].map((partition) => Math.max(0, ...all.map(({ committed }) => committed.get(partition) ?? 0)));

const committedOf = async (broker: Broker, group: string, topic: string): Promise<number[]> => {
  const wire = await Wire.open(broker);
  try {
    await coordinated(wire, group);
    const fetched = await fetchOffsets(wire, group, topic, [0, 1, 2, 3]);
    return listAt(fetched, "groups.0.topics.0.partitions").map((each) => numberAt(each, "committedOffset"));
  } finally {
    wire.close();
  }
};

/** Both protocols at once: members join, the broker dies in the rebalance that this begins, members leave. */
const killedWhileRebalancing = (rounds: number, full: boolean): ConformanceTest => ({
  name: `kill -9 while members of either protocol join and commit, ${rounds} times: no acked commit goes back, every record comes`,
  own: true,
  full,
  timeoutMs: full ? 600_000 : 180_000,
  async run(context) {
    const broker = await context.ownBroker(quick);
    const wire = await Wire.open(broker);
    const { name } = await createTopic(wire, context.topic(), 4);
    wire.close();
    const total = 4000 * (rounds + 1);
    const groups = (["classic", "consumer"] as const).map((protocol): Consumers => {
      return { group: context.topic(protocol), protocol, all: [], alive: [] };
    });
    const join = async ({ group, protocol, all, alive }: Consumers): Promise<void> => {
      const member = await VerifiableConsumer.start(context, broker.address, group, name, protocol);
      all.push(member);
      alive.push(member);
    };
    const producing = flow(broker.address, name, total);
    for (const each of groups) await join(each);
    const committing = (): boolean => groups.every((each) => acknowledged(each).some((offset) => offset > 0));
    await waitFor("both groups commit", 40_000, committing);
    for (let round = 0; round < rounds; round++) {
      for (const each of groups) await join(each);
      const newcomers = groups.map(({ alive }) => alive.at(-1)!);
      // From the first sign of the rebalance on it dies a little later each time.
      await waitFor("a newcomer is given something", 40_000, () => newcomers.some(({ assigned }) => assigned.size > 0));
      await sleep(150 * round);
      await broker.kill();
      await broker.start();
      for (const each of groups) {
        const before = acknowledged(each);
        const after = await committedOf(broker, each.group, name);
        for (const [partition, offset] of before.entries()) {
          const now = after[partition]!;
          assert(now >= offset, `${each.protocol}, partition ${partition}: ${now} after ${offset} was acknowledged`);
        }
        await each.alive.shift()!.end("SIGTERM");
      }
    }
    await producing;
    const seen = ({ all }: Consumers): number => new Set(all.flatMap(({ values }) => values)).size;
    await waitFor(`all ${total} records in both groups`, 60_000, () => groups.every((each) => seen(each) >= total));
    equal(groups.map(seen), [total, total], "different records");
    const read = groups.map(({ all }) => all.reduce((sum, { values }) => sum + values.length, 0));
    context.note(`${read.map((count) => count - total).join(" and ")} repeated`);
  },
});

export const suite: Suite = {
  name: "consumer groups",
  tests: [
    {
      name: "#47 joining and leaving, in both versions",
      async run(context) {
        const group = await opened(context);
        matches(
          await group.join(),
          { errorCode: 0, errorMessage: null, memberId: "m", memberEpoch: 2, heartbeatIntervalMs: 5000 },
          "with names",
        );
        await group.expect({ epoch: 2 }, { errorCode: 0, memberEpoch: 2, assignment: null }, "a keep-alive");
        await group.expect(
          { epoch: -1 },
          { errorCode: 0, memberId: "m", memberEpoch: -1, heartbeatIntervalMs: 0, assignment: null },
          "leaving",
        );
        const other = await opened(context);
        matches(await other.join({ names: [] }), { errorCode: 0, memberEpoch: 1 }, "without names");
        const v0 = await opened(context);
        matches(
          await v0.join({ memberId: "", version: 0 }),
          { errorCode: 0, memberId: like(/^[A-Za-z0-9_-]{22}$/), memberEpoch: 2 },
          "v0 makes the id",
        );
      },
    },
    {
      name: "#47 what a heartbeat may not say",
      async run(context) {
        const group = await opened(context);
        const invalid = (errorMessage: string) => ({ errorCode: 42, errorMessage, memberId: null, memberEpoch: 0 });
        const joins: Array<[Beat, string]> = [
          [{ memberId: "" }, "MemberId can't be empty."],
          [{ rebalanceTimeoutMs: -1 }, "RebalanceTimeoutMs must be provided in first request."],
          [{ owned: null }, "TopicPartitions must be empty when (re-)joining."],
          [{ owned: [1] }, "TopicPartitions must be empty when (re-)joining."],
          [{ names: null }, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."],
          [{ instance: "" }, "InstanceId can't be empty."],
          [{ epoch: -3 }, "MemberEpoch is invalid."],
          [{ epoch: -2 }, "InstanceId can't be null."],
        ];
        for (const [how, message] of joins) matches(await group.join(how), invalid(message), message);
        matches(
          await group.join({ assignor: "nope" }),
          {
            errorCode: 112,
            errorMessage: "ServerAssignor nope is not supported. Supported assignors: uniform, range.",
          },
          "assignor",
        );
        matches(
          await group.join({ regex: "[" }),
          {
            errorCode: 128,
            errorMessage: "SubscribedTopicRegex `[` is not a valid regular expression: missing closing ].",
          },
          "regex",
        );
        await group.expect(
          { epoch: 1 },
          { errorCode: 69, errorMessage: `Consumer group ${group.group} not found.` },
          "1",
        );
        await group.expect({ epoch: -1 }, { errorCode: 69, errorMessage: `Group ${group.group} not found.` }, "-1");
        await group.join();
        const unknown = `Member x is not a member of group ${group.group}.`;
        await group.expect({ memberId: "x", epoch: 1 }, { errorCode: 25, errorMessage: unknown }, "unknown member");
        await group.expect(
          { epoch: 3 },
          {
            errorCode: 110,
            errorMessage:
              "The consumer group member has a greater member epoch (3) than the one known by the group coordinator (2). The member must abandon all its partitions and rejoin.",
          },
          "epoch too high",
        );
      },
    },
    {
      name: "#48 #49 a partition is given on when its owner confirms; a lost answer, a keep-alive",
      own: true,
      async run(context) {
        const broker = await context.ownBroker(quick);
        const wire = await Wire.open(broker);
        context.cleanup(() => wire.close());
        const { name, id } = await createTopic(wire, context.topic(), 4);
        const group = new Group(wire, context.topic("group"), name, id);
        await coordinated(wire, group.group);
        equal(given(await group.join({ memberId: "a" })), [0, 1, 2, 3], "alone");
        equal(given(await group.join({ memberId: "b" })), [], "nothing is free");
        const told = await group.beat({ memberId: "a", epoch: 2 });
        const kept = given(told) ?? [];
        equal(kept.length, 2, "what a keeps");
        matches(told, { memberEpoch: 2 }, "a stays in its epoch");
        const b = { memberId: "b", epoch: 3 };
        matches(await group.beat({ memberId: "a", epoch: 2 }), { memberEpoch: 2, assignment: null }, "a keep-alive");
        matches(await group.beat(b), { assignment: null }, "still not free");
        matches(await group.beat({ memberId: "a", epoch: 2, owned: [0, 1, 2, 3] }), { memberEpoch: 2 }, "not revoked");
        matches(await group.beat({ memberId: "a", epoch: 2, owned: kept }), { memberEpoch: 3 }, "revoked");
        matches(await group.beat({ memberId: "a", epoch: 2, owned: kept }), { errorCode: 0, memberEpoch: 3 }, "lost");
        matches(
          await group.beat({ memberId: "a", epoch: 2, owned: [0, 1, 2, 3] }),
          {
            errorCode: 110,
            errorMessage:
              "The consumer group member has a smaller member epoch (2) than the one known by the group coordinator (3). The member must abandon all its partitions and rejoin.",
          },
          "the previous epoch with more than it has",
        );
        const rest = [0, 1, 2, 3].filter((each) => !kept.includes(each));
        equal(given(await group.beat(b)), rest, "b gets the rest");
        matches(await group.describe(), { groups: [{ groupState: "Stable", groupEpoch: 3 }] }, "stable");
      },
    },
    {
      name: "static members: taken over after -2, not before",
      async run(context) {
        const group = await opened(context);
        await group.join({ memberId: "a", instance: "i" });
        matches(
          await group.join({ memberId: "b", instance: "i" }),
          {
            errorCode: 111,
            errorMessage:
              "Static member b with instance id i cannot join the group because the instance id is owned by a member.",
          },
          "in use",
        );
        await group.expect(
          { memberId: "b", epoch: 2, instance: "i" },
          { errorCode: 82, errorMessage: "Static member b with instance id i was fenced by member a." },
          "fenced",
        );
        await group.expect(
          { memberId: "b", epoch: 2, instance: "j" },
          { errorCode: 25, errorMessage: "Instance id j is unknown." },
          "unknown instance",
        );
        await group.expect(
          { memberId: "a", epoch: -2, instance: "i" },
          { errorCode: 0, memberId: "a", memberEpoch: -2, assignment: null },
          "leaves for now",
        );
        const back = await group.join({ memberId: "b", instance: "i" });
        matches(back, { errorCode: 0, memberId: "b", memberEpoch: 2 }, "back in the same epoch");
        equal(given(back), [0, 1, 2, 3], "with everything");
      },
    },
    {
      name: "a regular expression is resolved by the broker, and sees new topics",
      timeoutMs: 60_000,
      async run(context) {
        const group = await opened(context);
        const prefix = group.topic.slice(0, -1);
        matches(await group.join({ regex: `${prefix}.*` }), { errorCode: 0, memberEpoch: 1 }, "joined");
        let epoch = 1;
        let partitions: number[] | undefined;
        await waitFor("an assignment", 10_000, async () => {
          const answer = await group.beat({ epoch });
          epoch = numberAt(answer, "memberEpoch");
          partitions = given(answer) ?? partitions;
          return (partitions?.length ?? 0) >= 4;
        });
        matches(
          await group.describe(),
          { groups: [{ members: [{ subscribedTopicRegex: `${prefix}.*`, subscribedTopicNames: [] }] }] },
          "described",
        );
      },
    },
    {
      name: "#45 ConsumerGroupDescribe and DescribeGroups, each of the other's group; ListGroups' types",
      async run(context) {
        const group = await opened(context);
        await group.join({ instance: "i" });
        for (const version of [0, 1]) {
          const answer = await group.describe(version);
          matches(
            answer,
            {
              groups: [
                {
                  errorCode: 0,
                  errorMessage: null,
                  groupState: "Stable",
                  groupEpoch: 2,
                  assignmentEpoch: 2,
                  assignorName: "uniform",
                  authorizedOperations: -2147483648,
                  members: [
                    {
                      memberId: "m",
                      instanceId: "i",
                      rackId: null,
                      memberEpoch: 2,
                      clientId: "wire",
                      clientHost: "/127.0.0.1",
                      subscribedTopicNames: [group.topic],
                      subscribedTopicRegex: "",
                      assignment: {
                        topicPartitions: [{ topicId: group.topicId, topicName: group.topic }],
                      },
                      targetAssignment: {
                        topicPartitions: [{ topicId: group.topicId, topicName: group.topic }],
                      },
                      ...(version >= 1 ? { memberType: 1 } : {}),
                    },
                  ],
                },
              ],
            },
            `v${version}`,
          );
        }
        const text = `Group ${group.group} is not a classic group.`;
        const classic = await group.wire.call("DescribeGroups", 6, { groups: [group.group] });
        matches(classic, { groups: [{ errorCode: 69, errorMessage: text, groupState: "Dead" }] }, "DescribeGroups");
        const listed = await group.wire.call("ListGroups", 5, { statesFilter: ["stable"], typesFilter: ["Consumer"] });
        const mine = listAt(listed, "groups").find((each) => at(each, "groupId") === group.group);
        matches(mine, { protocolType: "consumer", groupState: "Stable", groupType: "consumer" }, "listed");
        const other = context.topic("classic");
        await coordinated(group.wire, other);
        const joined = await classicJoin(group.wire, other, { version: 3 });
        const member = { memberId: textAt(joined, "memberId"), generation: numberAt(joined, "generationId") };
        await sync(group.wire, other, member, []);
        const described = await group.wire.call("ConsumerGroupDescribe", 1, {
          groupIds: [other, "none"],
          includeAuthorizedOperations: false,
        });
        const messages = listAt(described, "groups").map((each) => [at(each, "errorCode"), at(each, "errorMessage")]);
        equal(
          messages.sort(),
          [
            [69, `Group ${other} is not a consumer group.`],
            [69, "Group none not found."],
          ].sort(),
          "of a classic group and of none",
        );
      },
    },
    {
      name: "#49 OffsetCommit and OffsetFetch look at the member's epoch",
      async run(context) {
        const group = await opened(context);
        await group.join();
        const commit = async (epoch: number, version = 9): Promise<number> => {
          const answer = await group.wire.call("OffsetCommit", version, {
            groupId: group.group,
            generationIdOrMemberEpoch: epoch,
            memberId: "m",
            topics: [
              {
                name: group.topic,
                partitions: [
                  { partitionIndex: 0, committedOffset: 0, committedLeaderEpoch: -1, committedMetadata: "" },
                ],
              },
            ],
          });
          return numberAt(answer, "topics.0.partitions.0.errorCode");
        };
        equal(await commit(2), 0, "the member's");
        equal(await commit(3), 113, "a newer one");
        equal(await commit(1), 113, "older than the partition's");
        equal(await commit(2, 8), 35, "v8");
        const fetch = async (memberId: string | null, memberEpoch: number): Promise<Fields> =>
          group.wire.call("OffsetFetch", 9, {
            groups: [
              {
                groupId: group.group,
                memberId,
                memberEpoch,
                topics: [{ name: group.topic, partitionIndexes: [0] }],
              },
            ],
            requireStable: false,
          });
        matches(await fetch("m", 2), { groups: [{ errorCode: 0 }] }, "the member's");
        matches(await fetch(null, -1), { groups: [{ errorCode: 0 }] }, "nobody's");
        matches(await fetch("m", 1), { groups: [{ errorCode: 113, topics: [] }] }, "another epoch");
        matches(await fetch("x", 2), { groups: [{ errorCode: 25, topics: [] }] }, "another member");
      },
    },
    {
      name: "a KIP-848 member upgrades a live classic group; a classic heartbeat is told to join again",
      async run(context) {
        const group = await opened(context);
        const metadata = Buffer.concat([
          Buffer.from([0, 0, 0, 0, 0, 1, 0, group.topic.length]),
          Buffer.from(group.topic),
          Buffer.from([0xff, 0xff, 0xff, 0xff]),
        ]);
        const joined = await classicJoin(group.wire, group.group, { version: 3, metadata });
        const member = { memberId: textAt(joined, "memberId"), generation: numberAt(joined, "generationId") };
        const assignment = Buffer.concat([
          Buffer.from([0, 0, 0, 0, 0, 1, 0, group.topic.length]),
          Buffer.from(group.topic),
          Buffer.from([0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        ]);
        await sync(group.wire, group.group, member, [{ memberId: member.memberId, assignment }]);
        matches(await group.join(), { errorCode: 0, memberEpoch: member.generation + 1 }, "joined");
        equal(await classicHeartbeat(group.wire, group.group, member), 27, "the classic member's heartbeat");
        matches(
          await group.describe(),
          { groups: [{ errorCode: 0, groupEpoch: member.generation + 1 }] },
          "the group goes on from the generation",
        );
        const types = listAt(await group.describe(), "groups.0.members").map((each) => at(each, "memberType"));
        equal([...types].sort(), [0, 1], "member types");
        const refused = context.topic("connect");
        await coordinated(group.wire, refused);
        const worker = await classicJoin(group.wire, refused, { version: 3, type: "connect" });
        assert(numberAt(worker, "errorCode") === 0, "a Connect worker joins");
        const connect = new Group(group.wire, refused, group.topic, group.topicId);
        matches(
          await connect.join(),
          {
            errorCode: 69,
            errorMessage: `Cannot upgrade classic group ${refused} to consumer group because the group does not use the consumer embedded protocol.`,
          },
          "another protocol type",
        );
      },
    },
    {
      name: "kafka-console-consumer with group.protocol=consumer; kafka-consumer-groups sees the group",
      timeoutMs: 120_000,
      async run(context) {
        const { broker, topic } = context;
        const group = await opened(context);
        const name = topic("group");
        await kcatSpread(broker.address, group.topic, numberedLines(1000));
        const consume = async (count: number, wait: number): Promise<string[]> => {
          const { stdout } = await javaTool(
            `${tools}.consumer.ConsoleConsumer`,
            [
              ...["--bootstrap-server", broker.address, "--topic", group.topic, "--group", name, "--from-beginning"],
              ...["--consumer-property", "group.protocol=consumer"],
              ...["--max-messages", `${count}`, "--timeout-ms", `${wait}`],
            ],
            { anyExit: true },
          );
          return stdout.split("\n").filter((line) => line.startsWith("v"));
        };
        equal(new Set(await consume(1000, 30_000)).size, 1000, "different records");
        equal(await consume(1, 4000), [], "nothing is left");
        const states = await groupTool(broker.address, ["--list", "--state", "--type"]);
        const row = states.split("\n").find((line) => line.startsWith(name)) ?? "";
        assert(/\sConsumer\s/.test(row) && /\sEmpty/.test(row), `listed with its type and state: ${states}`);
        const described = await groupTool(broker.address, ["--describe", "--group", name]);
        const lags = described.split("\n").filter((line) => line.startsWith(name));
        equal(
          lags.map((line) => line.split(/\s+/)[5]),
          ["0", "0", "0", "0"],
          `lag in ${described}`,
        );
        await groupTool(broker.address, [
          ...["--group", name, "--reset-offsets", "--to-earliest", "--topic", group.topic, "--execute"],
        ]);
        equal((await consume(1000, 30_000)).length, 1000, "again after the reset");
        const deleted = await groupTool(broker.address, ["--delete", "--group", name]);
        assert(deleted.includes("was successful"), deleted);
      },
    },
    {
      name: "@platformatic/kafka with groupProtocol consumer consumes and commits",
      own: true,
      async run(context) {
        const broker = await context.ownBroker(quick);
        const wire = await Wire.open(broker);
        const { name } = await createTopic(wire, context.topic(), 4);
        wire.close();
        await kcatSpread(broker.address, name, numberedLines(2000));
        const args = ["platformatic", broker.address, name, context.topic("group"), "2000", "consumer"];
        const { stdout } = await javaScript("groups.mjs", args);
        equal(new Set(stdout.trim().split("\n")).size, 2000, "records");
      },
    },
    {
      name: "verifiable consumers of both protocols join, leave and are killed while 20,000 records flow",
      own: true,
      timeoutMs: 180_000,
      async run(context) {
        const broker = await context.ownBroker(quick);
        const wire = await Wire.open(broker);
        context.cleanup(() => wire.close());
        const { name } = await createTopic(wire, context.topic(), 4);
        const group = context.topic("group");
        const total = 20_000;
        const members: VerifiableConsumer[] = [];
        const start = async (protocol: "consumer" | "classic"): Promise<VerifiableConsumer> => {
          const member = await VerifiableConsumer.start(context, broker.address, group, name, protocol);
          members.push(member);
          return member;
        };
        const producing = flow(broker.address, name, total);
        const a = await start("classic");
        const b = await start("classic");
        await waitFor("two classic members share", 30_000, () => share(a, b));
        const c = await start("consumer");
        await waitFor("the group is upgraded and shared", 30_000, () => share(a, b, c));
        await b.end("SIGKILL");
        const d = await start("consumer");
        await waitFor("a killed classic member's share is taken", 60_000, () => share(a, c, d));
        await a.end("SIGTERM");
        await waitFor("only KIP-848 members are left", 30_000, () => share(c, d));
        await d.end("SIGKILL");
        const e = await start("classic");
        await waitFor("a killed KIP-848 member's share is taken", 40_000, () => share(c, e));
        await c.end("SIGTERM");
        await waitFor("the group is classic again", 40_000, () => share(e));
        await producing;
        const seen = (): Set<string> => new Set(members.flatMap(({ values }) => values));
        await waitFor(`all ${total} records`, 40_000, () => seen().size >= total);
        equal(seen().size, total, "different records");
        const read = members.reduce((sum, { values }) => sum + values.length, 0);
        context.note(`${read - total} repeated`);
        const described = await wire.call("DescribeGroups", 6, { groups: [group] });
        matches(described, { groups: [{ errorCode: 0, groupState: "Stable" }] }, "downgraded");
      },
    },
    killedWhileRebalancing(2, false),
    killedWhileRebalancing(12, true),
    {
      name: "broker killed while members reconcile: epochs go on, nobody owns twice, Kafka's tool reads the log",
      own: true,
      timeoutMs: 120_000,
      async run(context) {
        const broker = await context.ownBroker(quick);
        const setup = await Wire.open(broker);
        const { name, id } = await createTopic(setup, context.topic(), 4);
        const groupName = context.topic("group");
        await coordinated(setup, groupName);
        setup.close();
        const ids = ["a", "b", "c"];
        const epochs = new Map(ids.map((each) => [each, 0]));
        const owned = new Map<string, number[]>(ids.map((each) => [each, []]));
        let highest = 0;
        for (let round = 0; round < 6; round++) {
          const wire = await Wire.open(broker);
          await coordinated(wire, groupName);
          const group = new Group(wire, groupName, name, id);
          for (let beat = 0; beat < 4 + round; beat++) {
            for (const memberId of ids) {
              const epoch = epochs.get(memberId)!;
              const answer =
                epoch === 0
                  ? await group.join({ memberId })
                  : await group.beat({ memberId, epoch, owned: owned.get(memberId)! });
              const code = numberAt(answer, "errorCode");
              assert([0, 25, 110].includes(code), `heartbeat answers ${code}`);
              epochs.set(memberId, code === 0 ? numberAt(answer, "memberEpoch") : 0);
              owned.set(memberId, code === 0 ? (given(answer) ?? owned.get(memberId)!) : []);
              const all = [...owned.values()].flat();
              equal(new Set(all).size, all.length, `owners after ${memberId}'s heartbeat`);
            }
            if (beat === 2) {
              const leaving = ids[round % ids.length]!;
              await group.beat({ memberId: leaving, epoch: -1 });
              epochs.set(leaving, 0);
              owned.set(leaving, []);
            }
          }
          const described = await group.describe();
          const epoch = numberAt(described, "groups.0.groupEpoch");
          assert(epoch > highest, `epoch ${epoch} after ${highest}`);
          highest = epoch;
          await broker.kill();
          wire.close();
          await broker.start();
          const after = await Wire.open(broker);
          await coordinated(after, groupName);
          const again = await new Group(after, groupName, name, id).describe();
          assert(numberAt(again, "groups.0.groupEpoch") >= epoch, "the epoch went back");
          after.close();
        }
        await broker.stop();
        const folders = readdirSync(broker.dataDirectory).filter((each) => each.startsWith("__consumer_offsets-"));
        const logs = folders
          .map((each) => path(broker.dataDirectory, each, "00000000000000000000.log"))
          .filter((file) => existsSync(file) && Bun.file(file).size > 0);
        const { stdout } = await javaTool(`${tools}.DumpLogSegments`, ["--offsets-decoder", "--files", logs.join(",")]);
        for (const text of [`"memberEpoch":`, `"assignmentEpoch":`, `"subscribedTopicNames":["${name}"]`]) {
          assert(stdout.includes(text), `${text} is not in ${stdout.slice(0, 3000)}`);
        }
      },
    },
  ],
};
