/**
 * One API: what Kafka's definitions say about it, and its codecs, which are loaded on first use. Owns nothing but the
 * codecs it has loaded; the generated table makes one per key.
 */
import type { ByteReader } from "../prelude/ByteReader.ts";
import type { ByteWriter } from "../prelude/ByteWriter.ts";
import type { ApiTypes } from "./generated/ApiTypes.ts";

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

export class Api<K extends KnownApiKey = KnownApiKey> {
  private requestCodec: Codec<RequestOf<K>> | undefined;
  private responseCodec: Codec<ResponseOf<K>> | undefined;

  constructor(
    readonly key: K,
    /** Kafka's name, as `Produce`. */
    readonly name: string,
    /** First and last version of the schema, inclusive (what is advertised is the broker's decision). */
    readonly minVersion: number,
    readonly maxVersion: number,
    /** First version with compact lengths and tagged fields; 32767 when there is none. */
    readonly flexibleFrom: number,
    /** `broker`, `controller`: on which listeners Kafka serves it. */
    readonly listeners: readonly string[],
    /** The last version is not advertised unless unstable versions are enabled. */
    readonly latestVersionUnstable: boolean,
    private readonly loadRequest: () => Codec<RequestOf<K>>,
    private readonly loadResponse: () => Codec<ResponseOf<K>>,
  ) {}

  get request(): Codec<RequestOf<K>> {
    return (this.requestCodec ??= this.loadRequest());
  }

  get response(): Codec<ResponseOf<K>> {
    return (this.responseCodec ??= this.loadResponse());
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
