/**
 * The nouns that are numbers. Each is a flavour of `number` (or `string`): a plain literal is accepted, another
 * flavour is not, so an `Offset` cannot be passed where a `Position` is meant. No cast is ever needed at run time.
 *
 * Numbers are safe integers: an int64 from the wire that lies beyond ±(2^53 − 1) is saturated there by `ByteReader`.
 */

type Flavour<Base, Name extends string> = Base & { readonly __flavour?: Name };

/** A record's place in a partition, 0 … 2^53 − 1. `-1` means none or unknown, as on Kafka's wire. */
export type Offset = Flavour<number, "Offset">;
/** A byte's place in a file. */
export type Position = Flavour<number, "Position">;
/** A partition leader's reign (int32); `-1` means unknown. */
export type LeaderEpoch = Flavour<number, "LeaderEpoch">;
/** A producer's identity (int64); `-1` means not idempotent. */
export type ProducerId = Flavour<number, "ProducerId">;
/** An int16 that fences a producer's earlier incarnations; `-1` means none. */
export type ProducerEpoch = Flavour<number, "ProducerEpoch">;
/** A producer's count of records in one partition (int32, wraps from 2^31 − 1 to 0); `-1` means none. */
export type Sequence = Flavour<number, "Sequence">;
/** Milliseconds since 1970-01-01 UTC; `-1` means none. */
export type Timestamp = Flavour<number, "Timestamp">;
/** Monotonic milliseconds from an arbitrary start, with a fraction. Never compared with a `Timestamp`. */
export type MonotonicMs = Flavour<number, "MonotonicMs">;
/** A Kafka UUID in Kafka's own text form: 22 characters of unpadded base64url. */
export type Uuid = Flavour<string, "Uuid">;
/** Kafka's `Uuid.ZERO_UUID`: "not supported" or "not given". */
export const ZERO_UUID: Uuid = "AAAAAAAAAAAAAAAAAAAAAA";

/** A topic's partition by name: the key of everything a client names. */
export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/**
 * An answer that is there already or will come: what every port operation that may have to wait returns. The caller
 * tests with `isPending` and stays synchronous when it can.
 */
export type MaybePending<A> = A | Promise<A>;

export const isPending = <A>(answer: MaybePending<A>): answer is Promise<A> => answer instanceof Promise;
