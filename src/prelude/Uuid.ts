/**
 * Kafka's UUIDs between their 16 bytes and Kafka's text form (22 characters of unpadded base64url, as
 * `org.apache.kafka.common.Uuid.toString`). Pure, no platform functions, so that the browser client shares it.
 */
import { ProtocolError } from "./ProtocolError.ts";
import { type Uuid, ZERO_UUID } from "./Types.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const CHAR_CODES = new Uint8Array(64);
/** Six-bit value by char code; 255 where the character is not of the alphabet. */
const VALUES = new Uint8Array(128).fill(255);
for (let i = 0; i < 64; i++) {
  CHAR_CODES[i] = ALPHABET.charCodeAt(i);
  VALUES[ALPHABET.charCodeAt(i)] = i;
}

const UUID_BYTES = 16;
const UUID_CHARS = 22;

/**
 * Topic ids repeat in every request, and making a 22-character string costs far more than comparing 16 bytes: a small
 * direct-mapped memory of the ids seen last. Fixed size; it holds values only, so it cannot change an answer.
 */
const MEMORY_SLOTS = 1024;
const memoryBytes = new Uint8Array(MEMORY_SLOTS * UUID_BYTES);
const memoryTexts: Uuid[] = new Array<Uuid>(MEMORY_SLOTS).fill(ZERO_UUID);

function encode(bytes: Uint8Array, start: number): Uuid {
  const c = CHAR_CODES;
  const codes: number[] = [];
  for (let i = start; i < start + 15; i += 3) {
    const word = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!;
    codes.push(c[word >> 18]!, c[(word >> 12) & 63]!, c[(word >> 6) & 63]!, c[word & 63]!);
  }
  const last = bytes[start + 15]!;
  codes.push(c[last >> 2]!, c[(last & 3) << 4]!);
  return String.fromCharCode(...codes);
}

/** The text form of the 16 bytes at `start`, which the caller has checked to be there. */
export function uuidFromBytes(bytes: Uint8Array, start = 0): Uuid {
  const slot =
    (bytes[start]! ^
      (bytes[start + 3]! << 2) ^
      (bytes[start + 7]! << 1) ^
      (bytes[start + 11]! << 2) ^
      bytes[start + 15]!) &
    (MEMORY_SLOTS - 1);
  const base = slot * UUID_BYTES;
  let same = true;
  for (let i = 0; i < UUID_BYTES; i++) {
    if (memoryBytes[base + i] !== bytes[start + i]) {
      same = false;
      break;
    }
  }
  if (same) return memoryTexts[slot]!;
  const text = encode(bytes, start);
  for (let i = 0; i < UUID_BYTES; i++) memoryBytes[base + i] = bytes[start + i]!;
  memoryTexts[slot] = text;
  return text;
}

/** Whether `text` is a UUID in Kafka's form: 22 characters of the alphabet, the last four bits zero. */
export function isUuid(text: string): boolean {
  if (text.length !== UUID_CHARS) return false;
  for (let i = 0; i < UUID_CHARS; i++) {
    const code = text.charCodeAt(i);
    if (code > 127 || VALUES[code] === 255) return false;
  }
  return (VALUES[text.charCodeAt(UUID_CHARS - 1)]! & 15) === 0;
}

/**
 * Writes the 16 bytes of `uuid` at `start`, where the caller has made room. Throws `ProtocolError` when the text is not
 * 22 characters of base64url.
 */
export function uuidIntoBytes(uuid: Uuid, target: Uint8Array, start = 0): void {
  if (!isUuid(uuid)) throw new ProtocolError(`not a UUID: ${JSON.stringify(uuid.slice(0, 64))}`);
  let at = start;
  for (let i = 0; i < 20; i += 4) {
    const word =
      (VALUES[uuid.charCodeAt(i)]! << 18) |
      (VALUES[uuid.charCodeAt(i + 1)]! << 12) |
      (VALUES[uuid.charCodeAt(i + 2)]! << 6) |
      VALUES[uuid.charCodeAt(i + 3)]!;
    target[at++] = word >> 16;
    target[at++] = word >> 8;
    target[at++] = word;
  }
  target[at] = (VALUES[uuid.charCodeAt(20)]! << 2) | (VALUES[uuid.charCodeAt(21)]! >> 4);
}

/** The 16 bytes of `uuid`. Throws `ProtocolError` when the text is not a UUID. */
export function uuidToBytes(uuid: Uuid): Uint8Array {
  const bytes = new Uint8Array(UUID_BYTES);
  uuidIntoBytes(uuid, bytes);
  return bytes;
}
