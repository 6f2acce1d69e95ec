/**
 * The coordinators of one internal topic: one actor per partition that is led here, started when it is first needed.
 * What must stay true: a key is always looked up by the partition count the topic has now; a partition that is led
 * elsewhere, or gone, is not coordinated here; a topic that was made anew has other coordinators.
 */
import type * as Effect from "effect/Effect";
import { ANY_PRODUCE_VERSION, type ReplicaManagerPort } from "../src/api/Ports.ts";
import { groupPartition } from "../src/group/JavaHash.ts";
import type { MetadataImage, TopicImage } from "../src/metadata/MetadataImage.ts";
import type { Uuid } from "../src/prelude/Types.ts";
import type { ActorContext } from "./Actor.ts";
import type { CoordinatorLogEnvironment } from "./CoordinatorLog.ts";

export interface CoordinatorsEnvironment extends ActorContext {
  readonly nodeId: number;
  readonly replicas: ReplicaManagerPort;
  readonly image: () => MetadataImage;
}

/** A coordinator's actor, as far as its life goes. */
interface Coordinator {
  readonly actor: { stop(): Effect.Effect<void> };
  stop(): void;
}

export type JournalPartition = Omit<CoordinatorLogEnvironment, "clock" | "codecs">;

/** Used until the partition says otherwise. */
const DEFAULT_MAX_BATCH_BYTES = 1_048_588;

export class CoordinatorsByPartition<C extends Coordinator> {
  private topicId: Uuid | undefined;
  private readonly coordinators = new Map<number, C>();

  constructor(
    private readonly topicName: string,
    private readonly environment: CoordinatorsEnvironment,
    private readonly start: (partition: number, journal: JournalPartition) => C,
  ) {}

  /** The partition that keeps a key; undefined while the topic does not exist. */
  partitionOf(key: string): number | undefined {
    const topic = this.topic();
    return topic === undefined ? undefined : groupPartition(key, topic.partitions.length);
  }

  /** The partitions led here. */
  local(): number[] {
    const partitions = this.topic()?.partitions ?? [];
    return [...partitions.keys()].filter((index) => partitions[index]!.leader === this.environment.nodeId);
  }

  /** The coordinator of a partition that is led here. */
  at(partition: number): C | undefined {
    const topic = this.topic();
    if (topic?.partitions[partition]?.leader !== this.environment.nodeId) return undefined;
    let coordinator = this.coordinators.get(partition);
    if (coordinator === undefined) {
      coordinator = this.start(partition, this.journalOf(topic, partition));
      this.coordinators.set(partition, coordinator);
    }
    return coordinator;
  }

  /** Those that have been needed. */
  started(): Iterable<C> {
    this.topic();
    return this.coordinators.values();
  }

  /** Ends their work, before the logs are closed. */
  stop(): void {
    for (const coordinator of this.coordinators.values()) {
      coordinator.stop();
      this.environment.fork(coordinator.actor.stop());
    }
    this.coordinators.clear();
  }

  private journalOf(topic: TopicImage, partition: number): JournalPartition {
    const { replicas } = this.environment;
    return {
      view: () => replicas.view(topic.id, partition),
      append: (command) => replicas.append(topic.id, partition, command),
      maxBatchBytes: () =>
        replicas.validationRules(topic, partition, ANY_PRODUCE_VERSION)?.maxMessageBytes ?? DEFAULT_MAX_BATCH_BYTES,
    };
  }

  private topic(): TopicImage | undefined {
    const topic = this.environment.image().topicsByName.get(this.topicName);
    if (topic?.id !== this.topicId) {
      this.stop();
      this.topicId = topic?.id;
    }
    return topic;
  }
}
