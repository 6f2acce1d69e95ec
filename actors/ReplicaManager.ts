/**
 * The ReplicaManager: which partitions this broker hosts, by topic id, and the way to each partition's actor. It follows
 * the published metadata image: what appears is created, what goes is closed, its folder renamed and removed later. What
 * must stay true: one actor per hosted partition and per log, for its whole life; a partition is opened before its
 * first use, not at start; nothing is deleted but what a committed record removed (S1).
 */

import type { DelayedFetches } from "../src/api/DelayedFetch.ts";
import type { AppendCommand, DeleteRecordsReply, LogDirDescription, ReplicaManagerPort } from "../src/api/Ports.ts";
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import { TopicConfig } from "../src/config/TopicConfig.ts";
import { partitionOfDirectory } from "../src/log/Checkpoints.ts";
import type { ValidationRules } from "../src/log/LogValidator.ts";
import type { VerificationGuard, VerificationRequest } from "../src/log/Verifications.ts";
import { touchedTopics } from "../src/metadata/MetadataDelta.ts";
import {
  ConfigResourceType,
  configOverrides,
  type MetadataImage,
  type PartitionRegistration,
  type TopicImage,
} from "../src/metadata/MetadataImage.ts";
import type { MetadataRecord } from "../src/metadata/MetadataRecords.ts";
import { LostFirstBatches } from "../src/partition/LostFirstBatches.ts";
import type { PartitionRole } from "../src/partition/Partition.ts";
import type { PartitionView } from "../src/partition/PartitionView.ts";
import { DiskError } from "../src/platform/Disk.ts";
import { isPending, type MaybePending, type MonotonicMs, type Offset, type Uuid } from "../src/prelude/Types.ts";
import { Errors } from "../src/protocol/Errors.ts";
import { Codec, type Codecs } from "../src/record/Compression.ts";
import type { ActorContext } from "./Actor.ts";
import type { LogDirectory, OpenedLog } from "./LogDirectory.ts";
import { type LoadedLog, Partition, type PartitionMessage, type PartitionSettings } from "./Partition.ts";

export interface ReplicaManagerEnvironment extends ActorContext {
  readonly nodeId: number;
  readonly config: () => BrokerConfig;
  readonly codecs: Codecs;
  readonly directory: LogDirectory;
  readonly delayedFetches: DelayedFetches;
}

/** `log.flush.policy=interval` without `log.flush.interval.ms`. */
const DEFAULT_FLUSH_INTERVAL_MS = 1000;

/** A partition that could not be opened because of the disk is tried again on a request after so long. */
const REOPEN_AFTER_MS = 1000;

/** A hosted partition before and after its log is opened. */
interface Hosted {
  registration: PartitionRegistration;
  /** undefined until first used; the error why it cannot be opened; or the actor. */
  opened: Partition | { readonly error: string; readonly retryAt: MonotonicMs } | undefined;
  /** While an opening waits for the disk: who wants the actor meanwhile. */
  opening: Promise<Partition | undefined> | undefined;
  /** What waits for the opening, in order. */
  readonly waiting: Array<(partition: Partition | undefined) => void>;
  /** Producers whose batches were refused because the log could not be opened. */
  readonly refused: LostFirstBatches;
}

interface HostedTopic {
  topic: TopicImage;
  config: TopicConfig;
  rules: Omit<ValidationRules, "topicPartition" | "now" | "produceVersion">;
  /** By partition index; undefined where this broker has no replica. */
  readonly partitions: Array<Hosted | undefined>;
}

export class ReplicaManager implements ReplicaManagerPort {
  private readonly topics = new Map<Uuid, HostedTopic>();

  constructor(private readonly environment: ReplicaManagerEnvironment) {}

  view(topicId: Uuid, index: number): PartitionView | number {
    const topic = this.topics.get(topicId);
    if (topic === undefined) return Errors.UNKNOWN_TOPIC_ID;
    const hosted = topic.partitions[index];
    if (hosted === undefined) return Errors.UNKNOWN_TOPIC_OR_PARTITION;
    const partition = this.partition(topic, index, hosted);
    if (partition === undefined) return Errors.KAFKA_STORAGE_ERROR;
    if (isPending(partition)) return Errors.NOT_LEADER_OR_FOLLOWER;
    return partition.view ?? Errors.KAFKA_STORAGE_ERROR;
  }

  append(topicId: Uuid, index: number, command: AppendCommand): void {
    const refused = (error: number): void => {
      // The log may be open before the next of its pipelined batches is here.
      if (error === Errors.KAFKA_STORAGE_ERROR)
        this.topics.get(topicId)?.partitions[index]?.refused.refused(command.batch.info);
      refuse(command, error);
    };
    this.tell(topicId, index, { kind: "append", command }, refused);
  }

