/**
 * What an administrator asks of a cluster, over one client: partitions, records, configurations, groups and their
 * offsets. What must stay true: calls are repeated while that may help and rejected with `KafkaError` otherwise; a repeat
 * that finds its own work done counts as done.
 */
import type { Offset, TopicPartition } from "../../src/prelude/Types.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import type { KafkaClient } from "./KafkaClient.ts";
import { KafkaError } from "./KafkaError.ts";
import { type CommitOutcome, type CommittedOffset, commitOffsets, fetchOffsets, outsideOfGroup } from "./Offsets.ts";

const TOPIC_RESOURCE = 2;
const SET = 0;
const REMOVE = 1;

export interface GroupListing {
  readonly groupId: string;
  readonly state: string;
  /** `classic` or `consumer`. */
  readonly type: string;
}

export interface GroupMember {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  /** What it owns; of the classic protocol only the names of its members are known here. */
  readonly assignment: ReadonlyArray<TopicPartition>;
}

export interface GroupDescription {
  readonly groupId: string;
  readonly state: string;
  readonly type: "classic" | "consumer";
  /** -1 in the classic protocol. */
  readonly epoch: number;
  readonly members: ReadonlyArray<GroupMember>;
}

export class KafkaAdmin {
  constructor(private readonly client: KafkaClient) {}

