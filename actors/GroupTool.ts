/**
 * `odradek group`: what an administrator asks of groups, over the wire like any client. It owns one connection per
 * broker for the length of the command. What must stay true: nothing is changed without being asked for (`reset` only
 * with `--execute`), and a broker's refusal is said by its Kafka name.
 */
import type { GroupArguments, ResetTarget } from "../src/cli/GroupArguments.ts";
import { describeReport, LISTED_GROUP, type PartitionLag, resetColumns } from "../src/cli/GroupReport.ts";
import type { OutputFormat } from "../src/cli/Options.ts";
import { jsonLines, report } from "../src/cli/Table.ts";
import { readAssignment } from "../src/group/EmbeddedProtocol.ts";
import type { Uuid } from "../src/prelude/Types.ts";
import { ApiKey, type RequestOf, type ResponseOf } from "../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../src/protocol/Errors.ts";
import { type AdminClient, withAdminClient } from "./AdminClient.ts";
import type { ExitCode, Tool } from "./Tool.ts";
import { EARLIEST, type KafkaClient, LATEST } from "./testing/KafkaClient.ts";

type Owner = NonNullable<PartitionLag["owner"]>;

interface Described {
  readonly type: string;
  readonly state: string;
  readonly members: number;
  /** By `topic partition`. */
  readonly owners: ReadonlyMap<string, Owner>;
}

interface Committed {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

const keyOf = (topic: string, partition: number): string => `${topic} ${partition}`;

export const runGroupTool: Tool<GroupArguments> = (args, platform, terminal) =>
  withAdminClient(platform, args.brokers, async (admin): Promise<ExitCode> => {
    const tool = new GroupTool(admin, args.format, (text) => terminal.write(text));
    switch (args.verb) {
      case "list":
        await tool.list(args.states, args.types);
        break;
      case "describe":
        for (const group of args.groups) await tool.describe(group);
        break;
      case "delete":
        await tool.remove(args.groups);
        break;
      case "reset":
        await tool.reset(args);
    }
    return 0;
  });

class GroupTool {
  private readonly client: KafkaClient;

  constructor(
    private readonly admin: AdminClient,
    private readonly format: OutputFormat,
    private readonly print: (text: string) => Promise<void>,
  ) {
    this.client = admin.client;
  }

  async list(statesFilter: ReadonlyArray<string>, typesFilter: ReadonlyArray<string>): Promise<void> {
    const groups: ResponseOf<typeof ApiKey.ListGroups>["groups"] = [];
    for (const node of await this.admin.nodes()) {
      const filters = { statesFilter: [...statesFilter], typesFilter: [...typesFilter] };
      const answer = await this.admin.retried(
        () => this.admin.ask(node, ApiKey.ListGroups, filters),
        (each) => each.errorCode,
      );
      groups.push(...answer.groups);
    }
    groups.sort((a, b) => (a.groupId < b.groupId ? -1 : 1));
    const rows = groups.map(({ groupId, groupType, groupState, protocolType }) => [
      groupId,
      groupType,
      groupState,
      protocolType === "" ? null : protocolType,
    ]);
    await this.print(report(this.format, LISTED_GROUP, rows));
  }

  async describe(groupId: string): Promise<void> {
    const node = await this.admin.coordinator("group", groupId);
    const described = await this.described(node, groupId);
    const committed = await this.committed(node, groupId);
    const known = new Set(committed.map(({ topic, partition }) => keyOf(topic, partition)));
    const owned = [...described.owners.keys()].filter((key) => !known.has(key));
    const all = [
      ...committed,
      ...owned.map((key) => {
        const space = key.lastIndexOf(" ");
        return { topic: key.slice(0, space), partition: Number(key.slice(space + 1)), offset: -1 };
      }),
    ];
    const lags = await Promise.all(all.map((each) => this.lag(each, described.owners)));
    await this.print(describeReport(this.format, { groupId, ...described }, lags));
  }

