/**
 * The controller's behaviour: a pure decision over the metadata image. `decide` turns a command into records (one
 * atomic append) and a reply that may be given only when they are durable; the fold of the records is
 * `MetadataDelta.applyRecords`. What must stay true: nothing is decided from anything but the image, the command and
 * the rules (time, ids and seeds arrive in the command), and a refused part of a command leaves no record behind.
 */
import { invariant } from "../prelude/Invariant.ts";
import type { ProducerId, Uuid } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { CreatePartitionsRequest } from "../protocol/generated/CreatePartitionsRequest.ts";
import type { CreatePartitionsResponse } from "../protocol/generated/CreatePartitionsResponse.ts";
import type { CreateTopicsRequest } from "../protocol/generated/CreateTopicsRequest.ts";
import type { CreateTopicsResponse } from "../protocol/generated/CreateTopicsResponse.ts";
import type { DeleteTopicsResponse } from "../protocol/generated/DeleteTopicsResponse.ts";
import type { RegisterBrokerRecord } from "../protocol/generated/RegisterBrokerRecord.ts";
import type { ApiError } from "./ApiError.ts";
import { apiError } from "./ApiError.ts";
import {
  type AlterConfigs,
  type AlterConfigsReply,
  alterConfigs,
  type IncrementalAlterConfigs,
  incrementalAlterConfigs,
  minInSyncReplicasDefault,
} from "./ConfigControl.ts";
import {
  GROUP_VERSION_FEATURE,
  LATEST_GROUP_VERSION,
  LATEST_METADATA_VERSION,
  LATEST_TRANSACTION_VERSION,
  METADATA_VERSION_FEATURE,
  type MetadataImage,
  metadataVersion,
  NO_LEADER,
  TRANSACTION_VERSION_FEATURE,
} from "./MetadataImage.ts";
import type { MetadataRecord } from "./MetadataRecords.ts";
import { partitionChange } from "./PartitionChange.ts";
import { createPartitions, createTopics, deleteTopics, type TopicRules } from "./TopicControl.ts";

/** First command of every reign: makes an empty log a metadata log and ends what a crash left open. */
export interface Activate {
  readonly type: "Activate";
}

/** A broker process comes up. Its previous incarnation, if any, is gone. */
export interface RegisterBroker {
  readonly type: "RegisterBroker";
  readonly clusterId: string;
  readonly brokerId: number;
  /** New for every start of the process. */
  readonly incarnationId: Uuid;
  readonly endPoints: RegisterBrokerRecord["endPoints"];
  readonly features: RegisterBrokerRecord["features"];
  readonly rack: string | null;
  readonly logDirs: ReadonlyArray<Uuid>;
  /** Fenced brokers are not shown to clients and lead nothing new. */
  readonly fenced: boolean;
  /**
   * Whether the previous incarnation stopped cleanly. When not, every partition it led begins a new leader epoch, so
   * that clients check whether what they have seen is still there.
   */
  readonly cleanShutdown: boolean;
}

/** A registered broker serves (fenced false) or no longer does. */
export interface ChangeBroker {
  readonly type: "ChangeBroker";
  readonly brokerId: number;
  readonly brokerEpoch: number;
  readonly fenced: boolean;
}

export interface CreateTopics {
  readonly type: "CreateTopics";
  readonly topics: CreateTopicsRequest["topics"];
  readonly validateOnly: boolean;
  /** Fresh random ids, one per topic asked for. */
  readonly topicIds: ReadonlyArray<Uuid>;
  /** Decides the placement of replicas. */
  readonly seed: number;
}

export interface DeleteTopics {
  readonly type: "DeleteTopics";
  /** Each by name (`topicId` zero) or by id (`name` null). */
  readonly topics: ReadonlyArray<{ readonly name: string | null; readonly topicId: Uuid }>;
}

export interface CreatePartitions {
  readonly type: "CreatePartitions";
  readonly topics: CreatePartitionsRequest["topics"];
  readonly validateOnly: boolean;
  readonly seed: number;
}

/** A broker wants producer ids that nobody else has or will have. */
export interface AllocateProducerIds {
  readonly type: "AllocateProducerIds";
  readonly brokerId: number;
  readonly brokerEpoch: number;
}

