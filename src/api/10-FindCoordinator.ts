/**
 * FindCoordinator (key 10), versions 0–6: which broker coordinates a group, a transactional id or a share partition.
 *
 * - v0: groups only. v1+: key types (0 group, 1 transaction; 2 share from v6 on) and, up to v3, an error message.
 * - v4+: several keys of one type, each answered by itself.
 *
 * The first question after a group's or a transactional id's coordinator makes the internal topic and is answered when
 * that is there (Kafka answers COORDINATOR_NOT_AVAILABLE meanwhile). Share partitions have no coordinator yet: their
 * well-formed keys are answered COORDINATOR_NOT_AVAILABLE, which clients retry.
 */
import * as Effect from "effect/Effect";
import { MALFORMED_REQUEST } from "../metadata/ApiError.ts";
import { GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC } from "../metadata/TopicName.ts";
import { Errors } from "../protocol/Errors.ts";
import type { FindCoordinatorRequest } from "../protocol/generated/FindCoordinatorRequest.ts";
import type { FindCoordinatorResponse } from "../protocol/generated/FindCoordinatorResponse.ts";
import { withInternalTopic } from "./InternalTopic.ts";
import type { RequestContext } from "./RequestContext.ts";
import { defineHandler } from "./Router.ts";
import { aliveNodes, type BrokerNode, viewerOf } from "./Viewer.ts";

const KeyType = { GROUP: 0, TRANSACTION: 1, SHARE: 2 } as const;
const BATCHED_FROM = 4;
const SHARE_FROM = 6;

const NO_NODE = { nodeId: -1, host: "", port: -1 } as const;

/** `groupId:topicId:partition`, all three there; the group may hold colons (Kafka's `SharePartitionKey.validate`). */
const isSharePartitionKey = (key: string): boolean => /^.+:[A-Za-z0-9_-]{22}:[+-]?\d{1,10}$/s.test(key);

/** Why a key cannot be looked up in this version, or NONE. */
export const coordinatorKeyError = (keyType: number, key: string, version: number): number => {
  switch (keyType) {
    case KeyType.GROUP:
    case KeyType.TRANSACTION:
      return Errors.NONE;
    case KeyType.SHARE:
      return version >= SHARE_FROM && isSharePartitionKey(key) ? Errors.NONE : Errors.INVALID_REQUEST;
    default:
      return Errors.INVALID_REQUEST;
  }
};

type Coordinator = FindCoordinatorResponse["coordinators"][number];

/** The internal topic that keeps the keys of a type; undefined for a type without a coordinator. */
const topicOf = (keyType: number): string | undefined => {
  if (keyType === KeyType.GROUP) return GROUP_METADATA_TOPIC;
  return keyType === KeyType.TRANSACTION ? TRANSACTION_STATE_TOPIC : undefined;
};

/** The broker that leads the partition a key is kept in. */
const coordinatorOf = (keyType: number, key: string, context: RequestContext): BrokerNode | undefined => {
  const { ports } = context;
  const image = ports.metadata.image();
  const topic = image.topicsByName.get(topicOf(keyType) ?? "");
  const coordinators = keyType === KeyType.GROUP ? ports.groups : ports.transactions;
  const leader = topic?.partitions[coordinators.partitionOf(key) ?? -1]?.leader;
  return aliveNodes(image, viewerOf(context)).find(({ id }) => id === leader);
};

const lookUp = (keyType: number, key: string, context: RequestContext): Coordinator => {
  const error = coordinatorKeyError(keyType, key, context.version);
  const found = error === Errors.NONE ? coordinatorOf(keyType, key, context) : undefined;
  if (found !== undefined) {
    const { id: nodeId, host, port } = found;
    return { key, nodeId, host, port, errorCode: Errors.NONE, errorMessage: "" };
  }
  // A type nobody knows is refused with a text; one key's own trouble has none.
  const errorMessage = isKnownType(keyType) ? "" : textOf(Errors.INVALID_REQUEST);
  return { key, ...NO_NODE, errorCode: error === Errors.NONE ? Errors.COORDINATOR_NOT_AVAILABLE : error, errorMessage };
};

export const findCoordinatorResponse = (
  request: FindCoordinatorRequest,
  context: RequestContext,
): FindCoordinatorResponse => {
  const { version } = context;
  if (version < BATCHED_FROM) {
    const { errorCode, nodeId, host, port } = lookUp(request.keyType, request.key, context);
    const errorMessage = version === 0 ? "" : textOf(errorCode);
    return { throttleTimeMs: 0, errorCode, errorMessage, nodeId, host, port, coordinators: [] };
  }
  const coordinators = request.coordinatorKeys.map((key) => lookUp(request.keyType, key, context));
  return { throttleTimeMs: 0, errorCode: 0, errorMessage: "", nodeId: 0, host: "", port: 0, coordinators };
};

const isKnownType = (keyType: number): boolean => keyType >= KeyType.GROUP && keyType <= KeyType.SHARE;

const textOf = (errorCode: number): string | null => {
  if (errorCode === Errors.NONE) return "NONE";
  return errorCode === Errors.INVALID_REQUEST ? MALFORMED_REQUEST.message : "The coordinator is not available.";
};

export const FindCoordinator = defineHandler<FindCoordinatorRequest, FindCoordinatorResponse>({
  apiKey: 10,
  minVersion: 0,
  maxVersion: 6,
  handle: (request, context) =>
    Effect.suspend(() => {
      const respond = Effect.sync(() => findCoordinatorResponse(request, context));
      const topic = topicOf(request.keyType);
      return topic === undefined ? respond : Effect.andThen(withInternalTopic(topic, context), respond);
    }),
});
