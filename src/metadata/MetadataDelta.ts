/**
 * The fold of the metadata log: records of one append become the next image. It owns the drafts that exist while it
 * runs and copies only what the records touch, once. What must stay true: replaying is total for every record the
 * controller writes; a record that contradicts the image (a change to a broker or topic that is not there, a producer
 * id that goes back) is damage and throws `MetadataRecordError`.
 */
import type { LeaderEpoch, Offset, Uuid } from "../prelude/Types.ts";
import type { BrokerRegistrationChangeRecord } from "../protocol/generated/BrokerRegistrationChangeRecord.ts";
import type { ConfigRecord } from "../protocol/generated/ConfigRecord.ts";
import type { FeatureLevelRecord } from "../protocol/generated/FeatureLevelRecord.ts";
import type { PartitionChangeRecord } from "../protocol/generated/PartitionChangeRecord.ts";
import type { PartitionRecord } from "../protocol/generated/PartitionRecord.ts";
import type { ProducerIdsRecord } from "../protocol/generated/ProducerIdsRecord.ts";
import type { TopicRecord } from "../protocol/generated/TopicRecord.ts";
import {
  type BrokerRegistration,
  type ConfigOverrides,
  ConfigResourceType,
  configResourceKey,
  LATEST_METADATA_VERSION,
  METADATA_VERSION_FEATURE,
  type MetadataImage,
  MIN_METADATA_VERSION,
  type PartitionRegistration,
  type TopicImage,
} from "./MetadataImage.ts";
import { type MetadataRecord, MetadataRecordError, type OtherRecord } from "./MetadataRecords.ts";
import type { ShardedMapEditor } from "./ShardedMap.ts";
import { collisionForm } from "./TopicName.ts";

/**
 * The image after `records`, the last of which stands before `endOffset` (exclusive) and was written in `epoch`.
 * Control batches count in offsets and are no records: the caller passes the log's end.
 */
export const applyRecords = (
  image: MetadataImage,
  records: ReadonlyArray<MetadataRecord>,
  endOffset: Offset,
  epoch: LeaderEpoch = image.provenance.lastContainedEpoch,
): MetadataImage => {
  const delta = new MetadataDelta(image);
  for (const record of records) delta.replay(record);
  return delta.apply(endOffset, epoch);
};

/** Ids of the topics that `records` create, change or remove. */
export const touchedTopics = (records: ReadonlyArray<MetadataRecord>): Set<Uuid> => {
  const ids = new Set<Uuid>();
  for (const record of records) {
    switch (record.type) {
      case "TopicRecord":
      case "PartitionRecord":
      case "PartitionChangeRecord":
      case "RemoveTopicRecord":
        ids.add(record.message.topicId);
    }
  }
  return ids;
};

interface TopicDraft {
  readonly name: string;
  readonly id: Uuid;
  readonly partitions: Array<PartitionRegistration>;
  /** Partitions present; equal to the length when there are no holes. */
  count: number;
}

const NONE: ReadonlyArray<never> = [];
/** Kafka's `DirectoryId.MIGRATING`: a replica's directory that nobody named. */
const MIGRATING_DIRECTORY: Uuid = "AAAAAAAAAAAAAAAAAAAAAA";
/** In a PartitionChangeRecord: the leader stays. */
const NO_LEADER_CHANGE = -2;

class MetadataDelta {
  private features: Map<string, number> | undefined;
  private brokers: Map<number, BrokerRegistration> | undefined;
  private topicsByName: ShardedMapEditor<TopicImage> | undefined;
  private topicsById: ShardedMapEditor<TopicImage> | undefined;
  private collisions: ShardedMapEditor<ReadonlyArray<string>> | undefined;
  private configs: ShardedMapEditor<ConfigOverrides> | undefined;
  private readonly configDrafts = new Map<string, Map<string, string>>();
  private readonly topicDrafts = new Map<Uuid, TopicDraft>();
  private nextProducerId: number;
  private others: Array<OtherRecord> | undefined;
  private transaction: Array<MetadataRecord> | undefined;

  constructor(private readonly image: MetadataImage) {
    this.nextProducerId = image.nextProducerId;
    this.transaction = image.transaction === undefined ? undefined : [...image.transaction];
  }

  replay(record: MetadataRecord): void {
    if (this.transaction !== undefined) {
      this.replayInTransaction(this.transaction, record);
      return;
    }
    switch (record.type) {
      case "TopicRecord":
        this.addTopic(record.message);
        return;
      case "PartitionRecord":
        this.addPartition(record.message);
        return;
      case "PartitionChangeRecord":
        this.changePartition(record.message);
        return;
      case "RemoveTopicRecord":
        this.removeTopic(record.message.topicId);
        return;
      case "ConfigRecord":
        this.setConfig(record.message);
        return;
      case "ProducerIdsRecord":
        this.setNextProducerId(record.message);
        return;
      case "RegisterBrokerRecord":
        this.editBrokers().set(record.message.brokerId, record.message);
        return;
      case "UnregisterBrokerRecord":
        this.editBrokers().delete(record.message.brokerId);
        return;
      case "BrokerRegistrationChangeRecord":
        this.changeBroker(record.message);
        return;
      case "FeatureLevelRecord":
        this.setFeature(record.message);
        return;
      case "BeginTransactionRecord":
        this.transaction = [];
        return;
      case "EndTransactionRecord":
      case "AbortTransactionRecord":
        throw new MetadataRecordError(`${record.type} without a transaction`);
      case "NoOpRecord":
        return;
      case "OtherRecord":
        this.others ??= [...this.image.others];
        this.others.push(record.message);
        return;
    }
  }

