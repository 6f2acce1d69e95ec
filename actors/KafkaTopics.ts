/**
 * The topic commands' door over the Kafka protocol. What must stay true: a refusal of one topic or partition is an answer
 * beside the others'; a question is asked again while that may help, a change only when it certainly was not made.
 */
import type {
  ConfigChange,
  ConfigEntry,
  Isolation,
  NewTopic,
  OffsetAnswer,
  OffsetQuestion,
  Outcome,
  TopicConfigs,
  TopicDoor,
  TopicOutcome,
  TopicState,
} from "../src/cli/TopicDoor.ts";
import type { Offset, TopicPartition } from "../src/prelude/Types.ts";
import { ZERO_UUID } from "../src/prelude/Types.ts";
import { ApiKey } from "../src/protocol/ApiKeys.ts";
import { Errors, errorName, isRetriable } from "../src/protocol/Errors.ts";
import type { AdminClient } from "./AdminClient.ts";
import { EARLIEST, type KafkaClient, LATEST } from "./testing/KafkaClient.ts";

const TOPIC_RESOURCE = 2;
const OPERATIONS = { set: 0, delete: 1, append: 2, subtract: 3 } as const;
/** What the broker is given to make a change. */
const TIMEOUT_MS = 30_000;
const RETRY_MS = 100;
const RETRIES = 100;

/** Kafka's `DescribeConfigsResponse.ConfigSource` by its id. */
const CONFIG_SOURCES: ReadonlyArray<string> = [
  "UNKNOWN_CONFIG",
  "DYNAMIC_TOPIC_CONFIG",
  "DYNAMIC_BROKER_CONFIG",
  "DYNAMIC_DEFAULT_BROKER_CONFIG",
  "STATIC_BROKER_CONFIG",
  "DEFAULT_CONFIG",
  "DYNAMIC_BROKER_LOGGER_CONFIG",
  "CLIENT_METRICS_CONFIG",
  "GROUP_CONFIG",
];

const outcomeOf = (errorCode: number, message: string | null = null): Outcome =>
  errorCode === Errors.NONE ? { error: null, message: null } : { error: errorName(errorCode), message };

const byTopic = <A extends { readonly topic: string }>(left: A, right: A): number =>
  left.topic < right.topic ? -1 : 1;

/** A request's topics: one entry per name. */
const grouped = <A extends TopicPartition>(partitions: ReadonlyArray<A>): Array<readonly [string, A[]]> => [
  ...Map.groupBy(partitions, ({ topic }) => topic),
];

export class KafkaTopics implements TopicDoor {
  private readonly client: KafkaClient;

  constructor(private readonly admin: AdminClient) {
    this.client = admin.client;
  }

  async topics(names: ReadonlyArray<string> | null): Promise<TopicState[]> {
    const { topics } = await this.client.metadata(names);
    const states = topics.map(
      ({ name, topicId, isInternal, partitions, errorCode }): TopicState => ({
        topic: name ?? topicId,
        topicId,
        internal: isInternal,
        partitions: partitions
          .map((each) => ({
            partition: each.partitionIndex,
            leader: each.leaderId,
            leaderEpoch: each.leaderEpoch,
            replicas: each.replicaNodes,
            isr: each.isrNodes,
            offline: each.offlineReplicas,
          }))
          .sort((left, right) => left.partition - right.partition),
        ...outcomeOf(errorCode),
      }),
    );
    return states.sort(byTopic);
  }

  async configs(topics: ReadonlyArray<string>): Promise<TopicConfigs[]> {
    const { results } = await this.client.retried("DescribeConfigs", () =>
      this.admin.ask("any", ApiKey.DescribeConfigs, {
        resources: topics.map((resourceName) => ({
          resourceType: TOPIC_RESOURCE,
          resourceName,
          configurationKeys: null,
        })),
      }),
    );
    const found = results.map(({ resourceName, configs, errorCode, errorMessage }) => ({
      topic: resourceName,
      configs: configs
        .map(
          ({ name, value, configSource }): ConfigEntry => ({
            name,
            value,
            source: CONFIG_SOURCES[configSource] ?? "UNKNOWN_CONFIG",
          }),
        )
        .sort((left, right) => (left.name < right.name ? -1 : 1)),
      ...outcomeOf(errorCode, errorMessage),
    }));
    return found.sort(byTopic);
  }

  async offsets(
    partitions: ReadonlyArray<TopicPartition>,
    at: OffsetQuestion,
    isolation: Isolation,
  ): Promise<OffsetAnswer[]> {
    const timestamp = at === "earliest" ? EARLIEST : at === "latest" ? LATEST : at.timestamp;
    return this.ofLeaders(partitions, true, async (leader, own) => {
      const answer = await this.admin.ask(leader, ApiKey.ListOffsets, {
        replicaId: -1,
        isolationLevel: isolation === "read_committed" ? 1 : 0,
        timeoutMs: TIMEOUT_MS,
        topics: grouped(own).map(([name, ofTopic]) => ({
          name,
          partitions: ofTopic.map(({ partition }) => ({
            partitionIndex: partition,
            currentLeaderEpoch: -1,
            timestamp,
          })),
        })),
      });
      return answer.topics.flatMap(({ name, partitions: ofTopic }) =>
        ofTopic.map(({ partitionIndex, offset, errorCode }) => ({
          topic: name,
          partition: partitionIndex,
          offset,
          errorCode,
        })),
      );
    });
  }