  beginVerification(
    topicId: Uuid,
    index: number,
    request: VerificationRequest,
  ): MaybePending<VerificationGuard | undefined | number> {
    const topic = this.topics.get(topicId);
    const hosted = topic?.partitions[index];
    if (topic === undefined || hosted === undefined) return Errors.UNKNOWN_TOPIC_OR_PARTITION;
    const partition = this.partition(topic, index, hosted);
    const begin = (opened: Partition | undefined): VerificationGuard | undefined | number => {
      if (opened !== undefined)
        return opened.beginVerification(request, this.environment.config().number("producer.id.expiration.ms"));
      // As with a batch that came so far: the log may be open before the next one is here.
      hosted.refused.refused(request);
      return Errors.KAFKA_STORAGE_ERROR;
    };
    // Refused while the log is being opened, a first batch would come again behind the one that was sent after it.
    return isPending(partition) ? partition.then(begin) : begin(partition);
  }

  deleteRecords(topicId: Uuid, index: number, before: Offset, settle: (reply: DeleteRecordsReply) => void): void {
    const refused = (error: number): void => settle({ error, lowWatermark: -1 });
    const policy = this.topics.get(topicId)?.config.list("cleanup.policy") ?? [];
    if (policy.includes("compact") && !policy.includes("delete")) return refused(Errors.POLICY_VIOLATION);
    this.tell(topicId, index, { kind: "deleteRecords", before, settle }, refused);
  }

  /** Messages that come while the log is being opened wait for it, in their order. */
  private tell(topicId: Uuid, index: number, message: PartitionMessage, refused: (error: number) => void): void {
    const topic = this.topics.get(topicId);
    const hosted = topic?.partitions[index];
    if (topic === undefined || hosted === undefined) return refused(Errors.UNKNOWN_TOPIC_OR_PARTITION);
    const partition = this.partition(topic, index, hosted);
    const deliver = (opened: Partition | undefined): void => {
      if (opened === undefined) refused(Errors.KAFKA_STORAGE_ERROR);
      else opened.actor.tell(message);
    };
    if (isPending(partition)) hosted.waiting.push(deliver);
    else deliver(partition);
  }

  describeLogDirs(wanted: ReadonlyMap<string, ReadonlySet<number>> | null): LogDirDescription[] {
    const { directory } = this.environment;
    const topics: Array<LogDirDescription["topics"][number]> = [];
    for (const { topic, partitions } of this.topics.values()) {
      const indexes = wanted?.get(topic.name);
      if (wanted !== null && indexes === undefined) continue;
      const described: Array<{ partition: number; size: number }> = [];
      for (const [index, hosted] of partitions.entries()) {
        if (hosted === undefined || (indexes !== undefined && !indexes.has(index))) continue;
        const size =
          hosted.opened instanceof Partition
            ? (hosted.opened.view?.log.size ?? 0)
            : directory.sizeOf({ topic: topic.name, topicId: topic.id, partition: index });
        described.push({ partition: index, size });
      }
      if (described.length > 0) topics.push({ name: topic.name, partitions: described });
    }
    return [{ path: directory.path, ...directory.space(), topics }];
  }

  validationRules({ id }: TopicImage, index: number, produceVersion: number): ValidationRules | undefined {
    const topic = this.topics.get(id);
    if (topic === undefined) return undefined;
    const topicPartition = `${topic.topic.name}-${index}`;
    return { ...topic.rules, topicPartition, now: this.environment.clock.wall(), produceVersion };
  }

  /** Hosts what the image has, at start: nothing is opened yet. */
  host(image: MetadataImage): void {
    for (const topic of image.topicsById.values()) this.applyTopic(image, topic);
  }

  /** Follows one published change of the image. */
  apply(image: MetadataImage, records: ReadonlyArray<MetadataRecord>): void {
    const touched = touchedTopics(records);
    for (const record of records) {
      if (record.type !== "ConfigRecord") continue;
      const { resourceType, resourceName } = record.message;
      // A broker's setting may be every topic's default.
      if (resourceType === ConfigResourceType.BROKER) for (const id of this.topics.keys()) touched.add(id);
      if (resourceType !== ConfigResourceType.TOPIC) continue;
      const topic = image.topicsByName.get(resourceName);
      if (topic !== undefined) touched.add(topic.id);
    }
    for (const id of touched) {
      const topic = image.topicsById.get(id);
      if (topic === undefined) this.removeTopic(id);
      else this.applyTopic(image, topic);
    }
  }

  /** Opens every hosted log: after an unclean stop, each is recovered before anyone is served. */
  async openAll(): Promise<void> {
    for (const topic of this.topics.values()) {
      for (const [index, hosted] of topic.partitions.entries()) {
        if (hosted !== undefined) await this.partition(topic, index, hosted);
      }
    }
  }

