/**
 * The cluster as the metadata log says it is: an immutable snapshot, replaced once per append (`applyRecords`, the
 * fold). What must stay true: the same records give the same image whether they come live, from the log or from a
 * snapshot; an image handed out never changes, so that a reader needs no lock and a comparison by reference is enough
 * to see a change.
 */
import type { LeaderEpoch, Offset, ProducerId, Uuid } from "../prelude/Types.ts";
import type { RegisterBrokerRecord } from "../protocol/generated/RegisterBrokerRecord.ts";
import type { MetadataRecord, OtherRecord } from "./MetadataRecords.ts";
import { ShardedMap } from "./ShardedMap.ts";

/** Kafka's `ConfigResource.Type` ids. */
export const ConfigResourceType = {
  UNKNOWN: 0,
  TOPIC: 2,
  BROKER: 4,
  BROKER_LOGGER: 8,
  CLIENT_METRICS: 16,
  GROUP: 32,
} as const;

/** Kafka's `metadata.version` levels: what this build reads (3.3-IV3 … 4.3-IV0) and what it writes. */
export const METADATA_VERSION_FEATURE = "metadata.version";
export const MIN_METADATA_VERSION = 7;
export const LATEST_METADATA_VERSION = 30;

/** KIP-848's feature: at level 1 groups may follow the consumer protocol. */
export const GROUP_VERSION_FEATURE = "group.version";
export const LATEST_GROUP_VERSION = 1;

/** KIP-890's feature: at level 2 each transaction has an epoch of its own and takes its partitions in by itself. */
export const TRANSACTION_VERSION_FEATURE = "transaction.version";
export const LATEST_TRANSACTION_VERSION = 2;

/** `leader` of a partition that has none. */
export const NO_LEADER = -1;

/** A broker as it registered itself: end points, features, rack, log directories, fenced or not. */
export type BrokerRegistration = Readonly<RegisterBrokerRecord>;

export interface PartitionRegistration {
  /** Broker ids; the first is preferred as leader. */
  readonly replicas: ReadonlyArray<number>;
  readonly isr: ReadonlyArray<number>;
  readonly removingReplicas: ReadonlyArray<number>;
  readonly addingReplicas: ReadonlyArray<number>;
  /** A broker id, or `NO_LEADER`. */
  readonly leader: number;
  /** Goes up with every new leader and never back. */
  readonly leaderEpoch: LeaderEpoch;
  /** Goes up with every change. */
  readonly partitionEpoch: number;
  /** 1 while recovering from an unclean election, else 0. */
  readonly leaderRecoveryState: number;
  /** Log directory of each replica, in the order of `replicas`. */
  readonly directories: ReadonlyArray<Uuid>;
  /** Eligible leader replicas (KIP-966). */
  readonly elr: ReadonlyArray<number>;
  readonly lastKnownElr: ReadonlyArray<number>;
}

export interface TopicImage {
  readonly name: string;
  readonly id: Uuid;
  /** By partition number, without holes. */
  readonly partitions: ReadonlyArray<PartitionRegistration>;
}

export type ConfigOverrides = ReadonlyMap<string, string>;

export interface MetadataProvenance {
  /** -1 before the first record. */
  readonly lastContainedOffset: Offset;
  readonly lastContainedEpoch: LeaderEpoch;
}

export interface MetadataImage {
  readonly provenance: MetadataProvenance;
  readonly clusterId: string;
  /** Finalized features and their levels. */
  readonly features: ReadonlyMap<string, number>;
  readonly brokers: ReadonlyMap<number, BrokerRegistration>;
  readonly topicsByName: ShardedMap<TopicImage>;
  readonly topicsById: ShardedMap<TopicImage>;
  /** Names in use by their collision form (`TopicName.collisionForm`). */
  readonly collisions: ShardedMap<ReadonlyArray<string>>;
  /** Overrides by `configResourceKey`; a resource without overrides is not in it. */
  readonly configs: ShardedMap<ConfigOverrides>;
  /** First id of the next producer-id block: every id below may be in use. */
  readonly nextProducerId: ProducerId;
  /** Records kept without being understood, in the order of the log. */
  readonly others: ReadonlyArray<OtherRecord>;
  /** A metadata transaction (KIP-868) that began and has not ended: its records are not in the image yet. */
  readonly transaction: ReadonlyArray<MetadataRecord> | undefined;
}

export const emptyImage = (clusterId: string): MetadataImage => ({
  provenance: { lastContainedOffset: -1, lastContainedEpoch: -1 },
  clusterId,
  features: new Map(),
  brokers: new Map(),
  topicsByName: ShardedMap.empty(),
  topicsById: ShardedMap.empty(),
  collisions: ShardedMap.empty(),
  configs: ShardedMap.empty(),
  nextProducerId: 0,
  others: [],
  transaction: undefined,
});

export const configResourceKey = (type: number, name: string): string => `${type}/${name}`;

const NO_OVERRIDES: ConfigOverrides = new Map();

/** The dynamic overrides of a resource; a broker's name is its node id, "" is the cluster-wide default. */
export const configOverrides = (image: MetadataImage, type: number, name: string): ConfigOverrides =>
  image.configs.get(configResourceKey(type, name)) ?? NO_OVERRIDES;

/** Finalized `metadata.version`; 0 while the log is empty. */
export const metadataVersion = (image: MetadataImage): number => image.features.get(METADATA_VERSION_FEATURE) ?? 0;

/** Brokers that serve clients, by id. */
export const aliveBrokers = (image: MetadataImage): BrokerRegistration[] =>
  [...image.brokers.values()].filter((broker) => !broker.fenced).sort((a, b) => a.brokerId - b.brokerId);

const sortedNames = new WeakMap<MetadataImage["topicsByName"], ReadonlyArray<string>>();

/** Every topic's name in order; made once per set of topics. */
export const topicNames = (image: MetadataImage): ReadonlyArray<string> => {
  let names = sortedNames.get(image.topicsByName);
  if (names === undefined) {
    names = [...image.topicsByName.keys()].sort();
    sortedNames.set(image.topicsByName, names);
  }
  return names;
};
