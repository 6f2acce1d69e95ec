/**
 * The way to each group's coordinator: one actor per partition of `__consumer_offsets`, started when it is first needed.
 * What must stay true: a group is always looked up by the partition count the topic has now; a partition that is led
 * elsewhere, or gone, is not coordinated here.
 */
import * as Effect from "effect/Effect";
import type { GroupCoordinatorPort, ReplicaManagerPort, Timers } from "../src/api/Ports.ts";
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import type { GroupCommand, GroupReply } from "../src/group/GroupCoordinator.ts";
import { groupPartition } from "../src/group/JavaHash.ts";
import { touchedTopics } from "../src/metadata/MetadataDelta.ts";
import type { MetadataImage, TopicImage } from "../src/metadata/MetadataImage.ts";
import type { MetadataRecord } from "../src/metadata/MetadataRecords.ts";
import { GROUP_METADATA_TOPIC } from "../src/metadata/TopicName.ts";
import type { Uuid } from "../src/prelude/Types.ts";
import { Errors } from "../src/protocol/Errors.ts";
import type { Codecs } from "../src/record/Compression.ts";
import type { ActorContext } from "./Actor.ts";
import { GroupCoordinator } from "./GroupCoordinator.ts";

export interface GroupCoordinatorsEnvironment extends ActorContext {
  readonly nodeId: number;
  readonly config: () => BrokerConfig;
  readonly codecs: Codecs;
  readonly timers: Timers;
  readonly replicas: ReplicaManagerPort;
  readonly image: () => MetadataImage;
}

/** Used until the partition says otherwise. */
const DEFAULT_MAX_BATCH_BYTES = 1_048_588;
/** The rules of any version have the same bound. */
const ANY_PRODUCE_VERSION = 13;

export class GroupCoordinators implements GroupCoordinatorPort {
  private topicId: Uuid | undefined;
  private readonly coordinators = new Map<number, GroupCoordinator>();
  private seen: MetadataImage;

  constructor(private readonly environment: GroupCoordinatorsEnvironment) {
    this.seen = environment.image();
  }

  partitionOf(groupId: string): number | undefined {
    const topic = this.topic();
    return topic === undefined ? undefined : groupPartition(groupId, topic.partitions.length);
  }

  ask<C extends GroupCommand>(groupId: string, command: C): Effect.Effect<GroupReply<C["type"]> | number> {
    return Effect.suspend(() => {
      const partition = this.partitionOf(groupId);
      return partition === undefined ? Effect.succeed(Errors.NOT_COORDINATOR) : this.askPartition(partition, command);
    });
  }

  askAll<C extends GroupCommand>(command: C): Effect.Effect<ReadonlyArray<GroupReply<C["type"]> | number>> {
    return Effect.suspend(() => {
      const partitions = this.topic()?.partitions ?? [];
      const local = [...partitions.keys()].filter((index) => partitions[index]!.leader === this.environment.nodeId);
      return Effect.all(
        local.map((partition) => this.askPartition(partition, command)),
        { concurrency: "unbounded" },
      );
    });
  }

  /** Follows one published change: offsets of topics that are gone go. */
  published(image: MetadataImage, records: ReadonlyArray<MetadataRecord>): void {
    const before = this.seen;
    this.seen = image;
    const topics: Array<{ name: string; id: Uuid }> = [];
    for (const id of touchedTopics(records)) {
      const topic = before.topicsById.get(id);
      if (topic !== undefined && image.topicsById.get(id) === undefined) topics.push({ name: topic.name, id });
    }
    if (topics.length === 0) return;
    this.topic();
    const command = { type: "TopicsDeleted", topics } as const;
    for (const { actor } of this.coordinators.values()) {
      actor.tell({ kind: "command", command, settle: () => undefined });
    }
  }

  private askPartition<C extends GroupCommand>(
    partition: number,
    command: C,
  ): Effect.Effect<GroupReply<C["type"]> | number> {
    return Effect.callback<GroupReply<C["type"]> | number>((resume) => {
      const coordinator = this.coordinator(partition);
      const settle = (reply: unknown): void => resume(Effect.succeed(reply as GroupReply<C["type"]> | number));
      if (coordinator === undefined) return settle(Errors.NOT_COORDINATOR);
      coordinator.actor.tell({ kind: "command", command, settle });
    });
  }

  /** The internal topic as it is; when it is another than before, its coordinators are, too. */
  private topic(): TopicImage | undefined {
    const topic = this.environment.image().topicsByName.get(GROUP_METADATA_TOPIC);
    if (topic?.id !== this.topicId) {
      for (const coordinator of this.coordinators.values()) {
        coordinator.stop();
        this.environment.fork(coordinator.actor.stop());
      }
      this.coordinators.clear();
      this.topicId = topic?.id;
    }
    return topic;
  }

  private coordinator(partition: number): GroupCoordinator | undefined {
    const topic = this.topic();
    if (topic?.partitions[partition]?.leader !== this.environment.nodeId) return undefined;
    let coordinator = this.coordinators.get(partition);
    if (coordinator === undefined) {
      const { environment } = this;
      const { replicas } = environment;
      const maxBatchBytes = (): number => {
        const rules = replicas.validationRules(topic, partition, ANY_PRODUCE_VERSION);
        return rules?.maxMessageBytes ?? DEFAULT_MAX_BATCH_BYTES;
      };
      coordinator = new GroupCoordinator(`group coordinator ${partition}`, {
        ...environment,
        view: () => replicas.view(topic.id, partition),
        append: (command) => replicas.append(topic.id, partition, command),
        maxBatchBytes,
      });
      this.coordinators.set(partition, coordinator);
    }
    return coordinator;
  }
}
