/**
 * The APIs by key: names, version ranges as Kafka's message definitions have them, and codecs that are loaded on first
 * use (all of them together cost 30 to 80 ms at start). What must stay true: importing this file loads no codec.
 */
import type { ByteReader } from "../prelude/ByteReader.ts";
import type { ByteWriter } from "../prelude/ByteWriter.ts";
import { ProtocolError } from "../prelude/ProtocolError.ts";
import { ApiKey, ApiTable } from "./generated/ApiTable.ts";
import type { ApiTypes } from "./generated/ApiTypes.ts";

export type { ApiTypes };
export { ApiKey };

/** The key of an API of Kafka 4.3.1. */
export type KnownApiKey = keyof ApiTypes;
export type RequestOf<K extends KnownApiKey> = ApiTypes[K]["request"];
export type ResponseOf<K extends KnownApiKey> = ApiTypes[K]["response"];

/** One message's codec. `decode` and `encode` throw `ProtocolError` for bytes, values or versions that are not valid. */
export interface Codec<M> {
  decode(reader: ByteReader, version: number): M;
  encode(writer: ByteWriter, message: M, version: number): void;
  /** The message with every field at Kafka's default. */
  empty(): M;
}

/** A row of the generated table. */
export interface ApiEntry<K extends KnownApiKey> {
  readonly key: K;
  /** Kafka's name, as `Produce`. */
  readonly name: string;
  /** First and last version of the schema, inclusive (what is advertised is the broker's decision). */
  readonly minVersion: number;
  readonly maxVersion: number;
  /** First version with compact lengths and tagged fields; 32767 when there is none. */
  readonly flexibleFrom: number;
  /** `broker`, `controller`: on which listeners Kafka serves it. */
  readonly listeners: readonly string[];
  readonly latestVersionUnstable: boolean;
  readonly loadRequest: () => Codec<RequestOf<K>>;
  readonly loadResponse: () => Codec<ResponseOf<K>>;
}

/** An API with its codecs behind one name each. */
export class Api<K extends KnownApiKey = KnownApiKey> {
  readonly key: K;
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly flexibleFrom: number;
  readonly listeners: readonly string[];
  readonly latestVersionUnstable: boolean;
  private readonly entry: ApiEntry<K>;
  private requestCodec: Codec<RequestOf<K>> | undefined;
  private responseCodec: Codec<ResponseOf<K>> | undefined;

  constructor(entry: ApiEntry<K>) {
    this.key = entry.key;
    this.name = entry.name;
    this.minVersion = entry.minVersion;
    this.maxVersion = entry.maxVersion;
    this.flexibleFrom = entry.flexibleFrom;
    this.listeners = entry.listeners;
    this.latestVersionUnstable = entry.latestVersionUnstable;
    this.entry = entry;
  }

  get request(): Codec<RequestOf<K>> {
    return (this.requestCodec ??= this.entry.loadRequest());
  }

  get response(): Codec<ResponseOf<K>> {
    return (this.responseCodec ??= this.entry.loadResponse());
  }

  decodeRequest(reader: ByteReader, version: number): RequestOf<K> {
    return this.request.decode(reader, version);
  }

  encodeRequest(writer: ByteWriter, message: RequestOf<K>, version: number): void {
    this.request.encode(writer, message, version);
  }

  decodeResponse(reader: ByteReader, version: number): ResponseOf<K> {
    return this.response.decode(reader, version);
  }

  encodeResponse(writer: ByteWriter, message: ResponseOf<K>, version: number): void {
    this.response.encode(writer, message, version);
  }
}

type Apis = { readonly [K in KnownApiKey]: Api<K> };

function build(): Apis {
  const apis: { [key: number]: Api<KnownApiKey> } = {};
  for (const entry of Object.values(ApiTable) as ApiEntry<KnownApiKey>[]) apis[entry.key] = new Api(entry);
  return apis as unknown as Apis;
}

/** The APIs by key: `Apis[ApiKey.Produce]`. */
export const Apis: Apis = build();

const known: ReadonlyMap<number, Api> = new Map(
  Object.values(Apis as { [key: number]: Api }).map((api) => [api.key, api]),
);

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
  const api = known.get(key);
  if (api === undefined) throw new ProtocolError(`no API has key ${key}`);
  return api;
}

/** Kafka's name of an API, or `UNKNOWN(key)`. */
export function apiName(key: number): string {
  return known.get(key)?.name ?? `UNKNOWN(${key})`;
}

/** Every API in the order of keys. */
export const allApis: readonly Api[] = [...known.values()].sort((a, b) => a.key - b.key);
