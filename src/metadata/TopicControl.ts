/**
 * What the controller decides about topics: CreateTopics, DeleteTopics and CreatePartitions, with Kafka 4.3.1's checks
 * in its order and with its texts (`ControllerApis`, `ReplicationControlManager`). What must stay true: each topic of a
 * request succeeds or fails alone, every topic asked for is answered (a name given twice once, with INVALID_REQUEST),
 * and a request that would make more than 10,000 partitions makes none. (Kafka 4.3.1 checks the last only in CreateTopics;
 * CreatePartitions answers -1 there and still adds 10,000. Ours is POLICY_VIOLATION in both.)
 */
import { type Uuid, ZERO_UUID } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { CreatePartitionsRequest } from "../protocol/generated/CreatePartitionsRequest.ts";
import type { CreatePartitionsResponse } from "../protocol/generated/CreatePartitionsResponse.ts";
import type { CreateTopicsRequest } from "../protocol/generated/CreateTopicsRequest.ts";
import type { CreateTopicsResponse } from "../protocol/generated/CreateTopicsResponse.ts";
import type { DeleteTopicsResponse } from "../protocol/generated/DeleteTopicsResponse.ts";
import { type ApiError, apiError, UNKNOWN_TOPIC, UNKNOWN_TOPIC_ID } from "./ApiError.ts";
import type { CreatePartitions, CreateTopics, Decision, DeleteTopics } from "./Controller.ts";
import { type ConfigOverrides, ConfigResourceType, type MetadataImage } from "./MetadataImage.ts";
import type { MetadataRecord } from "./MetadataRecords.ts";
import { type Below, type PlacementBroker, placementProblem, placeReplicas, seededBelow } from "./ReplicaPlacer.ts";
import { CLUSTER_METADATA_TOPIC, collisionForm, invalidTopicName } from "./TopicName.ts";

type CreatableTopic = CreateTopicsRequest["topics"][number];
type CreatedTopic = CreateTopicsResponse["topics"][number];
type TopicToGrow = CreatePartitionsRequest["topics"][number];
type GrownTopic = CreatePartitionsResponse["results"][number];
type DeletedTopic = DeleteTopicsResponse["responses"][number];

/** One row of a CreateTopics answer (v5+). */
export type CreatedTopicConfig = NonNullable<CreatedTopic["configs"]>[number];

/** What the broker's configuration says about topics. */
export interface TopicRules {
  readonly defaultNumPartitions: number;
  readonly defaultReplicationFactor: number;
  /** Kafka's text of why a topic cannot have these overrides, or null when it can. */
  readonly invalidTopicConfig: (overrides: ConfigOverrides) => string | null;
  /** Every config a topic with these overrides has, by name, for the CreateTopics answer. */
  readonly describeTopicConfig: (overrides: ConfigOverrides) => CreatedTopicConfig[];
}

/** Kafka's `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`. */
const MAX_PARTITIONS_PER_REQUEST = 10_000;
/** Kafka's `DirectoryId.UNASSIGNED`. */
const UNASSIGNED_DIRECTORY: Uuid = "AAAAAAAAAAAAAAAAAAAAAQ";

const TOO_MANY_PARTITIONS = apiError(Errors.POLICY_VIOLATION, "Excessively large number of partitions per request.");

type Assigned = { readonly assignments: ReadonlyArray<ReadonlyArray<number>> };

const isError = (value: Assigned | ApiError): value is ApiError => "code" in value;

// --- CreateTopics ---

