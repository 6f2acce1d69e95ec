/**
 * Where a stream of server-sent events is in all of its partitions, as the text of an event's `id`: a browser sends the
 * last one back as `Last-Event-ID`, and the stream goes on there. `topicId:partition.offset.epoch,…;topicId:…`: no
 * character of it needs quoting in a header or a URL's query.
 */
import type { Position, TopicPartition } from "./Messages.ts";

export interface PlacedPartition extends Pick<TopicPartition, "partition"> {
  readonly position: Position;
}

export const encodeEventPosition = (partitions: Iterable<PlacedPartition>): string => {
  const byTopic = new Map<string, string[]>();
  for (const { partition, position } of partitions) {
    const place = `${partition}.${position.offset}.${position.leaderEpoch}`;
    const places = byTopic.get(position.topicId);
    if (places === undefined) byTopic.set(position.topicId, [place]);
    else places.push(place);
  }
  return Array.from(byTopic, ([topicId, places]) => `${topicId}:${places.join(",")}`).join(";");
};

const TOPIC = /^([\w-]{22}):(.+)$/;
const PLACE = /^(\d{1,10})\.(\d{1,16})\.(-1|\d{1,10})$/;

/** The positions, or undefined when the text is not one of ours. */
export const decodeEventPosition = (text: string): ReadonlyArray<PlacedPartition> | undefined => {
  const found: PlacedPartition[] = [];
  for (const part of text.split(";")) {
    const [, topicId, places] = TOPIC.exec(part) ?? [];
    if (topicId === undefined || places === undefined) return undefined;
    for (const each of places.split(",")) {
      const [, partition, offset, epoch] = PLACE.exec(each) ?? [];
      const position = { offset: Number(offset), leaderEpoch: Number(epoch), topicId };
      if (partition === undefined || !Number.isSafeInteger(position.offset)) return undefined;
      found.push({ partition: Number(partition), position });
    }
  }
  return found;
};
