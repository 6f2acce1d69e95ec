/** What the topic commands ask of a cluster, through whichever door. Everything rejects when nobody answers. */
import type { LeaderEpoch, Offset, Timestamp, TopicPartition, Uuid } from "../prelude/Types.ts";
import type { ErrorName } from "../protocol/Errors.ts";

/** How it went for one of several things: null, or Kafka's name of the error and what the broker said about it. */
export interface Outcome {
  readonly error: ErrorName | null;
  readonly message: string | null;
}

export type TopicOutcome = Outcome & { readonly topic: string };

export interface PartitionState {
  readonly partition: number;
  /** -1: none. */
  readonly leader: number;
  readonly leaderEpoch: LeaderEpoch;
  readonly replicas: ReadonlyArray<number>;
  readonly isr: ReadonlyArray<number>;
  readonly offline: ReadonlyArray<number>;
}

/** In order of partitions; none when there is an error. */
export type TopicState = TopicOutcome & {
  readonly topicId: Uuid;
  readonly internal: boolean;
  readonly partitions: ReadonlyArray<PartitionState>;
};

export interface ConfigEntry {
  readonly name: string;
  /** Null when there is none, or when it is a secret. */
  readonly value: string | null;
  /** Kafka's `ConfigSource`. */
  readonly source: string;
}

export type TopicConfigs = TopicOutcome & { readonly configs: ReadonlyArray<ConfigEntry> };

/** `set` and `append` and `subtract` with a value, `delete` without. */
export interface ConfigChange {
  readonly operation: "set" | "delete" | "append" | "subtract";
  readonly name: string;
  readonly value: string | null;
}

export interface NewTopic {
  readonly topic: string;
  /** -1: the broker's default. */
  readonly partitions: number;
  readonly replicas: number;
  readonly configs: ReadonlyArray<readonly [name: string, value: string]>;
}

export type OffsetQuestion = "earliest" | "latest" | { readonly timestamp: Timestamp };
export type Isolation = "read_uncommitted" | "read_committed";

/** `offset` is -1 when there is an error, or no record of that time or later. */
export type OffsetAnswer = TopicPartition & Outcome & { readonly offset: Offset };

export interface TopicDoor {
  /** Null: all of them. Sorted by name. */
  topics(names: ReadonlyArray<string> | null): Promise<TopicState[]>;
  /** Sorted by name. */
  configs(topics: ReadonlyArray<string>): Promise<TopicConfigs[]>;
  /** In the order asked. */
  offsets(partitions: ReadonlyArray<TopicPartition>, at: OffsetQuestion, isolation: Isolation): Promise<OffsetAnswer[]>;
  /** Resolves when the new topics have leaders. `dry`: only asks whether it could be done. */
  create(topics: ReadonlyArray<NewTopic>, dry: boolean): Promise<TopicOutcome[]>;
  delete(topics: ReadonlyArray<string>): Promise<TopicOutcome[]>;
  alterConfigs(
    topics: ReadonlyArray<string>,
    changes: ReadonlyArray<ConfigChange>,
    dry: boolean,
  ): Promise<TopicOutcome[]>;
  /** To so many partitions each. */
  grow(topics: ReadonlyArray<{ readonly topic: string; readonly count: number }>): Promise<TopicOutcome[]>;
  /** Deletes what is before the offsets; the answers say where the partitions begin now. */
  trim(places: ReadonlyArray<TopicPartition & { readonly offset: Offset }>): Promise<OffsetAnswer[]>;
}
