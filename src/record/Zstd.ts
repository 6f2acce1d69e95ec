/**
 * The outline of zstd frames (RFC 8878 section 3.1), without decompressing them: `node:zlib` in Bun 1.4 answers a cut
 * frame with what it has and ignores what follows a frame, so whoever must not store half a batch asks here first.
 */

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
/** Sizes of the dictionary id and of the frame content size by their flags. */
const DICTIONARY_ID_SIZES = [0, 1, 2, 4] as const;
const CONTENT_SIZE_SIZES = [0, 2, 4, 8] as const;

const readUint32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;

/** Whether `bytes` is one or more whole frames, at least one of them with content, and nothing else. */
export const isWholeZstd = (bytes: Uint8Array): boolean => zstdFrames(bytes) !== undefined;

/** Where the frames with content begin; undefined unless `bytes` is one or more of them, whole, and nothing else. */
export const zstdFrames = (bytes: Uint8Array): readonly number[] | undefined => {
  const end = bytes.length;
  let at = 0;
  const frames: number[] = [];
  while (at < end) {
    if (at + 8 > end) return undefined;
    const magic = readUint32(bytes, at);
    if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE) {
      at += 8 + readUint32(bytes, at + 4);
      continue;
    }
    if (magic !== MAGIC) return undefined;
    frames.push(at);
    const descriptor = bytes[at + 4]!;
    const singleSegment = (descriptor & 0x20) !== 0;
    at += 5 + (singleSegment ? 0 : 1) + DICTIONARY_ID_SIZES[(descriptor & 3) as 0 | 1 | 2 | 3];
    at += singleSegment && descriptor < 0x40 ? 1 : CONTENT_SIZE_SIZES[(descriptor >>> 6) as 0 | 1 | 2 | 3];
    for (let last = false; !last; ) {
      if (at + 3 > end) return undefined;
      const header = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
      last = (header & 1) !== 0;
      const type = (header >>> 1) & 3;
      if (type === 3) return undefined;
      at += 3 + (type === 1 ? 1 : header >>> 3); // a repeated byte is stored once
    }
    if (descriptor & 4) at += 4; // the content's checksum
  }
  return at === end && frames.length > 0 ? frames : undefined;
};
