/** Java's own hash of a text, which decides where Kafka keeps a group, and which of equals it meets first. */

/** `String.hashCode`: over UTF-16 units, as an int32. */
export const javaHashCode = (text: string): number => {
  let hash = 0;
  for (let index = 0; index < text.length; index += 1) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  return hash;
};

/** The partition of `__consumer_offsets` a group's coordinator writes to (Kafka's `Utils.abs`: the smallest int is 0). */
export const groupPartition = (groupId: string, partitions: number): number => {
  const hash = javaHashCode(groupId);
  return (hash === -0x8000_0000 ? 0 : Math.abs(hash)) % partitions;
};

/** Buckets of a Java `HashMap` of up to twelve entries. */
const BUCKETS = 16;

/** A few texts in the order a Java `HashMap` lists them in; those of one bucket stay in their order. */
export const hashMapOrder = (texts: Iterable<string>): string[] => {
  const bucket = (text: string): number => {
    const hash = javaHashCode(text);
    return (hash ^ (hash >>> 16)) & (BUCKETS - 1);
  };
  return [...texts].toSorted((left, right) => bucket(left) - bucket(right));
};
