/** The topic commands' door over the stream protocol: the verbs it has. The others are refused by name. */
import type {
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
import type { Client } from "../src/client/Client.ts";
import type { WireError } from "../src/gateway/Messages.ts";
import { type TopicPartition, ZERO_UUID } from "../src/prelude/Types.ts";
import { errorName } from "../src/protocol/Errors.ts";

const outcomeOf = (error: WireError | undefined): Outcome =>
  error === undefined ? { error: null, message: null } : { error: errorName(error.code), message: error.message };

const byTopic = (left: { readonly topic: string }, right: { readonly topic: string }): number =>
  left.topic < right.topic ? -1 : 1;

const refuse = (what: string): Promise<never> =>
  Promise.reject(new Error(`${what} only over the Kafka protocol: give --brokers instead of --url`));

export class StreamTopics implements TopicDoor {
  constructor(private readonly client: Client) {}

  async topics(names: ReadonlyArray<string> | null): Promise<TopicState[]> {
    const wanted = names ?? (await this.client.topics.list()).map(({ name }) => name);
    if (wanted.length === 0) return [];
    const { topics } = await this.client.call("topics.describe", { topics: wanted }, { kind: "read" });
    return topics
      .map((each): TopicState => {
        if ("error" in each)
          return { topic: each.name, topicId: ZERO_UUID, internal: false, partitions: [], ...outcomeOf(each.error) };
        const { name, topicId, internal, partitions } = each;
        return {
          topic: name,
          topicId,
          internal,
          partitions: partitions.map((partition) => ({ ...partition, offline: [] })),
          ...outcomeOf(undefined),
        };
      })
      .sort(byTopic);
  }

  async offsets(
    partitions: ReadonlyArray<TopicPartition>,
    at: OffsetQuestion,
    isolation: Isolation,
  ): Promise<OffsetAnswer[]> {
    if (partitions.length === 0) return [];
    const body = { partitions: partitions.map(({ topic, partition }) => ({ topic, partition, at })), isolation };
    const answer = await this.client.call("offsets.list", body, { kind: "read" });
    return partitions.map(({ topic, partition }) => {
      const found = answer.partitions.find((each) => each.topic === topic && each.partition === partition);
      if (found === undefined || "error" in found) return { topic, partition, offset: -1, ...outcomeOf(found?.error) };
      return { topic, partition, offset: found.offset, ...outcomeOf(undefined) };
    });
  }

  async create(topics: ReadonlyArray<NewTopic>, dry: boolean): Promise<TopicOutcome[]> {
    const body = topics.map(({ topic, partitions, replicas, configs }) => ({
      name: topic,
      ...(partitions < 0 ? {} : { partitions }),
      ...(replicas < 0 ? {} : { replicationFactor: replicas }),
      configs: Object.fromEntries(configs),
    }));
    const answer = await this.client.call("topics.create", { topics: body, validateOnly: dry });
    return answer.topics.map((each) => ({
      topic: each.name,
      ...outcomeOf("error" in each ? each.error : undefined),
    }));
  }

  async delete(topics: ReadonlyArray<string>): Promise<TopicOutcome[]> {
    const answer = await this.client.call("topics.delete", { topics });
    return answer.topics.map(({ name, error }) => ({ topic: name, ...outcomeOf(error) }));
  }

  /** None that are set: the protocol does not say. */
  async configs(topics: ReadonlyArray<string>): Promise<TopicConfigs[]> {
    return topics.map((topic) => ({ topic, configs: [], ...outcomeOf(undefined) })).sort(byTopic);
  }

  alterConfigs(): Promise<never> {
    return refuse("configurations are altered");
  }

  grow(): Promise<never> {
    return refuse("partitions are added");
  }

  trim(): Promise<never> {
    return refuse("records are deleted");
  }
}