export const createTopics = (
  image: MetadataImage,
  command: CreateTopics,
  rules: TopicRules,
): Decision<CreateTopicsResponse["topics"]> => {
  const twice = namesGivenTwice(command.topics);
  const wanted = command.topics.filter((topic) => !twice.has(topic.name) && topic.name !== CLUSTER_METADATA_TOPIC);
  if (totalPartitions(wanted, rules.defaultNumPartitions) > MAX_PARTITIONS_PER_REQUEST) {
    return { records: [], reply: command.topics.map((topic) => refusedTopic(topic.name, TOO_MANY_PARTITIONS)) };
  }
  const below = seededBelow(command.seed);
  const records: MetadataRecord[] = [];
  const reply: CreatedTopic[] = [];
  for (const [at, topic] of wanted.entries()) {
    const topicId = command.topicIds[at] ?? ZERO_UUID;
    const overrides = overridesOf(topic);
    const error = newTopicError(image, topic, overrides, rules);
    const assigned = error ?? assignTopic(image, topic, rules, below);
    if (isError(assigned)) {
      reply.push(refusedTopic(topic.name, assigned));
      continue;
    }
    records.push(...topicRecords(image, topic.name, topicId, overrides, assigned.assignments));
    reply.push({
      name: topic.name,
      topicId,
      errorCode: Errors.NONE,
      errorMessage: null,
      topicConfigErrorCode: Errors.NONE,
      numPartitions: assigned.assignments.length,
      replicationFactor: assigned.assignments[0]?.length ?? -1,
      configs: rules.describeTopicConfig(overrides),
    });
  }
  for (const name of twice) reply.push(refusedTopic(name, apiError(Errors.INVALID_REQUEST, "Duplicate topic name.")));
  if (!twice.has(CLUSTER_METADATA_TOPIC) && command.topics.some((topic) => topic.name === CLUSTER_METADATA_TOPIC)) {
    const message = `Creation of internal topic ${CLUSTER_METADATA_TOPIC} is prohibited.`;
    reply.push(refusedTopic(CLUSTER_METADATA_TOPIC, apiError(Errors.INVALID_REQUEST, message)));
  }
  return { records: command.validateOnly ? [] : records, reply };
};

const namesGivenTwice = (topics: ReadonlyArray<{ readonly name: string }>): Set<string> => {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const { name } of topics) {
    if (seen.has(name)) twice.add(name);
    seen.add(name);
  }
  return twice;
};

const totalPartitions = (topics: ReadonlyArray<CreatableTopic>, defaultNumPartitions: number): number => {
  let total = 0;
  for (const topic of topics) {
    if (topic.assignments.length > 0) total += topic.assignments.length;
    else if (topic.numPartitions === -1) total += defaultNumPartitions;
    else if (topic.numPartitions > 0) total += topic.numPartitions;
  }
  return total;
};

/** An error answer's counts are -1, its configs empty and its id zero. */
export const refusedTopic = (name: string, error: ApiError): CreatedTopic => ({
  name,
  topicId: ZERO_UUID,
  errorCode: error.code,
  errorMessage: error.message,
  topicConfigErrorCode: Errors.NONE,
  numPartitions: -1,
  replicationFactor: -1,
  configs: [],
});

const overridesOf = (topic: CreatableTopic): Map<string, string> => {
  const overrides = new Map<string, string>();
  for (const { name, value } of topic.configs) if (value !== null) overrides.set(name, value);
  return overrides;
};

