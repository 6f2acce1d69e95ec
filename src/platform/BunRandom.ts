/**
 * The Random port on the real machine: the platform's cryptographic source, because its UUIDs name topics and clusters
 * and must never meet. What must stay true: every value below the bound is equally likely.
 */
import type { Uuid } from "../prelude/Types.ts";
import type { Random } from "./Random.ts";

/** Refilled in one call: asking the kernel for 4 bytes at a time costs more than the rest of the call. */
const POOL_WORDS = 256;

/**
 * Kafka's text form (unpadded base64url) of 16 bytes made into a version-4 UUID, or undefined when it would begin with
 * '-' and could be taken for a command-line option (`org.apache.kafka.common.Uuid.randomUuid` refuses those too).
 */
export const uuidFromBytes = (bytes: Uint8Array): Uuid | undefined => {
  const uuid = Uint8Array.from(bytes.subarray(0, 16));
  uuid[6] = (uuid[6]! & 0x0f) | 0x40;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  const text = uuid.toBase64({ alphabet: "base64url", omitPadding: true });
  return text.startsWith("-") ? undefined : text;
};

export const makeBunRandom = (): Random => {
  const pool = new Uint32Array(POOL_WORDS);
  let next = POOL_WORDS;
  const word = (): number => {
    if (next === POOL_WORDS) {
      crypto.getRandomValues(pool);
      next = 0;
    }
    return pool[next++]!;
  };
  return {
    below(bound) {
      // The last, incomplete stretch of the 2^32 values is thrown away: it would favour small results.
      const limit = 0x100000000 - (0x100000000 % bound);
      let value = word();
      while (value >= limit) value = word();
      return value % bound;
    },
    uuid() {
      for (;;) {
        const text = uuidFromBytes(crypto.getRandomValues(new Uint8Array(16)));
        if (text !== undefined) return text;
      }
    },
  };
};