export interface RegisterBrokerReply {
  readonly error: ApiError | undefined;
  /** -1 with an error. */
  readonly brokerEpoch: number;
}

export interface AllocateProducerIdsReply {
  readonly error: ApiError | undefined;
  /** First id of the block; -1 with an error. */
  readonly producerIdStart: ProducerId;
  /** Ids in the block; 0 with an error. */
  readonly producerIdLen: number;
}

interface Replies {
  Activate: undefined;
  RegisterBroker: RegisterBrokerReply;
  ChangeBroker: ApiError | undefined;
  CreateTopics: CreateTopicsResponse["topics"];
  DeleteTopics: DeleteTopicsResponse["responses"];
  CreatePartitions: CreatePartitionsResponse["results"];
  AllocateProducerIds: AllocateProducerIdsReply;
  AlterConfigs: AlterConfigsReply;
  IncrementalAlterConfigs: AlterConfigsReply;
}

export type ControllerCommand =
  | Activate
  | RegisterBroker
  | ChangeBroker
  | CreateTopics
  | DeleteTopics
  | CreatePartitions
  | AllocateProducerIds
  | AlterConfigs
  | IncrementalAlterConfigs;

export type ControllerReply<C extends ControllerCommand> = Replies[C["type"]];

export interface ControllerRules extends TopicRules {
  /** What a new cluster gets as its default of `min.insync.replicas`. */
  readonly minInSyncReplicas: number;
}

export interface Decision<Reply> {
  /** One atomic append; empty when nothing changes. */
  readonly records: ReadonlyArray<MetadataRecord>;
  /** To be given when `records` and everything before them are durable. */
  readonly reply: Reply;
}

/** Kafka's `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`. */
export const PRODUCER_ID_BLOCK_SIZE = 1000;

/**
 * Finalized in a new cluster at the levels that this build serves, and in one whose log is from a build that did not have
 * the feature yet. A level that is there is left alone; nothing takes one away so far (Kafka's UpdateFeatures).
 */
const BROKER_FEATURES: ReadonlyArray<readonly [name: string, level: number]> = [
  [GROUP_VERSION_FEATURE, LATEST_GROUP_VERSION],
  [TRANSACTION_VERSION_FEATURE, LATEST_TRANSACTION_VERSION],
];

const activate = (image: MetadataImage, rules: ControllerRules): Decision<undefined> => {
  const records: MetadataRecord[] = [];
  if (image.transaction !== undefined) {
    records.push({ type: "AbortTransactionRecord", message: { reason: "Controller failover" } });
  }
  if (metadataVersion(image) === 0) {
    // Kafka's readers want the metadata.version before anything else.
    const message = { name: METADATA_VERSION_FEATURE, featureLevel: LATEST_METADATA_VERSION };
    records.push({ type: "FeatureLevelRecord", message });
    records.push(minInSyncReplicasDefault(rules.minInSyncReplicas));
  }
  for (const [name, featureLevel] of BROKER_FEATURES) {
    if (image.features.has(name)) continue;
    records.push({ type: "FeatureLevelRecord", message: { name, featureLevel } });
  }
  return { records, reply: undefined };
};

const registerBroker = (image: MetadataImage, command: RegisterBroker): Decision<RegisterBrokerReply> => {
  if (command.clusterId !== image.clusterId) {
    const message = `Expected cluster ID ${image.clusterId}, but got cluster ID ${command.clusterId}`;
    return { records: [], reply: { error: apiError(Errors.INCONSISTENT_CLUSTER_ID, message), brokerEpoch: -1 } };
  }
  const existing = image.brokers.get(command.brokerId);
  const sameProcess = existing?.incarnationId === command.incarnationId;
  const records: MetadataRecord[] = [];
  if (existing !== undefined && !sameProcess && !command.cleanShutdown) {
    for (const topic of image.topicsById.values()) {
      topic.partitions.forEach((partition, partitionId) => {
        if (partition.leader !== command.brokerId) return;
        records.push(partitionChange(topic.id, partitionId, { leader: command.brokerId }));
      });
    }
  }
  // Kafka's rule: the offset at which a registration is written is the broker's epoch.
  const brokerEpoch = sameProcess ? existing.brokerEpoch : image.provenance.lastContainedOffset + 1;
  records.push({
    type: "RegisterBrokerRecord",
    message: {
      brokerId: command.brokerId,
      isMigratingZkBroker: false,
      incarnationId: command.incarnationId,
      brokerEpoch,
      endPoints: command.endPoints,
      features: command.features,
      rack: command.rack,
      fenced: command.fenced,
      inControlledShutdown: false,
      logDirs: [...command.logDirs],
      cordonedLogDirs: null,
    },
  });
  return { records, reply: { error: undefined, brokerEpoch } };
};

