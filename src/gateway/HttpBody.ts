/**
 * Bodies of the HTTP API between bytes and values, as JSON or as MessagePack, one schema for both. Only bytes differ: a
 * bin in MessagePack, in JSON a string when they are UTF-8 text and `{"base64": "…"}` otherwise, both ways. What must
 * stay true: JSON in equals JSON out; a body that cannot be read is refused by a line, whatever it holds.
 */
import { Unpackr } from "msgpackr/unpack";
import { concatenated } from "../prelude/Concatenated.ts";
import { FRAME_LIMITS } from "./ClientFrames.ts";
import { messagePackProblem, type Packable, pack } from "./MessagePack.ts";
import { custom, isMap, type JsonSchema, refuse, type Shape, ShapeError } from "./Shape.ts";
import { mediaType } from "./WebOrigin.ts";

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });
const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const MSGPACK = "application/msgpack";

export const isMessagePack = (contentType: string | null): boolean => mediaType(contentType).endsWith("msgpack");

/** Whether the client would rather have MessagePack than JSON. */
export const prefersMessagePack = (accept: string | null): boolean =>
  (accept ?? "").split(",").some((range) => isMessagePack(range));

/** A POST without a body is an empty one. Throws `ShapeError`. */
export const readBody = (bytes: Uint8Array, contentType: string | null): Readonly<Record<string, unknown>> => {
  if (bytes.length === 0) return {};
  const value = isMessagePack(contentType) ? readMessagePack(bytes) : readJson(bytes);
  return isMap(value) ? value : refuse("the body", "a map", value);
};

const readMessagePack = (bytes: Uint8Array): unknown => {
  const problem = messagePackProblem(bytes, FRAME_LIMITS);
  if (problem !== undefined) throw new ShapeError(`the body: ${problem}`);
  return unpackr.unpack(bytes);
};

const readJson = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(strictUtf8.decode(bytes));
  } catch {
    // Not UTF-8, not JSON, or nested beyond reason.
    throw new ShapeError("the body: not valid JSON");
  }
};

/** `{"base64": "…"}` or text. */
const jsonBytes = (bytes: Uint8Array): unknown => {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return { base64: toBase64(bytes) };
  }
};

const toBase64 = (bytes: Uint8Array): string => {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
};

export const toJson = (value: unknown): string =>
  JSON.stringify(value, (_key, each: unknown) => (each instanceof Uint8Array ? jsonBytes(each) : each));

export interface EncodedBody {
  readonly bytes: Uint8Array | string;
  readonly contentType: string;
}

export const writeBody = (value: unknown, asMessagePack: boolean): EncodedBody =>
  asMessagePack
    ? { bytes: pack(value as Packable), contentType: MSGPACK }
    : { bytes: toJson(value), contentType: "application/json; charset=utf-8" };

const BYTES_SCHEMA: JsonSchema = {
  description: "Bytes: in JSON a string is UTF-8 text, {base64} are any bytes; in MessagePack bin (or a string).",
  anyOf: [
    { type: "string" },
    { type: "object", properties: { base64: { type: "string", contentEncoding: "base64" } }, required: ["base64"] },
    { type: "null" },
  ],
};

/** A key, a value or a header's value in either encoding. */
export const anyBytes: Shape<Uint8Array | null> = custom(BYTES_SCHEMA, (value, at) => {
  if (value === null || value === undefined) return null;
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return utf8.encode(value);
  const encoded = isMap(value) ? value.base64 : undefined;
  if (typeof encoded !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded)) {
    return refuse(at, `a string, {"base64": "…"} or null`, value);
  }
  try {
    return Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
  } catch {
    return refuse(at, "base64", value);
  }
});

/** Fields of a path or a query have their values as text: each becomes what its schema says. Throws `ShapeError`. */
export const fromText = (
  fields: Iterable<readonly [string, string]>,
  schema: JsonSchema,
): Readonly<Record<string, unknown>> => {
  const properties = isMap(schema.properties) ? schema.properties : {};
  const values: Record<string, unknown> = {};
  for (const [name, text] of fields) values[name] = fieldOf(text, properties[name], name);
  return values;
};

const fieldOf = (text: string, schema: unknown, name: string): unknown => {
  if (!isMap(schema)) return text;
  switch (schema.type) {
    case "integer":
      return /^-?\d{1,16}$/.test(text) ? Number(text) : text;
    case "boolean":
      return text === "" || text === "true" ? true : text === "false" ? false : text;
    case "array": {
      const items = isMap(schema.items) ? schema.items : {};
      if (items.type === "object") return jsonOf(text, name);
      return text === "" ? [] : text.split(",").map((item) => fieldOf(item, items, name));
    }
    case "object":
      return jsonOf(text, name);
    default:
      return text;
  }
};

const jsonOf = (text: string, name: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    throw new ShapeError(`${name}: not valid JSON`);
  }
};

/** A request under way is one of few: who sends it byte by byte does not keep it. */
const BODY_WITHIN_MS = 60_000;

/** The body did not come to its end; the message is for the client. */
export class BodyLate extends Error {
  override readonly name = "BodyLate";

  constructor() {
    super(`the body: not complete in ${BODY_WITHIN_MS / 1000} s`);
  }
}

/** All bytes of a request, as many as the server takes. Throws `BodyLate` when they take too long. */
export const wholeBody = async (
  body: ReadableStream<Uint8Array> | null,
  after: (delayMs: number, task: () => void) => () => void,
): Promise<Uint8Array> => {
  const reader = body?.getReader();
  if (reader === undefined) return new Uint8Array(0);
  let late = false;
  const cancel = after(BODY_WITHIN_MS, () => {
    late = true;
    void reader.cancel();
  });
  const pieces: Uint8Array[] = [];
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) pieces.push(piece.value);
  } finally {
    cancel();
  }
  if (late) throw new BodyLate();
  return pieces.length === 1 ? pieces[0]! : concatenated(pieces);
};
