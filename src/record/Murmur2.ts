/** Java's hash of a record's key, by which every client of a topic finds the key's partition (Kafka's `Utils.murmur2`). */

const SEED = 0x9747b28c;
const M = 0x5bd1e995;

/** As a signed 32-bit number. */
export const murmur2 = (data: Uint8Array): number => {
  const { length } = data;
  let hash = SEED ^ length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    let k = data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
    k = Math.imul(k, M);
    k ^= k >>> 24;
    hash = Math.imul(hash, M) ^ Math.imul(k, M);
  }
  const rest = length - at;
  if (rest === 3) hash ^= data[at + 2]! << 16;
  if (rest >= 2) hash ^= data[at + 1]! << 8;
  if (rest >= 1) hash = Math.imul(hash ^ data[at]!, M);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, M);
  return hash ^ (hash >>> 15);
};

/** Kafka's default for a key, out of `count` partitions. Equal keys go to equal partitions while a topic has as many. */
export const partitionForKey = (key: Uint8Array, count: number): number => (murmur2(key) & 0x7fffffff) % count;
