/**
 * TxnOffsetCommit (key 28), versions 0–5: offsets are committed with a transaction, each partition answered by itself.
 *
 * - v2+: leader epochs; COORDINATOR_LOAD_IN_PROGRESS is known. v3+: flexible; member, generation and static member, by
 *   which a zombie is fenced (KIP-447). v4+: TRANSACTION_ABORTABLE is known.
 * - v5+: transactions version 2 (KIP-890): the group's partition enters the transaction by itself.
 *
 * What must stay true: the offsets are seen when the transaction has committed, and never otherwise (T9); they enter
 * the log only when the transaction includes the group's partition (T11).
 */
import * as Effect from "effect/Effect";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import { GROUP_METADATA_TOPIC } from "../metadata/TopicName.ts";
import type { Uuid } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type {
  TxnOffsetCommitRequest,
  TxnOffsetCommitRequestTopic,
} from "../protocol/generated/TxnOffsetCommitRequest.ts";
import type { TxnOffsetCommitResponse } from "../protocol/generated/TxnOffsetCommitResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import type { RequestContext } from "./RequestContext.ts";
import { defineHandler } from "./Router.ts";
import { type Verified, verifyTransaction } from "./TransactionVerification.ts";

const LOADING_FROM = 2;
const ABORTABLE_FROM = 4;
const ADDS_PARTITIONS_FROM = 5;

type KnownTopic = TxnOffsetCommitRequestTopic & { readonly topicId: Uuid };

/** What exists of a request; the rest is answered UNKNOWN_TOPIC_OR_PARTITION. */
const knownTopics = (topics: ReadonlyArray<TxnOffsetCommitRequestTopic>, image: MetadataImage): KnownTopic[] => {
  const known: KnownTopic[] = [];
  for (const { name, partitions } of topics) {
    const topic = image.topicsByName.get(name);
    const existing = partitions.filter(({ partitionIndex }) => topic?.partitions[partitionIndex] !== undefined);
    if (topic !== undefined && existing.length > 0) known.push({ name, topicId: topic.id, partitions: existing });
  }
  return known;
};

/** Verifies that the transaction includes the group's partition, or adds that. */
const verified = (request: TxnOffsetCommitRequest, { ports, version }: RequestContext): Effect.Effect<Verified> =>
  Effect.callback<Verified>((resume) => {
    const { transactionalId, groupId } = request;
    const settle = (answer: Verified): void => resume(Effect.succeed(answer));
    const topic = ports.metadata.image().topicsByName.get(GROUP_METADATA_TOPIC);
    const partition = ports.groups.partitionOf(groupId);
    if (topic === undefined || partition === undefined) {
      return settle({ error: Errors.COORDINATOR_NOT_AVAILABLE, guard: undefined });
    }
    const destination = { topicId: topic.id, topic: topic.name, partition, baseSequence: -1 };
    const support = {
      addsPartitions: version >= ADDS_PARTITIONS_FROM,
      knowsAbortable: version >= ABORTABLE_FROM,
    };
    verifyTransaction(transactionalId, request, [destination], support, ports, ([only]) => settle(only!));
  });

const committed = (
  request: TxnOffsetCommitRequest,
  topics: ReadonlyArray<KnownTopic>,
  context: RequestContext,
): Effect.Effect<TxnOffsetCommitResponse["topics"] | number> =>
  Effect.flatMap(verified(request, context), ({ error, guard }) => {
    if (error !== Errors.NONE) {
      // Its own words for a partition that cannot be asked.
      return Effect.succeed(error === Errors.NOT_LEADER_OR_FOLLOWER ? Errors.NOT_COORDINATOR : error);
    }
    const supportsEpochBump = context.version >= ADDS_PARTITIONS_FROM;
    const command = { type: "TxnOffsetCommit", request, topics, guard, supportsEpochBump } as const;
    return Effect.map(context.ports.groups.ask(request.groupId, command), (reply) =>
      isRefused(reply) ? reply : reply.topics,
    );
  });

const refusals = (topics: ReadonlyArray<KnownTopic>, errorCode: number): TxnOffsetCommitResponse["topics"] =>
  topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
  }));

/** Clients before version 2 could crash on an error they did not expect (KAFKA-7296). */
const errorIn = (error: number, version: number): number =>
  error === Errors.COORDINATOR_LOAD_IN_PROGRESS && version < LOADING_FROM ? Errors.COORDINATOR_NOT_AVAILABLE : error;

export const TxnOffsetCommit = defineHandler<TxnOffsetCommitRequest, TxnOffsetCommitResponse>({
  apiKey: 28,
  minVersion: 0,
  maxVersion: 5,
  reads: true,
  handle: (request, context) =>
    Effect.suspend(() => {
      const { version, ports } = context;
      const known = knownTopics(request.topics, ports.metadata.image());
      const respond = (answered: TxnOffsetCommitResponse["topics"] | number): TxnOffsetCommitResponse => {
        const answers = typeof answered === "number" ? refusals(known, errorIn(answered, version)) : answered;
        const errors = new Map(
          answers.map(({ name, partitions }) => [
            name,
            new Map(partitions.map(({ partitionIndex, errorCode }) => [partitionIndex, errorCode])),
          ]),
        );
        const topics = request.topics.map(({ name, partitions }) => ({
          name,
          partitions: partitions.map(({ partitionIndex }) => ({
            partitionIndex,
            errorCode: errors.get(name)?.get(partitionIndex) ?? Errors.UNKNOWN_TOPIC_OR_PARTITION,
          })),
        }));
        return { throttleTimeMs: 0, topics };
      };
      if (known.length === 0) return Effect.succeed(respond([]));
      return Effect.map(committed(request, known, context), respond);
    }),
});