/** Whether the broker is the incarnation it says it is (Kafka's `checkBrokerEpoch`). */
const brokerEpochError = (image: MetadataImage, brokerId: number, brokerEpoch: number): ApiError | undefined => {
  const registration = image.brokers.get(brokerId);
  if (registration === undefined) {
    return apiError(Errors.STALE_BROKER_EPOCH, `No broker registration found for broker id ${brokerId}`);
  }
  if (registration.brokerEpoch !== brokerEpoch) {
    const message = `Expected broker epoch ${registration.brokerEpoch}, but got broker epoch ${brokerEpoch}`;
    return apiError(Errors.STALE_BROKER_EPOCH, message);
  }
  return undefined;
};

const changeBroker = (image: MetadataImage, command: ChangeBroker): Decision<ApiError | undefined> => {
  const { brokerId, brokerEpoch, fenced } = command;
  const error = brokerEpochError(image, brokerId, brokerEpoch);
  if (error !== undefined) return { records: [], reply: error };
  if (image.brokers.get(brokerId)?.fenced === fenced) return { records: [], reply: undefined };
  const records: MetadataRecord[] = [
    {
      type: "BrokerRegistrationChangeRecord",
      message: {
        brokerId,
        brokerEpoch,
        fenced: fenced ? 1 : -1,
        inControlledShutdown: 0,
        logDirs: [],
        cordonedLogDirs: null,
      },
    },
  ];
  if (!fenced) {
    for (const topic of image.topicsById.values()) {
      topic.partitions.forEach((partition, partitionId) => {
        if (partition.leader !== NO_LEADER || !partition.isr.includes(brokerId)) return;
        records.push(partitionChange(topic.id, partitionId, { leader: brokerId }));
      });
    }
  }
  return { records, reply: undefined };
};

const allocateProducerIds = (
  image: MetadataImage,
  command: AllocateProducerIds,
): Decision<AllocateProducerIdsReply> => {
  const { brokerId, brokerEpoch } = command;
  const error = brokerEpochError(image, brokerId, brokerEpoch);
  if (error !== undefined) return { records: [], reply: { error, producerIdStart: -1, producerIdLen: 0 } };
  const producerIdStart = image.nextProducerId;
  const nextProducerId = producerIdStart + PRODUCER_ID_BLOCK_SIZE;
  invariant(Number.isSafeInteger(nextProducerId), "all producer ids are used up");
  return {
    records: [{ type: "ProducerIdsRecord", message: { brokerId, brokerEpoch, nextProducerId } }],
    reply: { error: undefined, producerIdStart, producerIdLen: PRODUCER_ID_BLOCK_SIZE },
  };
};

const decideAny = (
  image: MetadataImage,
  command: ControllerCommand,
  rules: ControllerRules,
): Decision<Replies[keyof Replies]> => {
  switch (command.type) {
    case "Activate":
      return activate(image, rules);
    case "RegisterBroker":
      return registerBroker(image, command);
    case "ChangeBroker":
      return changeBroker(image, command);
    case "CreateTopics":
      return createTopics(image, command, rules);
    case "DeleteTopics":
      return deleteTopics(image, command);
    case "CreatePartitions":
      return createPartitions(image, command);
    case "AllocateProducerIds":
      return allocateProducerIds(image, command);
    case "AlterConfigs":
      return alterConfigs(image, command, rules);
    case "IncrementalAlterConfigs":
      return incrementalAlterConfigs(image, command, rules);
  }
};

/** What the controller makes of a command: the records to append and the reply for when they are durable. */
export const decide = <C extends ControllerCommand>(
  image: MetadataImage,
  command: C,
  rules: ControllerRules,
): Decision<ControllerReply<C>> => decideAny(image, command, rules) as Decision<ControllerReply<C>>;
