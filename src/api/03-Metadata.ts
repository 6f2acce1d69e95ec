/**
 * Metadata (key 3), versions 0–13: brokers, topics and partitions, from the metadata image.
 *
 * - v0: an empty list means every topic; replicas whose broker is gone are left out (REPLICA_NOT_AVAILABLE).
 *   v1+: null means every topic, an empty list none.
 * - v4+: `AllowAutoTopicCreation` (before: always allowed). v5+: offline replicas. v6+: LISTENER_NOT_FOUND instead of
 *   LEADER_NOT_AVAILABLE. v7+: leader epochs. v8+: authorized operations (of the cluster only up to v10).
 * - v10+: topic ids in the answer; asking by id from v12 on (in v10–11 an id or a null name is INVALID_REQUEST). When
 *   any id is asked for, names are not looked at.
 * - v13: a top-level error, always NONE here.
 * - A topic with neither name nor id is INVALID_REQUEST for the whole request (Kafka 4.3.1: UNKNOWN_SERVER_ERROR).
 *
 * A missing topic that may be created is created before the answer, so that the first answer already has its leader:
 * Kafka answers UNKNOWN_TOPIC_OR_PARTITION and creates it some 10 ms later, which clients have to retry around.
 */
import * as Effect from "effect/Effect";
import { creatableTopic } from "../metadata/InternalTopics.ts";
import { type MetadataImage, NO_LEADER, type PartitionRegistration, topicNames } from "../metadata/MetadataImage.ts";
import { invalidTopicName, isInternalTopic } from "../metadata/TopicName.ts";
import { type Uuid, ZERO_UUID } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { MetadataRequest } from "../protocol/generated/MetadataRequest.ts";
import type { MetadataResponse } from "../protocol/generated/MetadataResponse.ts";
import { ALL_CLUSTER_OPERATIONS, ALL_TOPIC_OPERATIONS, OPERATIONS_OMITTED } from "./AuthorizedOperations.ts";
import { asWrite } from "./ConnectionWrite.ts";
import type { RequestContext } from "./RequestContext.ts";
import { defineHandler } from "./Router.ts";
import { aliveNodes, controllerIdOf, nodeOf, type Viewer, viewerOf } from "./Viewer.ts";

type TopicAnswer = MetadataResponse["topics"][number];
type PartitionAnswer = TopicAnswer["partitions"][number];

const TOPIC_IDS_FROM = 12;

/** What a request asks for, names and ids each once. */
type Wanted =
  | { readonly kind: "all" }
  | { readonly kind: "names"; readonly names: ReadonlyArray<string> }
  | { readonly kind: "ids"; readonly ids: ReadonlyArray<Uuid> }
  /** An id or a null name where the version allows neither, or a topic with neither name nor id. */
  | { readonly kind: "invalid" };

export const wantedTopics = (request: MetadataRequest, version: number): Wanted => {
  const { topics } = request;
  if (topics === null || (version === 0 && topics.length === 0)) return { kind: "all" };
  const names = new Set<string>();
  const ids = new Set<Uuid>();
  for (const { name, topicId } of topics) {
    if (topicId !== ZERO_UUID) ids.add(topicId);
    else if (name !== null) names.add(name);
    else return { kind: "invalid" };
    if (version < TOPIC_IDS_FROM && (name === null || topicId !== ZERO_UUID)) return { kind: "invalid" };
  }
  return ids.size > 0 ? { kind: "ids", ids: [...ids] } : { kind: "names", names: [...names] };
};

/** The topics that are not there and that the request may create. Bad names are for the answer to refuse. */
export const topicsToCreate = (
  request: MetadataRequest,
  version: number,
  image: MetadataImage,
  autoCreate: boolean,
): string[] => {
  const wanted = wantedTopics(request, version);
  if (!autoCreate || !request.allowAutoTopicCreation || wanted.kind !== "names") return [];
  return wanted.names.filter((name) => !image.topicsByName.has(name) && invalidTopicName(name) === null);
};

export const metadataResponse = (
  request: MetadataRequest,
  version: number,
  image: MetadataImage,
  viewer: Viewer,
): MetadataResponse => {
  const wanted = wantedTopics(request, version);
  if (wanted.kind === "invalid") return invalidRequest(request);
  const nodes = aliveNodes(image, viewer);
  const view: View = {
    image,
    viewer,
    alive: new Set(nodes.map((node) => node.id)),
    version,
    operations: request.includeTopicAuthorizedOperations ? ALL_TOPIC_OPERATIONS : OPERATIONS_OMITTED,
  };
  return {
    throttleTimeMs: 0,
    brokers: nodes.map(({ id, host, port, rack }) => ({ nodeId: id, host, port, rack })),
    clusterId: image.clusterId,
    controllerId: controllerIdOf(nodes, viewer),
    topics: topicAnswers(view, wanted),
    clusterAuthorizedOperations:
      version >= 8 && version <= 10 && request.includeClusterAuthorizedOperations
        ? ALL_CLUSTER_OPERATIONS
        : OPERATIONS_OMITTED,
    errorCode: Errors.NONE,
  };
};