  async create(topics: ReadonlyArray<NewTopic>, dry: boolean): Promise<TopicOutcome[]> {
    const answer = await this.admin.ask("any", ApiKey.CreateTopics, {
      topics: topics.map(({ topic, partitions, replicas, configs }) => ({
        name: topic,
        numPartitions: partitions,
        replicationFactor: replicas,
        assignments: [],
        configs: configs.map(([name, value]) => ({ name, value })),
      })),
      timeoutMs: TIMEOUT_MS,
      validateOnly: dry,
    });
    const results = answer.topics.map(({ name, errorCode, errorMessage }) => ({
      topic: name,
      ...outcomeOf(errorCode, errorMessage),
    }));
    if (!dry) for (const { topic, error } of results) if (error === null) await this.client.topic(topic);
    return results;
  }

  async delete(topics: ReadonlyArray<string>): Promise<TopicOutcome[]> {
    const version = (await this.client.connection("any")).versionOf(ApiKey.DeleteTopics) ?? 0;
    const { responses } = await this.admin.ask("any", ApiKey.DeleteTopics, {
      ...(version >= 6
        ? { topics: topics.map((name) => ({ name, topicId: ZERO_UUID })) }
        : { topicNames: [...topics] }),
      timeoutMs: TIMEOUT_MS,
    });
    return responses.map(({ name, topicId, errorCode, errorMessage }) => ({
      topic: name ?? topicId,
      ...outcomeOf(errorCode, errorMessage),
    }));
  }

  async alterConfigs(
    topics: ReadonlyArray<string>,
    changes: ReadonlyArray<ConfigChange>,
    dry: boolean,
  ): Promise<TopicOutcome[]> {
    const { responses } = await this.admin.ask("any", ApiKey.IncrementalAlterConfigs, {
      resources: topics.map((resourceName) => ({
        resourceType: TOPIC_RESOURCE,
        resourceName,
        configs: changes.map(({ operation, name, value }) => ({ name, configOperation: OPERATIONS[operation], value })),
      })),
      validateOnly: dry,
    });
    return responses.map(({ resourceName, errorCode, errorMessage }) => ({
      topic: resourceName,
      ...outcomeOf(errorCode, errorMessage),
    }));
  }

  async grow(topics: ReadonlyArray<{ readonly topic: string; readonly count: number }>): Promise<TopicOutcome[]> {
    const { results } = await this.admin.ask("any", ApiKey.CreatePartitions, {
      topics: topics.map(({ topic, count }) => ({ name: topic, count, assignments: null })),
      timeoutMs: TIMEOUT_MS,
    });
    return results.map(({ name, errorCode, errorMessage }) => ({ topic: name, ...outcomeOf(errorCode, errorMessage) }));
  }

  async trim(places: ReadonlyArray<TopicPartition & { readonly offset: Offset }>): Promise<OffsetAnswer[]> {
    return this.ofLeaders(places, false, async (leader, own) => {
      const answer = await this.admin.ask(leader, ApiKey.DeleteRecords, {
        topics: grouped(own).map(([name, ofTopic]) => ({
          name,
          partitions: ofTopic.map(({ partition, offset }) => ({ partitionIndex: partition, offset })),
        })),
        timeoutMs: TIMEOUT_MS,
      });
      return answer.topics.flatMap(({ name, partitions }) =>
        partitions.map(({ partitionIndex, lowWatermark, errorCode }) => ({
          topic: name,
          partition: partitionIndex,
          offset: lowWatermark,
          errorCode,
        })),
      );
    });
  }

  /**
   * One request to each leader of the partitions; answers in the order asked. What the leader refuses for now is asked
   * again; what never was with a leader is an error of its own.
   */
  private async ofLeaders<A extends TopicPartition>(
    partitions: ReadonlyArray<A>,
    retry: boolean,
    ask: (
      leader: number,
      own: ReadonlyArray<A>,
    ) => Promise<Array<TopicPartition & { offset: Offset; errorCode: number }>>,
  ): Promise<OffsetAnswer[]> {
    const answers = new Map<A, OffsetAnswer>();
    for (let attempt = 0; answers.size < partitions.length; attempt += 1) {
      const left = partitions.filter((each) => !answers.has(each));
      await this.client.metadata([...new Set(left.map(({ topic }) => topic))]);
      const byLeader = Map.groupBy(left, ({ topic, partition }) => this.client.knownLeader(topic, partition));
      const last = !retry || attempt === RETRIES;
      for (const [leader, own] of byLeader) {
        const found = leader < 0 ? [] : await ask(leader, own);
        for (const each of own) {
          const { topic, partition } = each;
          const answer = found.find((one) => one.topic === topic && one.partition === partition);
          const errorCode = answer?.errorCode ?? Errors.UNKNOWN_TOPIC_OR_PARTITION;
          if (isRetriable(errorCode) && leader >= 0 && !last) continue;
          const offset = errorCode === Errors.NONE ? (answer?.offset ?? -1) : -1;
          answers.set(each, { topic, partition, offset, ...outcomeOf(errorCode) });
        }
      }
      if (answers.size < partitions.length) await this.client.sleep(RETRY_MS);
    }
    return partitions.map((each) => answers.get(each)!);
  }
}
