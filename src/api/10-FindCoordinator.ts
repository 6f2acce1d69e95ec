/**
 * FindCoordinator (key 10), versions 0–6: which broker coordinates a group, a transactional id or a share partition.
 *
 * - v0: groups only. v1+: key types (0 group, 1 transaction; 2 share from v6 on) and, up to v3, an error message.
 * - v4+: several keys of one type, each answered by itself.
 *
 * Until coordinators exist every well-formed key is answered COORDINATOR_NOT_AVAILABLE, which clients retry.
 */
import * as Effect from "effect/Effect";
import { MALFORMED_REQUEST } from "../metadata/ApiError.ts";
import { Errors } from "../protocol/Errors.ts";
import type { FindCoordinatorRequest } from "../protocol/generated/FindCoordinatorRequest.ts";
import type { FindCoordinatorResponse } from "../protocol/generated/FindCoordinatorResponse.ts";
import { defineHandler } from "./Router.ts";

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

export const findCoordinatorResponse = (request: FindCoordinatorRequest, version: number): FindCoordinatorResponse => {
  const errorOf = (key: string) => {
    const error = coordinatorKeyError(request.keyType, key, version);
    return error === Errors.NONE ? Errors.COORDINATOR_NOT_AVAILABLE : error;
  };
  if (version < BATCHED_FROM) {
    const errorCode = errorOf(request.key);
    return {
      throttleTimeMs: 0,
      errorCode,
      errorMessage: version === 0 ? "" : textOf(errorCode),
      ...NO_NODE,
      coordinators: [],
    };
  }
  // A type nobody knows is refused as a whole, with a text; one key's own trouble has none.
  const errorMessage = isKnownType(request.keyType) ? "" : textOf(Errors.INVALID_REQUEST);
  const coordinators = request.coordinatorKeys.map((key) => ({
    key,
    ...NO_NODE,
    errorCode: errorOf(key),
    errorMessage,
  }));
  return { throttleTimeMs: 0, errorCode: 0, errorMessage: "", nodeId: 0, host: "", port: 0, coordinators };
};

const isKnownType = (keyType: number): boolean => keyType >= KeyType.GROUP && keyType <= KeyType.SHARE;

const textOf = (errorCode: number): string | null =>
  errorCode === Errors.INVALID_REQUEST ? MALFORMED_REQUEST.message : "The coordinator is not available.";

export const FindCoordinator = defineHandler<FindCoordinatorRequest, FindCoordinatorResponse>({
  apiKey: 10,
  minVersion: 0,
  maxVersion: 6,
  handle: (request, { version }) => Effect.sync(() => findCoordinatorResponse(request, version)),
});