const newTopicError = (
  image: MetadataImage,
  topic: CreatableTopic,
  overrides: ConfigOverrides,
  rules: TopicRules,
): ApiError | undefined => {
  const { name } = topic;
  if (image.topicsByName.has(name)) return apiError(Errors.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`);
  const colliding = collidingTopic(image, name);
  if (colliding !== undefined) {
    const message = `Topic '${name}' collides with existing topic: ${colliding}`;
    return apiError(Errors.INVALID_TOPIC_EXCEPTION, message);
  }
  const invalidName = invalidTopicName(name);
  if (invalidName !== null) return apiError(Errors.INVALID_TOPIC_EXCEPTION, invalidName);
  const withoutValue = topic.configs.filter((config) => config.value === null).map((config) => config.name);
  if (withoutValue.length > 0) {
    const message = `Null value not supported for topic configs: ${withoutValue.join(",")}`;
    return apiError(Errors.INVALID_CONFIG, message);
  }
  const invalidConfig = overrides.size === 0 ? null : rules.invalidTopicConfig(overrides);
  return invalidConfig === null ? undefined : apiError(Errors.INVALID_CONFIG, invalidConfig);
};

/** An existing topic whose name becomes the same metric name; Kafka refuses the second one. */
export const collidingTopic = (image: MetadataImage, name: string): string | undefined => {
  const form = collisionForm(name);
  return form === null ? undefined : image.collisions.get(form)?.[0];
};

const assignTopic = (
  image: MetadataImage,
  topic: CreatableTopic,
  rules: TopicRules,
  below: Below,
): Assigned | ApiError => {
  if (topic.assignments.length > 0) return manualAssignment(image, topic);
  if (topic.replicationFactor < -1 || topic.replicationFactor === 0) {
    const message = "Replication factor must be larger than 0, or -1 to use the default value.";
    return apiError(Errors.INVALID_REPLICATION_FACTOR, message);
  }
  if (topic.numPartitions < -1 || topic.numPartitions === 0) {
    return apiError(Errors.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value.");
  }
  const numPartitions = topic.numPartitions === -1 ? rules.defaultNumPartitions : topic.numPartitions;
  const factor = topic.replicationFactor === -1 ? rules.defaultReplicationFactor : topic.replicationFactor;
  return place(image, numPartitions, factor, below);
};

const manualAssignment = (image: MetadataImage, topic: CreatableTopic): Assigned | ApiError => {
  if (topic.replicationFactor !== -1) {
    const message = "A manual partition assignment was specified, but replication factor was not set to -1.";
    return apiError(Errors.INVALID_REQUEST, message);
  }
  if (topic.numPartitions !== -1) {
    const message = "A manual partition assignment was specified, but numPartitions was not set to -1.";
    return apiError(Errors.INVALID_REQUEST, message);
  }
  const byPartition = new Map<number, ReadonlyArray<number>>();
  let factor: number | undefined;
  for (const { partitionIndex, brokerIds } of topic.assignments) {
    if (byPartition.has(partitionIndex)) {
      return assignmentError(`Found multiple manual partition assignments for partition ${partitionIndex}`);
    }
    const error = replicasError(image, brokerIds, factor, partitionIndex);
    if (error !== undefined) return error;
    factor = brokerIds.length;
    byPartition.set(partitionIndex, brokerIds);
  }
  const assignments: Array<ReadonlyArray<number>> = [];
  for (let partition = 0; partition < byPartition.size; partition++) {
    const replicas = byPartition.get(partition);
    if (replicas === undefined) return assignmentError("partitions should be a consecutive 0-based integer sequence");
    assignments.push(replicas);
  }
  return { assignments };
};

const assignmentError = (message: string): ApiError => apiError(Errors.INVALID_REPLICA_ASSIGNMENT, message);

/** Why these brokers cannot hold one partition, or undefined when they can. */
const replicasError = (
  image: MetadataImage,
  brokerIds: ReadonlyArray<number>,
  factor: number | undefined,
  partition: number,
): ApiError | undefined => {
  if (brokerIds.length === 0) return assignmentError("The manual partition assignment includes an empty replica list.");
  const seen = new Set<number>();
  for (const brokerId of [...brokerIds].sort((a, b) => a - b)) {
    if (!image.brokers.has(brokerId)) {
      const message = `The manual partition assignment includes broker ${brokerId}, but no such broker is registered.`;
      return assignmentError(message);
    }
    if (seen.has(brokerId)) {
      return assignmentError(`The manual partition assignment includes the broker ${brokerId} more than once.`);
    }
    seen.add(brokerId);
  }
  if (factor !== undefined && brokerIds.length !== factor) {
    const message = `The manual partition assignment includes a partition with ${brokerIds.length} replica(s), but this is not consistent with previous partitions, which have ${factor} replica(s).`;
    return assignmentError(message);
  }
  if (activeOf(image, brokerIds).length === 0) {
    const message = `All brokers specified in the manual partition assignment for partition ${partition} are fenced or in controlled shutdown.`;
    return assignmentError(message);
  }
  return undefined;
};

const isActive = (image: MetadataImage, brokerId: number): boolean => {
  const broker = image.brokers.get(brokerId);
  return broker !== undefined && !broker.fenced && !broker.inControlledShutdown;
};

const activeOf = (image: MetadataImage, brokerIds: ReadonlyArray<number>): ReadonlyArray<number> =>
  brokerIds.every((id) => isActive(image, id)) ? brokerIds : brokerIds.filter((id) => isActive(image, id));

const place = (image: MetadataImage, partitions: number, factor: number, below: Below): Assigned | ApiError => {
  const brokers: PlacementBroker[] = [];
  for (const { brokerId, rack, fenced, inControlledShutdown } of image.brokers.values()) {
    brokers.push({ id: brokerId, rack, fenced: fenced || inControlledShutdown });
  }
  const problem = placementProblem(brokers, factor);
  if (problem !== null) {
    const message = `Unable to replicate the partition ${factor} time(s): ${problem}`;
    return apiError(Errors.INVALID_REPLICATION_FACTOR, message);
  }
  return { assignments: placeReplicas(brokers, partitions, factor, below) };
};

/** All records of one topic: the topic, its configs, its partitions, in Kafka's order. */
const topicRecords = (
  image: MetadataImage,
  name: string,
  topicId: Uuid,
  overrides: ConfigOverrides,
  assignments: ReadonlyArray<ReadonlyArray<number>>,
): MetadataRecord[] => {
  const records: MetadataRecord[] = [{ type: "TopicRecord", message: { name, topicId } }];
  for (const [key, value] of overrides) {
    const message = { resourceType: ConfigResourceType.TOPIC, resourceName: name, name: key, value };
    records.push({ type: "ConfigRecord", message });
  }
  for (const [partition, replicas] of assignments.entries()) {
    records.push(newPartition(image, topicId, partition, replicas));
  }
  return records;
};

const newPartition = (
  image: MetadataImage,
  topicId: Uuid,
  partitionId: number,
  replicas: ReadonlyArray<number>,
): MetadataRecord => {
  const isr = activeOf(image, replicas);
  return {
    type: "PartitionRecord",
    message: {
      partitionId,
      topicId,
      replicas: [...replicas],
      isr: [...isr],
      removingReplicas: [],
      addingReplicas: [],
      leader: isr[0] ?? -1,
      leaderRecoveryState: 0,
      leaderEpoch: 0,
      partitionEpoch: 0,
      directories: replicas.map((id) => defaultDirectory(image, id)),
      eligibleLeaderReplicas: null,
      lastKnownElr: null,
    },
  };
};

/** A broker with one log directory puts everything there; with more it chooses later. */
const defaultDirectory = (image: MetadataImage, brokerId: number): Uuid => {
  const directories = image.brokers.get(brokerId)?.logDirs ?? [];
  return directories.length === 1 ? (directories[0] ?? UNASSIGNED_DIRECTORY) : UNASSIGNED_DIRECTORY;
};

// --- DeleteTopics ---

export const deleteTopics = (
  image: MetadataImage,
  command: DeleteTopics,
): Decision<DeleteTopicsResponse["responses"]> => {
  const reply: DeletedTopic[] = [];
  const answer = (name: string | null, topicId: Uuid, error?: ApiError): void => {
    reply.push({
      name,
      topicId,
      errorCode: error?.code ?? Errors.NONE,
      errorMessage: error?.message ?? null,
    });
  };
  const names = new Map<string, number>();
  const ids = new Map<Uuid, number>();
  for (const { name, topicId } of command.topics) {
    if (name === null && topicId === ZERO_UUID) {
      answer(null, ZERO_UUID, apiError(Errors.INVALID_REQUEST, "Neither topic name nor id were specified."));
    } else if (name === null) {
      ids.set(topicId, (ids.get(topicId) ?? 0) + 1);
    } else if (topicId === ZERO_UUID) {
      names.set(name, (names.get(name) ?? 0) + 1);
    } else {
      const error = apiError(Errors.INVALID_REQUEST, "You may not specify both topic name and topic id.");
      answer(name, topicId, error);
    }
  }
  const doomed = new Map<Uuid, string>();
  for (const [topicId, times] of ids) {
    const topic = image.topicsById.get(topicId);
    if (times > 1) answer(null, topicId, apiError(Errors.INVALID_REQUEST, "Duplicate topic id."));
    else if (topic === undefined) answer(null, topicId, UNKNOWN_TOPIC_ID);
    else doomed.set(topicId, topic.name);
  }
  for (const [name, times] of names) {
    const topic = image.topicsByName.get(name);
    if (times > 1) answer(name, ZERO_UUID, apiError(Errors.INVALID_REQUEST, "Duplicate topic name."));
    else if (topic === undefined) answer(name, ZERO_UUID, UNKNOWN_TOPIC);
    else if (ids.has(topic.id)) {
      // The same topic by name and by id: Kafka deletes it neither way.
      doomed.delete(topic.id);
      const message = "The provided topic name maps to an ID that was already supplied.";
      answer(name, topic.id, apiError(Errors.INVALID_REQUEST, message));
    } else doomed.set(topic.id, name);
  }
  const records: MetadataRecord[] = [];
  for (const [topicId, name] of doomed) {
    records.push({ type: "RemoveTopicRecord", message: { topicId } });
    answer(name, topicId);
  }
  return { records, reply };
};

// --- CreatePartitions ---

export const createPartitions = (
  image: MetadataImage,
  command: CreatePartitions,
): Decision<CreatePartitionsResponse["results"]> => {
  const twice = namesGivenTwice(command.topics);
  const below = seededBelow(command.seed);
  const records: MetadataRecord[] = [];
  const reply: GrownTopic[] = [];
  const answer = (name: string, error?: ApiError): void => {
    reply.push({ name, errorCode: error?.code ?? Errors.NONE, errorMessage: error?.message ?? null });
  };
  for (const name of twice) answer(name, apiError(Errors.INVALID_REQUEST, "Duplicate topic name."));
  for (const wanted of command.topics) {
    if (twice.has(wanted.name)) continue;
    const topic = image.topicsByName.get(wanted.name);
    if (topic === undefined) {
      answer(wanted.name, apiError(Errors.UNKNOWN_TOPIC_OR_PARTITION));
      continue;
    }
    const first = topic.partitions.length;
    const factor = topic.partitions[0]?.replicas.length ?? 1;
    const assigned = growTopic(image, wanted, first, factor, records.length, below);
    if (isError(assigned)) {
      answer(wanted.name, assigned);
      continue;
    }
    for (const [at, replicas] of assigned.assignments.entries()) {
      records.push(newPartition(image, topic.id, first + at, replicas));
    }
    answer(wanted.name);
  }
  return { records: command.validateOnly ? [] : records, reply };
};

const growTopic = (
  image: MetadataImage,
  wanted: TopicToGrow,
  present: number,
  factor: number,
  alreadyAdded: number,
  below: Below,
): Assigned | ApiError => {
  const { name, count, assignments } = wanted;
  if (count === present) {
    return apiError(Errors.INVALID_PARTITIONS, `Topic already has ${present} partition(s).`);
  }
  if (count < present) {
    const message = `The topic ${name} currently has ${present} partition(s); ${count} would not be an increase.`;
    return apiError(Errors.INVALID_PARTITIONS, message);
  }
  const additional = count - present;
  if (alreadyAdded + additional > MAX_PARTITIONS_PER_REQUEST) return TOO_MANY_PARTITIONS;
  if (assignments === null) return place(image, additional, factor, below);
  if (assignments.length !== additional) {
    const message = `Attempted to add ${additional} additional partition(s), but only ${assignments.length} assignment(s) were specified.`;
    return assignmentError(message);
  }
  for (const [at, { brokerIds }] of assignments.entries()) {
    const error = replicasError(image, brokerIds, factor, present + at);
    if (error !== undefined) return error;
  }
  return { assignments: assignments.map(({ brokerIds }) => brokerIds) };
};