  /** Grows a topic to `count` partitions. */
  async createPartitions(topic: string, count: number): Promise<void> {
    let attempts = 0;
    await this.client.retried(`CreatePartitions ${topic}`, async () => {
      attempts += 1;
      const { results } = await this.ask("any", ApiKey.CreatePartitions, {
        topics: [{ name: topic, count, assignments: null }],
        timeoutMs: 30_000,
      });
      const code = results[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
      if (code === Errors.INVALID_PARTITIONS && attempts > 1 && (await this.partitionsOf(topic)) === count) return;
      if (code !== Errors.NONE) throw new KafkaError(code, `CreatePartitions ${topic}`, results[0]?.errorMessage);
    });
    await this.client.refresh(topic);
  }

  /** Deletes everything below `before`; answers where the partition begins now. */
  deleteRecords(topic: string, partition: number, before: Offset): Promise<Offset> {
    return this.client.retried(`DeleteRecords ${topic}-${partition}`, async () => {
      await this.client.topic(topic);
      const answer = await this.ask(this.client.knownLeader(topic, partition), ApiKey.DeleteRecords, {
        topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset: before }] }],
        timeoutMs: 30_000,
      });
      const found = answer.topics[0]?.partitions[0];
      const code = found?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
      if (code !== Errors.NONE) throw new KafkaError(code, `DeleteRecords ${topic}-${partition}`);
      return found!.lowWatermark;
    });
  }

  /** Sets topic configurations; null takes one back to its default. */
  alterTopicConfigs(topic: string, configs: Readonly<Record<string, string | null>>): Promise<void> {
    return this.client.retried(`IncrementalAlterConfigs ${topic}`, async () => {
      const { responses } = await this.ask("any", ApiKey.IncrementalAlterConfigs, {
        resources: [
          {
            resourceType: TOPIC_RESOURCE,
            resourceName: topic,
            configs: Object.entries(configs).map(([name, value]) => ({
              name,
              configOperation: value === null ? REMOVE : SET,
              value,
            })),
          },
        ],
      });
      const code = responses[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
      if (code !== Errors.NONE)
        throw new KafkaError(code, `IncrementalAlterConfigs ${topic}`, responses[0]?.errorMessage);
    });
  }

  /** Every configuration of a topic by name. */
  topicConfigs(topic: string): Promise<ReadonlyMap<string, string | null>> {
    return this.client.retried(`DescribeConfigs ${topic}`, async () => {
      const { results } = await this.ask("any", ApiKey.DescribeConfigs, {
        resources: [{ resourceType: TOPIC_RESOURCE, resourceName: topic, configurationKeys: null }],
      });
      const found = results[0];
      const code = found?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
      if (code !== Errors.NONE) throw new KafkaError(code, `DescribeConfigs ${topic}`, found?.errorMessage);
      return new Map(found!.configs.map(({ name, value }) => [name, value]));
    });
  }

  listGroups(): Promise<GroupListing[]> {
    return this.client.retried("ListGroups", async () => {
      const { brokers } = await this.client.metadata([]);
      const found: GroupListing[] = [];
      for (const { nodeId } of brokers) {
        const { errorCode, groups } = await this.ask(nodeId, ApiKey.ListGroups, {});
        if (errorCode !== Errors.NONE) throw new KafkaError(errorCode, "ListGroups");
        for (const { groupId, groupState, groupType } of groups)
          found.push({ groupId, state: groupState, type: groupType });
      }
      return found;
    });
  }

  /** Undefined when there is no such group. */
  async describeGroup(groupId: string): Promise<GroupDescription | undefined> {
    const consumer = await this.coordinated(
      groupId,
      ApiKey.ConsumerGroupDescribe,
      { groupIds: [groupId] },
      ({ groups }) => groups[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR,
    );
    const [found] = consumer.answer.groups;
    if (consumer.code === Errors.NONE && found !== undefined) {
      const members = found.members.map(({ memberId, instanceId, clientId, assignment }) => ({
        memberId,
        groupInstanceId: instanceId,
        clientId,
        assignment: assignment.topicPartitions.flatMap(({ topicName, partitions }) =>
          partitions.map((partition) => ({ topic: topicName, partition })),
        ),
      }));
      return { groupId, state: found.groupState, type: "consumer", epoch: found.groupEpoch, members };
    }
    if (consumer.code !== Errors.GROUP_ID_NOT_FOUND) throw new KafkaError(consumer.code, `describe ${groupId}`);
    const classic = await this.coordinated(
      groupId,
      ApiKey.DescribeGroups,
      { groups: [groupId] },
      ({ groups }) => groups[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR,
    );
    const [group] = classic.answer.groups;
    if (classic.code === Errors.GROUP_ID_NOT_FOUND || group?.groupState === "Dead") return undefined;
    if (classic.code !== Errors.NONE || group === undefined) throw new KafkaError(classic.code, `describe ${groupId}`);
    const members = group.members.map(({ memberId, groupInstanceId, clientId }) => ({
      memberId,
      groupInstanceId,
      clientId,
      assignment: [],
    }));
    return { groupId, state: group.groupState, type: "classic", epoch: -1, members };
  }

  /** A group that has members is refused. */
  async deleteGroup(groupId: string): Promise<void> {
    const { code, unknownBefore } = await this.coordinated(
      groupId,
      ApiKey.DeleteGroups,
      { groupsNames: [groupId] },
      ({ results }) => results[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR,
    );
    if (code === Errors.GROUP_ID_NOT_FOUND && unknownBefore) return;
    if (code !== Errors.NONE) throw new KafkaError(code, `DeleteGroups ${groupId}`);
  }

  /** What the group has committed; all of it when no partitions are named. */
  groupOffsets(groupId: string, partitions: ReadonlyArray<TopicPartition> | null = null): Promise<CommittedOffset[]> {
    return fetchOffsets(this.client, { groupId }, partitions, { ...this.call(), requireStable: true });
  }

  /** Commits for a group that has no members. */
  alterGroupOffsets(
    groupId: string,
    offsets: ReadonlyArray<TopicPartition & { readonly offset: Offset }>,
  ): Promise<CommitOutcome> {
    return commitOffsets(this.client, () => outsideOfGroup(groupId), offsets, this.call());
  }

  async deleteGroupOffsets(groupId: string, partitions: ReadonlyArray<TopicPartition>): Promise<void> {
    const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, ofTopic]) => ({
      name,
      partitions: ofTopic.map(({ partition }) => ({ partitionIndex: partition })),
    }));
    const { code } = await this.coordinated(groupId, ApiKey.OffsetDelete, { groupId, topics }, (answer) => {
      const ofPartitions = answer.topics.flatMap((topic) => topic.partitions.map(({ errorCode }) => errorCode));
      return [answer.errorCode, ...ofPartitions].find((each) => each !== Errors.NONE) ?? Errors.NONE;
    });
    if (code !== Errors.NONE) throw new KafkaError(code, `OffsetDelete of ${groupId}`);
  }

  private async partitionsOf(topic: string): Promise<number> {
    const { topics } = await this.client.metadata([topic]);
    return topics[0]?.partitions.length ?? 0;
  }

  private call() {
    const timeoutMs = this.client.options.callTimeoutMs ?? 60_000;
    return { deadline: this.client.platform.clock.monotonic() + timeoutMs, purpose: "admin" };
  }

  private ask<K extends KnownApiKey>(
    node: number | "any",
    apiKey: K,
    message: Partial<RequestOf<K>>,
  ): Promise<ResponseOf<K>> {
    return this.client.request(node, apiKey, { ...Apis[apiKey].request.empty(), ...message } as RequestOf<K>, "admin");
  }

  private coordinated<K extends KnownApiKey>(
    groupId: string,
    apiKey: K,
    message: Partial<RequestOf<K>>,
    errorOf: (answer: ResponseOf<K>) => number,
  ) {
    const call = { kind: "group", key: groupId, apiKey, message: () => message, errorOf, ...this.call() } as const;
    return this.client.coordinators.call(call);
  }
}