  /** Whether a folder of this name and topic id is a hosted partition's; without an id its name decides. */
  hosts(folder: string, topicId: Uuid | undefined): boolean {
    const named = partitionOfDirectory(folder);
    if (named === undefined) return false;
    const isOf = (hosted: HostedTopic | undefined): boolean =>
      hosted?.topic.name === named.topic && hosted.partitions[named.partition] !== undefined;
    if (topicId !== undefined) return isOf(this.topics.get(topicId));
    for (const hosted of this.topics.values()) if (isOf(hosted)) return true;
    return false;
  }

  /**
   * Every hosted partition that has records, one after another, with its topic's configuration at that moment; one that
   * was not used yet is opened for it, if its topic is `wanted`. What comes or goes meanwhile may be missed.
   */
  async *maintained(
    wanted: (config: TopicConfig) => boolean = () => true,
  ): AsyncIterable<{ readonly partition: Partition; readonly config: TopicConfig }> {
    for (const id of [...this.topics.keys()]) {
      const topic = this.topics.get(id);
      if (topic === undefined || !wanted(topic.config)) continue;
      for (const [index, hosted] of topic.partitions.entries()) {
        if (hosted === undefined || this.topics.get(id) !== topic) continue;
        if (hosted.opened === undefined) {
          const identity = { topic: topic.topic.name, topicId: id, partition: index };
          if (this.environment.directory.sizeOf(identity) === 0) continue;
        }
        const partition = await this.partition(topic, index, hosted);
        if (partition?.view !== undefined) yield { partition, config: topic.config };
      }
    }
  }

  /** Every partition whose log is open. */
  *opened(): Iterable<Partition> {
    for (const topic of this.topics.values()) {
      for (const hosted of topic.partitions) if (hosted?.opened instanceof Partition) yield hosted.opened;
    }
  }

  private partition(topic: HostedTopic, index: number, hosted: Hosted): MaybePending<Partition | undefined> {
    if (hosted.opened instanceof Partition) return hosted.opened;
    if (hosted.opened !== undefined && this.environment.clock.monotonic() < hosted.opened.retryAt) return undefined;
    if (hosted.opening !== undefined) return hosted.opening;
    return this.open(topic, index, hosted);
  }

  private open(topic: HostedTopic, index: number, hosted: Hosted): MaybePending<Partition | undefined> {
    const { directory } = this.environment;
    const { name, id } = topic.topic;
    const finish = (outcome: Hosted["opened"]): void => {
      hosted.opening = undefined;
      hosted.opened = outcome;
      for (const deliver of hosted.waiting.splice(0)) deliver(outcome instanceof Partition ? outcome : undefined);
    };
    const failed = (error: unknown): undefined => {
      // A full disk or too many files pass; damage does not, and looking again would read the whole log.
      const passes = error instanceof DiskError;
      const now = this.environment.clock.monotonic();
      finish({ error: String(error), retryAt: passes ? now + REOPEN_AFTER_MS : Number.POSITIVE_INFINITY });
      this.environment.log("error", `${name}-${index} is offline: ${String(error)}`);
      return undefined;
    };
    const ready = (log: OpenedLog): Partition => {
      const partition = this.startPartition(topic, index, hosted, log);
      finish(partition);
      return partition;
    };
    try {
      const opening = directory.open({ topic: name, topicId: id, partition: index }, topic.config);
      if (!isPending(opening)) return ready(opening);
      hosted.opening = opening.then(ready, failed);
      return hosted.opening;
    } catch (error) {
      return failed(error);
    }
  }

  private startPartition(topic: HostedTopic, index: number, hosted: Hosted, opened: OpenedLog): Partition {
    const { directory, delayedFetches, nodeId } = this.environment;
    const { name, id } = topic.topic;
    const identity = { topic: name, topicId: id, partition: index, nodeId };
    return new Partition(
      identity,
      opened,
      this.role(topic, hosted.registration),
      this.settings(topic),
      opened.durableOffset,
      {
        ...this.environment,
        reopen: (broken: LoadedLog, keepBelow, owed) => directory.reopen(broken, keepBelow, owed),
        dirty: (log) => directory.flusher.tell(log),
        space: directory.freeSpace,
        published: (view) => delayedFetches.published(view),
        wentOffline: (_identity, why) => this.environment.log("error", `${name}-${index} is offline: ${why}`),
      },
      hosted.refused,
    );
  }

