/**
 * A record as JSON: kcat's `-J` envelope, with headers as an array of [key, value] pairs (a key may come twice), and back.
 * What must stay true: what `consume` prints, `produce -J` reads into the same key, value, headers and timestamp, whatever
 * bytes they are. Bytes that are UTF-8 are a string, null is null, and any other bytes are `{"base64": "…"}`.
 */
import { timestampTypeOf } from "../record/RecordBatch.ts";
import type { RecordHeader } from "../record/RecordView.ts";
import type { ConsumedRecord, InputRecord } from "./ConsumedRecord.ts";

/** Bytes that are no UTF-8, in RFC 4648's alphabet with padding. */
interface Base64 {
  readonly base64: string;
}

export type JsonBytes = string | Base64 | null;

// A byte order mark is part of the text.
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

export const jsonOfBytes = (bytes: Uint8Array | null): JsonBytes => {
  if (bytes === null) return null;
  try {
    return strict.decode(bytes);
  } catch {
    return { base64: bytes.toBase64() };
  }
};

/** Field by field as kcat orders them; `metaOnly` has the payload's size in bytes in its place, null for null. */
export const envelopeOf = (record: ConsumedRecord, metaOnly: boolean): Record<string, unknown> => ({
  topic: record.topic,
  partition: record.partition,
  offset: record.offset,
  tstype:
    record.timestamp < 0 || record.attributes < 0
      ? "unknown"
      : timestampTypeOf(record.attributes) === 1
        ? "logappend"
        : "create",
  ts: record.timestamp,
  broker: record.broker,
  headers: record.headers.map(({ key, value }) => [key, jsonOfBytes(value)]),
  key: jsonOfBytes(record.key),
  ...(metaOnly ? { payload_size: record.value?.length ?? null } : { payload: jsonOfBytes(record.value) }),
});

/** What is read of an envelope, or of `{"base64": "…"}` in it. */
type EnvelopeField = "topic" | "partition" | "ts" | "key" | "payload" | "headers" | "base64";

/** What is wrong with an envelope; the message is for the user. */
export class EnvelopeError extends Error {
  override readonly name = "EnvelopeError";
}

const isObject = (value: unknown): value is { readonly [name in EnvelopeField]?: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const bytesOfJson = (value: unknown, what: string): Uint8Array | null => {
  if (value === null) return null;
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new EnvelopeError(`${what}: half a surrogate pair is no text`);
    return utf8.encode(value);
  }
  if (isObject(value) && typeof value.base64 === "string" && Object.keys(value).length === 1) {
    try {
      return Uint8Array.fromBase64(value.base64);
    } catch {
      throw new EnvelopeError(`${what}: ${JSON.stringify(value.base64)} is not base64`);
    }
  }
  throw new EnvelopeError(`${what}: expected a string, null or {"base64": "…"}`);
};

const headerKey = (key: unknown): string => {
  if (typeof key !== "string" || !key.isWellFormed()) throw new EnvelopeError("headers: a key is not text");
  return key;
};

/** Pairs, or kcat's own flat `[key, value, key, value]`. */
const headersOfJson = (value: unknown): RecordHeader[] => {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new EnvelopeError("headers: expected an array of [key, value] pairs");
  const items: ReadonlyArray<unknown> = value;
  const flat = items.length > 0 && !Array.isArray(items[0]);
  if (flat && items.length % 2 !== 0) throw new EnvelopeError("headers: a key without a value");
  const pairs: ReadonlyArray<unknown> = flat
    ? Array.from({ length: items.length / 2 }, (_, index) => items.slice(2 * index, 2 * index + 2))
    : items;
  return pairs.map((pair) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw new EnvelopeError("headers: expected [key, value] pairs");
    const [key, headerValue]: ReadonlyArray<unknown> = pair;
    return { key: headerKey(key), value: bytesOfJson(headerValue, "headers") };
  });
};

const numberOf = (value: unknown, what: string, least: number, most: number): number | undefined => {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least || value > most)
    throw new EnvelopeError(`${what}: expected a whole number from ${least} to ${most}`);
  return value;
};

/** Throws `EnvelopeError`. Fields that say where the record was (offset, broker) and unknown ones are passed over. */
export const recordOfEnvelope = (envelope: unknown): InputRecord => {
  if (!isObject(envelope)) throw new EnvelopeError("expected an object");
  const { topic, partition, ts, key, payload, headers } = envelope;
  if (topic !== undefined && typeof topic !== "string") throw new EnvelopeError("topic: expected a string");
  // The output of --meta-only must not become tombstones.
  if (payload === undefined) throw new EnvelopeError("payload is missing (null makes a tombstone)");
  const timestamp = numberOf(ts, "ts", -1, Number.MAX_SAFE_INTEGER);
  return {
    topic,
    partition: numberOf(partition, "partition", 0, 0x7fffffff),
    timestamp: timestamp === -1 ? undefined : timestamp,
    key: key === undefined ? undefined : bytesOfJson(key, "key"),
    value: bytesOfJson(payload, "payload"),
    headers: headersOfJson(headers),
  };
};
