/**
 * Whether a reader's place still lies in the log's history (KIP-320): the end of the leader epoch of the last record it
 * has seen is asked for, as Kafka's consumers do. What lies below that end is what the reader has read; a place above it
 * belongs to a history that was cut.
 */
import * as Effect from "effect/Effect";
import type { LeaderEpoch, Offset } from "../prelude/Types.ts";
import { ApiKey } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import type { Caller } from "./Caller.ts";

export interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: Offset;
  /** Of the record before `offset`. */
  readonly leaderEpoch: LeaderEpoch;
}

export type Checked =
  | { readonly kind: "fine" }
  /** The last place that both histories share. */
  | { readonly kind: "diverged"; readonly offset: Offset; readonly leaderEpoch: LeaderEpoch }
  | { readonly kind: "failed"; readonly error: number };

const CLIENT = -1;

export const checkHistory = (
  caller: Caller,
  { topic, partition, offset, leaderEpoch }: Place,
  currentLeaderEpoch: LeaderEpoch,
): Effect.Effect<Checked> => {
  const partitions = [{ partition, currentLeaderEpoch, leaderEpoch }];
  const call = caller.call(ApiKey.OffsetForLeaderEpoch, { replicaId: CLIENT, topics: [{ topic, partitions }] });
  return Effect.map(call, (response): Checked => {
    const answer = response.topics[0]?.partitions[0];
    const error = answer?.errorCode ?? Errors.UNKNOWN_TOPIC_OR_PARTITION;
    if (answer === undefined || error !== Errors.NONE) return { kind: "failed", error };
    // An epoch that this log never had: nothing is known to be shared.
    if (answer.leaderEpoch < 0 || answer.endOffset < 0) return { kind: "failed", error: Errors.OFFSET_OUT_OF_RANGE };
    if (answer.endOffset >= offset) return { kind: "fine" };
    return { kind: "diverged", offset: answer.endOffset, leaderEpoch: answer.leaderEpoch };
  });
};