  apply(endOffset: Offset, epoch: LeaderEpoch): MetadataImage {
    const { image } = this;
    for (const [key, draft] of this.configDrafts) this.finishConfig(key, draft);
    for (const draft of this.topicDrafts.values()) this.finishTopic(draft);
    return {
      provenance: { lastContainedOffset: endOffset - 1, lastContainedEpoch: epoch },
      clusterId: image.clusterId,
      features: this.features ?? image.features,
      brokers: this.brokers ?? image.brokers,
      topicsByName: this.topicsByName?.finish() ?? image.topicsByName,
      topicsById: this.topicsById?.finish() ?? image.topicsById,
      collisions: this.collisions?.finish() ?? image.collisions,
      configs: this.configs?.finish() ?? image.configs,
      nextProducerId: this.nextProducerId,
      others: this.others ?? image.others,
      transaction: this.transaction,
    };
  }

  private replayInTransaction(pending: MetadataRecord[], record: MetadataRecord): void {
    switch (record.type) {
      case "BeginTransactionRecord":
        throw new MetadataRecordError("BeginTransactionRecord inside a transaction");
      case "AbortTransactionRecord":
        this.transaction = undefined;
        return;
      case "EndTransactionRecord":
        this.transaction = undefined;
        for (const each of pending) this.replay(each);
        return;
      default:
        pending.push(record);
    }
  }

  private addTopic(record: TopicRecord): void {
    if (this.topicDrafts.has(record.topicId) || this.image.topicsById.has(record.topicId)) {
      throw new MetadataRecordError(`TopicRecord for topic id ${record.topicId}, which exists`);
    }
    this.topicDrafts.set(record.topicId, { name: record.name, id: record.topicId, partitions: [], count: 0 });
    const form = collisionForm(record.name);
    if (form === null) return;
    this.collisions ??= this.image.collisions.edit();
    this.collisions.set(form, [...(this.collisions.get(form) ?? NONE), record.name]);
  }

  private addPartition(record: PartitionRecord): void {
    const draft = this.draft(record.topicId, "PartitionRecord");
    if (draft.partitions[record.partitionId] === undefined) draft.count += 1;
    draft.partitions[record.partitionId] = registrationOf(record);
  }

  private changePartition(record: PartitionChangeRecord): void {
    const draft = this.draft(record.topicId, "PartitionChangeRecord");
    const before = draft.partitions[record.partitionId];
    if (before === undefined) {
      throw new MetadataRecordError(
        `PartitionChangeRecord for ${draft.name}-${record.partitionId}, which is not there`,
      );
    }
    draft.partitions[record.partitionId] = mergePartition(before, record);
  }

  private removeTopic(id: Uuid): void {
    const draft = this.draft(id, "RemoveTopicRecord");
    this.topicDrafts.delete(id);
    this.topicsByName ??= this.image.topicsByName.edit();
    this.topicsById ??= this.image.topicsById.edit();
    // A topic of the same name may have been made again in this very append: only our own entry goes.
    if (this.topicsByName.get(draft.name)?.id === id) this.topicsByName.delete(draft.name);
    this.topicsById.delete(id);
    const key = configResourceKey(ConfigResourceType.TOPIC, draft.name);
    this.configDrafts.set(key, new Map());
    const form = collisionForm(draft.name);
    if (form === null) return;
    this.collisions ??= this.image.collisions.edit();
    const left = (this.collisions.get(form) ?? NONE).filter((name) => name !== draft.name);
    if (left.length === 0) this.collisions.delete(form);
    else this.collisions.set(form, left);
  }

  private draft(id: Uuid, what: string): TopicDraft {
    const draft = this.topicDrafts.get(id);
    if (draft !== undefined) return draft;
    // The editor, when there is one, knows which topics this append has already removed.
    const topic = (this.topicsById ?? this.image.topicsById).get(id);
    if (topic === undefined) throw new MetadataRecordError(`${what} for topic id ${id}, which is not there`);
    const copy = { name: topic.name, id, partitions: [...topic.partitions], count: topic.partitions.length };
    this.topicDrafts.set(id, copy);
    return copy;
  }

  private finishTopic(draft: TopicDraft): void {
    if (draft.count !== draft.partitions.length) {
      throw new MetadataRecordError(`Topic ${draft.name} has ${draft.count} partitions with holes between them`);
    }
    const topic: TopicImage = { name: draft.name, id: draft.id, partitions: draft.partitions };
    this.topicsByName ??= this.image.topicsByName.edit();
    this.topicsById ??= this.image.topicsById.edit();
    this.topicsByName.set(topic.name, topic);
    this.topicsById.set(topic.id, topic);
  }