  async remove(groups: ReadonlyArray<string>): Promise<void> {
    const refused: string[] = [];
    for (const groupId of groups) {
      const node = await this.admin.coordinator("group", groupId);
      const answer = await this.admin.ask(node, ApiKey.DeleteGroups, { groupsNames: [groupId] });
      const error = answer.results[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
      if (error === Errors.NONE) {
        await this.print(
          this.format === "json" ? jsonLines([{ group: groupId, deleted: true }]) : `${groupId} is deleted\n`,
        );
      } else refused.push(`${groupId}: ${errorName(error)}`);
    }
    if (refused.length > 0) throw new Error(refused.join("; "));
  }

  async reset({ group, scopes, target, execute }: Extract<GroupArguments, { verb: "reset" }>): Promise<void> {
    const node = await this.admin.coordinator("group", group);
    const committed = await this.committed(node, group);
    const before = new Map(committed.map((each) => [keyOf(each.topic, each.partition), each.offset]));
    const named: Array<{ topic: string; partition: number }> = [];
    for (const { topic, partitions } of scopes) {
      const all = (await this.client.topic(topic)).leaders.keys();
      for (const partition of partitions ?? all) named.push({ topic, partition });
    }
    const moved: Array<Committed & { readonly before: number }> = [];
    for (const { topic, partition } of scopes.length === 0 ? committed : named) {
      const old = before.get(keyOf(topic, partition)) ?? -1;
      moved.push({ topic, partition, before: old, offset: await this.place(topic, partition, old, target) });
    }
    if (moved.length === 0) throw new Error(`${group} has committed nothing: name a topic with --topic`);
    if (execute) await this.commit(node, group, moved);
    const rows = moved.map(({ topic, partition, before: old, offset }) => [
      topic,
      partition,
      old < 0 ? null : old,
      offset,
    ]);
    await this.print(report(this.format, resetColumns(execute), rows));
    if (!execute && this.format === "text") await this.print("nothing was changed: add --execute\n");
  }

  /** Where a target is in a partition, never outside of its log. */
  private async place(topic: string, partition: number, before: number, target: ResetTarget): Promise<number> {
    const earliest = (await this.client.listOffset(topic, partition, EARLIEST)).offset;
    const latest = (await this.client.listOffset(topic, partition, LATEST)).offset;
    const within = (offset: number): number => Math.min(Math.max(offset, earliest), latest);
    switch (target.to) {
      case "earliest":
        return earliest;
      case "latest":
        return latest;
      case "offset":
        return within(target.value);
      case "shift":
        return within((before < 0 ? earliest : before) + target.value);
      case "time": {
        const { offset } = await this.client.listOffset(topic, partition, target.value);
        return offset < 0 ? latest : offset;
      }
    }
  }

  /** As an administrator: without a generation, which is refused while the group has members. */
  private async commit(node: number, groupId: string, offsets: ReadonlyArray<Committed>): Promise<void> {
    const topics = new Map<string, RequestOf<typeof ApiKey.OffsetCommit>["topics"][number]>();
    for (const { topic: name, partition: partitionIndex, offset: committedOffset } of offsets) {
      let topic = topics.get(name);
      if (topic === undefined) {
        const topicId: Uuid = (await this.client.topic(name)).id;
        topics.set(name, (topic = { name, topicId, partitions: [] }));
      }
      topic.partitions.push({ partitionIndex, committedOffset, committedLeaderEpoch: -1, committedMetadata: "" });
    }
    const request = { groupId, generationIdOrMemberEpoch: -1, topics: [...topics.values()] };
    const answer = await this.admin.ask(node, ApiKey.OffsetCommit, request);
    for (const { partitions } of answer.topics) {
      for (const { errorCode } of partitions) {
        if (errorCode === Errors.UNKNOWN_MEMBER_ID) throw new Error(`${groupId} has members: stop them first`);
        if (errorCode !== Errors.NONE) throw new Error(`${groupId}: ${errorName(errorCode)}`);
      }
    }
  }

  /** A group of either protocol. */
  private async described(node: number, groupId: string): Promise<Described> {
    const modern = await this.admin.retried(
      () => this.admin.ask(node, ApiKey.ConsumerGroupDescribe, { groupIds: [groupId] }),
      (answer) => answer.groups[0]!.errorCode,
      [Errors.GROUP_ID_NOT_FOUND],
    );
    const group = modern.groups[0]!;
    const owners = new Map<string, Owner>();
    if (group.errorCode === Errors.NONE) {
      for (const { memberId, clientHost: host, clientId, assignment } of group.members) {
        for (const { topicName, partitions } of assignment.topicPartitions) {
          for (const each of partitions) owners.set(keyOf(topicName, each), { memberId, host, clientId });
        }
      }
      return { type: "consumer", state: group.groupState, members: group.members.length, owners };
    }
    const classic = await this.admin.ask(node, ApiKey.DescribeGroups, { groups: [groupId] });
    const { errorCode, groupState, members } = classic.groups[0]!;
    if (errorCode !== Errors.NONE || groupState === "Dead") throw new Error(`there is no group ${groupId}`);
    for (const { memberId, clientHost: host, clientId, memberAssignment } of members) {
      for (const { topic, partitions } of readAssignment(memberAssignment)?.assignedPartitions ?? []) {
        for (const each of partitions) owners.set(keyOf(topic, each), { memberId, host, clientId });
      }
    }
    return { type: "classic", state: groupState, members: members.length, owners };
  }

  private async committed(node: number, groupId: string): Promise<Committed[]> {
    const groups = [{ groupId, memberId: null, memberEpoch: -1, topics: null }];
    const answer = await this.admin.ask(node, ApiKey.OffsetFetch, { groups });
    const { topics, errorCode } = answer.groups[0]!;
    if (errorCode !== Errors.NONE) throw new Error(`${groupId}: ${errorName(errorCode)}`);
    const names = await this.namesOf(topics.filter(({ name }) => name === "").map(({ topicId }) => topicId));
    return topics.flatMap(({ name, topicId, partitions }) =>
      partitions.map(({ partitionIndex: partition, committedOffset: offset }) => ({
        topic: name === "" ? (names.get(topicId) ?? topicId) : name,
        partition,
        offset,
      })),
    );
  }

  private async namesOf(ids: ReadonlyArray<Uuid>): Promise<ReadonlyMap<Uuid, string>> {
    if (ids.length === 0) return new Map();
    const topics = ids.map((topicId) => ({ topicId, name: null }));
    const answer = await this.admin.ask("any", ApiKey.Metadata, { topics, allowAutoTopicCreation: false });
    return new Map(answer.topics.map(({ topicId, name }) => [topicId, name ?? topicId]));
  }

  /** Behind by how many records, and for how long the first of them has been there. */
  private async lag({ topic, partition, offset }: Committed, owners: Described["owners"]): Promise<PartitionLag> {
    const owner = owners.get(keyOf(topic, partition));
    const end = (await this.client.listOffset(topic, partition, LATEST)).offset;
    const known = { topic, partition, committed: offset, end, owner };
    if (offset < 0) return { ...known, lagMs: undefined };
    if (offset >= end) return { ...known, lagMs: 0 };
    const { records } = await this.client.fetch(topic, partition, offset, { maxWaitMs: 0, maxBytes: 1 });
    const first = records[0];
    const lagMs = first === undefined ? undefined : Math.max(0, this.admin.now() - first.timestamp);
    return { ...known, lagMs };
  }
}