  private role(topic: HostedTopic, registration: PartitionRegistration): PartitionRole {
    return {
      leaderEpoch: registration.leaderEpoch,
      isLeader: registration.leader === this.environment.nodeId,
      isrSize: registration.isr.length,
      replicaCount: registration.replicas.length,
      minInSyncReplicas: topic.config.number("min.insync.replicas"),
    };
  }

  private settings(topic: HostedTopic): PartitionSettings {
    const policy = this.environment.config().string("log.flush.policy") as PartitionSettings["policy"];
    const ownMs = topic.config.number("flush.ms");
    const flushMs = policy === "interval" ? Math.min(this.intervalMs(), ownMs) : ownMs;
    return { policy, flushMessages: topic.config.number("flush.messages"), flushMs };
  }

  private intervalMs(): number {
    return this.environment.config().optionalNumber("log.flush.interval.ms") ?? DEFAULT_FLUSH_INTERVAL_MS;
  }

  private applyTopic(image: MetadataImage, topic: TopicImage): void {
    const config = TopicConfig.of(
      this.environment.config(),
      configOverrides(image, ConfigResourceType.TOPIC, topic.name),
    );
    let hostedTopic = this.topics.get(topic.id);
    if (hostedTopic === undefined) {
      hostedTopic = { topic, config, rules: this.rulesOf(config), partitions: [] };
      this.topics.set(topic.id, hostedTopic);
    } else {
      hostedTopic.topic = topic;
      hostedTopic.config = config;
      hostedTopic.rules = this.rulesOf(config);
    }
    for (const [index, registration] of topic.partitions.entries()) {
      if (!registration.replicas.includes(this.environment.nodeId)) continue;
      const hosted = hostedTopic.partitions[index];
      if (hosted === undefined) {
        const refused = new LostFirstBatches();
        hostedTopic.partitions[index] = { registration, opened: undefined, opening: undefined, waiting: [], refused };
        continue;
      }
      hosted.registration = registration;
      if (!(hosted.opened instanceof Partition)) continue;
      hosted.opened.actor.tell({ kind: "role", role: this.role(hostedTopic, registration) });
      hosted.opened.actor.tell({
        kind: "settings",
        settings: this.settings(hostedTopic),
        log: this.environment.directory.logConfig(config),
      });
    }
  }

  private rulesOf(config: TopicConfig): HostedTopic["rules"] {
    return {
      maxMessageBytes: config.number("max.message.bytes"),
      segmentBytes: config.segmentBytes,
      timestampType: config.string("message.timestamp.type") === "LogAppendTime" ? 1 : 0,
      beforeMaxMs: config.number("message.timestamp.before.max.ms"),
      afterMaxMs: config.number("message.timestamp.after.max.ms"),
      compacted: config.compacted,
      codecs: this.environment.codecs,
      ...compressionOf(config),
    };
  }

  /** A committed record removed the topic: waiters are told, actors end, folders are renamed now and removed later. */
  private removeTopic(id: Uuid): void {
    const topic = this.topics.get(id);
    if (topic === undefined) return;
    this.topics.delete(id);
    const { directory, delayedFetches } = this.environment;
    for (const [index, hosted] of topic.partitions.entries()) {
      if (hosted === undefined) continue;
      const delayMs = this.environment.config().number("log.segment.delete.delay.ms");
      const remove = (): void =>
        directory.markDeleted({ topic: topic.topic.name, topicId: id, partition: index }, delayMs);
      const { opened } = hosted;
      if (opened instanceof Partition) {
        const closed = (): void => {
          opened.close();
          remove();
        };
        opened.actor.tell({ kind: "close", error: Errors.UNKNOWN_TOPIC_OR_PARTITION, closed });
      } else if (hosted.opening !== undefined) void hosted.opening.then((partition) => partition?.close()).then(remove);
      else remove();
      delayedFetches.lost(id, index);
    }
  }
}

/** The codec batches are stored with, whatever they came with; nothing for `compression.type=producer`. */
const compressionOf = (config: TopicConfig): Pick<ValidationRules, "compression"> => {
  switch (config.string("compression.type")) {
    case "uncompressed":
      return { compression: { codec: Codec.none } };
    case "gzip": {
      const level = config.number("compression.gzip.level");
      return { compression: level === -1 ? { codec: Codec.gzip } : { codec: Codec.gzip, level } };
    }
    case "snappy":
      return { compression: { codec: Codec.snappy } };
    case "lz4":
      return { compression: { codec: Codec.lz4, level: config.number("compression.lz4.level") } };
    case "zstd":
      return { compression: { codec: Codec.zstd, level: config.number("compression.zstd.level") } };
    default:
      return {};
  }
};

const refuse = (command: AppendCommand, error: number): void => {
  command.applied();
  command.settle({ error, baseOffset: -1, logAppendTime: -1, logStartOffset: -1, message: null });
};