  private setConfig(record: ConfigRecord): void {
    const key = configResourceKey(record.resourceType, record.resourceName);
    let draft = this.configDrafts.get(key);
    if (draft === undefined) {
      draft = new Map(this.image.configs.get(key));
      this.configDrafts.set(key, draft);
    }
    if (record.value === null) draft.delete(record.name);
    else draft.set(record.name, record.value);
  }

  private finishConfig(key: string, draft: Map<string, string>): void {
    this.configs ??= this.image.configs.edit();
    if (draft.size === 0) this.configs.delete(key);
    else this.configs.set(key, draft);
  }

  private setNextProducerId(record: ProducerIdsRecord): void {
    if (record.nextProducerId < this.nextProducerId) {
      throw new MetadataRecordError(
        `Next producer id goes back from ${this.nextProducerId} to ${record.nextProducerId}`,
      );
    }
    this.nextProducerId = record.nextProducerId;
  }

  private editBrokers(): Map<number, BrokerRegistration> {
    this.brokers ??= new Map(this.image.brokers);
    return this.brokers;
  }

  private changeBroker(record: BrokerRegistrationChangeRecord): void {
    const brokers = this.editBrokers();
    const before = brokers.get(record.brokerId);
    if (before === undefined || before.brokerEpoch !== record.brokerEpoch) {
      throw new MetadataRecordError(
        `BrokerRegistrationChangeRecord for broker ${record.brokerId} epoch ${record.brokerEpoch}, which is not registered`,
      );
    }
    brokers.set(record.brokerId, {
      ...before,
      fenced: record.fenced === 0 ? before.fenced : record.fenced === 1,
      inControlledShutdown: before.inControlledShutdown || record.inControlledShutdown === 1,
      logDirs: record.logDirs.length === 0 ? before.logDirs : record.logDirs,
      cordonedLogDirs: record.cordonedLogDirs ?? before.cordonedLogDirs,
    });
  }

  private setFeature(record: FeatureLevelRecord): void {
    const level = record.featureLevel;
    if (record.name === METADATA_VERSION_FEATURE && (level < MIN_METADATA_VERSION || level > LATEST_METADATA_VERSION)) {
      throw new MetadataRecordError(
        `The metadata log is at metadata.version ${level}; this version of Odradek reads ${MIN_METADATA_VERSION} to ${LATEST_METADATA_VERSION}`,
      );
    }
    this.features ??= new Map(this.image.features);
    if (level === 0) this.features.delete(record.name);
    else this.features.set(record.name, level);
  }
}

/** Equal lists share one array: in most partitions replicas and ISR are the same and the other lists are empty. */
const share = (list: ReadonlyArray<number> | null, other: ReadonlyArray<number>): ReadonlyArray<number> => {
  if (list === null || list.length === 0) return NONE;
  return list.length === other.length && list.every((id, at) => id === other[at]) ? other : list;
};

const directoriesOf = (directories: ReadonlyArray<Uuid>, replicas: ReadonlyArray<number>): ReadonlyArray<Uuid> =>
  directories.length === replicas.length ? directories : replicas.map(() => MIGRATING_DIRECTORY);

const registrationOf = (record: PartitionRecord): PartitionRegistration => ({
  replicas: record.replicas,
  isr: share(record.isr, record.replicas),
  removingReplicas: share(record.removingReplicas, NONE),
  addingReplicas: share(record.addingReplicas, NONE),
  leader: record.leader,
  leaderEpoch: record.leaderEpoch,
  partitionEpoch: record.partitionEpoch,
  leaderRecoveryState: record.leaderRecoveryState,
  directories: directoriesOf(record.directories, record.replicas),
  elr: share(record.eligibleLeaderReplicas, NONE),
  lastKnownElr: share(record.lastKnownElr, NONE),
});

/** Kafka's `PartitionRegistration.merge`: a named leader, also the same one, begins a new leader epoch. */
const mergePartition = (before: PartitionRegistration, record: PartitionChangeRecord): PartitionRegistration => {
  const replicas = record.replicas ?? before.replicas;
  const newLeader = record.leader !== NO_LEADER_CHANGE;
  return {
    replicas,
    isr: record.isr === null ? before.isr : share(record.isr, replicas),
    removingReplicas: record.removingReplicas ?? before.removingReplicas,
    addingReplicas: record.addingReplicas ?? before.addingReplicas,
    leader: newLeader ? record.leader : before.leader,
    leaderEpoch: newLeader ? before.leaderEpoch + 1 : before.leaderEpoch,
    partitionEpoch: before.partitionEpoch + 1,
    leaderRecoveryState: record.leaderRecoveryState === -1 ? before.leaderRecoveryState : record.leaderRecoveryState,
    directories: directoriesOf(record.directories ?? before.directories, replicas),
    elr: record.eligibleLeaderReplicas ?? before.elr,
    lastKnownElr: record.lastKnownElr ?? before.lastKnownElr,
  };
};
