import { expect, test } from "bun:test";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ProtocolError } from "../../src/prelude/ProtocolError.ts";
import { ApiKey, allApis } from "../../src/protocol/ApiKeys.ts";
import { codec as responseHeader } from "../../src/protocol/generated/ResponseHeader.ts";
import {
  decodeRequestHeader,
  decodeResponseHeader,
  encodeRequestHeader,
  encodeResponseHeader,
  requestHeaderVersion,
  responseHeaderVersion,
} from "../../src/protocol/RequestHeader.ts";
import { COMMITTED, readGoldens } from "./Goldens.ts";

test("request headers of Kafka's own classes are read and written byte for byte", () => {
  const goldens = readGoldens(COMMITTED).filter(({ name }) => name === "RequestHeader");
  expect(goldens.length).toBeGreaterThan(3);
  for (const { version, bytes } of goldens) {
    const headerVersion = version === 2 ? 2 : 1;
    const reader = new ByteReader(bytes);
    const header = decodeRequestHeader(reader, headerVersion);
    expect(reader.remaining).toBe(0);
    const writer = new ByteWriter();
    encodeRequestHeader(writer, header, headerVersion);
    expect(writer.toBytes()).toEqual(bytes);
  }
});

test("flexible versions wear header 2 and 1, the others 1 and 0", () => {
  for (const api of allApis) {
    for (let version = api.minVersion; version <= api.maxVersion; version++) {
      const flexible = version >= api.flexibleFrom;
      expect(requestHeaderVersion(api.key, version)).toBe(flexible ? 2 : 1);
      if (api.key !== ApiKey.ApiVersions) expect(responseHeaderVersion(api.key, version)).toBe(flexible ? 1 : 0);
    }
  }
  expect([8, 9].map((version) => requestHeaderVersion(ApiKey.Produce, version))).toEqual([1, 2]);
  expect([0, 1].map((version) => requestHeaderVersion(ApiKey.SaslHandshake, version))).toEqual([1, 1]);
});

test("an ApiVersions response wears header 0 in every version, also unknown ones", () => {
  for (const version of [0, 2, 3, 4, 99]) {
    expect(responseHeaderVersion(ApiKey.ApiVersions, version)).toBe(0);
    const writer = new ByteWriter();
    encodeResponseHeader(writer, ApiKey.ApiVersions, version, 7);
    expect([...writer.toBytes()]).toEqual([0, 0, 0, 7]);
  }
  expect(requestHeaderVersion(ApiKey.ApiVersions, 99)).toBe(2);
});

test("in header 2 the client id keeps its two-byte length and unknown tags are passed over", () => {
  const bytes = Uint8Array.from([0, 3, 0, 12, 0, 0, 0, 5, 0, 1, 0x61, 1, 9, 2, 0, 0, 42]);
  const reader = new ByteReader(bytes);
  expect(decodeRequestHeader(reader)).toEqual({ apiKey: 3, apiVersion: 12, correlationId: 5, clientId: "a" });
  expect(reader.int8()).toBe(42);
});

test("header 0 has no client id", () => {
  const reader = new ByteReader(Uint8Array.from([0, 7, 0, 0, 0, 0, 0, 5]));
  expect(decodeRequestHeader(reader, 0)).toEqual({ apiKey: 7, apiVersion: 0, correlationId: 5, clientId: null });
});

test("an unknown key and a header cut short are refused", () => {
  expect(() => decodeRequestHeader(new ByteReader(Uint8Array.from([0, 7, 0, 0, 0, 0, 0, 5, 255, 255])))).toThrow(
    ProtocolError,
  );
  const writer = new ByteWriter();
  encodeRequestHeader(writer, { apiKey: 3, apiVersion: 12, correlationId: 5, clientId: "client" });
  const whole = writer.toBytes();
  for (let length = 0; length < whole.length; length++) {
    expect(() => decodeRequestHeader(new ByteReader(whole, 0, length))).toThrow(ProtocolError);
  }
});

test("response headers read back, and equal the generated codec's", () => {
  for (const version of [8, 9]) {
    const writer = new ByteWriter();
    encodeResponseHeader(writer, ApiKey.Produce, version, 77);
    const generated = new ByteWriter();
    responseHeader.encode(generated, { correlationId: 77 }, version - 8);
    expect(writer.toBytes()).toEqual(generated.toBytes());
    expect(decodeResponseHeader(new ByteReader(writer.toBytes()), ApiKey.Produce, version)).toBe(77);
  }
});
