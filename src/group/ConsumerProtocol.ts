/**
 * The part of the consumers' embedded protocol that a coordinator reads: version 0, which every later version begins
 * with (Kafka's `ConsumerProtocol`). Malformed bytes are an ordinary answer here, since any client may send them.
 */
import { ByteReader } from "../prelude/ByteReader.ts";
import { ProtocolError } from "../prelude/ProtocolError.ts";

/** A topic's name is at least its length field. */
const MIN_TOPIC_BYTES = 2;

/** The topics of a subscription; undefined when the bytes are not one. */
export const subscriptionTopics = (metadata: Uint8Array): ReadonlyArray<string> | undefined => {
  try {
    const reader = new ByteReader(metadata);
    if (reader.int16() < 0) return undefined;
    const count = reader.arrayLength(false, MIN_TOPIC_BYTES);
    const topics: string[] = [];
    for (let index = 0; index < count; index += 1) topics.push(reader.string());
    return topics;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
};
