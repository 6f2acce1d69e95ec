/**
 * The APIs by key: names, version ranges as Kafka's message definitions have them, and codecs that are loaded on first
 * use (all of them together cost 30 to 80 ms at start). What must stay true: importing this file loads no codec.
 */
import type { ByteReader } from "../prelude/ByteReader.ts";
import type { ByteWriter } from "../prelude/ByteWriter.ts";
import { ProtocolError } from "../prelude/ProtocolError.ts";
import type { Api } from "./Api.ts";
import { Apis } from "./generated/ApiTable.ts";

export type { Api, Codec, KnownApiKey, RequestOf, ResponseOf } from "./Api.ts";
export { ApiKey, Apis } from "./generated/ApiTable.ts";
export type { ApiTypes } from "./generated/ApiTypes.ts";

/** Every API in the order of keys. */
export const allApis: readonly Api[] = Object.values(Apis);

const known: ReadonlyMap<number, Api> = new Map(allApis.map((api) => [api.key, api]));

/** The API of a key from the wire, or undefined when Kafka 4.3.1 has none. */
export function apiOf(key: number): Api | undefined {
  return known.get(key);
}

/** The codecs of an API whose key is known at run time only. */
export interface ApiCodec {
  decodeRequest(reader: ByteReader, version: number): unknown;
  encodeRequest(writer: ByteWriter, message: unknown, version: number): void;
  decodeResponse(reader: ByteReader, version: number): unknown;
  encodeResponse(writer: ByteWriter, message: unknown, version: number): void;
}

/** The codecs for a key from the wire. Throws `ProtocolError` when Kafka 4.3.1 has no such API. */
export function codecOf(key: number): ApiCodec {
  const api: ApiCodec | undefined = known.get(key);
  if (api === undefined) throw new ProtocolError(`no API has key ${key}`);
  return api;
}

/** Kafka's name of an API, or `UNKNOWN(key)`. */
export function apiName(key: number): string {
  return known.get(key)?.name ?? `UNKNOWN(${key})`;
}
