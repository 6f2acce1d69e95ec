/**
 * What a request for server-sent events asks for, and the answer that carries them: every partition of its topics, where
 * the last event left it or where `from` says, on one body that is pulled as its connection takes it.
 */
import { decodeEventPosition } from "../src/gateway/EventPosition.ts";
import type { From, PartitionFrom, WireError } from "../src/gateway/Messages.ts";
import { ShapeError } from "../src/gateway/Shape.ts";
import { wireError } from "../src/gateway/WireError.ts";
import type { MetadataImage } from "../src/metadata/MetadataImage.ts";
import { Errors } from "../src/protocol/Errors.ts";
import { type GatewayEvents, MAX_EVENT_PARTITIONS } from "./GatewayEvents.ts";
import { ANSWER_HEADERS } from "./HttpAnswers.ts";

export const resumedFrom = (request: Request, query: URLSearchParams): ReturnType<typeof decodeEventPosition> => {
  const id = request.headers.get("last-event-id") ?? query.get("lastEventId");
  if (id === null || id === "") return undefined;
  const positions = decodeEventPosition(id);
  if (positions === undefined) throw new ShapeError("Last-Event-ID: not an id of this stream's events");
  return positions;
};

/** Every partition of the topics, where the last event left it or where `from` says. */
export const eventPartitions = (
  image: MetadataImage,
  topics: ReadonlyArray<string>,
  from: string,
  resumed: ReturnType<typeof decodeEventPosition>,
): ReadonlyArray<PartitionFrom> | WireError => {
  const known = new Map<string, PartitionFrom["from"]>();
  const topicsKnown = new Set<string>();
  for (const { partition, position } of resumed ?? []) {
    known.set(`${partition} ${position.topicId}`, position);
    topicsKnown.add(position.topicId);
  }
  const start: From | undefined =
    from === "earliest" || from === "latest" ? from : /^\d{1,16}$/.test(from) ? { timestamp: Number(from) } : undefined;
  if (start === undefined) throw new ShapeError("from: expected earliest, latest or milliseconds since 1970");
  const found: PartitionFrom[] = [];
  for (const name of new Set(topics)) {
    const topic = image.topicsByName.get(name);
    if (topic === undefined) return wireError(Errors.UNKNOWN_TOPIC_OR_PARTITION, `there is no topic ${name}`);
    for (const partition of topic.partitions.keys()) {
      // A partition that a topic has got since is read from its beginning.
      const unseen = topicsKnown.has(topic.id) ? "earliest" : start;
      found.push({ topic: name, partition, from: known.get(`${partition} ${topic.id}`) ?? unseen });
    }
  }
  if (found.length > MAX_EVENT_PARTITIONS) {
    throw new ShapeError(
      `topics: at most ${MAX_EVENT_PARTITIONS} partitions are streamed at once, got ${found.length}`,
    );
  }
  return found;
};

/** What may wait in one answer before its connection has taken it. */
const EVENT_BUFFER_BYTES = 128 * 1024;

export const eventResponse = (events: GatewayEvents): Response => {
  const utf8 = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        events.start({
          get hasRoom() {
            return (controller.desiredSize ?? 0) > 0;
          },
          write: (text) => controller.enqueue(utf8.encode(text)),
          end: () => controller.close(),
        });
      },
      pull: () => events.drained(),
      cancel: () => events.close(),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: EVENT_BUFFER_BYTES }),
  );
  const headers = { ...ANSWER_HEADERS, "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no" };
  return new Response(body, { headers });
};
