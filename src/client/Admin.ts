/**
 * The verbs of an administrator over the client's connection: topics, groups, offsets. What must stay true: what only
 * reads is asked again when a connection ends under it; what changes something is not, and says so.
 */
import type {
  GroupDescription,
  Isolation,
  NewTopic,
  OffsetQuery,
  OffsetToCommit,
  TopicDescription,
  TopicPartition,
  TopicSummary,
  Verb,
  Verbs,
  WireError,
} from "../gateway/Messages.ts";
import { KafkaError } from "./ClientError.ts";
import type { Session } from "./Session.ts";

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** For all attempts, in milliseconds (default 30,000). */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;

type Answer<V extends Verb> = Verbs[V]["answer"];
type Good<T> = Exclude<T, { readonly error: WireError }>;

export class Admin {
  constructor(private readonly session: Session) {}

  readonly topics = {
    list: async (options?: CallOptions): Promise<ReadonlyArray<TopicSummary>> =>
      (await this.read("topics.list", {}, options)).topics,

    /** Rejects with the first topic's error. */
    describe: async (
      names: string | ReadonlyArray<string>,
      options?: CallOptions,
    ): Promise<ReadonlyArray<Good<TopicDescription>>> => {
      const { topics } = await this.read("topics.describe", { topics: listOf(names) }, options);
      return topics.map((topic) => good(topic, topic.name));
    },

    /** Rejects with the first topic's error, as `TOPIC_ALREADY_EXISTS`. */
    create: async (
      topics: string | NewTopic | ReadonlyArray<string | NewTopic>,
      options: CallOptions & { readonly validateOnly?: boolean } = {},
    ): Promise<ReadonlyArray<Good<Answer<"topics.create">["topics"][number]>>> => {
      const list = (Array.isArray(topics) ? topics : [topics]) as ReadonlyArray<string | NewTopic>;
      const body = { topics: list.map((topic) => (typeof topic === "string" ? { name: topic } : topic)) };
      const { validateOnly } = options;
      const answer = await this.change(
        "topics.create",
        validateOnly === undefined ? body : { ...body, validateOnly },
        options,
      );
      return answer.topics.map((topic) => good(topic, topic.name));
    },

    delete: async (names: string | ReadonlyArray<string>, options?: CallOptions): Promise<void> => {
      const { topics } = await this.change("topics.delete", { topics: listOf(names) }, options);
      for (const { name, error } of topics) if (error !== undefined) throw new KafkaError(error, name);
    },
  };

  readonly offsets = {
    list: async (
      partitions: ReadonlyArray<TopicPartition & { readonly at: OffsetQuery }>,
      options: CallOptions & { readonly isolation?: Isolation } = {},
    ): Promise<ReadonlyArray<Good<Answer<"offsets.list">["partitions"][number]>>> => {
      const { isolation } = options;
      const body = isolation === undefined ? { partitions } : { partitions, isolation };
      const answer = await this.read("offsets.list", body, options);
      return answer.partitions.map((one) => good(one, `${one.topic}-${one.partition}`));
    },
  };

  readonly groups = {
    list: async (
      filter: Verbs["groups.list"]["body"] = {},
      options?: CallOptions,
    ): Promise<Answer<"groups.list">["groups"]> => (await this.read("groups.list", filter, options)).groups,

    describe: async (
      ids: string | ReadonlyArray<string>,
      options?: CallOptions,
    ): Promise<ReadonlyArray<GroupDescription>> => {
      const { groups } = await this.read("groups.describe", { groups: listOf(ids) }, options);
      return groups.map((group) => good(group, group.id));
    },

    delete: async (ids: string | ReadonlyArray<string>, options?: CallOptions): Promise<void> => {
      const { groups } = await this.change("groups.delete", { groups: listOf(ids) }, options);
      for (const { id, error } of groups) if (error !== undefined) throw new KafkaError(error, id);
    },

    /** What a group has committed. */
    offsets: async (
      group: string,
      partitions?: ReadonlyArray<TopicPartition>,
      options?: CallOptions,
    ): Promise<ReadonlyArray<Good<Answer<"groups.offsets">["partitions"][number]>>> => {
      const body = partitions === undefined ? { group } : { group, partitions };
      const answer = await this.read("groups.offsets", body, options);
      return answer.partitions.map((one) => good(one, `${one.topic}-${one.partition}`));
    },

    /** Resets a group's offsets; the group must have no members. */
    commit: async (group: string, offsets: ReadonlyArray<OffsetToCommit>, options?: CallOptions): Promise<void> => {
      const { partitions } = await this.change("groups.commit", { group, offsets }, options);
      for (const one of partitions)
        if (one.error !== undefined) throw new KafkaError(one.error, `${one.topic}-${one.partition}`);
    },
  };

  /** Any verb, as the protocol has it; sent once unless `kind` says otherwise. */
  call<V extends Verb>(
    verb: V,
    body: Verbs[V]["body"],
    options: CallOptions & { readonly kind?: "read" | "once" } = {},
  ): Promise<Answer<V>> {
    const { signal, timeoutMs = TIMEOUT_MS, kind = "once" } = options;
    return this.session.call(verb, body, { kind, timeoutMs, signal });
  }

  private read<V extends Verb>(verb: V, body: Verbs[V]["body"], options: CallOptions = {}): Promise<Answer<V>> {
    return this.call(verb, body, { ...options, kind: "read" });
  }

  private change<V extends Verb>(verb: V, body: Verbs[V]["body"], options: CallOptions = {}): Promise<Answer<V>> {
    return this.call(verb, body, options);
  }
}

const listOf = (names: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof names === "string" ? [names] : names;

const good = <T extends object>(one: T, what: string): Good<T> => {
  if ("error" in one && one.error !== undefined) throw new KafkaError(one.error as WireError, what);
  return one as Good<T>;
};
