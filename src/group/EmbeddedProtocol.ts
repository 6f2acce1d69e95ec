/**
 * The bytes consumers of the classic protocol exchange through the coordinator, read and written whole (Kafka's
 * ConsumerProtocol): an int16 version, then a subscription or an assignment. Needed where the broker speaks for such
 * consumers: in a group under migration. What must stay true: a later version than ours is read as ours, since each
 * only adds at the end; malformed bytes are an ordinary answer (undefined), since any client may send them.
 */
import { ByteReader } from "../prelude/ByteReader.ts";
import { ByteWriter } from "../prelude/ByteWriter.ts";
import { ProtocolError } from "../prelude/ProtocolError.ts";
import {
  type ConsumerProtocolAssignment,
  ConsumerProtocolAssignmentInfo,
  decodeConsumerProtocolAssignment,
  encodeConsumerProtocolAssignment,
} from "../protocol/generated/ConsumerProtocolAssignment.ts";
import {
  type ConsumerProtocolSubscription,
  ConsumerProtocolSubscriptionInfo,
  decodeConsumerProtocolSubscription,
} from "../protocol/generated/ConsumerProtocolSubscription.ts";

const read = <A>(
  bytes: Uint8Array,
  newest: number,
  decode: (reader: ByteReader, version: number) => A,
): A | undefined => {
  try {
    const reader = new ByteReader(bytes);
    const version = reader.int16();
    return version < 0 ? undefined : decode(reader, Math.min(version, newest));
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
};

export const readSubscription = (bytes: Uint8Array): ConsumerProtocolSubscription | undefined =>
  read(bytes, ConsumerProtocolSubscriptionInfo.maxVersion, decodeConsumerProtocolSubscription);

export const readAssignment = (bytes: Uint8Array): ConsumerProtocolAssignment | undefined =>
  read(bytes, ConsumerProtocolAssignmentInfo.maxVersion, decodeConsumerProtocolAssignment);

/** An assignment in the version of the subscription it answers. */
export const writeAssignment = (assignment: ConsumerProtocolAssignment, subscription: Uint8Array): Uint8Array => {
  const asked = subscription.length < 2 ? 0 : new ByteReader(subscription).int16();
  const version = Math.max(0, Math.min(asked, ConsumerProtocolAssignmentInfo.maxVersion));
  const writer = new ByteWriter();
  writer.int16(version);
  encodeConsumerProtocolAssignment(writer, assignment, version);
  return writer.toBytes();
};
