/**
 * `odradek group`: what an administrator asks of groups, over the wire like any client. It owns one connection per
 * broker for the length of the command. What must stay true: nothing is changed without being asked for (`reset` only
 * with `--execute`), and a broker's refusal is said by its Kafka name.
 */
import type { GroupArguments, ResetTarget } from "../src/cli/GroupArguments.ts";
import { describeReport, type PartitionLag, table } from "../src/cli/GroupReport.ts";
import { readAssignment } from "../src/group/EmbeddedProtocol.ts";
import type { Uuid } from "../src/prelude/Types.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../src/protocol/ApiKeys.ts";
import { Errors, errorName, isRetriable } from "../src/protocol/Errors.ts";
import { EARLIEST, KafkaClient, LATEST } from "./testing/KafkaClient.ts";
import type { ClientPlatform } from "./testing/KafkaConnection.ts";

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

/** While a coordinator is being made or reads its log. */
const RETRY_MS = 100;
const RETRIES = 100;

const keyOf = (topic: string, partition: number): string => `${topic} ${partition}`;

/** Runs one command; the text goes out through `print`. Throws an Error whose message is for the user. */
export const runGroupTool = async (
  args: GroupArguments,
  platform: ClientPlatform,
  print: (text: string) => void,
): Promise<void> => {
  const client = new KafkaClient(platform, { bootstrap: [args.bootstrap], callTimeoutMs: 10_000 });
  const tool = new GroupTool(client, print);
  try {
    switch (args.verb) {
      case "list":
        return await tool.list(args.states, args.types);
      case "describe":
        for (const group of args.groups) await tool.describe(group);
        return;
      case "delete":
        return await tool.remove(args.groups);
      case "reset":
        return await tool.reset(args);
    }
  } finally {
    client.close();
  }
};

class GroupTool {
  constructor(
    private readonly client: KafkaClient,
    private readonly print: (text: string) => void,
  ) {}

  async list(statesFilter: ReadonlyArray<string>, typesFilter: ReadonlyArray<string>): Promise<void> {
    const { brokers } = await this.client.metadata([]);
    const groups: ResponseOf<typeof ApiKey.ListGroups>["groups"] = [];
    for (const { nodeId } of brokers) {
      const filters = { statesFilter: [...statesFilter], typesFilter: [...typesFilter] };
      const answer = await this.retried(
        () => this.ask(nodeId, ApiKey.ListGroups, filters),
        (each) => each.errorCode,
      );
      groups.push(...answer.groups);
    }
    groups.sort((a, b) => (a.groupId < b.groupId ? -1 : 1));
    const rows = groups.map(({ groupId, groupType, groupState, protocolType }) => [
      groupId,
      groupType,
      groupState,
      protocolType === "" ? "-" : protocolType,
    ]);
    this.print(table(["GROUP", "TYPE", "STATE", "PROTOCOL"], rows));
  }

  async describe(groupId: string): Promise<void> {
    const node = await this.coordinator(groupId);
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
    this.print(describeReport({ groupId, ...described }, lags));
  }

  async remove(groups: ReadonlyArray<string>): Promise<void> {
    const refused: string[] = [];
    for (const groupId of groups) {
      const node = await this.coordinator(groupId);
      const answer = await this.ask(node, ApiKey.DeleteGroups, { groupsNames: [groupId] });
      const error = answer.results[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
      if (error === Errors.NONE) this.print(`${groupId} is deleted\n`);
      else refused.push(`${groupId}: ${errorName(error)}`);
    }
    if (refused.length > 0) throw new Error(refused.join("; "));
  }

  async reset({ group, scopes, target, execute }: Extract<GroupArguments, { verb: "reset" }>): Promise<void> {
    const node = await this.coordinator(group);
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
      String(partition),
      old < 0 ? "-" : String(old),
      String(offset),
    ]);
    this.print(table(["TOPIC", "PARTITION", "WAS", execute ? "IS" : "WOULD BE"], rows));
    if (!execute) this.print("nothing was changed: add --execute\n");
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
    const answer = await this.ask(node, ApiKey.OffsetCommit, request);
    for (const { partitions } of answer.topics) {
      for (const { errorCode } of partitions) {
        if (errorCode === Errors.UNKNOWN_MEMBER_ID) throw new Error(`${groupId} has members: stop them first`);
        if (errorCode !== Errors.NONE) throw new Error(`${groupId}: ${errorName(errorCode)}`);
      }
    }
  }

  /** The broker that keeps the group. */
  private async coordinator(groupId: string): Promise<number> {
    await this.client.metadata([]);
    const question = { keyType: 0, coordinatorKeys: [groupId] };
    const found = await this.retried(
      () => this.ask("any", ApiKey.FindCoordinator, question),
      (answer) => answer.coordinators[0]!.errorCode,
    );
    return found.coordinators[0]!.nodeId;
  }

  /** A group of either protocol. */
  private async described(node: number, groupId: string): Promise<Described> {
    const modern = await this.retried(
      () => this.ask(node, ApiKey.ConsumerGroupDescribe, { groupIds: [groupId] }),
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
    const classic = await this.ask(node, ApiKey.DescribeGroups, { groups: [groupId] });
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
    const answer = await this.ask(node, ApiKey.OffsetFetch, { groups });
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
    const answer = await this.ask("any", ApiKey.Metadata, { topics, allowAutoTopicCreation: false });
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
    const lagMs = first === undefined ? undefined : Math.max(0, this.client.platform.clock.wall() - first.timestamp);
    return { ...known, lagMs };
  }

  /** Asks with the defaults for whatever is not given. */
  private ask<K extends KnownApiKey>(
    node: number | "any",
    key: K,
    fields: Partial<RequestOf<K>>,
  ): Promise<ResponseOf<K>> {
    const empty = Apis[key].request.empty() as RequestOf<K>;
    return this.client.request(node, key, { ...empty, ...fields });
  }

  /** Asks again while the answer is an error that goes away; any other but the expected ones is thrown. */
  private async retried<Answer>(
    question: () => Promise<Answer>,
    errorOf: (answer: Answer) => number,
    expected: ReadonlyArray<number> = [],
  ): Promise<Answer> {
    for (let attempt = 0; ; attempt += 1) {
      const answer = await question();
      const error = errorOf(answer);
      if (error === Errors.NONE || expected.includes(error)) return answer;
      if (!isRetriable(error) || attempt === RETRIES) throw new Error(errorName(error));
      await this.client.sleep(RETRY_MS);
    }
  }
}
