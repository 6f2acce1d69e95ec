/** A controller without an actor, for tests: commands go through `decide` and the fold, and every record is kept. */
import {
  type ControllerCommand,
  type ControllerReply,
  type ControllerRules,
  decide,
} from "../../src/metadata/Controller.ts";
import { applyRecords } from "../../src/metadata/MetadataDelta.ts";
import { emptyImage, type MetadataImage } from "../../src/metadata/MetadataImage.ts";
import type { MetadataRecord } from "../../src/metadata/MetadataRecords.ts";
import { type Uuid, ZERO_UUID } from "../../src/prelude/Types.ts";

export const CLUSTER_ID = "p9vGZ0cDQmC8_Tn7GZ0cDQ";
export const DIRECTORY: Uuid = "ZGlyZWN0b3J5AAAAAAAAAQ";

export const rules: ControllerRules = {
  defaultNumPartitions: 1,
  defaultReplicationFactor: 1,
  minInSyncReplicas: 1,
  invalidTopicConfig: (overrides) => {
    for (const name of overrides.keys()) if (!name.includes(".")) return `Unknown topic config name: ${name}`;
    return null;
  },
  describeTopicConfig: (overrides) =>
    [...overrides].map(([name, value]) => ({ name, value, readOnly: false, configSource: 1, isSensitive: false })),
};

/** A topic id that is its number. */
export const topicId = (number: number): Uuid => {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(12, number + 1000);
  return Buffer.from(bytes).toString("base64url");
};

export class Cluster {
  image: MetadataImage = emptyImage(CLUSTER_ID);
  readonly records: MetadataRecord[] = [];
  private nextId = 0;

  ask<C extends ControllerCommand>(command: C, withRules: ControllerRules = rules): ControllerReply<C> {
    const { records, reply } = decide(this.image, command, withRules);
    this.append(records);
    return reply;
  }

  append(records: ReadonlyArray<MetadataRecord>): void {
    if (records.length === 0) return;
    this.records.push(...records);
    this.image = applyRecords(this.image, records, this.image.provenance.lastContainedOffset + 1 + records.length, 1);
  }

  register(brokerId: number, options: { rack?: string; clean?: boolean; fenced?: boolean } = {}): number {
    this.nextId += 1;
    return this.ask({
      type: "RegisterBroker",
      clusterId: CLUSTER_ID,
      brokerId,
      incarnationId: topicId(1_000_000 + this.nextId),
      endPoints: [{ name: "PLAINTEXT", host: "127.0.0.1", port: 9092 + brokerId, securityProtocol: 0 }],
      features: [{ name: "metadata.version", minSupportedVersion: 7, maxSupportedVersion: 30 }],
      rack: options.rack ?? null,
      logDirs: [DIRECTORY],
      fenced: options.fenced ?? false,
      cleanShutdown: options.clean ?? true,
    }).brokerEpoch;
  }

  create(...topics: ReadonlyArray<Partial<NewTopic> & { name: string }>) {
    return this.ask({
      type: "CreateTopics",
      topics: topics.map(newTopic),
      validateOnly: false,
      topicIds: this.freshIds(topics.length),
      seed: 1,
    });
  }

  freshIds(count: number): Uuid[] {
    return Array.from({ length: count }, () => topicId(++this.nextId));
  }
}

type NewTopic = Extract<ControllerCommand, { type: "CreateTopics" }>["topics"][number];

export const newTopic = (topic: Partial<NewTopic> & { name: string }): NewTopic => ({
  numPartitions: topic.assignments === undefined ? 1 : -1,
  replicationFactor: topic.assignments === undefined ? 1 : -1,
  assignments: [],
  configs: [],
  ...topic,
});

/** One active broker 1 and a log that has begun. */
export const oneBroker = (): Cluster => {
  const cluster = new Cluster();
  cluster.ask({ type: "Activate" });
  cluster.register(1);
  return cluster;
};

export const byName = (name: string) => ({ name, topicId: ZERO_UUID });
