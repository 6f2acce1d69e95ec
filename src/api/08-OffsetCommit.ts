/**
 * OffsetCommit (key 8), versions 2–10: offsets are remembered for a group, each partition answered by itself.
 *
 * - v2–4: a retention time. v6+: leader epochs. v7+: static members. v9+: member epochs of KIP-848 groups, and
 *   GROUP_ID_NOT_FOUND for a generation of a group that is not there. v10+: topics by id.
 *
 * A topic or partition that does not exist is refused here, before the coordinator is asked; any offset is accepted.
 */
import * as Effect from "effect/Effect";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import { ZERO_UUID } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { OffsetCommitRequest, OffsetCommitRequestTopic } from "../protocol/generated/OffsetCommitRequest.ts";
import type { OffsetCommitResponse } from "../protocol/generated/OffsetCommitResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import { defineHandler } from "./Router.ts";

const TOPIC_IDS_FROM = 10;

type TopicAnswer = OffsetCommitResponse["topics"][number];

const answerAll = ({ name, topicId, partitions }: OffsetCommitRequestTopic, errorCode: number): TopicAnswer => ({
  name,
  topicId,
  partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
});

/** What exists goes on, name and id both filled in; the rest has its answer. */
const resolve = (
  topics: ReadonlyArray<OffsetCommitRequestTopic>,
  image: MetadataImage,
  version: number,
): { known: OffsetCommitRequestTopic[]; refused: TopicAnswer[] } => {
  const known: OffsetCommitRequestTopic[] = [];
  const refused: TopicAnswer[] = [];
  for (const asked of topics) {
    const byId = version >= TOPIC_IDS_FROM;
    const topic = byId ? image.topicsById.get(asked.topicId) : image.topicsByName.get(asked.name);
    if (topic === undefined) {
      const error = byId ? Errors.UNKNOWN_TOPIC_ID : Errors.UNKNOWN_TOPIC_OR_PARTITION;
      refused.push(answerAll({ ...asked, topicId: byId ? asked.topicId : ZERO_UUID }, error));
      continue;
    }
    const named = { name: topic.name, topicId: topic.id };
    const exists = ({ partitionIndex }: { partitionIndex: number }): boolean =>
      topic.partitions[partitionIndex] !== undefined;
    const partitions = asked.partitions.filter(exists);
    const missing = asked.partitions.filter((partition) => !exists(partition));
    if (partitions.length > 0) known.push({ ...named, partitions });
    if (missing.length > 0) {
      refused.push(answerAll({ ...named, partitions: missing }, Errors.UNKNOWN_TOPIC_OR_PARTITION));
    }
  }
  return { known, refused };
};

/** One entry per topic, whoever answered its partitions. */
const merge = (answers: ReadonlyArray<TopicAnswer>): TopicAnswer[] => {
  const merged = new Map<string, TopicAnswer>();
  for (const answer of answers) {
    const key = `${answer.topicId} ${answer.name}`;
    const present = merged.get(key);
    if (present === undefined) merged.set(key, { ...answer, partitions: [...answer.partitions] });
    else present.partitions.push(...answer.partitions);
  }
  return [...merged.values()];
};

export const OffsetCommit = defineHandler<OffsetCommitRequest, OffsetCommitResponse>({
  apiKey: 8,
  minVersion: 2,
  maxVersion: 10,
  reads: true,
  handle: (request, { version, ports }) =>
    Effect.suspend(() => {
      const { known, refused } = resolve(request.topics, ports.metadata.image(), version);
      const respond = (answers: ReadonlyArray<TopicAnswer>): OffsetCommitResponse => ({
        throttleTimeMs: 0,
        topics: merge([...refused, ...answers]).map((topic) =>
          version >= TOPIC_IDS_FROM ? topic : { ...topic, topicId: ZERO_UUID },
        ),
      });
      if (known.length === 0) return Effect.succeed(respond([]));
      const command = { type: "OffsetCommit", request: { ...request, topics: known }, version } as const;
      return Effect.map(ports.groups.ask(request.groupId, command), (reply) =>
        respond(isRefused(reply) ? known.map((topic) => answerAll(topic, reply)) : reply.topics),
      );
    }),
});
