/**
 * What a topic may be called, and which names are Kafka's own (`org.apache.kafka.common.internals.Topic`). The texts
 * are what CreateTopics answers.
 */

export const GROUP_METADATA_TOPIC = "__consumer_offsets";
export const TRANSACTION_STATE_TOPIC = "__transaction_state";
export const SHARE_GROUP_STATE_TOPIC = "__share_group_state";
/** The controller's own log: never a topic of the image. */
export const CLUSTER_METADATA_TOPIC = "__cluster_metadata";

const MAX_NAME_LENGTH = 249;
const LEGAL = /^[a-zA-Z0-9._-]+$/;

export const isInternalTopic = (name: string): boolean =>
  name === GROUP_METADATA_TOPIC || name === TRANSACTION_STATE_TOPIC || name === SHARE_GROUP_STATE_TOPIC;

/** Why `name` cannot be a topic's name, or null when it can (1 … 249 characters of `[a-zA-Z0-9._-]`). */
export const invalidTopicName = (name: string): string | null => {
  const reason = invalidReason(name);
  return reason === null ? null : `Topic name is invalid: ${reason}`;
};

const invalidReason = (name: string): string | null => {
  if (name === "") return "the empty string is not allowed";
  if (name === "." || name === "..") return `'${name}' is not allowed`;
  if (name.length > MAX_NAME_LENGTH) {
    return `the length of '${name}' is longer than the max allowed length ${MAX_NAME_LENGTH}`;
  }
  if (!LEGAL.test(name)) {
    return `'${name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'`;
  }
  return null;
};

/**
 * The form in which two names collide, because metrics turn '.' into '_'; null for a name with neither.
 * Kafka refuses a new topic whose form an existing one has.
 */
export const collisionForm = (name: string): string | null =>
  name.includes(".") || name.includes("_") ? name.replaceAll(".", "_") : null;
