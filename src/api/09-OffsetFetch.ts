/**
 * OffsetFetch (key 9), versions 1–10: what groups have committed; -1 with NONE where they have not.
 *
 * - v1: one group, its error beside each partition; no topics (null) closes the connection. v2–7: one group, an error of
 *   its own; null topics are all of the group's. v5+: leader epochs. v7+: RequireStable. v8+: several groups. v9+: member
 *   ids and epochs of KIP-848 groups. v10+: topics by id.
 */
import * as Effect from "effect/Effect";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import { ZERO_UUID } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { OffsetFetchRequest, OffsetFetchRequestGroup } from "../protocol/generated/OffsetFetchRequest.ts";
import type { OffsetFetchResponse, OffsetFetchResponseGroup } from "../protocol/generated/OffsetFetchResponse.ts";
import { isRefused } from "./GroupRequest.ts";
import type { RequestContext } from "./RequestContext.ts";
import { CloseConnection, defineHandler } from "./Router.ts";

const ALL_TOPICS_FROM = 2;
const GROUPS_FROM = 8;
const TOPIC_IDS_FROM = 10;

type AskedTopics = NonNullable<OffsetFetchRequestGroup["topics"]>;
type TopicAnswer = OffsetFetchResponseGroup["topics"][number];

const groupsOf = (request: OffsetFetchRequest, version: number): ReadonlyArray<OffsetFetchRequestGroup> => {
  if (version >= GROUPS_FROM) return request.groups;
  const topics = request.topics?.map((topic) => ({ ...topic, topicId: ZERO_UUID })) ?? null;
  return [{ groupId: request.groupId, memberId: null, memberEpoch: -1, topics }];
};

const withError = ({ name, topicId, partitionIndexes }: AskedTopics[number], errorCode: number): TopicAnswer => ({
  name,
  topicId,
  partitions: partitionIndexes.map((partitionIndex) => ({
    partitionIndex,
    committedOffset: -1,
    committedLeaderEpoch: -1,
    metadata: "",
    errorCode,
  })),
});

/** Topics with a known id get their name; the others are answered here. */
const resolve = (
  topics: AskedTopics,
  image: MetadataImage,
  version: number,
): { known: AskedTopics; refused: TopicAnswer[] } => {
  if (version < TOPIC_IDS_FROM) return { known: topics, refused: [] };
  const known: AskedTopics = [];
  const refused: TopicAnswer[] = [];
  for (const asked of topics) {
    const topic = image.topicsById.get(asked.topicId);
    if (topic === undefined) refused.push(withError(asked, Errors.UNKNOWN_TOPIC_ID));
    else known.push({ ...asked, name: topic.name });
  }
  return { known, refused };
};

/** A topic that has lost its id cannot be named in v10. */
const withIds = (topics: ReadonlyArray<TopicAnswer>, image: MetadataImage): TopicAnswer[] => {
  const named: TopicAnswer[] = [];
  for (const topic of topics) {
    const topicId = topic.topicId === ZERO_UUID ? image.topicsByName.get(topic.name)?.id : topic.topicId;
    if (topicId !== undefined) named.push({ ...topic, topicId });
  }
  return named;
};

const fetchGroup = (
  asked: OffsetFetchRequestGroup,
  requireStable: boolean,
  { version, ports }: RequestContext,
): Effect.Effect<OffsetFetchResponseGroup> => {
  const image = ports.metadata.image();
  const { known, refused } = resolve(asked.topics ?? [], image, version);
  const group = { ...asked, topics: asked.topics === null ? null : known };
  const command = { type: "OffsetFetch", group, requireStable, version } as const;
  return Effect.map(ports.groups.ask(asked.groupId, command), (reply): OffsetFetchResponseGroup => {
    if (isRefused(reply)) {
      const topics = version < ALL_TOPICS_FROM ? known.map((topic) => withError(topic, reply)) : [];
      return { groupId: asked.groupId, topics, errorCode: fetchError(reply) };
    }
    if (reply.errorCode !== Errors.NONE) return reply;
    const topics = [...reply.topics, ...refused];
    return { ...reply, topics: version >= TOPIC_IDS_FROM ? withIds(topics, image) : topics };
  });
};

/** Older consumers do not know COORDINATOR_NOT_AVAILABLE here (Kafka's `handleOffsetFetchException`). */
const fetchError = (error: number): number =>
  error === Errors.COORDINATOR_NOT_AVAILABLE ? Errors.NOT_COORDINATOR : error;

const respond = (groups: OffsetFetchResponseGroup[], version: number): OffsetFetchResponse => {
  if (version >= GROUPS_FROM) return { throttleTimeMs: 0, topics: [], errorCode: Errors.NONE, groups };
  const { topics, errorCode } = groups[0]!;
  return {
    throttleTimeMs: 0,
    topics: topics.map(({ name, partitions }) => ({ name, partitions })),
    errorCode: version < ALL_TOPICS_FROM ? Errors.NONE : errorCode,
    groups: [],
  };
};

export const OffsetFetch = defineHandler<OffsetFetchRequest, OffsetFetchResponse>({
  apiKey: 9,
  minVersion: 1,
  maxVersion: 10,
  reads: true,
  handle: (request, context) => {
    const { version } = context;
    if (version < ALL_TOPICS_FROM && request.topics === null) {
      return Effect.fail(new CloseConnection({ reason: "OffsetFetch v1 must name its topics" }));
    }
    const fetched = Effect.suspend(() =>
      Effect.all(
        groupsOf(request, version).map((group) => fetchGroup(group, request.requireStable, context)),
        { concurrency: "unbounded" },
      ),
    );
    return Effect.map(fetched, (groups) => respond(groups, version));
  },
});
