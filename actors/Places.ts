/** Which offsets a place of a command line is: asked of the partitions, once each, whichever door they are behind. */
import type { Place } from "../src/cli/OffsetRange.ts";
import type { Isolation, OffsetAnswer, TopicDoor } from "../src/cli/TopicDoor.ts";
import type { Offset, TopicPartition } from "../src/prelude/Types.ts";

/** A partition's first offset and the one behind its last that may be read. */
export interface Extent extends TopicPartition {
  readonly start: Offset;
  readonly end: Offset;
}

/** What the door says of one partition, or why it says nothing. */
export type Located<A> = { readonly found: A } | { readonly refused: OffsetAnswer };

const refusalOf = (...answers: ReadonlyArray<OffsetAnswer | undefined>): OffsetAnswer | undefined =>
  answers.find((answer) => answer !== undefined && answer.error !== null);

/** In the order asked. */
export const extentsOf = async (
  door: TopicDoor,
  partitions: ReadonlyArray<TopicPartition>,
  isolation: Isolation,
): Promise<Array<Located<Extent>>> => {
  const starts = await door.offsets(partitions, "earliest", isolation);
  const ends = await door.offsets(partitions, "latest", isolation);
  return partitions.map(({ topic, partition }, index) => {
    const refused = refusalOf(starts[index], ends[index]);
    if (refused !== undefined) return { refused };
    return { found: { topic, partition, start: starts[index]!.offset, end: ends[index]!.offset } };
  });
};

/**
 * The place's offset in each partition, in the order asked. Counted from the start or the end, or by time, it lies between
 * them; an offset is what it is.
 */
export const locate = async (
  door: TopicDoor,
  extents: ReadonlyArray<Extent>,
  place: Place,
  isolation: Isolation,
): Promise<Array<Located<Offset>>> => {
  if (place.at === "time") {
    const answers = await door.offsets(extents, { timestamp: place.timestamp }, isolation);
    return answers.map((answer, index) => {
      if (answer.error !== null) return { refused: answer };
      // No record is that young: what is yet to come begins at the end.
      return { found: answer.offset < 0 ? extents[index]!.end : answer.offset };
    });
  }
  return extents.map(({ start, end }) => {
    if (place.at === "offset") return { found: place.offset };
    const wanted = place.at === "start" ? start + place.plus : end - place.minus;
    return { found: Math.max(start, Math.min(wanted, end)) };
  });
};