/** What every topic of one answer shares. */
interface View {
  readonly image: MetadataImage;
  readonly viewer: Viewer;
  /** Brokers the viewer can reach. */
  readonly alive: ReadonlySet<number>;
  readonly version: number;
  readonly operations: number;
}

const topicAnswers = (view: View, wanted: Exclude<Wanted, { kind: "invalid" }>): TopicAnswer[] => {
  switch (wanted.kind) {
    case "all":
      return topicNames(view.image).map((name) => byName(view, name));
    case "names":
      return wanted.names.map((name) => byName(view, name));
    case "ids":
      return wanted.ids.map((id) => {
        const topic = view.image.topicsById.get(id);
        return topic === undefined ? missing(Errors.UNKNOWN_TOPIC_ID, null, id, view) : byName(view, topic.name);
      });
  }
};

const byName = (view: View, name: string): TopicAnswer => {
  const topic = view.image.topicsByName.get(name);
  if (topic === undefined) {
    const invalid = invalidTopicName(name) !== null;
    return missing(invalid ? Errors.INVALID_TOPIC_EXCEPTION : Errors.UNKNOWN_TOPIC_OR_PARTITION, name, ZERO_UUID, view);
  }
  return {
    errorCode: Errors.NONE,
    name,
    topicId: topic.id,
    isInternal: isInternalTopic(name),
    partitions: topic.partitions.map((partition, index) => partitionAnswer(view, partition, index)),
    topicAuthorizedOperations: view.operations,
  };
};

const missing = (errorCode: number, name: string | null, topicId: Uuid, view: View): TopicAnswer => ({
  errorCode,
  name,
  topicId,
  isInternal: name !== null && isInternalTopic(name),
  partitions: [],
  topicAuthorizedOperations: name === null ? OPERATIONS_OMITTED : view.operations,
});

const partitionAnswer = (view: View, partition: PartitionRegistration, partitionIndex: number): PartitionAnswer => {
  const { replicas, isr, leader, leaderEpoch } = partition;
  const replicaNodes = shown(view, replicas);
  const isrNodes = shown(view, isr);
  const leaderError = leaderErrorOf(view, leader);
  const short = replicaNodes.length < replicas.length || isrNodes.length < isr.length;
  return {
    errorCode: leaderError !== Errors.NONE ? leaderError : short ? Errors.REPLICA_NOT_AVAILABLE : Errors.NONE,
    partitionIndex,
    leaderId: leaderError === Errors.NONE ? leader : NO_LEADER,
    leaderEpoch,
    replicaNodes,
    isrNodes,
    offlineReplicas: replicas.filter((id) => !view.alive.has(id)),
  };
};

/** Only v0 leaves out the replicas that cannot be reached. */
const shown = (view: View, ids: ReadonlyArray<number>): number[] =>
  view.version === 0 ? ids.filter((id) => view.alive.has(id)) : [...ids];

const leaderErrorOf = (view: View, leader: number): number => {
  const broker = view.image.brokers.get(leader);
  if (broker === undefined) return Errors.LEADER_NOT_AVAILABLE;
  if (view.alive.has(leader) || nodeOf(broker, view.viewer) !== undefined) return Errors.NONE;
  return view.version >= 6 ? Errors.LISTENER_NOT_FOUND : Errors.LEADER_NOT_AVAILABLE;
};

/** Kafka's `MetadataRequest.getErrorResponse`: each topic refused, nothing else told. */
const invalidRequest = (request: MetadataRequest): MetadataResponse => ({
  throttleTimeMs: 0,
  brokers: [],
  clusterId: null,
  controllerId: -1,
  topics: (request.topics ?? []).map(({ name, topicId }) => ({
    errorCode: Errors.INVALID_REQUEST,
    name: name ?? "",
    topicId,
    isInternal: false,
    partitions: [],
    topicAuthorizedOperations: OPERATIONS_OMITTED,
  })),
  clusterAuthorizedOperations: OPERATIONS_OMITTED,
  errorCode: Errors.NONE,
});

export const Metadata = defineHandler<MetadataRequest, MetadataResponse>({
  apiKey: 3,
  minVersion: 0,
  maxVersion: 13,
  reads: true,
  handle: (request, context) =>
    Effect.suspend(() => {
      const { version, ports } = context;
      const answer = () => metadataResponse(request, version, ports.metadata.image(), viewerOf(context));
      const autoCreate = ports.config.boolean("auto.create.topics.enable");
      const names = topicsToCreate(request, version, ports.metadata.image(), autoCreate);
      return names.length === 0 ? Effect.sync(answer) : Effect.map(createTopics(names, context), answer);
    }),
});

/** Whether each was created shows in the next image; one that was not is answered as unknown, as Kafka does. */
const createTopics = (names: ReadonlyArray<string>, context: RequestContext) => {
  const { random, config, controller } = context.ports;
  return asWrite(
    context,
    controller.ask({
      type: "CreateTopics",
      topics: names.map((name) => creatableTopic(name, config)),
      validateOnly: false,
      topicIds: names.map(() => random.uuid()),
      seed: random.below(0x1_0000_0000),
    }),
  );
};
