/**
 * The headers in front of every request and response, and which version of them an API version wears
 * (`org.apache.kafka.common.protocol.ApiKeys`, KIP-482, KIP-511). What must stay true: the client id is a classic
 * nullable string in every version, and an ApiVersions response always has header version 0, because the client asks
 * before it knows what the broker speaks.
 */
import type { ByteReader } from "../prelude/ByteReader.ts";
import type { ByteWriter } from "../prelude/ByteWriter.ts";
import { ProtocolError } from "../prelude/ProtocolError.ts";
import { ApiKey, apiOf } from "./ApiKeys.ts";

export interface RequestHeader {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
}

function isFlexible(apiKey: number, apiVersion: number): boolean {
  const api = apiOf(apiKey);
  if (api === undefined) throw new ProtocolError(`no API has key ${apiKey}`);
  return apiVersion >= api.flexibleFrom;
}

/** 1 or 2. Throws `ProtocolError` for a key Kafka does not have; a version beyond the known ones counts as flexible. */
export function requestHeaderVersion(apiKey: number, apiVersion: number): 1 | 2 {
  return isFlexible(apiKey, apiVersion) ? 2 : 1;
}

/** 0 or 1. Throws `ProtocolError` for a key Kafka does not have. */
export function responseHeaderVersion(apiKey: number, apiVersion: number): 0 | 1 {
  return isFlexible(apiKey, apiVersion) && apiKey !== ApiKey.ApiVersions ? 1 : 0;
}

/**
 * Reads a request's header and leaves the reader at the body. `headerVersion` is taken from the key and version in the
 * header itself unless given; 0 (no client id) was `ControlledShutdown`'s alone and is never chosen.
 */
export function decodeRequestHeader(reader: ByteReader, headerVersion?: 0 | 1 | 2): RequestHeader {
  const apiKey = reader.int16();
  const apiVersion = reader.int16();
  const version = headerVersion ?? requestHeaderVersion(apiKey, apiVersion);
  const correlationId = reader.int32();
  const clientId = version >= 1 ? reader.nullableString() : null;
  if (version >= 2) reader.skipTags();
  return { apiKey, apiVersion, correlationId, clientId };
}

export function encodeRequestHeader(writer: ByteWriter, header: RequestHeader, headerVersion?: 0 | 1 | 2): void {
  const version = headerVersion ?? requestHeaderVersion(header.apiKey, header.apiVersion);
  writer.int16(header.apiKey);
  writer.int16(header.apiVersion);
  writer.int32(header.correlationId);
  if (version >= 1) writer.nullableString(header.clientId);
  if (version >= 2) writer.uvarint(0);
}

/** Reads the header of a response to a request of this key and version; answers the correlation id. */
export function decodeResponseHeader(reader: ByteReader, apiKey: number, apiVersion: number): number {
  const correlationId = reader.int32();
  if (responseHeaderVersion(apiKey, apiVersion) >= 1) reader.skipTags();
  return correlationId;
}

export function encodeResponseHeader(
  writer: ByteWriter,
  apiKey: number,
  apiVersion: number,
  correlationId: number,
): void {
  writer.int32(correlationId);
  if (responseHeaderVersion(apiKey, apiVersion) >= 1) writer.uvarint(0);
}
