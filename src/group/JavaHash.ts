/** Java's own hash of a text, which decides where Kafka keeps a group. */

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
