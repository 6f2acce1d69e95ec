/**
 * The way to each group's coordinator, by partition of `__consumer_offsets`. What must stay true: a group is always
 * looked up by the partition count the topic has now; a partition that is led elsewhere, or gone, is not coordinated
 * here.
 */
import * as Effect from "effect/Effect";
import type { EndOfTransaction, GroupCoordinatorPort, Timers } from "../src/api/Ports.ts";
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import type { GroupCommand, GroupReply } from "../src/group/GroupCoordinator.ts";
import { touchedTopics } from "../src/metadata/MetadataDelta.ts";
import type { MetadataImage } from "../src/metadata/MetadataImage.ts";
import type { MetadataRecord } from "../src/metadata/MetadataRecords.ts";
import { GROUP_METADATA_TOPIC } from "../src/metadata/TopicName.ts";
import type { Uuid } from "../src/prelude/Types.ts";
import { Errors } from "../src/protocol/Errors.ts";
import type { Codecs } from "../src/record/Compression.ts";
import { CoordinatorsByPartition, type CoordinatorsEnvironment } from "./CoordinatorsByPartition.ts";
import { GroupCoordinator } from "./GroupCoordinator.ts";

export interface GroupCoordinatorsEnvironment extends CoordinatorsEnvironment {
  readonly config: () => BrokerConfig;
  readonly codecs: Codecs;
  readonly timers: Timers;
}

export class GroupCoordinators implements GroupCoordinatorPort {
  private readonly coordinators: CoordinatorsByPartition<GroupCoordinator>;
  private seen: MetadataImage;

  constructor(environment: GroupCoordinatorsEnvironment) {
    this.seen = environment.image();
    this.coordinators = new CoordinatorsByPartition(
      GROUP_METADATA_TOPIC,
      environment,
      (partition, journal) => new GroupCoordinator(`group coordinator ${partition}`, { ...environment, ...journal }),
    );
  }

  /** Ends the coordinators' work, before their logs are closed. */
  stop(): void {
    this.coordinators.stop();
  }

  /** The group's coordinator forgets everything and reads its log again. */
  reload(groupId: string, why: string): void {
    this.coordinators.at(this.partitionOf(groupId) ?? -1)?.actor.tell({ kind: "reload", why });
  }

  partitionOf(groupId: string): number | undefined {
    return this.coordinators.partitionOf(groupId);
  }

  completeTransaction(partition: number, end: EndOfTransaction, settle: (error: number) => void): void {
    const coordinator = this.coordinators.at(partition);
    if (coordinator === undefined) return settle(Errors.NOT_LEADER_OR_FOLLOWER);
    coordinator.actor.tell({ kind: "endTransaction", end, settle });
  }

  ask<C extends GroupCommand>(groupId: string, command: C): Effect.Effect<GroupReply<C["type"]> | number> {
    return Effect.suspend(() => {
      const partition = this.partitionOf(groupId);
      return partition === undefined ? Effect.succeed(Errors.NOT_COORDINATOR) : this.askPartition(partition, command);
    });
  }

  askAll<C extends GroupCommand>(command: C): Effect.Effect<ReadonlyArray<GroupReply<C["type"]> | number>> {
    return Effect.suspend(() => {
      return Effect.all(
        this.coordinators.local().map((partition) => this.askPartition(partition, command)),
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
    const command = { type: "TopicsDeleted", topics } as const;
    for (const { actor } of this.coordinators.started()) {
      actor.tell({ kind: "command", command, settle: () => undefined });
    }
  }

  private askPartition<C extends GroupCommand>(
    partition: number,
    command: C,
  ): Effect.Effect<GroupReply<C["type"]> | number> {
    return Effect.callback<GroupReply<C["type"]> | number>((resume) => {
      const coordinator = this.coordinators.at(partition);
      const settle = (reply: unknown): void => resume(Effect.succeed(reply as GroupReply<C["type"]> | number));
      if (coordinator === undefined) return settle(Errors.NOT_COORDINATOR);
      coordinator.actor.tell({ kind: "command", command, settle });
    });
  }
}
