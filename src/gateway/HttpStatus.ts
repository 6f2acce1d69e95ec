/** Kafka's errors as HTTP statuses: what a client, a proxy or a person makes of an answer without reading its body. */
import { Errors, isRetriable } from "../protocol/Errors.ts";

const STATUS: ReadonlyMap<number, number> = new Map<number, number>([
  [Errors.UNKNOWN_SERVER_ERROR, 500],
  [Errors.UNKNOWN_TOPIC_OR_PARTITION, 404],
  [Errors.UNKNOWN_TOPIC_ID, 404],
  [Errors.GROUP_ID_NOT_FOUND, 404],
  [Errors.RESOURCE_NOT_FOUND, 404],
  [Errors.TRANSACTIONAL_ID_NOT_FOUND, 404],
  [Errors.OFFSET_OUT_OF_RANGE, 416],
  [Errors.CORRUPT_MESSAGE, 500],
  [Errors.MESSAGE_TOO_LARGE, 413],
  [Errors.RECORD_LIST_TOO_LARGE, 413],
  [Errors.TOPIC_ALREADY_EXISTS, 409],
  [Errors.NON_EMPTY_GROUP, 409],
  [Errors.GROUP_SUBSCRIBED_TO_TOPIC, 409],
  [Errors.UNKNOWN_MEMBER_ID, 409],
  [Errors.FENCED_MEMBER_EPOCH, 409],
  [Errors.STALE_MEMBER_EPOCH, 409],
  [Errors.TOPIC_AUTHORIZATION_FAILED, 403],
  [Errors.GROUP_AUTHORIZATION_FAILED, 403],
  [Errors.CLUSTER_AUTHORIZATION_FAILED, 403],
  [Errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 403],
  [Errors.SASL_AUTHENTICATION_FAILED, 401],
  [Errors.REQUEST_TIMED_OUT, 504],
  [Errors.THROTTLING_QUOTA_EXCEEDED, 429],
  [Errors.DUPLICATE_SEQUENCE_NUMBER, 422],
]);

/** What passes is 503, what the request is to blame for 400, unless there is something closer. */
export const httpStatus = (code: number): number => STATUS.get(code) ?? (isRetriable(code) ? 503 : 400);
